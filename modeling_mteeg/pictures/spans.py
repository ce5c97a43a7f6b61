"""Which part of the time a window's probability stands for, and what is detected."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np

from ..prediction.result import Prediction

THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Detection:
    """Windows in a row in which the positive class reaches the threshold.

    Parameters
    ----------
    start_s, stop_s : float
        Seconds from the recording's start.
    peak : float
        Highest probability among the windows.
    """

    start_s: float
    stop_s: float
    peak: float


def window_spans(prediction: Prediction) -> np.ndarray:
    """The time that every window stands for in a picture.

    Returns
    -------
    numpy.ndarray
        float64, (windows, 2), start and stop in seconds. Windows that touch stand for themselves;
        of windows that overlap each stands for the stride around its centre, the first one from
        its start and the last one to its end. Between windows that lie apart there is a gap.
    """
    onset, window = np.asarray(prediction.onset_s, dtype=float), prediction.window_s
    spans = np.stack([onset, onset + window], axis=1)
    if len(onset) > 1:
        middle = (onset[1:] + onset[:-1] + window) / 2
        overlap = onset[1:] < onset[:-1] + window
        spans[1:, 0][overlap] = middle[overlap]
        spans[:-1, 1][overlap] = middle[overlap]
    return spans


def overlap_remark(prediction: Prediction) -> list[str]:
    """A sentence on :func:`window_spans` where windows overlap, else none."""
    onset = np.asarray(prediction.onset_s, dtype=float)
    if not np.any(np.diff(onset) < prediction.window_s - 1e-6):
        return []
    if prediction.stride_s is None or prediction.stride_s >= prediction.window_s:
        return ["Windows that overlap stand for the time up to the middle of what they share."]
    return [
        f"Windows of {prediction.window_s:g} s overlap; each stands for the "
        f"{prediction.stride_s:g} s around its centre."
    ]


def runs(spans: np.ndarray) -> list[slice]:
    """Windows in a row without a gap between them."""
    if not len(spans):
        return []
    breaks = np.flatnonzero(spans[1:, 0] > spans[:-1, 1] + 1e-6) + 1
    edges = [0, *breaks.tolist(), len(spans)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def steps(spans: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a line that holds each value over its span: (2 * windows,) and (2 * windows, ...).

    ``spans`` is one run of :func:`runs`.
    """
    return spans.reshape(-1), np.repeat(values, 2, axis=0)


def detections(prediction: Prediction, threshold: float = THRESHOLD) -> list[Detection]:
    """Spans in which ``labels[1]`` of a binary task reaches a threshold, in the order of time."""
    positive, detected = prediction.probabilities[:, 1], []
    spans = window_spans(prediction)
    for run in runs(spans):
        above = run.start + np.flatnonzero(positive[run] >= threshold)
        for part in np.split(above, np.flatnonzero(np.diff(above) > 1) + 1) if len(above) else []:
            start, stop, peak = spans[part[0], 0], spans[part[-1], 1], positive[part].max()
            detected.append(Detection(float(start), float(stop), float(peak)))
    return detected


def shown_detections(detected: list[Detection], most: int) -> list[Detection]:
    """The ``most`` with the highest peaks, in the order of time."""
    best = sorted(detected, key=lambda detection: -detection.peak)[:most]
    return sorted(best, key=lambda detection: detection.start_s)
