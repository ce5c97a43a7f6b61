"""The streams behind live answers: one filter for all tasks that share it, windows for each."""

from __future__ import annotations

import logging

import numpy as np
import torch

from ..model.channel_choice import missing_note
from ..model.channels import channel_ids
from ..model.findings import Finding
from ..model.preprocessing import PreprocessingInfo
from ..model.recording_sources import Source
from ..model.task_card import TaskCard
from ..recordings.montage import choose_for_task, findings_on
from ..recordings.recorded_tail import RecordedTail
from ..recordings.sliding import SlidingWindows, stride_samples
from ..recordings.stream_filter import StreamFilter
from .live_checks import LiveChecks

logger = logging.getLogger(__name__)


class TaskStream:
    """One task's channels and windows, cut from the output of the filter that it shares."""

    def __init__(
        self, card: TaskCard, source: Source, stride_s: float | None, allow_missing: int | None
    ) -> None:
        choice = choose_for_task(source, card, allow_missing)
        self.card, self.choice, self.names = card, choice, choice.names
        if choice.missing:
            logger.warning("Task %r: %s", card.name, missing_note(choice))
        self.findings = tuple(
            one for one in findings_on(source, choice, card, {}) if isinstance(one, Finding)
        )
        self.rows = [source.names.index(name) for name in choice.needed]
        self.ids = torch.from_numpy(channel_ids(choice.names, card.bipolar))
        window = round(card.window_s * card.rate_hz)
        stride = window if stride_s is None else stride_samples(stride_s, card.rate_hz)
        self.windows = SlidingWindows(window, stride, len(choice.names))
        self.checks = LiveChecks(card, choice, source.rate_hz, source.unit)
        self._logged: set[tuple[str, tuple[str, ...]]] = set()

    def push(self, signal: np.ndarray, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Onsets and windows that the next samples of the electrodes ``rows`` complete."""
        place = {row: index for index, row in enumerate(rows)}
        needed = signal[[place[row] for row in self.rows]]
        return self.windows.push(self.choice.derive(needed, self.choice.needed))

    def log(self, finding: Finding) -> None:
        """Log what is found of channels for the first time."""
        if (key := (finding.code, finding.channels)) not in self._logged:
            self._logged.add(key)
            logger.warning("Task %r: %s", self.card.name, finding)


class FilterGroup:
    """Tasks with the same filters: one stream of the electrodes that any of them needs."""

    def __init__(
        self, members: list[TaskStream], info: PreprocessingInfo, samples: int | None
    ) -> None:
        self.members = members
        self.rows = sorted({row for member in members for row in member.rows})
        stride_s = min(member.windows.stride / member.card.rate_hz for member in members)
        self.filter = StreamFilter(info, len(self.rows), samples, hop_s=stride_s)
        longest_s = max(member.card.window_s for member in members) + self.filter.delay_s
        held = round((longest_s + 1.0) * info.rate_hz)
        if samples is not None and self.filter.samples_needed(1) is None:  # all at the end
            held = samples
        self.recorded = RecordedTail(len(self.rows), held)

    def during(self, member: TaskStream, onset: int) -> tuple[np.ndarray, np.ndarray]:
        """What a member's electrodes recorded in a window, and whether they changed by its end."""
        ratio = self.filter.info.rate_hz / member.card.rate_hz
        start = round(onset * ratio)
        stop = min(round((onset + member.windows.window) * ratio), self.recorded.samples_in)
        places = [self.rows.index(row) for row in member.rows]
        return self.recorded.between(start, stop)[places], self.recorded.changed[places] < stop

    def needed(self, lookahead_s: float | None) -> int | None:
        """Samples after which the next window of any member is complete; None: at the end."""
        end = min(member.windows.next_end for member in self.members)
        return self.filter.samples_needed(end, lookahead_s)
