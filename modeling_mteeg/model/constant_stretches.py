"""Stretches in which a channel is constant: padded ends, a pulled plug, a clipped input."""

from __future__ import annotations

import numpy as np

from .preprocessing import is_positive

LEAST_S = 1.0
"""Scalp EEG at any resolution in use changes within a second."""
LEAST_SHARE = 0.5
"""Share of a window from which on it says too little that a channel was recorded for the rest."""


class ConstantStretches:
    """Finds where the channels of a recording stay at one value, while it passes by in blocks.

    Parameters
    ----------
    channels : int
    rate_hz : float
    least_s : float
        Shorter stretches are not named.

    Raises
    ------
    ValueError
        A number that is not above 0.

    Notes
    -----
    Values are compared as they were recorded: filtered ones are never equal. NaN equals nothing.
    A stretch of the least length holds three neighbours of every grid that is a third as wide, so a
    channel is looked at sample by sample only where such neighbours are equal (two often are, of
    16 bit): 0.03 s for an hour of 23 channels at 250 Hz.
    """

    def __init__(self, channels: int, rate_hz: float, least_s: float = LEAST_S) -> None:
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels: expected a whole number above 0, found {channels!r}.")
        for key, value in (("rate_hz", rate_hz), ("least_s", least_s)):
            if not is_positive(value):
                raise ValueError(f"{key}: expected a number above 0, found {value!r}.")
        self._least = max(2, int(np.ceil(least_s * rate_hz - 1e-6)))  # samples
        self._grid = self._least // 3  # 0: too short to pass by anything
        self._place = 0  # samples taken
        self._value = np.full(channels, np.nan)  # newest of every channel
        self._since = np.zeros(channels, dtype=np.int64)  # where its value was reached
        self._found: list[tuple[int, int, int]] = []

    def push(self, signal: np.ndarray) -> None:
        """Take the next samples as recorded.

        Parameters
        ----------
        signal : numpy.ndarray
            (channels, n), n from 0 on.

        Raises
        ------
        ValueError
            Another number of channels.
        """
        if signal.ndim != 2 or len(signal) != len(self._value):
            raise ValueError(
                f"Expected a block ({len(self._value)} channels, samples), found shape "
                f"{signal.shape}."
            )
        if not signal.shape[1]:
            return
        passes_by = self._grid and signal.shape[1] > 2 * self._grid
        suspects = self._pass_by(signal) if passes_by else range(len(signal))
        for row in suspects:
            self._look(row, signal[row])
        self._value = signal[:, -1].copy()
        self._place += signal.shape[1]

    def finish(self) -> list[tuple[int, int, int]]:
        """End the signal.

        Returns
        -------
        list of (int, int, int)
            Channel, first sample, and the one behind the last, by channel and time. They are as
            long as they can be: the samples beside one have other values.
        """
        for row, since in enumerate(self._since.tolist()):
            self._end(row, since, self._place)
            self._since[row] = self._place
        return sorted(self._found)

    def _pass_by(self, signal: np.ndarray) -> np.ndarray:
        """Rows that may hold a stretch; of the others, take what touches this block's edges."""
        grid = self._grid
        every = signal[:, ::grid]
        head = np.concatenate([self._value[:, None], signal[:, :grid]], axis=1)
        tail = signal[:, -grid - 1 :]
        changes, last = head[:, 1:] != head[:, :-1], tail[:, 1:] != tail[:, :-1]
        apart = every[:, 1:] != every[:, :-1]
        passes = changes.any(axis=1) & last.any(axis=1) & (apart[:, 1:] | apart[:, :-1]).all(axis=1)
        first = self._place + changes.argmax(axis=1)  # where the stretch from before ends
        for row in np.flatnonzero(passes & (first - self._since >= self._least)):
            self._end(row, int(self._since[row]), int(first[row]))
        newest = self._place + signal.shape[1] - last[:, ::-1].argmax(axis=1) - 1
        self._since[passes] = newest[passes]
        return np.flatnonzero(~passes)

    def _look(self, row: int, signal: np.ndarray) -> None:
        """Take one channel's samples (n,) one by one."""
        before = np.concatenate([self._value[row : row + 1], signal[:-1]])
        starts = self._place + np.flatnonzero(signal != before)
        if not len(starts):
            return
        edges = np.concatenate([self._since[row : row + 1], starts])
        for at in np.flatnonzero(np.diff(edges) >= self._least):
            self._end(row, int(edges[at]), int(edges[at + 1]))
        self._since[row] = starts[-1]

    def _end(self, row: int, start: int, stop: int) -> None:
        if stop - start >= self._least:
            self._found.append((int(row), start, stop))
