"""``mteeg train``: from self-made recordings to an adapter, in one command."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from annotated_recordings import bids, presses

from modeling_mteeg import cli
from modeling_mteeg.data import load_corpus
from modeling_mteeg.evaluation import read_predictions
from modeling_mteeg.model.task_card import TaskCard

QUICK = ("--set", "optimization.epochs=2", "--set", "optimization.batch_size=8",
         "--set", "optimization.warmup_epochs=0")  # fmt: skip
OWN = ("--task", "button-presses", "--labels", "rest,press", "--subject-from", "name")
RANDOM = ("--preset", "tiny", *QUICK)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    return presses(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def trained(recordings, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert train(recordings, out, *OWN, *RANDOM) == 0
    return out


def train(recordings: Path, out: Path, *more: str) -> int:
    return cli.main(["train", str(recordings), "--out", str(out), *more])


def content(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_recordings_become_a_task_with_figures_pictures_and_commands(recordings, tmp_path, capsys):
    assert train(recordings, tmp_path, *OWN, *RANDOM) == 0
    said = capsys.readouterr().out
    model = tmp_path / "model"
    next_one = f"mteeg predict RECORDING --base {model} --task button-presses"
    for text in ("cough (6)", "the commonest class", "log band power", "people",
                 "true \\ predicted", f"mteeg push {model}", next_one):  # fmt: skip
        assert text in said
    adapter = tmp_path / "model" / "adapters" / "button-presses"
    for picture in (tmp_path / "predictions" / "button-presses_confusion.png",
                    adapter / "curves.png"):  # fmt: skip
        assert picture.is_file() and str(picture) in said
    card = TaskCard.load(adapter)
    assert card.labels == ("rest", "press") and card.channels == ("C3", "CZ", "C4")
    assert card.split_hash == load_corpus(tmp_path / "data" / "button-presses").card.split_hash
    command = f"mteeg train {recordings} --out {tmp_path} --task button-presses"
    assert command in (adapter / "README.md").read_text("utf-8")
    found = tmp_path / "events.tsv"
    new = ("predict", str(recordings / "p01.edf"), "--base", str(tmp_path / "model"))
    assert cli.main([*new, "--task", "button-presses", "--out", str(found)]) == 0
    assert "press" in found.read_text("utf-8")


def test_tested_people_were_not_trained_on(trained):
    corpus = load_corpus(trained / "data" / "button-presses")
    people = {split: set(reader.subjects.tolist()) for split, reader in corpus.splits.items()}
    tested = read_predictions(trained / "predictions" / "button-presses.parquet")
    assert set(map(str, tested.subjects)) == people["test"]
    assert not people["test"] & (people["train"] | people["validation"])
    assert not people["train"] & people["validation"]


@pytest.mark.slow
def test_started_once_more_nothing_is_done_again(recordings, trained, capsys):
    before, model = content(trained / "data"), content(trained / "model")
    assert train(recordings, trained, *OWN, *RANDOM) == 0
    said = capsys.readouterr().out
    assert "already prepared from these files" in said and "all epochs are done already" in said
    assert content(trained / "data") == before
    same = {name for name, data in content(trained / "model").items() if model[name] == data}
    assert {name for name in model if name.endswith(".safetensors")} <= same


def test_other_options_do_not_write_over_what_is_there(recordings, trained, capsys):
    before = content(trained / "data")
    assert train(recordings, trained, *OWN, *RANDOM, "--offset", "0.5") == 2
    assert "options" in capsys.readouterr().err and content(trained / "data") == before


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.slow
def test_a_second_task_on_its_base_leaves_the_first(trained, tmp_path, capsys, own):
    """Recordings in BIDS's layout, with events files."""
    base, raw = tmp_path / "base", bids(tmp_path / "raw", people=5)
    for name, data in content(trained / "model").items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(data)
    first = content(base / "adapters" / "button-presses")
    more = ("--task", "coughs", "--labels", "rest,cough", "--window", "2", "--base", str(base))
    assert train(raw, tmp_path / "out", *more, *QUICK, *(["--into-base"] if own else [])) == 0
    model = tmp_path / "out" / "model"
    for folder in (model, *([base] if own else [])):
        assert content(folder / "adapters" / "button-presses") == first
        assert (folder / "adapters" / "coughs" / "head.safetensors").is_file()
    assert own or [path.name for path in (base / "adapters").iterdir()] == ["button-presses"]
    assert (model / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert "with it its tasks button-presses" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "mteeg convert labram-base.pth"),
        (("--preset", "tiny", "--base", "x"), "not both"),
        (("--preset", "huge-ish"), "preset"),
        (("--preset", "tiny", "--set", "optimization.epoch=3"), "unknown key"),
        (("--preset", "tiny", "--method", "hpss"), "did you mean"),
        (("--preset", "tiny", "--labels", "rest,pres"), "found cough (6), press (12), rest (12)"),
        (("--preset", "tiny", "--window", "2.5"), "whole number"),
        (("--preset", "tiny", "--subject-from", "folder"), "whom every recording is of"),
    ],
)
def test_faults_are_said_before_any_work(recordings, tmp_path, capsys, more, words):
    assert train(recordings, tmp_path / "out", *OWN, *more) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_recipe_and_configuration_are_part_of_what_is_installed():
    import tomllib

    from places import ROOT

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert "configs/*.yaml" in settings["package-data"]["modeling_mteeg.recipes"]
    recipe = importlib.import_module("modeling_mteeg.recipes.train")
    assert Path(recipe.__file__) == ROOT / "recipes/train.py"
    assert (recipe.CONFIGS / "own_task.yaml").is_file()


def test_the_epochs_are_in_the_history(trained):
    assert len(json.loads((trained / "history.json").read_text())) == 2


def test_a_tracker_that_is_not_installed_is_said_before_anything_is_prepared(
    recordings, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    assert train(recordings, tmp_path / "out", *OWN, *RANDOM, "--tracker", "trackio") == 2
    assert "trackio is not installed; run pip install" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
