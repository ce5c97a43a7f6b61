"""Files of labels that contradict themselves or their recording: refused, or resolved by a rule."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pytest
from odd_files import write_odd_edf
from tiny_recordings import eeg
from tiny_runs import write_run

from modeling_mteeg.dataset_scripts.annotated import Annotated, AnnotatedOptions
from modeling_mteeg.dataset_scripts.chb_mit import ChbMit, read_summary
from modeling_mteeg.dataset_scripts.chb_summary import remarks, stated_rate_hz
from modeling_mteeg.dataset_scripts.corpus import Recording
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.reading import RecordingError, read_annotations
from modeling_mteeg.dataset_scripts.sleep_edf import CARD, SleepEdf
from modeling_mteeg.dataset_scripts.tuev import read_events

RATE = 200
W, N1, N2, ANY = "Sleep stage W", "Sleep stage 1", "Sleep stage 2", "Sleep stage ?"


# CHB-MIT -----------------------------------------------------------------------------------------


def block(name: str = "chb01_03.edf", *seizures: tuple[object, object], stated=None) -> str:
    text = f"File Name: {name}\nNumber of Seizures in File: {stated or len(seizures)}\n"
    return text + "".join(
        f"Seizure {n} Start Time: {start} seconds\nSeizure {n} End Time: {end} seconds\n"
        for n, (start, end) in enumerate(seizures, 1)
    )


TWICE = block("a.edf", (10, 20)) + block("b.edf") + block("a.edf", (10, 21))
SUMMARIES = {
    "one file twice": (TWICE, r"line 7: 'a\.edf' is named twice, with seizures .*20.* and .*21"),
    "overlap": (block("a.edf", (10, 30), (29, 40)), "line 1: a.edf: seizures overlap: 10 to 30 s"),
    "inside another": (block("a.edf", (10, 60), (20, 30)), "seizures overlap"),
    "ends first": (block("a.edf", (30, 20)), "expected 1 seizures with start and end"),
    "a digit too many": (block("a.edf", ("9" * 5000, 20)), r"line 3: expected .*5000 characters"),
    "no whole second": (block("a.edf", (1.5, 20)), "line 3: expected a whole number"),
    "not a time": (block("a.edf", ("nan", 20)), "line 3: expected a number, found 'nan'"),
    "two lines in one": (
        block("a.edf", (10, 20)) + "Seizure 2 Start Time: 30 seconds Time: 31 seconds\n",
        "line 5: expected a time such as 'Seizure 1 Start Time: 12 seconds'",
    ),
    "a count of 5,000 digits": (block(stated="9" * 5000), "line 2: expected a number"),
}


@pytest.mark.parametrize("case", SUMMARIES)
def test_summaries_that_contradict_themselves_are_refused_with_the_line(case, tmp_path):
    text, words = SUMMARIES[case]
    path = tmp_path / "chb01-summary.txt"
    path.write_text(text)
    with pytest.raises(RecordingError, match=words) as error:
        read_summary(path)
    assert str(error.value).startswith(path.name) and len(str(error.value)) < 300


def test_a_file_of_labels_that_is_too_large_is_not_read(tmp_path):
    for name, read in (("chb01-summary.txt", read_summary), ("a.rec", read_events)):
        path = tmp_path / name
        with open(path, "wb") as file:
            file.truncate(2**34)  # takes no place on the disk
        with pytest.raises(RecordingError, match=f"{name}: expected at most 16,777,216 bytes"):
            read(path)


def test_a_file_that_is_named_twice_alike_is_one(tmp_path):
    path = tmp_path / "chb01-summary.txt"
    path.write_text(2 * block("a.edf", (10, 20), (20, 30)))
    assert read_summary(path) == {"a.edf": [(10, 20), (20, 30)]}
    assert stated_rate_hz(path) is None
    (remark,) = remarks(path, "a.edf")
    assert "names it more than once" in remark and not remarks(path, "b.edf")
    path.write_bytes(block("a.edf").encode() + b"\xff\n")
    (remark,) = remarks(path, "a.edf")
    assert "no UTF-8" in remark


@pytest.mark.parametrize("stated", ["256", "128", "1" * 5000, "fast"])
def test_a_rate_that_the_summary_contradicts_is_refused(stated, tmp_path):
    folder = tmp_path / "chb01"
    names, signal = list(ChbMit.card.channels), eeg(20, 256, 16)
    path = write_odd_edf(folder / "chb01_03.edf", signal, names, 256)
    summary = folder / "chb01-summary.txt"
    summary.write_text(f"Data Sampling Rate: {stated} Hz\n{block()}")
    (recording,) = ChbMit(tmp_path).find_recordings()
    if stated == "256":
        assert len(list(ChbMit(tmp_path).read(recording).windows)) == 2
        return
    words = {"128": "256 Hz by its header, but chb01-summary.txt says 128 Hz"}
    with pytest.raises(RecordingError, match=words.get(stated, "line 1: expected a number")):
        ChbMit(tmp_path).read(recording)
    assert path.is_file()


# Annotations of EDF ------------------------------------------------------------------------------


def hypnogram(path: Path, *stages: tuple[float, float, str]) -> Path:
    entries = [edfio.EdfAnnotation(*stage) for stage in stages]
    edfio.Edf([], annotations=entries).write(path)
    return path


def epochs(folder: Path, *stages: tuple[float, float, str], seconds: float = 180):
    path = hypnogram(folder / "SC4001EC-Hypnogram.edf", *stages)
    recording = Recording("SC4001E0", "SC400", folder / "SC4001E0-PSG.edf", (path,))
    segments, left_out = SleepEdf(folder).segments(recording, round(seconds * RATE))
    return [(one.start / RATE, one.label) for one in segments], dict(left_out)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([(0, 60, W), (30, 60, N1)], f"'{N1}' at 30 s overlaps '{W}' before it"),
        ([(0, 180, W), (30, 30, ANY)], "overlaps"),
        ([(60, 60, N1), (60, 60, N2)], "overlaps"),
        ([(0, 180, W), (1990, 30, N2)], "lies far outside the recording of 180 s"),
        ([(0, 180, W), (1e8, 30, N2)], "lies far outside the recording of 180 s"),
        ([(0, 31, W)], "expected whole epochs"),
    ],
)
def test_hypnograms_that_contradict_themselves_are_refused(stages, words, tmp_path):
    with pytest.raises(RecordingError, match=r"SC4001EC-Hypnogram\.edf: .*" + words):
        epochs(tmp_path, *stages)


def test_holes_and_what_lies_behind_the_recording_have_no_windows_and_are_counted(tmp_path):
    hole, beyond = "no stage in the hypnogram", "beyond the end of the recording"
    found, left_out = epochs(tmp_path, (0, 30, W), (90, 30, N2))
    assert found == [(0, "W"), (90, "N2")] and left_out == {hole: 4}
    found, left_out = epochs(tmp_path, (30, 60, W), (90, 90, N2), (180, 900, ANY))
    assert found == [(30, "W"), (60, "W"), (90, "N2"), (120, "N2"), (150, "N2")]
    assert left_out == {hole: 1, beyond: 30}
    found, left_out = epochs(tmp_path, (120, 3e8, W), (0, 120, N1))  # however long it claims to be
    assert len(found) == 6 and left_out == {beyond: 10**7 - 2}
    assert CARD.window_s == 30


def test_a_time_that_no_recording_has_is_refused(tmp_path):
    path = hypnogram(tmp_path / "a.edf", (0, 30, W), (30, 30, "x" * 200))
    content = path.read_bytes()
    entry = b"+30\x1530\x14" + b"x" * 200 + b"\x14"
    for time in (b"+" + b"9" * 12, b"+" + b"1" * 60, b"+30\x15" + b"1" * 60):
        assert content.count(entry) == 1
        path.write_bytes(content.replace(entry, (time + b"\x14x\x14").ljust(len(entry), b"\0")))
        with pytest.raises(RecordingError, match=r"a\.edf: time of an annotation: expected"):
            read_annotations(path)


@pytest.mark.parametrize(("onset", "words"), [(4.2, "T0 at the same time"), (-3, "before the st")])
def test_cues_at_one_time_or_before_the_start_are_refused(onset, words, tmp_path):
    path = tmp_path / "S001" / "S001R04.edf"
    write_run(path, 1)
    edf = edfio.read_edf(path)
    more = [edfio.EdfAnnotation(4.2, 4.1, "T0"), edfio.EdfAnnotation(max(onset, 0), 4.1, "T2")]
    edfio.Edf(list(edf.signals), annotations=more).write(path)
    content = path.read_bytes()
    if onset < 0:
        path.write_bytes(content.replace(b"+0\x154.1", b"-3\x154.1"))
    with pytest.raises(RecordingError, match=rf"S001R04\.edf: cue T. at .* s: .*{words}"):
        PhysionetMi(tmp_path).segments(Recording("S001R04", "S001", path), 26 * RATE)


# Folders of any kind -----------------------------------------------------------------------------


def folder_with(tmp_path: Path, rows: list[tuple[object, object, str]]) -> Path:
    for person in ("s1", "s2", "s3"):
        path = write_odd_edf(tmp_path / f"{person}.edf", eeg(40, RATE, 3), ("C3", "CZ", "C4"), RATE)
        content = bytearray(path.read_bytes())
        content[-2:] = person.encode()  # no copies of each other
        path.write_bytes(content)
        own = rows if person == "s1" else [(0, 8, "rest"), (10, 8, "press")]
        lines = ["onset\tduration\ttrial_type", *("\t".join(map(str, row)) for row in own)]
        path.with_name(f"{person}_events.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def read_first(raw: Path):
    options = AnnotatedOptions(labels=("rest", "press"), subject_from="name", window=2.0)
    corpus = Annotated(raw, "own", options)
    recording = corpus.find_recordings()[0]
    return corpus, recording, corpus.read(recording)


def test_events_that_overlap_are_used_and_named(tmp_path):
    rows = [(0, 10, "rest"), (6, 8, "press"), (20, 4, "rest"), (24, 4, "press")]
    _, _, reading = read_first(folder_with(tmp_path, rows))
    (words,) = [line for line in reading.warnings if "overlapping" in line]
    assert words == ("labelled events are overlapping: 1 of 4, for 4 s (press, rest); each gives "
                     "its windows")  # fmt: skip
    assert [segment.label for segment, _ in reading.windows].count("rest") == 7


def test_an_event_that_lasts_for_years_gives_what_lies_in_the_recording(tmp_path):
    rows = [(20, 9e8, "rest"), (-9e8, 9e8 + 10, "press"), (5e8, 100, "rest")]
    corpus, recording, reading = read_first(folder_with(tmp_path, rows))
    windows = [(segment.start / RATE, segment.label) for segment, _ in reading.windows]
    assert windows == [*((at, "press") for at in range(0, 10, 2)),
                       *((at, "rest") for at in range(20, 40, 2))]  # fmt: skip
    assert reading.left_out == {"beyond the recording": 9 * 10**8 - 10 + 50}
    assert corpus.expected_windows(recording) == 15


@pytest.mark.parametrize(
    "row", [("nan", 1, "rest"), (1, "inf", "rest"), ("9" * 5000, 1, "rest"), (1, -1, "press")]
)
def test_events_without_a_time_cost_their_recording_alone(row, tmp_path):
    raw = folder_with(tmp_path, [row])
    options = AnnotatedOptions(labels=("rest", "press"), subject_from="name", window=2.0)
    faults = [one.fault for one in Annotated(raw, "own", options).find_recordings()]
    assert "s1_events.tsv: line 2: " in faults[0] and faults[1:] == ["", ""]
    assert np.all([len(fault) < 300 for fault in faults])
