"""Parts of a recording: stretches without a gap or a joint, and when each was recorded.

A filter must not run across a joint, and a window must not span one. Joints are told by the times
of an EDF+D file's records, by EEGLAB's ``boundary``, BrainVision's ``New Segment``, MNE's
``EDGE boundary`` (files that were joined) and ``BAD_ACQ_SKIP`` (parts that were not stored).
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .brainvision_markers import marker_file, stored_rate_hz
from .edf_annotations import Mark, read_edf_marks
from .findings import Finding
from .record_times import LOOKED_AT, Stretch, order_fault, stretches, time_fault
from .recording_files import read_annotations
from .recording_headers import EdfHeader, read_edf_header
from .visible_text import listed

_EDF = (".edf", ".bdf")
_ROUNDED_S = 1.5e-3  # onsets of annotations are often written in ms
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?")
_SEGMENT = re.compile(
    r"^Mk\d+=New Segment,[^,\r\n]*,(\d+),[^,\r\n]*,[^,\r\n]*(?:,(\d{14,20}))?", re.M
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Samples without a gap or a joint between them.

    Parameters
    ----------
    start, stop : int
        First sample and the one behind the last, in the signal as it is read.
    onset_s : float
        When it was recorded, in seconds from the recording's start.
    """

    start: int
    stop: int
    onset_s: float

    @property
    def samples(self) -> int:
        """Its length."""
        return self.stop - self.start


@dataclasses.dataclass(frozen=True)
class Timeline:
    """When the samples of a recording were recorded, and what was noted of them.

    Parameters
    ----------
    parts : tuple of Part
        In the order of the samples; samples between them are no signal.
    marks : tuple of Mark
        Annotations, in seconds from the recording's start.
    start : datetime.datetime or None
        When the first sample was recorded, if that is known.
    findings : tuple of Finding
        What was found, where there is not one part that holds all samples.
    """

    parts: tuple[Part, ...]
    marks: tuple[Mark, ...] = ()
    start: datetime.datetime | None = None
    findings: tuple[Finding, ...] = ()


def timeline_of(raw: Any) -> Timeline:
    """The timeline of an MNE Raw.

    Raises
    ------
    ValueError
        Records of an EDF+D file that do not say when they were recorded, or go back in time.

    Notes
    -----
    A cropped Raw begins at 0 s, and marks are told from there. Pauses count where their length is
    known: by the records' times, by a ``boundary`` of EEGLAB with a duration, by the clock times of
    BrainVision's segments, and where MNE stored a skipped part as samples. Else a part follows the
    one before it without a pause.
    """
    rate_hz, samples = float(raw.info["sfreq"]), len(raw.times)
    files = _files_with_gaps(raw, rate_hz)
    # Those of such a file are true; MNE's are told from the signal without its gaps.
    noted = [mark for mark in _annotations(raw)
             if not any(file.has(mark, rate_hz) for file in files)]  # fmt: skip
    # In an EDF file "boundary" is a word like others: a joint, whose duration is no pause.
    pauses = not any(name in type(raw).__name__ for name in ("EDF", "BDF"))
    joints = _from_annotations(noted, rate_hz, pauses) | _from_segments(raw, rate_hz)
    for file in files:
        joints |= {file.before + sample: pause_s for sample, pause_s in file.gaps.items()}
    parts = _cut(joints, _skips(noted, rate_hz), samples, rate_hz)
    marks = _file_marks(files, parts, rate_hz)
    marks += [_true_mark(mark, parts, rate_hz) for mark in noted if not _is_joint(mark.text)]
    start = raw.info["meas_date"]
    if start is not None:
        start += datetime.timedelta(seconds=float(raw.first_time))
    odd = len(parts) > 1 or sum(part.samples for part in parts) < samples
    findings = (_finding(parts, rate_hz),) if odd else ()
    return Timeline(tuple(parts), tuple(marks), start, findings)


# Joints: the first sample behind each, and seconds of pause before it ---------------------------


@dataclasses.dataclass(frozen=True)
class _FileWithGaps:
    """Samples ``first`` to before ``stop`` of an EDF+D or BDF+D file, in a Raw of one or several.

    ``before`` are the Raw's samples before them, ``gaps`` joints from there on, ``begin_s`` is when
    the first one was recorded, by the file's own times, as those of ``marks`` are. ``whole``: the
    Raw is this file, uncut.
    """

    before: int
    first: int
    stop: int
    gaps: dict[int, float]
    begin_s: float
    marks: list[Mark]
    whole: bool

    def has(self, mark: Mark, rate_hz: float) -> bool:
        """Whether an annotation of MNE, in seconds of samples, is one of the file's."""
        moved_s = (self.first - self.before) / rate_hz
        onset_s, start_s = mark.onset_s + moved_s, self.first / rate_hz
        if abs(onset_s - start_s) < _ROUNDED_S and any(
            one.onset_s < start_s <= one.onset_s + one.duration_s
            for one in self.marks
            if one.text == mark.text
        ):  # MNE cut it where the Raw was cropped
            return True
        onsets = self.onsets_s.get(mark.text, np.empty(0))
        return bool((np.abs(onsets - onset_s) < _ROUNDED_S).any())

    @functools.cached_property
    def onsets_s(self) -> dict[str, np.ndarray]:
        """Of the file's marks, by text."""
        found: dict[str, list[float]] = {}
        for mark in self.marks:
            found.setdefault(mark.text, []).append(mark.onset_s)
        return {text: np.array(onsets) for text, onsets in found.items()}


def _files_with_gaps(raw: Any, rate_hz: float) -> list[_FileWithGaps]:
    """The EDF+D and BDF+D files with gaps that a Raw is of."""
    found: list[_FileWithGaps] = []
    files = [Path(file) if file else None for file in getattr(raw, "filenames", ()) or ()]
    if not any(file is not None and file.suffix.lower() in _EDF for file in files):
        return found
    before = 0  # samples of the files before this one
    known = [extras.get(LOOKED_AT) if isinstance(extras, dict) else None
             for extras in raw._raw_extras]  # fmt: skip
    for number, (file, first, last) in enumerate(
        zip(files, raw._first_samps, raw._last_samps, strict=True)
    ):
        first, last = int(first), int(last)
        if file is not None and file.suffix.lower() in _EDF and file.is_file():
            looked_at = known[number] or _look_at(file)
            alone = len(files) == 1
            found += _gaps(file, looked_at, before, first, last + 1, rate_hz, alone)
        before += last + 1 - first
    return found


def _look_at(file: Path) -> tuple[EdfHeader, tuple[Stretch, ...]]:
    """Header and stretches of a file that was opened by somebody else."""
    header = read_edf_header(file, whole=False)
    found = stretches(file, header)
    if found is None:
        raise ValueError(time_fault(file))
    return header, found


def _gaps(
    file: Path,
    looked_at: tuple[EdfHeader, tuple[Stretch, ...]],
    before: int,
    first: int,
    stop: int,
    rate_hz: float,
    alone: bool,
) -> list[_FileWithGaps]:
    """The file, if it has gaps."""
    header, found = looked_at
    if len(found) == 1:
        return []
    gaps, begin_s = {}, 0.0
    for one, after in pairwise(found):
        sample = round(after.first_s * rate_hz)
        if sample <= first:  # it begins behind this gap: by so much after the first record
            begin_s = after.onset_s - after.first_s
        elif sample < stop:
            if fault := order_fault(file, (one, after)):
                raise ValueError(fault)
            # By onsets alone: records may say that they last longer than their samples do.
            gaps[sample - first] = after.onset_s - one.onset_s - (after.first_s - one.first_s)
    whole = alone and first == 0 and stop == round(header.duration_s * rate_hz)
    marks = read_edf_marks(file, header)
    return [_FileWithGaps(before, first, stop, gaps, begin_s + first / rate_hz, marks, whole)]


def _file_marks(
    files: Sequence[_FileWithGaps], parts: Sequence[Part], rate_hz: float
) -> list[Mark]:
    """Marks of files with gaps, from the recording's start; of a cut file those that are left."""
    marks = []
    for file in files:
        start_s = _true_s(file.before / rate_hz, parts, rate_hz)
        last = file.before + file.stop - file.first - 1
        stop_s = _true_s(last / rate_hz, parts, rate_hz) + 1 / rate_hz
        for mark in file.marks:
            onset_s = start_s + mark.onset_s - file.begin_s
            end_s = onset_s + mark.duration_s
            if not file.whole:  # as MNE crops annotations
                if onset_s >= stop_s or end_s < start_s:
                    continue
                onset_s, end_s = max(onset_s, start_s), min(end_s, stop_s)
            duration_s = mark.duration_s if file.whole else end_s - onset_s
            marks.append(Mark(float(onset_s), float(duration_s), mark.text))
    return marks


def _annotations(raw: Any) -> list[Mark]:
    """Annotations of MNE, in seconds of samples from the first one on."""
    noted, first_s = raw.annotations, float(raw.first_time)
    texts, seconds = [str(text) for text in noted.description], np.nan_to_num(noted.duration)
    if type(raw).__name__ == "RawEEGLAB":
        own = _of_set(raw)
        if all(map(_NUMBER.fullmatch, texts if own is None else own.description)):
            # Where a set's events are numbers, EEGLAB writes -99 for a boundary.
            texts = ["boundary" if text in ("-99", "-99.0") else text for text in texts]
        for row, onset in enumerate(noted.onset):
            # A Raw limits durations to its end, and so a pause near it; the file has it whole.
            same = () if own is None else np.flatnonzero(np.abs(own.onset - onset) < _ROUNDED_S)
            if texts[row].lower() == "boundary" and len(same):
                seconds[row] = np.nan_to_num(own.duration[same]).max()
    return [Mark(float(onset) - first_s, float(duration), text)
            for onset, duration, text in zip(noted.onset, seconds, texts, strict=True)]  # fmt: skip


def _of_set(raw: Any) -> Any:
    """MNE's annotations of the EEGLAB file that a Raw is of, or None."""
    sets = [Path(file).with_suffix(".set") for file in raw.filenames if file]
    if len(sets) == 1 and (own := getattr(raw, "own_annotations", None)) is not None:
        return own
    return read_annotations(sets[0]) if len(sets) == 1 and sets[0].is_file() else None


def _is_joint(text: str) -> bool:
    return text.lower() in (
        "boundary",
        "bad_acq_skip",
        "edge boundary",
        "bad boundary",
    ) or text.startswith("New Segment/")


def _skips(marks: Sequence[Mark], rate_hz: float) -> list[tuple[int, int]]:
    """Samples (first, behind the last) that stand for parts which were not stored."""
    return [
        (round(mark.onset_s * rate_hz), round((mark.onset_s + mark.duration_s) * rate_hz))
        for mark in marks
        if mark.text.upper() == "BAD_ACQ_SKIP"
    ]


def _from_annotations(marks: Sequence[Mark], rate_hz: float, pauses: bool) -> dict[int, float]:
    joints: dict[int, float] = {}
    for mark in marks:
        if _is_joint(mark.text) and mark.text.upper() != "BAD_ACQ_SKIP":
            # EEGLAB has a boundary between two samples; a hundredth is for rounding.
            sample = math.ceil(mark.onset_s * rate_hz - 0.01)
            # Samples that were cut out there, of which only EEGLAB says how many.
            pause_s = mark.duration_s if pauses and mark.text.lower() == "boundary" else 0.0
            joints[sample] = max(pause_s, joints.get(sample, 0.0))
    return joints


def _from_segments(raw: Any, rate_hz: float) -> dict[int, float]:
    """Joints of a BrainVision recording by the clock times of its segments, where it has any."""
    markers = marker_file(raw)
    if markers is None:
        return {}
    joints: dict[int, float] = {}
    before: tuple[int, datetime.datetime] | None = None  # the last segment that has a clock
    found = _SEGMENT.findall(markers.read_bytes().decode("latin-1"))
    stored_hz = stored_rate_hz(raw) or rate_hz  # a Raw may be resampled
    for sample, clock in sorted((int(place) - 1, clock) for place, clock in found):
        try:
            time = datetime.datetime.strptime(clock.ljust(20, "0"), "%Y%m%d%H%M%S%f")
        except ValueError:  # none, or a clock of zeros: the mark itself is a joint all the same
            continue
        if before is not None:
            elapsed_s = (time - before[1]).total_seconds()
            pause_s = elapsed_s - (sample - before[0]) / stored_hz
            first = math.ceil(sample / stored_hz * rate_hz - 0.01) - int(raw.first_samp)
            # A clock that was set back says nothing about the pause.
            joints[first] = pause_s if pause_s * stored_hz >= 1 else 0.0
        before = sample, time
    return joints


# From joints to parts --------------------------------------------------------------------------


def _cut(
    joints: dict[int, float], skipped: Sequence[tuple[int, int]], samples: int, rate_hz: float
) -> list[Part]:
    """Parts between the joints that lie inside the signal, without what was skipped."""
    inside = {sample: pause_s for sample, pause_s in joints.items() if 0 < sample < samples}
    edges = {
        0,
        samples,
        *inside,
        *(edge for span in skipped for edge in span if 0 < edge < samples),
    }
    parts, pause_s = [], 0.0
    for start, stop in pairwise(sorted(edges)):
        pause_s += inside.get(start, 0.0)
        if not any(first <= start < last for first, last in skipped):
            parts.append(Part(start, stop, start / rate_hz + pause_s))
    return parts


def _true_s(second: float, parts: Sequence[Part], rate_hz: float) -> float:
    """When a second of the signal was recorded."""
    before = [part for part in parts if part.start / rate_hz <= second + 0.5 / rate_hz]
    part = before[-1] if before else None
    return second if part is None else second - part.start / rate_hz + part.onset_s


def _true_mark(mark: Mark, parts: Sequence[Part], rate_hz: float) -> Mark:
    """A mark at its true time; of one that reaches over a joint, the pause is part of it."""
    onset_s = _true_s(mark.onset_s, parts, rate_hz)
    sample_s = 1 / rate_hz
    stop_s = mark.onset_s + mark.duration_s
    joints = [part.start / rate_hz for part in parts[1:]]
    if not any(mark.onset_s < joint <= stop_s - sample_s for joint in joints):
        return dataclasses.replace(mark, onset_s=onset_s)
    # Its last sample's end: one that ends at a joint does not reach over it.
    duration_s = _true_s(stop_s - sample_s, parts, rate_hz) + sample_s - onset_s
    return Mark(onset_s, duration_s, mark.text)


def spans_text(spans: Sequence[tuple[float, float]]) -> str:
    """Spans of seconds in words, the first few of many."""
    return listed([f"{first:.6g} to {last:.6g} s" for first, last in spans])


def _finding(parts: Sequence[Part], rate_hz: float) -> Finding:
    spans = tuple((part.onset_s, part.onset_s + part.samples / rate_hz) for part in parts)
    if len(parts) < 2:
        where = f"has signal at {spans_text(spans)} alone" if parts else "has no signal"
        text = f"The recording {where}: what else it spans was skipped (BAD_ACQ_SKIP)."
        return Finding("parts", text, spans_s=spans)
    return Finding(
        "parts",
        f"The recording has {len(parts)} parts, recorded at {spans_text(spans)}. Every part is "
        "filtered alone, and no window spans a joint.",
        spans_s=spans,
    )
