"""Any folder of recordings with labels, by options instead of a class."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from annotated_recordings import bids, noise, presses, write_annotated
from places import ROOT
from recording_files import write_recording

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.annotated import Annotated, main
from modeling_mteeg.dataset_scripts.annotated_options import (
    AnnotatedOptions,
    add_options,
    options_of,
    read_tasks,
)
from modeling_mteeg.dataset_scripts.labelling import Event, usual_window_s
from modeling_mteeg.dataset_scripts.reading import read_edf
from modeling_mteeg.dataset_scripts.splits import SPLITS, SplitError, assign_people
from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.preprocessing import preprocess

CONFIG = ROOT / "recipes" / "configs" / "real_eeg_sets.yaml"
PRESSES = ("--task", "button-presses", "--labels", "rest,press", "--subject-from", "name")


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return presses(tmp_path_factory.mktemp("presses"))


def prepared(raw: Path, out: Path, *arguments: object, task: str = "button-presses"):
    assert main(["--raw", str(raw), "--out", str(out), *map(str, arguments)]) == 0
    return load_corpus(out / task)


def rows(corpus) -> dict[tuple[str, float], tuple[str, np.ndarray]]:
    """(recording, onset) of every window to its class and signal."""
    result = {}
    for reader in corpus.splits.values():
        signals = reader.read(range(len(reader)))
        keys = zip(reader.recordings, reader.onsets_s, reader.labels, signals, strict=True)
        for recording, onset_s, label, signal in keys:
            result[str(recording), float(onset_s)] = (corpus.card.labels[int(label)], signal)
    return result


def people(corpus) -> dict[str, set[str]]:
    return {split: set(map(str, reader.subjects)) for split, reader in corpus.splits.items()}


def refused(capsys, raw: Path, out: Path, *arguments: object) -> str:
    assert main(["--raw", str(raw), "--out", str(out), *map(str, arguments)]) == 1
    assert not (out / "button-presses").exists()
    return capsys.readouterr().err


def test_annotations_become_windows_of_the_filtered_recording(raw, tmp_path, capsys):
    corpus = prepared(raw, tmp_path, *PRESSES, "--dtype", "float32")
    found = rows(corpus)
    assert corpus.card.labels == ("rest", "press") and corpus.card.window_s == 2  # the events' own
    assert corpus.card.channels == ("C3", "CZ", "C4")
    signal = preprocess(read_edf(raw / "p03.edf", corpus.card.channels)[0], 200)
    cues = {1.0: "rest", 4.0: "press", 7.0: "rest", 12.0: "press"}
    assert {onset for recording, onset in found if recording == "p03"} == set(cues)
    for onset, label in cues.items():
        told, window = found["p03", onset]
        start = int(onset * 200)
        assert told == label and np.array_equal(window, signal[:, start : start + 400])
    printed = capsys.readouterr().out
    for text in ("Events that stand for no class and are not used: cough (6)",
                 "no electrodes of the 10-20 or 10-10 system: ECG"):  # fmt: skip
        assert text in printed and text in (tmp_path / "button-presses" / "README.md").read_text()
    assert "no class: cough: 1" in (tmp_path / "button-presses" / "report.tsv").read_text()


def test_nobody_is_in_two_splits_and_the_same_split_comes_again(raw, tmp_path):
    first = prepared(raw, tmp_path / "a", *PRESSES)
    again = prepared(raw, tmp_path / "b", *PRESSES)
    other = prepared(raw, tmp_path / "c", *PRESSES, "--split-seed", 1)
    assert people(first) == people(again) != people(other)
    for corpus in (first, other):
        split = people(corpus)
        assert sum(map(len, split.values())) == len(set.union(*split.values())) == 6
        assert [len(split[name]) for name in SPLITS] == [4, 1, 1]


@pytest.mark.parametrize("count", [3, 4, 5, 7, 20, 100])
def test_people_are_split_whole_and_by_class_where_everybody_has_one(count):
    mixed = {f"p{number}": {"a", "b"} for number in range(count)}
    splits = list(assign_people(mixed).values())
    sizes = [splits.count(name) for name in SPLITS]
    assert min(sizes) >= 1 and abs(sizes[2] - 0.2 * count) <= 1
    single = {f"{label}{number}": {label} for label in "ab" for number in range(count)}
    result = assign_people(single)
    for label in "ab":
        own = [split for person, split in result.items() if person[0] == label]
        assert [own.count(name) for name in SPLITS] == sizes
    assert assign_people({**single, "unread": set()}) == {**result, "unread": "train"}


def test_two_people_cannot_be_split():
    with pytest.raises(SplitError, match="three or more people of class 'b'"):
        assign_people({"p": {"a"}, "q": {"a"}, "r": {"a"}, "s": {"b"}, "t": {"b"}})


def test_a_bids_events_file_is_taken_and_belongs_to_the_result(tmp_path, capsys):
    raw, out = bids(tmp_path / "raw"), tmp_path / "out"
    options = ("--task", "button-presses", "--labels", "rest,press")
    corpus = prepared(raw, out, *options, "--offset", 0.5, "--window", 1, "--windows", "cue")
    assert set.union(*people(corpus).values()) == {f"sub-{number:02d}" for number in range(1, 5)}
    onsets = [onset for recording, onset in rows(corpus) if recording == "sub-02_task-press_eeg"]
    assert sorted(onsets) == [1.5, 4.5, 7.5, 12.5]
    events = raw / "sub-02" / "eeg" / "sub-02_task-press_events.tsv"
    events.write_text(events.read_text().replace("4.0\t", "5.0\t"), "utf-8")
    capsys.readouterr()
    again = ("--offset", 0.5, "--window", 1, "--windows", "cue")
    assert main(["--raw", str(raw), "--out", str(out), *options, *map(str, again)]) == 1
    assert "sub-02_task-press_events.tsv" in capsys.readouterr().err


def test_events_by_length_from_the_cue_or_inside(tmp_path):
    events = [(1.0, "rest", 6.9), (9.0, "press", 0.0), (12.0, "press", 4.0)]
    for person in range(3):
        write_annotated(tmp_path / "raw" / f"{person}.edf", noise(15, person), events)
    ways = {"auto": [1, 3, 5, 9, 12], "cue": [1, 9, 12], "inside": [1, 3, 5, 12]}
    for way, onsets in ways.items():  # the last window of 12 to 16 s is beyond the end
        corpus = prepared(tmp_path / "raw", tmp_path / way, *PRESSES, "--window", 2,
                          "--windows", way)  # fmt: skip
        assert sorted(onset for name, onset in rows(corpus) if name == "0") == onsets
    report = (tmp_path / "inside" / "button-presses" / "report.tsv").read_text()
    assert "beyond the recording: 1; shorter than a window: press: 1" in report


@pytest.mark.parametrize(
    ("events", "whole", "window_s"),
    [
        ([(0, 2.9), (5, 3.1), (9, 40)], False, 3),
        ([(0, 40)], False, 10),
        ([(0, 0.8), (0.5, 0.8)], False, 1),
        ([(0, 0), (9, 0), (20, 0)], False, 4),
        ([(0, 0), (2.2, 0), (4.6, 0)], False, 2),
        ([(0, 0)], False, 4),
        ([(0, 180)], True, 4),
    ],
)
def test_windows_nobody_asked_for_are_as_long_as_events_or_up_to_the_next(events, whole, window_s):
    recordings = [[Event(float(onset), float(length), "a") for onset, length in events]]
    assert usual_window_s(recordings, whole) == window_s


def test_what_annotations_mark_as_bad_is_left_out(tmp_path):
    events = [(1.0, "rest"), (4.0, "press"), (4.5, "BAD_muscle", 0.5), (8.0, "press")]
    for person in range(3):
        write_annotated(tmp_path / "raw" / f"{person}.edf", noise(15, person), events)
    corpus = prepared(tmp_path / "raw", tmp_path / "out", *PRESSES)
    assert sorted(onset for name, onset in rows(corpus) if name == "0") == [1, 8]
    report = (tmp_path / "out" / "button-presses" / "report.tsv").read_text()
    assert "over a part that is marked bad: 1" in report


def test_a_table_labels_recordings_and_every_split_has_both_classes(tmp_path):
    raw, lines = tmp_path / "raw", ["file\tsubject\tlabel"]
    for person in range(10):
        group = "patient" if person % 2 else "control"
        for part in "ab":  # two recordings a person
            write_annotated(raw / f"rec{person}{part}.edf", noise(6, 10 * person + ord(part)))
            lines.append(f"rec{person}{part}.edf\tv{person}\t{group}")
    (raw / "labels.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    corpus = prepared(raw, tmp_path / "out", "--task", "group", "--labels", "control,patient",
                      "--labels-from", "table", "--window", 2, task="group")  # fmt: skip
    assert sum(len(who) for who in people(corpus).values()) == 10
    for reader in corpus.splits.values():
        assert set(reader.labels.tolist()) == {0, 1}
        assert len(reader) == 6 * len(set(reader.subjects))
    for (recording, _), (label, _) in rows(corpus).items():
        assert (label == "patient") == bool(int(recording[3]) % 2)


def test_a_table_of_people_labels_all_their_recordings(tmp_path):
    raw = bids(tmp_path / "raw", people=6)
    groups = "".join(f"sub-{n:02d}\t{'old' if n % 2 else 'young'}\n" for n in range(1, 7))
    (raw / "participants.tsv").write_text(f"participant_id\tage_group\n{groups}", "utf-8")
    corpus = prepared(raw, tmp_path / "out", "--task", "age", "--labels", "young,old",
                      "--labels-from", "table", "--table", "participants.tsv",
                      "--label-column", "age_group", "--window", 5, task="age")  # fmt: skip
    for (recording, _), (label, _) in rows(corpus).items():
        assert (label == "old") == bool(int(recording[4:6]) % 2)


def test_names_label_whole_recordings_and_a_pattern_finds_the_person(tmp_path):
    for person in range(4):
        for part in "12":
            path = tmp_path / "raw" / f"Subject{person:02d}_{part}.edf"
            write_annotated(path, noise(11, 2 * person + int(part)))
    write_annotated(tmp_path / "raw" / "Subject00_test.edf", noise(11, 99))
    corpus = prepared(
        tmp_path / "raw", tmp_path / "out", "--task", "arithmetic", "--labels", "rest,count",
        "--label-by-name", "_1$=rest,_2$=count", "--subject-from", "Subject([0-9]+)_",
        "--window", 5, task="arithmetic",
    )  # fmt: skip
    assert set.union(*people(corpus).values()) == {"00", "01", "02", "03"}
    found = rows(corpus)
    assert len(found) == 4 * 2 * 2
    for (recording, _), (label, _) in found.items():
        assert label == ("rest" if recording.endswith("_1") else "count")
    readme = (tmp_path / "out" / "arithmetic" / "README.md").read_text()
    assert "no rule fits its name: 1 recordings (Subject00_test.edf)" in readme


def trials(folder: Path, jump_uv: float) -> Path:
    """Four people, ten trials of 1 s end to end; of ``0.edf`` the fourth is offset."""
    events = [(float(n), "seen" if n % 2 else "new", 1.0) for n in range(10)]
    for person in range(4):
        signal = noise(10, person, rate_hz=256)
        if person == 0:
            signal[:, 3 * 256 : 4 * 256] += jump_uv
        write_annotated(folder / f"{person}.edf", signal, events, rate_hz=256)
    return folder


def test_a_jump_in_one_trial_does_not_reach_its_neighbours(tmp_path):
    options = ("--task", "trials", "--labels", "new,seen", "--subject-from", "name",
               "--dtype", "float32")  # fmt: skip
    found = {}
    for name, jump_uv in (("plain", 0.0), ("jump", 2000.0)):
        raw = trials(tmp_path / name, jump_uv)
        for way in ((), ("--cut-before-filter",)):
            corpus = prepared(raw, tmp_path / f"{name}{way}", *options, *way, task="trials")
            found[name, bool(way)] = rows(corpus)
    jumped = ("0", 3.0)
    changed = {alone: {key for key, (_, signal) in found["plain", alone].items()
                       if not np.array_equal(signal, found["jump", alone][key][1])}
               for alone in (False, True)}  # fmt: skip
    assert changed[True] == {jumped}
    assert ("0", 2.0) in changed[False] and ("0", 4.0) in changed[False]  # what the option is for
    # Each piece is what the filters make of it alone, at its place.
    signal = read_edf(tmp_path / "plain" / "1.edf", ("C3", "CZ", "C4"))[0]
    for second in range(10):
        alone = preprocess(signal[:, second * 256 : (second + 1) * 256], 256)
        assert np.array_equal(found["plain", True]["1", float(second)][1], alone)
    with pytest.warns(UserWarning, match="shorter"):  # predicted trial by trial, the same
        inputs = MteegFeatureExtractor()(
            (signal.reshape(3, 10, 256).transpose(1, 0, 2), ["C3", "CZ", "C4"], 256),
            task=corpus.card, filter=True,
        )  # fmt: skip
    stored = np.stack([found["plain", True]["1", float(n)][1] for n in range(10)])
    given = np.asarray(inputs["input_values"]) * corpus.card.scale_uv
    assert np.allclose(given.reshape(stored.shape), stored, atol=1e-3)
    card = (tmp_path / "plain('--cut-before-filter',)" / "trials" / "README.md").read_text()
    assert "Every piece was filtered alone" in card and "every piece alone, after" in card


def test_filters_and_channels_as_asked_for(raw, tmp_path):
    corpus = prepared(raw, tmp_path, *PRESSES, "--highpass", 1, "--lowpass", "none", "--notch", 60,
                      "--channels", "C4,C3")  # fmt: skip
    card = corpus.card
    assert (card.highpass_hz, card.lowpass_hz, card.notch_hz) == (1, None, 60)
    assert card.channels == ("C4", "C3")
    assert "not in every recording: CZ (in 6 of 6" in (
        tmp_path / "button-presses" / "README.md"
    ).read_text().replace("\n", " ")


def test_channels_are_those_that_every_recording_has(raw, tmp_path):
    for path in raw.iterdir():
        os.symlink(path, tmp_path / path.name)
    (tmp_path / "p06.edf").unlink()
    events = [(1.0, "rest"), (4.0, "press")]
    names = ("C4", "Pz", "C3", "EOG")
    write_annotated(tmp_path / "p06.edf", noise(15, 6), events, names)
    corpus = prepared(tmp_path, tmp_path / "out", *PRESSES, "--files", "p*")
    assert corpus.card.channels == ("C3", "C4")
    text = (tmp_path / "out" / "button-presses" / "README.md").read_text()
    assert "CZ (in 5 of 6 recordings), PZ (in 1 of 6" in text and "ECG, EOG" in text


@pytest.mark.parametrize("name", ["rec.bdf", "rec.vhdr", "rec_raw.fif", "rec.set", "rec.cnt"])
def test_every_format_with_an_events_file_beside_it(name, tmp_path):
    raw = tmp_path / "raw"
    for person in range(3):
        signal = noise(8, person, channels=3)
        path = write_recording(raw / f"s{person}", name, signal, ["C3", "Cz", "C4"], 200)
        table = "onset\tduration\ttrial_type\n1.0\t2.0\trest\n4.0\t2.0\tpress\n"
        path.with_name(f"{path.name.partition('.')[0]}_events.tsv").write_text(table, "utf-8")
    corpus = prepared(raw, tmp_path / "out", "--task", "button-presses", "--labels", "rest,press",
                      "--subject-from", "folder")  # fmt: skip
    assert set.union(*people(corpus).values()) == {"s0", "s1", "s2"}
    found = rows(corpus)
    stem = name.partition(".")[0]
    expected = preprocess(noise(8, 0, channels=3), 200)[:, 800:1200]
    assert len(found) == 6
    assert np.allclose(found[f"s0_{stem}", 4.0][1], expected, atol=0.2)


def test_a_class_that_no_recording_has_is_named_with_what_is_there(raw, tmp_path, capsys):
    wrong = ("--task", "button-presses", "--labels", "rest,pres", "--subject-from", "name")
    error = refused(capsys, raw, tmp_path, *wrong)
    assert "classes pres, found cough (6), press (12), rest (12) in 6 recordings" in error
    none = ("--task", "button-presses", "--subject-from", "name")
    assert "cough (6), press (12)" in refused(capsys, raw, tmp_path, *none)


def test_recordings_of_nobody_knows_whom_are_refused(raw, tmp_path, capsys):
    error = refused(capsys, raw, tmp_path, *PRESSES[:4])
    assert "6 of 6: p01.edf" in error and "--subject-from name" in error
    for way in ("folder", "bids", "x([0-9])"):
        error = refused(capsys, raw, tmp_path, *PRESSES[:4], "--subject-from", way)
        assert "found nobody for 6 of 6" in error


def test_one_unreadable_recording_is_skipped_and_moves_nobody(raw, tmp_path, capsys):
    whole = prepared(raw, tmp_path / "whole", *PRESSES)
    for path in raw.iterdir():
        os.symlink(path, tmp_path / path.name)
    (tmp_path / "p02.edf").unlink()
    (tmp_path / "p02.edf").write_bytes((raw / "p02.edf").read_bytes()[:3000])
    assert "p02" in refused(capsys, tmp_path, tmp_path / "out", *PRESSES, "--files", "p0*")
    corpus = prepared(tmp_path, tmp_path / "out", *PRESSES, "--files", "p0*", "--max-skipped", 0.5)
    assert people(corpus) != people(whole)
    report = (tmp_path / "out" / "button-presses" / "report.tsv").read_text()
    assert "p02\tskipped\tp02.edf: the header promises" in report


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ("a",)}, "two or more"),
        ({"labels": ("a", "b"), "labels_from": "name"}, "label_by_name"),
        ({"labels": ("a", "b"), "label_by_name": {"x": "c"}}, "found c"),
        ({"labels": ("a", "b"), "label_by_name": {"(": "a"}}, "regular expression"),
        ({"labels": ("a", "b"), "events": {"T1": "c"}}, "found c"),
        ({"subject_from": "nam"}, "one group"),
        ({"offset": float("nan")}, "offset"),
    ],
)
def test_options_that_do_not_fit_are_said(options, words):
    with pytest.raises(ValueError, match=words):
        AnnotatedOptions(**options)


def test_faults_of_a_file_of_tasks_are_said_at_once(tmp_path, capsys):
    path = tmp_path / "tasks.yaml"
    path.write_text("tasks:\n  one: {labels: [a, b], windows: twice, windw: 2}\n", "utf-8")
    with pytest.raises(ValueError, match=r"(?s)2 faults.*windw.*window|2 faults.*windows.*windw"):
        read_tasks(path)
    assert main(["--raw", str(tmp_path), "--out", str(tmp_path), "--config", str(CONFIG),
                 "--tasks", "eegmatt"]) == 1  # fmt: skip
    assert "did you mean 'eegmat'" in capsys.readouterr().err


def test_an_instance_travels_and_streams_the_same_windows(raw, tmp_path):
    import pickle

    from modeling_mteeg.dataset_scripts import stream

    options = AnnotatedOptions(labels=("rest", "press"), subject_from="name")
    corpus = pickle.loads(pickle.dumps(Annotated(raw, "button-presses", options)))
    streamed = [(row["recording"], row["onset_s"], row["signal"]) for row in stream(corpus, "test")]
    stored = prepared(raw, tmp_path, *PRESSES).splits["test"]
    assert [(name, onset) for name, onset, _ in streamed] == list(
        zip(stored.recordings.tolist(), stored.onsets_s.tolist(), strict=True)
    )


def test_the_guide_s_command_lines_are_the_shipped_file():
    guide = (ROOT / "docs" / "new_task.md").read_text("utf-8").replace("\\\n", " ")
    parser = argparse.ArgumentParser()
    for name in ("--raw", "--task"):
        parser.add_argument(name)
    add_options(parser)
    lines = [line.removeprefix("$prepare ") for line in guide.splitlines() if line[:1] == "$"]
    by_line = {}
    for line in lines:
        given = parser.parse_args(shlex.split(line))
        by_line[given.task] = (given.raw, options_of(given).given())
    shipped = read_tasks(CONFIG)
    assert by_line == {task: (f"ROOT/{task}", options.given()) for task, options in shipped.items()}


SUITE = Path(os.environ.get("MTEEG_SHARED", "")) / "recordings" / "suite"


@pytest.mark.slow
@pytest.mark.skipif(not SUITE.is_dir(), reason="no real recordings in MTEEG_SHARED")
@pytest.mark.parametrize(
    ("task", "windows", "persons", "channels"),
    [("eegmat", 863, 18, 19), ("alcoholism", 600, 20, 30), ("adhd", 288, 36, 19),
     ("mi-openbci", 100, 10, 15)],
)  # fmt: skip
def test_the_shipped_file_prepares_real_sets(task, windows, persons, channels, tmp_path):
    corpus = prepared(SUITE, tmp_path, "--config", CONFIG, "--tasks", task, task=task)
    assert sum(map(len, corpus.splits.values())) == windows
    assert sum(map(len, people(corpus).values())) == persons
    assert len(corpus.card.channels) == channels
    for reader in corpus.splits.values():
        assert set(reader.labels.tolist()) == set(range(len(corpus.card.labels)))
