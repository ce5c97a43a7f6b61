"""Spectrogram of a whole recording at constant memory: a multitaper estimate in every column."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .drawn_recording import ShownRecording
from .page_picture import keep_colour
from .style import plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 960
LOWEST_HZ = 0.5
_MOST_S = 30.0
_BLOCK_S = 60.0
_MOST_VALUES = 30.0 * 256 * 16
_BANDWIDTH = 2.0
_TAPERS = 3
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
        At most so many; a column is at least half a second.

    Notes
    -----
    Three Slepian tapers (time-bandwidth 2) on segments of 2 s (4 s where a column is 8 s or longer)
    with half overlap; the mean over tapers and over the segments of the column. Of a column longer
    than 30 s (for many channels: shorter) only the middle is read, so that a day costs as much as
    a night.
    """
    length = recording.length_s
    count = int(np.clip(np.floor(length / 0.5), 1, columns))
    edges = np.linspace(0, length, count + 1)
    column_s = length / count
    segment_s = min(4.0 if column_s >= 8 else 2.0, length)
    used_s = min(column_s, _MOST_S, _MOST_VALUES / (len(channels) * recording.rate_hz))
    used_s = max(used_s, segment_s)
    starts = np.clip((edges[1:] + edges[:-1] - used_s) / 2, 0, max(0.0, length - used_s))
    powers, frequencies = [], np.zeros(0)
    for data in _columns(recording, channels, starts, used_s):
        frequencies, power = _power(data, recording.rate_hz, segment_s)
        powers.append(power)
    kept = (frequencies >= LOWEST_HZ) & (frequencies <= min(highest_hz, recording.rate_hz / 2))
    power = np.stack(powers, axis=1)[kept]
    with np.errstate(divide="ignore"):
        decibel = 10 * np.log10(power)
    decibel[~np.isfinite(decibel)] = np.nan
    return Spectrogram(edges, frequencies[kept], decibel, tuple(channels))


def draw_spectrogram(axes: Axes, drawn: Spectrogram, beside: Axes) -> None:
    """Draw it with its channels' names, and a colour bar in the axes beside it.

    The limits of the colours leave out 2 % at both ends.
    """
    finite = drawn.power_db[np.isfinite(drawn.power_db)]
    low, high = np.percentile(finite, _QUANTILES) if finite.size else (0.0, 0.0)
    spare = max(0.0, _LEAST_RANGE_DB - (high - low)) / 2
    frequencies = drawn.frequencies_hz
    step = frequencies[1] - frequencies[0] if len(frequencies) > 1 else 1
    edges = np.append(frequencies - step / 2, frequencies[-1] + step / 2)
    mesh = axes.pcolormesh(
        drawn.edges_s, edges, drawn.power_db, cmap="viridis", rasterized=True,
        vmin=low - spare, vmax=high + spare,
    )  # fmt: skip
    axes.set_facecolor("#bbbbbb")
    axes.set_ylim(frequencies[0], frequencies[-1])
    axes.set_ylabel("frequency (Hz)", fontsize=8)
    axes.tick_params(labelsize=8)
    channels = drawn.channels
    name = channels[0] if len(channels) == 1 else f"median of {len(channels)} channels"
    title = axes.text(
        0.004, 0.96, plain_text(name), transform=axes.transAxes, fontsize=7, color="white",
        va="top", bbox={"facecolor": "black", "alpha": 0.55, "lw": 0, "pad": 1.5},
    )  # fmt: skip
    keep_colour(title)  # over a mesh that keeps its own
    place = beside.inset_axes((0, 0.02, 0.09, 0.96))
    bar = axes.figure.colorbar(mesh, cax=place, extend="both")
    bar.set_label("power (dB re 1 µV²/Hz)", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _columns(
    recording: ShownRecording, channels: Sequence[str], starts: np.ndarray, used_s: float
) -> Iterator[np.ndarray]:
    """Signal of one column after another, read for as many at a time as a minute holds."""
    rate, samples = recording.rate_hz, max(2, round(used_s * recording.rate_hz))
    step = recording.length_s / len(starts)
    together = max(1, int((_BLOCK_S - used_s) / step)) if step <= used_s else 1
    for place in range(0, len(starts), together):
        block = starts[place : place + together]
        data = recording.read(channels, float(block[0]), float(block[-1]) + used_s)
        for start in block:
            begin = round((start - block[0]) * rate)
            yield data[:, max(0, min(begin, data.shape[1] - samples)) :][:, :samples]


def _power(data: np.ndarray, rate_hz: float, segment_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and (frequencies,) power in µV²/Hz, median over the channels."""
    size = max(2, min(round(segment_s * rate_hz), data.shape[1]))
    segments = np.lib.stride_tricks.sliding_window_view(data, size, axis=1)[:, :: size // 2]
    if np.isnan(data).any():  # between parts of the recording
        segments = segments[:, ~np.isnan(segments).any(axis=(0, 2))]
        if not segments.shape[1]:
            frequencies = np.fft.rfftfreq(size, 1 / rate_hz)
            return frequencies, np.full(len(frequencies), np.nan)
    segments = segments - segments.mean(axis=-1, keepdims=True)
    tapered = segments[:, :, None] * _tapers(size)  # (channels, segments, tapers, size)
    power = np.mean(np.abs(np.fft.rfft(tapered)) ** 2, axis=(1, 2)) / rate_hz
    power[:, 1 : (size + 1) // 2] *= 2  # one-sided: all but zero and the Nyquist frequency
    return np.fft.rfftfreq(size, 1 / rate_hz), np.median(power, axis=0)


@functools.lru_cache(maxsize=8)
def _tapers(size: int) -> np.ndarray:
    """(tapers, size), each with a sum of squares of 1."""
    from scipy.signal.windows import dpss

    if size <= 2 * _BANDWIDTH:
        return np.full((1, size), size**-0.5)
    return dpss(size, _BANDWIDTH, _TAPERS)
