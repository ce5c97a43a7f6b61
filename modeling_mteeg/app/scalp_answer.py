"""Which channels speak for a task's answer, within the time that a visitor may wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..explanation.attribution import ChannelAttribution
    from ..prediction.result import Prediction

WINDOWS = 4
"""Windows that are explained, at most."""
SPENT_S = 20.0
"""No further window is started after this long; a large model on a CPU gets through a few."""


def explained_class(prediction: Prediction) -> int:
    """The class whose evidence is shown, as ``mteeg explain`` chooses it.

    The positive one of two, else that with the highest mean probability.
    """
    if prediction.card.is_binary:
        return 1
    return int(prediction.probabilities.mean(axis=0).argmax())


def surest_windows(prediction: Prediction, target: int, most: int = WINDOWS) -> list[int]:
    """Numbers of the windows with the highest probability of a class, the highest first."""
    return np.argsort(-prediction.probabilities[:, target], kind="stable")[:most].tolist()


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
    What ``mteeg explain`` does, one window at a time: the page shows how far it is, can be
    stopped, and ends after :data:`SPENT_S`.
    """
    from ..explanation.attribution import ChannelAttribution, attribute
    from ..explanation.explaining import window_inputs

    card, target = prediction.card, explained_class(prediction)
    windows = surest_windows(prediction, target)
    onsets = [float(prediction.onset_s[window]) for window in windows]
    tick(0, len(windows))
    inputs, channels = window_inputs(
        raw, card, onsets, allow_missing=len(prediction.missing), rename=rename
    )
    values, start = [], time.monotonic()
    for done in range(len(windows)):
        if done and time.monotonic() - start > SPENT_S:
            break
        tick(done, len(windows))
        one = {**inputs, "input_values": inputs["input_values"][done : done + 1]}
        values.append(attribute(model, one, card.name, target=target)[0].numpy())
    return ChannelAttribution(
        channels=channels,
        values=np.mean(values, axis=0),
        method="integrated-gradients",
        task=card.name,
        label=card.labels[target],
        onset_s=tuple(onsets[: len(values)]),
        recording=prediction.recording,
        simulated=card.simulated,
    )
