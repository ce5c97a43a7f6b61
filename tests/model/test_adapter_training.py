"""Adapters computed and trained jointly: exact, and each task on its own."""

from __future__ import annotations

import pytest
import torch
from tiny_models import (
    CARDS,
    OPTIONS,
    assert_same_gradients,
    batch_of,
    batches,
    belongs_to,
    changed,
    gradients,
    logits_of,
    model_with_tasks,
    randomize,
    snapshot,
    tiny_model,
    trainable,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("separate", [False, True], ids=["fused", "separate"])
def test_joint_forward_is_the_tasks_one_by_one(separate):
    model = model_with_tasks(options={"separate_qkv": separate, "scaling": 0.5})
    tasks = batches()
    joint = model(tasks=tasks)
    assert list(joint) == list(tasks)
    sum(out.loss for out in joint.values()).backward()
    found = gradients(model)
    for task, batch in tasks.items():
        alone = model(**batch, task=task)
        alone.loss.backward()
        assert torch.allclose(joint[task].logits, alone.logits, **CLOSE)
        assert torch.allclose(joint[task].last_hidden_state, alone.last_hidden_state, **CLOSE)
        assert torch.allclose(joint[task].loss, alone.loss, **CLOSE)
    assert_same_gradients(found, gradients(model))
    assert set(found) == trainable(model)


def test_order_of_the_tasks_does_not_matter():
    model = model_with_tasks()
    tasks = batches()
    turned = dict(reversed(tasks.items()))
    first, second = model(tasks=tasks), model(tasks=turned)
    assert all(torch.allclose(first[t].logits, second[t].logits, **CLOSE) for t in tasks)


def test_tasks_with_and_without_adapters_share_a_forward():
    model = model_with_tasks("tuab", "seed-v")
    model.add_adapter("tuev", card=CARDS["tuev"], location="none")
    model.add_adapter("chb-mit", card=CARDS["chb-mit"], location="feed-forward", rank=2)
    randomize(model, "chb-mit", "tuev")
    for order in (("tuev", "tuab", "chb-mit", "seed-v"), ("seed-v", "chb-mit", "tuab", "tuev")):
        joint = model(tasks=batches(*order))
        for task, batch in batches(*order).items():
            alone = model(**batch, task=task)
            assert torch.allclose(joint[task].logits, alone.logits, **CLOSE)


def test_no_tasks_samples_influence_another():
    model = model_with_tasks("tuab", "seed-v")
    tasks = batches("tuab", "seed-v")
    before = model(tasks=tasks)
    tasks["tuab"]["input_values"] = 100 * torch.randn(5, 4, 2, 200)
    tasks["tuab"]["labels"] = torch.zeros(5)
    after = model(tasks=tasks)
    assert torch.allclose(after["seed-v"].logits, before["seed-v"].logits, **CLOSE)
    after["tuab"].loss.backward()
    found = gradients(model)
    assert not any(found[name].any() for name in found if belongs_to(name, "seed-v"))


@pytest.mark.parametrize("encoder", [True, False], ids=["encoder-trained", "encoder-frozen"])
def test_a_step_on_one_task_leaves_the_others(encoder):
    model = model_with_tasks()
    model.set_trainable(temporal_encoder=encoder)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
    # A first step on all tasks: every parameter has moments that could move it later.
    sum(out.loss for out in model(tasks=batches()).values()).backward()
    optimizer.step()
    optimizer.zero_grad()
    before, outputs = snapshot(model), logits_of(model)
    for _ in range(2):
        model.train()(**batch_of("seed-v"), task="seed-v").loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = changed(model.eval(), before)
    own = {name for name in before if belongs_to(name, "seed-v")}
    shared = {name for name in before if name.startswith("temporal_encoder.")}
    assert moved == own | (shared if encoder else set())
    after = logits_of(model)
    assert not torch.equal(after.pop("seed-v"), outputs.pop("seed-v"))
    if not encoder:
        assert all(torch.equal(after[task], outputs[task]) for task in after)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_part_of_an_adapter_trains(options):
    model = model_with_tasks("tuab", "seed-v", options=options).train()
    names = model.set_trainable(["seed-v"], temporal_encoder=False)
    assert set(names) == trainable(model)
    assert {n for n, _ in model.named_parameters() if belongs_to(n, "seed-v")} == set(names)
    model(**batch_of("seed-v"), task="seed-v").loss.backward()
    found = gradients(model)
    assert set(found) == set(names) and all(gradient.any() for gradient in found.values())


@pytest.mark.parametrize("separate", [False, True], ids=["fused", "separate"])
@pytest.mark.parametrize("merging", [False, True], ids=["factored", "merged"])
@pytest.mark.parametrize("scaling", [1.0, 0.5])
def test_products_are_exact_in_any_order(merging, separate, scaling, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.model.lora_products.merging_pays", lambda *args: merging)
    options = {"rank": 2, "scaling": scaling, "separate_qkv": separate}
    model = model_with_tasks("tuab", "seed-v", options=options).double()
    layer = model.layers[0].attention.qkv
    route = (("tuab", 1, 3), ("seed-v", 3, 5))
    x = torch.randn(6, 100, dtype=torch.float64, requires_grad=True)
    factors = [part[task].weight for part in (layer.lora_A, layer.lora_B) for task in model.tasks]
    project = torch.randn(300, 4, dtype=torch.float64)

    def call(x, *factors):
        return layer(x, route=route) @ project

    assert torch.autograd.gradcheck(call, (x, *factors), fast_mode=True)
    found = layer(x, route=route)
    layer.base_layer.weight.requires_grad_(True)  # a trained W takes ordinary operations
    expected = layer(x, route=route)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(found)
    wanted = torch.autograd.grad((expected * weight).sum(), (x, *factors))
    given = torch.autograd.grad((found * weight).sum(), (x, *factors))
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(given, wanted, strict=True))


@pytest.mark.parametrize("merging", [False, True], ids=["factored", "merged"])
def test_model_gradients_are_those_of_ordinary_operations(merging, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.model.lora_products.merging_pays", lambda *args: merging)
    model = model_with_tasks().train()
    sum(out.loss for out in model(tasks=batches()).values()).backward()
    found = gradients(model)
    for layer in model.modules():
        if hasattr(layer, "base_layer"):
            layer.base_layer.weight.requires_grad_(True)
    sum(out.loss for out in model(tasks=batches()).values()).backward()
    expected = {name: grad for name, grad in gradients(model).items() if name in found}
    assert_same_gradients(found, expected)


def test_dropout_acts_on_the_adapter_in_training_only():
    model = model_with_tasks("tuab", "seed-v")
    calm = logits_of(model)
    model.delete_adapter("tuab")
    model.add_adapter("tuab", card=CARDS["tuab"], dropout=0.5)
    randomize(model, "tuab")
    first = logits_of(model)
    assert all(torch.equal(first[task], value) for task, value in logits_of(model).items())
    assert torch.equal(first["seed-v"], calm["seed-v"])
    model.train()
    noisy = logits_of(model)
    assert not torch.equal(noisy["tuab"], logits_of(model)["tuab"])
    assert torch.allclose(noisy["seed-v"], first["seed-v"], **CLOSE)
    layer = model.layers[0].mlp.fc1
    x, route = torch.randn(1, 100), (("tuab", 0, 4000),)
    mean = layer(x.expand(4000, -1), route=route).mean(0)
    expected = layer.eval()(x, route=(("tuab", 0, 1),))[0]
    plain = layer.base_layer(x)[0]
    assert (mean - expected).norm() < 0.1 * (expected - plain).norm()


def test_half_precision_base_has_adapters_in_full_precision():
    model = tiny_model().to(torch.bfloat16)
    model.add_adapter("tuab", card=CARDS["tuab"], separate_qkv=True)
    randomize(model)
    assert {model.get_parameter(n).dtype for n in trainable(model) if belongs_to(n, "tuab")} == {
        torch.float32
    }
    model.train()(**batch_of("tuab")).loss.backward()
    assert set(gradients(model)) == trainable(model)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_an_unfrozen_part_of_the_base_gets_its_gradient(name):
    """A user may train more than the paper does; nothing of it is left out in silence."""
    model = model_with_tasks("tuab")
    layer = model.layers[0].mlp.fc1.base_layer
    parameter = getattr(layer, name)
    parameter.requires_grad_(True)
    model(**batch_of("tuab"), task="tuab").loss.backward()
    assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
