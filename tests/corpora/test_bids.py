"""A corpus from a BIDS dataset: events, people, sessions and runs, and what sidecars say."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from bids_datasets import (
    NAMES,
    channels_table,
    dataset,
    events_table,
    recording,
    sidecar,
    table,
)

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.annotated import Annotated
from modeling_mteeg.dataset_scripts.annotated_options import AnnotatedOptions
from modeling_mteeg.dataset_scripts.bids import bids_options, check_name, main
from modeling_mteeg.dataset_scripts.reading import read_edf
from modeling_mteeg.dataset_scripts.unlabelled import Source, UnlabelledSettings, prepare_unlabelled
from modeling_mteeg.model.preprocessing import preprocess
from modeling_mteeg.model.recording_headers import RecordingError, RecordingWarning

LABELS = ("--task-name", "press", "--labels", "rest,press", "--window", "2", "--windows", "cue")


def prepared(raw: Path, out: Path, *arguments: object):
    words = arguments if "--task-name" in arguments else (*LABELS, *arguments)
    assert main(["--raw", str(raw), "--out", str(out), *map(str, words)]) == 0
    return load_corpus(out / "press")


def onsets(corpus) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for reader in corpus.splits.values():
        for name, onset in zip(reader.recordings, reader.onsets_s, strict=True):
            found.setdefault(str(name), []).append(float(onset))
    return {name: sorted(of) for name, of in found.items()}


def corpus_of(raw: Path, **options) -> Annotated:
    """The corpus before anything is written."""
    options = {"labels": ("rest", "press"), "window": 2.0, "windows": "cue"} | options
    return Annotated(raw, "press", bids_options(raw, AnnotatedOptions(**options)))


def names_of(corpus: Annotated) -> list[str]:
    return [one.key for one in corpus.find_recordings() if not one.left_out]


@pytest.mark.slow
def test_windows_at_events_of_every_session_and_run_split_by_subject(tmp_path, capsys):
    raw = dataset(tmp_path / "ds", sessions=("a", "b"), runs=2)
    dataset(raw / "derivatives" / "clean")
    corpus = prepared(raw, tmp_path / "out", "--dtype", "float32")
    found = onsets(corpus)
    assert len(found) == 3 * 2 * 2 and set(map(tuple, found.values())) == {(1, 4, 7, 12)}
    assert "sub-02_ses-b_task-press_run-2_eeg" in found
    assert corpus.card.channels == ("C3", "CZ", "C4") and corpus.card.corpus == "Presses"
    split = [set(map(str, reader.subjects)) for reader in corpus.splits.values()]
    assert sorted(map(len, split)) == [1, 1, 1] and len(set.union(*split)) == 3
    path = raw / "sub-02/ses-b/eeg/sub-02_ses-b_task-press_run-2_eeg.edf"
    signal = preprocess(read_edf(path, corpus.card.channels)[0], 200)
    for reader in corpus.splits.values():
        for row, (name, onset) in enumerate(zip(reader.recordings, reader.onsets_s, strict=True)):
            if name == path.stem:
                start = round(float(onset) * 200)
                window = reader.read([row])[0]
                np.testing.assert_array_equal(window, signal[:, start : start + 400])
    printed = capsys.readouterr().out
    assert "in derivatives/ of a BIDS dataset: 3 recordings" in printed


def test_sessions_runs_and_tasks_are_chosen_by_their_names(tmp_path):
    raw = dataset(tmp_path, sessions=("1", "02"), runs=2)
    recording(raw, "sub-01_ses-1_task-other")
    (raw / "sub-01" / "ses-1" / "sub-01_ses-1_meg.fif").write_bytes(b"")
    every = names_of(corpus_of(raw))
    assert len(every) == 12
    chosen = names_of(corpus_of(raw, session=("2", "ses-3"), run=("01",), bids_task=("press",)))
    assert chosen == [f"sub-0{n}_ses-02_task-press_run-1_eeg" for n in (1, 2, 3)]
    with pytest.raises(FileNotFoundError, match=r"no recording of ses 3\. There are ses 02, 1\."):
        corpus_of(raw, session=("3",))
    with pytest.raises(FileNotFoundError, match=r"task rest\. There are task other, press"):
        corpus_of(raw, bids_task=("rest",))


def test_what_lies_beside_the_data_takes_no_place(tmp_path):
    """A cleaned copy has the recording's own name, and sourcedata may be of nobody knows whom."""
    raw = dataset(tmp_path)
    recording(raw / "derivatives" / "clean", "sub-01_task-press")
    recording(raw / "sourcedata", "sub-01").rename(raw / "sourcedata" / "night.edf")
    options = AnnotatedOptions(labels=("rest", "press"), window=2.0)
    for found in (corpus_of(raw), Annotated(raw, "press", options)):
        used = [one for one in found.find_recordings() if not (one.left_out or one.fault)]
        assert [one.path for one in used] == sorted(raw.glob("sub-*/eeg/*_eeg.edf"))
        assert [one.key for one in used] == [one.path.stem for one in used]


def test_classes_that_are_not_there_are_named_with_those_that_are(tmp_path):
    raw = dataset(tmp_path)
    with pytest.raises(ValueError, match=r"classes open, found press \(6\), rest \(6\) in 3"):
        corpus_of(raw, labels=("rest", "open"))
    with pytest.raises(ValueError, match=r"onset and stim, .*found onset, duration, trial_type"):
        corpus_of(raw, event_column="stim")


def test_events_by_inheritance_and_durations(tmp_path):
    raw = dataset(tmp_path)
    for file in raw.rglob("*_events.tsv"):
        file.unlink()
    events_table(raw / "task-press_events.tsv", [(1, "n/a", "rest"), (3, 4.5, "press")])
    inside = corpus_of(raw, windows="inside")
    (first, *_) = inside.find_recordings()
    segments, left_out = inside.segments(first, 3000)
    assert [(one.start, one.label) for one in segments] == [(600, "press"), (1000, "press")]
    assert left_out == {"shorter than a window: rest": 1}
    auto = corpus_of(raw, windows="auto")
    assert [one.start for one in auto.segments(first, 3000)[0]] == [200, 600, 1000]
    assert raw / "task-press_events.tsv" in first.companions


def test_a_bad_channel_is_no_channel_of_the_task_unless_it_is_kept(tmp_path):
    raw = dataset(tmp_path)
    rows = [("C3", "EEG", "uV", "bad"), ("Cz", "EEG", "uV", "good"), ("C4", "MISC", "uV", "good")]
    path = raw / "sub-02" / "eeg" / "sub-02_task-press_eeg.edf"
    signal = read_edf(path, ("C3", "CZ"))[0]
    channels_table(sidecar(path, "_channels.tsv"), [*rows, ("ECG", "ECG", "uV", "good")])
    corpus = corpus_of(raw)
    assert corpus.card.channels == ("CZ",)
    notes = " ".join(corpus.notes())
    assert "marked bad: C3 (1 of 3 recordings)" in notes and "C4 (in 2 of 3 recordings)" in notes
    assert corpus_of(raw, keep_bad_channels=True).card.channels == ("C3", "CZ")
    asked = corpus_of(raw, channels=("C3", "CZ"))
    one, two, _ = asked.find_recordings()
    assert two.path == path and sidecar(path, "_channels.tsv") in two.companions
    assert asked.load(one).signal_uv.shape == (2, 3000)
    with pytest.raises(RecordingError, match=r"C3 \(marked bad in channels\.tsv\)"):
        asked.load(two)
    kept = corpus_of(raw, channels=("C3", "CZ"), keep_bad_channels=True)
    with pytest.warns(RecordingWarning, match=r"used all the same: C3 \(marked bad"):
        loaded = kept.load(two).signal_uv
    np.testing.assert_array_equal(loaded, signal)
    with pytest.raises(RecordingError, match=r"C4 \(type misc\)"):
        corpus_of(raw, channels=("C4",), keep_bad_channels=True).load(two)


def test_a_unit_that_contradicts_the_header_is_in_the_report(tmp_path):
    raw = dataset(tmp_path)
    channels_table(raw / "task-press_channels.tsv", [(name, "EEG", "mV", "good") for name in NAMES])
    corpus = corpus_of(raw, channels=("C3",))
    reading = corpus.read(corpus.find_recordings()[0])
    assert any("says mV, the header uV" in text for text in reading.warnings)


def test_people_are_told_by_names_and_missed_by_participants(tmp_path):
    raw = dataset(tmp_path)
    assert corpus_of(raw).missing([]) == []  # no participants.tsv is no fault
    people = [("sub-01", "a"), ("sub-02", "b"), ("sub-09", "b")]
    table(raw / "participants.tsv", "participant_id group", people)
    first, second = corpus_of(raw).missing([])
    assert "1 of 3 people of participants.tsv are missing: 09" in first
    assert second == "participants.tsv has no row of 03"
    table(raw / "participants.tsv", "person group", people)
    assert "expected a column file, or one of participant_id" in corpus_of(raw).missing([])[0]


@pytest.mark.slow
def test_classes_of_people_come_from_participants(tmp_path):
    raw = dataset(tmp_path / "ds", people=6)
    for file in raw.rglob("*_events.tsv"):
        file.unlink()
    groups = [(f"sub-{n:02d}", "old" if n % 2 else "young") for n in range(1, 7)]
    table(raw / "participants.tsv", "participant_id age_group", groups)
    corpus = prepared(raw, tmp_path / "out", "--task-name", "press", "--labels", "young,old",
                      "--participants-column", "age_group", "--window", 5)  # fmt: skip
    assert sum(map(len, corpus.splits.values())) == 6 * 3
    for reader in corpus.splits.values():
        for name, label in zip(reader.recordings, reader.labels, strict=True):
            assert int(label) == int(str(name)[5]) % 2


def test_a_folder_without_names_of_bids_and_a_short_option_are_refused(tmp_path, capsys):
    recording(tmp_path, "sub-1").rename(tmp_path / "night.edf")
    assert main(["--raw", str(tmp_path), "--out", str(tmp_path / "out"), *LABELS]) == 1
    error = capsys.readouterr().err
    assert "named as BIDS has it" in error and "dataset_scripts.annotated" in error
    with pytest.raises(SystemExit):
        main(["--raw", str(tmp_path), "--out", "x", "--task-na", "press"])


def test_a_name_that_may_mean_the_recordings_is_asked_about(tmp_path, capsys):
    """``--task`` names the new task; of the dataset's own all would be taken."""
    raw = tmp_path / "raw"
    for name in ("sub-01_task-press", "sub-01_task-other"):
        recording(raw, name)
    words = ["--raw", str(raw), "--out", str(tmp_path / "out"), *LABELS]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "has the tasks other, press" in error and "--bids-task press" in error
    check_name(raw, "press", AnnotatedOptions(bids_task=("press",)))
    check_name(raw, "presses", AnnotatedOptions())


@pytest.mark.slow
def test_unlabelled_recordings_are_read_with_their_sidecars(tmp_path):
    raw, out = dataset(tmp_path / "ds"), tmp_path / "out"
    recording(raw / "derivatives" / "clean", "sub-01_task-press")
    bad = [("C3", "EEG", "uV", "bad"), *((name, "EEG", "uV", "good") for name in NAMES[1:])]
    path = raw / "sub-02" / "eeg" / "sub-02_task-press_eeg.edf"
    bad[1] = ("Cz", "EEG", "V", "good")
    channels_table(sidecar(path, "_channels.tsv"), bad)
    settings = UnlabelledSettings(max_seconds=4)
    prepare_unlabelled(raw, out, Source(), settings, progress=False)
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        rows = {row["recording"]: row for row in csv.DictReader(file)}
    row = rows["sub-02/eeg/sub-02_task-press_eeg.edf"]
    assert (
        row["channels"] == "CZ C4"
        and "C3 (marked bad in channels.tsv)" in (row["channels_left_out"])
    )
    assert "says V, the header uV of Cz" in row["notes"] and row["subject"] == "sub-02"
    assert "ECG (type ecg)" in rows["sub-01/eeg/sub-01_task-press_eeg.edf"]["channels_left_out"]
    aside = rows["derivatives/clean/sub-01/eeg/sub-01_task-press_eeg.edf"]
    assert (aside["status"], aside["reason"]) == ("left-out", "in derivatives/ of a BIDS dataset")
    # The same again is done already; another sidecar is another preparation.
    prepare_unlabelled(raw, out, Source(), settings, progress=False)
    channels_table(sidecar(path, "_channels.tsv"), bad[1:])
    with pytest.raises(FileExistsError, match="from other sidecars"):
        prepare_unlabelled(raw, out, Source(), settings, progress=False)
