"""Heads: what each kind computes, by its definition; channels by name; files, masks, merging."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import load_file, save_file
from scipy.signal import welch
from tiny_models import (
    CARDS,
    HEADS,
    batch_of,
    batches,
    belongs_to,
    changed,
    inputs_of,
    logits_of,
    model_with_tasks,
    snapshot,
    tiny_model,
    trainable,
)
from transformers import AutoModel

from modeling_mteeg import MteegModel, TaskCard, channel_ids
from modeling_mteeg.hub.publication import read_publication
from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.model.channel_order import ChannelOrder
from modeling_mteeg.model.head_options import PLAIN_HEAD, HeadOptions
from modeling_mteeg.model.log_band_power import BANDS_HZ, LogBandPower
from modeling_mteeg.model.task_card import TaskCardError
from modeling_mteeg.model.task_head import TaskHead

MIXED = dict(zip(CARDS, HEADS, strict=True))
"""Every task of the six with another head."""
BY_CHANNEL = {"seed-v": {"kind": "channels"}, "chb-mit": {"kind": "channels", "hidden": 9}}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def model() -> MteegModel:
    return model_with_tasks(heads=MIXED)


# Options and cards -------------------------------------------------------------------------------


def test_a_card_that_names_no_head_means_the_papers():
    card = CARDS["seed-v"]
    assert card.head == PLAIN_HEAD == HeadOptions("mean", None, 0.0, 1)
    assert "head" not in card.to_dict()
    assert card == card.replace(head="mean") == card.replace(head={"hidden": None})
    head = TaskHead(card, 100)
    assert {key: tuple(value.shape) for key, value in head.state_dict().items()} == {
        "weight": (5, 100), "bias": (5,)
    }  # fmt: skip


@pytest.mark.parametrize("options", HEADS, ids=str)
def test_a_card_keeps_its_head(options, tmp_path):
    card = CARDS["seed-v"].replace(head=options)
    assert card.head == HeadOptions(**options)
    card.save(tmp_path)
    assert TaskCard.load(tmp_path) == card
    assert json.loads((tmp_path / "task.json").read_text()).get("head", {"kind": "mean"}) == options


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("median", r"head: expected one of \['mean', 'channels', 'attention'\], found 'median'"),
        ("auto", "found 'auto'"),
        ({"knid": "mean"}, "a mapping with kind, hidden, dropout, queries, band_power"),
        ({"band_power": True}, "true for a head of kind 'channels', found True for 'mean'"),
        ({"kind": "channels", "band_power": 1}, "found 1 for 'channels'"),
        ({"hidden": 0}, "hidden: expected a whole number from 1 to"),
        ({"hidden": True}, "hidden: expected a whole number"),
        ({"hidden": 10**9}, "hidden: expected a whole number from 1 to 65536"),
        ({"dropout": 1}, r"dropout: expected a number in \[0, 1\)"),
        ({"queries": 2}, "from 1 to 1 for a head of kind 'mean'"),
        ({"kind": ["mean"]}, "found"),
        (3, "found 3"),
        (None, "found None"),
    ],
)
def test_what_is_no_head_is_refused(head, message):
    with pytest.raises(TaskCardError, match=message):
        CARDS["seed-v"].replace(head=head)


def test_a_channels_head_needs_all_channels():
    with pytest.raises(TaskCardError, match="found 0 channels"):
        TaskCard("any", ("a", "b"), head="channels")
    with pytest.raises(TaskCardError, match="max_missing_channels 1"):
        CARDS["seed-v"].replace(head="channels", max_missing_channels=1)


# What the kinds compute --------------------------------------------------------------------------


def test_the_mean_head_is_linear_on_the_pooled_output_to_the_bit(model):
    out = model(**inputs_of("tuab"), task="tuab")
    head = model.heads["tuab"]
    assert torch.equal(out.logits, F.linear(out.pooler_output, head.weight, head.bias))


def test_the_channels_head_is_a_linear_map_of_every_channels_mean(model):
    card, head = CARDS["seed-v"], model.heads["seed-v"]
    out = model(**inputs_of("seed-v"), task="seed-v")
    tokens = out.last_hidden_state[:, 1:]
    expected = head.bias.expand(3, -1)
    width = model.config.hidden_size
    for place in range(len(card.channels)):
        own = tokens[:, place * card.patches : (place + 1) * card.patches].mean(1)
        weight = head.weight[:, place * width : (place + 1) * width]
        expected = expected + model.fc_norm(own) @ weight.T
    torch.testing.assert_close(out.logits, expected, **CLOSE)


def test_the_attention_head_is_a_softmax_over_normalised_tokens(model):
    head = copy.deepcopy(model.heads["sleep-edf"])
    with torch.no_grad():
        head.query.mul_(50)  # far from equal weights
    out = model(**inputs_of("sleep-edf"), task="sleep-edf")
    tokens = model.fc_norm(out.last_hidden_state[:, 1:])
    inputs = inputs_of("sleep-edf")
    weights = torch.exp(tokens @ head.query[0] / tokens.shape[-1] ** 0.5)
    weights = weights / weights.sum(1, keepdim=True)
    assert weights.max() > 2 * weights.mean()
    expected = (weights[..., None] * tokens).sum(1) @ head.weight.T + head.bias
    tokens = out.last_hidden_state, out.pooler_output
    arguments = *tokens, inputs["channel_ids"], model.fc_norm, inputs["input_values"]
    torch.testing.assert_close(head(*arguments), expected, **CLOSE)
    torch.testing.assert_close(head.shares(out.last_hidden_state, model.fc_norm), weights, **CLOSE)


def test_band_power_is_welchs_and_stands_behind_the_tokens(model):
    """scipy's estimate, in the order of the card's channels whatever the window's."""
    card = CARDS["seed-v"].replace(head={"kind": "channels", "band_power": True})
    model = tiny_model()
    model.add_adapter("seed-v", card=card)
    inputs = inputs_of("seed-v")
    features = model.head_features(**inputs, task="seed-v").detach().numpy()
    width = len(card.channels) * model.config.hidden_size
    tokens = model(**inputs, task="seed-v").last_hidden_state[:, 1:]
    means = tokens.unflatten(1, (len(card.channels), card.patches)).mean(2)
    tokens = model.fc_norm(means).flatten(1).detach().numpy()
    np.testing.assert_allclose(features[:, :width], tokens, rtol=1e-4, atol=1e-4)
    signal = inputs["input_values"].double().flatten(2).numpy() * card.scale_uv  # microvolt
    hz, density = welch(signal, card.rate_hz, nperseg=200, noverlap=0)
    powers = [density[..., (hz >= low) & (hz < high)].mean(-1) for low, high in BANDS_HZ.values()]
    expected = np.log(np.stack(powers, -1) + 1e-3).reshape(len(signal), -1)
    np.testing.assert_allclose(features[:, width:], expected, rtol=1e-4, atol=1e-4)
    turned = {key: value.flip(-3 if key == "input_values" else 0) for key, value in inputs.items()}
    again = model.head_features(**turned, task="seed-v").detach().numpy()
    np.testing.assert_allclose(again, features, rtol=1e-3, atol=1e-3)


def test_a_flat_channel_has_a_logarithm_and_a_gradient():
    values = torch.zeros(1, 2, 2, 200)
    values[0, 1] = torch.randn(2, 200)
    values.requires_grad_()
    found = LogBandPower(200, 200.0, 100.0)(values)
    found.sum().backward()
    assert found.isfinite().all() and values.grad.isfinite().all()
    assert values.grad[0, 1].abs().max() > 0


def test_a_hidden_layer_is_one_of_gelu(model):
    head, out = model.heads["tuev"], model(**inputs_of("tuev"), task="tuev")
    inner = F.gelu(out.pooler_output @ head.hidden.weight.T + head.hidden.bias)
    torch.testing.assert_close(out.logits, inner @ head.weight.T + head.bias, **CLOSE)


@pytest.mark.parametrize("task", MIXED)
def test_head_features_are_what_the_output_layer_gets(model, task):
    features, head = model.head_features(**inputs_of(task), task=task), model.heads[task]
    assert features.shape == (3, head.in_features)
    logits = F.linear(features, head.weight, head.bias)
    assert torch.equal(logits, model(**inputs_of(task), task=task).logits)


def test_dropout_is_for_training_alone(model):
    task = "chb-mit"  # dropout 0.2 and a hidden layer
    trained = copy.deepcopy(model)
    trained.heads[task].train()
    first, second = (trained(**inputs_of(task), task=task).logits for _ in range(2))
    assert not torch.allclose(first, second)
    trained.eval()
    assert torch.equal(*(trained(**inputs_of(task), task=task).logits for _ in range(2)))


# Channels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", MIXED)
def test_permuted_channels_give_the_same_logits(model, task):
    inputs = inputs_of(task)
    expected = model(**inputs, task=task).logits
    order = torch.randperm(len(CARDS[task].channels), generator=torch.Generator().manual_seed(3))
    moved = {"input_values": inputs["input_values"][:, order],
             "channel_ids": inputs["channel_ids"][order]}  # fmt: skip
    torch.testing.assert_close(model(**moved, task=task).logits, expected, **CLOSE)


@pytest.mark.parametrize("bipolar", ["mean", "table"])
def test_channels_are_told_apart_by_name_derivations_too(bipolar):
    """Only values that change place change the answer; both ways to give ``channel_ids`` agree."""
    names = ("FP1", "F7-T7", "T7-F7", "C3-P3")
    card = TaskCard("turned", ("a", "b"), names, window_s=1, bipolar=bipolar, head="channels")
    model = tiny_model()
    model.add_adapter("turned", card=card)
    torch.nn.init.normal_(model.heads["turned"].weight, std=0.2)
    values = torch.randn(2, 4, 1, 200, generator=torch.Generator().manual_seed(0))
    ids = torch.from_numpy(channel_ids(names, bipolar))
    orders = torch.tensor([[0, 1, 2, 3], [2, 0, 3, 1]])  # of the two samples
    expected = model(input_values=values, channel_ids=ids).logits
    moved = {"input_values": torch.stack([row[at] for row, at in zip(values, orders, strict=True)]),
             "channel_ids": ids[orders]}  # fmt: skip
    torch.testing.assert_close(model(**moved).logits, expected, **CLOSE)
    exchanged = model(input_values=values[:, [0, 2, 1, 3]], channel_ids=ids).logits
    assert (exchanged - expected).abs().max() > 1e-3


def others(task: str) -> dict[str, dict[str, torch.Tensor]]:
    """Windows whose channels are not the task's."""
    inputs = inputs_of(task)
    values, ids = inputs["input_values"], inputs["channel_ids"]
    wrong = ids.clone()
    wrong[1] = torch.tensor([17, 17])
    more = torch.cat([ids, wrong[1:2]])
    one = torch.stack([ids, wrong, ids])
    return {
        "lacking": {"input_values": values[:, 1:], "channel_ids": ids[1:]},
        "another": {"input_values": values, "channel_ids": wrong},
        "one more": {"input_values": torch.cat([values, values[:, :1]], 1), "channel_ids": more},
        "one sample": {"input_values": values, "channel_ids": one},
    }


@pytest.mark.parametrize("task", BY_CHANNEL)
@pytest.mark.parametrize("what", ["lacking", "another", "one more", "one sample"])
@pytest.mark.parametrize("training", [False, True])
def test_other_channels_are_refused(task, what, training):
    model = model_with_tasks(task, heads=BY_CHANNEL).train(training)
    names = CARDS[task].channels
    absent = {"lacking": names[0], "one more": None}.get(what, names[1])
    with pytest.raises(ValueError, match=f"exactly its {len(names)} channels") as caught:
        model(**others(task)[what], task=task)
    text = str(caught.value)
    assert (f"without {absent}." in text or f"without {absent}," in text) == (absent is not None)
    assert ("1 of them unknown to it" in text) == (what != "lacking")
    assert "Interpolate missing channels" in text and "mean or attention" in text


@pytest.mark.parametrize("what", ["lacking", "another", "one more", "one sample"])
def test_where_nothing_can_be_raised_the_answer_is_no_number(what, monkeypatch):
    """On an accelerator in training, and in graphs."""
    model = model_with_tasks("seed-v", heads=BY_CHANNEL)
    monkeypatch.setattr(ChannelOrder, "_may_ask", lambda *_: False)
    wrong = model(**others("seed-v")[what], task="seed-v").logits.isnan().all(1)
    assert wrong.tolist() == ([False, True, False] if what == "one sample" else [True] * 3)
    assert not model(**inputs_of("seed-v"), task="seed-v").logits.isnan().any()


# Several tasks, files ----------------------------------------------------------------------------


def test_mixed_heads_in_one_pass_give_what_each_gives_alone(model):
    together = model(tasks={task: inputs_of(task) for task in MIXED})
    for task, expected in logits_of(model).items():
        torch.testing.assert_close(together[task].logits, expected, **CLOSE)


def test_every_parameter_of_a_head_belongs_to_its_task(model):
    own = copy.deepcopy(model)
    for task in MIXED:
        names = set(own.set_trainable([task], temporal_encoder=False))
        assert names == trainable(own) == {n for n in snapshot(own) if belongs_to(n, task)}
        shapes = CARDS[task].replace(head=MIXED[task]).head_shapes(100)
        heads = {n.removeprefix(f"heads.{task}."): tuple(own.get_parameter(n).shape)
                 for n in names if n.startswith("heads.")}  # fmt: skip
        assert heads == shapes


def test_a_step_on_one_task_moves_all_of_its_head_and_no_other():
    model = model_with_tasks(heads=MIXED).train()
    for task in MIXED:
        model.set_trainable()
        before = snapshot(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.zero_grad()
        model(tasks=batches(task))[task].loss.backward()
        optimizer.step()
        moved = {name for name in changed(model, before) if name.startswith("heads.")}
        assert moved == {n for n in before if n.startswith("heads.") and belongs_to(n, task)}


def test_heads_saved_and_loaded_are_equal_to_the_bit(model, tmp_path):
    model.save_pretrained(tmp_path)
    for task in MIXED:
        folder = model.save_adapter(task, tmp_path / "adapters" / task)
        stored = load_file(folder / "head.safetensors")
        card = CARDS[task].replace(head=MIXED[task])
        assert {k: tuple(v.shape) for k, v in stored.items()} == card.head_shapes(100)
        said = "| head |" in (folder / "README.md").read_text("utf-8")
        assert said == (card.head != PLAIN_HEAD)
    loaded = AutoModel.from_pretrained(tmp_path)
    for task in MIXED:
        assert loaded.load_adapter(task).head == HeadOptions(**MIXED[task])
    expected = logits_of(model)
    assert all(torch.equal(found, expected[task]) for task, found in logits_of(loaded).items())
    publication = read_publication(tmp_path)
    assert publication.fingerprint == loaded.fingerprint() == tiny_model().fingerprint()
    renamed = AutoModel.from_pretrained(tmp_path)
    renamed.load_adapter(tmp_path / "adapters" / "seed-v", "mine")
    assert torch.equal(renamed(**inputs_of("seed-v")).logits, expected["seed-v"])


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("seed-v", {"kind": "mean"}, r"head.weight: expected shape \(5, 100\), found \(5, 600\)"),
        ("tuab", {"kind": "channels"}, r"head.weight: expected shape \(1, 400\), found \(1, 100\)"),
        ("tuev", {"hidden": 65_536}, r"head.weight: expected shape \(6, 65536\)"),
        ("tuev", {}, r"head.weight: expected shape \(6, 100\), found \(6, 7\)"),
        ("sleep-edf", {"kind": "mean"}, "expected .* of the head, found .*head.query"),
        ("physionet-mi", {"kind": "attention", "hidden": 5, "queries": 9},
         r"head.hidden.weight: expected shape \(5, 900\), found \(5, 300\)"),
    ],
)  # fmt: skip
def test_a_card_that_claims_another_head_is_refused_by_the_headers(
    model, tmp_path, monkeypatch, task, change, message
):
    folder = model.save_adapter(task, tmp_path / task)
    path = folder / "task.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "head": change}))

    def never(*_):
        raise AssertionError("a head was made of claims that the files do not bear out")

    monkeypatch.setattr(TaskHead, "__init__", never)
    with pytest.raises(AdapterError, match=message):
        tiny_model().load_adapter(folder)
    with pytest.raises(AdapterError, match="expected shapes"):
        read_publication(folder)


def test_a_head_that_lacks_a_tensor_is_refused(model, tmp_path):
    folder = model.save_adapter("sleep-edf", tmp_path / "task")
    tensors = load_file(folder / "head.safetensors")
    del tensors["query"]
    save_file(tensors, folder / "head.safetensors", metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"head.query: expected shape \(1, 100\), found nothing"):
        tiny_model().load_adapter(folder)


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("seed-v", {"channels": CARDS["seed-v"].channels[::-1]}),
        ("seed-v", {"head": "mean"}),
        ("tuab", {"head": "attention"}),
        ("tuab", {"labels": ("a", "b", "c"), "loss": "cross_entropy"}),
    ],
)
def test_a_card_that_the_weights_do_not_go_with_is_not_saved(model, tmp_path, task, changes):
    with pytest.raises(ValueError, match=f"{min(changes)}.*it was made for head mean"):
        model.save_adapter(task, tmp_path / "task", **changes)
    assert not (tmp_path / "task").exists()
    model.save_adapter("tuab", tmp_path / "task", channels=CARDS["tuab"].channels[::-1])


@pytest.mark.parametrize("task", MIXED)
def test_merging_keeps_the_head(model, task):
    expected = model(**inputs_of(task), task=task).logits
    merged = copy.deepcopy(model).merge_and_unload(task)
    assert merged.tasks[task].head == HeadOptions(**MIXED[task])
    torch.testing.assert_close(merged(**inputs_of(task)).logits, expected, rtol=1e-4, atol=1e-4)


def test_a_base_in_half_precision_has_heads_in_full():
    for task, head in MIXED.items():
        model = tiny_model().bfloat16()
        model.add_adapter(task, card=CARDS[task].replace(head=head))
        assert {p.dtype for p in model.heads[task].parameters()} == {torch.float32}
        batch = batch_of(task)
        batch["input_values"] = batch["input_values"].bfloat16()
        loss = model(**batch).loss
        loss.backward()
        assert loss.isfinite() and model.heads[task].weight.grad.abs().max() > 0


def test_stock_peft_gives_the_features_that_a_head_reads(model, tmp_path):
    """It knows no heads, so that the kind does not matter to it."""
    model.save_pretrained(tmp_path)
    for task in ("seed-v", "sleep-edf"):
        folder = model.save_adapter(task, tmp_path / "adapters" / task)
        stock = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path), folder).eval()
        inputs = inputs_of(task)
        out, head = stock(**inputs), model.heads[task]
        window = inputs["channel_ids"], model.fc_norm, inputs["input_values"]
        found = head(out.last_hidden_state, out.pooler_output, *window)
        expected = model(**inputs_of(task), task=task).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
