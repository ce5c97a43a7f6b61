"""The newest samples of a stream, as they were recorded."""

from __future__ import annotations

import numpy as np

_NEVER = np.iinfo(np.int64).max


class RecordedTail:
    """Holds the newest samples of every channel.

    Parameters
    ----------
    channels : int
    samples : int
        How many are held at least.

    Attributes
    ----------
    samples_in : int
        Samples taken so far.
    changed : numpy.ndarray
        int64, (channels,), the first sample with another value than the channel's first one; the
        largest number of int64 while there is none.
    """

    def __init__(self, channels: int, samples: int) -> None:
        # As much again, so that what is held moves once in so many samples.
        self._buffer = np.empty((channels, 2 * max(1, samples)))
        self._held = max(1, samples)
        self._filled = self.samples_in = 0
        self._first: np.ndarray | None = None
        self.changed = np.full(channels, _NEVER)

    def push(self, block: np.ndarray) -> None:
        """Take the next samples (channels, n), n from 0 on."""
        if not block.shape[1]:
            return
        if self._first is None:
            self._first = block[:, :1].copy()
        other = block != self._first
        new = other.any(axis=1) & (self.changed == _NEVER)
        self.changed[new] = self.samples_in + other[new].argmax(axis=1)
        self.samples_in += block.shape[1]
        block = block[:, -self._held :]
        if self._filled + block.shape[1] > self._buffer.shape[1]:
            kept = self._held - block.shape[1]
            if kept:
                self._buffer[:, :kept] = self._buffer[:, self._filled - kept : self._filled].copy()
            self._filled = kept
        self._buffer[:, self._filled : self._filled + block.shape[1]] = block
        self._filled += block.shape[1]

    def between(self, start: int, stop: int) -> np.ndarray:
        """Samples from ``start`` to before ``stop`` of the stream, (channels, n).

        Raises
        ------
        ValueError
            They have not come yet, or are not held any more.
        """
        begin = self.samples_in - self._filled
        if not begin <= start <= stop <= self.samples_in:
            raise ValueError(
                f"Expected samples between {begin} and {self.samples_in}, found {start} to {stop}."
            )
        return self._buffer[:, start - begin : stop - begin]
