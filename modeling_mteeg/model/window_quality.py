"""Windows that lie under a bad mark, or in which channels are constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from .constant_stretches import LEAST_S, LEAST_SHARE, ConstantStretches
from .edf_annotations import Mark
from .findings import Finding
from .record_parts import Part
from .visible_text import listed

_FATES = {True: ", left out", False: ", marked", None: ""}
_TOUCH_S = 1e-6  # seconds that count as touching
Spans = Mapping[str, Sequence[tuple[float, float]]]
"""By channel, seconds from the recording's start: from and to."""


@dataclasses.dataclass(frozen=True)
class Quality:
    """What is wrong with windows.

    Parameters
    ----------
    reasons : tuple of str
        Of every window; empty where nothing is. Empty altogether where nothing is wrong with any.
    findings : tuple of Finding
    """

    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def least_constant_s(window_s: float) -> float:
    """Length from which on a constant stretch counts in windows of this length."""
    return min(LEAST_S, LEAST_SHARE * window_s)


class ConstantChannels:
    """Where channels are constant, in seconds from the recording's start, over all parts.

    Parameters
    ----------
    names : sequence of str
    rate_hz : float
        Of what is pushed.
    least_s : float
        Shorter stretches do not count: :func:`least_constant_s`.
    """

    def __init__(self, names: Sequence[str], rate_hz: float, least_s: float) -> None:
        self.names, self.rate_hz, self.least_s = names, rate_hz, least_s
        self._spans: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        self._samples = np.zeros(len(names), dtype=np.int64)  # that are constant
        self._total = 0
        self._part: Part | None = None

    def begin_part(self, part: Part) -> None:
        """What is pushed next is of this part."""
        self._end_part()
        self._part = part
        self._stretches = ConstantStretches(len(self.names), self.rate_hz, self.least_s)

    def push(self, signal: np.ndarray) -> None:
        """Take the next samples (channels, n) as recorded."""
        self._stretches.push(signal)

    def _end_part(self) -> None:
        if self._part is None:
            return
        self._total += self._part.samples
        for row, start, stop in self._stretches.finish():
            span = tuple(self._part.onset_s + place / self.rate_hz for place in (start, stop))
            self._spans[self.names[row]].append(span)
            self._samples[row] += stop - start

    def finish(self) -> Spans:
        """The stretches, behind the last part; not of channels that are so throughout."""
        self._end_part()
        # One that is so throughout is a flat channel, or the reference of a bipolar one.
        throughout = {self.names[row] for row in np.flatnonzero(self._samples == self._total)}
        return {name: spans for name, spans in self._spans.items() if name not in throughout}


def judge_windows(
    onset_s: np.ndarray,
    window_s: float,
    marks: Sequence[Mark],
    constant: Spans,
    channels: Sequence[str],
    left_out: bool | None,
) -> Quality:
    """Say which windows are marked, and why.

    Parameters
    ----------
    onset_s : numpy.ndarray
        (windows,), ascending.
    window_s : float
    marks : sequence of Mark
        All of the recording's.
    constant : mapping
        Stretches in which channels are constant.
    channels : sequence of str
        The recording's channels that the task needs.
    left_out : bool or None
        Whether marked windows are left out, for the sentences; None: they are only said.

    Notes
    -----
    A window lies under a mark that it shares any time with, as MNE drops epochs. A channel is
    constant in a window of which its stretches make up :data:`LEAST_SHARE` or more.
    """
    bad, bad_finding = _under_marks(onset_s, window_s, marks, left_out)
    still, still_finding = _constant(onset_s, window_s, constant, channels, left_out)
    findings = tuple(finding for finding in (bad_finding, still_finding) if finding)
    if not findings:
        return Quality()
    reasons = tuple(
        "; ".join(reason for reason in (bad.get(window, ""), still.get(window, "")) if reason)
        for window in range(len(onset_s))
    )
    return Quality(reasons, findings)


def touching_s(mark: Mark) -> tuple[float, float]:
    """Seconds at which a window must end or later, and start or earlier, to share time with a mark.

    A mark may be a moment: it lies in a window that starts with it, not in one that ends with it.
    """
    stop_s = mark.onset_s + mark.duration_s
    return mark.onset_s + _TOUCH_S, max(stop_s - _TOUCH_S, mark.onset_s)


def _under_marks(
    onset_s: np.ndarray, window_s: float, marks: Sequence[Mark], left_out: bool | None
) -> tuple[dict[int, str], Finding | None]:
    texts: dict[int, list[str]] = {}
    spans, seconds = [], {}
    for mark in marks:
        if not mark.is_bad:
            continue
        stop_s = mark.onset_s + mark.duration_s
        ends_s, starts_s = touching_s(mark)
        first = np.searchsorted(onset_s + window_s, ends_s, side="left")
        last = np.searchsorted(onset_s, starts_s, side="right")
        if first >= last:
            continue
        spans.append((mark.onset_s, stop_s))
        seconds[mark.text] = seconds.get(mark.text, 0.0) + mark.duration_s
        for window in range(int(first), int(last)):
            texts.setdefault(window, []).append(mark.text)
    if not texts:
        return {}, None
    shown = listed([f"{text}, {total:.4g} s" for text, total in seconds.items()])
    finding = Finding(
        "marked-bad",
        f"Windows under annotations of bad stretches ({shown}): {len(texts)} of {len(onset_s)}"
        f"{_FATES[left_out]}.",
        "bad='leave-out' (--bad leave-out) leaves them out." if left_out is False else "",
        spans_s=tuple(spans),
    )
    reasons = {window: f"bad: {', '.join(dict.fromkeys(some))}" for window, some in texts.items()}
    return reasons, finding


def _constant(
    onset_s: np.ndarray,
    window_s: float,
    constant: Spans,
    channels: Sequence[str],
    left_out: bool | None,
) -> tuple[dict[int, str], Finding | None]:
    least_s = least_constant_s(window_s) - _TOUCH_S
    names: dict[int, list[str]] = {}
    spans: dict[tuple[float, float], list[str]] = {}
    for channel in channels:
        stretches = [(a, b) for a, b in constant.get(channel, ()) if b - a >= least_s]
        windows = _mostly_within(onset_s, window_s, stretches)
        for window in windows.tolist():
            names.setdefault(window, []).append(channel)
        for start, stop in stretches:
            if np.any((onset_s[windows] < stop) & (onset_s[windows] + window_s > start)):
                # Channels of a padded end begin some samples apart.
                spans.setdefault((round(start, 1), round(stop, 1)), []).append(channel)
    if not names:
        return {}, None
    texts = {some: _named(some, channels) for some in set(map(tuple, names.values()))}
    reasons = {window: f"constant: {texts[tuple(some)]}" for window, some in names.items()}
    ordered = sorted(spans.items())
    shown = listed([f"{_named(some, channels, ', ')} from {a:.6g} to {b:.6g} s"
                     for (a, b), some in ordered])  # fmt: skip
    found = {channel for some in spans.values() for channel in some}
    finding = Finding(
        "constant",
        f"Windows in which channels are constant for {LEAST_SHARE:.0%} of the time or more: "
        f"{len(names)} of {len(onset_s)}{_FATES[left_out]} ({shown}).",
        "Was the end padded, or an electrode off?",
        tuple(channel for channel in channels if channel in found),
        tuple(span for span, _ in ordered),
    )
    return reasons, finding


def _mostly_within(
    onset_s: np.ndarray, window_s: float, stretches: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Windows of which stretches, in their order, make up the least share."""
    if not stretches:
        return np.empty(0, dtype=np.int64)
    edges = np.array(stretches).reshape(-1)  # start, stop, start, stop ...
    steps = np.diff(edges)
    steps[1::2] = 0.0  # between stretches
    covered_s = np.concatenate([[0.0], np.cumsum(steps)])  # until each edge
    within_s = np.interp(onset_s + window_s, edges, covered_s) - np.interp(
        onset_s, edges, covered_s
    )
    return np.flatnonzero(within_s >= LEAST_SHARE * window_s - _TOUCH_S)


def _named(some: Sequence[str], channels: Sequence[str], between: str = " ") -> str:
    if len(some) == len(channels) > 1:
        return f"all {len(channels)} channels"
    return between.join(some)
