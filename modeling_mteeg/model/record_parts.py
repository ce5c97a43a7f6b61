"""Parts of a recording: stretches without a gap or a joint, and when each was recorded.

A filter must not run across a joint, and a window must not span one. Joints are told by the times
of an EDF+D file's records, by EEGLAB's ``boundary``, BrainVision's ``New Segment``, MNE's
``EDGE boundary`` (files that were joined) and ``BAD_ACQ_SKIP`` (parts that were not stored).
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .edf_annotations import Mark, read_edf_marks
from .findings import Finding, listed
from .record_times import order_fault, stretches, time_fault
from .recording_files import read_annotations
from .recording_headers import RecordingError, read_edf_header

_EDF = (".edf", ".bdf")
_SEGMENT = re.compile(r"^Mk\d+=New Segment,[^,]*,(\d+),[^,]*,[^,]*(?:,(\d{14,20}))?", re.M)


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
        What was found, where there are several parts.
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
    joints, marks = _from_records(raw, rate_hz)
    if joints:  # those of the file are true; MNE's are told from the signal without its gaps
        parts = _cut(joints, [], samples, rate_hz)
    else:
        noted = _annotations(raw)
        joints = _from_annotations(noted, rate_hz) | _from_segments(raw, rate_hz)
        parts = _cut(joints, _skips(noted, rate_hz), samples, rate_hz)
        marks = [dataclasses.replace(mark, onset_s=_true_s(mark.onset_s, parts, rate_hz))
                 for mark in noted if not _is_joint(mark.text)]  # fmt: skip
    start = raw.info["meas_date"]
    if start is not None:
        start += datetime.timedelta(seconds=float(raw.first_time))
    findings = (_finding(parts, rate_hz),) if len(parts) > 1 else ()
    return Timeline(tuple(parts), tuple(marks), start, findings)


# Joints: the first sample behind each, and seconds of pause before it ---------------------------


def _from_records(raw: Any, rate_hz: float) -> tuple[dict[int, float], list[Mark]]:
    """Joints and marks of EDF+D and BDF+D files with gaps; nothing of others."""
    joints: dict[int, float] = {}
    marks: list[Mark] = []
    files = [Path(file) if file else None for file in getattr(raw, "filenames", ()) or ()]
    if not any(file is not None and file.suffix.lower() in _EDF for file in files):
        return joints, marks
    before = 0  # samples of the files before this one
    for file, first, last in zip(files, raw._first_samps, raw._last_samps, strict=True):
        if file is not None and file.suffix.lower() in _EDF and file.is_file():
            gaps, noted = _gaps(file, first, last + 1, rate_hz)
            joints |= {before + sample: pause_s for sample, pause_s in gaps.items()}
            if len(files) == 1:
                marks = noted
        before += last + 1 - first
    return joints, marks


def _gaps(file: Path, first: int, stop: int, rate_hz: float) -> tuple[dict[int, float], list[Mark]]:
    """Joints in samples from ``first`` on, and marks in seconds from there."""
    try:
        header = read_edf_header(file, whole=False)
    except RecordingError:
        return {}, []
    found = stretches(file, header)
    if found is None:
        raise ValueError(time_fault(file))
    gaps, begin_s = {}, 0.0
    for before, after in pairwise(found):
        sample = round(after.first_s * rate_hz)
        if sample <= first:  # it begins behind this gap: by so much after the first record
            begin_s = after.onset_s - after.first_s
        elif sample < stop:
            if fault := order_fault(file, (before, after)):
                raise ValueError(fault)
            gaps[sample - first] = after.onset_s - before.stop_s
    if not gaps:
        return {}, []
    begin_s += first / rate_hz
    marks = read_edf_marks(file, header)
    return gaps, [dataclasses.replace(mark, onset_s=mark.onset_s - begin_s) for mark in marks]


def _annotations(raw: Any) -> list[Mark]:
    """Annotations of MNE, in seconds of samples from the first one on."""
    noted, first_s = raw.annotations, float(raw.first_time)
    # A Raw limits durations to its end, and so a pause near it.
    sets = [Path(file).with_suffix(".set") for file in raw.filenames if file]
    if type(raw).__name__ == "RawEEGLAB" and len(sets) == 1 and sets[0].is_file():
        noted = read_annotations(sets[0])
    rows = zip(noted.onset, noted.duration, noted.description, strict=True)
    return [Mark(float(onset) - first_s, float(np.nan_to_num(duration)), str(text))
            for onset, duration, text in rows]  # fmt: skip


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


def _from_annotations(marks: Sequence[Mark], rate_hz: float) -> dict[int, float]:
    joints: dict[int, float] = {}
    for mark in marks:
        if _is_joint(mark.text) and mark.text.upper() != "BAD_ACQ_SKIP":
            # EEGLAB has a boundary between two samples; a hundredth is for rounding.
            sample = math.ceil(mark.onset_s * rate_hz - 0.01)
            # Samples that were cut out there, of which only EEGLAB says how many.
            pause_s = mark.duration_s if mark.text.lower() == "boundary" else 0.0
            joints[sample] = max(pause_s, joints.get(sample, 0.0))
    return joints


def _from_segments(raw: Any, rate_hz: float) -> dict[int, float]:
    """Joints of a BrainVision recording by the clock times of its segments, where it has any."""
    files = [Path(file) for file in getattr(raw, "filenames", ()) or () if file]
    markers = files[0].with_suffix(".vmrk") if len(files) == 1 else None
    if markers is None or files[0].suffix.lower() == ".vmrk" or not markers.is_file():
        return {}
    found = _SEGMENT.findall(markers.read_bytes().decode("latin-1"))
    if not all(clock for _, clock in found):
        return {}
    samples = [int(place) - 1 for place, _ in found]
    try:
        times = [datetime.datetime.strptime(clock.ljust(20, "0"), "%Y%m%d%H%M%S%f")
                 for _, clock in found]  # fmt: skip
    except ValueError:  # a clock of zeros: the marks themselves are joints all the same
        return {}
    joints = {}
    for at in range(1, len(samples)):
        elapsed_s = (times[at] - times[at - 1]).total_seconds()
        pause_s = elapsed_s - (samples[at] - samples[at - 1]) / rate_hz
        # A clock that was set back says nothing about the pause.
        joints[samples[at] - raw.first_samp] = pause_s if pause_s * rate_hz >= 1 else 0.0
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


def spans_text(spans: Sequence[tuple[float, float]]) -> str:
    """Spans of seconds in words, the first few of many."""
    return listed([f"{first:.6g} to {last:.6g} s" for first, last in spans])


def _finding(parts: Sequence[Part], rate_hz: float) -> Finding:
    spans = tuple((part.onset_s, part.onset_s + part.samples / rate_hz) for part in parts)
    return Finding(
        "parts",
        f"The recording has {len(parts)} parts, recorded at {spans_text(spans)}. Every part is "
        "filtered alone, and no window spans a joint.",
        spans_s=spans,
    )
