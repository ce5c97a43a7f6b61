"""Statistics of many windows in the memory of a few: amplitudes, likeness of channels, spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LOW, _HIGH = -9.0, 12.0
_BINS_PER_DECADE = 200
_BINS = round((_HIGH - _LOW) * _BINS_PER_DECADE)
SEGMENT_S = 2.0
"""Length of the segments of a power spectrum; the resolution is its inverse."""


class Amplitudes:
    """Quantiles of \\|signal\\| per channel, from a histogram on a logarithmic scale.

    Notes
    -----
    200 bins per decade from 1e-9 to 1e12 microvolt: quantiles are exact to 0.6 %, whatever the
    unit was taken for. Zeros have their own bin.
    """

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, _BINS + 1), np.int64)
        self.highest = np.zeros(channels)
        """Largest \\|signal\\| per channel, (channels,), in microvolt."""

    def add(self, signals_uv: np.ndarray) -> None:
        """Count the samples of windows (windows, channels, samples)."""
        for row in range(len(self._counts)):
            values = np.abs(signals_uv[:, row].ravel())
            self.highest[row] = max(self.highest[row], float(values.max()))
            positive = values[values > 0]
            bins = ((np.log10(positive) - _LOW) * _BINS_PER_DECADE).astype(np.int64)
            np.clip(bins, 0, _BINS - 1, out=bins)
            self._counts[row, 0] += values.size - positive.size
            self._counts[row, 1:] += np.bincount(bins, minlength=_BINS)

    def quantiles(self, shares: Sequence[float]) -> np.ndarray:
        """Quantiles per channel, (channels, shares), in microvolt."""
        return np.stack([_from_counts(counts, shares) for counts in self._counts])

    def pooled(self, shares: Sequence[float]) -> np.ndarray:
        """Quantiles over all channels, (shares,), in microvolt."""
        return _from_counts(self._counts.sum(axis=0), shares)


def _from_counts(counts: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Quantiles of one histogram; a bin stands for its geometric middle, the first for zero."""
    total = np.cumsum(counts)  # (bins + 1,): samples up to and with each bin
    if not total[-1]:
        return np.full(len(shares), np.nan)
    wanted = np.maximum(np.ceil(np.asarray(shares) * total[-1]), 1)
    bins = np.searchsorted(total, wanted)
    middle = 10.0 ** (_LOW + (bins - 0.5) / _BINS_PER_DECADE)
    return np.where(bins == 0, 0.0, middle)


class ChannelLikeness:
    """Correlation of every two channels over all windows, each window about its own mean."""

    def __init__(self, channels: int) -> None:
        self._products = np.zeros((channels, channels))
        self.flat_windows = np.zeros(channels, np.int64)
        """Windows in which a channel does not move at all, (channels,)."""

    def add(self, signals_uv: np.ndarray) -> None:
        """Take in windows (windows, channels, samples)."""
        for window in signals_uv:
            # Products of all pairs of channels add up over windows: no window has to be kept.
            centred = window - window.mean(axis=1, keepdims=True, dtype=np.float64)
            self.flat_windows += window.max(axis=1) == window.min(axis=1)
            self._products += centred @ centred.T

    def correlations(self) -> np.ndarray:
        """Correlations (channels, channels); zero for a channel that never moves."""
        power = np.sqrt(np.diag(self._products))
        scale = np.divide(1.0, power, out=np.zeros_like(power), where=power > 0)
        return self._products * np.outer(scale, scale)


def window_spectra(signals_uv: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density of windows, the median over their channels.

    Parameters
    ----------
    signals_uv : numpy.ndarray
        (windows, channels, samples) in microvolt.
    rate_hz : float

    Returns
    -------
    frequencies_hz : numpy.ndarray
        (frequencies,), from 0 to half the rate.
    density : numpy.ndarray
        (windows, frequencies) in microvolt^2 / Hz: Welch's method with Hann windows of
        :data:`SEGMENT_S` (or of the window, where that is shorter), half overlapping.
    """
    from scipy.signal import welch

    length = min(signals_uv.shape[-1], round(SEGMENT_S * rate_hz))
    frequencies, density = welch(signals_uv, rate_hz, nperseg=length, axis=-1)
    return frequencies, np.median(density, axis=1)
