"""One block of a long signal through all filters and to the other rate: lengths, gain, transforms.

Overlap-save with the kernel of all filters together: a block of ``length`` samples goes through a
real Fourier transform, a product, and a transform of another length, which resamples it. SciPy's
``upfirdn`` would take the 33 s kernel sample by sample (thousands of products per output sample),
and its ``oaconvolve`` neither resamples nor takes a signal piece by piece.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ..model.filter_chain import (
    MARGIN,
    PreprocessingInfo,
    easy_number,
    fourier,
    frequency_response,
    mne_grid,
)

_SINC_S = 2.0  # to the ends of a block where the spectrum is cut and no low-pass was applied,
_SINC_REACH_S = 16.0  # and at least so much in all: a sinc decays slowly

_MOST_DRIFT = 0.015  # output samples; a correction of second order leaves the cube of it
_SMALL_DRIFT = 0.002  # one of first order is enough
_NO_DRIFT = 2e-5
_WORK_BYTES = 2**23  # about what the transforms of some channels may hold at a time


def output_grid(chain: PreprocessingInfo, samples: int | None) -> tuple[Fraction, Fraction]:
    """Where output samples lie: time of the first and their distance, in input samples.

    Parameters
    ----------
    chain : PreprocessingInfo
    samples : int or None
        Length of the recording: the grid of MNE's resampling, which depends on it. None: the
        nominal grid, from sample 0 in steps of the ratio of the rates.
    """
    if not chain.resampled:
        return Fraction(0), Fraction(1)
    rate, target = (
        Fraction(value).limit_denominator(1_000_000) for value in (chain.rate_hz, chain.target_hz)
    )
    if samples is None:
        return Fraction(0), rate / target
    left, _, padded, after = mne_grid(samples, chain)
    first = round(chain.target_hz / chain.rate_hz * left)
    return Fraction(first * padded, after) - left, Fraction(padded, after)


def grid_shift(chain: PreprocessingInfo, samples: int) -> float:
    """How far MNE's grid lies beside the nominal one, in output samples, at most.

    MNE rounds the place of the first sample and the length after resampling to whole output
    samples, so every recording has a shift of its own, always below one output sample.
    """
    first, step = output_grid(chain, samples)
    _, nominal = output_grid(chain, None)
    last = chain.samples_out(samples) - 1
    return float(max(abs(first), abs(first + last * (step - nominal))) / nominal)


class BlockTransform:
    """Filters and resamples blocks of one length.

    Parameters
    ----------
    chain : PreprocessingInfo
    step : fractions.Fraction
        Distance of output samples in input samples.
    hop : int
        Input samples that a block should move on by; less where the ratio of the rates is not one
        of small numbers, so that the grid hardly drifts within a block.

    Attributes
    ----------
    reach : int
        Input samples on either side of an output sample that it depends on.
    length, length_out : int
        Samples of a block before and after.
    unit : int
        Blocks whose starts differ by a multiple of it have the same phases.
    """

    def __init__(self, chain: PreprocessingInfo, step: Fraction, hop: int) -> None:
        self.reach = chain.reach + MARGIN
        if not chain.cut_is_exact:
            self.reach = chain.reach + round(_SINC_S * chain.rate_hz)
            self.reach = max(self.reach, round(_SINC_REACH_S * chain.rate_hz))
        self.ratio, self.length = _ratio_and_length(step, hop, self.reach)
        self.unit, self.length_out = self.ratio.numerator, int(self.length / self.ratio)
        self.drift = float(step / self.ratio - 1)  # output samples per output sample
        self._response = self._cut(frequency_response(chain, self.length))
        self._gain: tuple[float, np.ndarray] | None = None  # of the last shift; mostly the same
        self._line = np.linspace(0.0, 1.0, self.length, dtype=np.float32)

    def _cut(self, response: np.ndarray) -> np.ndarray:
        """The response up to the lower of the two Nyquist frequencies, scaled."""
        # The level is taken off before the transform and put back after it; 0 behind a high-pass.
        self.gain_dc = float(response[0]) if abs(response[0]) > 1e-9 else 0.0
        shorter = min(self.length, self.length_out)
        # irfft divides by the length after, rfft's sum has the length before: the ratio mends it.
        response = response[: shorter // 2 + 1] * (self.length_out / self.length)
        # The bin at the shorter one's Nyquist stands for two bins (+ and -) of the longer one.
        if self.length != self.length_out and shorter % 2 == 0:
            response[-1] *= 2.0 if self.length_out < self.length else 0.5
        return response

    def _gain_at(self, shift: float) -> np.ndarray:
        """Response times the phases that move the output grid by ``shift`` input samples."""
        if self._gain is None or abs(self._gain[0] - shift) > 1e-9:
            turns = np.arange(len(self._response)) * (shift / self.length)
            gain = self._response * np.exp(2j * np.pi * turns)
            self._gain = shift, gain.astype(np.complex64)
        return self._gain[1]

    def __call__(self, block: np.ndarray, first: Fraction, step: Fraction, count: int):
        """Filter and resample one block.

        Parameters
        ----------
        block : numpy.ndarray
            float32, (channels, length).
        first : fractions.Fraction
            Place of the first output sample within the block, in input samples; from ``reach`` on.
        step : fractions.Fraction
            Distance of output samples in input samples.
        count : int
            Output samples; the last lies at least ``reach`` before the block's end.

        Returns
        -------
        numpy.ndarray
            float32, (channels, count).
        """
        # The step of the block's own grid is the ratio of small numbers. By a shift of phases below
        # one sample it meets the wanted grid in the middle, and drifts from there to both ends.
        middle = count // 2
        place = first + middle * step
        near = round(place / self.ratio)  # nearest sample of the block's own grid
        gain = self._gain_at(float(place - near * self.ratio))
        away = (np.arange(count) - middle) * self.drift  # (count,), in output samples
        drifts = count > 1 and np.abs(away).max() > _NO_DRIFT
        start = near - middle
        out = np.empty((len(block), count), dtype=np.float32)
        rows = max(1, _WORK_BYTES // (4 * self.length))  # some channels at a time stay in the cache
        for row in range(0, len(block), rows):
            part = block[row : row + rows]
            self._product(part, gain, out[row : row + rows], start, away if drifts else None)
        if self.gain_dc:
            # The line that _product takes off, at the wanted grid exactly: (channels, count).
            ends = block[:, [0, -1]].astype(np.float64)
            times = (float(first) + np.arange(count) * float(step)) / (self.length - 1)
            out += self.gain_dc * (ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * times)
        return out

    def _product(self, block, gain, out, start: int, away: np.ndarray | None) -> None:
        """The block less the line through its ends, filtered, at the block's own grid."""
        fft = fourier()
        # A transform takes the block as periodic; without the line its two ends meet at 0.
        ends = block[:, :1], block[:, -1:]  # (channels, 1) each
        level = (ends[1] - ends[0]) * self._line
        level += ends[0]
        np.subtract(block, level, out=level)
        spectrum = fft.rfft(level)[:, : len(gain)]  # (channels, bins up to the lower Nyquist)
        spectrum *= gain
        count = out.shape[1]
        # Fewer or more bins than came in are another rate. What lies within `reach` of the ends has
        # wrapped around and is not taken.
        out[:] = fft.irfft(spectrum, n=self.length_out)[:, start : start + count]
        if away is None:
            return
        # Taylor: y(t + away) = y + away y' + away^2 y'' / 2, the derivatives from the spectrum.
        turn = (2j * np.pi / self.length_out * np.arange(len(gain))).astype(np.complex64)
        factor = away.astype(np.float32)
        for order in (1, 2) if np.abs(away).max() > _SMALL_DRIFT else (1,):
            spectrum *= turn  # a derivative, by output samples
            slope = fft.irfft(spectrum, n=self.length_out)[:, start : start + count]
            slope *= factor**order / order
            out += slope


def _ratio_and_length(step: Fraction, hop: int, reach: int) -> tuple[Fraction, int]:
    """A ratio of small numbers near ``step``, and a length over which it is near enough.

    A multiple of the ratio's numerator with no other prime factor above 5. It moves on by ``hop``,
    or by less where the grid would drift too far.
    """
    limit = math.ceil(1 / step)  # so that no ratio is 0
    while True:
        ratio = step.limit_denominator(limit)
        away = abs(float(step / ratio - 1))  # drift of an output sample
        # Input samples on which a block drifts by _MOST_DRIFT on either side of its middle.
        allowed = 2 * _MOST_DRIFT * float(ratio) / away if away else math.inf
        length = _length(ratio.numerator, 2 * reach + int(min(hop, allowed)))
        if allowed >= min(hop, reach) and length - 2 * reach <= 1.3 * allowed:
            return ratio, length
        limit *= 2


def _length(unit: int, least: int) -> int:
    """Smallest easy length of at least ``least`` and what aligning blocks to ``unit`` costs."""
    return unit * easy_number(math.ceil((least + unit + 1) / unit))
