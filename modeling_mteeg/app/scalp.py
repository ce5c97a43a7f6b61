"""Which channels speak for a task's answer, on the windows where it is surest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..attribution import ChannelAttribution
    from ..prediction.result import Prediction

WINDOWS = 4
"""Windows that are explained, at most."""
SPENT_S = 20.0
"""No further window is started after this long; a large model on a CPU gets through a few."""
_FILTER_S = 20.0


def explained_class(prediction: Prediction) -> int:
    """The class whose evidence is shown: the positive one, or of several the most frequent."""
    classes = len(prediction.card.labels)
    if classes == 2:
        return 1
    return int(np.bincount(prediction.classes, minlength=classes).argmax())


def surest_windows(prediction: Prediction, target: int, most: int = WINDOWS) -> list[int]:
    """Numbers of the windows with the highest probability of a class, the highest first."""
    return np.argsort(-prediction.probabilities[:, target], kind="stable")[:most].tolist()


def attribute_recording(
    model: Any, extractor: Any, raw: Any, prediction: Prediction, tick: Callable[[int, int], None]
) -> ChannelAttribution:
    """Integrated gradients of the surest windows of a recording, mean over them.

    Parameters
    ----------
    model : MteegModel
    extractor : MteegFeatureExtractor
    raw : mne.io.BaseRaw
        The recording that was predicted; only these windows and their surroundings are read.
    prediction : Prediction
    tick : callable
        Told before every window how many are done and how many there are.

    Notes
    -----
    Every window is filtered with 20 s or more at either side, where the recording has them.
    """
    from ..attribution import ChannelAttribution, attribute

    card, target = prediction.card, explained_class(prediction)
    windows = surest_windows(prediction, target)
    values, start = [], time.monotonic()
    for done, window in enumerate(windows):
        if done and time.monotonic() - start > SPENT_S:
            break
        tick(done, len(windows))
        inputs = window_inputs(extractor, raw, prediction, float(prediction.onset_s[window]))
        values.append(attribute(model, inputs, card.name, target=target)[0].numpy())
    return ChannelAttribution(
        channels=prediction.channels,
        values=np.mean(values, axis=0),
        method="integrated-gradients",
        task=card.name,
        label=card.labels[target],
        windows=len(values),
        recording=prediction.recording,
        simulated=card.simulated,
    )


def window_inputs(extractor: Any, raw: Any, prediction: Prediction, onset_s: float) -> Any:
    """Inputs of the one window that starts at ``onset_s``, (1, channels, patches, 200)."""
    card = prediction.card.replace(channels=prediction.channels, max_missing_channels=0)
    length = card.window_s
    before = min(math.ceil(_FILTER_S / length), math.floor(onset_s / length + 1e-9))
    first = onset_s - before * length
    last = min(onset_s + length + _FILTER_S, raw.n_times / raw.info["sfreq"])
    rate = raw.info["sfreq"]
    stop = min(round(last * rate), raw.n_times) - 1
    part = raw.copy().crop(round(first * rate) / rate, stop / rate).load_data(verbose="error")
    inputs = extractor(part, task=card)
    return {
        "input_values": inputs["input_values"][before : before + 1],
        "channel_ids": inputs["channel_ids"],
    }
