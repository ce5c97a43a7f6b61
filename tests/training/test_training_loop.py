"""The loop in one process: gradients, idle tasks, resuming."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
import torch
from tiny_corpora import save_corpora
from training_program import (
    TASKS,
    fill_adapters,
    make_trainer,
    outcome,
    run,
    step_gradients,
)

from modeling_mteeg.data import load_corpora, model_inputs
from modeling_mteeg.model.modeling_mteeg import task_loss
from modeling_mteeg.training import core, selected_training
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.launch import TrainingError

SIZES = {"tuab": (32, 8, 8), "seed-v": (27, 9, 9), "sleep-edf": (10, 6, 6)}
PLAIN = {"model__drop_path": 0.0, "adapter__dropout": 0.0}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, TASKS)


def assert_close(found, expected, relative=1e-5):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name] is None) == (tensor is None), name
        if tensor is not None:
            scale = tensor.abs().max().clamp(min=1e-8)
            assert (found[name] - tensor).abs().max() <= relative * scale, name


def plain_gradients(trainer, step):
    """Gradients of the step by the definition: mean loss of every task, added up."""
    rows = trainer.plan(0).step_indices(step)
    trainer.model.double().train()
    total = 0.0
    for task, indices in rows.items():
        card = trainer.cards[task]
        batch = model_inputs(trainer.corpora[task].splits["train"], card, indices)
        labels = batch.pop("labels")
        logits = trainer.model(**batch, task=task).logits
        weight = trainer.options.task_weights.get(task, 1.0)
        total = total + weight * task_loss(card, logits, labels, trainer.options.label_smoothing)
    total.backward()
    found = {name: p.grad for name, p in trainer.trainable().items()}
    trainer.model.zero_grad(set_to_none=True)
    trainer.model.float()
    return found


@pytest.mark.parametrize("method", ["mteeg", "full"])
def test_a_step_has_the_gradients_of_the_sum_of_mean_losses(corpora, tmp_path, method):
    options = {"method": method, "optimization__task_weights": {"tuab": 0.5, "sleep-edf": 3.0}}
    if method == "mteeg":
        options["adapter__dropout"] = 0.0
    else:
        options["adapter"] = {}
    trainer = make_trainer(corpora, tmp_path, model__drop_path=0.0, **options)
    fill_adapters(trainer)
    for step in (0, 2):
        assert_close(step_gradients(trainer, step), plain_gradients(trainer, step))


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_of_a_step_change_the_gradients_by_rounding_only(corpora, tmp_path, parts):
    split = make_trainer(corpora, tmp_path, **PLAIN, optimization__gradient_accumulation=parts)
    whole = make_trainer(corpora, tmp_path, **PLAIN)
    assert split.steps_per_epoch == whole.steps_per_epoch
    for trainer in (split, whole):
        fill_adapters(trainer)
    for step in (0, 1):
        ours, theirs = split.plan(0).step_indices(step), whole.plan(0).step_indices(step)
        assert all(sorted(ours[task]) == sorted(theirs[task]) for task in theirs)
        assert_close(step_gradients(split, step), step_gradients(whole, step))


@pytest.mark.parametrize("bound", [1, 40, 100])
def test_bounded_passes_change_the_gradients_by_rounding_only(corpora, tmp_path, bound):
    bounded = make_trainer(corpora, tmp_path, **PLAIN, optimization__max_tokens=bound)
    whole = make_trainer(corpora, tmp_path, **PLAIN)
    for trainer in (bounded, whole):
        fill_adapters(trainer)
    assert_close(step_gradients(bounded), step_gradients(whole))


def test_all_tasks_and_the_temporal_encoder_move(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, optimization__epochs=1)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trained = set(trainer.trainable())
    trainer.train_epoch()
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, before[name]) != (name in trained), name
    for task in TASKS:
        for part in (f".lora_A.{task}.", f".lora_B.{task}.", f"heads.{task}."):
            assert any(part in name for name in trained), part


def test_full_fine_tuning_trains_the_backbone_and_has_no_adapters(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, method="full", adapter={}, optimization__epochs=1)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    assert not any("lora" in name for name in before)
    trainer.train_epoch()
    unmoved = {n for n, p in trainer.model.named_parameters() if torch.equal(p, before[n])}
    # no window is longer than three patches or has more than a few channels, yet decay is off for
    # the tables, so every parameter with a gradient has moved
    assert not unmoved


def test_frozen_temporal_encoder_stays(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, train_temporal_encoder=False, optimization__epochs=1)
    before = {n: p.detach().clone() for n, p in trainer.model.temporal_encoder.named_parameters()}
    trainer.train_epoch()
    for name, parameter in trainer.model.temporal_encoder.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_a_task_without_samples_in_a_step_does_not_drift(tmp_path):
    save_corpora(tmp_path / "data", {"tuab": (60, 4, 4), "sleep-edf": (2, 3, 3)})
    corpora = load_corpora(tmp_path / "data", ("tuab", "sleep-edf"))
    trainer = make_trainer(corpora, tmp_path, optimization__batch_size=4, sampling={})
    plan = trainer.plan(0)
    own = [name for name in trainer.trainable() if ".sleep-edf." in name]
    moved, idle = 0, 0
    for step in range(plan.num_steps):
        before = {name: trainer.trainable()[name].detach().clone() for name in own}
        batches = [
            {
                task: model_inputs(corpora[task].splits["train"], corpora[task].card, rows)
                for task, rows in plan.step_indices(step).items()
                if len(rows)
            }
        ]
        trainer.train_step(batches, plan.counts(step))
        trainer.progress.step += 1
        same = all(torch.equal(trainer.trainable()[name], before[name]) for name in own)
        present = plan.counts(step)["sleep-edf"] > 0
        assert same != present
        moved, idle = moved + present, idle + (moved > 0 and not present)
    assert moved == 2 and idle > 5


class Stop(Exception):
    """Stands for a kill."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "stops"),
    [(1, (1,)), (2, (2, 5)),
     *(pytest.param(parts, stops, marks=pytest.mark.slow)
       for parts, stops in [(1, (3,)), (1, (2, 5)), (2, (3,)), (2, (1,))])],
)  # fmt: skip
def test_resumed_equals_uninterrupted(corpora, tmp_path, stops, parts):
    options = {"optimization__gradient_accumulation": parts, "optimization__batch_size": 8}
    whole = make_trainer(corpora, tmp_path / "whole", **options)
    run(whole)
    assert whole.global_step > 8
    for stop in stops:
        trainer = make_trainer(corpora, tmp_path / "parts", **options)
        real, left = trainer.train_step, iter(range(stop))

        def train_step(*step, real=real, left=left):
            if next(left, None) is None:
                raise Stop
            return real(*step)

        trainer.train_step = train_step
        with pytest.raises(Stop):
            run(trainer)
    last = make_trainer(corpora, tmp_path / "parts", **options)
    run(last)
    expected, found = outcome(whole), outcome(last)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert last.progress == whole.progress
    assert last.evaluate("test") == whole.evaluate("test")


def test_a_finished_training_resumes_to_its_end(corpora, tmp_path):
    first = make_trainer(corpora, tmp_path)
    run(first)
    again = make_trainer(corpora, tmp_path)
    assert again.resume("always") and again.finished
    first.select_best()
    again.select_best()
    assert again.evaluate("test") == first.evaluate("test")


def test_the_selected_weights_are_those_of_the_best_epoch(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, optimization__epochs=4)
    run(trainer)
    scores = [entry["score"] for entry in trainer.progress.history]
    assert trainer.progress.best_epoch == scores.index(max(scores))
    trainer.select_best()
    best = trainer.progress.history[trainer.progress.best_epoch]
    assert trainer.evaluate("validation") == best["validation"]


def test_another_configuration_or_other_data_are_refused(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path)
    trainer.train_epoch()
    trainer.save_checkpoint()
    with pytest.raises(CheckpointError, match=r"optimization\.lr: checkpoint 0\.01, now 0\.02"):
        make_trainer(corpora, tmp_path, optimization__lr=0.02).resume()
    other = make_trainer(corpora, tmp_path)
    other.store.identity["data of tuab"] = {"split_hash": "other"}
    with pytest.raises(CheckpointError, match="data of tuab"):
        other.resume()
    half = make_trainer(corpora, tmp_path)
    half.accelerator = SimpleNamespace(mixed_precision="bf16")  # from accelerate's own settings
    assert "mixed_precision" in half._identity()
    half.store.identity = json.loads(json.dumps(half._identity()))
    half.accelerator = trainer.accelerator
    with pytest.raises(CheckpointError, match="mixed_precision: checkpoint 'no', now 'bf16'"):
        half.resume()
    assert not make_trainer(corpora, tmp_path, optimization__lr=0.02).resume("never")
    with pytest.raises(CheckpointError, match="No intact checkpoint"):
        make_trainer(corpora, tmp_path).resume("always")


def test_the_train_loss_of_an_epoch_counts_every_window_once(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, optimization__lr=1e-30, optimization__min_lr=0.0,
                           optimization__batch_size=7, **PLAIN)  # fmt: skip
    trainer.train_epoch()
    entry = trainer.finish_epoch()
    for task in TASKS:
        card, reader = corpora[task].card, corpora[task].splits["train"]
        rows = next(mix for mix in trainer.mixes if mix.name == task).draw(0, 0)
        batch = model_inputs(reader, card, rows)
        labels = batch.pop("labels")
        logits = trainer.model(**batch, task=task).logits
        expected = task_loss(card, logits, labels, trainer.options.label_smoothing).item()
        assert entry["train_loss"][task] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_no_number_stops_the_training(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path)
    with torch.no_grad():
        trainer.model.heads["seed-v"].bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="seed-v"):
        trainer.train_epoch()
    assert trainer.store.names() == []  # never a checkpoint of it


@pytest.mark.slow
def test_a_file_gets_lines_now_and_then_instead_of_a_bar(corpora, tmp_path, capfd, monkeypatch):
    trainer = make_trainer(corpora, tmp_path, optimization__batch_size=3)
    trainer.train_epoch()
    quiet = capfd.readouterr()
    assert quiet.out == quiet.err == ""  # an epoch of a second needs none
    monkeypatch.setattr(core, "_TELL_EVERY_S", 0.0)
    trainer.finish_epoch()
    capfd.readouterr()
    trainer.train_epoch()
    lines, total = capfd.readouterr().out.splitlines(), sum(trainer.plan(0).drawn.values())
    assert 1 < len(lines) <= trainer.steps_per_epoch
    for line in lines:
        assert re.fullmatch(r"epoch 2/3: \d+ windows, \d+ a second, loss [\d.]+, lr [\d.e-]+", line)
    assert f" {total} windows" in lines[-1]


@pytest.mark.slow
def test_equal_scores_keep_the_earlier_epoch(corpora, tmp_path, monkeypatch):
    trainer = make_trainer(corpora, tmp_path)
    scores = iter([0.25, 0.5, 0.5])
    monkeypatch.setattr(selected_training, "monitor_mean", lambda *results: next(scores))
    run(trainer)
    assert trainer.progress.best_epoch == 1 and trainer.progress.best_score == 0.5


@pytest.mark.parametrize("limit", [None, 1e-3])
def test_gradients_are_clipped_on_request_only(corpora, tmp_path, limit):
    trainer = make_trainer(corpora, tmp_path, optimization__clip_norm=limit)
    norms, real = [], trainer.optimizer.step

    def step():
        grads = [p.grad.flatten() for p in trainer.trainable().values() if p.grad is not None]
        norms.append(torch.cat(grads).norm().item())
        real()

    trainer.optimizer.step = step
    trainer.train_epoch()
    assert len(norms) == trainer.steps_per_epoch
    if limit is None:
        assert min(norms) > 1e-2
    else:
        assert norms == pytest.approx([limit] * len(norms), rel=1e-2)
