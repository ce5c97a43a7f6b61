"""Cut windows that slide over a signal which comes piece by piece."""

from __future__ import annotations

import math

import numpy as np

_LEAST_ROOM = 4096  # samples that are taken at a time, at least


def stride_samples(stride_s: float, rate_hz: float) -> int:
    """Samples from one window's start to the next.

    Raises
    ------
    ValueError
        Not a whole number of samples, or none.
    """
    number = isinstance(stride_s, (int, float)) and not isinstance(stride_s, bool)
    step = round(stride_s * rate_hz) if number and 0 < stride_s < math.inf else 0
    if step < 1 or not math.isclose(step, stride_s * rate_hz, rel_tol=1e-6):
        raise ValueError(
            f"stride_s: expected a whole number of samples at {rate_hz:g} Hz, at least one, found "
            f"{stride_s!r} s."
        )
    return step


class SlidingWindows:
    """Windows of one length, one every ``stride`` samples, from blocks of any size.

    Parameters
    ----------
    window : int
        Samples of a window.
    stride : int
        Samples from one window's start to the next; window ``k`` starts at ``k * stride``. More
        than ``window`` leaves gaps.
    channels : int

    Raises
    ------
    ValueError
        A number below 1.

    Notes
    -----
    Holds less than two windows and a fixed number of samples, whatever is pushed.
    """

    def __init__(self, window: int, stride: int, channels: int) -> None:
        for key, value in (("window", window), ("stride", stride), ("channels", channels)):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{key}: expected a whole number from 1 on, found {value!r}.")
        self.window, self.stride, self.channels = int(window), int(stride), int(channels)
        # A window that is not complete yet, and behind it room for what comes.
        room = self.window + max(self.window, _LEAST_ROOM)
        self._buffer = np.empty((self.channels, room), dtype=np.float32)
        self._filled = 0
        self._start = 0  # of the next window in the buffer; may lie beyond what is filled
        self._onset = 0  # of the next window in the signal

    @property
    def next_end(self) -> int:
        """Samples of the signal that must have been pushed for the next window to be complete."""
        return self._onset + self.window

    def push(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take the next samples and return the windows that they complete.

        Parameters
        ----------
        block : numpy.ndarray
            (channels, n), n from 0 on.

        Returns
        -------
        onsets : numpy.ndarray
            int64, (k,), in samples from the start of the signal.
        windows : numpy.ndarray
            float32, (k, channels, window), a copy.

        Raises
        ------
        ValueError
            A block of another shape.
        """
        block = np.asarray(block)
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(
                f"Expected a block ({self.channels} channels, samples), found shape {block.shape}."
            )
        first, parts, place = self._onset, [], 0
        while place < block.shape[1]:
            if self._filled == self._buffer.shape[1]:
                self._forget()
            room = self._buffer.shape[1] - self._filled
            piece = block[:, place : place + room]  # (channels, up to room)
            self._buffer[:, self._filled : self._filled + piece.shape[1]] = piece
            self._filled += piece.shape[1]
            place += piece.shape[1]
            parts += self._complete()
        count = (self._onset - first) // self.stride
        onsets = first + self.stride * np.arange(count, dtype=np.int64)
        if not parts:
            return onsets, np.empty((0, self.channels, self.window), dtype=np.float32)
        return onsets, np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _complete(self) -> list[np.ndarray]:
        """Copies of the windows that are complete, as (k, channels, window), if there are any."""
        rest = self._filled - self._start - self.window
        if rest < 0:
            return []
        signal = self._buffer[:, self._start : self._filled]  # (channels, n)
        view = np.lib.stride_tricks.sliding_window_view(signal, self.window, axis=1)
        # (channels, n - window + 1, window), without a copy; one in `stride` of them is taken.
        windows = np.array(view[:, :: self.stride].transpose(1, 0, 2), order="C")
        self._start += self.stride * len(windows)
        self._onset += self.stride * len(windows)
        return [windows]

    def _forget(self) -> None:
        """Move what further windows need to the front of the buffer."""
        start = min(self._start, self._filled)
        kept = self._filled - start
        self._buffer[:, :kept] = self._buffer[:, start : self._filled].copy()
        self._filled = kept
        self._start -= start  # 0, or the rest of a gap between windows that has not come yet
