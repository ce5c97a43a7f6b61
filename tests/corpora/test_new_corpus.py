"""A seventh corpus: the worked example, the documented template, classes in one's own files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import edfio
import numpy as np
import pytest
from places import ROOT
from recipe_modules import load_recipe

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.eegmat import CARD, Eegmat
from modeling_mteeg.dataset_scripts.prepare import main as prepare_main
from modeling_mteeg.dataset_scripts.registry import KNOWN_TASKS, TASKS, corpus_class
from modeling_mteeg.model.task_card import TaskCard

GUIDE = ROOT / "docs" / "new_corpus.md"
SMALL = ["--set", "model.preset=tiny", "--set", "optimization.epochs=1",
         "--set", "optimization.batch_size=12"]  # fmt: skip


def write_edf(path: Path, names: list[str], seconds: int, rate: int, seed: int, cues=()) -> None:
    random = np.random.default_rng(seed)
    signals = [
        edfio.EdfSignal(
            random.normal(0, 20, seconds * rate), rate, label=name, physical_dimension="uV",
            physical_range=(-200, 200),
        )
        for name in names
    ]  # fmt: skip
    annotations = [edfio.EdfAnnotation(onset, 2.0, text) for onset, text in cues]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, annotations=annotations).write(path)


@pytest.fixture(scope="module")
def eegmat_raw(tmp_path_factory) -> Path:
    """Nine subjects in the layout of the original: 500 Hz, ``EEG Fp1`` ... ``ECG ECG``."""
    raw = tmp_path_factory.mktemp("eegmat")
    names = [f"EEG {name.capitalize()}" for name in CARD.channels]
    for subject in range(9):
        for part, seconds in ((1, 17), (2, 11)):
            path = raw / f"Subject{subject:02d}_{part}.edf"
            write_edf(path, [*names, "EEG A2-A1", "ECG ECG"], seconds, 500, 2 * subject + part)
    return raw


@pytest.fixture(scope="module")
def presses_raw(tmp_path_factory) -> Path:
    raw = tmp_path_factory.mktemp("presses")
    cues = [(1.0, "rest"), (3.5, "press"), (6.0, "rest"), (8.0, "cough"), (9.0, "press")]
    for person in range(1, 7):
        channels = ["EEG Cz", "EEG C4-REF", "C3", "ECG"]
        write_edf(raw / f"p{person:02d}.edf", channels, 10, 200, person, cues)
    return raw


@pytest.fixture
def own_file(tmp_path, monkeypatch) -> Path:
    """The guide's class, word for word, as a user's file."""
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "home" / "my_corpus.py"
    path.parent.mkdir()
    path.write_text(block, "utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_corpus", raising=False)
    return path


def joint(*arguments: str) -> int:
    return load_recipe("joint").main([*arguments, *SMALL])


def test_the_example_is_registered_beside_the_six():
    assert len(TASKS) == 6 and "eegmat" in set(KNOWN_TASKS) - set(TASKS)
    assert corpus_class("eegmat") is Eegmat
    source = (ROOT / "dataset_scripts" / "eegmat.py").read_text("utf-8").splitlines()
    assert sum(bool(line.strip()) for line in source) <= 66  # an example stays short


def test_the_example_gives_labels_and_whole_subjects(eegmat_raw, tmp_path):
    (tmp_path / "out").mkdir()
    assert run_command(Eegmat, ["--raw", str(eegmat_raw), "--out", str(tmp_path / "out")]) == 0
    corpus = load_corpus(tmp_path / "out" / "eegmat")
    assert corpus.card.replace(split_hash=None) == CARD
    subjects = {split: sorted(set(reader.subjects)) for split, reader in corpus.splits.items()}
    assert subjects == {
        "train": [f"{i:02d}" for i in range(7)], "validation": ["07"], "test": ["08"],
    }  # fmt: skip
    for reader in corpus.splits.values():
        assert reader.shape == (19, 1000) and len(reader) == 5 * len(set(reader.subjects))
        rest = np.array([name.endswith("_1") for name in reader.recordings])
        assert (reader.labels == np.where(rest, 0, 1)).all()
        assert reader.onsets_s.tolist() == [0, 5, 10, 0, 5] * len(set(reader.subjects))


def test_all_36_subjects_are_split_28_4_4():
    corpus = Eegmat.__new__(Eegmat)
    from modeling_mteeg.dataset_scripts.corpus import Recording

    recordings = [
        Recording(f"Subject{i:02d}_{part}", f"{i:02d}", Path("x"))
        for i in range(36)
        for part in "12"
    ]
    splits = list(corpus.assign(recordings).values())
    assert [splits.count(name) for name in ("train", "validation", "test")] == [56, 8, 8]


def run_own_file(own_file: Path, *arguments: object) -> str:
    """``python my_corpus.py ...`` in a process of its own; returns what it prints."""
    done = subprocess.run(
        [sys.executable, str(own_file), *map(str, arguments)],
        capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_guide_s_class_is_prepared_by_its_own_file(own_file, presses_raw, tmp_path):
    printed = run_own_file(own_file, "--raw", presses_raw, "--out", tmp_path)
    assert "| all | 12 | 3 | 3 |" in printed
    folder = tmp_path / "button-presses"
    corpus = load_corpus(folder)
    assert {name: len(reader) for name, reader in corpus.splits.items()} == {
        "train": 12, "validation": 3, "test": 3,
    }  # fmt: skip
    assert corpus.card.notch_hz == 60 and corpus.card.license == "internal"
    report = (folder / "report.tsv").read_text("utf-8")
    assert "beyond the end of the recording: 1; unknown cue 'cough': 1" in report


@pytest.mark.slow
def test_own_and_known_corpora_are_prepared_and_trained_together(
    own_file, eegmat_raw, presses_raw, tmp_path, capsys
):
    from modeling_mteeg.dataset_scripts.demo import simulate

    raw, data, out = tmp_path / "raw", tmp_path / "data", tmp_path / "out"
    simulate(raw, tasks=["sleep-edf"], size="small", progress=False)
    (raw / "eegmat").symlink_to(eegmat_raw)
    (raw / "button-presses").symlink_to(presses_raw)
    tasks = ["--tasks", "sleep-edf", "eegmat", "--corpus", f"{own_file}:ButtonPresses"]
    assert prepare_main(["--raw", str(raw), "--out", str(data), *tasks]) == 0
    names = ["sleep-edf", "eegmat", "button-presses"]
    assert sorted(path.name for path in data.glob("[!.]*")) == sorted(names)
    options = ["--data", str(data), "--tasks", ",".join(names), "--output", str(out)]
    assert joint(*options) == 0
    results = json.loads((out / "results.json").read_text())
    assert list(results["test"]) == names
    assert results["simulated"] == {"sleep-edf": True, "eegmat": False, "button-presses": False}
    card = TaskCard.load(out / "model" / "adapters" / "button-presses")
    assert card.labels == ("rest", "press") and "auroc" in results["test"]["button-presses"]
    for name in names:  # the adapter says which split it was trained on
        manifest = json.loads((data / name / "splits.json").read_text("utf-8"))
        described = json.loads((out / "model" / "adapters" / name / "task.json").read_text("utf-8"))
        assert described["split_hash"] == manifest["hash"]
    capsys.readouterr()


def by_bare_name(own_file: Path) -> None:
    """The file as the guide of before had it."""
    text = own_file.read_text("utf-8")
    assert "from modeling_mteeg.dataset_scripts.corpus import" in text
    own_file.write_text(text.replace("modeling_mteeg.dataset_scripts", "dataset_scripts"), "utf-8")


@pytest.mark.parametrize("bare", [False, True])
def test_only_own_corpora_are_prepared_where_only_those_are_named(
    own_file, presses_raw, tmp_path, capsys, bare
):
    if bare:
        by_bare_name(own_file)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "button-presses").symlink_to(presses_raw)
    arguments = ["--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "data")]
    assert prepare_main([*arguments, "--corpus", f"{own_file}:ButtonPresses"]) == 0
    assert [path.name for path in (tmp_path / "data").glob("[!.]*")] == ["button-presses"]


@pytest.mark.slow
def test_processes_find_an_own_class_and_give_the_same(own_file, presses_raw, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "button-presses").symlink_to(presses_raw)
    for number in ("1", "2"):
        out = tmp_path / f"by-{number}"
        arguments = ["--raw", str(tmp_path / "raw"), "--out", str(out), "--num-proc", number]
        assert prepare_main([*arguments, "--corpus", f"{own_file}:ButtonPresses"]) == 0
    run_own_file(own_file, "--raw", presses_raw, "--out", tmp_path / "alone", "--num-proc", 2)
    results = []
    for name in ("by-1", "by-2", "alone"):
        out = tmp_path / name / "button-presses"
        files = sorted(path for path in out.rglob("*") if path.is_file())
        results.append({path.relative_to(out): path.read_bytes() for path in files})
    assert results[0] == results[1] == results[2]


@pytest.mark.slow
@pytest.mark.parametrize("bare", [False, True])
def test_an_own_class_is_the_same_however_the_command_is_started(
    own_file, presses_raw, tmp_path, bare
):
    """By either name of the command, in processes too, and by itself: the same files."""
    if bare:
        by_bare_name(own_file)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "button-presses").symlink_to(presses_raw)
    named = ["--raw", tmp_path / "raw", "--corpus", f"{own_file}:ButtonPresses"]
    in_processes, alone = [*named, "--num-proc", 2], [*named, "--num-proc", 1]
    ways = {  # the command and the class by two names: where they differ, in processes
        "clone": ["-m", "dataset_scripts.prepare", *(alone if bare else in_processes)],
        "package": ["-m", "modeling_mteeg.dataset_scripts.prepare",
                    *(in_processes if bare else alone)],
        "file": [own_file, "--raw", presses_raw],
    }  # fmt: skip
    found = []
    for name, words in ways.items():
        done = subprocess.run(
            [sys.executable, *map(str, words), "--out", str(tmp_path / name)],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        out = tmp_path / name / "button-presses"
        files = sorted(path for path in out.rglob("*") if path.is_file())
        found.append({path.relative_to(out): path.read_bytes() for path in files})
    assert found[0] == found[1] == found[2] and len(found[0]) > 5


def test_a_wrong_metric_of_a_card_fails_before_any_corpus_is_read(
    own_file, eegmat_raw, presses_raw, tmp_path, capsys
):
    text = own_file.read_text("utf-8").replace(
        "labels=", 'metrics=("aurok",), monitor="aurok", labels='
    )
    own_file.write_text(text, "utf-8")
    raw, out = tmp_path / "raw", tmp_path / "data"
    raw.mkdir()
    (raw / "eegmat").symlink_to(eegmat_raw)
    (raw / "button-presses").symlink_to(presses_raw)
    arguments = ["--raw", str(raw), "--out", str(out), "--tasks", "eegmat"]
    assert prepare_main([*arguments, "--corpus", f"{own_file}:ButtonPresses"]) != 0
    message = "Task 'button-presses': unknown metric 'aurok' (did you mean 'auroc'?)"
    assert message in capsys.readouterr().err and not out.exists()
    plan = tmp_path / "corpora.yaml"
    plan.write_text(
        f"out: {out}\ncorpora:\n  eegmat: {{raw: {eegmat_raw}}}\n"
        f"  {own_file}:ButtonPresses: {{raw: {presses_raw}}}\n", "utf-8"
    )  # fmt: skip
    assert prepare_main(["--config", str(plan)]) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_wrong_own_classes_are_named(own_file, tmp_path):
    text = own_file.read_text("utf-8")
    taken = own_file.with_name("taken.py")
    taken.write_text(text.replace('name="button-presses"', 'name="tuab"'), "utf-8")
    shadow = own_file.with_name("json.py")
    shadow.write_text(text, "utf-8")
    for name, words in (
        ("nothing", "Unknown task 'nothing'"),
        (f"{tmp_path}/gone.py:One", "no such file"),
        (f"{own_file}:Presses", "expected a class Presses derived"),
        (f"{own_file}:TaskCard", "expected a class TaskCard derived"),
        (f"{taken}:ButtonPresses", "'tuab' is taken"),
        (f"{shadow}:ButtonPresses", "'json' is taken"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            corpus_class(name)
