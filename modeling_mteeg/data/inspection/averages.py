"""Class averages at a cue, and how far two of them are apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from .. import WindowReader


@dataclasses.dataclass(frozen=True)
class ClassAverages:
    """Mean window of every class; a window's mean in each channel is taken off it first.

    Parameters
    ----------
    counts : dict of str to int
        Class to the number of windows behind its average; classes without two are left out.
    means_uv : dict of str to numpy.ndarray
        (channels, samples) in microvolt.
    errors_uv : dict of str to numpy.ndarray
        (channels, samples), standard error of the mean over windows.
    """

    counts: dict[str, int]
    means_uv: dict[str, np.ndarray]
    errors_uv: dict[str, np.ndarray]

    def difference(self, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """The second class less the first, and its standard error, each (channels, samples).

        None unless the task has two classes, both with an average. Windows of one person are alike,
        so that the error over windows is somewhat too small for other people.
        """
        if len(labels) != 2 or any(label not in self.counts for label in labels):
            return None
        first, second = labels
        error = np.hypot(self.errors_uv[first], self.errors_uv[second])
        return self.means_uv[second] - self.means_uv[first], error


class RunningAverages:
    """Averages of windows that come block by block.

    Parameters
    ----------
    labels : sequence of str
    shape : tuple of int
        (channels, samples) of a window.
    """

    def __init__(self, labels: Sequence[str], shape: tuple[int, int]) -> None:
        self.labels = tuple(labels)
        self._counts = [0] * len(labels)
        self._sums = np.zeros((2, len(labels), *shape))  # of values, of their squares

    def add(self, label: int, signals_uv: np.ndarray) -> None:
        """Take windows (windows, channels, samples) of a class."""
        centred = signals_uv - signals_uv.mean(2, keepdims=True, dtype=np.float64)
        self._counts[label] += len(centred)
        self._sums[:, label] += centred.sum(0), np.square(centred).sum(0)

    def result(self) -> ClassAverages:
        """The averages of what was taken."""
        counts, means, errors = {}, {}, {}
        for label, count, total, squares in zip(
            self.labels, self._counts, *self._sums, strict=True
        ):
            if count < 2:
                continue
            mean = total / count
            variance = (squares - count * np.square(mean)).clip(0) / (count - 1)
            counts[label], means[label] = count, mean
            errors[label] = np.sqrt(variance / count)
        return ClassAverages(counts, means, errors)


def looks_cued(readers: Iterable[WindowReader], window_s: float, rate_hz: float) -> bool:
    """Whether windows seem to lie at cues, by their onsets.

    Windows that cut up a recording touch or overlap at equal steps. Those at cues have pauses
    between them, or onsets that fit no equal steps.
    """
    gaps = []
    for reader in readers:
        _, recording = np.unique(reader.recordings, return_inverse=True)
        order = np.lexsort((reader.onsets_s, recording))
        steps, same = np.diff(reader.onsets_s[order]), np.diff(recording[order]) == 0
        gaps.append(steps[same & (steps > 0)])
    steps = np.concatenate([np.zeros(0), *gaps])
    if not len(steps):
        return False
    least, rounding = float(steps.min()), 1.5 / rate_hz
    if least > window_s + rounding:
        return True
    beside = np.abs(steps - np.round(steps / least) * least) > rounding
    return bool(beside.mean() > 0.5)
