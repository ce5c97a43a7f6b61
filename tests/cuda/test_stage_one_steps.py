"""Steps of stage one on a GPU: nothing waits, gradients are the CPU's, and codes move alike."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from on_gpu import ON_GPU, accelerator_in, exact, nothing_waited_for
from stage_one_program import finish, make_trainer, outcome
from tiny_unlabelled import save_unlabelled

pytestmark = ON_GPU
KINDS = ("tokenizer", "masked")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", dtype="int16")


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_waits_for_nothing(kind, precision, data, tmp_path):
    trainer = make_trainer(kind, data, tmp_path, accelerator_in(precision))
    batches = trainer.batches("train", trainer.plan(0))
    for _ in range(2):  # k-means, the choice of kernels
        trainer.train_step([batches.part(trainer.progress.step)], batches)
        trainer.progress.step += 1
    part = batches.part(2)
    assert all(value.is_pinned() for batch in part.groups for value in batch.inputs.values())
    with nothing_waited_for():
        trainer.train_step([part], batches)
    assert trainer.values()["loss"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_of_the_first_step_are_those_of_the_cpu(kind, data, tmp_path):
    def first(accelerator, name):
        options = {"model__drop_path": 0.0} if kind == "masked" else {}
        trainer = make_trainer(kind, data, tmp_path / name, accelerator, **options)
        batches = trainer.batches("train", trainer.plan(0))
        losses = trainer.compute_gradients([batches.part(0)], trainer.place(batches, 0))
        gradient = [p.grad.flatten().cpu() for p in trainer.trainable().values()]
        return float(losses["loss"]), torch.cat(gradient)

    with exact():
        loss, gradient = first(accelerator_in("no"), "gpu")
    AcceleratorState._reset_state(reset_partial_state=True)
    expected, theirs = first(Accelerator(cpu=True), "cpu")
    AcceleratorState._reset_state(reset_partial_state=True)
    # A token halfway between two codes may take the other one.
    assert loss == pytest.approx(expected, rel=1e-2)
    assert (gradient - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_trainings_of_one_seed_are_the_same_to_the_bit(kind, precision, data, tmp_path):
    with exact():
        trainers = [
            make_trainer(kind, data, tmp_path / name, accelerator_in(precision)) for name in "ab"
        ]
        histories = [finish(trainer) for trainer in trainers]
    assert histories[0] == histories[1]
    expected, found = map(outcome, trainers)
    assert not [name for name in expected if not torch.equal(expected[name], found[name])]
