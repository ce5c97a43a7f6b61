"""Cut windows out of a signal which comes piece by piece: sliding ones, and at given places."""

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


class _WindowCutter:
    """Windows of one length from blocks of any size; where they start says the class below it.

    Holds less than two windows and a fixed number of samples, whatever is pushed.
    """

    def __init__(self, window: int, channels: int) -> None:
        _check_sizes(window=window, channels=channels)
        self.window, self.channels = int(window), int(channels)
        # A window that is not complete yet, and behind it room for what comes.
        room = self.window + max(self.window, _LEAST_ROOM)
        self._buffer = np.empty((self.channels, room), dtype=np.float32)
        self._filled = 0
        self._begin = 0  # of the buffer in the signal

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
        onsets, parts, place = [np.empty(0, dtype=np.int64)], [], 0
        while place < block.shape[1]:
            if self._filled == self._buffer.shape[1]:
                self._forget()
            room = self._buffer.shape[1] - self._filled
            piece = block[:, place : place + room]  # (channels, up to room)
            self._buffer[:, self._filled : self._filled + piece.shape[1]] = piece
            self._filled += piece.shape[1]
            place += piece.shape[1]
            starts = self._take(self._begin + self._filled - self.window)
            if len(starts):
                onsets.append(starts)
                parts.append(self._copies(starts - self._begin))
        if not parts:
            return onsets[0], np.empty((0, self.channels, self.window), dtype=np.float32)
        return np.concatenate(onsets), np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _take(self, last: int) -> np.ndarray:
        """Starts of the next windows, int64, up to ``last``; they are not given again."""
        raise NotImplementedError

    def _next(self) -> int | None:
        """Where in the signal the next window starts; None: there is none."""
        raise NotImplementedError

    def _copies(self, starts: np.ndarray) -> np.ndarray:
        """The windows that start at these places of the buffer, (k, channels, window)."""
        signal = self._buffer[:, : self._filled]  # (channels, n)
        # (channels, n - window + 1, window), without a copy; some of them are taken.
        view = np.lib.stride_tricks.sliding_window_view(signal, self.window, axis=1)
        return np.ascontiguousarray(view.transpose(1, 0, 2)[starts])

    def _forget(self) -> None:
        """Move what further windows need to the front of the buffer."""
        following = self._next()
        wanted = self._filled if following is None else following - self._begin
        start = min(wanted, self._filled)  # it may lie beyond what has come
        kept = self._filled - start
        self._buffer[:, :kept] = self._buffer[:, start : self._filled].copy()
        self._filled = kept
        self._begin += start


class SlidingWindows(_WindowCutter):
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
        _check_sizes(stride=stride)
        super().__init__(window, channels)
        self.stride = int(stride)
        self._onset = 0  # of the next window in the signal

    @property
    def next_end(self) -> int:
        """Samples of the signal that must have been pushed for the next window to be complete."""
        return self._onset + self.window

    def _take(self, last: int) -> np.ndarray:
        starts = np.arange(self._onset, last + 1, self.stride, dtype=np.int64)
        self._onset += self.stride * len(starts)
        return starts

    def _next(self) -> int:
        return self._onset


class WindowsAt(_WindowCutter):
    """Windows of one length at given places, from blocks of any size.

    Parameters
    ----------
    window : int
        Samples of a window.
    starts : numpy.ndarray
        int, (windows,), their first samples, ascending; several may start together.
    channels : int

    Raises
    ------
    ValueError
        A number below 1, or starts below 0 or not in order.

    Notes
    -----
    A window is, to the bit, what :class:`SlidingWindows` gives at its place.
    """

    def __init__(self, window: int, starts: np.ndarray, channels: int) -> None:
        super().__init__(window, channels)
        starts = np.asarray(starts, dtype=np.int64)
        if starts.ndim != 1 or (starts < 0).any() or (np.diff(starts) < 0).any():
            raise ValueError("starts: expected samples from 0 on in their order, found others.")
        self._starts, self._given = starts, 0

    def _take(self, last: int) -> np.ndarray:
        first = self._given
        self._given = int(np.searchsorted(self._starts, last, side="right"))
        return self._starts[first : self._given]

    def _next(self) -> int | None:
        return int(self._starts[self._given]) if self._given < len(self._starts) else None


def _check_sizes(**sizes: int) -> None:
    for key, value in sizes.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{key}: expected a whole number from 1 on, found {value!r}.")
