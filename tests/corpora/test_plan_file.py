"""Several corpora from one YAML file: faults all at once, failures apart, the rest on a restart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from places import ROOT

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.corpus import Segment
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.plan_file import PlanSection, read_plan
from modeling_mteeg.dataset_scripts.prepare import main
from modeling_mteeg.dataset_scripts.registry import TASKS
from modeling_mteeg.dataset_scripts.seed_v import SeedV
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.settings.schema import ConfigError

EXAMPLE = ROOT / "dataset_scripts/corpora.yaml"


def write(path: Path, **content) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def faults(path: Path, **options) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read_plan(path, **options)
    return caught.value.faults


def test_the_example_prepares_the_six_with_the_default_settings(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for task in TASKS:
        (tmp_path / "downloads" / task).mkdir(parents=True)
    plan = read_plan(EXAMPLE)
    assert plan.out == Path("data")
    assert tuple(corpus.card.name for corpus, _ in plan.corpora) == TASKS
    for corpus, settings in plan.corpora:
        assert corpus.protocol == next(iter(corpus.protocols))
        assert corpus.raw == Path("downloads") / corpus.card.name
        assert settings == Settings(num_proc=2 if corpus.card.name == "chb-mit" else 4)
    command = "# python -m dataset_scripts.prepare --config dataset_scripts/corpora.yaml\n"
    assert EXAMPLE.read_text().startswith(command)


def test_defaults_of_the_file_are_those_of_the_settings() -> None:
    plan, settings = PlanSection(), Settings()
    for name in ("num_proc", "dtype", "max_skipped"):
        assert getattr(plan, name) == getattr(settings, name)


def test_a_corpus_wins_over_the_file_and_the_command_line_over_both(tmp_path) -> None:
    path = write(
        tmp_path / "corpora.yaml", out="data", num_proc=3, dtype="float32", max_skipped=0.5,
        corpora={
            "sleep-edf": {"raw": str(tmp_path), "protocol": "deepsleepnet",
                          "split": "within-subject", "subjects": ["SC400"], "num_proc": 1,
                          "dtype": "int16", "max_skipped": 0},
            "seed-v": {"raw": str(tmp_path), "subjects": [1, 16]},
        },
    )  # fmt: skip
    (sleep, first), (_, second) = read_plan(path).corpora
    assert sleep.protocol == "deepsleepnet"
    assert first == Settings(split="within-subject", max_skipped=0, subjects=("SC400",))
    seed_v_names = ("1", "16")  # numbers in YAML, names to the reader
    assert second == Settings(num_proc=3, dtype="float32", max_skipped=0.5, subjects=seed_v_names)
    plan = read_plan(path, out=tmp_path / "else", num_proc=7, overwrite=["seed-v"])
    assert plan.out == tmp_path / "else"
    assert [settings.num_proc for _, settings in plan.corpora] == [7, 7]
    assert [settings.overwrite for _, settings in plan.corpora] == [False, True]


def test_everything_wrong_is_said_at_once_before_any_work(tmp_path, capsys) -> None:
    path = tmp_path / "corpora.yaml"
    path.write_text(f"""
num_procs: 4
dtype: int8
max_skipped: 2
corpora:
  tuabb: {{raw: {tmp_path}}}
  tuev: {{raw: {tmp_path}/tuev}}
  seed-v: {{protocol: papper, raw: {tmp_path}, raw_folder: x}}
  chb-mit: {{raw: {tmp_path}/chb, split: within-subject, num_proc: many}}
  sleep-edf:
  nothing.py:Own: {{raw: {tmp_path}}}
  physionet-mi: {{raw: {tmp_path}}}
  physionet-mi: {{raw: {tmp_path}}}
""")
    assert main(["--config", str(path), "--overwrite", "seed-vv"]) == 2
    said = capsys.readouterr().err
    expected = (
        "num_procs: unknown key (did you mean 'num_proc'?)",
        "dtype: expected one of int16, float32, found 'int8'",
        "max_skipped: expected a number >= 0 and <= 1, found 2",
        "out: expected the folder",
        "corpora.tuabb: unknown task (did you mean 'tuab'?)",
        f"corpora.tuev.raw: no such folder: {tmp_path}/tuev; it is to hold edf/",
        "corpora.seed-v.protocol: expected one of ",
        "corpora.seed-v.raw_folder: unknown key",
        f"corpora.chb-mit.raw: no such folder: {tmp_path}/chb",
        "corpora.chb-mit.split: expected one of protocol, found 'within-subject'",
        "corpora.chb-mit.num_proc: expected a whole number, found 'many'",
        "corpora.sleep-edf: expected keys and values, found None",
        "corpora.sleep-edf.raw: expected the folder of the download",
        "corpora.nothing.py:Own: nothing.py: no such file",
        "physionet-mi: stands twice",
        "--overwrite seed-vv: not in the file (did you mean 'seed-v'?)",
    )
    for words in expected:
        assert words in said
    assert len(faults(path, overwrite=["seed-vv"])) == len(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["corpora.yaml"]


@pytest.mark.parametrize("text", ["", "corpora: {}", "out: data\ncorpora: [tuab]", "- a", "a: [b"])
def test_files_without_corpora_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "corpora.yaml").write_text(text)
    assert faults(tmp_path / "corpora.yaml")


def test_a_file_that_is_not_there_and_raw_beside_it_are_refused(tmp_path, capsys) -> None:
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([f"--config={EXAMPLE}", "--raw", "x", "--out", "y"])
    assert caught.value.code == 2 and "--raw" in capsys.readouterr().err


def test_a_broken_simulation_is_a_fault_of_the_file(tmp_path) -> None:
    (tmp_path / "SIMULATED").write_text('{"complete": false}')
    path = write(tmp_path / "c.yaml", out="x", corpora={"tuab": {"raw": str(tmp_path)}})
    assert "interrupted" in faults(path)[0]


OWN = """
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.task_card import TaskCard

class Own(Corpus):
    card = TaskCard("own-task", ("a", "b"), ("C3", "C4"), window_s=1)

class Again(Own):
    pass
"""


def test_corpora_of_ones_own_go_by_file_and_class(tmp_path) -> None:
    file = tmp_path / "own_corpora_of_a_plan.py"
    file.write_text(OWN)
    raw = {"raw": str(tmp_path)}
    path = write(tmp_path / "c.yaml", out="x", corpora={f"{file}:Own": raw, "tuev": raw})
    plan = read_plan(path, overwrite=["own-task"])
    assert [(c.card.name, s.overwrite) for c, s in plan.corpora] == [
        ("own-task", True), ("tuev", False),
    ]  # fmt: skip
    path = write(tmp_path / "c.yaml", out="x", corpora={f"{file}:Own": raw, f"{file}:Again": raw})
    (fault,) = faults(path)
    assert "own-task is in the file already" in fault


# Preparing ---------------------------------------------------------------------------------------


def noise(corpus, recording):
    random = np.random.default_rng(list(recording.key.encode()))
    return random.normal(0, 20, (len(corpus.card.channels), 16 * 200)), 200.0


def films(corpus, recording, samples):
    labels = corpus.card.labels
    return [Segment(200 * n, labels[n % 5], f"trial-{n + 1:02d}") for n in range(15)], Counter()


def cues(corpus, recording, samples):
    return [Segment(0, "left"), Segment(800, "right")], Counter()


@pytest.fixture
def plan_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sessions of SEED-V, whose files are no recordings, and six runs of PhysioNet MI, whose
    signals are replaced by noise."""
    monkeypatch.setattr(PhysionetMi, "load", noise)
    monkeypatch.setattr(PhysionetMi, "segments", cues)
    (tmp_path / "films").mkdir()
    for name in ("1_1_20180416.cnt", "1_2_20180511.cnt"):
        (tmp_path / "films" / name).write_text(name * 64)  # no two are copies
    for subject in ("S001", "S002"):
        (tmp_path / "imagery" / subject).mkdir(parents=True)
        for run in (4, 6, 8):
            name = f"{subject}R{run:02d}.edf"
            (tmp_path / "imagery" / subject / name).write_text(name * 64)
    corpora = {
        "seed-v": {"raw": str(tmp_path / "films")},
        "physionet-mi": {"raw": str(tmp_path / "imagery"), "dtype": "float32"},
    }
    return write(tmp_path / "corpora.yaml", out=str(tmp_path / "data"), corpora=corpora)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_corpus_that_fails_does_not_stop_the_next_and_a_restart_does_the_rest(
    plan_path, tmp_path, capsys, monkeypatch
) -> None:
    assert main(["--config", str(plan_path)]) == 1
    said = capsys.readouterr()
    assert "2 of 2 recordings could not be used" in said.err
    *_, first, second, last = said.out.splitlines()
    assert first.startswith("seed-v: failed: seed-v: 2 of 2 recordings")
    assert second == "physionet-mi: ready" and "start again" in last
    imagery = tmp_path / "data/physionet-mi"
    assert len(load_corpus(imagery).splits["train"]) == 8
    assert not (tmp_path / "data/seed-v").exists()

    monkeypatch.setattr(SeedV, "load", noise)
    monkeypatch.setattr(SeedV, "segments", films)
    made = times(imagery)
    assert main(["--config", str(plan_path)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-2:] == ["seed-v: ready", "physionet-mi: ready"]
    assert f"{imagery}: already prepared" in said
    assert times(imagery) == made
    assert len(load_corpus(tmp_path / "data/seed-v").splits["train"]) == 10


def test_a_fault_of_the_program_does_not_stop_the_others_either(
    plan_path, tmp_path, capsys, monkeypatch
) -> None:
    def broken(corpus):
        raise KeyError("a fault of ours")

    monkeypatch.setattr(SeedV, "find_recordings", broken)
    assert main([f"--config={plan_path}", "--out", str(tmp_path / "else")]) == 1
    said = capsys.readouterr()
    assert "Traceback" in said.err and "seed-v: failed: KeyError" in said.out
    assert (tmp_path / "else/physionet-mi/task.json").is_file()
    assert not (tmp_path / "data").exists()


def test_other_settings_are_refused_unless_that_corpus_is_to_be_replaced(plan_path, capsys) -> None:
    content = yaml.safe_load(plan_path.read_text())
    del content["corpora"]["seed-v"]
    write(plan_path, **content)
    assert main(["--config", str(plan_path)]) == 0
    content["corpora"]["physionet-mi"]["dtype"] = "int16"
    write(plan_path, **content)
    assert main(["--config", str(plan_path)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["--config", str(plan_path), "--overwrite", "physionet-mi"]) == 0
