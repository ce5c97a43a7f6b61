"""Is a recording's signal sound? What makes it unusable, and what is only worth a warning.

A signal whose windows would be wrong (not finite, in another unit than its header says, without any
activity) is an error, so the recording is skipped. A signal that is right but odd (a flat or a
clipped channel, as real corpora have them) is used as the published scripts use it, and the report
names it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from modeling_mteeg.model.mains_line import mains_findings
from modeling_mteeg.model.preprocessing import PreprocessingInfo
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.signal_checks import (
    PLAUSIBLE_UV,
    amplitudes_uv,
    flat_channels,
    foreign_channels,
    typical_uv,
)

_UNLIKE = "unlike the others in amplitude"
CLIPPED_SHARE = 1e-3
"""Share of a channel's samples that stay at its extremes from which on it counts as clipped."""


def check_raw_signal(signal: np.ndarray, names: Sequence[str], file: str) -> tuple[str, ...]:
    """Check a signal as it was recorded.

    Parameters
    ----------
    signal : numpy.ndarray
        (channels, samples) in microvolt, before any filter.
    names : sequence of str
        The channels.
    file : str
        Name of the file, for messages.

    Returns
    -------
    tuple of str
        Warnings: flat channels, clipped channels.

    Raises
    ------
    RecordingError
        NaN or infinite values, or no activity in any channel.
    """
    wrong = [name for name, row in zip(names, signal, strict=True) if not np.isfinite(row).all()]
    if wrong:
        raise RecordingError(
            f"{file}: NaN or infinite values in {_shown(wrong, len(names))}; download the file "
            "again or repair it."
        )
    flat = flat_channels(signal[None], names)
    if len(flat) == len(names):
        raise RecordingError(
            f"{file}: no channel has any activity; check that the file is the right one."
        )
    clipped = [
        f"{name} ({share:.1%})"
        for name, share in zip(names, map(clipped_share, signal), strict=True)
        if name not in flat and share > CLIPPED_SHARE
    ]
    kinds = {"flat": flat, "clipped": clipped}
    return tuple(f"{kind}: {_shown(odd, len(names))}" for kind, odd in kinds.items() if odd)


def clipped_share(channel: np.ndarray) -> float:
    """Share of samples that repeat the sample before them at the channel's highest or lowest value.

    An amplifier at its limit stays there; a signal that only touches its own extremes does not.
    """
    if len(channel) < 2:
        return 0.0
    # Places of the extremes in order; the signal stays where two are neighbours and equal.
    places = np.flatnonzero((channel == channel.min()) | (channel == channel.max()))
    values = channel[places]
    stays = (np.diff(places) == 1) & (values[1:] == values[:-1])
    return float(np.count_nonzero(stays) / (len(channel) - 1))


def check_filtered(signal_uv: np.ndarray, names: Sequence[str], file: str) -> None:
    """Raise :class:`RecordingError` where a filtered signal (channels, samples) is not finite.

    What was recorded is finite, so its numbers were too large to compute with.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        suspect = np.flatnonzero(~np.isfinite(signal_uv.sum(axis=1, dtype=np.float64)))
    broken = [names[row] for row in suspect if not np.isfinite(signal_uv[row]).all()]
    if broken:
        raise RecordingError(
            f"{file}: NaN or infinite values after filtering in {_shown(broken, len(names))}: the "
            "numbers are too large; correct the range or the calibration in the header."
        )


def check_amplitude(signal_uv: np.ndarray, names: Sequence[str], file: str) -> tuple[str, ...]:
    """Check that a filtered signal can be EEG in microvolt: else the header's unit is wrong.

    Parameters
    ----------
    signal_uv : numpy.ndarray
        (channels, samples), filtered.
    names, file
        As for :func:`check_raw_signal`.

    Returns
    -------
    tuple of str
        Warnings: channels whose amplitude differs from the others' as units do.

    Raises
    ------
    RecordingError
        The median amplitude lies outside :data:`~modeling_mteeg.model.signal_checks.PLAUSIBLE_UV`,
        or numbers are not finite.
    """
    check_filtered(signal_uv, names, file)
    median_uv = typical_uv(amplitudes_uv(signal_uv[None]))
    low, high = PLAUSIBLE_UV
    if not low <= median_uv <= high:
        raise RecordingError(
            f"{file}: the median amplitude is {median_uv:.3g} microvolt after filtering; EEG has "
            "2 to 200. The unit or the range in the header is wrong (volt or millivolt written as "
            "microvolt, or the reverse): correct the physical dimension in the header."
        )
    foreign = [f"{name} (times {ratio:.2g})"
               for name, ratio in foreign_channels(signal_uv, names).items()]  # fmt: skip
    return (f"{_UNLIKE}: {_shown(foreign, len(names))}",) if foreign else ()


CODES = {
    "flat": "flat", "derived": "derived", "renamed": "renamed", "a mains line is left": "mains",
    "constant for a while": "constant", "a part of it is marked bad": "marked-bad",
    "the ends of events are left out": "end-left-out",
}  # fmt: skip
"""Kinds of warnings to codes of findings."""


def codes_of(warnings: Sequence[str]) -> list[str]:
    """Codes of the findings that warnings, each ``kind: details``, speak of."""
    codes = []
    for line in warnings:
        kind = line.split(":")[0]
        if kind == _UNLIKE:
            ratios = [float(ratio) for ratio in re.findall(r"\(times ([^)]+)\)", line)]
            codes += ["other-unit"] * any(ratio > 1 for ratio in ratios)
            codes += ["quiet"] * any(ratio < 1 for ratio in ratios)
        elif kind in CODES:
            codes.append(CODES[kind])
    return codes


def check_mains(signal_uv: np.ndarray, info: PreprocessingInfo) -> tuple[str, ...]:
    """A warning where a mains line is left in a filtered signal (channels, samples)."""
    return tuple(f"a mains line is left: {finding}" for finding in mains_findings(signal_uv, info))


def rate_notes(rates_hz: Sequence[tuple[str, float]]) -> list[str]:
    """A line where recordings of one corpus have several rates (all become the card's rate).

    Parameters
    ----------
    rates_hz : sequence of (str, float)
        Recording and its rate.
    """
    counts = Counter(rate for _, rate in rates_hz)
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    others = [f"{key} ({rate:g} Hz)" for key, rate in rates_hz if rate != usual]
    return [
        "Recordings have several rates ("
        + ", ".join(f"{rate:g} Hz: {counts[rate]}" for rate in sorted(counts))
        + f"); all were resampled. Not at {usual:g} Hz: {_shown(others, len(rates_hz))}"
    ]


def warning_notes(warnings: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Lines that count the recordings with each kind of warning.

    Parameters
    ----------
    warnings : sequence of (str, sequence of str)
        Recording and its warnings, each ``kind: details``, as :func:`check_raw_signal` gives them.
    """
    kinds: dict[str, list[str]] = {}
    for key, lines in warnings:
        for kind in dict.fromkeys(line.split(":")[0] for line in lines):  # a recording counts once
            kinds.setdefault(kind, []).append(key)
    return [
        f"Used though {_sentence(kind)}: {_shown(keys, len(warnings))} recordings; "
        "report.tsv has the details"
        for kind, keys in sorted(kinds.items())
    ]


def _sentence(kind: str) -> str:
    """A kind of warning is a sentence of its own, or something that channels are."""
    return kind if " is " in kind or " are " in kind else f"some channels are {kind}"


def _shown(names: Sequence[str], of: int, most: int = 8) -> str:
    shown = ", ".join(names[:most]) + (" ..." if len(names) > most else "")
    return f"{len(names)} of {of} ({shown})"
