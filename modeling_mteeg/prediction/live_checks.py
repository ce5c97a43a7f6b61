"""Is what came in during a window EEG? Every window of a live signal is judged by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..model.channel_choice import ChannelChoice
from ..model.constant_stretches import ConstantStretches
from ..model.findings import Finding
from ..model.signal_checks import SignalError, flat_by_span, flat_finding, window_finding
from ..model.task_card import TaskCard
from ..model.window_quality import judge_windows, least_constant_s

if TYPE_CHECKING:
    from .live import LiveResult


class LiveWindowError(SignalError):
    """A window of a live signal that cannot be answered; the stream goes on.

    Attributes
    ----------
    task : str
    onset_s : float
        Where the window lies, in seconds from the first sample.
    answers : list of LiveResult
        Of the other windows and tasks that the same samples completed.
    """

    def __init__(self, task: str, onset_s: float, window_s: float, reason: str) -> None:
        super().__init__(
            f"Task {task!r}, window from {onset_s:.6g} to {onset_s + window_s:.6g} s: {reason}"
        )
        self.task, self.onset_s = task, onset_s
        self.answers: list[LiveResult] = []


@dataclasses.dataclass(frozen=True)
class WindowFacts:
    """What was found about a window.

    Parameters
    ----------
    flat : tuple of str
    marked : str
        As in :class:`modeling_mteeg.prediction.Prediction`.
    findings : tuple of Finding
    """

    flat: tuple[str, ...] = ()
    marked: str = ""
    findings: tuple[Finding, ...] = ()


class LiveChecks:
    """Judges the windows of one task.

    Parameters
    ----------
    card : TaskCard
    choice : ChannelChoice
        Its channels among those of the stream.
    rate_hz : float
        Of the stream.
    unit : str
        That the stream's numbers were taken for.

    Notes
    -----
    By what was recorded during the window: a channel is flat whose range is a ten-thousandth of
    the median channel's or less; an electrode is constant that keeps one value for half of the
    window or more, unless it has had that value since the stream began (a reference). By the
    filtered window, of the other channels: their amplitudes, as those of a whole recording are
    judged.
    """

    def __init__(self, card: TaskCard, choice: ChannelChoice, rate_hz: float, unit: str) -> None:
        self.card, self.choice, self.rate_hz, self.unit = card, choice, rate_hz, unit

    def judge(
        self, onset_s: float, window_uv: np.ndarray, recorded: np.ndarray, varied: np.ndarray
    ) -> WindowFacts:
        """Judge one window.

        Parameters
        ----------
        onset_s : float
        window_uv : numpy.ndarray
            (channels, samples) at the task's rate, filtered, in microvolt.
        recorded : numpy.ndarray
            (electrodes, samples) as they came, of ``choice.needed``.
        varied : numpy.ndarray
            bool, (electrodes,), whether each changed from the stream's begin to the window's end.

        Raises
        ------
        LiveWindowError
            Channels in another unit than the others, numbers that cannot be EEG in their unit, or
            no signal at all: every channel is flat, and not because electrodes stopped.
        """
        names, needed = self.choice.names, self.choice.needed
        derived = self.choice.derive(recorded, needed)
        spans = derived.max(axis=1) - derived.min(axis=1)  # (channels,)
        flat = flat_by_span(spans, names)
        constant, marked, findings = self._constant(onset_s, recorded, varied)
        # Others have an amplitude to speak of; what is left of a constant one is the filter's.
        judged = [
            row
            for row, (name, parts) in enumerate(zip(names, self.choice.parts, strict=True))
            if name not in flat and constant.isdisjoint(parts)
        ]
        quiet = None
        if judged:
            try:
                chosen = [names[row] for row in judged]
                quiet = window_finding(window_uv[judged], chosen, self.unit)
            except SignalError as error:
                raise self._error(onset_s, error) from error
        if flat and marked and len(flat) == len(names):  # the signal stopped: padding, a pause
            findings.append(Finding("flat", f"All {len(flat)} channels are flat.", "", tuple(flat)))
        elif flat:
            try:
                findings.append(flat_finding(flat, len(names)))
            except SignalError as error:  # all, and nothing ever came
                raise self._error(onset_s, error) from error
        if quiet is not None:
            findings.append(quiet)
        span = (onset_s, onset_s + self.card.window_s)
        placed = (dataclasses.replace(finding, spans_s=(span,)) for finding in findings)
        return WindowFacts(tuple(flat), marked, tuple(placed))

    def _error(self, onset_s: float, error: SignalError) -> LiveWindowError:
        return LiveWindowError(self.card.name, onset_s, self.card.window_s, str(error))

    def _constant(
        self, onset_s: float, recorded: np.ndarray, varied: np.ndarray
    ) -> tuple[set[str], str, list[Finding]]:
        """Electrodes that are constant for half of the window or more, and how that is said."""
        needed, window_s = self.choice.needed, self.card.window_s
        stretches = ConstantStretches(len(needed), self.rate_hz, least_constant_s(window_s))
        stretches.push(recorded)
        spans: dict[str, list[tuple[float, float]]] = {}
        for row, start, stop in stretches.finish():
            if varied[row]:
                span = (onset_s + start / self.rate_hz, onset_s + stop / self.rate_hz)
                spans.setdefault(needed[row], []).append(span)
        if not spans:
            return set(), "", []
        quality = judge_windows(np.array([onset_s]), window_s, (), spans, needed, left_out=False)
        if not quality.findings:
            return set(), "", []
        names = quality.findings[0].channels
        finding = Finding(
            "constant",
            f"{_named(names, needed)} one value for half of the window or more.",
            "Is an electrode off, or does the amplifier pause?",
            names,
        )
        return set(names), quality.reasons[0], [finding]


def _named(names: Sequence[str], needed: Sequence[str]) -> str:
    if len(names) == len(needed) > 1:
        return f"All {len(names)} channels keep"
    return f"{', '.join(names)} {'keep' if len(names) > 1 else 'keeps'}"
