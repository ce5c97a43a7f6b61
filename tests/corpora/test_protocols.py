"""Named protocols beside the paper's: labels, windows and splits of other published scripts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import datasets
import edfio
import numpy as np
import pytest
from tiny_runs import write_run

from modeling_mteeg.dataset_scripts import physionet_mi
from modeling_mteeg.dataset_scripts.chb_mit import BIOT_FILES, UNNAMED, ChbMit, cut_as_biot
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.corpus import Recording, Segment
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.prepare import TASKS, corpus_class
from modeling_mteeg.dataset_scripts.reading import RecordingError
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.sleep_edf import SleepEdf, trim_wake
from modeling_mteeg.dataset_scripts.splits import train_or_validation
from modeling_mteeg.dataset_scripts.tuab import Tuab
from modeling_mteeg.dataset_scripts.tuev import Tuev
from modeling_mteeg.dataset_scripts.writer import prepare
from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.model.task_card import TaskCard

SUBJECTS = tuple(f"aaaaa{letter}" for letter in "abcdefghijklmnopqrst")


def starts(segments, label: str) -> list[float]:
    return [segment.start / 200 for segment in segments if segment.label == label]


def test_biot_windows_of_a_seizure() -> None:
    """A seizure from 12 to 47 s of 100 s: it starts in window 1 and ends in window 4."""
    segments, left_out = cut_as_biot([(12, 47)], 20_000, 200, 2000)
    plain = [segment for segment in segments if segment.start % 2000 == 0]
    assert [segment.start for segment in plain] == list(range(0, 20_000, 2000))
    assert starts(plain, "seizure") == [10.0, 40.0]
    assert 20.0 in starts(plain, "background")  # within the seizure, as the published script has it
    around = [segment for segment in segments if segment.start % 2000]
    assert starts(around, "seizure") == [11.0, 16.0, 21.0, 26.0, 31.0, 36.0, 41.0, 46.0]
    assert len(around) == len(starts(around, "seizure")) and not left_out
    assert segments == sorted(segments, key=lambda segment: segment.start)


def test_biot_borders_and_the_end_of_the_recording() -> None:
    # A border at 10 s belongs to the window that ends there (0 < 10 <= 10), not to the next.
    segments, _ = cut_as_biot([(10, 20)], 20_000, 200, 2000)
    plain = [segment for segment in segments if segment.start % 2000 == 0]
    assert starts(plain, "seizure") == [0.0, 10.0]
    segments, left_out = cut_as_biot([(0, 3), (96, 99)], 20_000, 200, 2000)
    assert starts(segments, "seizure") == [0.0, 0.0, 90.0]
    assert left_out == Counter({"beyond the end of the recording": 1})


def test_biot_cases_and_names(tmp_path: Path) -> None:
    for name in ("chb01_02", "chb02_16+", "chb12_06", "chb17a_03", "chb20_01", "chb21_01",
                 "chb22_01", "chb23_06", "chb24_01"):  # fmt: skip
        case = tmp_path / name[:5]
        case.mkdir(exist_ok=True)
        (case / f"{name}.edf").write_bytes(b"")
        (case / f"{name[:5]}-summary.txt").write_text(
            f"File Name: {name}.edf\nNumber of Seizures in File: 0\n"
        )
    corpus = ChbMit(tmp_path, protocol="biot")
    recordings = {recording.key: recording for recording in corpus.find_recordings()}
    assert {key for key, recording in recordings.items() if recording.left_out} == {
        "chb02_16+", "chb12_06", "chb17a_03",
    }  # fmt: skip
    used = [recording for recording in recordings.values() if not recording.left_out]
    assert corpus.assign(used) == {
        "chb01_02": "train", "chb20_01": "train", "chb21_01": "validation",
        "chb22_01": "validation", "chb23_06": "test", "chb24_01": "test",
    }  # fmt: skip
    assert corpus.rule == "protocol: biot"
    assert corpus.missing(used) and "chb03" in corpus.missing(used)[0]
    paper = {recording.key: recording for recording in ChbMit(tmp_path).find_recordings()}
    assert [key for key, recording in paper.items() if recording.left_out] == ["chb24_01"]


@pytest.mark.parametrize("seizure", [(start, start + 7) for start in range(31)])
def test_biot_labels_are_those_of_its_shifted_times(seizure: tuple[int, int]) -> None:
    """The scripts take a border of ``s`` seconds as sample ``256 s - 1``, strictly in a window."""
    segments, _ = cut_as_biot([seizure], 40 * 200, 200, 2000)
    borders = [256 * second - 1 for second in seizure]
    expected = {start for start in range(0, 40, 10)
                if any(0 < border - 256 * start < 2560 for border in borders)}  # fmt: skip
    around = range(max(seizure[0] - 1, 0), seizure[1] + 1, 5)
    extra = [start for start in around if start + 10 <= 40]
    assert starts(segments, "seizure") == sorted([*expected, *extra])


def test_biot_reads_the_files_of_its_ranges_only(tmp_path: Path) -> None:
    for name in ("chb02_35", "chb02_36", "chb08_02", "chb14_42", "chb14_46", "chb23_06", "chb24_01",
                 "chb24_02", "chb24_21", "chb24_22"):  # fmt: skip
        path = tmp_path / name[:5] / f"{name}.edf"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        (path.parent / f"{name[:5]}-summary.txt").write_text("")
    left_out = {
        recording.key: recording.left_out
        for recording in ChbMit(tmp_path, "biot").find_recordings()
    }
    assert {key for key, reason in left_out.items() if reason} == {
        "chb02_36", "chb14_46", "chb24_02", "chb24_22",
    }  # fmt: skip
    assert "BIOT's scripts" in left_out["chb14_46"]
    paper = {recording.key: recording.left_out for recording in ChbMit(tmp_path).find_recordings()}
    assert not paper["chb14_46"] and paper["chb24_01"]
    assert sorted({*range(1, 25)} - {*BIOT_FILES}) == [12, 13, 17]


def test_files_that_the_summary_of_case_24_leaves_out_have_no_seizures(tmp_path: Path) -> None:
    summary = tmp_path / "chb24-summary.txt"
    summary.write_text("File Name: chb24_01.edf\nNumber of Seizures in File: 0\n")

    def labels(name: str, protocol: str = "biot") -> list[str]:
        recording = Recording(name, "chb24", tmp_path / f"{name}.edf", (summary,))
        segments, _ = ChbMit(tmp_path, protocol).segments(recording, 25 * 200)
        return [segment.label for segment in segments]

    read = [name for name in UNNAMED if int(name[6:8]) in BIOT_FILES[24]]
    assert len(read) == 8
    for name in read:
        with pytest.warns(RecordingWarning, match=f"free of seizures: {name}"):
            assert labels(name.removesuffix(".edf")) == ["background", "background"]
    assert labels("chb24_01") == ["background", "background"]
    for name, protocol in (("chb24_03", "biot"), ("chb23_06", "biot"), ("chb01_01", "paper")):
        with pytest.raises(RecordingError, match="its seizures are unknown"):
            labels(name, protocol)
    assert "case 24" in ChbMit.protocols["biot"]


def tuh(tmp_path: Path, reader, subjects: tuple[str, ...] = SUBJECTS) -> Path:
    for part, subject in [("train", name) for name in subjects] + [("eval", "zzzzzz")]:
        name = f"{subject}_s001_t000.edf"
        for label in ("normal", "abnormal") if reader is Tuab else ("",):
            middle = f"{part}/{label}/01_tcp_ar" if label else f"{part}/{subject}"
            path = tmp_path / "edf" / middle / f"{label}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            path.with_suffix(".rec").write_text("")
    return tmp_path


@pytest.mark.parametrize("reader", [Tuab, Tuev])
def test_labram_shuffles_by_a_seed_that_is_written_down(reader, tmp_path: Path) -> None:
    raw = tuh(tmp_path, reader)
    splits = {}
    for seed in (None, 0, 1):
        corpus = reader(raw, protocol="labram", split_seed=seed)
        assert corpus.rule == f"protocol: labram, seed {seed or 0}"
        recordings = corpus.find_recordings()
        splits[seed] = corpus.assign(recordings)
        assert splits[seed] == corpus.assign(recordings[::-1])
        shares = Counter(splits[seed].values())
        assert shares["train"] == 4 * shares["validation"] and shares["test"]
        for recording in recordings:
            assert (splits[seed][recording.key] == "test") == recording.group.startswith("eval")
    assert splits[None] == splits[0] != splits[1]
    paper = reader(raw)
    assert paper.assign(paper.find_recordings()) != splits[0] and paper.rule == "protocol: paper"
    for wrong in ({"split_seed": 3}, {"protocol": "labram", "split_seed": -1}):
        with pytest.raises(ValueError, match=r"split_seed: expected 0 or above.*labram"):
            reader(raw, **wrong)
    with pytest.raises(ValueError, match="this corpus has none"):
        ChbMit(raw, split_seed=1)


def test_a_seeded_order_is_a_function_of_seed_and_names() -> None:
    known = train_or_validation(["a", "b", "c", "d", "e"], seed=7)
    assert known == train_or_validation(["e", "d", "c", "b", "a", "a"], seed=7)
    assert list(known.values()).count("train") == 4
    several = {tuple(sorted(train_or_validation(SUBJECTS, seed=seed).items())) for seed in range(9)}
    assert len(several) == 9


def test_shares_of_subjects_are_rounded_as_the_scripts_do() -> None:
    for count in range(1, 400):
        names = [f"{index:03d}" for index in range(count)]
        trained = [*train_or_validation(names).values()].count("train")
        assert trained == count * 8 // 10 == int(count * 0.8)
        drawn = [*train_or_validation(names, seed=0, round_up=True).values()].count("validation")
        assert drawn == count * 2 // 10 == int(count * 0.2)


def test_labram_draws_a_fifth_of_the_subjects_of_tuev_for_validation(tmp_path: Path) -> None:
    recordings = [Recording(name, name, tmp_path, group="train") for name in SUBJECTS[:9]]
    shares = [Counter(Tuev(tmp_path, protocol).assign(recordings).values())["validation"]
              for protocol in ("paper", "labram")]  # fmt: skip
    assert shares == [2, 1]  # 9 - floor(7.2), floor(1.8)


def test_the_seed_is_an_option_of_the_command(tmp_path: Path, capsys) -> None:
    options = ["--raw", str(tmp_path), "--out", str(tmp_path / "out"), "--split-seed", "3"]
    assert run_command(Tuab, options) == 1
    assert "found 3 for protocol 'paper'" in capsys.readouterr().err


def test_the_seed_goes_to_manifest_and_card(tmp_path: Path, monkeypatch) -> None:
    def noise(corpus, recording):
        random = np.random.default_rng(list(recording.key.encode()))
        return random.normal(0, 20, (23, 2000)), 200.0

    monkeypatch.setattr(Tuab, "load", noise)
    raw = tuh(tmp_path, Tuab, SUBJECTS[:5])
    for path in raw.rglob("*.edf"):
        path.write_text(path.as_posix())  # no two are copies
    hashes = set()
    for seed in ("0", "5"):
        options = ["--raw", str(raw), "--out", str(tmp_path / seed), "--protocol", "labram"]
        assert run_command(Tuab, [*options, "--split-seed", seed]) == 0
        folder = tmp_path / seed / "tuab"
        manifest = json.loads((folder / "splits.json").read_text("utf-8"))
        assert manifest["rule"] == f"protocol: labram, seed {seed}"
        readme = " ".join((folder / "README.md").read_text("utf-8").split())
        assert f"Split: protocol: labram, seed {seed} (as paper" in readme
        saved = datasets.load_from_disk(str(folder))
        for split in ("train", "validation", "test"):
            keys = {key for key, where in manifest["assignments"].items() if where == split}
            assert set(saved[split]["recording"]) == keys
        hashes.add(TaskCard.load(folder).split_hash)
    assert len(hashes) == 2


@pytest.mark.parametrize("task", TASKS)
def test_protocols_are_explained_and_an_unknown_one_is_named(task: str, tmp_path: Path) -> None:
    reader = corpus_class(task)
    for name in [*reader.protocols][1:]:
        assert f"``--protocol {name}``" in reader.__doc__
        assert len(reader.protocols[name]) > 30
        assert reader(tmp_path, protocol=name).rule.startswith(f"protocol: {name}")
    with pytest.raises(ValueError, match=rf"{task}: protocol: expected one of.*found 'bito'"):
        reader(tmp_path, protocol="bito")


def write_hypnogram(path: Path, stages: list[tuple[str, int]]) -> None:
    """Stages with their numbers of epochs, one after the other."""
    annotations, epoch = [], 0
    for stage, epochs in stages:
        annotations.append(edfio.EdfAnnotation(30 * epoch, 30 * epochs, stage))
        epoch += epochs
    edfio.Edf([], annotations=annotations).write(path)


def test_wake_crop_of_a_hand_made_night(tmp_path: Path) -> None:
    """Epochs 0-99 wake, 100 N1, 101-110 moving, 111 N2, 112-121 unknown, 122-199 wake."""
    hypnogram = tmp_path / "SC4001EC-Hypnogram.edf"
    write_hypnogram(hypnogram, [
        ("Sleep stage W", 100), ("Sleep stage 1", 1), ("Movement time", 10), ("Sleep stage 2", 1),
        ("Sleep stage ?", 10), ("Sleep stage W", 78),
    ])  # fmt: skip
    recording = Recording("SC4001E0", "SC400", tmp_path / "SC4001E0-PSG.edf", (hypnogram,))
    moved = {"MOVEMENT": 10, "UNKNOWN": 10}
    segments, left_out = SleepEdf(tmp_path).segments(recording, 200 * 6000)
    assert len(segments) == 180 and left_out == moved
    segments, left_out = SleepEdf(tmp_path, "deepsleepnet").segments(recording, 200 * 6000)
    # 60 epochs of wake on either side, however many without a stage lie between
    epochs = [*range(40, 101), 111, *range(122, 182)]
    assert [segment.start for segment in segments] == [epoch * 6000 for epoch in epochs]
    assert [segment.label for segment in segments] == ["W"] * 60 + ["N1", "N2"] + ["W"] * 60
    assert left_out == {**moved, "wake far from sleep": 58}
    assert SleepEdf(tmp_path, "deepsleepnet").assign([recording]) == (
        SleepEdf(tmp_path).assign([recording])
    )


def test_wake_crop_reaches_no_further_than_the_night() -> None:
    segments = [Segment(epoch, "N2" if epoch in (3, 5) else "W") for epoch in range(8)]
    assert trim_wake(segments, 60) == segments
    assert trim_wake(segments, 1) == segments[2:7]


def test_four_classes_of_all_subjects_with_a_card_of_their_own(tmp_path: Path) -> None:
    for subject, run in (("S001", 4), ("S071", 6), ("S088", 8), ("S090", 8), ("S109", 12)):
        write_run(tmp_path / subject / f"{subject}R{run:02d}.edf", int(subject[1:]))
    corpus = PhysionetMi(tmp_path, protocol="four-class")
    assert corpus.missing(corpus.find_recordings())[0].startswith("104 of 109 subjects")
    folder = prepare(corpus, tmp_path / "out", Settings(progress=False))
    card = TaskCard.load(folder)
    assert card.labels == ("left", "right", "both fists", "feet")
    saved = datasets.load_from_disk(str(folder))
    for split, keys in {
        "train": {"S001R04"},
        "validation": {"S071R06", "S088R08"},
        "test": {"S090R08", "S109R12"},
    }.items():
        assert set(saved[split]["recording"]) == keys
        assert saved[split].features["label"].names == list(card.labels)
    assert Counter(saved["validation"]["label"]) == {2: 1, 3: 2, 0: 1, 1: 2}  # no rest
    manifest = json.loads((folder / "splits.json").read_text("utf-8"))
    assert manifest["rule"] == "protocol: four-class"
    readme = (folder / "README.md").read_text("utf-8")
    assert "109 subjects: 1 to 70 train" in " ".join(readme.split())
    report = (folder / "report.tsv").read_text("utf-8")
    assert "a cue of rest: 3" in report
    # The class itself, and the paper's protocol, keep five classes and drop six subjects.
    assert PhysionetMi.card.labels[-1] == "rest"
    paper = {
        recording.key: recording.left_out for recording in PhysionetMi(tmp_path).find_recordings()
    }
    assert "dropped" in paper["S088R08"] and not paper["S001R04"]


def test_four_class_borders(tmp_path: Path) -> None:
    corpus = PhysionetMi(tmp_path, protocol="four-class")
    for number, split in ((1, "train"), (70, "train"), (71, "validation"), (89, "validation"),
                          (90, "test"), (109, "test")):  # fmt: skip
        recording = Recording(f"S{number:03d}R04", f"S{number:03d}", tmp_path / "a.edf")
        assert corpus.assign([recording]) == {recording.key: split}
    assert len(physionet_mi.SUBJECTS) == 103
