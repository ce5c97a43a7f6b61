"""Trainings whose adapters are shared: through the recipe, and on after a kill to the same end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from recipe_modules import load_recipe
from tiny_corpora import save_corpora
from training_program import make_trainer, outcome

from modeling_mteeg.data import load_corpora
from modeling_mteeg.evaluation import evaluate_task
from modeling_mteeg.methods import METHODS
from modeling_mteeg.training.checkpoint import CheckpointError

SIZES = {"tuab": (16, 8, 7), "seed-v": (15, 9, 9)}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def corpora(data):
    return load_corpora(data, tuple(SIZES))


@pytest.mark.parametrize(
    ("sharing", "rank"),
    [
        pytest.param("shared+own", 16, marks=pytest.mark.slow),
        pytest.param("shared", 8, marks=pytest.mark.slow),
        pytest.param("pool", 32, marks=pytest.mark.slow),
    ],
)
def test_the_recipe_leaves_plain_tasks_that_give_its_results(
    sharing, rank, data, corpora, tmp_path, capsys
):
    words = ["--data", str(data), "--output", str(tmp_path), "--tasks", ",".join(SIZES),
             "--set", f"adapter.sharing={sharing}", "--set", "model.preset=tiny",
             "--set", "optimization.epochs=2", "--set", "optimization.batch_size=12",
             "--set", "floor=false"]  # fmt: skip
    assert load_recipe("joint").main(words) == 0
    how = {
        "shared": "one low-rank adapter for all tasks",
        "shared+own": "a low-rank adapter for all tasks and one a task, added",
        "pool": "a pool of 4 low-rank experts in every layer, mixed by each task",
    }[sharing]
    assert f"adapters: {how}" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())["test"]
    for task, corpus in corpora.items():
        method = METHODS["mteeg"].load(tmp_path / "model", task)
        assert not method.module.adapter_sharing
        assert method.module.adapter_options[task].rank == rank
        measured = evaluate_task(method, corpus.splits["test"], corpus.card)
        for metric, summary in results[task].items():
            assert summary["mean"] == pytest.approx(measured[metric], abs=1e-6), metric
        card = (tmp_path / "model/adapters" / task / "README.md").read_text("utf-8")
        assert f"| adapters | {how} |" in card and f"rank {rank}, attention" in card


def test_a_shared_adapter_is_no_tasks_and_one_task_has_nothing_to_share(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, adapter__sharing="pool")
    owners = {name: trainer.method.task_of(name) for name in trainer.trainable()}
    assert {owner for name, owner in owners.items() if "_expert_" in name} == {None}
    assert {owner for name, owner in owners.items() if "lora_mix" in name} == set(SIZES)
    groups = {name: group for group in trainer.optimizer.param_groups for name in group["names"]}
    for name, group in groups.items():
        if ".lora_" in name:
            layer = trainer.method.depth(name)
            assert layer == int(name.split(".")[1]) + 1
            assert group["lr_scale"] == pytest.approx(0.9 ** (trainer.method.depths - layer))
            assert (group["weight_decay"] > 0) == ("lora_mix" not in name)
    assert "nothing is shared" not in trainer.method.title + trainer.describe()
    one = make_trainer({"tuab": corpora["tuab"]}, tmp_path / "one", adapter__sharing="shared")
    assert "one low-rank adapter for all tasks (here one task, so nothing is shared)" in (
        one.describe()
    )


@pytest.mark.parametrize("sharing", ["pool", pytest.param("shared+own", marks=pytest.mark.slow)])
def test_resumed_equals_uninterrupted(sharing, corpora, tmp_path):
    def start(folder, **options):
        options = {"adapter__sharing": sharing, "optimization__epochs": 2} | options
        return make_trainer(corpora, tmp_path / folder, **options)

    def finish(trainer, epochs=2):
        trainer.resume()
        while trainer.progress.epoch < epochs:
            trainer.train_epoch()
            trainer.finish_epoch()
            trainer.save_checkpoint()

    whole, first = start("whole"), start("parts")
    finish(whole)
    finish(first, 1)
    with pytest.raises(CheckpointError, match=r"adapter\.sharing: checkpoint .*, now 'absent'"):
        start("parts", adapter__sharing="own").resume()
    again = start("parts")
    finish(again)
    expected, found = outcome(whole), outcome(again)
    assert expected.keys() == found.keys() and any("_shared" in n or "_mix" in n for n in found)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
