"""Integrated gradients sum to what they should, rollout multiplies the layers, channels by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import CARDS, HEADS, inputs_of, model_with_tasks

from modeling_mteeg import MteegModel, TaskCard, channel_ids
from modeling_mteeg.explanation.attribution import (
    METHODS,
    AttributionWarning,
    ChannelAttribution,
    attribute,
)

few_steps = pytest.mark.filterwarnings(
    "ignore::modeling_mteeg.explanation.attribution.AttributionWarning"
)

TASKS = ("chb-mit", "seed-v")
"""One with a single logit, one with five."""


@pytest.fixture(scope="module")
def model() -> MteegModel:
    return model_with_tasks(*TASKS).double()


def inputs(task: str, samples: int = 2) -> dict[str, torch.Tensor]:
    found = inputs_of(task, samples)
    return {"input_values": found["input_values"].double(), "channel_ids": found["channel_ids"]}


def scores(model, batch: dict, task: str, scale: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        logits = model(
            input_values=scale * batch["input_values"], channel_ids=batch["channel_ids"], task=task
        ).logits
    return torch.cat([-logits, logits], 1) if CARDS[task].is_binary else logits


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("target", [0, 1, None])
def test_integrated_gradients_sum_to_the_difference_of_the_logits(model, task, target):
    batch = inputs(task)
    found = attribute(model, batch, task, target=target, steps=200)
    assert found.shape == (2, len(CARDS[task].channels)) and found.dtype == torch.float32
    here, silent = scores(model, batch, task), scores(model, batch, task, 0.0)
    index = here.argmax(1) if target is None else torch.full((2,), target)
    expected = (here - silent).gather(1, index[:, None])[:, 0]
    assert expected.abs().min() > 0.05
    torch.testing.assert_close(found.sum(1).double(), expected, rtol=2e-3, atol=2e-3)


@few_steps
def test_a_single_logit_speaks_for_class_one_and_against_class_zero(model):
    batch = inputs("chb-mit")
    one = attribute(model, batch, "chb-mit", target=1, steps=16)
    zero = attribute(model, batch, "chb-mit", target=[0, 0], steps=16)
    torch.testing.assert_close(one, -zero)
    mixed = attribute(model, batch, "chb-mit", target=torch.tensor([1, 0]), steps=16)
    torch.testing.assert_close(mixed, torch.stack([one[0], zero[1]]))


def test_steps_are_added_until_the_sum_fits(model):
    batch = inputs("seed-v")
    found = attribute(model, batch, "seed-v", target=2)
    expected = (scores(model, batch, "seed-v") - scores(model, batch, "seed-v", 0.0))[:, 2]
    assert ((found.sum(1) - expected).abs() <= 0.05 * expected.abs().clamp_min(1.0)).all()
    with pytest.warns(AttributionWarning, match="of 2 windows sum to their logit"):
        attribute(model, batch, "seed-v", target=2, steps=1)


@few_steps
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_channels_permuted_with_their_names_permute_the_values(model, method, task):
    batch, order = inputs(task), torch.tensor([2, 0, 1, 4, 3, 5][: len(CARDS[task].channels)])
    moved = {
        "input_values": batch["input_values"][:, order], "channel_ids": batch["channel_ids"][order]
    }  # fmt: skip
    options = {"steps": 8, "target": 1} if method == METHODS[0] else {}
    found = attribute(model, batch, task, method=method, **options)
    again = attribute(model, moved, task, method=method, **options)
    torch.testing.assert_close(again, found[:, order], rtol=1e-4, atol=1e-6)
    assert found.std() > 1e-4


class Blind(MteegModel):
    """Answers without looking at channel 1."""

    def forward(self, input_values=None, channel_ids=None, **options):
        keep = [i for i in range(input_values.shape[1]) if i != 1]
        return super().forward(input_values[:, keep], channel_ids[keep], **options)


def test_a_channel_that_is_not_looked_at_gets_nothing():
    blind = model_with_tasks("seed-v").double()
    blind.__class__ = Blind
    found = attribute(blind, inputs("seed-v"), "seed-v", target=0)
    assert (found[:, 1] == 0).all()
    assert (found[:, [0, 2, 3, 4, 5]].abs() > 1e-3).all()
    seeing = attribute(model_with_tasks("seed-v").double(), inputs("seed-v"), "seed-v", target=0)
    assert (seeing.abs() > 1e-3).all()


def test_only_the_own_task_s_adapter_matters():
    model = model_with_tasks("tuev", "seed-v")
    batch = inputs_of("seed-v", 1)

    def values():
        return attribute(model, batch, "seed-v", target=0, steps=48)

    before = values()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B.tuev" in name or name.startswith("heads.tuev"):
                parameter.add_(0.3)
    assert torch.equal(values(), before)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B.seed-v" in name:
                parameter.add_(0.3)
    assert not torch.allclose(values(), before, atol=1e-3)


def test_rollout_is_the_product_of_the_layers(model):
    task = "seed-v"
    batch = inputs(task)
    with torch.no_grad():
        layers = model(**batch, task=task, output_attentions=True).attentions
    assert len(layers) == 2
    own = torch.eye(layers[0].shape[-1], dtype=torch.float64)
    first, second = (0.5 * layer.mean(1) + 0.5 * own for layer in layers)
    patches = (second @ first)[:, 1:, 1:].mean(1)  # over the tokens that the head reads
    expected = (patches / patches.sum(1, keepdim=True)).view(2, 6, 1)
    found = attribute(model, batch, task, method="attention-rollout", per_patch=True)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2))
    assert (found > 0).all()


@pytest.mark.parametrize("head", HEADS[1:], ids=str)
def test_integrated_gradients_are_complete_for_every_head(head):
    model = model_with_tasks("seed-v", heads={"seed-v": head}).double()
    batch = inputs("seed-v")
    found = attribute(model, batch, "seed-v", target=2, steps=200)
    expected = (scores(model, batch, "seed-v") - scores(model, batch, "seed-v", 0.0))[:, 2]
    assert expected.abs().min() > 0.01
    torch.testing.assert_close(found.sum(1).double(), expected, rtol=5e-3, atol=5e-3)


def test_rollout_begins_with_what_the_head_reads():
    """A head that attends to one channel alone gives it more than equal shares do."""
    task, batch = "seed-v", inputs("seed-v")
    model = model_with_tasks(task, heads={task: {"kind": "attention"}}).double()
    out = model(**batch, task=task, output_attentions=True)
    equal = attribute(model, batch, task, method="attention-rollout")
    with torch.no_grad():  # the query is what makes channel 3 of window 0 different
        tokens = model.fc_norm(out.last_hidden_state[:, 1:])
        model.heads[task].query.copy_(100 * (tokens[0, 3] - tokens[0].mean(0)))
    shares = model.heads[task].shares(out.last_hidden_state, model.fc_norm)  # (2, 6)
    assert shares[0, 3] > 0.99
    reach = torch.nn.functional.pad(shares, (1, 0))[:, None]
    for layer in reversed(out.attentions):
        reach = 0.5 * (reach + reach @ layer.mean(1))
    expected = reach[:, 0, 1:] / reach[:, 0, 1:].sum(1, keepdim=True)
    found = attribute(model, batch, task, method="attention-rollout")
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert found[0, 3] > 1.5 * equal[0, 3]


@few_steps
@pytest.mark.parametrize("method", METHODS)
def test_shapes_passes_and_ways_to_give_inputs_agree(model, method):
    task = "chb-mit"
    options = {"steps": 40, "target": 1} if method == METHODS[0] else {}
    batch = inputs(task, 3)
    found = attribute(model, batch, task, method=method, per_patch=True, **options)
    assert found.shape == (3, 3, 2)
    flat = {
        "input_values": batch["input_values"].flatten(2),
        "channel_ids": batch["channel_ids"].expand(3, -1, -1),
    }
    again = attribute(model, flat, task, method=method, batch_size=7, **options)
    torch.testing.assert_close(again, found.sum(-1), rtol=1e-4, atol=1e-5)
    model.set_adapter(task)
    torch.testing.assert_close(attribute(model, batch, method=method, **options), found.sum(-1))
    model.set_adapter(None)


@few_steps
def test_the_model_is_left_as_it_was():
    model = model_with_tasks("chb-mit", drop_path_rate=0.5).train()
    model.set_trainable()
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    batch = inputs_of("chb-mit", 2)
    first = attribute(model, batch, "chb-mit", steps=32, target=1)
    assert torch.equal(attribute(model, batch, "chb-mit", steps=32, target=1), first)
    assert model.training and all(module.training for module in model.heads.values())
    assert wanted == {name: one.requires_grad for name, one in model.named_parameters()}
    assert all(parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():  # a caller without gradients gets them all the same
        torch.testing.assert_close(attribute(model, batch, "chb-mit", steps=32, target=1), first)


def test_wrong_use_is_named(model):
    batch = inputs("seed-v")
    cases = {
        "method: expected one of": {"method": "saliency"},
        "target: expected a class from 0 to 4": {"target": 5},
        "one for each of 2 windows": {"target": [0, 1, 2]},
        "steps: expected a whole number": {"steps": 0},
        "neither target nor steps": {"method": "attention-rollout", "target": 1},
    }
    for words, options in cases.items():
        with pytest.raises(ValueError, match=words):
            attribute(model, batch, "seed-v", **options)
    with pytest.raises(ValueError, match="tasks"):
        attribute(model, batch)
    with pytest.raises(ValueError, match="each of 2 channels"):
        ChannelAttribution(("C3", "C4"), np.zeros(3), METHODS[0], "a")


def test_a_task_with_two_classes_and_two_logits_works():
    card = TaskCard("two", ("a", "b"), ("C3", "C4"), window_s=1, loss="cross_entropy")
    model = model_with_tasks("seed-v").double()
    model.add_adapter("two", card=card)
    torch.nn.init.normal_(model.heads["two"].weight, std=0.2)
    batch = {
        "input_values": torch.randn(1, 2, 1, 200, dtype=torch.float64),
        "channel_ids": torch.from_numpy(channel_ids(card.channels)),
    }
    for target in (0, 1):
        found = attribute(model.double(), batch, "two", target=target, steps=200)
        with torch.no_grad():
            here = model(**batch, task="two").logits
            silent = model(**batch | {"input_values": 0 * batch["input_values"]}, task="two").logits
        torch.testing.assert_close(
            found.sum().double(), (here - silent)[0, target], rtol=2e-3, atol=2e-3
        )
