"""Joint training on a GPU: nothing waits, gradients are the CPU's, float16 has its scaler."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from on_gpu import ON_GPU, accelerator_in, exact, nothing_waited_for, peak_mb
from tiny_corpora import save_corpora
from training_program import TASKS, fill_adapters, make_trainer, outcome, run

from modeling_mteeg.data import load_corpora
from modeling_mteeg.data.loading import JointBatches

pytestmark = ON_GPU
SIZES = {"tuab": (32, 8, 8), "seed-v": (27, 9, 9), "sleep-edf": (11, 6, 6)}
PLAIN = {"model__drop_path": 0.0, "adapter__dropout": 0.0}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, TASKS)


def one_step(trainer, step: int = 0) -> torch.Tensor:
    """A step's losses, of batches as the training reads them."""
    pinned = trainer.accelerator.device.type == "cuda"
    batches = JointBatches(trainer.corpora, trainer.plan(0), prefetch=0, pin_memory=pinned)
    losses = trainer.train_step([batches.batch(step)], trainer.plan(0).counts(step))
    trainer.progress.step += 1
    return losses


def gradients(trainer) -> dict[str, torch.Tensor]:
    plan = trainer.plan(0)
    batches = JointBatches(trainer.corpora, plan, prefetch=0)
    trainer.compute_gradients([batches.batch(0)], plan.counts(0))
    scale = trainer._loss_scale
    found = {name: p.grad.cpu() / scale for name, p in trainer.trainable().items()}
    trainer.optimizer.zero_grad(set_to_none=True)
    return found


def relative_error(found: dict, expected: dict) -> float:
    """Of the whole gradient, as a share of its norm."""
    assert found.keys() == expected.keys()
    whole = torch.cat([value.flatten() for value in expected.values()])
    ours = torch.cat([found[name].flatten() for name in expected])
    return float((ours - whole).norm() / whole.norm())


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("way", [{}, {"method": "hps", "adapter": {}}], ids=["mteeg", "hps"])
def test_a_step_waits_for_nothing(precision, way, corpora, tmp_path):
    trainer = make_trainer(
        corpora, tmp_path, accelerator_in(precision), optimization__clip_norm=1.0, **way
    )
    one_step(trainer)  # kernels are chosen, the optimiser has its state
    plan = trainer.plan(0)
    batches = JointBatches(trainer.corpora, plan, prefetch=0, pin_memory=True).batch(1)
    assert all(value.is_pinned() for batch in batches.values() for value in batch.values())
    with nothing_waited_for():
        trainer.train_step([batches], plan.counts(1))
    assert all(loss > 0 for loss in trainer.values().values())


def test_the_look_at_waiting_notices_what_waits():
    with pytest.raises(RuntimeError), nothing_waited_for():
        torch.ones(3, device="cuda").sum().item()


def test_gradients_are_those_of_the_cpu(corpora, tmp_path):
    def of(accelerator, name):
        trainer = make_trainer(corpora, tmp_path / name, accelerator, **PLAIN)
        fill_adapters(trainer)
        return gradients(trainer)

    with exact():
        ours = of(accelerator_in("no"), "gpu")
    half = of(accelerator_in("bf16"), "bf16")
    scaled = of(accelerator_in("fp16"), "fp16")
    AcceleratorState._reset_state(reset_partial_state=True)
    expected = of(Accelerator(cpu=True), "cpu")
    AcceleratorState._reset_state(reset_partial_state=True)
    assert relative_error(ours, expected) < 1e-4
    assert 1e-5 < relative_error(half, expected) < 0.1
    assert 1e-6 < relative_error(scaled, expected) < 0.05


def test_a_step_that_overflows_in_float16_leaves_all_as_it_was(corpora, tmp_path):
    trainer = make_trainer(corpora, tmp_path, accelerator_in("fp16"), **PLAIN)
    scaler = trainer.accelerator.scaler
    one_step(trainer)
    before = {name: p.detach().clone() for name, p in trainer.trainable().items()}
    scaler._scale.fill_(2.0**100)  # every gradient is infinite
    one_step(trainer, 1)
    after = trainer.trainable()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert scaler.get_scale() == 2.0**99
    scaler._scale.fill_(2.0**10)
    one_step(trainer, 2)
    assert any(not torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_training_that_was_cut_goes_on_to_the_bit(precision, corpora, tmp_path):
    """Random values are those of (seed, step), so there is no state of a generator to keep."""
    with exact():
        whole = make_trainer(corpora, tmp_path / "whole", accelerator_in(precision))
        run(whole)
        cut = make_trainer(corpora, tmp_path / "cut", accelerator_in(precision))
        for step, (parts, place) in enumerate(cut.steps()):
            cut.train_step(parts, place)
            if step == 2:  # a checkpoint was written after two
                break
        torch.manual_seed(123)
        torch.rand(1000, device="cuda")
        again = make_trainer(corpora, tmp_path / "cut", accelerator_in(precision))
        run(again)
    expected, found = outcome(whole), outcome(again)
    assert not [name for name in expected if not torch.equal(expected[name], found[name])]
    if precision == "fp16":
        scalers = whole.accelerator.scaler, again.accelerator.scaler
        assert scalers[0].state_dict() == scalers[1].state_dict()


def test_a_checkpoint_goes_from_the_cpu_to_the_gpu_and_back(corpora, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    trainer = make_trainer(corpora, tmp_path, Accelerator(cpu=True))
    for kind in ("cuda", "cpu", "cuda"):
        trainer.train_epoch()
        trainer.finish_epoch()
        trainer.save_checkpoint()
        if trainer.finished:
            break
        AcceleratorState._reset_state(reset_partial_state=True)
        trainer = make_trainer(corpora, tmp_path, Accelerator(cpu=kind == "cpu"))
        assert trainer.resume() and trainer.accelerator.device.type == kind
        groups = trainer.optimizer.param_groups
        assert {group["fused"] for group in groups} == {True if kind == "cuda" else None}
    AcceleratorState._reset_state(reset_partial_state=True)
    assert trainer.progress.epoch == 3


def test_bounded_passes_take_less_memory_and_steps_leave_none_behind(corpora, tmp_path):
    many = {"optimization__batch_size": 70, "optimization__epochs": 3}
    whole = make_trainer(corpora, tmp_path / "a", accelerator_in("no"), **many)
    bounded = make_trainer(
        corpora, tmp_path / "b", accelerator_in("no"), optimization__max_tokens=60, **many
    )
    peaks = []
    for trainer in (whole, bounded):
        one_step(trainer)
        trainer.progress.step = 0
        peaks.append(peak_mb(lambda trainer=trainer: one_step(trainer)))
        trainer.progress.step = 0
    assert peaks[1] < 0.6 * peaks[0], peaks
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    for _ in range(3):
        one_step(whole)
        whole.progress.step = 0
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= held + 2**16
