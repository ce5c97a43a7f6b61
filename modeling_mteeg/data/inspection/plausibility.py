"""What is odd about a prepared corpus, in sentences: wrong units, dead and doubled channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from ...model.checked_files import MAX_RESULT_BYTES, read_json
from ...model.mains_line import MAINS_HZ, line_ratio
from ...model.mains_notch import NotchHz, notch_text, notches
from .. import Corpus
from ..windows import INT16_PEAK
from .statistics import Amplitudes, ChannelLikeness

MANIFEST_FILE = "splits.json"
USUAL_UV = (0.5, 300.0)
"""Median of the absolute signal of scalp EEG, generously: most lies between 2 and 50 microvolt."""
_TYPICAL_UV = 10.0
_FACTORS = {
    1e-6: "a million times too small: volts taken for microvolt?",
    1e-3: "a thousand times too small: millivolt taken for microvolt?",
    1e-2: "a hundred times too small: the model's unit of 100 microvolt taken for microvolt?",
    1e3: "a thousand times too large: nanovolt taken for microvolt, or a wrong gain?",
    1e6: "a million times too large: microvolt taken for volts?",
}
_ODD_CHANNEL = 10.0
_SAME = 0.9999
_MAINS_RATIO = 5.0
_COARSE_UV = 1.0
_SHOWN = 8


def corpus_remarks(folder: Path, corpus: Corpus, splits: Sequence[str]) -> list[str]:
    """Remarks on splits: classes that are missing, subjects that are shared, another manifest."""
    lines = []
    for split in splits:
        present = set(np.unique(corpus.splits[split].labels).tolist())
        lacking = [name for i, name in enumerate(corpus.card.labels) if i not in present]
        if lacking:
            lines.append(f"{split} has no window of: {', '.join(lacking)}.")
    subjects = {split: set(corpus.splits[split].subjects.tolist()) for split in splits}
    for first, second in combinations(splits, 2):
        both = sorted(subjects[first] & subjects[second])
        if both:
            lines.append(
                f"{first} and {second} share {len(both)} of "
                f"{len(subjects[first] | subjects[second])} subjects ({_some(both)})."
            )
    stated = _manifest_hash(folder)
    if corpus.card.split_hash and stated is None:
        lines.append(f"{MANIFEST_FILE} is missing: which recording is in which split is unknown.")
    elif stated != corpus.card.split_hash:
        lines.append(
            f"The split hash of {MANIFEST_FILE} ({stated}) is not the task card's "
            f"({corpus.card.split_hash}): the files are of different preparations."
        )
    return lines


def _manifest_hash(folder: Path) -> str | None:
    """Hash that the manifest beside the data states, or None."""
    try:
        content = read_json(folder / MANIFEST_FILE, MAX_RESULT_BYTES)
    except (OSError, ValueError):
        return None
    return content.get("hash") if isinstance(content, dict) else None


def signal_remarks(
    channels: Sequence[str],
    amplitudes: Amplitudes,
    likeness: ChannelLikeness,
    windows: int,
    frequencies_hz: np.ndarray,
    spectra: Mapping[str, np.ndarray],
    lowpass_hz: float | None,
    notch_hz: NotchHz,
) -> list[str]:
    """Remarks on the signals of ``windows`` windows."""
    medians = amplitudes.quantiles([0.5])[:, 0]
    return [
        *_unit_remarks(medians),
        *_channel_remarks(channels, medians),
        *_flat_remarks(channels, likeness.flat_windows, windows),
        *_doubled_remarks(channels, likeness.correlations()),
        *_mains_remarks(frequencies_hz, spectra, notch_hz),
        *_bandwidth_remarks(frequencies_hz, spectra, lowpass_hz),
    ]


def _unit_remarks(medians: np.ndarray) -> list[str]:
    """Is the whole corpus off by a power of ten that a wrong unit explains?"""
    moving = medians[medians > 0]
    if not moving.size:
        return ["More than half of all samples are exactly zero in every channel."]
    median = float(np.median(moving))
    if USUAL_UV[0] <= median <= USUAL_UV[1]:
        return []
    fact = f"The median absolute signal is {median:.3g} microvolt, scalp EEG has about 2 to 50"
    distance = {factor: abs(np.log10(median / (_TYPICAL_UV * factor))) for factor in _FACTORS}
    nearest = min(distance, key=distance.__getitem__)
    if distance[nearest] >= 1.0:
        return [f"{fact}. Check unit and gain."]
    return [f"{fact}: that is {_FACTORS[nearest]}"]


def _channel_remarks(channels: Sequence[str], medians: np.ndarray) -> list[str]:
    """Channels far from the others."""
    moving = medians[medians > 0]
    if len(moving) < 3:
        return []
    middle = float(np.median(moving))
    odd = [
        f"{name} {median / middle:.3g} times"
        for name, median in zip(channels, medians, strict=True)
        if median > 0 and not 1 / _ODD_CHANNEL <= median / middle <= _ODD_CHANNEL
    ]
    return [f"Channels far from the median channel's amplitude: {_some(odd)}."] if odd else []


def _flat_remarks(channels: Sequence[str], flat: np.ndarray, windows: int) -> list[str]:
    """Channels that do not move in some or all windows."""
    dead = [name for name, count in zip(channels, flat, strict=True) if count == windows]
    partly = [
        f"{name} in {count} of {windows}"
        for name, count in zip(channels, flat.tolist(), strict=True)
        if 0 < count < windows
    ]
    lines = [f"Flat in every window read: {_some(dead)}."] if dead else []
    return lines + ([f"Flat in some of the windows read: {_some(partly)}."] if partly else [])


def _doubled_remarks(channels: Sequence[str], correlations: np.ndarray) -> list[str]:
    """Channels that carry the same signal, upright or inverted."""
    lines = []
    for sign, words in ((1, "the same signal"), (-1, "the same signal, one inverted")):
        rows, columns = np.nonzero(np.triu(sign * correlations >= _SAME, k=1))
        pairs = [f"{channels[i]} and {channels[j]}" for i, j in zip(rows, columns, strict=True)]
        if pairs:
            lines.append(f"Channels with {words} (|r| >= {_SAME}): {_some(pairs)}.")
    return lines


def _mains_remarks(
    frequencies: np.ndarray, spectra: Mapping[str, np.ndarray], notch_hz: NotchHz
) -> list[str]:
    """A mains line that stands out of its surroundings, and what the data were notched at."""
    lines = []
    for mains in MAINS_HZ:
        ratios = {
            label: float(line_ratio(frequencies, density, mains))
            for label, density in spectra.items()
        }
        high = {label: ratio for label, ratio in ratios.items() if ratio >= _MAINS_RATIO}
        if not high:
            continue
        shown = _some([f"{label} {ratio:.0f} times" for label, ratio in high.items()])
        wanted = ",".join(f"{one:g}" for one in sorted({mains, *notches(notch_hz)}))
        advice = (
            "it is wider than the notch: a low-pass below it takes it away"
            if mains in notches(notch_hz)
            else f"--notch {wanted} takes it away when the corpus is prepared"
        )
        lines.append(
            f"A mains line at {mains:g} Hz stands out of its surroundings: {shown} (prepared with "
            f"{notch_text(notch_hz)}; {advice})."
        )
    return lines


def _bandwidth_remarks(
    frequencies: np.ndarray, spectra: Mapping[str, np.ndarray], lowpass_hz: float | None
) -> list[str]:
    """Spectra that end well below the low-pass: the recording's own rate was lower."""
    edge = min(lowpass_hz or np.inf, frequencies[-1])
    ends = []
    for density in spectra.values():
        body = np.median(density[(frequencies >= 5) & (frequencies <= edge / 2)])
        ends.append(float(frequencies[np.flatnonzero(density >= 1e-3 * body)[-1]]))
    if not ends or max(ends) >= 0.9 * edge:
        return []
    return [
        f"No signal above about {max(ends):.0f} Hz, though the filters pass up to {edge:g} Hz: "
        "recorded at a low rate, or filtered before?"
    ]


def coarse_windows(dtype: str, signals_uv: np.ndarray) -> int:
    """How many windows (windows, channels, samples) are stored in steps above 1 microvolt."""
    if dtype != "int16":
        return 0
    return int((np.abs(signals_uv).max(axis=(1, 2)) > _COARSE_UV * INT16_PEAK).sum())


def resolution_remarks(coarse: int, windows: int) -> list[str]:
    """Windows in which huge values of one channel take the resolution from the others."""
    if not coarse:
        return []
    return [
        f"In {coarse} of {windows} windows values are so large that int16 counts are steps of more "
        f"than {_COARSE_UV:g} microvolt, for all channels: prepare with --dtype float32, or leave "
        "the channel out."
    ]


def _some(names: Sequence[str]) -> str:
    """The first few of a list, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
