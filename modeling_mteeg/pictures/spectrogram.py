"""Spectrogram of a whole recording at constant memory, by Welch's method in every column."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .recording import ShownRecording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 960
LOWEST_HZ = 0.5
_MOST_S = 30.0
_MOST_VALUES = 30.0 * 256 * 16
_QUANTILES = (2, 98)
_LEAST_RANGE_DB = 10.0


@dataclasses.dataclass(frozen=True)
class Spectrogram:
    """Power over time and frequency.

    Parameters
    ----------
    edges_s : numpy.ndarray
        (columns + 1,), from 0 to the recording's length.
    frequencies_hz : numpy.ndarray
        (frequencies,).
    power_db : numpy.ndarray
        (frequencies, columns), decibel relative to 1 µV²/Hz, median over the channels; NaN where
        there is no signal at all.
    channels : tuple of str
    """

    edges_s: np.ndarray
    frequencies_hz: np.ndarray
    power_db: np.ndarray
    channels: tuple[str, ...]


def spectrogram(
    recording: ShownRecording, channels: Sequence[str], highest_hz: float, columns: int = COLUMNS
) -> Spectrogram:
    """Estimate the power spectral density along a recording.

    Parameters
    ----------
    recording : ShownRecording
    channels : sequence of str
        The median over these is shown.
    highest_hz : float
        Cut to the recording's Nyquist frequency.
    columns : int
        At most so many; a column is at least a quarter of a second.

    Notes
    -----
    Segments of 2 s (4 s where a column is 8 s or longer) with a Hann window and half overlap are
    averaged over the column. Of a column longer than 30 s (for many channels: shorter) only the
    middle is read, so that a day costs as much as a night.
    """
    length = recording.length_s
    count = int(np.clip(np.floor(length / 0.25), 1, columns))
    edges = np.linspace(0, length, count + 1)
    column_s = length / count
    segment_s = min(4.0 if column_s >= 8 else 2.0, length)
    used_s = min(column_s, _MOST_S, _MOST_VALUES / (len(channels) * recording.rate_hz))
    used_s = max(used_s, segment_s)
    powers, frequencies = [], np.zeros(0)
    for middle in (edges[1:] + edges[:-1]) / 2:
        start = np.clip(middle - used_s / 2, 0, max(0.0, length - used_s))
        data = recording.read(channels, float(start), float(start) + used_s)
        frequencies, power = _welch(data, recording.rate_hz, segment_s)
        powers.append(power)
    kept = (frequencies >= LOWEST_HZ) & (frequencies <= min(highest_hz, recording.rate_hz / 2))
    power = np.stack(powers, axis=1)[kept]
    with np.errstate(divide="ignore"):
        decibel = 10 * np.log10(power)
    decibel[~np.isfinite(decibel)] = np.nan
    return Spectrogram(edges, frequencies[kept], decibel, tuple(channels))


def draw_spectrogram(axes: Axes, found: Spectrogram, beside: Axes) -> None:
    """Draw it, with a colour bar in the axes beside it; limits leave out 2 % at both ends."""
    finite = found.power_db[np.isfinite(found.power_db)]
    low, high = np.percentile(finite, _QUANTILES) if finite.size else (0.0, 0.0)
    spare = max(0.0, _LEAST_RANGE_DB - (high - low)) / 2
    step = found.frequencies_hz[1] - found.frequencies_hz[0] if len(found.frequencies_hz) > 1 else 1
    edges = np.append(found.frequencies_hz - step / 2, found.frequencies_hz[-1] + step / 2)
    mesh = axes.pcolormesh(
        found.edges_s, edges, found.power_db, cmap="viridis", rasterized=True,
        vmin=low - spare, vmax=high + spare,
    )  # fmt: skip
    axes.set_facecolor("#bbbbbb")
    axes.set_ylim(found.frequencies_hz[0], found.frequencies_hz[-1])
    axes.set_ylabel("frequency (Hz)", fontsize=8)
    axes.tick_params(labelsize=8)
    place = beside.inset_axes((0, 0.02, 0.09, 0.96))
    bar = axes.figure.colorbar(mesh, cax=place, extend="both")
    bar.set_label("power (dB re 1 µV²/Hz)", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def channels_text(channels: Sequence[str]) -> str:
    """Of which channels a spectrogram is."""
    return channels[0] if len(channels) == 1 else f"median of {len(channels)} channels"


def _welch(data: np.ndarray, rate_hz: float, segment_s: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.signal import welch

    size = max(2, min(round(segment_s * rate_hz), data.shape[1]))
    frequencies, power = welch(data, rate_hz, nperseg=size, axis=1)
    return frequencies, np.median(power, axis=0)
