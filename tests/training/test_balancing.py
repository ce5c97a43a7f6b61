"""Rules that balance tasks: totals, bounds, plans after a kill, and what the weights learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny_corpora import save_corpora
from training_program import (
    TASKS,
    fill_adapters,
    make_config,
    make_trainer,
    outcome,
    run,
    step_gradients,
)

from modeling_mteeg.data import load_corpora
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.balancing import (
    BalancingOptions,
    ProgressRule,
    UncertaintyWeights,
    shared_out,
)
from modeling_mteeg.training.console import epoch_line

SIZES = {"tuab": (32, 8, 8), "seed-v": (27, 9, 9), "sleep-edf": (10, 6, 6)}
PLAIN = {"model__drop_path": 0.0, "adapter__dropout": 0.0}
FIXED = {"tuab": 40, "seed-v": 100, "sleep-edf": 7}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def corpora(data):
    return load_corpora(data, TASKS)


def history_of(*losses, monitors=None, cards=None):
    """Epochs with training losses by task, in the order of ``FIXED``."""
    entries = [{"train_loss": dict(zip(FIXED, values, strict=True))} for values in losses]
    for entry, values in zip(entries, monitors or (), strict=False):
        entry["validation"] = {
            task: {cards[task].monitor: value} for task, value in zip(FIXED, values, strict=True)
        }
    return entries


@pytest.mark.parametrize("seed", range(40))
def test_shares_have_the_total_and_keep_their_bounds(seed):
    source = np.random.default_rng(seed)
    names = [f"t{n}" for n in range(source.integers(1, 8))]
    fixed = {name: int(source.integers(1, 500)) for name in names}
    wanted = {name: float(fixed[name] * source.lognormal(0, 2)) for name in names}
    low = {name: max(1, number // 4) for name, number in fixed.items()}
    high = {name: 2 * number for name, number in fixed.items()}
    total = sum(fixed.values())
    found = shared_out(total, wanted, low, high)
    assert sum(found.values()) == total
    assert all(low[name] <= found[name] <= high[name] for name in names)
    # Those that no bound holds stand to each other as was wanted.
    free = [n for n in names if low[n] < found[n] < high[n]]
    factors = [found[n] / wanted[n] for n in free]
    for name, factor in zip(free, factors, strict=True):
        assert abs(factor - factors[0]) <= 1.01 / wanted[name] + 1.01 / wanted[free[0]]
    # Nobody is at the upper bound while one that wants more of its bound is not.
    assert shared_out(total, {n: 1e6 * w for n, w in wanted.items()}, low, high) == found


def test_a_task_that_has_come_less_far_gets_more():
    rule = ProgressRule(BalancingOptions(rule="progress"), FIXED, {})
    first = history_of((0.7, 1.6, 1.1))
    assert rule.next_samples(first) == FIXED  # nobody is ahead yet
    later = [*first, *history_of((0.14, 1.6, 1.1))]
    assert rule.left(later) == {"tuab": 0.2, "seed-v": 1.0, "sleep-edf": 1.0}
    found = rule.next_samples(later)
    assert sum(found.values()) == sum(FIXED.values())
    assert found["tuab"] < FIXED["tuab"] and found["seed-v"] > FIXED["seed-v"]
    # 40 * 0.2 : 100 : 7 of 147; the bound of 0.25 is below the 10 that tuab gets
    assert found == {"tuab": 10, "seed-v": 128, "sleep-edf": 9}
    undefined = [*first, *history_of((math.nan, 1.6, 1.1))]
    assert rule.next_samples(undefined) == FIXED


def test_a_small_task_keeps_a_sample_and_none_passes_its_bound():
    fixed = {"tuab": 1, "seed-v": 1000, "sleep-edf": 2}
    rule = ProgressRule(BalancingOptions(rule="progress", least=0.01, strength=9.0), fixed, {})
    found = rule.next_samples([*history_of((1, 1, 1)), *history_of((0, 1, 0.001))])
    assert found == {"tuab": 1, "seed-v": 1001, "sleep-edf": 1}
    found = rule.next_samples([*history_of((1, 1, 1)), *history_of((1, 0.001, 1))])
    assert found == {"tuab": 2, "seed-v": 997, "sleep-edf": 4}


def test_by_validation_the_best_so_far_counts(corpora):
    cards = {task: corpora[task].card for task in FIXED}
    rule = ProgressRule(BalancingOptions(rule="progress", signal="validation"), FIXED, cards)
    monitors = [(0.5, 0.0, 0.2), (0.9, 0.5, math.nan), (0.6, 0.4, 0.1)]
    history = history_of(*[(1, 1, 1)] * 3, monitors=monitors, cards=cards)
    assert rule.left(history) == {"tuab": 0.2, "seed-v": 0.5, "sleep-edf": 1.0}


PROGRESS = {"balancing": {"rule": "progress", "most": 3.0}, "optimization__epochs": 4,
            "optimization__lr": 0.03, "checkpoint__every_steps": 5,
            "optimization__class_weights": "balanced",
            "sampling": {"tuab": {"negative_fraction": 0.5}}}  # fmt: skip


@pytest.fixture(scope="module")
def whole(corpora, tmp_path_factory):
    trainer = make_trainer(corpora, tmp_path_factory.mktemp("whole"), **PROGRESS)
    run(trainer)
    return trainer


def test_every_epoch_has_as_many_samples_and_steps_and_the_ones_that_it_tells(whole, corpora):
    history, fixed = whole.progress.history, whole.progress_rule.fixed
    total = sum(fixed.values())
    assert history[0]["samples"] == history[0]["next_samples"] == fixed
    assert history[2]["next_samples"] != fixed and "next_samples" not in history[3]
    for epoch, entry in enumerate(history):
        plan = whole.plan(epoch)
        assert plan.drawn == entry["samples"] and plan.num_steps == whole.steps_per_epoch
        assert sum(entry["samples"].values()) == total
        if epoch:
            assert entry["samples"] == history[epoch - 1]["next_samples"]
            again = whole.progress_rule.next_samples(history[:epoch])
            assert again == entry["samples"], "a function of the history alone"
        for task in TASKS:
            rows = np.concatenate([plan.step_indices(s)[task] for s in range(plan.num_steps)])
            labels = corpora[task].splits["train"].labels
            times = np.bincount(rows, minlength=len(labels))
            of_a_class = [times[labels == 0], times[labels == 1]] if task == "tuab" else [times]
            assert all(some.max() - some.min() <= 1 for some in of_a_class), "none twice too early"
            bounds = whole.progress_rule.low[task], whole.progress_rule.high[task]
            assert bounds[0] <= len(rows) <= bounds[1]
    line = epoch_line(history[2], 0, whole.cards)
    assert f"seed-v {history[2]['next_samples']['seed-v']}" in line
    said = whole.settings()["balancing"]
    assert f"seed-v {fixed['seed-v']} to {history[-1]['samples']['seed-v']}" in said
    with pytest.raises(IndexError):
        whole.plan(9)


class Stop(Exception):
    """Stands for a kill."""


def stopped(trainer, steps):
    """The loop, killed after so many steps."""
    real, left = trainer.train_step, iter(range(steps))

    def train_step(*step):
        if next(left, None) is None:
            raise Stop
        return real(*step)

    trainer.train_step = train_step
    with pytest.raises(Stop):
        run(trainer)


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_it_goes_on_with_the_same_samples_from_a_stream_too(
    corpora, data, tmp_path, whole
):
    stopped(make_trainer(corpora, tmp_path, **PROGRESS), 3 * whole.steps_per_epoch + 3)
    last = make_trainer(load_corpora(data, TASKS, streaming=True), tmp_path, **PROGRESS)
    assert last.resume("always") and (last.progress.epoch, last.progress.step) == (3, 0)
    run(last)
    expected, found = outcome(whole), outcome(last)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert last.progress == whole.progress


def test_constant_losses_give_weights_of_one_over_the_loss():
    losses = {"tuab": 0.5, "seed-v": 2.0}
    learned = UncertaintyWeights(tuple(losses), torch.device("cpu"))
    assert learned.weights() == dict.fromkeys(losses, 1.0)
    group = learned.group(1.0)
    assert group["weight_decay"] == 0
    optimizer = torch.optim.SGD(group["params"], lr=0.5)
    for step in range(200):
        optimizer.zero_grad()
        sum(learned.weighted(t, torch.tensor(v)) for t, v in losses.items()).backward()
        if not step:  # d/ds (exp(-s) L + s) at s = 0
            found = [p.grad.item() for p in learned.parameters.values()]
            assert found == pytest.approx([1 - value for value in losses.values()])
        optimizer.step()
    for task, value in losses.items():
        s = learned.parameters[f"log_variances.{task}"].item()
        assert s == pytest.approx(math.log(value), abs=1e-4)
        assert learned.weights()[task] == pytest.approx(1 / value, rel=1e-4)


UNCERTAIN = {"balancing__rule": "uncertainty"}


@pytest.mark.parametrize("parts", [1, 3])
def test_a_step_has_the_gradients_of_the_weighted_losses(corpora, tmp_path, parts):
    weighted = {"optimization__task_weights": {"tuab": 0.5}}
    learned = make_trainer(corpora, tmp_path, **UNCERTAIN, **PLAIN, **weighted,
                           optimization__gradient_accumulation=parts)  # fmt: skip
    values = dict(zip(TASKS, (0.4, -0.3, 0.9), strict=True))
    with torch.no_grad():
        for task, value in values.items():
            learned.uncertainty.parameters[f"log_variances.{task}"].fill_(value)
    factors = {t: math.exp(-v) * (0.5 if t == "tuab" else 1) for t, v in values.items()}
    plain = make_trainer(corpora, tmp_path, optimization__task_weights=factors, **PLAIN)
    for trainer in (learned, plain):
        fill_adapters(trainer)
    found, expected = step_gradients(learned), step_gradients(plain)
    for name, gradient in expected.items():
        scale = gradient.abs().max().clamp(min=1e-8)
        assert (found[name] - gradient).abs().max() <= 1e-4 * scale, name
    learned.model.double()  # as step_gradients computes
    losses = learned.compute_gradients(
        [batch_of(learned, part) for part in range(parts)], learned.plan(0).counts(0)
    )
    for task, loss in zip(TASKS, losses.tolist(), strict=True):
        closed = (1 - math.exp(-values[task]) * loss) * (0.5 if task == "tuab" else 1)
        grad = found[f"log_variances.{task}"].item()
        assert grad == pytest.approx(closed, abs=1e-5)


def batch_of(trainer, part):
    from modeling_mteeg.data import JointBatches

    return JointBatches(trainer.corpora, trainer.plan(0), prefetch=0).batch(0, part)


@pytest.mark.slow
def test_learned_weights_go_on_after_a_kill_and_are_not_in_the_model(corpora, tmp_path):
    options = {**UNCERTAIN, "optimization__epochs": 2, "optimization__clip_norm": 0.5,
               "checkpoint__every_steps": 4}  # fmt: skip
    whole = make_trainer(corpora, tmp_path / "whole", **options)
    run(whole)
    stopped(make_trainer(corpora, tmp_path / "parts", **options), 6)
    last = make_trainer(corpora, tmp_path / "parts", **options)
    run(last)
    expected, found = outcome(whole), outcome(last)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert last.progress == whole.progress
    weights = whole.progress.history[-1]["loss_weights"]
    assert weights == whole.uncertainty.weights() and 1.0 not in weights.values()
    assert f"tuab {weights['tuab']:.3g}" in whole.settings()["balancing"]
    assert f"tuab {weights['tuab']:.3f}" in epoch_line(whole.progress.history[-1], 0, whole.cards)
    assert not any("log_variance" in name for name in whole.model.state_dict())


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"balancing__rule": "progres"}, "did you mean 'progress'"),
        ({"balancing__rule": "progress", "balancing__least": 1.5}, "balancing.least: expected"),
        ({"balancing__rule": "progress", "balancing__least": 0.0}, "balancing.least: expected"),
        ({"balancing__rule": "progress", "balancing__most": 0.5}, "balancing.most: expected"),
        ({"balancing__rule": "progress", "method": "band-power"}, "fitted at once"),
        ({"balancing__rule": "uncertainty", "method": "linear-probe"}, "share nothing"),
        ({"balancing__signal": "validation"}, "set rule: progress"),
        ({"balancing__rule": "progress", "balancing__lr_scale": 2.0}, "set rule: uncertainty"),
        ({"balancing__rule": "uncertainty", "data__tasks": ["tuab"]}, "found one"),
        ({"gradients__every_steps": 0}, "gradients.every_steps: expected"),
    ],
)
def test_what_is_wrong_is_said(options, part):
    with pytest.raises(ConfigError) as caught:
        make_config(**options, adapter={}, model__drop_path=0.0)
    assert any(part in fault for fault in caught.value.faults), caught.value.faults


def test_at_their_defaults_the_sections_are_no_part_of_a_training_s_identity():
    plain = make_config()
    assert not any(key.startswith(("balancing", "gradients")) for key in plain.identity())
    told = make_config(gradients__every_steps=5)
    assert told.identity() == plain.identity()
    assert "balancing.rule" in make_config(balancing__rule="progress").identity()
