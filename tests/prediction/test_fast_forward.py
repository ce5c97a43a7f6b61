"""The prepared forward pass gives the model's logits."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CARDS, OPTIONS, batch_of, model_with_tasks, randomize, tiny_model

from modeling_mteeg.prediction import fast_forward
from modeling_mteeg.prediction.fast_forward import FastForward, is_preparable


def compare(model, task: str, samples: int = 1, **inputs) -> None:
    batch = {key: value for key, value in batch_of(task, samples).items() if key != "labels"}
    batch |= inputs
    with torch.no_grad():
        expected = model(**batch, task=task).logits
    found = FastForward(model, task)(**batch)
    assert found.shape == expected.shape and not found.requires_grad
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert len(expected) == 1 or expected.std(0).min() > 1e-3  # they differ between samples


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("samples", [1, 3])
def test_every_task_of_a_model(monkeypatch, packed, samples):
    if packed and not fast_forward.packs():
        pytest.skip("this build of torch has no products with packed weights")
    monkeypatch.setattr(fast_forward, "packs", lambda: packed)
    model = model_with_tasks()
    for task in CARDS:
        compare(model, task, samples)


@pytest.mark.parametrize("options", [*OPTIONS, {"location": "none"}])
def test_every_kind_of_adapter(options):
    compare(model_with_tasks("tuab", "tuev", options=options), "tuev")


def test_biases_of_query_and_value():
    model = tiny_model(qkv_bias=True)
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.q_bias.normal_()
            layer.attention.v_bias.normal_()
    model.add_adapter("tuev", card=CARDS["tuev"])
    randomize(model)
    compare(model, "tuev", 2)


def test_scores_larger_than_the_buffer_and_time_beyond_the_table(monkeypatch):
    monkeypatch.setattr(fast_forward, "_SCORE_BYTES", 1)
    model = model_with_tasks("tuev")
    random = torch.Generator().manual_seed(0)
    compare(model, "tuev", 2, input_values=torch.randn((2, 3, 20, 200), generator=random))


def test_one_object_takes_windows_of_any_shape():
    model = model_with_tasks("tuev")
    forward = FastForward(model, "tuev")
    ids = batch_of("tuev")["channel_ids"]
    for shape in ((1, 3, 1, 200), (4, 3, 2, 200), (1, 3, 1, 200), (2, 3, 600)):
        values = torch.randn(shape)
        with torch.no_grad():
            expected = model(values, ids, task="tuev").logits
        torch.testing.assert_close(forward(values, ids), expected, atol=1e-5, rtol=1e-5)


def test_the_model_keeps_its_tasks_and_weights():
    model = model_with_tasks()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    forward = FastForward(model, "tuab")
    forward(**{key: batch_of("tuab")[key] for key in ("input_values", "channel_ids")})
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    batch = batch_of("tuev")
    assert model(**batch, task="tuev").loss.requires_grad


def test_wrong_use_is_an_error():
    model = model_with_tasks("tuev")
    with pytest.raises(ValueError, match="Unknown task 'tuab'"):
        FastForward(model, "tuab")
    with pytest.raises(ValueError, match="input_values"):
        FastForward(model, "tuev")(torch.zeros(1, 3, 7), batch_of("tuev")["channel_ids"])
    assert not is_preparable(model_with_tasks("tuev").train())
    half = model_with_tasks("tuev").bfloat16()
    assert not is_preparable(half)
    with pytest.raises(ValueError, match="evaluation mode"):
        FastForward(half, "tuev")
