"""A split and classes chosen at training, from the command line to results and cards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recipe_modules import load_recipe
from tiny_people import CARD, save_people

from modeling_mteeg.data import read_split
from modeling_mteeg.evaluation import read_predictions
from modeling_mteeg.training.joint_config import JointConfig
from modeling_mteeg.training.joint_training import JointTrainer

SLEEP = CARD.replace(name="sleep", labels=("W", "N", "R"), loss="", monitor="", metrics=())
LABELS = "data.labels={sleep: {wake: [W], asleep: [R, N]}}"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    def label(person, number, window):
        return SLEEP.labels[window % 3]

    folder = tmp_path_factory.mktemp("people")
    return save_people(folder, 10, card=SLEEP, label=label, windows=9)


def words(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--tasks", "sleep", "--output", str(out), "--set", "floor=false",
            "--set", "optimization.epochs=1", "--set", "optimization.warmup_epochs=0",
            *more]  # fmt: skip


def test_split_and_classes_reach_results_card_and_checkpoint(data, tmp_path, capsys):
    joint, out = load_recipe("joint"), tmp_path / "out"
    command = words(data, out, "--split", "few-shot:4", "--set", LABELS)
    assert joint.main(command) == 0
    text = capsys.readouterr().out
    assert "sleep: leak of the split: train and test share 2 subject(s): p08, p09" in text
    assert "sleep: classes: wake = W, asleep = R + N" in text
    manifest = read_split(out / "splits/sleep.parquet")
    card = json.loads((out / "model/adapters/sleep/task.json").read_text())
    record = json.loads((out / "model/training.json").read_text())
    results = json.loads((out / "results.json").read_text())
    assert card["labels"] == ["wake", "asleep"] and card["loss"] == "binary_cross_entropy"
    assert card["monitor"] == "auroc" and card["split_hash"] == manifest.hash
    assert record["data"]["sleep"]["split"] == results["splits"]["sleep"] == manifest.facts()
    assert record["data"]["sleep"]["windows"] == {"train": 6 * 18 + 2 * 4, "validation": 36,
                                                  "test": 2 * (18 - 4)}  # fmt: skip
    readme = (out / "model/adapters/sleep/README.md").read_text()
    assert "| leaks of the split | train and test share 2 subject(s): p08, p09;" in readme
    assert f"| split hash | `{manifest.hash}` |" in readme and manifest.rule in readme
    said = read_predictions(out / "predictions/sleep.parquet")
    tested = manifest.table.filter([part == "test" for part in manifest.table["part"].to_pylist()])
    assert said.onsets_s.tolist() == tested["onset_s"].to_pylist()
    assert [said.card.labels[label] for label in said.labels] == tested["label"].to_pylist()

    again = words(data, out, "--split", "few-shot:4")
    assert joint.main([*again, "--set", LABELS, "--split-seed", "1"]) == 2
    assert "data.split_seed: there 'absent', now 1" in capsys.readouterr().err
    assert joint.main(again) == 2
    assert "data.labels" in capsys.readouterr().err


def test_the_manifest_is_part_of_what_a_checkpoint_belongs_to(data, tmp_path, monkeypatch):
    identities = []
    real = JointTrainer._identity
    monkeypatch.setattr(
        JointTrainer, "_identity",
        lambda self: (identities.append(real(self)), identities[-1])[1],
    )  # fmt: skip
    joint = load_recipe("joint")
    assert joint.main(words(data, tmp_path / "own")) == 0
    assert joint.main(words(data, tmp_path / "fold", "--split", "kfold:5", "--fold", "2")) == 0
    own, fold = identities
    assert own["data of sleep"]["split_hash"] == "stored"
    assert not any(key.startswith("data.split") or key == "data.fold" for key in own)
    assert fold["data of sleep"]["split_hash"] not in (None, "stored")
    assert (fold["data.split"], fold["data.fold"]) == ("kfold:5", 2)


def test_faults_of_splits_are_told_before_any_work(data, tmp_path, capsys):
    joint = load_recipe("joint")
    for more, what in (
        (["--split", "kfold:5"], "data.fold: expected 0 to 4, found none"),
        (["--split", "kfolds"], "data.split: expected corpus, kfold:6"),
        (["--set", "data.labels={sleeps: {a: [W], b: [N]}}"], "data.labels.sleeps: unknown task"),
        (["--set", "data.labels={sleep: {a: [W], b: [X]}}"], "'X' is no class of it"),
        (["--set", "data.validation_share=1"], "data.validation_share"),
    ):
        assert joint.main(words(data, tmp_path / "none", *more)) == 2
        assert what in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_configuration_of_before_has_the_same_identity():
    tree = {"model": {"preset": "tiny"}, "data": {"folder": "data", "tasks": ["tuab"]}}
    keys = JointConfig.build(tree).identity()
    new = ("data.split", "data.fold", "data.labels", "data.validation_share", "search")
    assert not [key for key in keys if key.startswith(new) and key != "data.folder"]
