"""Stochastic depth leaves rows out on a CPU, and that is a branch multiplied by 0."""

from __future__ import annotations

import pytest
import torch
from tiny_models import assert_same_gradients, batch_of, gradients, model_with_tasks

from modeling_mteeg import MteegConfig
from modeling_mteeg.model.layers import Group, MteegLayer
from modeling_mteeg.model.stochastic_depth import kept_samples

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
TASKS = ("tuab", "seed-v")


def losses_and_gradients(model, multiplied: bool, samples: int = 3) -> tuple[list, dict]:
    """Of one joint pass with the same draws; attention weights want the branch multiplied."""
    torch.manual_seed(3)
    tasks = {task: batch_of(task, samples) for task in TASKS}
    outputs = model(tasks=tasks, output_attentions=multiplied).values()
    sum(out.loss for out in outputs).backward()
    return [out.loss.detach() for out in outputs], gradients(model)


@pytest.mark.parametrize("settings", [{}, {"layer_scale_init": None}], ids=["scale", "no-scale"])
@pytest.mark.parametrize("rate", [0.3, 0.7, 0.999], ids=str)
@pytest.mark.parametrize("all_trained", [False, True], ids=["adapters", "everything"])
def test_leaving_rows_out_is_multiplying_them_by_zero(rate, all_trained, settings):
    model = model_with_tasks(*TASKS, drop_path_rate=rate, num_hidden_layers=3, **settings).train()
    for parameter in model.parameters() if all_trained else ():
        parameter.requires_grad_(True)
    (losses, found), (wanted, expected) = (
        losses_and_gradients(model, multiplied) for multiplied in (False, True)
    )
    assert all(torch.allclose(a, b, **CLOSE) for a, b in zip(losses, wanted, strict=True))
    # The same parameters have a gradient, of zero where all samples of a task skip a layer.
    assert found.keys() == expected.keys()
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("merging", [False, True], ids=["factored", "merged"])
def test_a_task_whose_samples_all_skip_a_branch_has_a_gradient_of_zero(merging, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.model.lora_products.merging_pays", lambda *args: merging)
    model = model_with_tasks(*TASKS, drop_path_rate=0.5).train()
    draws = iter([[0.9, 0.9, 0.1, 0.9], [0.1, 0.1, 0.9, 0.1]])  # the last layer's two branches
    monkeypatch.setattr(torch, "rand", lambda *args, **kwargs: torch.tensor(next(draws)))
    tasks = {task: batch_of(task, 2) for task in TASKS}
    sum(out.loss for out in model(tasks=tasks).values()).backward()
    layer = model.layers[-1]
    for name, module, empty in (
        ("proj", layer.attention.proj, "tuab"), ("fc1", layer.mlp.fc1, None),
    ):  # fmt: skip
        for task in TASKS:
            gradient = module.lora_B[task].weight.grad
            assert gradient is not None and bool(gradient.any()) == (task != empty), (name, task)


def test_rows_that_are_left_out_are_not_computed(monkeypatch):
    config = MteegConfig.from_preset("tiny", drop_path_rate=0.5)
    layer = MteegLayer(config, config.num_hidden_layers - 1).train()
    groups, seen = (Group(20, 3), Group(20, 2)), []
    layer.norm1.register_forward_hook(lambda _, args, out: seen.append(len(args[0])))
    layer.norm2.register_forward_hook(lambda _, args, out: seen.append(len(args[0])))
    x = torch.randn(100, config.hidden_size)
    torch.manual_seed(0)
    draws = [torch.rand(40).lt(0.5) for _ in range(2)]
    torch.manual_seed(0)
    layer(x, groups)
    assert seen == [int(3 * kept[:20].sum() + 2 * kept[20:].sum()) for kept in draws]
    layer.eval()(x, groups)
    assert seen[2:] == [100, 100]


def test_groups_routes_and_rows_of_kept_samples():
    groups = (Group(3, 2), Group(2, 3), Group(1, 4))
    route = (("a", 0, 6), ("b", 6, 12), ("c", 12, 16))
    kept = kept_samples([True, False, True, True, False, False], groups, route)
    assert kept.groups == (Group(2, 2), Group(1, 3))
    assert kept.route == (("a", 0, 4), ("b", 4, 7), ("c", 7, 7))
    assert kept.runs == ((0, 2), (4, 9))  # the third sample and the first of the next group meet
    one = kept_samples([False] * 5 + [True], groups, (("c", 12, 16),))
    assert one == ((Group(1, 4),), (("c", 0, 4),), ((12, 16),))
    inside = (("a", 0, 2), ("b", 2, 6), ("c", 6, 12))  # two tasks of one group
    assert kept_samples([False, True, True] + [True] * 3, groups, inside).route == (
        ("a", 0, 0), ("b", 0, 4), ("c", 4, 10)
    )  # fmt: skip
    assert kept_samples([True] * 6, groups, None) == (groups, None, ((0, 16),))
