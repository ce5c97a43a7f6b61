"""Comparing the tasks' gradients: what comes out, and that the training does not notice."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_corpora import save_corpora
from torch import nn
from training_program import TASKS, fill_adapters, make_trainer, outcome, run, step_gradients

from modeling_mteeg.data import load_corpora, model_inputs
from modeling_mteeg.model.modeling_mteeg import task_loss
from modeling_mteeg.pictures.gradient_conflicts import draw_conflicts
from modeling_mteeg.training.conflict_record import (
    ConflictRecordError,
    conflicts_of,
    read_conflicts,
    save_conflicts,
)
from modeling_mteeg.training.gradient_comparison import GradientComparison

SIZES = {"tuab": (32, 8, 8), "seed-v": (27, 9, 9), "sleep-edf": (10, 6, 6)}
ALONE = SimpleNamespace(
    num_processes=1, device=torch.device("cpu"), reduce=lambda tensor, reduction: tensor
)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, TASKS)


class Products:
    """A shared weight (5,), a weight of task a alone, and losses that are dot products."""

    def __init__(self):
        self.module = nn.ParameterDict(
            {"shared": torch.zeros(5), "a": torch.ones(5), "unused": torch.zeros(2)}
        )
        self.module.register_buffer("seen", torch.zeros(()))

    def task_of(self, name):
        return "a" if name == "a" else None

    def losses(self, batches):
        self.module.seen += 1  # as a running mean would
        weights = {t: self.module["a"] if t == "lone" else self.module["shared"] + self.module["a"]
                   for t in batches}  # fmt: skip
        return {t: (b["x"] @ weights[t]).mean() for t, b in batches.items()}


def compared(values, counts=None, scale=1.0, passes=lambda batches: [batches]):
    """The one measurement for windows (n, 5) by task."""
    method = Products()
    comparison = GradientComparison(method, tuple(values), 1)
    batches = {t: {"x": x, "labels": torch.zeros(len(x))} for t, x in values.items() if len(x)}
    counts = counts or {task: len(x) for task, x in values.items()}
    comparison.add(batches, counts, method.losses, passes, scale)
    told = comparison.finish(0, 7, counts, ALONE, scale)
    assert method.module.seen == 0, "buffers are as they were"
    assert all(p.grad is None and p.requires_grad for p in method.module.parameters())
    return comparison.measurements[0], told


def test_a_task_agrees_with_itself_and_with_its_double_and_not_with_its_mirror():
    x, other = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    found, told = compared({"a": x, "double": 3 * x, "mirror": -x, "other": other, "idle": x[:0]})
    cosines = found["cosines"]
    a, b = x.mean(0).double(), other.mean(0).double()
    expected = float(a @ b / a.norm() / b.norm())
    for row, line in enumerate(
        [[1, 1, -1, expected], [1, 1, -1, expected], [-1, -1, 1, -expected]]
    ):
        assert cosines[row][:4] == pytest.approx(line, abs=1e-5)
    assert all(row[4] is None for row in cosines) and cosines[4] == [None] * 5
    norm = float(a.norm())
    assert found["norms"][:3] == pytest.approx([norm, 3 * norm, norm], rel=1e-5)
    assert found["norms"][4] is None and (found["epoch"], found["step"]) == (0, 7)
    assert told["gradients/cosine/a/mirror"] == pytest.approx(-1)
    negative = 2 + 1 if expected > 0 else 2 + 2
    assert told["gradients/negative_pairs"] == negative / 6


def test_passes_and_a_scale_of_the_loss_change_nothing():
    x, y = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    whole, _ = compared({"a": x, "b": y})

    def halves(batches):
        ((task, batch),) = batches.items()
        cut = lambda part: {task: {key: value[part] for key, value in batch.items()}}  # noqa: E731
        return [cut(slice(0, 2)), cut(slice(2, None))]

    cut, _ = compared({"a": x, "b": y}, scale=1024.0, passes=halves)
    assert np.allclose(cut["cosines"], whole["cosines"], atol=1e-6)
    assert np.allclose(cut["norms"], whole["norms"], rtol=1e-5)


def test_a_gradient_of_zero_has_no_direction():
    found, told = compared({"a": torch.ones(2, 5), "b": torch.zeros(2, 5)})
    lone, _ = compared({"a": torch.ones(2, 5), "lone": torch.ones(2, 5)})  # shares nothing
    assert lone == found
    assert found["norms"][1] is None and found["cosines"][0][1] is None
    assert found["cosines"][0][0] == pytest.approx(1) and told == {}


@pytest.mark.parametrize("method", ["mteeg", "hps"])
@pytest.mark.parametrize("parts", [1, 2])
def test_cosines_are_those_of_every_task_s_mean_loss(corpora, tmp_path, method, parts):
    trainer = make_trainer(
        corpora, tmp_path, method=method, adapter={}, model__drop_path=0.0,
        gradients__every_steps=1, optimization__gradient_accumulation=parts,
        optimization__max_tokens=40 * parts,
    )  # fmt: skip
    fill_adapters(trainer)
    step_gradients(trainer)
    found = trainer.conflicts.measurements[0]
    shared = [p for n, p in trainer.trainable().items() if trainer.method.task_of(n) is None]
    names = {n.partition(".")[0] for n in trainer.conflicts.shared}
    assert names == {"temporal_encoder"} if method == "mteeg" else "layers" in names
    gradients = []
    for task, rows in trainer.plan(0).step_indices(0).items():
        card = trainer.cards[task]
        batch = model_inputs(corpora[task].splits["train"], card, rows)
        labels = batch.pop("labels")
        loss = task_loss(card, trainer.model(**batch, task=task).logits, labels, 0.1)
        grads = torch.autograd.grad(loss, shared, allow_unused=True)
        flat = [
            (torch.zeros_like(p) if g is None else g).flatten()
            for g, p in zip(grads, shared, strict=True)
        ]
        gradients.append(torch.cat(flat).double())
    order = [list(trainer.plan(0).tasks).index(task) for task in TASKS]
    stacked = torch.stack([gradients[n] for n in order])
    norms = stacked.norm(dim=1)
    expected = (stacked @ stacked.T / norms[:, None] / norms).numpy()
    assert np.allclose(found["cosines"], expected, atol=1e-4)
    assert np.allclose(found["norms"], norms.numpy(), rtol=1e-4)
    assert abs(expected[0, 1]) < 0.999


RANDOM = {"augmentation": {"noise": 0.1, "time_shift_s": 0.1}, "optimization__epochs": 2,
          "optimization__gradient_accumulation": 2, "checkpoint__every_steps": 4}  # fmt: skip


@pytest.fixture(scope="module")
def whole(corpora, tmp_path_factory):
    """A training with everything random in it that compares every second step."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = make_trainer(corpora, folder, gradients__every_steps=2, **RANDOM)
    run(trainer)
    return trainer


def test_a_training_is_the_same_to_the_bit_with_and_without_it(corpora, tmp_path, whole):
    plain = make_trainer(corpora, tmp_path, **RANDOM)
    run(plain)
    assert len(whole.conflicts.measurements) == whole.global_step // 2 > 4
    expected, found = outcome(plain), outcome(whole)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert whole.progress == plain.progress


class Stop(Exception):
    """Stands for a kill."""


def test_a_resumed_training_has_the_same_record(corpora, tmp_path, whole):
    options = {"gradients__every_steps": 2, **RANDOM}
    first = make_trainer(corpora, tmp_path, **options)
    real, left = first.train_step, iter(range(5))

    def train_step(*step):
        if next(left, None) is None:
            raise Stop
        return real(*step)

    first.train_step = train_step
    with pytest.raises(Stop):
        run(first)
    last = make_trainer(corpora, tmp_path, **options)
    run(last)
    assert last.conflicts.measurements == whole.conflicts.measurements
    # It decides nothing that is trained, so that it may be turned off, or on, half-way.
    assert make_trainer(corpora, tmp_path, **RANDOM).resume("always")


def test_what_is_saved_can_be_read_and_sums_up(tmp_path, whole):
    trainer = whole
    save_conflicts(tmp_path, trainer.conflicts)
    assert (tmp_path / "gradient_conflicts.png").stat().st_size > 10_000
    read, kept = read_conflicts(tmp_path), conflicts_of(trainer.conflicts)
    assert (read.tasks, read.shared_parts) == (TASKS, ("temporal_encoder",))
    assert np.array_equal(read.cosines, kept.cosines, equal_nan=True)
    cosines = read.cosines[:, [1, 2, 2], [0, 0, 1]]  # (n, pairs)
    summary = read.summary()
    assert summary.pairs == cosines.size and summary.measurements == len(cosines)
    assert summary.negative_pairs == pytest.approx((cosines < 0).mean())
    assert summary.mean_cosine[2, 1] == pytest.approx(cosines[:, 2].mean())
    assert summary.negative_share[0, 1] == pytest.approx((cosines[:, 0] < 0).mean())
    written = json.loads((tmp_path / "conflicts.json").read_text())
    assert [entry["epoch"] for entry in written["by_epoch"]] == [0, 1]
    assert sum(entry["pairs"] for entry in written["by_epoch"]) == written["overall"]["pairs"]
    said = trainer.settings()["gradients of tasks"]
    assert f"{summary.negative_pairs:.0%} of {summary.pairs} pairs negative" in said
    (tmp_path / "conflicts.json").write_text('{"format": 1, "tasks": ["a"]}')
    with pytest.raises(ConflictRecordError, match="no record of a gradient comparison"):
        read_conflicts(tmp_path)
    save_conflicts(tmp_path, None)
    with pytest.raises(FileNotFoundError):
        read_conflicts(tmp_path)


def test_where_nothing_is_shared_nothing_is_compared(corpora, tmp_path):
    for number, options in enumerate([{"train_temporal_encoder": False}, {"one": True}]):
        some = {"tuab": corpora["tuab"]} if options.pop("one", False) else corpora
        trainer = make_trainer(some, tmp_path / str(number), gradients__every_steps=1, **options)
        trainer.train_epoch()
        assert trainer.conflicts.measurements == []
        assert "not compared" in trainer.describe()


def test_the_picture_has_a_number_for_every_pair_and_none_for_a_task_with_itself():
    cosines = np.array([[1, -0.25, np.nan], [-0.25, 1, 0.5], [np.nan, 0.5, 1]])
    shares = np.array([[0, 0.75, np.nan], [0.75, 0, 0.1], [np.nan, 0.1, 0]])
    figure = draw_conflicts(("a", "b", "c$x"), cosines, shares, 0.5, "mteeg")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["", "-0.25\n75% < 0", "none", "-0.25\n75% < 0", "", "+0.50\n10% < 0", "none",
                     "+0.50\n10% < 0", ""]  # fmt: skip
    assert "50% of all pairs negative" in figure.axes[0].get_title()
