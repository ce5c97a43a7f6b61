"""Recordings in parts, marks as bad and padded seconds: what preparations make windows of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from odd_files import write_odd_edf
from places import ROOT

from modeling_mteeg.data import load_unlabelled
from modeling_mteeg.dataset_scripts.annotated import Annotated, AnnotatedOptions
from modeling_mteeg.dataset_scripts.chb_mit import ChbMit
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording, Segment, windows_in_order
from modeling_mteeg.dataset_scripts.labelling import read_events
from modeling_mteeg.dataset_scripts.opening import open_recording
from modeling_mteeg.dataset_scripts.part_spans import BEYOND, OVER_A_JOINT, TWICE, Span, placed
from modeling_mteeg.dataset_scripts.reading import load_edf
from modeling_mteeg.dataset_scripts.survey import _header
from modeling_mteeg.dataset_scripts.tuab import Tuab
from modeling_mteeg.dataset_scripts.unlabelled import UnlabelledSettings, prepare_unlabelled
from modeling_mteeg.dataset_scripts.unlabelled.sound_time import SoundTime, where_at_least
from modeling_mteeg.dataset_scripts.unsound import CONSTANT, MARKED_BAD, without_marked
from modeling_mteeg.model.edf_annotations import Mark
from modeling_mteeg.model.preprocessing import preprocessing_info
from modeling_mteeg.model.record_parts import Part
from modeling_mteeg.model.recording_sources import Source
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.model.window_quality import judge_windows

NAMES, RATE = ("C3", "CZ", "C4"), 250
HALVES = ((0, 15), (15, 29))
"""Seconds of the two parts in the file."""


class Whole(Corpus):
    """Windows of 4 s in order, all of one class."""

    card = TaskCard(name="whole", labels=("a", "b"), channels=NAMES, window_s=4.0)
    in_order = True

    def segments(self, recording, samples):
        return windows_in_order(0, samples, self.window_samples, "a"), Counter()


class Cued(Whole):
    """A window of 4 s at 2, 10, 13, 101 and 112.5 s."""

    in_order = False
    cues = (2.0, 10.0, 13.0, 101.0, 112.5)

    def segments(self, recording, samples):
        return [Segment(round(at * 200), "a") for at in self.cues], Counter()


def signal(seed: int = 0, seconds: int = 29) -> np.ndarray:
    """Noise on a slow drift, so that a filter over a joint would show."""
    noise = np.random.default_rng(seed).normal(0, 20, (len(NAMES), seconds * RATE))
    noise[:, 15 * RATE :] += 500
    return noise


def write(
    path: Path,
    signal_uv: np.ndarray,
    gap_s: float = 0,
    notes: Mapping[float, str] | None = None,
    kind: str = "EDF+D",
) -> Path:
    """``gap_s`` before second 15 of the signal; notes of 2 s by true onset."""
    seconds = signal_uv.shape[1] // RATE
    stamps = [f"+{at + (gap_s if at >= 15 else 0):g}\x14\x14\0".encode() for at in range(seconds)]
    for at, (onset, text) in enumerate((notes or {}).items()):
        stamps[at] += f"+{onset:g}\x152\x14{text}\x14\0".encode()
    return write_odd_edf(path, signal_uv, NAMES, RATE, kind=kind, stamps=stamps)


def windows(corpus: Corpus, path: Path) -> tuple[dict[float, np.ndarray], Counter[str]]:
    """Windows by onset, and how many were left out for which reason."""
    reading = corpus.read(Recording(path.stem, path.stem, path))
    return {segment.start / 200: values for segment, values in reading.windows}, reading.left_out


def as_own_files(folder: Path, corpus: Corpus, whole: np.ndarray) -> list[dict]:
    parts = []
    for number, (first, last) in enumerate(HALVES):
        part = whole[:, first * RATE : last * RATE]
        parts.append(windows(corpus, write(folder / f"part{number}.edf", part, kind=""))[0])
    return parts


def annotated(folder: Path, **options: object) -> tuple[Annotated, dict[str, Recording]]:
    fields = {"labels": ("rest", "press"), "subject_from": "name", "window": 2.0} | options
    corpus = Annotated(folder, "cues", AnnotatedOptions(**fields))
    return corpus, {recording.key: recording for recording in corpus.find_recordings()}


# Labelled ----------------------------------------------------------------------------------------


def test_windows_of_a_file_with_a_gap_are_those_of_its_parts_as_files_of_their_own(tmp_path):
    corpus, whole = Whole(tmp_path), signal()
    for gap_s in (100.0, 0.3, 7.004):
        found, left_out = windows(corpus, write(tmp_path / "gap.edf", whole, gap_s))
        parts = as_own_files(tmp_path, corpus, whole)
        begin_s = round((15 + gap_s) * 200) / 200
        expected = parts[0] | {begin_s + onset: values for onset, values in parts[1].items()}
        assert list(found) == list(expected) and not left_out and len(found) == 3 + 3
        for onset, values in expected.items():
            assert np.array_equal(found[onset], values)


def test_a_recording_without_a_gap_is_what_it_was_whatever_its_letter(tmp_path):
    corpus, whole = Whole(tmp_path), signal()
    plain = windows(corpus, write(tmp_path / "plain.edf", whole, kind=""))[0]
    for kind in ("EDF+D", "EDF+C"):
        found, _ = windows(corpus, write(tmp_path / f"{kind}.edf", whole, kind=kind))
        assert list(found) == list(plain) and len(plain) == 7
        assert all(np.array_equal(found[onset], plain[onset]) for onset in plain)


def test_events_are_found_by_their_true_times_and_none_spans_a_joint(tmp_path):
    corpus, whole = Cued(tmp_path), signal()
    found, left_out = windows(corpus, write(tmp_path / "gap.edf", whole, 85.0))  # 100 s on
    parts = as_own_files(tmp_path, Whole(tmp_path), whole)
    assert list(found) == [2.0, 10.0, 101.0] and left_out == {OVER_A_JOINT: 1, BEYOND: 1}
    alone = Cued(tmp_path)
    alone.cues = (1.0,)
    second, _ = windows(alone, tmp_path / "part1.edf")
    assert np.array_equal(found[101.0], second[1.0]) and parts


def test_times_that_two_parts_have_tell_no_window():
    """As of a recorder whose clock went back, in a format whose reader takes such files."""
    spans = [Span(0, 3000), Span(2000, 5000)]
    starts = (0, 1500, 2100, 2500, 4500)
    kept, left_out = placed([Segment(start, "a") for start in starts], spans, 800)
    assert [(one.start, one.part) for one in kept] == [(0, 0), (1500, 0), (2500, 1)]
    assert left_out == {TWICE: 1, BEYOND: 1}


def test_annotated_windows_of_a_part_are_those_of_its_own_file(tmp_path):
    whole, gap_s = signal(), 100.0
    cues = {1.0: "rest", 14.0: "press", 16.0: "rest", 118.0: "press", 120.0: "rest"}
    write(tmp_path / "raw" / "p1.edf", whole, gap_s, cues)
    corpus, recordings = annotated(tmp_path / "raw")
    reading = corpus.read(recordings["p1"])
    found = {segment.start / 200: (segment.label, values) for segment, values in reading.windows}
    assert reading.left_out == {OVER_A_JOINT: 2} and reading.findings == (
        "parts",
        "short-for-filter",
    )
    part = whole[:, 15 * RATE :]
    write(tmp_path / "own" / "p1.edf", part, notes={3.0: "press", 5.0: "rest"}, kind="EDF+C")
    corpus, recordings = annotated(tmp_path / "own")
    own = {segment.start / 200: (segment.label, values)
           for segment, values in corpus.read(recordings["p1"]).windows}  # fmt: skip
    assert set(found) == {1.0, 118.0, 120.0} and set(own) == {3.0, 5.0}
    for onset, (label, values) in own.items():
        told, there = found[onset + 115.0]
        assert told == label and np.array_equal(there, values)


@pytest.mark.parametrize("alone", [False, True], ids=["filtered whole", "cut before the filter"])
def test_the_class_of_a_whole_recording_is_that_of_every_part(alone, tmp_path):
    for person in (1, 2):
        write(tmp_path / f"p{person}_{person}.edf", signal(person), 100.0)
    rules = {"_1$": "rest", "_2$": "press"}
    corpus, recordings = annotated(
        tmp_path, label_by_name=rules, window=4.0, cut_before_filter=alone
    )
    reading = corpus.read(recordings["p1_1"])
    starts = [segment.start / 200 for segment, _ in reading.windows]
    assert starts == [0.0, 4.0, 8.0, 115.0, 119.0, 123.0]


def test_events_files_that_count_without_the_pauses_are_told_by_their_samples(tmp_path):
    write(tmp_path / "sub-1_eeg.edf", signal(), 100.0)
    rows = {"signal": [(1.0, 250), (18.0, 4500)], "true": [(1.0, 250), (118.0, 4500)]}
    for name, cues in rows.items():
        lines = [f"{onset}\t2\t{('rest', 'press')[onset > 1]}\t{sample}"
                 for onset, sample in cues]  # fmt: skip
        text = "\n".join(["onset\tduration\ttrial_type\tsample", *lines])
        (tmp_path / "sub-1_events.tsv").write_text(text + "\n")
        corpus, recordings = annotated(tmp_path, subject_from="bids")
        reading = corpus.read(recordings["sub-1_eeg"])
        assert [segment.start / 200 for segment, _ in reading.windows] == [1.0, 118.0], name


def test_annotations_and_ends_of_an_edf_file_are_by_the_time_of_its_parts(tmp_path):
    """A ``boundary`` is a word like others in it: both readers of annotations agree."""
    stamps = [f"+{at}\x14\x14\0".encode() for at in range(29)]
    stamps[5] += b"+5\x1530\x14boundary\x14\0"
    stamps[12] += b"+12\x152\x14press\x14\0"
    path = write_odd_edf(tmp_path / "p1.edf", signal(), NAMES, RATE, kind="EDF+C", stamps=stamps)
    source = open_recording(path, "labelled")
    (press,) = [mark for mark in source.marks if mark.text == "press"]
    assert press in read_events(path, "trial_type")
    assert _header(path, keep_bad=False)[1] == source.end_s


@pytest.mark.parametrize(("text", "left"), [("BAD_now", [0, 1600]), ("blink", [0, 800, 1600])])
def test_a_moment_that_is_marked_bad_costs_the_window_that_it_begins(text, left):
    """As where answers are asked for, at 200 Hz."""
    mark = Mark(4.0, 0.0, text)
    kept, _ = without_marked([Segment(at, "a") for at in (0, 800, 1600)], [mark], 800, 200.0)
    assert [segment.start for segment in kept] == left
    quality = judge_windows(np.array([0.0, 4.0, 8.0]), 4.0, [mark], {}, [], None)
    marked = [bool(reason) for reason in quality.reasons] or [False] * 3
    assert [at for at, bad in zip((0, 800, 1600), marked, strict=True) if not bad] == left


def test_seizures_are_cut_part_by_part(tmp_path):
    summary = tmp_path / "chb01-summary.txt"
    summary.write_text(
        "File Name: chb01_01.edf\nNumber of Seizures in File: 1\n"
        "Seizure 1 Start Time: 20 seconds\nSeizure 1 End Time: 105 seconds\n"
    )
    recording = Recording("chb01_01", "chb01", tmp_path / "chb01_01.edf", (summary,))
    spans = [Span(0, 30 * 200), Span(100 * 200, 140 * 200), Span(150 * 200, 155 * 200)]
    for protocol in ("paper", "biot"):
        segments, _ = ChbMit(tmp_path, protocol).segments_in(recording, spans)
        for segment in segments:
            span = spans[segment.part]
            assert span.start <= segment.start and segment.start + 2000 <= span.stop
        assert {segment.part for segment in segments if segment.label == "seizure"} == {0, 1}
        assert {segment.part for segment in segments if segment.label == "background"} == {0, 1}


def test_windows_under_marks_as_bad_are_left_out_of_any_corpus(tmp_path):
    path = write(
        tmp_path / "a.edf", signal(), notes={5.0: "BAD_muscle", 21.0: "blink"}, kind="EDF+C"
    )
    plain = windows(Whole(tmp_path), write(tmp_path / "b.edf", signal(), kind=""))[0]
    found, left_out = windows(Whole(tmp_path), path)
    assert left_out == {MARKED_BAD: 1} and set(plain) - set(found) == {4.0}
    assert all(np.array_equal(found[onset], plain[onset]) for onset in found)
    reading = Whole(tmp_path).read(Recording("a", "a", path))
    assert "marked-bad" in reading.findings and "BAD_muscle" in " ".join(reading.warnings)


def test_padded_seconds_are_named_and_left_out_where_that_is_asked_for(tmp_path):
    padded = signal()
    padded[:, 20 * RATE :] = padded[:, 20 * RATE - 1 :][:, :1]  # all channels from 20 s on
    padded[1, 4 * RATE : 7 * RATE] = 11.0  # a plug that was pulled for 3 s of a window
    padded[2, 9 * RATE : 10 * RATE] = 3.0  # and for 1 s
    path = write(tmp_path / "a.edf", padded, kind="")
    kept, none = windows(Whole(tmp_path), path)
    assert len(kept) == 7 and not none  # as the published scripts do
    corpus = Whole(tmp_path)
    corpus.use_constant("leave-out")
    assert corpus.options_given == {"constant": "leave-out"}  # parts of the other are not taken
    found, left_out = windows(corpus, path)
    assert left_out == {CONSTANT: 3} and list(found) == [0.0, 8.0, 12.0, 16.0]
    assert all(np.array_equal(found[onset], kept[onset]) for onset in found)
    warning = " ".join(corpus.read(Recording("a", "a", path)).warnings)
    assert "constant for a while: 3 of 3" in warning and "CZ for 12 s" in warning


def test_a_channel_that_is_flat_throughout_leaves_no_window_out(tmp_path):
    flat = signal()
    flat[1] = 0.0
    corpus = Whole(tmp_path)
    corpus.use_constant("leave-out")
    for gap_s in (0.0, 100.0):
        path = write(tmp_path / "a.edf", flat, gap_s)
        found, left_out = windows(corpus, path)
        assert not left_out and len(found) == (7 if not gap_s else 6)
        assert "flat: 1 of 3 (CZ)" in corpus.read(Recording("a", "a", path)).warnings


def test_the_published_protocols_keep_constant_windows_and_folders_of_any_kind_do_not():
    assert Tuab.constant == ChbMit.constant == "keep"
    assert AnnotatedOptions().constant == "leave-out"


# Unlabelled --------------------------------------------------------------------------------------


def unlabelled(raw: Path, out: Path) -> dict[tuple[str, float], np.ndarray]:
    settings = UnlabelledSettings(dtype="float32", max_seconds=4)
    folder = prepare_unlabelled(raw, out, settings=settings, progress=False)
    found = {}
    splits = load_unlabelled(folder, 4.0, max_seconds=4)
    for group in (group for split in splits.values() for group in split):
        rows = range(len(group))
        places = zip(group.recordings(rows), group.onsets_s(rows).tolist(), strict=True)
        found |= dict(zip(places, group.read(rows, unit_uv=1.0), strict=True))
    return found


def notes_of(out: Path, name: str) -> str:
    (line,) = [line for line in (out / "report.csv").read_text().splitlines()
               if line.startswith(name)]  # fmt: skip
    return line


def test_stretches_of_a_file_with_a_gap_are_those_of_its_parts(tmp_path):
    whole = signal()
    write(tmp_path / "raw" / "gap.edf", whole, 100.3)
    for number, (first, last) in enumerate(HALVES):
        part = whole[:, first * RATE : last * RATE]
        write(tmp_path / "raw" / f"part{number}.edf", part, kind="")
    found = unlabelled(tmp_path / "raw", tmp_path / "out")
    of_gap = {onset: values for (name, onset), values in found.items() if name == "gap.edf"}
    begins = ((0, 0.0), (1, 115.3))
    expected = {round(begin + onset, 6): found[f"part{number}.edf", onset]
                for number, begin in begins for onset in (0.0, 4.0, 8.0)}  # fmt: skip
    assert [round(onset, 6) for onset in of_gap] == list(expected)
    for values, wanted in zip(of_gap.values(), expected.values(), strict=True):
        assert np.array_equal(values, wanted)
    assert "2 parts" in notes_of(tmp_path / "out", "gap.edf")


def test_stretches_are_cut_beside_marks_and_padding(tmp_path):
    padded = signal()
    padded[:, 22 * RATE :] = 7.0
    padded[0, 13 * RATE : 16 * RATE] = 11.0
    write(tmp_path / "raw" / "a.edf", padded, notes={5.0: "BAD_muscle"}, kind="EDF+C")
    write(tmp_path / "raw" / "b.edf", padded, kind="")
    found = unlabelled(tmp_path / "raw", tmp_path / "out")
    for name, onsets in (("a.edf", (0.0, 7.0, 16.0)), ("b.edf", (0.0, 4.0, 8.0, 16.0))):
        assert sorted(onset for there, onset in found if there == name) == list(onsets)
    assert np.array_equal(found["a.edf", 16.0], found["b.edf", 16.0])
    line = notes_of(tmp_path / "out", "a.edf")
    assert "2 s are left out: marked as bad" in line and "10 s are left out: C3, CZ, C4" in line


def test_a_moment_that_is_marked_bad_costs_its_sample():
    source = Source(
        "array", NAMES, 250.0, None, False, "uV", samples=1000,
        parts=(Part(0, 400, 0.0), Part(400, 1000, 10.0)),
        marks=(Mark(0.5, 0.0, "BAD_a"), Mark(10.0, 0.0, "BAD_b"), Mark(5.0, 0.0, "BAD_gap")),
    )  # fmt: skip
    sound = SoundTime(source, {}, NAMES)
    info = preprocessing_info(250.0)
    assert [part.runs for part in sound.parts(info)] == [((0, 100), (101, 320)), ((1, 480),)]
    assert sound.notes == ("0.008 s are left out: marked as bad",)


def test_a_channel_that_came_late_is_left_out_instead_of_the_others_time(tmp_path):
    late = signal()
    late[1, : 20 * RATE] = 0.0
    write(tmp_path / "raw" / "a.edf", late, kind="")
    found = unlabelled(tmp_path / "raw", tmp_path / "out")
    assert len(found) == 7 and next(iter(found.values())).shape[0] == 2
    assert "CZ (at one value for 20 s)" in notes_of(tmp_path / "out", "a.edf")


@pytest.mark.parametrize(
    ("spans", "count", "expected"),
    [
        ([], 1, []),
        ([[(0, 2)], [(1, 3)], [(3, 4)]], 1, [(0, 4)]),
        ([[(0, 2), (5, 6)], [(1, 3)]], 2, [(1, 2)]),
        ([[(0, 1)], [(2, 3)]], 1, [(0, 1), (2, 3)]),
    ],
)
def test_spans_are_counted(spans: Sequence, count: int, expected: list):
    assert where_at_least(spans, count) == expected


# The door ----------------------------------------------------------------------------------------


def test_a_label_that_stands_twice_for_one_signal_is_taken_once(tmp_path):
    whole, names = signal(), (*NAMES, "EEG C3-REF")
    plain = write_odd_edf(tmp_path / "plain.edf", whole, NAMES, RATE)
    same = write_odd_edf(tmp_path / "same.edf", np.vstack([whole, whole[:1]]), names, RATE)
    expected = load_edf(plain, NAMES)
    with pytest.warns(UserWarning, match=r"repeated: 1 labels \(C3\)"):
        found = load_edf(same, NAMES)
    assert np.array_equal(found.signal_uv, expected.signal_uv)
    other = write_odd_edf(tmp_path / "other.edf", np.vstack([whole, whole[1:2]]), names, RATE)
    with pytest.raises(ValueError, match="with different signals: C3"):
        load_edf(other, NAMES)


def test_no_script_opens_recordings_by_itself():
    readers = re.compile(r"read_raw|mne\.io|mne\.read_")
    named = [path.name for path in (ROOT / "dataset_scripts").rglob("*.py")
             if readers.search(path.read_text("utf-8"))]  # fmt: skip
    assert not named
