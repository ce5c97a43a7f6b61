"""Tasks in large numbers: their thin products are one, and say what they say one by one."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from tiny_models import tiny_model

from modeling_mteeg import MteegModel
from modeling_mteeg.model import lora_products
from modeling_mteeg.model.lora_products import RoutedLinear, plan_products
from modeling_mteeg.model.weight_names import owner_of

TASKS = [f"task-{number}" for number in range(12)]


def thin_model():
    """A model in float64 with twelve tasks, the adapters of which say something."""
    model = tiny_model(drop_path_rate=0.0).double()
    for number, task in enumerate(TASKS):
        model.add_adapter(task, labels=list("abc")[: 2 + number % 2], rank=2 if number < 9 else 3)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0, 0.1)
    return model


def batches(sizes):
    """Windows of two shapes, in turns."""
    torch.manual_seed(2)
    found = {}
    for number, (task, size) in enumerate(zip(TASKS, sizes, strict=True)):
        channels, patches = ((5, 4), (3, 2))[number % 2]
        rows = torch.arange(1, channels + 1)
        found[task] = {
            "input_values": torch.randn(size, channels, patches, 200, dtype=torch.float64),
            "channel_ids": torch.stack([rows, rows], 1),
            "labels": torch.arange(size) % 2,
        }
    return found


@pytest.fixture(autouse=True)
def never_merged(monkeypatch):
    monkeypatch.setattr(lora_products, "merging_pays", lambda *shapes: False)
    monkeypatch.setattr(lora_products, "LEAST_ROWS", 4)


@pytest.mark.parametrize("merging", [False, True])  # of a task that lies by none of its kind
@pytest.mark.parametrize("sizes", [[1] * 12, [1, 3, 2, 2, 4, 1, 2, 1, 3, 2, 1, 2]])
def test_a_mixed_batch_is_its_tasks_one_by_one(sizes, merging, monkeypatch):
    monkeypatch.setattr(lora_products, "merging_pays", lambda *shapes: merging)
    together, apart = thin_model(), thin_model()
    given = batches(sizes)
    mixed = together(tasks=given, output_attentions=True, output_hidden_states=True)
    assert list(mixed) == TASKS  # in the order given
    sum(output.loss for output in mixed.values()).backward()
    for task, batch in given.items():
        alone = apart(**batch, task=task, output_attentions=True, output_hidden_states=True)
        alone.loss.backward()
        for key in ("loss", "logits", "last_hidden_state", "pooler_output"):
            torch.testing.assert_close(mixed[task][key], alone[key], rtol=0, atol=1e-6)
        for key in ("attentions", "hidden_states"):
            for ours, theirs in zip(mixed[task][key], alone[key], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    expected = dict(apart.named_parameters())
    for name, parameter in together.named_parameters():
        if expected[name].grad is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_samples_that_skip_a_branch_are_left_out_of_the_batched_product(rate, monkeypatch):
    """Tasks without any row in a layer are among them: their gradient is zero, not absent."""
    planned, plan = [], lora_products.plan_products
    monkeypatch.setattr(
        "modeling_mteeg.model.lora.plan_products",
        lambda *given: planned.append(plan(*given)) or planned[-1],
    )
    found = []
    for multiplied in (False, True):  # attention weights want the branch multiplied by 0
        model = thin_model()
        for layer in model.layers:
            layer.drop_path.rate = rate
        torch.manual_seed(3)
        outputs = model.train()(tasks=batches([2, 1, 3] * 4), output_attentions=multiplied)
        sum(output.loss for output in outputs.values()).backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        if not multiplied:
            blocks = [product.blocks for products in planned for product in products]
            assert any(0 in block and len(block) > 1 for block in blocks)
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=0, atol=1e-6)


def test_tasks_that_are_not_in_a_step_have_no_gradient():
    model = thin_model()
    given = {task: batch for task, batch in batches([2] * 12).items() if task in TASKS[::3]}
    model.set_trainable(TASKS[:7])
    sum(output.loss for output in model(tasks=given).values()).backward()
    having = {
        name.split(".")[1] if name.startswith("heads") else name.split(".")[-2]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and (".lora_" in name or name.startswith("heads"))
    }
    assert having == {"task-0", "task-3", "task-6"}


def counted(monkeypatch, slices, ranks, rows=16):
    """Blocks of the batched products of a layer, by its slices."""
    monkeypatch.setattr(lora_products, "LEAST_ROWS", rows)
    factors = [
        part for rank in ranks for part in (torch.zeros(rank, 3), torch.zeros(5, rank))
    ]  # fmt: skip
    products = plan_products(tuple(slices), factors, (5, 3), torch.float32)
    covered = [row for product in products for row in range(product.start, product.stop)]
    assert covered == list(range(slices[-1][1]))  # every row once
    return [product.blocks for product in products]


def test_equal_shapes_share_a_product_and_others_do_not(monkeypatch):
    equal = [(0, 20, 0), (20, 60, 1), (60, 80, 2)]
    assert counted(monkeypatch, equal, (2, 2, 2)) == [(1, 2, 1)]
    assert counted(monkeypatch, equal, (2, 2, 3)) == [(1, 2), (1,)]  # another rank
    assert counted(monkeypatch, [(0, 20, 0), (20, 33, 1)], (2, 2)) == [(1,), (1,)]  # one in common
    plain = [(0, 20, 0), (20, 40, -1), (40, 60, 1)]
    assert counted(monkeypatch, plain, (2, 2)) == [(1,), (1,), (1,)]


def test_tasks_side_by_side_are_never_merged(monkeypatch):
    """However many rows they have: one merged product each took up to 2.7 times as long."""
    monkeypatch.setattr(lora_products, "merging_pays", lambda *shapes: True)
    factors = [part for _ in range(4) for part in (torch.zeros(2, 3), torch.zeros(5, 2))]
    slices = ((0, 200, 0), (200, 400, 1), (400, 503, 2), (503, 560, -1), (560, 760, 3))
    products = plan_products(slices, factors, (5, 3), torch.float32)
    assert [product.adapters for product in products] == [(0, 1), (2,), (), (3,)]
    assert [product.merged for product in products] == [False, True, False, True]


def test_a_batched_product_is_a_derivative():
    torch.manual_seed(0)
    factors = [torch.randn(*shape, dtype=torch.float64, requires_grad=True)
               for _ in range(3) for shape in ((2, 3), (5, 2))]  # fmt: skip
    x = torch.randn(40, 3, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(5, 3).double(), torch.randn(5).double()
    slices = ((0, 10, 0), (10, 30, 1), (30, 40, 2))
    products = plan_products(slices, factors, (5, 3), torch.float64)
    assert [product.blocks for product in products] == [(1, 2, 1)]
    assert torch.autograd.gradcheck(
        lambda x, *factors: RoutedLinear.apply(x, weight, bias, products, *factors), (x, *factors)
    )


def test_loading_together_is_loading_one_by_one(tmp_path):
    model = thin_model().float()
    model.save_pretrained(tmp_path)
    one = type(model).from_pretrained(tmp_path)
    for task in TASKS:
        one.load_adapter(task)
    all_at_once = type(model).from_pretrained(tmp_path)
    assert set(all_at_once.load_adapters()) == set(TASKS)
    for other in (one, all_at_once):
        trained = {name for name, value in other.named_parameters() if value.requires_grad}
        assert {name.split(".")[0] for name in trained} == {"layers", "heads"}
        for task in TASKS:
            found = other.adapter_state_dict(task)
            for name, tensor in model.adapter_state_dict(task).items():
                assert torch.equal(found[name], tensor)
    assert all_at_once._loaded_digests == one._loaded_digests
    with all_at_once.loading_together():
        copied = all_at_once.load_adapter("task-0", "again", is_trainable=False)
    owned = [value for name, value in all_at_once.named_parameters() if ".again." in name]
    assert copied.name == "again" and owned and not any(value.requires_grad for value in owned)


class _Lazy(dict):
    """A batch that is made anew whenever it is asked for."""

    def get(self, key, default=None):
        return None if key not in self else self[key][:]


def test_batches_made_on_demand_are_not_taken_for_one_another():
    model, given = thin_model().float(), batches([2] * 12)
    with torch.no_grad():
        expected = model.encode(given)
        for _ in range(5):  # whether objects come to lie where others lay is up to the allocator
            found = model.encode({task: _Lazy(batch) for task, batch in given.items()})
            for task, output in found.items():
                assert torch.equal(output.pooler_output, expected[task].pooler_output), task


@pytest.mark.parametrize("together", [False, True])
def test_a_task_that_was_loaded_frozen_stays_so(tmp_path, together):
    thin_model().float().save_pretrained(tmp_path)
    model = MteegModel.from_pretrained(tmp_path)

    def trained() -> set[str]:
        names = (name for name, value in model.named_parameters() if value.requires_grad)
        return {owner_of(name) for name in names}

    with model.loading_together() if together else contextlib.nullcontext():
        model.load_adapter("task-0", is_trainable=False)
        model.load_adapter("task-1")
    assert trained() == {"task-1"}
    model.load_adapter("task-2")
    assert trained() == {"task-1", "task-2"}
    model.set_trainable()
    model.load_adapter("task-3")
    assert trained() == {"task-0", "task-1", "task-2", "task-3"}


def test_adapters_do_not_share_memory_with_files_or_each_other(tmp_path):
    model = thin_model()
    twin = copy.deepcopy(model)
    places = [value.data_ptr() for value in (*model.parameters(), *twin.parameters())]
    assert len(set(places)) == len(places)
