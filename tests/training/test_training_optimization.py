"""Parameter groups, the schedule, and parameters without gradient."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from tiny_corpora import CARDS

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.training.joint_config import JointOptimization
from modeling_mteeg.training.optimization import (
    CosineSchedule,
    build_optimizer,
    parameter_groups,
    sum_gradients,
)


@pytest.fixture
def model() -> MteegModel:
    model = MteegModel(MteegConfig.from_preset("tiny", qkv_bias=True))
    for task, card in CARDS.items():
        model.add_adapter(task, card=card)
    return model


def groups_of(model: MteegModel, layer_decay: float) -> list[dict]:
    method = Mteeg(model)
    return parameter_groups(model, 0.05, method.decays, method.depth, method.depths, layer_decay)


def scales(model: MteegModel, layer_decay: float) -> dict[str, float]:
    groups = groups_of(model, layer_decay)
    return {name: group["lr_scale"] for group in groups for name in group["names"]}


@pytest.mark.parametrize("everything", [False, True])
def test_every_trainable_parameter_is_in_exactly_one_group(model, everything):
    model.set_trainable(everything=everything)
    groups = groups_of(model, 0.65)
    found = [id(parameter) for group in groups for parameter in group["params"]]
    wanted = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
    assert sorted(found) == sorted(wanted)


def test_learning_rates_fall_towards_the_input(model):
    model.set_trainable(everything=True)
    found = scales(model, 0.5)
    for name, scale in found.items():
        if name.startswith(("heads.", "fc_norm.")):
            assert scale == 1.0
        elif name.startswith("layers."):
            assert scale == 0.5 ** (3 - int(name.split(".")[1]))
        else:
            assert scale == 0.5**4, name
    adapters = [name for name in found if ".lora_" in name]
    assert adapters and all(
        found[name] == 0.5 ** (3 - int(name.split(".")[1])) for name in adapters
    )


def test_decay_acts_on_matrices_only(model):
    model.set_trainable(everything=True)
    for group in groups_of(model, 0.65):
        for name, parameter in zip(group["names"], group["params"], strict=True):
            free = (
                parameter.ndim == 1
                or name.endswith(".bias")
                or any(word in name for word in ("norm", "gamma", "embedding", "cls_token"))
            )
            assert group["weight_decay"] == (0.0 if free else 0.05), name


def test_an_unknown_parameter_is_an_error_and_so_is_nothing_to_train(model):
    with pytest.raises(ValueError, match="mystery"):
        Mteeg(model).depth("mystery.weight")
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="set_trainable"):
        groups_of(model, 0.65)


def test_schedule_warms_up_peaks_and_ends_at_the_minimum():
    options = JointOptimization(epochs=10, warmup_epochs=2.0, lr=1e-2, min_lr=1e-4)
    schedule = CosineSchedule.from_options(options, steps_per_epoch=5)
    rates = [schedule.at(step) for step in range(50)]
    assert rates[:10] == pytest.approx([1e-3 * (step + 1) for step in range(10)])
    assert max(rates) == rates[9] == 1e-2
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert rates[-1] == pytest.approx(1e-4)
    half = schedule.at(29)  # 20 of 40 steps of the cosine
    assert half == pytest.approx((1e-2 + 1e-4) / 2)
    assert rates[19] == pytest.approx(1e-4 + (1e-2 - 1e-4) * (1 + math.cos(math.pi / 4)) / 2)
    for step in (-1, 50):
        with pytest.raises(ValueError, match="0 to 49"):
            schedule.at(step)


@pytest.mark.parametrize("warmup", [0.0, 2.0])
def test_schedule_without_cosine_or_without_warmup(warmup):
    options = JointOptimization(epochs=2, warmup_epochs=warmup, lr=1.0, min_lr=0.1)
    rates = [CosineSchedule.from_options(options, 3).at(step) for step in range(6)]
    assert all(0 < rate <= 1.0 for rate in rates)
    assert rates[-1] == pytest.approx(1.0 if warmup else 0.1)


def test_schedule_sets_every_group_by_its_scale(model):
    optimizer = build_optimizer(Mteeg(model), JointOptimization(layer_decay=0.5))
    CosineSchedule(1.0, 0.0, 0, 2).apply(optimizer, 0)
    assert {group["lr"] / group["lr_scale"] for group in optimizer.param_groups} == {0.5}


def test_parameters_without_gradient_neither_move_nor_decay(model):
    optimizer = build_optimizer(Mteeg(model), JointOptimization(lr=0.1, layer_decay=1.0))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # every parameter has momentum now
    optimizer.zero_grad(set_to_none=True)
    idle = {name: p.detach().clone() for name, p in model.named_parameters() if ".tuab" in name}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ".tuab" not in name:
            parameter.grad = torch.ones_like(parameter)
    busy = model.heads["seed-v"].weight.detach().clone()
    optimizer.step()
    assert idle and all(
        torch.equal(p, idle[name]) for name, p in model.named_parameters() if name in idle
    )
    assert not torch.equal(model.heads["seed-v"].weight, busy)


class Pair:
    """The first of two processes; the second one's tensors are given."""

    num_processes = 2

    def __init__(self, others: list[torch.Tensor]) -> None:
        self.others = iter(others)

    def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "sum"
        return tensor + next(self.others).reshape(tensor.shape)


def test_gradients_are_summed_and_stay_absent_where_nobody_has_one():
    first, second, third = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    first.grad = torch.tensor([1.0, 2.0])
    others = [torch.tensor([1, 1, 0]), torch.tensor([10.0, 20.0, 30.0, 40.0])]
    sum_gradients([first, second, third], Pair(others))
    assert first.grad.tolist() == [11.0, 22.0]
    assert second.grad.tolist() == [30.0, 40.0]
    assert third.grad is None


def test_one_process_leaves_gradients_alone():
    parameter = torch.nn.Parameter(torch.zeros(2))
    sum_gradients([parameter], SimpleNamespace(num_processes=1))
    assert parameter.grad is None
