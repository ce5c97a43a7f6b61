"""The arithmetic behind preprocessing: filter kernels, reflection, and the transforms.

:class:`OneProduct` takes all steps at once, :func:`stepwise` one by one; preprocessing.py says when
each is right. Both follow MNE-Python 1.x's defaults (Hamming-windowed symmetric FIR filters,
``reflect_limited`` padding, resampling by the spectrum) and are tested against it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from types import ModuleType

import numpy as np

from .mains_notch import NOTCH_TRANSITION_HZ, NotchHz, notch_edges, notches

MARGIN = 100  # samples between the filters' reach and the end of the padding
_HAMMING_LENGTH = 3.3  # filter length times transition width, MNE's figure for Hamming windows
_SAME_RATE = 1e-6


@dataclasses.dataclass(frozen=True)
class PreprocessingInfo:
    """Rates and filters of a recording's preprocessing, all of them applicable at ``rate_hz``.

    Parameters
    ----------
    rate_hz, target_hz : float
        Rate before and after.
    highpass_hz, lowpass_hz : float or None
        Filters that are applied; None where none was asked for or it cannot be applied.
    notch_hz : float, tuple of float or None
        Notches that are applied.
    left_out : tuple of str
        One sentence per filter that was asked for and cannot be applied at this rate.
    """

    rate_hz: float
    target_hz: float
    highpass_hz: float | None
    lowpass_hz: float | None
    notch_hz: NotchHz
    left_out: tuple[str, ...] = ()

    @property
    def resampled(self) -> bool:
        """Whether the rate changes."""
        return not math.isclose(self.rate_hz, self.target_hz, rel_tol=_SAME_RATE)

    @property
    def cut_is_exact(self) -> bool:
        """Whether the low-pass leaves nothing where resampling cuts the spectrum.

        Only then is resampling local, and the same in blocks as for the whole recording.
        """
        if not self.resampled or self.lowpass_hz is None:
            return not self.resampled
        width = lowpass_width(self.rate_hz, self.lowpass_hz)
        return self.lowpass_hz + width <= self.target_hz / 2

    def samples_out(self, samples: int) -> int:
        """Samples at ``target_hz`` of ``samples`` at ``rate_hz``."""
        if not self.resampled:
            return samples
        return max(round(self.target_hz / self.rate_hz * samples), 1)

    @property
    def kernels(self) -> tuple[np.ndarray, ...]:
        """Band-pass and notch, each symmetric and of odd length."""
        return _kernels(self.rate_hz, self.highpass_hz, self.lowpass_hz, self.notch_hz)

    @property
    def filter_samples(self) -> int:
        """Length of the longest filter at ``rate_hz``."""
        return max((len(kernel) for kernel in self.kernels), default=0)

    @property
    def filter_s(self) -> float:
        """Length of the longest filter in seconds."""
        return self.filter_samples / self.rate_hz

    @property
    def reach(self) -> int:
        """Samples at ``rate_hz`` on either side that a filtered sample depends on."""
        return sum(len(kernel) // 2 for kernel in self.kernels)


@functools.cache
def fourier() -> ModuleType:
    """SciPy's transforms, or NumPy's (slower, same numbers) where SciPy is not installed."""
    try:
        from scipy import fft
    except ImportError:
        return np.fft
    return fft


def _lowpass(rate_hz: float, pass_hz: float, stop_hz: float) -> np.ndarray:
    """Symmetric Hamming-windowed sinc, odd length, gain 1 at 0 Hz: MNE's and SciPy's design."""
    length = round(_HAMMING_LENGTH * rate_hz / (stop_hz - pass_hz))
    length += 1 - length % 2  # odd: the filter's delay is a whole number of samples
    time = np.arange(length) - length // 2  # (length,), 0 in the middle
    # The cut lies halfway between the edges; sinc's argument counts half periods of it.
    kernel = np.sinc(time * (pass_hz + stop_hz) / rate_hz) * np.hamming(length)
    return kernel / kernel.sum()


def lowpass_width(rate_hz: float, lowpass_hz: float) -> float:
    """MNE's transition above a low-pass edge, at most up to Nyquist."""
    return min(max(0.25 * lowpass_hz, 2.0), rate_hz / 2 - lowpass_hz)


@functools.lru_cache(maxsize=8)
def _kernels(
    rate_hz: float, highpass_hz: float | None, lowpass_hz: float | None, notch_hz: NotchHz
) -> tuple[np.ndarray, ...]:
    """Band-pass and notch as MNE designs them, each an odd number of samples, centred."""

    def combine(parts: list[tuple[int, np.ndarray]], through: bool) -> np.ndarray:
        """Signed low-passes of different lengths as one kernel, with the signal if ``through``."""
        length = max(len(part) for _, part in parts)
        kernel = np.zeros(length)
        kernel[length // 2] = float(through)  # all frequencies pass, less those of negative parts
        for sign, part in parts:
            start = (length - len(part)) // 2
            kernel[start : start + len(part)] += sign * part
        return kernel

    kernels, band = [], []
    if lowpass_hz is not None:
        width = lowpass_width(rate_hz, lowpass_hz)
        band.append((1, _lowpass(rate_hz, lowpass_hz, lowpass_hz + width)))
    if highpass_hz is not None:  # what is below the edge is taken off
        width = min(max(0.25 * highpass_hz, 2.0), highpass_hz)
        band.append((-1, _lowpass(rate_hz, highpass_hz - width, highpass_hz)))
    if band:
        kernels.append(combine(band, through=lowpass_hz is None))
    stopped, width = [], NOTCH_TRANSITION_HZ
    for low, high in map(notch_edges, reversed(notches(notch_hz))):
        stopped.append((-1, _lowpass(rate_hz, high - width, high)))  # 1 - band in between
        stopped.append((1, _lowpass(rate_hz, low, low + width)))
    if stopped:  # all notches are one kernel, as MNE's
        kernels.append(combine(stopped, through=True))
    return tuple(kernels)


def mne_grid(samples: int, chain: PreprocessingInfo) -> tuple[int, int, int, int]:
    """Padding and lengths of MNE's resampling: left, right, padded length, padded length after."""
    if not chain.resampled:
        return 0, 0, samples, samples
    # A power of two, with an eighth of the signal on either side, or 100 samples if that is less.
    padded = 2 ** math.ceil(math.log2(samples + 2 * min(samples // 8, 100)))
    left = (padded - samples) // 2
    after = max(round(chain.target_hz / chain.rate_hz * padded), 1)
    return left, padded - samples - left, padded, after


def _reflect(x: np.ndarray, left: int, right: int, length: int = 0) -> np.ndarray:
    """Continue rows by odd reflection, and by zeros where that ends, or up to ``length`` samples.

    The dtype is kept.
    """
    rows, samples = x.shape
    out = np.zeros((rows, max(left + samples + right, length)), dtype=x.dtype)
    near, far = min(left, samples - 1), min(right, samples - 1)  # as far as the signal reaches
    out[:, left : left + samples] = x
    # Turned about the end point, which itself is not repeated: 2 x[0] - x[k].
    out[:, left - near : left] = 2 * x[:, :1] - x[:, near:0:-1]
    tail = x[:, samples - 1 - far : samples - 1][:, ::-1]
    out[:, left + samples : left + samples + far] = 2 * x[:, -1:] - tail
    return out


def easy_number(minimum: int, even: bool = False) -> int:
    """Smallest number of at least ``minimum``, above 0, with no prime factor above 5."""
    powers = range(max(minimum, 2).bit_length())
    odd = (3**i * 5**j for i in powers for j in powers)
    # Times the lowest power of two that reaches the minimum.
    return min(part << max(even, (-(-minimum // part) - 1).bit_length()) for part in odd)


@functools.lru_cache(maxsize=2)
def frequency_response(chain: PreprocessingInfo, length: int) -> np.ndarray:
    """Real frequency response of all filters together, float64, (length // 2 + 1,)."""
    fft = fourier()
    response = np.ones(length // 2 + 1)
    for kernel in chain.kernels:  # odd lengths, symmetric: laid around 0 their spectrum is real
        around_zero = np.zeros(length)  # the kernel centred on sample 0, so that nothing is delayed
        half = len(kernel) // 2
        around_zero[: half + 1] = kernel[half:]
        around_zero[length - half :] = kernel[:half]
        response *= fft.rfft(around_zero).real  # symmetric about 0: the transform is real
    response.flags.writeable = False
    return response


class OneProduct:
    """All steps as one product in the frequency domain, for recordings of one length.

    Parameters
    ----------
    chain : PreprocessingInfo
    samples : int
        Longer than twice the reach of the filters together: see :meth:`fits`.

    Notes
    -----
    Computed in float32 after each channel's mean is taken off: the error is about 3e-7 of a
    channel's standard deviation, drift included, so 0.0003 microvolt for a drift of 1 mV.
    """

    @staticmethod
    def fits(chain: PreprocessingInfo, samples: int) -> bool:
        """Whether one product equals the steps: long enough, and nothing left at Nyquist.

        Without the low-pass, resampling rings where the padded signal ends, so the padding itself
        would have to be MNE's; such recordings (100 and 128 Hz) are small anyway.
        """
        return samples > 2 * (chain.reach + MARGIN) and chain.cut_is_exact

    def __init__(self, chain: PreprocessingInfo, samples: int) -> None:
        self.samples_out = chain.samples_out(samples)
        reach = chain.reach + MARGIN
        left, _, padded, after = mne_grid(samples, chain)
        if chain.resampled:
            self.length, self.length_out = _same_ratio(padded, after, samples + 2 * reach)
            # MNE's output begins at a whole sample of its own padded grid; where that lies here.
            first = round(chain.target_hz / chain.rate_hz * left) * padded / after - left
        else:
            self.length = self.length_out = easy_number(samples + 2 * reach, even=True)
            first = 0.0
        self.reach = reach
        response = frequency_response(chain, self.length)
        bins = min(self.length, self.length_out) // 2 + 1  # cutting the spectrum is resampling
        # A phase ramp moves the output's first sample to the signal's: in turns, for accuracy.
        turns = np.arange(bins) * ((first + reach) / self.length)
        self.gain_dc = response[0]
        gain = response[:bins] * np.exp(2j * np.pi * (turns % 1.0))
        gain *= self.length_out / self.length  # irfft divides by its own length
        # The last bin of an even length stands for both signs of its frequency.
        if self.length != self.length_out and min(self.length, self.length_out) % 2 == 0:
            gain[-1] *= 2.0 if self.length_out < self.length else 0.5
        self.gain = gain.astype(np.complex64)

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """(channels, samples) to (channels, samples_out)."""
        fft = fourier()
        offset = block.mean(axis=1, dtype=np.float64, keepdims=True)  # (channels, 1), kept exact
        centred = np.empty(block.shape, dtype=np.float32)
        np.subtract(block, offset, out=centred, dtype=np.float64, casting="same_kind")
        continued = _reflect(centred, self.reach, self.reach, self.length)  # (channels, length)
        spectrum = fft.rfft(continued)[:, : len(self.gain)]
        spectrum *= self.gain  # (channels, bins), complex64
        out = fft.irfft(spectrum, n=self.length_out)[:, : self.samples_out]
        out += (offset * self.gain_dc).astype(np.float32)
        return out


@functools.lru_cache(maxsize=2)
def one_product(chain: PreprocessingInfo, samples: int) -> OneProduct | None:
    """The product for recordings of ``samples``, where there is one; many are equally long."""
    return OneProduct(chain, samples) if OneProduct.fits(chain, samples) else None


def _same_ratio(padded: int, after: int, minimum: int) -> tuple[int, int]:
    """Smallest easy multiple of (padded, after), in lowest even terms, of at least ``minimum``."""
    unit = math.gcd(padded, after)
    unit //= 2 if unit % 2 == 0 and (padded // unit) % 2 else 1
    factor = easy_number(math.ceil(minimum / (padded // unit)))
    return padded // unit * factor, after // unit * factor


def stepwise(block: np.ndarray, chain: PreprocessingInfo) -> np.ndarray:
    """The steps one after another, each with its own reflection, as MNE takes them."""
    fft = fourier()
    x = np.array(block, dtype=np.float64)
    samples = x.shape[1]
    for kernel in chain.kernels:
        edge = min(len(kernel), samples) - 1
        padded = _reflect(x, edge, edge)  # (channels, edge + samples + edge)
        length = easy_number(padded.shape[1] + len(kernel) - 1, even=True)  # no wrapping
        spectrum = fft.rfft(padded, n=length) * fft.rfft(kernel, n=length)
        start = edge + len(kernel) // 2  # the reflection, and the filter's delay
        x = fft.irfft(spectrum, n=length)[:, start : start + samples]
    if not chain.resampled:
        return x
    left, right, padded, after = mne_grid(samples, chain)
    spectrum = fft.rfft(_reflect(x, left, right))
    shorter = min(padded, after)  # what both spectra have
    spectrum = spectrum[:, : shorter // 2 + 1] * (after / padded)
    if shorter % 2 == 0:
        spectrum[:, -1] *= 2.0 if after < padded else 0.5
    first = round(chain.target_hz / chain.rate_hz * left)
    return fft.irfft(spectrum, n=after)[:, first : first + chain.samples_out(samples)]
