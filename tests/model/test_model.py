"""What the backbone promises for any weights; equality with the published code: test_parity."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny_models import (
    CARDS,
    batch_of,
    inputs_of,
    model_with_tasks,
    tiny_model,
)
from transformers import AutoModel

from modeling_mteeg import MteegConfig, MteegModel, MteegOutput
from modeling_mteeg.model.embedding import temporal_rows
from modeling_mteeg.model.modeling_mteeg import task_loss

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def model() -> MteegModel:
    """A base without tasks; not to be changed."""
    return tiny_model()


@pytest.fixture(scope="module")
def tasked() -> MteegModel:
    """A model with two tasks; not to be changed."""
    return model_with_tasks("tuab", "seed-v")


def test_output_has_the_documented_shapes(tasked):
    out = tasked(**batch_of("seed-v"), task="seed-v")
    assert out.last_hidden_state.shape == (3, 1 + 6 * 1, 100)
    assert out.pooler_output.shape == (3, 100)
    assert out.logits.shape == (3, 5)
    assert out.loss.shape == ()
    assert tasked(**batch_of("tuab"), task="tuab").logits.shape == (3, 1)


def test_features_are_the_normalised_mean_of_the_patches(model):
    out = model(**inputs_of("tuab"))
    mean = out.last_hidden_state[:, 1:].mean(1)
    expected = F.layer_norm(mean, (100,), model.fc_norm.weight, model.fc_norm.bias, 1e-6)
    assert torch.allclose(out.pooler_output, expected, **CLOSE)


def test_channels_permuted_with_their_rows_leave_the_logits_equal(tasked):
    for task in tasked.tasks:
        inputs = inputs_of(task)
        order = torch.randperm(
            len(CARDS[task].channels), generator=torch.Generator().manual_seed(3)
        )
        assert not torch.equal(order, torch.arange(len(order)))
        permuted = {
            "input_values": inputs["input_values"][:, order],
            "channel_ids": inputs["channel_ids"][order],
        }
        expected = tasked(**inputs, task=task).logits
        assert torch.allclose(tasked(**permuted, task=task).logits, expected, **CLOSE)
        permuted["channel_ids"] = inputs["channel_ids"]
        assert not torch.allclose(tasked(**permuted, task=task).logits, expected, **CLOSE)


def test_samples_do_not_influence_each_other(model):
    inputs = inputs_of("tuab")
    together = model(**inputs).last_hidden_state
    for index, sample in enumerate(inputs["input_values"]):
        alone = model(sample[None], inputs["channel_ids"]).last_hidden_state
        assert torch.allclose(alone[0], together[index], **CLOSE)


def test_windows_may_come_uncut(model):
    inputs = inputs_of("tuab")
    flat = model(inputs["input_values"].flatten(2), inputs["channel_ids"])
    assert torch.equal(flat.pooler_output, model(**inputs).pooler_output)


def test_channels_may_be_given_for_every_sample(model):
    values, ids = inputs_of("tuab").values()
    stacked = ids.expand(len(values), -1, -1)
    expected = model(values, ids).last_hidden_state
    assert torch.equal(model(values, stacked).last_hidden_state, expected)
    turned = stacked.clone()
    turned[1] = ids.flip(0)
    found = model(values, turned).last_hidden_state
    assert torch.allclose(found[::2], expected[::2], **CLOSE)
    alone = model(values[1:2], ids.flip(0)).last_hidden_state
    assert torch.allclose(found[1:2], alone, **CLOSE)
    assert not torch.allclose(found[1], expected[1], atol=1e-3)


def test_bipolar_channel_has_the_mean_of_its_electrodes_rows(model):
    values, ids = inputs_of("sleep-edf").values()
    derived = copy.deepcopy(model)
    with torch.no_grad():
        for row, pair in zip((10, 11), ids, strict=True):
            derived.spatial_embedding[row] = model.spatial_embedding[pair].mean(0)
    single = torch.tensor([[10, 10], [11, 11]])
    expected = derived(values, single).pooler_output
    assert torch.allclose(model(values, ids).pooler_output, expected, **CLOSE)
    swapped = model(values, ids.flip(1)).pooler_output
    assert torch.allclose(swapped, expected, **CLOSE)


def test_temporal_table_is_used_as_it_is_up_to_its_length(model):
    for patches in (1, 15, 16):
        assert torch.equal(
            temporal_rows(model.temporal_embedding, patches), model.temporal_embedding[:patches]
        )


@pytest.mark.parametrize("patches", [1, 2, 15, 16, 17, 30, 44, 256])
def test_an_exported_graph_has_the_same_rows_without_a_branch(model, monkeypatch, patches):
    rows = temporal_rows(model.temporal_embedding, patches)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.equal(temporal_rows(model.temporal_embedding, patches), rows)


@pytest.mark.parametrize("patches", [17, 30, 31])
def test_longer_windows_interpolate_the_temporal_table(patches):
    model = tiny_model()
    with torch.no_grad():
        model.temporal_embedding.copy_(torch.arange(16.0)[:, None] * torch.ones(100))
    rows = temporal_rows(model.temporal_embedding, patches)
    expected = torch.linspace(0, 15, patches)[:, None].expand(-1, 100)
    assert torch.allclose(rows, expected, **CLOSE)


def test_thirty_patches_run_and_train(model):
    model = copy.deepcopy(model)
    ends = temporal_rows(model.temporal_embedding, 30)[[0, -1]]
    assert torch.allclose(ends, model.temporal_embedding[[0, -1]], atol=1e-6)
    out = model(torch.randn(2, 2, 30, 200), torch.tensor([[1, 2], [3, 4]]))
    assert out.last_hidden_state.shape == (2, 61, 100)
    out.pooler_output[0, :50].sum().backward()
    assert model.temporal_embedding.grad.abs().sum(1).gt(0).all()


def test_hidden_states_and_attentions(tasked):
    out = tasked(
        **inputs_of("tuab"), task="tuab", output_hidden_states=True, output_attentions=True
    )
    assert len(out.hidden_states) == 3
    assert {state.shape for state in out.hidden_states} == {(3, 9, 100)}
    assert torch.equal(out.hidden_states[-1], out.last_hidden_state)
    assert not torch.equal(out.hidden_states[0], out.hidden_states[1])
    assert [weights.shape for weights in out.attentions] == [(3, 5, 9, 9)] * 2
    sums = torch.stack([weights.sum(-1) for weights in out.attentions])
    assert torch.allclose(sums, torch.ones_like(sums), **CLOSE)
    plain = tasked(**inputs_of("tuab"), task="tuab")
    assert plain.hidden_states is None and plain.attentions is None
    assert torch.allclose(plain.logits, out.logits, **CLOSE)


def test_hidden_states_of_every_task_of_a_joint_batch(tasked):
    tasks = {task: batch_of(task) for task in tasked.tasks}
    joint = tasked(tasks=tasks, output_hidden_states=True, output_attentions=True)
    for task, out in joint.items():
        alone = tasked(**tasks[task], task=task, output_hidden_states=True, output_attentions=True)
        for key in ("hidden_states", "attentions"):
            pairs = zip(getattr(out, key), getattr(alone, key), strict=True)
            assert all(torch.allclose(a, b, **CLOSE) for a, b in pairs)


@pytest.mark.parametrize("threshold", [0, 10**6], ids=["fused", "plain"])
def test_eager_and_sdpa_are_equal(model, threshold, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.model.layers.EAGER_BELOW_TOKENS", threshold)
    found = {}
    for name in ("eager", "sdpa"):
        other = copy.deepcopy(model)
        other.set_attn_implementation(name)
        found[name] = other(**inputs_of("physionet-mi")).last_hidden_state
    assert torch.allclose(found["eager"], found["sdpa"], **CLOSE)


def test_output_may_be_a_tuple(tasked):
    batch = batch_of("tuab")
    out = tasked(**batch, task="tuab")
    as_tuple = tasked(**batch, task="tuab", return_dict=False)
    assert isinstance(out, MteegOutput) and isinstance(as_tuple, tuple)
    assert len(as_tuple) == 4
    assert all(torch.equal(a, b) for a, b in zip(as_tuple, out.to_tuple(), strict=True))


def test_losses_are_the_papers(tasked):
    out = tasked(**(batch := batch_of("tuab")), task="tuab")
    expected = F.binary_cross_entropy_with_logits(out.logits[:, 0], batch["labels"].float())
    assert torch.equal(out.loss, expected)
    for smoothing in (0.0, 0.1):
        out = tasked(**(batch := batch_of("seed-v")), task="seed-v", smoothing=smoothing)
        expected = F.cross_entropy(out.logits, batch["labels"], label_smoothing=smoothing)
        assert torch.equal(out.loss, expected)


VALUES, ROWS = torch.zeros(2, 3, 2, 200), torch.ones(3, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_values": None}, "Expected input_values and channel_ids"),
        ({"channel_ids": None}, "Expected input_values and channel_ids"),
        ({"input_values": VALUES[0, 0]}, r"expected \(batch, .*found \(2, 200\)"),
        ({"input_values": VALUES.flatten(2)[..., :399]}, r"multiple of 200, found \(2, 3, 399\)"),
        ({"input_values": VALUES[..., :199]}, r"found \(2, 3, 2, 199\)"),
        ({"input_values": VALUES[:0]}, r"found \(0, 3, 2, 200\)"),
        ({"input_values": VALUES[:, :, :0]}, r"found \(2, 3, 0, 200\)"),
        ({"input_values": VALUES.flatten(2)[..., :0]}, r"found \(2, 3, 0"),
        ({"input_values": VALUES.numpy()}, "input_values: expected a tensor, found ndarray"),
        ({"channel_ids": ROWS[:2]}, r"channel_ids: expected \(3, 2\).*found \(2, 2\)"),
        ({"channel_ids": ROWS[:, 0]}, r"expected \(3, 2\) for 3 channels.*found \(3,\)"),
        ({"channel_ids": ROWS.expand(3, 3, 2)}, r"\(2, 3, 2\) for 2 samples, found \(3, 3, 2\)"),
        ({"channel_ids": ROWS.numpy()}, "channel_ids: expected a tensor, found ndarray"),
        ({"channel_ids": ROWS.float()}, r"expected int64, found torch.float32"),
        ({"channel_ids": ROWS.bool()}, r"expected int64, found torch.bool"),
        ({"channel_ids": -ROWS}, "0 to 128, found -1 to -1"),
        ({"channel_ids": ROWS * 129}, "0 to 128, found 129 to 129"),
        ({"task": "sleep"}, r"Unknown task 'sleep'; this model holds \['seed-v', 'tuab'\]"),
        ({"labels": torch.zeros(2)}, "labels need a task"),
        ({"labels": torch.zeros(3), "task": "tuab"}, r"shape \(2,\), found \(3,\)"),
        ({"labels": torch.zeros(2, 1), "task": "tuab"}, r"shape \(2,\), found \(2, 1\)"),
        ({"labels": [0, 1], "task": "tuab"}, r"tensor of shape \(2,\), found list"),
        ({"labels": torch.tensor([0, 2]), "task": "tuab"}, "from 0 to 1 .*found 0 to 2"),
        ({"labels": torch.tensor([-100, 4]), "task": "seed-v"}, "from 0 to 4 .*found -100 to 4"),
        ({"tasks": {"tuab": {}}}, "Give either"),
    ],
)
def test_wrong_inputs_are_named(tasked, inputs, message):
    given = {"input_values": VALUES, "channel_ids": ROWS} | inputs
    tasked.set_adapter(None)
    with pytest.raises(ValueError, match=message):
        tasked(**given)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "non-empty tasks"),
        ({"nix": batch_of("tuab")}, "Unknown task 'nix'"),
        ({None: batch_of("tuab")}, "Unknown task None"),
        ({"tuab": {"input_values": VALUES}}, "Expected input_values and channel_ids"),
        ({"tuab": {**batch_of("tuab"), "label": VALUES}}, r"found \['label'\] too"),
    ],
)
def test_wrong_joint_inputs_are_named(tasked, tasks, message):
    with pytest.raises(ValueError, match=message):
        tasked(tasks=tasks)


def test_labels_beside_a_joint_batch_are_refused(tasked):
    with pytest.raises(ValueError, match="Give either"):
        tasked(tasks={"tuab": batch_of("tuab")}, labels=torch.zeros(3))


def test_task_loss_needs_labels_of_the_task():
    with pytest.raises(ValueError, match=r"from 0 to 1 \(normal, abnormal\), found 0 to 5"):
        task_loss(CARDS["tuab"], torch.zeros(2, 1), torch.tensor([0, 5]))


def test_saved_base_is_the_same_model(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is MteegModel and not loaded.training
    assert torch.equal(
        loaded(**inputs_of("tuab")).last_hidden_state, model(**inputs_of("tuab")).last_hidden_state
    )


def test_start_values_are_the_published_ones():
    torch.manual_seed(0)
    model = MteegModel(MteegConfig.from_preset("base", num_hidden_layers=2, qkv_bias=True))
    layer = model.layers[1]
    assert torch.equal(layer.gamma_1, torch.full((200,), 0.1))
    assert torch.equal(model.fc_norm.weight, torch.ones(200)) and not model.fc_norm.bias.any()
    assert not layer.attention.q_bias.any() and not layer.mlp.fc1.bias.any()
    assert layer.attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    # The last linear layer of a branch shrinks with depth.
    assert layer.mlp.fc2.weight.std().item() == pytest.approx(0.02 / 2, rel=0.05)
    assert model.spatial_embedding.std().item() == pytest.approx(0.02, rel=0.05)
