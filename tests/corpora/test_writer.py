"""Writing: exact windows, one result for any number of processes, nothing half done, nothing lost.

The test bed is a small PhysioNet MI of six runs that the tests write as EDF+ files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from tiny_runs import CUES, SECONDS, content, report, write_run, write_runs

from modeling_mteeg.data import WindowReader
from modeling_mteeg.dataset_scripts import parts, writer
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.physionet_mi import CARD, PhysionetMi
from modeling_mteeg.dataset_scripts.prepare import corpus_class, prepare_corpora
from modeling_mteeg.dataset_scripts.reading import edf_duration_s, read_edf
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.splits import SplitError
from modeling_mteeg.dataset_scripts.writer import PreparationError, prepare
from modeling_mteeg.model.preprocessing import preprocess
from modeling_mteeg.model.task_card import TaskCard

QUIET = Settings(progress=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def raw(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "raw"))


@pytest.fixture(scope="module")
def prepared(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(PhysionetMi(runs), tmp_path_factory.mktemp("prepared"), QUIET)


def test_result_loads_with_card_manifest_and_report(prepared: Path) -> None:
    saved = datasets.load_from_disk(str(prepared))
    assert {name: len(rows) for name, rows in saved.items()} == {
        "train": 24, "validation": 6, "test": 6,
    }  # fmt: skip
    card = TaskCard.load(prepared)
    manifest = json.loads((prepared / "splits.json").read_text("utf-8"))
    assert card.split_hash == manifest["hash"] and not card.simulated
    assert card.replace(split_hash=None) == CARD
    assert manifest["assignments"]["S001R04"] == "train"
    assert manifest["assignments"]["S002R08"] == "test"
    rows = report(prepared)
    assert rows["S001R03"]["status"] == "left-out" and "execution" in rows["S001R03"]["reason"]
    used = [row for row in rows.values() if row["status"] == "used"]
    assert len(used) == 6 and all(row["windows"] == "6" for row in used)
    readme = (prepared / "README.md").read_text("utf-8")
    header = yaml.safe_load(readme.split("---")[1])
    assert header["license"] == "odc-by" and "simulated" not in header["tags"]
    assert "train and test share 1 subject(s): S002" in readme


@pytest.mark.filterwarnings("ignore:A recording is shorter")
def test_windows_are_the_preprocessed_recording_at_the_cues(raw: Path, tmp_path: Path) -> None:
    settings = Settings(dtype="float32", progress=False)
    folder = prepare(PhysionetMi(raw), tmp_path / "out", settings)
    rows = datasets.load_from_disk(str(folder))["test"]
    reader = WindowReader(rows)
    signal, rate = read_edf(raw / "S002" / "S002R08.edf", CARD.channels)
    whole = preprocess(signal, rate)
    expected = [whole[:, s : s + 800] for s in (round(onset * 200) for onset, _ in CUES)]
    np.testing.assert_array_equal(reader.read(range(6)), np.stack(expected))
    labels = [CARD.labels[label] for label in reader.labels]
    assert labels == ["rest", "right", "rest", "left", "rest", "right"]
    assert rows["onset_s"] == [onset for onset, _ in CUES]
    assert set(rows["subject"]) == {"S002"} and reader.channels == CARD.channels


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_bytes(
    runs: Path, prepared: Path, tmp_path: Path
) -> None:
    settings = Settings(num_proc=2, progress=False)
    assert content(prepare(PhysionetMi(runs), tmp_path, settings)) == content(prepared)


def test_channels_are_found_by_name_in_any_order(raw: Path, prepared: Path, tmp_path: Path) -> None:
    write_run(raw / "S001" / "S001R04.edf", 14, CARD.channels[::-1])
    again = prepare(PhysionetMi(raw), tmp_path / "out", QUIET)
    first, two = (
        content(folder)["train/data-00000-of-00001.arrow"] for folder in (prepared, again)
    )
    assert first == two


def test_interrupted_preparation_leaves_nothing_that_loads_and_resumes(
    raw: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "out", []
    real = parts._write_windows

    def stopped(corpus, recording, part, dtype):
        if len(written) == 3:
            part.with_suffix(".arrow.1").write_bytes(b"half a part")
            raise KeyboardInterrupt
        written.append(recording.key)
        return real(corpus, recording, part, dtype)

    monkeypatch.setattr(parts, "_write_windows", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepare(PhysionetMi(raw), out, QUIET)
    assert not (out / CARD.name).exists()

    def counted(corpus, recording, part, dtype):
        written.append(recording.key)
        return real(corpus, recording, part, dtype)

    def killed(final, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "_write_windows", counted)
    with monkeypatch.context() as last_step:
        last_step.setattr(writer, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(PhysionetMi(raw), out, QUIET)
    assert not (out / CARD.name).exists()
    folder = prepare(PhysionetMi(raw), out, QUIET)
    assert len(written) == 6 and len(set(written)) == 6  # no recording was written twice
    assert content(folder) == content(prepared)
    assert {path.name for path in out.iterdir()} == {CARD.name, f".{CARD.name}.lock"}


@pytest.mark.slow
def test_kill_in_the_middle_and_second_start(raw: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    parts = out / f".{CARD.name}.partial" / "parts"
    command = [sys.executable, "-m", "dataset_scripts.physionet_mi", "--raw", raw, "--out", out]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and len(list(parts.glob("*.json"))) < 2:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert not (out / CARD.name).exists()
    assert content(prepare(PhysionetMi(raw), out, QUIET)) == content(prepared)


@pytest.mark.slow
def test_changed_recording_is_written_again_on_resume(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as last_step:
        last_step.setattr(writer, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(PhysionetMi(raw), out, QUIET)
    write_run(raw / "S002" / "S002R08.edf", 999)
    folder = prepare(PhysionetMi(raw), out, QUIET)
    fresh = prepare(PhysionetMi(raw), tmp_path / "fresh", QUIET)
    assert content(folder) == content(fresh)


def test_prepared_corpus_is_kept_unless_something_changed(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = prepare(PhysionetMi(raw), tmp_path / "out", QUIET)
    before = (folder / "task.json").stat().st_mtime_ns
    assert prepare(PhysionetMi(raw), tmp_path / "out") == folder
    assert "already prepared" in capsys.readouterr().out
    assert (folder / "task.json").stat().st_mtime_ns == before
    other = Settings(dtype="float32", progress=False)
    with pytest.raises(FileExistsError, match="--overwrite"):
        prepare(PhysionetMi(raw), tmp_path / "out", other)
    replace = Settings(dtype="float32", overwrite=True, progress=False)
    prepare(PhysionetMi(raw), tmp_path / "out", replace)
    assert WindowReader(datasets.load_from_disk(str(folder))["test"]).dtype == "float32"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _without_oz(path: Path) -> None:
    write_run(path, 1, [name for name in CARD.channels if name != "OZ"])


def _without_unit(path: Path) -> None:
    write_run(path, 1, unit="")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "S001R04.edf"),
        pytest.param(_without_oz, "channels missing: OZ", marks=pytest.mark.slow),
        pytest.param(_without_unit, "unit", marks=pytest.mark.slow),
    ],
)
def test_unusable_recordings_are_named_and_too_many_fail_at_the_end(
    damage, reason: str, raw: Path, tmp_path: Path
) -> None:
    damage(raw / "S001" / "S001R04.edf")
    out = tmp_path / "out"
    with pytest.raises(PreparationError, match=reason):
        prepare(PhysionetMi(raw), out, QUIET)
    assert not (out / CARD.name).exists()
    rows = report(out / f".{CARD.name}.partial")
    assert rows["S001R04"]["status"] == "skipped" and reason in rows["S001R04"]["reason"]
    assert sum(row["status"] == "used" for row in rows.values()) == 5  # good work is kept
    folder = prepare(PhysionetMi(raw), out, Settings(max_skipped=0.2, progress=False))
    assert report(folder)["S001R04"]["status"] == "skipped"
    assert sum(map(len, datasets.load_from_disk(str(folder)).values())) == 30
    # The split of the others does not depend on the file that is bad.
    assert json.loads((folder / "splits.json").read_text())["assignments"]["S001R06"] == "train"


def test_too_few_recordings_name_the_way_out_which_works(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    only = ("S001",)
    with pytest.raises(SplitError, match=r"validation empty.*--split within-subject"):
        prepare(PhysionetMi(raw), out, Settings(subjects=only, progress=False))
    settings = Settings(split="within-subject", subjects=only, progress=False)
    saved = datasets.load_from_disk(str(prepare(PhysionetMi(raw), out, settings)))
    seen = [(row["recording"], row["onset_s"]) for split in saved.values() for row in split]
    assert len(seen) == len(set(seen)) == 18
    assert all(rows["subject"] == ["S001"] * len(rows) for rows in saved.values())
    with pytest.raises(ValueError, match=r"subjects \['S009'\]"):
        prepare(PhysionetMi(raw), tmp_path, Settings(subjects=("S009",), progress=False))
    with pytest.raises(ValueError, match="split"):
        prepare(corpus_class("tuab")(raw), out, settings)


def test_empty_raw_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(FileNotFoundError, match=r"S001R04\.edf"):
        prepare(PhysionetMi(tmp_path / "raw"), tmp_path / "out", QUIET)


def test_simulated_corpus_says_so(raw: Path, tmp_path: Path) -> None:
    (raw / "SIMULATED").write_text('{"seed": 7, "version": 1}')
    folder = prepare(PhysionetMi(raw), tmp_path, QUIET)
    card = TaskCard.load(folder)
    assert card.simulated and card.corpus.startswith("simulated") and "ODC" not in card.license
    readme = (folder / "README.md").read_text("utf-8")
    assert "**Simulated data**" in readme and "'seed': 7" in readme
    assert "simulated" in yaml.safe_load(readme.split("---")[1])["tags"]


def test_interrupted_simulation_is_refused(raw: Path) -> None:
    (raw / "SIMULATED").write_text('{"seed": 7, "version": 1, "complete": false}')
    with pytest.raises(ValueError, match="interrupted"):
        PhysionetMi(raw)


def test_command_line(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--raw", str(raw), "--out", str(tmp_path / "out")]
    assert run_command(PhysionetMi, options) == 0
    printed = capsys.readouterr().out
    assert "6 recordings" in printed and "| all | 24 | 6 | 6 |" in printed
    assert "share" in printed
    assert run_command(PhysionetMi, [*options, "--dtype", "float32"]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_missing_corpora_are_all_named_before_any_work(raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.move(raw, root / "physionet-mi")
    with pytest.raises(FileNotFoundError, match="tuab, seed-v"):
        prepare_corpora(root, tmp_path / "out", ["tuab", "physionet-mi", "seed-v"])
    assert not (tmp_path / "out").exists()
    folders = prepare_corpora(root, tmp_path / "out", ["physionet-mi"], settings=QUIET)
    assert folders == {"physionet-mi": tmp_path / "out" / "physionet-mi"}


@pytest.mark.parametrize("records", [b"-2      ", b"99999999", b"x       "])
def test_headers_that_cannot_be_give_no_duration(
    records: bytes, runs: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.edf"
    original = (runs / "S001" / "S001R04.edf").read_bytes()
    path.write_bytes(original)
    assert edf_duration_s(path) == SECONDS
    path.write_bytes(original[:236] + records + original[244:])
    assert edf_duration_s(path) == 0


def test_real_runs_of_one_subject(recordings_dir: Path, tmp_path: Path) -> None:
    settings = Settings(split="within-subject", subjects=("S001",), progress=False)
    folder = prepare(PhysionetMi(recordings_dir / "eegmmidb"), tmp_path, settings)
    saved = datasets.load_from_disk(str(folder))
    readers = {split: WindowReader(rows) for split, rows in saved.items()}
    assert {split: len(reader) for split, reader in readers.items()} == {
        "train": 76, "validation": 20, "test": 24,
    }  # fmt: skip
    for reader in readers.values():
        assert set(reader.labels) == set(range(5)) and reader.shape == (64, 800)
        spread = reader.read(range(len(reader))).std(axis=2)
        assert 1 < np.median(spread) < 200
    rows = report(folder)
    assert rows["S001R05"]["status"] == "left-out" and "execution" in rows["S001R05"]["reason"]
    assert rows["S088R10"]["status"] == "left-out" and "dropped" in rows["S088R10"]["reason"]
    assert sum(row["status"] == "used" for row in rows.values()) == 4
