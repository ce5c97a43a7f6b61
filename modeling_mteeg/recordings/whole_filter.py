"""The filter of a recording: piece by piece, or at once where only that is exact."""

from __future__ import annotations

import numpy as np

from ..model.preprocessing import PreprocessingInfo, preprocess
from .stream_filter import StreamFilter

MOST_VALUES = 2**23
"""Channels times samples that are held at once: two channels at 100 Hz for 11.6 hours, 64 MiB."""


def recording_filter(
    info: PreprocessingInfo, channels: int, samples: int
) -> StreamFilter | WholeFilter:
    """The filter for a recording of known length.

    Parameters
    ----------
    info : PreprocessingInfo
    channels, samples : int

    Returns
    -------
    StreamFilter or WholeFilter
        Both have ``push`` and ``finish``. The second where the rate changes and no low-pass can be
        applied (100 and 128 Hz): that resampling is not local. Longer recordings than
        ``MOST_VALUES`` are streamed all the same; what is close to Nyquist then differs, as
        ``StreamFilter`` says.
    """
    local = not info.resampled or info.lowpass_hz is not None
    if local or channels * samples > MOST_VALUES:
        return StreamFilter(info, channels, samples)
    return WholeFilter(info, channels, samples)


class WholeFilter:
    """Collect a recording, and filter it at its end as ``preprocess`` does.

    Parameters
    ----------
    info : PreprocessingInfo
    channels, samples : int
    """

    def __init__(self, info: PreprocessingInfo, channels: int, samples: int) -> None:
        self.info = info
        self._signal = np.empty((channels, samples))  # float64, as `preprocess` computes
        self._filled = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take the next samples (channels, n); nothing is ready: float32, (channels, 0)."""
        self._signal[:, self._filled : self._filled + block.shape[1]] = block
        self._filled += block.shape[1]
        return np.empty((len(self._signal), 0), dtype=np.float32)

    def finish(self) -> np.ndarray:
        """All of the filtered recording, float32, (channels, samples)."""
        info = self.info
        edges = (info.highpass_hz, info.lowpass_hz, info.notch_hz)
        signal, self._signal = self._signal, self._signal[:, :0]  # freed when it is filtered
        return preprocess(signal, info.rate_hz, info.target_hz, *edges)
