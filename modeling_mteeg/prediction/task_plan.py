"""One task on one recording: its channels and windows before the pass, its answers behind it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..model.channel_choice import ChannelChoice
from ..model.edf_annotations import Mark
from ..model.findings import Finding
from ..model.part_windows import (
    PartWindows,
    end_finding,
    short_parts_finding,
    sliding_places,
)
from ..model.preprocessing import PreprocessingInfo, preprocessing_info
from ..model.record_parts import Part
from ..model.recording_sources import Source
from ..model.signal_checks import SignalError
from ..model.task_card import TaskCard
from ..model.window_quality import Quality, Spans, judge_windows
from ..recordings.montage import choose_for_task, findings_on
from ..recordings.sliding import stride_samples
from ..recordings.window_places import cue_places, cues_finding

BAD = ("mark", "leave-out")
"""What becomes of windows under bad annotations or with constant channels."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """How windows lie, which channels may lack, and what becomes of bad windows.

    Parameters
    ----------
    stride_s : float or None
    last_window : bool
    allow_missing : int or None
    rename : mapping of str to str
    bad : str
        One of :data:`BAD`.
    cues : tuple of Mark or None
        None: windows slide.
    at_offset_s : float

    Raises
    ------
    ValueError
        Options that do not go together, or are none.
    """

    stride_s: float | None = None
    last_window: bool = False
    allow_missing: int | None = None
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bad: str = "mark"
    cues: tuple[Mark, ...] | None = None
    at_offset_s: float = 0.0

    def __post_init__(self) -> None:
        allowed = self.allow_missing
        whole = isinstance(allowed, int) and not isinstance(allowed, bool)
        if allowed is not None and not (whole and allowed >= 0):
            raise ValueError(
                f"allow_missing: expected a whole number from 0 on, found {allowed!r}."
            )
        if self.bad not in BAD:
            raise ValueError(f"bad: expected one of {BAD}, found {self.bad!r}.")
        if not _is_number(self.at_offset_s):
            raise ValueError(f"at_offset_s: expected seconds, found {self.at_offset_s!r}.")
        if self.cues is not None and (self.stride_s is not None or self.last_window):
            raise ValueError(
                "at: windows begin at cues, so stride_s (--stride) and last_window (--last-window) "
                "do not go with it."
            )


@dataclasses.dataclass(eq=False)
class TaskPlan:
    """What a task needs of a recording, and what it gave.

    Parameters
    ----------
    card : TaskCard
    choice : ChannelChoice
    info : PreprocessingInfo
    window : int
        Samples at the task's rate.
    stride : int or None
        None: windows begin at cues.
    places : sequence of PartWindows
        Of the parts that a window fits into.
    remarks : list of Finding or str
        Findings, and sentences that say nothing about the recording.
    ends : list of Finding
        What is in no window.
    answers : list of numpy.ndarray
        float32, (n, ...), by batches in the order of the windows: what the model says of each.
    """

    card: TaskCard
    choice: ChannelChoice
    info: PreprocessingInfo
    window: int
    stride: int | None
    places: Sequence[PartWindows]
    remarks: list[Finding | str]
    ends: list[Finding]
    answers: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def same_windows(self) -> tuple:
        """Equal for tasks whose windows are the same tensors."""
        card = self.card
        return (self.choice.names, self.choice.parts, self.window, self.stride, card.scale_uv,
                card.bipolar)  # fmt: skip

    @functools.cached_property
    def by_part(self) -> dict[Part, PartWindows]:
        """The windows of every part that one fits into."""
        return {place.part: place for place in self.places}

    def kept(
        self, source: Source, asked: Asked, constant: Spans
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The answers, without windows that are left out, and what is known of the windows.

        Returns
        -------
        answers : numpy.ndarray
            (windows, ...).
        facts : dict
            ``onset_s``, ``stride_s``, ``channels`` and all other fields of a :class:`Prediction`
            that do not depend on what was asked of the model.

        Raises
        ------
        SignalError
            All windows would be left out.
        """
        answers = np.concatenate(self.answers)
        onset_s = np.concatenate([place.onset_s for place in self.places])
        left_out = asked.bad == "leave-out"
        quality = judge_windows(
            onset_s, self.card.window_s, source.marks, constant, self.choice.needed, left_out
        )
        kept = np.ones(len(onset_s), dtype=bool)
        if left_out and quality.reasons:
            kept = np.array([not reason for reason in quality.reasons])
            if not kept.any():
                said = " ".join(finding.sentence for finding in quality.findings)
                raise SignalError(
                    f"Task {self.card.name!r}: expected a window that is not left out, found none. "
                    f"{said} bad='mark' (--bad mark) answers them."
                )
            quality = Quality(findings=quality.findings)
        remarks = [*self.remarks, *self.ends, *quality.findings]
        return answers[kept], {
            "onset_s": onset_s[kept],
            "stride_s": None if self.stride is None else self.stride / self.card.rate_hz,
            "channels": self.choice.names,
            "derived": self.choice.derived,
            "missing": self.choice.missing,
            "recording_s": source.end_s,
            "notes": tuple(dict.fromkeys(map(str, remarks))),
            "findings": tuple(remark for remark in remarks if isinstance(remark, Finding)),
            "parts": source.parts,
            "recorded_rate_hz": source.rate_hz,
            "marked": quality.reasons,
            "ends": self._ends()[kept],
            "cues": self._cues(asked, kept),
        }

    def _ends(self) -> np.ndarray:
        """bool, (windows,): those that were added since they end with their part."""
        if self.stride is None:
            return np.zeros(sum(len(place.starts) for place in self.places), dtype=bool)
        return np.concatenate([place.starts % self.stride != 0 for place in self.places])

    def _cues(self, asked: Asked, kept: np.ndarray) -> tuple[str, ...] | None:
        if asked.cues is None:
            return None
        numbers = [number for place in self.places for number in place.cues]
        return tuple(asked.cues[number].text for number in np.array(numbers)[kept])

    def settings(self, source: Source, asked: Asked) -> dict[str, Any]:
        """What the numbers depend on besides the weights and the recording."""
        card, allowed = self.card, asked.allow_missing
        return {
            "window_s": card.window_s,
            "stride_s": None if self.stride is None else self.stride / card.rate_hz,
            "last_window": asked.last_window,
            "at_offset_s": None if asked.cues is None else asked.at_offset_s,
            "bad": asked.bad,
            "rate_hz": card.rate_hz,
            "recorded_rate_hz": source.rate_hz,
            "scale_uv": card.scale_uv,
            "highpass_hz": self.info.highpass_hz,
            "lowpass_hz": self.info.lowpass_hz,
            "notch_hz": self.info.notch_hz,
            "bipolar": card.bipolar,
            "unit": source.unit,
            "allow_missing": card.max_missing_channels if allowed is None else allowed,
            "rename": dict(asked.rename),
        }


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def plan_task(source: Source, card: TaskCard, asked: Asked) -> TaskPlan:
    """Choose a task's channels and windows in a recording.

    Raises
    ------
    SignalError
        Missing channels, no part as long as a window, or no cue whose window fits.
    ValueError
        A stride that is no whole number of samples.
    """
    choice = choose_for_task(source, card, asked.allow_missing)
    edges = (card.highpass_hz, card.lowpass_hz, card.notch_hz)
    info = preprocessing_info(source.rate_hz, card.rate_hz, *edges)
    window = round(card.window_s * card.rate_hz)
    stride, ends = None, []
    if asked.cues is None:
        stride = window
        if asked.stride_s is not None:
            stride = stride_samples(asked.stride_s, card.rate_hz)
        places = sliding_places(source.parts, info, window, stride, asked.last_window)
    else:
        places, outside = cue_places(source.parts, info, window, asked.cues, asked.at_offset_s)
    if not places:
        raise SignalError(_too_short(source, card))
    if asked.cues is None:
        ends += [end_finding(places, window, card.rate_hz)]
    else:
        ends += [cues_finding(asked.cues, outside, asked.at_offset_s, card.window_s)]
        if len(outside) == len(asked.cues):
            raise SignalError(f"Task {card.name!r}: {ends[0].sentence}")
    ends += [short_parts_finding(source.parts, places, source.rate_hz, card.window_s)]
    remarks = [
        *source.findings,
        *findings_on(source, choice, card, asked.rename),
        *(Finding("filter-left-out", sentence) for sentence in info.left_out),
        *_short_for_filter(places, info, source.rate_hz),
    ]
    if card.simulated:
        remarks.append("The task was trained on simulated recordings.")
    found = [finding for finding in ends if finding]
    return TaskPlan(card, choice, info, window, stride, places, remarks, found)


def _too_short(source: Source, card: TaskCard) -> str:
    longest_s = max(part.samples for part in source.parts) / source.rate_hz
    found = f"{longest_s:.4g} s"
    if len(source.parts) > 1:
        found = f"{len(source.parts)} parts, the longest of {found}"
    return (
        f"Expected at least {card.window_s:g} s, the length of task {card.name!r}'s window; "
        f"found a recording of {found}."
    )


def _short_for_filter(
    places: Sequence[PartWindows], info: PreprocessingInfo, rate_hz: float
) -> list[Finding]:
    short = [place.part for place in places if place.part.samples < info.filter_samples]
    if not short:
        return []
    what, where = "The recording is", ""
    if len(places) > 1:
        count = f"{len(short)} of {len(places)}"
        what = f"{count} parts are" if len(short) > 1 else f"{count} parts is"
        where = " there"
    sentence = (
        f"{what} shorter than the {info.filter_s:.1f} s of the longest filter; "
        f"activity below about 1 Hz is not reliable{where}."
    )
    spans = tuple((part.onset_s, part.onset_s + part.samples / rate_hz) for part in short)
    return [Finding("short-for-filter", sentence, spans_s=spans if len(places) > 1 else ())]
