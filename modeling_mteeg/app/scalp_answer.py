"""Which channels speak for a task's answer, within the time that a visitor may wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..explanation.attribution import ChannelAttribution, attribute
from ..explanation.explaining import (
    class_to_explain,
    surest_windows,
    window_inputs,
    windows_of_label,
)
from ..prediction import Prediction

WINDOWS = 4
"""Windows that are explained, at most."""
SPENT_S = 20.0
"""No further window is started after this long; a large model on a CPU gets through a few."""


def attribute_recording(
    model: Any,
    raw: Any,
    prediction: Prediction,
    tick: Callable[[int, int], None],
    rename: Mapping[str, str] | None = None,
) -> ChannelAttribution:
    """Integrated gradients of the surest windows of a recording, mean over them.

    Parameters
    ----------
    model : MteegModel
    raw : mne.io.BaseRaw
        The recording that was predicted, its channels under their own names.
    prediction : Prediction
    tick : callable
        Told before every window how many are done and how many there are.
    rename : mapping, optional
        See :func:`modeling_mteeg.prediction.predict`.

    Notes
    -----
    What ``mteeg explain`` does, but also where no window is the label, which the picture says: then
    of the windows in which it is most probable. One window at a time: the page shows how far it is,
    can be stopped, and ends after :data:`SPENT_S`.
    """
    card = prediction.card
    target = class_to_explain(card, prediction.probabilities)
    label = card.labels[target]
    chosen, labelled = windows_of_label(card, prediction.probabilities, label)
    windows = chosen[:WINDOWS] or surest_windows(prediction, target, WINDOWS)
    onsets = [float(prediction.onset_s[window]) for window in windows]
    tick(0, len(windows))
    read = window_inputs(raw, card, onsets, allow_missing=len(prediction.missing), rename=rename)
    values, start = [], time.monotonic()
    for done in range(len(windows)):
        if done and time.monotonic() - start > SPENT_S:
            break
        tick(done, len(windows))
        window = {**read.inputs, "input_values": read.inputs["input_values"][done : done + 1]}
        values.append(attribute(model, window, card.name, target=target)[0].numpy())
    return ChannelAttribution(
        channels=read.channels,
        values=np.mean(values, axis=0),
        method="integrated-gradients",
        task=card.name,
        label=label,
        onset_s=tuple(onsets[: len(values)]),
        recording=prediction.recording,
        simulated=card.simulated,
        labelled=labelled,
    )
