"""Is this EEG, in the unit it claims? Checks that name the channel and say what to do."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

logger = logging.getLogger(__name__)

UNITS_UV: dict[str, float] = {"uV": 1.0, "mV": 1e3, "V": 1e6}
"""Microvolt per unit."""

PLAUSIBLE_UV = (0.1, 5000.0)
"""Median amplitude outside which a recording is not EEG in microvolt. Scalp EEG between 0.1 and
75 Hz has a robust standard deviation of about 2 to 200 microvolt; each wrong unit is off by 1000 or
more, so the bounds leave a factor of 20 on both sides."""

_USUAL_UV = (0.5, 1000.0)
_TYPICAL_UV = 20.0
_NAMES = {"uV": "microvolt", "mV": "millivolt", "V": "volt"}
_FLAT_SHARE = 1e-4
MOST_SAMPLES = 5_000  # of a channel: enough for quartiles, cheap beside the filters


class SignalError(ValueError):
    """A signal that cannot be used as it is."""


def unit_factor(unit: str) -> float:
    """Microvolt per ``unit``, one of :data:`UNITS_UV`; ``ValueError`` for another one."""
    if unit not in UNITS_UV:
        raise ValueError(f"unit: expected one of {tuple(UNITS_UV)}, found {unit!r}.")
    return UNITS_UV[unit]


def check_finite(signal: np.ndarray, names: Sequence[str]) -> None:
    """Raise where a channel holds NaN or infinity.

    Parameters
    ----------
    signal : numpy.ndarray
        (windows, channels, samples).
    names : sequence of str
        One name per channel.

    Raises
    ------
    SignalError
        All such channels, each with its number of samples.
    """
    with np.errstate(invalid="ignore"):
        suspect = ~np.isfinite(signal.sum(axis=(0, 2), dtype=np.float64))
    broken = [
        f"{names[row]} ({np.count_nonzero(~np.isfinite(signal[:, row]))} samples)"
        for row in np.flatnonzero(suspect)
    ]
    if broken:
        raise SignalError(
            f"Expected finite numbers, found NaN or infinity in {len(broken)} of {len(names)} "
            f"channels: {', '.join(broken)}. Cut or interpolate those samples, or leave the "
            "channels out."
        )


def flat_channels(signal: np.ndarray, names: Sequence[str]) -> list[str]:
    """Names of the channels that carry no signal.

    Parameters
    ----------
    signal : numpy.ndarray
        (windows, channels, samples), finite, in any unit.
    names : sequence of str
        One name per channel.

    Returns
    -------
    list of str
        Channels whose range within every window is zero or under a ten-thousandth of the median
        channel's.
    """
    return flat_by_span((signal.max(axis=2) - signal.min(axis=2)).max(axis=0), names)


def flat_by_span(spans: np.ndarray, names: Sequence[str]) -> list[str]:
    """The same from each channel's range (channels,), as it gathers over a long recording."""
    limit = _FLAT_SHARE * np.median(spans)
    return [name for name, span in zip(names, spans, strict=True) if span <= limit]


def flat_note(flat: Sequence[str], count: int) -> str:
    """Sentence about flat channels, empty without any; ``SignalError`` where all are flat."""
    if len(flat) == count:
        raise SignalError(
            f"Expected EEG, found all {count} channels flat: {', '.join(flat)}. Check "
            "that the recording is not empty and that the right channels were chosen."
        )
    if not flat:
        return ""
    return (
        f"{len(flat)} of {count} channels are flat: {', '.join(flat)}. They are kept "
        "as they are; leave them out if they were not recorded."
    )


def amplitude_uv(signal_uv: np.ndarray) -> float:
    """Median over windows and channels of the robust standard deviation, channels at rest left out.

    Parameters
    ----------
    signal_uv : numpy.ndarray
        (windows, channels, samples), without offset and drift.

    Returns
    -------
    float
        Interquartile range over 1.349; 0 where every channel is flat.
    """
    step = max(1, signal_uv.shape[2] // MOST_SAMPLES)
    low, high = np.percentile(signal_uv[:, :, ::step], [25, 75], axis=2)
    spread = (high - low) / 1.349
    spread = spread[spread > _FLAT_SHARE * spread.max()]
    return float(np.median(spread)) if spread.size else 0.0


def check_unit(signal_uv: np.ndarray, unit: str) -> None:
    """Raise where a signal cannot be EEG in the unit it was given in.

    Parameters
    ----------
    signal_uv : numpy.ndarray
        (windows, channels, samples), filtered, after conversion from ``unit`` to microvolt.
    unit : str
        The unit the numbers were taken for.

    Raises
    ------
    SignalError
        The median amplitude lies outside :data:`PLAUSIBLE_UV`; the likely unit is named.
    """
    median_uv = amplitude_uv(signal_uv)
    if median_uv == 0:
        raise SignalError("Expected EEG, found no activity in any channel after filtering.")
    low, high = PLAUSIBLE_UV
    if low <= median_uv <= high:
        if not _USUAL_UV[0] <= median_uv <= _USUAL_UV[1]:
            logger.warning(
                "The median amplitude is %.3g microvolt; EEG usually has 2 to 200. "
                "Check unit and gain.",
                median_uv,
            )
        return
    number = median_uv / UNITS_UV[unit]
    likely = min(UNITS_UV, key=lambda name: abs(np.log10(number * UNITS_UV[name] / _TYPICAL_UV)))
    if likely == unit:
        advice = "It is like EEG in no unit; check the gain and the channels."
    else:
        advice = (
            f"This looks like {_NAMES[likely]}: pass unit={likely!r}, or multiply by "
            f"{UNITS_UV[likely] / UNITS_UV[unit]:g}."
        )
    raise SignalError(
        f"Expected EEG in {_NAMES[unit]} with a median amplitude of 2 to 200 microvolt, found "
        f"{number:.2g} {_NAMES[unit]} ({median_uv:.2g} microvolt) after filtering. {advice}"
    )
