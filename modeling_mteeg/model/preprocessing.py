"""Filter, notch and resample: the published LaBraM scripts' chain, in two Fourier transforms.

The published scripts call ``raw.filter(0.1, 75.0)``, ``raw.notch_filter(50.0)`` and
``raw.resample(200)`` of MNE-Python with all defaults. :func:`preprocess` gives the same numbers
(tests compare with MNE itself) without importing MNE:

* MNE's filters are symmetric Hamming-windowed FIR filters run over the signal continued at both
  ends by odd reflection. A symmetric filter of an oddly reflected signal is again oddly reflected,
  so reflecting once, at the start, equals reflecting before each step.
* MNE resamples by cutting (or padding) the spectrum. All three steps are therefore one product in
  the frequency domain: a forward transform, a multiplication, a shorter inverse transform.
* MNE pads to a power of two before it resamples. Unless that length times the ratio of the rates
  is whole, its output samples lie a fraction of a sample beside their nominal times. The same grid
  is used here, through a phase ramp.

Recordings too short for one reflection to reach across all filters take the steps one by one.
"""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np

from .filter_chain import PreprocessingInfo, one_product, stepwise
from .mains_notch import NotchHz, checked_notch, notch_edges, notches

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 2**24  # about what one pass over some channels may hold at a time


def preprocessing_info(
    rate_hz: float,
    target_hz: float = 200.0,
    highpass_hz: float | None = 0.1,
    lowpass_hz: float | None = 75.0,
    notch_hz: NotchHz = 50.0,
) -> PreprocessingInfo:
    """Decide which filters can be applied at a rate.

    Parameters
    ----------
    rate_hz, target_hz : float
        Rate of the recording and of the result.
    highpass_hz, lowpass_hz : float or None
        Filters asked for; None asks for none.
    notch_hz : float, sequence of float or None
        One mains frequency or several: see :func:`mains_notch.checked_notch`.

    Returns
    -------
    PreprocessingInfo

    Raises
    ------
    ValueError
        A rate or an edge is not a number above 0, or the edges do not leave a band; notches that
        are none (:func:`mains_notch.checked_notch`).

    Notes
    -----
    A filter whose edge lies at or above the recording's Nyquist frequency cannot be applied and is
    left out, with a sentence in ``left_out``. That is right for the low-pass: such a recording has
    nothing there. A notch at Nyquist (50 Hz in a 100 Hz recording) has nothing to remove either;
    of several, those below it are applied.
    """
    asked = {
        "rate_hz": rate_hz, "target_hz": target_hz, "highpass_hz": highpass_hz,
        "lowpass_hz": lowpass_hz,
    }  # fmt: skip
    wrong = [
        f"{key} = {value!r}"
        for key, value in asked.items()
        if not (value is None and key not in ("rate_hz", "target_hz")) and not is_positive(value)
    ]
    if wrong:
        raise ValueError(f"Expected finite numbers above 0, found {', '.join(wrong)}.")
    notch_hz = checked_notch(notch_hz)
    if highpass_hz is not None and lowpass_hz is not None and highpass_hz >= lowpass_hz:
        raise ValueError(
            f"Expected highpass_hz below lowpass_hz, found {highpass_hz:g} and {lowpass_hz:g} Hz."
        )
    nyquist = rate_hz / 2
    left_out = []

    def applied(name: str, edge: float | None, reach: float) -> float | None:
        if edge is None or reach < nyquist:
            return None if edge is None else float(edge)
        left_out.append(
            f"The {edge:g} Hz {name} reaches the recording's Nyquist frequency "
            f"({nyquist:g} Hz) and is left out."
        )
        return None

    high = applied("high-pass", highpass_hz, highpass_hz or 0)
    low = applied("low-pass", lowpass_hz, lowpass_hz or 0)
    stopped = [applied("notch", one, notch_edges(one)[1]) for one in notches(notch_hz)]
    notch = checked_notch([one for one in stopped if one is not None] or None)
    edges = {"highpass_hz": high, "lowpass_hz": low, "notch_hz": notch}
    return PreprocessingInfo(float(rate_hz), float(target_hz), **edges, left_out=tuple(left_out))


def preprocess(
    signal_uv: np.ndarray,
    rate_hz: float,
    target_hz: float = 200.0,
    highpass_hz: float | None = 0.1,
    lowpass_hz: float | None = 75.0,
    notch_hz: NotchHz = 50.0,
) -> np.ndarray:
    """Band-pass, notch and resample a recording as the published LaBraM scripts do.

    Parameters
    ----------
    signal_uv : numpy.ndarray
        (channels, samples), any real dtype. The unit is kept; microvolt everywhere else here.
    rate_hz, target_hz : float
        Sampling rate of the recording and of the result.
    highpass_hz, lowpass_hz : float or None
        Paper, section 4.2, and the published scripts; None leaves a filter out. What cannot be
        applied at ``rate_hz`` is left out: see ``preprocessing_info``.
    notch_hz : float, sequence of float or None
        One mains frequency, or several (``[50, 60]``) in one filter, as MNE designs it.

    Returns
    -------
    numpy.ndarray
        float32, (channels, round(samples * target_hz / rate_hz)).

    Raises
    ------
    ValueError
        Another shape, no samples, or values that are not finite.

    Notes
    -----
    The 0.1 Hz high-pass is 33 s long. A shorter recording is filtered all the same, as MNE does,
    with one warning: the numbers are those of the published scripts, but slow waves (below about
    1 Hz) depend on the reflection at the ends.
    """
    signal = np.asarray(signal_uv)
    if signal.ndim != 2 or 0 in signal.shape:
        raise ValueError(
            f"Expected a signal (channels, samples) with at least one of each, "
            f"found shape {signal.shape}."
        )
    if not (np.issubdtype(signal.dtype, np.floating) or np.issubdtype(signal.dtype, np.integer)):
        raise ValueError(f"Expected real numbers, found dtype {signal.dtype}.")
    with np.errstate(invalid="ignore"):
        # By a sum for each channel, which needs no mask of the signal's size.
        broken = np.flatnonzero(~np.isfinite(signal.sum(axis=1, dtype=np.float64))).tolist()
    if broken:
        raise ValueError(
            f"Expected finite numbers; the channels at rows {broken} hold NaN or infinity. "
            "Interpolate, cut or leave them out first: a filter would spread them."
        )
    info = preprocessing_info(rate_hz, target_hz, highpass_hz, lowpass_hz, notch_hz)
    for sentence in info.left_out:
        logger.info(sentence)
    if signal.shape[1] < info.filter_samples:
        warnings.warn(
            f"A recording is shorter than the {info.filter_s:.1f} s of the longest filter. It is "
            "filtered as MNE does, by reflection at both ends; activity below about 1 Hz is not "
            "reliable. Use a longer recording, or a higher highpass_hz.",
            stacklevel=2,
        )
    return apply_filters(signal, info)


def apply_filters(signal: np.ndarray, info: PreprocessingInfo) -> np.ndarray:
    """:func:`preprocess` of a signal (channels, samples) that is finite, without its warnings."""
    if not info.kernels and not info.resampled:
        return signal.astype(np.float32)
    samples = signal.shape[1]
    out = np.empty((signal.shape[0], info.samples_out(samples)), dtype=np.float32)
    plan = one_product(info, samples)
    length = plan.length if plan else 4 * samples
    step = max(1, _BLOCK_BYTES // (8 * length))  # channels; float32 and half as many complex64
    for start in range(0, signal.shape[0], step):
        block = signal[start : start + step]
        out[start : start + step] = plan(block) if plan else stepwise(block, info)
    return out


def is_positive(value: object) -> bool:
    """Whether a value is a finite number above 0."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    try:
        return number and 0 < float(value) < math.inf
    except OverflowError:  # a whole number beyond all others
        return False
