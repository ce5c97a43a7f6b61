"""CHB-MIT: seizures of children, on 16 bipolar channels."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from modeling_mteeg.dataset_scripts.chb_summary import read_summary, remarks, stated_rate_hz
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.completeness import names_missing, number_differs
from modeling_mteeg.dataset_scripts.corpus import (
    Corpus,
    Recorded,
    Recording,
    Segment,
    windows_in_order,
)
from modeling_mteeg.dataset_scripts.downloads.database import Database
from modeling_mteeg.dataset_scripts.part_spans import Span, part_by_part
from modeling_mteeg.dataset_scripts.reading import RecordingError, load_edf
from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.model.task_card import TaskCard

CARD = TaskCard(
    name="chb-mit",
    labels=("background", "seizure"),
    channels=tuple(
        (
            "FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2 "
            "FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2"
        ).split()
    ),
    window_s=10.0,
    corpus="CHB-MIT Scalp EEG Database 1.0.0",
    license="Open Data Commons Attribution License 1.0 (ODC-BY)",
    description=(
        "Is there a seizure? Cases 1 and 21 are the same girl and are recorded as subject chb01, "
        "so the published split shares her between training and validation."
    ),
)
STRIDE_S = 1.0
BIOT_STRIDE_S, BIOT_MARGIN_S = 5.0, 1.0
REPEATED = ("T8-P8",)
"""Occurs twice in most files, with the same signal."""
SAME_SUBJECT = {21: 1}
CASES = range(1, 24)
"""Those of the published split; case 24 came later and is in no part of it."""
BIOT_FILES: dict[int, Sequence[int]] = {
    case: range(first, last + 1)
    for case, first, last in (
        (1, 1, 46), (2, 1, 35), (3, 1, 38), (4, 1, 43), (5, 1, 39), (6, 1, 24), (7, 1, 19),
        (8, 2, 29), (9, 1, 19), (10, 1, 89), (11, 1, 99), (14, 1, 42), (15, 1, 63), (16, 1, 19),
        (18, 1, 36), (19, 1, 30), (20, 1, 68), (21, 1, 33), (22, 1, 77), (23, 6, 20),
    )
} | {24: (1, *range(3, 22))}  # fmt: skip
"""Numbers MM of the files chbNN_MM.edf that BIOT's process1.py reads, by case. Cases 12, 13 and 17,
whose channels change between files, are not among them."""
UNNAMED = tuple(f"chb24_{number:02d}.edf" for number in (2, 5, 8, 10, 12, 16, 18, 19, 20, 22))
"""Files that the summary of case 24 leaves out; no seizure is marked in them."""
FILES, SEIZURES = 664, 182
"""EDF files and seizures of :data:`CASES`. With case 24 it is 686 files (the
summaries name 676 of them) and 198 seizures."""
_SUMMARY = re.compile(r"chb(\d{2})-summary\.txt")
_NAME = re.compile(r"chb(\d{2})[a-z]?_.+")
_BIOT_NAME = re.compile(r"chb\d{2}_(\d{2})")
RATE_TOLERANCE = 1e-3


class ChbMit(Corpus):
    """CHB-MIT, from ``chbNN/*.edf`` with ``chbNN-summary.txt``.

    Cases 1 to 19 train, 20 and 21 validate, 22 and 23 test (paper, appendix B.1).

    Notes
    -----
    The paper says that seizure regions are cut with a stride of 1 s; how a window at a border is
    labelled it does not say. Here a seizure window lies wholly within a seizure; a seizure shorter
    than a window gives one window centred on it, so that no seizure is lost. Background windows
    lie wholly outside the seizures and those centred windows, without overlap, from the start of
    every region between seizures on.

    ``--protocol biot`` is that of BIOT's published scripts (datasets/CHB-MIT/process1.py and
    process2.py), which CBraMod and others follow. Cases 21 and 22 validate, 23 and 24 test, the
    others train, but for 12, 13 and 17, which the scripts do not read; nor do they read names other
    than ``chbNN_MM.edf`` and numbers beyond those of :data:`BIOT_FILES`. Windows of 10 s without
    overlap over the whole recording are ``seizure`` where a seizure starts or ends in them, so one
    that lies wholly within a long seizure is ``background``. Then come windows at a stride of 5 s
    from 1 s before a seizure to 1 s after it, all of them ``seizure`` even where the seizure has
    just ended. Different from the scripts: a window that the recording's end would cut short is
    left out; times are not shifted by one sample of 256 Hz (the labels are the same, the windows
    around seizures start 4 ms later); a file that lacks channels is skipped where the scripts fill
    zeros; the signal is filtered as the paper has it, theirs is not.

    Three files of case 12, with 13 of the 198 seizures, hold electrodes against one reference
    instead of derivations: their derivations are the exact differences of two electrodes, and the
    report says so. The summary of case 24 names the files with seizures only; the others
    (:data:`UNNAMED`) are taken as free of them, as BIOT's scripts take them.
    """

    card = CARD
    homepage = "https://physionet.org/content/chbmit/1.0.0/"
    database = Database(
        "chbmit",
        "1.0.0",
        owner=r"(chb\d{2})/",
        wanted=r"(chb\d{2})/(\1[a-z]?_.+\.edf|\1-summary\.txt)",
        subject="chb{:02d}",
        same_subject={f"chb{case:02d}": f"chb{one:02d}" for case, one in SAME_SUBJECT.items()},
    )
    layout = "chbNN/*.edf and chbNN/chbNN-summary.txt"
    license_id = "odc-by"
    license_link = "https://opendatacommons.org/licenses/by/1-0/"
    redistributable = True
    recorded = (
        "Children and young people with intractable seizures at the Children's Hospital Boston, "
        "monitored for days after their medication was withdrawn: 256 Hz, bipolar derivations of "
        "the 10-20 system, seizures marked by clinical experts."
    )
    references = (
        "Shoeb 2009. Application of Machine Learning to Epileptic Seizure Onset Detection and "
        "Treatment. PhD thesis, Massachusetts Institute of Technology.",
        "Guttag 2010. CHB-MIT Scalp EEG Database 1.0.0. PhysioNet, doi:10.13026/C2K01R.",
        "Goldberger et al. 2000. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23), "
        "e215-e220.",
    )
    tags = ("seizure-detection", "epilepsy")
    file_pattern = "chb*.edf"
    protocols: ClassVar[dict[str, str]] = {
        "paper": "cases 1 to 19 train, 20 and 21 validate, 22 and 23 test; seizures cut with a "
        "stride of 1 s, the rest without overlap",
        "biot": "cases 21 and 22 validate, 23 and 24 test, the others but 12, 13, 17 train; "
        "windows without overlap are seizure where one starts or ends in them (background where "
        "they lie wholly inside it), and more windows of seizure every 5 s around each; files that "
        "the summary of case 24 does not name have no seizures (BIOT's scripts)",
    }

    def describe(self, path: Path) -> Recording:
        """A file ``chbNN_*.edf`` with the summary of its case."""
        match = _NAME.fullmatch(path.stem)
        case = int(match[1]) if match else 0
        left_out = ""
        if self._split(case) is None:
            left_out = "its case is in no part of the published split"
        elif self.protocol == "biot" and not _read_by_biot(path.stem, case):
            left_out = "BIOT's scripts do not read this file"
        subject = f"chb{SAME_SUBJECT.get(case, case):02d}"
        summary = path.parent / f"chb{case:02d}-summary.txt"
        fault = ""
        if not left_out and not summary.is_file():
            fault = f"{path.name}: the summary {summary.name} is missing; download it."
        return Recording(path.stem, subject, path, (summary,), f"case-{case}", left_out, fault)

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """By case."""
        result = {}
        for recording in recordings:
            case = int(recording.group.removeprefix("case-"))
            result[recording.key] = self._split(case)
        return result

    def _split(self, case: int) -> str | None:
        """Split of a case; None: it is in no part."""
        biot = self.protocol == "biot"
        first = 21 if biot else 20  # of two that validate, then two that test
        if case not in (BIOT_FILES if biot else CASES):
            return None
        return "train" if case < first else "validation" if case < first + 2 else "test"

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """Cases and files that are not there, and what the numbers of files and seizures lack."""
        present = {recording.path.name for recording in recordings if not recording.left_out}
        cases = [f"chb{case:02d}" for case in range(1, 25) if self._split(case)]
        lines = names_missing("cases", cases, (name[:5] for name in present))
        if self.protocol != "paper":
            return lines  # no count is known
        named: dict[str, list[tuple[int, int]]] = {}
        for path in sorted(self.raw.rglob("chb*-summary.txt")):
            match = _SUMMARY.fullmatch(path.name)
            if not match or int(match[1]) not in CASES:
                continue
            try:
                named |= read_summary(path)
            except RecordingError as error:
                lines.append(f"a summary is not valid, its seizures are not counted: {error}")
        lines += names_missing("files that the summaries name", list(named), present)
        lines += number_differs("EDF files of cases 1 to 23", FILES, len(present))
        seizures_found = sum(len(seizures) for seizures in named.values())
        what = "seizures in the summaries of cases 1 to 23"
        return lines + number_differs(what, SEIZURES, seizures_found)

    def load(self, recording: Recording) -> Recorded:
        """The 16 derivations in microvolt, at the rate that the summary says."""
        recorded = load_edf(recording.path, CARD.channels, repeated=REPEATED, derive=True)
        summary = recording.companions[0]
        stated_hz = stated_rate_hz(summary)
        if stated_hz is not None and abs(recorded.rate_hz / stated_hz - 1) > RATE_TOLERANCE:
            raise RecordingError(
                f"{recording.path.name}: {recorded.rate_hz:g} Hz by its header, but "
                f"{summary.name} says {stated_hz:g} Hz; download both again."
            )
        return recorded

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """Seizures with a stride of 1 s, the rest without overlap."""
        return self._cut(self._seizures(recording, samples / CARD.rate_hz), samples)

    def segments_in(
        self, recording: Recording, spans: Sequence[Span]
    ) -> tuple[list[Segment], Counter[str]]:
        """Part by part: what of a seizure lies in a part is a seizure of its own."""
        if len(spans) == 1 and spans[0].start == 0:
            return super().segments_in(recording, spans)
        last_s = max(span.stop for span in spans) / CARD.rate_hz
        seizures = self._seizures(recording, last_s)

        def of_part(number: int) -> tuple[list[Segment], Counter[str]]:
            span = spans[number]
            start_s, length_s = span.start / CARD.rate_hz, span.samples / CARD.rate_hz
            moved = [(start - start_s, end - start_s) for start, end in seizures]
            return self._cut(
                [(start, end) for start, end in moved if start < length_s and end > 0],
                span.samples,
            )

        return part_by_part(spans, self.window_samples, of_part)

    def _seizures(self, recording: Recording, seconds: float) -> list[tuple[int, int]]:
        """Start and end in seconds of every seizure of a recording of that length."""
        summary = recording.companions[0]
        found = read_summary(summary).get(recording.path.name)
        for remark in remarks(summary, recording.path.name):
            warnings.warn(remark, RecordingWarning, stacklevel=2)
        if found is None and recording.path.name in UNNAMED:
            warnings.warn(
                f"{summary.name} does not name the file, which is taken as free of seizures: "
                f"{recording.path.name}",
                RecordingWarning,
                stacklevel=2,
            )
            found = []
        if found is None:
            raise RecordingError(
                f"{recording.path.name}: not named in {summary.name}, so its seizures are unknown; "
                "download both again."
            )
        last = max((end for _, end in found), default=0)
        if last > seconds + 1:
            raise RecordingError(
                f"{recording.path.name}: {seconds:g} s long, but {summary.name} has a seizure to "
                f"{last} s; the file is incomplete."
            )
        return found

    def _cut(
        self, seizures_s: Sequence[tuple[float, float]], samples: int
    ) -> tuple[list[Segment], Counter[str]]:
        """Windows of a continuous signal with known seizures, by the protocol."""
        if self.protocol == "biot":
            return cut_as_biot(seizures_s, samples, CARD.rate_hz, self.window_samples)
        return cut_seizures(seizures_s, samples, CARD.rate_hz, self.window_samples), Counter()


def cut_seizures(
    seizures_s: Sequence[tuple[float, float]], samples: int, rate_hz: float, length: int
) -> list[Segment]:
    """Windows of a recording with known seizures; see the notes of :class:`ChbMit`.

    Parameters
    ----------
    seizures_s : sequence of (start, end)
        Seconds, in order.
    samples : int
        Length of the recording.
    rate_hz : float
    length : int
        Samples per window.

    Returns
    -------
    list of Segment
        In order of their starts.
    """
    stride = round(STRIDE_S * rate_hz)
    result, free_from = [], 0
    regions = []  # samples that belong to seizures
    for start_s, end_s in seizures_s:
        start, stop = max(round(start_s * rate_hz), 0), min(round(end_s * rate_hz), samples)
        if stop - start >= length:
            starts = list(range(start, stop - length + 1, stride))
        else:
            middle = (start + stop - length) // 2
            starts = [min(max(middle, 0), samples - length)]
        result += [Segment(at, "seizure") for at in starts]
        regions.append((min(start, starts[0]), max(stop, starts[-1] + length)))
    for start, stop in [*sorted(regions), (samples, samples)]:
        result += windows_in_order(free_from, start, length, "background")
        free_from = max(free_from, stop)
    return sorted(result, key=lambda segment: segment.start)


def _read_by_biot(name: str, case: int) -> bool:
    match = _BIOT_NAME.fullmatch(name)
    return bool(match) and int(match[1]) in BIOT_FILES[case]


def cut_as_biot(
    seizures_s: Sequence[tuple[float, float]], samples: int, rate_hz: float, length: int
) -> tuple[list[Segment], Counter[str]]:
    """Windows by BIOT's rules; see the notes of :class:`ChbMit`, and :func:`cut_seizures`.

    Returns
    -------
    list of Segment
        In order of their starts; windows around seizures repeat parts of the others.
    Counter
        Windows that the recording's end would cut short.
    """
    result, left_out = [], Counter()
    window_s = length / rate_hz
    for start in range(0, samples - length + 1, length):
        start_s = start / rate_hz
        borders = (second for seizure in seizures_s for second in seizure)
        touched = any(start_s < second <= start_s + window_s for second in borders)
        result.append(Segment(start, "seizure" if touched else "background"))
    for start_s, end_s in seizures_s:
        first = round(max(start_s - BIOT_MARGIN_S, 0) * rate_hz)
        stop = min(round((end_s + BIOT_MARGIN_S) * rate_hz), samples)
        for start in range(first, stop, round(BIOT_STRIDE_S * rate_hz)):
            if start + length > samples:
                left_out["beyond the end of the recording"] += 1
            else:
                result.append(Segment(start, "seizure"))
    return sorted(result, key=lambda segment: segment.start), left_out


if __name__ == "__main__":
    raise SystemExit(run_command(ChbMit))
