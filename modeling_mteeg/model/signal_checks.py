"""Is this EEG, in the unit it claims? Checks that name the channel and say what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from .findings import Finding
from .visible_text import MOST_NAMES, PlainError, listed

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
AT_REST = 1e-4
"""Share of the others' amplitude below which a channel carries nothing."""
OTHER_UNIT = 300.0
"""Ratio to the others' amplitude from which on a channel is named; units differ by 1000."""
_LEAST_UNIT = 1e-8  # volt that are taken for microvolt are at 1e-6
MOST_SAMPLES = 5_000  # of a channel: enough for quartiles, cheap beside the filters
_WINDOW_SAMPLES = 500  # of one that is judged while the signal comes in


class SignalError(PlainError):
    """A signal that cannot be used as it is."""


AMPLITUDE_REMEDY = (
    "Correct the physical dimension or gain of these channels in the header, or leave them out "
    "(mark them bad) where the task allows channels to be missing."
)


class OtherUnitError(SignalError):
    """Channels whose amplitude is that of another unit than the others'.

    Attributes
    ----------
    reasons : dict of str to str
        Of every such channel.
    """

    def __init__(self, ratios: Mapping[str, float], count: int) -> None:
        self.reasons = {
            name: f"its amplitude is {_times(ratio)} that of the others, as in another unit"
            for name, ratio in ratios.items()
        }
        shown = listed([f"{name} ({_times(ratio)})" for name, ratio in ratios.items()], MOST_NAMES)
        super().__init__(
            f"Expected all channels in one unit, found {len(ratios)} of {count} with another "
            f"amplitude than the others, as units differ: {shown}. {AMPLITUDE_REMEDY}"
        )


def _times(ratio: float) -> str:
    return f"{float(f'{ratio:.2g}'):g} times"


def unit_factor(unit: str) -> float:
    """Microvolt per ``unit``, one of :data:`UNITS_UV`; ``ValueError`` for another one."""
    if unit not in UNITS_UV:
        raise ValueError(f"unit: expected one of {tuple(UNITS_UV)}, found {unit!r}.")
    return UNITS_UV[unit]


MOST_UV = 1e15
"""Squares of larger numbers overflow in the model. What is merely too large is judged elsewhere."""


def _below(most: float) -> str:
    return f" of at most {most:g} microvolt" if np.isfinite(most) else ""


def check_finite(signal: np.ndarray, names: Sequence[str], most: float = np.inf) -> None:
    """Raise where a channel holds NaN or infinity, or numbers beyond what any amplifier has.

    Parameters
    ----------
    signal : numpy.ndarray
        (windows, channels, samples).
    names : sequence of str
        One name per channel.
    most : float
        Largest number that is taken, such as :data:`MOST_UV` microvolt.

    Raises
    ------
    SignalError
        All such channels, each with its number of samples.
    """
    if not signal.size:
        return
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(most):
            suspect = ~((signal.max(axis=(0, 2)) <= most) & (signal.min(axis=(0, 2)) >= -most))
        else:  # a sum may be too large where no number is
            suspect = ~np.isfinite(signal.sum(axis=(0, 2), dtype=np.float64))
    counts = {
        row: np.count_nonzero(~(np.isfinite(signal[:, row]) & (np.abs(signal[:, row]) <= most)))
        for row in np.flatnonzero(suspect)
    }
    broken = [f"{names[row]} ({count} samples)" for row, count in counts.items() if count]
    if broken:
        raise SignalError(
            f"Expected finite numbers{_below(most)}, found NaN, infinity or larger ones in "
            f"{len(broken)} of {len(names)} channels: {listed(broken, MOST_NAMES)}. Cut or "
            "interpolate those samples, or leave the channels out."
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


def flat_finding(flat: Sequence[str], count: int) -> Finding | None:
    """Finding about flat channels, if there are any; ``SignalError`` where all are flat."""
    if len(flat) == count:
        raise SignalError(
            f"Expected EEG, found all {count} channels flat: {listed(flat, MOST_NAMES)}. Check "
            "that the recording is not empty and that the right channels were chosen."
        )
    if not flat:
        return None
    return Finding(
        "flat",
        f"{len(flat)} of {count} channels are flat: {listed(flat, MOST_NAMES)}.",
        "They are kept as they are; leave them out if they were not recorded.",
        tuple(flat),
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
    return typical_uv((high - low) / 1.349)


def typical_uv(amplitudes: np.ndarray) -> float:
    """Median of the amplitudes (any shape) that are not at rest; 0 where all are.

    A channel is at rest beside the loudest that can be EEG; only where none can, beside the loudest
    of all. One channel a million times too large would else put all others to rest.
    """
    possible = amplitudes[_within(amplitudes, PLAUSIBLE_UV)]
    active = amplitudes[amplitudes > AT_REST * (possible if possible.size else amplitudes).max()]
    return float(np.median(active)) if active.size else 0.0


def _within(amplitudes: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return (amplitudes >= bounds[0]) & (amplitudes <= bounds[1])


def amplitudes_uv(signal_uv: np.ndarray) -> np.ndarray:
    """:func:`amplitude_uv` of every channel, (channels,), of a signal (windows, channels, n)."""
    # A channel at a time: what is computed on the way is as large as what is given.
    rows = range(signal_uv.shape[1])
    return np.array([amplitude_uv(signal_uv[:, row : row + 1]) for row in rows])


def foreign_channels(signal_uv: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Channels whose amplitude differs from the others' as units do, with the ratio.

    Parameters
    ----------
    signal_uv : numpy.ndarray
        (channels, samples), filtered, and not all at rest.
    names : sequence of str
        One name per channel.

    Notes
    -----
    The others are the channels with the usual amplitude of EEG in microvolt, where there are any:
    of two channels, one a thousand times the other, the one that cannot be EEG is named, and two
    nearly dead electrodes do not make a third one loud.
    """
    return _foreign(amplitudes_uv(signal_uv[None]), names, AT_REST)


def _foreign(amplitudes: np.ndarray, names: Sequence[str], least: float) -> dict[str, float]:
    """The same by amplitudes (channels,); below ``least`` of the others' a channel is at rest."""
    for bounds in (_USUAL_UV, PLAUSIBLE_UV):
        possible = amplitudes[_within(amplitudes, bounds)]
        if possible.size:
            typical = float(np.median(possible))
            break
    else:
        typical = typical_uv(amplitudes)
    ratios = amplitudes / typical if typical else np.ones_like(amplitudes)
    return {  # a unit off by one prefix gives 1000 or 1/1000
        name: float(ratio)
        for name, ratio in zip(names, ratios, strict=True)
        if ratio > OTHER_UNIT or least < ratio < 1 / OTHER_UNIT
    }


def check_channels(
    signal_uv: np.ndarray, names: Sequence[str], unit: str, flat: Sequence[str] | None = None
) -> str:
    """Sentence of :func:`quiet_finding`, empty without one."""
    finding = quiet_finding(signal_uv, names, unit, flat)
    return str(finding) if finding else ""


def quiet_finding(
    signal_uv: np.ndarray, names: Sequence[str], unit: str, flat: Sequence[str] | None = None
) -> Finding | None:
    """Check a filtered signal's unit, that of the whole and that of every channel.

    Parameters
    ----------
    signal_uv, unit
        As for :func:`check_unit`.
    names : sequence of str
        One name per channel.
    flat : sequence of str or None
        Those that were recorded flat, whose filtered remains say nothing; None: not known.

    Returns
    -------
    Finding or None
        About channels that are hundreds of times smaller than the others, which carry next to
        nothing, as flat ones.

    Raises
    ------
    OtherUnitError
        Channels are hundreds of times larger than the others, or cannot be EEG while others can.
    SignalError
        See :func:`check_unit`.
    """
    median_uv = amplitude_uv(signal_uv)
    finding = judge_amplitudes(amplitudes_uv(signal_uv), median_uv, names, unit, flat)
    _log_unusual(median_uv)
    return finding


def window_finding(window_uv: np.ndarray, names: Sequence[str], unit: str) -> Finding | None:
    """:func:`quiet_finding` of one short window (channels, samples), none of them flat."""
    step = max(1, window_uv.shape[1] // _WINDOW_SAMPLES)
    low, high = np.percentile(window_uv[:, ::step], [25, 75], axis=1)
    amplitudes = (high - low) / 1.349
    return judge_amplitudes(amplitudes, typical_uv(amplitudes), names, unit, ())


def judge_amplitudes(
    amplitudes: np.ndarray,
    median_uv: float,
    names: Sequence[str],
    unit: str,
    flat: Sequence[str] | None,
) -> Finding | None:
    """:func:`quiet_finding` by the amplitudes of the channels (channels,) and their median."""
    foreign = _foreign(amplitudes, names, AT_REST)
    loud = {name: ratio for name, ratio in foreign.items() if ratio > 1}
    quiet = {name: ratio for name, ratio in foreign.items() if ratio < 1}
    if loud:
        raise OtherUnitError(loud, len(names))
    if flat is not None:  # most of those that were recorded: a unit, even if it is a million off
        small = _foreign(amplitudes, names, _LEAST_UNIT)
        small = {name: ratio for name, ratio in small.items() if name not in flat}
        if 2 * len(small) > len(names) - len(flat):
            raise OtherUnitError(small, len(names))
    _check_median(median_uv, unit)
    if not quiet:
        return None
    shown = listed([f"{name} ({_times(ratio)})" for name, ratio in quiet.items()], MOST_NAMES)
    return Finding(
        "quiet",
        f"{len(quiet)} of {len(names)} channels are much smaller than the others, as in another "
        f"unit: {shown}.",
        "They are kept as they are; look at their unit or gain, or leave them out.",
        tuple(quiet),
    )


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
    _check_median(median_uv, unit)
    _log_unusual(median_uv)


def _log_unusual(median_uv: float) -> None:
    if not _USUAL_UV[0] <= median_uv <= _USUAL_UV[1]:
        logger.warning(
            "The median amplitude is %.3g microvolt; EEG usually has 2 to 200. "
            "Check unit and gain.",
            median_uv,
        )


def _check_median(median_uv: float, unit: str) -> None:
    if median_uv == 0:
        raise SignalError("Expected EEG, found no activity in any channel after filtering.")
    low, high = PLAUSIBLE_UV
    if low <= median_uv <= high:
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
