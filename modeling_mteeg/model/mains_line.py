"""Is a mains line left in a filtered signal? What stands out of its spectrum at 50 or 60 Hz."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .filter_chain import PreprocessingInfo
from .findings import Finding
from .mains_notch import NotchHz, notch_edges, notch_text, notches

MAINS_HZ = (50.0, 60.0)
STANDS_OUT = 10.0
"""Times the power density around it from which on a line is named. Recordings without one have 0.5
to 3, those with one tens to 100,000."""
_SEGMENT_S = 2.0  # of the spectrum: lines of 0.5 Hz
_MOST_SEGMENTS = 60  # two minutes of a recording, evenly spaced
_LEAST_SEGMENTS = 4  # below, chance alone makes lines
_LINE_HZ, _NEAR_HZ, _FAR_HZ = 0.5, 3.0, 6.0


def line_ratio(frequencies_hz: np.ndarray, density: np.ndarray, mains_hz: float) -> np.ndarray:
    """How far a line stands out of its surroundings.

    Parameters
    ----------
    frequencies_hz : numpy.ndarray
        (frequencies,), about 0.5 Hz apart.
    density : numpy.ndarray
        (..., frequencies), power per frequency in any unit.
    mains_hz : float

    Returns
    -------
    numpy.ndarray
        (...): the largest density within 0.5 Hz of ``mains_hz`` in units of the median density 3
        to 6 Hz away, below or above it, whichever is higher: a spectrum that ends there has no
        line. NaN where the spectrum does not reach so far, or is 0 there.
    """
    away = frequencies_hz - mains_hz
    line = np.abs(away) <= _LINE_HZ
    sides = [(sign * away >= _NEAR_HZ) & (sign * away <= _FAR_HZ) for sign in (-1, 1)]
    shape = density.shape[:-1]
    if not (line.any() and sides[0].any() and sides[1].any()):
        return np.full(shape, np.nan)
    level = np.maximum(*(np.median(density[..., side], axis=-1) for side in sides))
    highest = density[..., line].max(axis=-1)  # (...)
    return np.divide(highest, level, out=np.full(shape, np.nan), where=level > 0)


class MainsCheck:
    """Looks for mains lines in a filtered signal while it passes by in blocks.

    Parameters
    ----------
    info : PreprocessingInfo
        The filters of the signal, and its rate ``target_hz``.
    samples : int
        Length of the filtered signal.
    mains_hz : sequence of float
        Where lines are looked for. Those that were notched, or lie above the low-pass or the
        recording's own Nyquist frequency, are passed over.
    """

    def __init__(
        self, info: PreprocessingInfo, samples: int, mains_hz: Sequence[float] = MAINS_HZ
    ) -> None:
        self._notch_hz, rate_hz = info.notch_hz, info.target_hz
        highest = min(info.lowpass_hz or np.inf, info.rate_hz / 2, rate_hz / 2) - _LINE_HZ
        self.mains_hz = tuple(
            one for one in mains_hz if one < highest and not _is_notched(one, info.notch_hz)
        )
        self._size = round(_SEGMENT_S * rate_hz)
        # One segment in every so many samples, wherever blocks begin.
        self._every = max(self._size, samples // _MOST_SEGMENTS)
        frequencies = np.fft.rfftfreq(self._size, 1 / rate_hz)
        near = [np.abs(frequencies - one) <= _FAR_HZ for one in self.mains_hz]
        self._bins = np.flatnonzero(np.any(near, axis=0)) if near else np.zeros(0, np.int64)
        self._frequencies = frequencies[self._bins]
        self._window = np.hanning(self._size + 1)[:-1]
        self._held: list[np.ndarray] = []
        self._densities: list[np.ndarray] = []
        self._place = 0

    def see(self, signal: np.ndarray) -> None:
        """Take the next filtered samples (channels, n), n from 0 on."""
        start, samples = 0, signal.shape[1]
        while start < samples and self.mains_hz:
            within = self._place % self._every
            ahead = self._size if within < self._size else self._every
            stop = min(start + ahead - within, samples)
            if within < self._size:
                self._held.append(signal[:, start:stop].copy())
            self._place += stop - start
            if within < self._size and within + stop - start == self._size:
                self._take(np.concatenate(self._held, axis=1))
                self._held = []
            start = stop

    def _take(self, segment: np.ndarray) -> None:
        """The spectrum near the lines of a whole segment (channels, size)."""
        centred = segment - segment.mean(axis=1, keepdims=True)
        spectrum = np.fft.rfft(centred * self._window)[:, self._bins]  # (channels, bins)
        self._densities.append((np.abs(spectrum) ** 2).astype(np.float32))

    def ratios(self) -> dict[float, float]:
        """By frequency how far a line stands out in the median channel; empty: not known.

        Notes
        -----
        A channel's spectrum is the median over its segments, so that artefacts do not count.
        """
        if len(self._densities) < _LEAST_SEGMENTS:
            return {}
        density = np.median(np.stack(self._densities), axis=0)  # (channels, bins)
        found = {one: line_ratio(self._frequencies, density, one) for one in self.mains_hz}
        return {
            one: float(np.nanmedian(ratios))
            for one, ratios in found.items()
            if not np.isnan(ratios).all()
        }

    def findings(self) -> list[Finding]:
        """One finding, code ``mains``, for all lines that stand out; else none."""
        high = {one: ratio for one, ratio in self.ratios().items() if ratio >= STANDS_OUT}
        if not high:
            return []
        shown = " and ".join(
            f"at {one:g} Hz ({ratio:.0f} times the spectrum around it)"
            for one, ratio in high.items()
        )
        wanted = [f"{one:g}" for one in sorted({*high, *notches(self._notch_hz)})]
        value = wanted[0] if len(wanted) == 1 else f"[{', '.join(wanted)}]"
        return [
            Finding(
                "mains",
                f"A mains line is left {shown} in the median channel after filtering "
                f"({notch_text(self._notch_hz)}).",
                f"notch_hz={value} takes it away: in the task's card, from the preparation of its "
                f"data on (--notch {','.join(wanted)}).",
            )
        ]


def mains_findings(
    signal: np.ndarray, info: PreprocessingInfo, mains_hz: Sequence[float] = MAINS_HZ
) -> list[Finding]:
    """:class:`MainsCheck` of a whole filtered signal (channels, samples)."""
    check = MainsCheck(info, signal.shape[1], mains_hz)
    check.see(signal)
    return check.findings()


def _is_notched(mains_hz: float, notch_hz: NotchHz) -> bool:
    edges = map(notch_edges, notches(notch_hz))
    return any(low <= mains_hz <= high for low, high in edges)
