"""Tasks in one model: adding, switching, merging, deleting them, and what they train."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import (
    CARDS,
    OPTIONS,
    batch_of,
    belongs_to,
    changed,
    inputs_of,
    logits_of,
    model_with_tasks,
    randomize,
    snapshot,
    tiny_model,
    trainable,
)
from torch import nn

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.model.lora import adapter_layers
from modeling_mteeg.model.task_head import TaskHead

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize(
    ("preset", "separate", "count"),
    [
        ("base", False, 1_848_399),
        ("large", False, 7_383_943),
        ("base", True, 2_078_799),
        ("large", True, 8_305_543),
    ],
)
def test_six_tasks_train_the_papers_number_of_parameters(preset, separate, count):
    with torch.device("meta"):
        model = MteegModel(MteegConfig.from_preset(preset))
        for task, card in CARDS.items():
            model.add_adapter(task, card=card, separate_qkv=separate)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count
    names = trainable(model)
    assert all(
        name.startswith("temporal_encoder.") or any(belongs_to(name, task) for task in CARDS)
        for name in names
    )


@pytest.mark.parametrize(
    ("location", "layers"),
    [
        ("both", {"qkv", "proj", "fc1", "fc2"}),
        ("attention", {"qkv", "proj"}),
        ("feed-forward", {"fc1", "fc2"}),
        ("none", set()),
    ],
)
def test_location_says_which_layers_have_an_adapter(location, layers):
    model = tiny_model()
    card = model.add_adapter("tuab", ["a", "b"], location=location, rank=5)
    found = adapter_layers(model, "tuab")
    assert {name.rpartition(".")[2] for name in found} == layers
    assert len(found) == 2 * len(layers)
    assert {layer.lora_A["tuab"].weight.shape[0] for layer in found.values()} <= {5}
    assert card.adapter == ("none" if location == "none" else "lora")
    assert model.has_adapters == bool(layers)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fresh_adapter_gives_the_bases_output_bit_for_bit(options):
    model = tiny_model()
    with torch.no_grad():
        expected = {task: model(**inputs_of(task)).last_hidden_state for task in CARDS}
        for task, card in CARDS.items():
            model.add_adapter(task, card=card, **options)
        for task in CARDS:
            found = model(**inputs_of(task), task=task).last_hidden_state
            assert torch.equal(found, expected[task])
    # Joint batches and training may take the products in another order.
    joint = model(tasks={task: inputs_of(task) for task in CARDS})
    for task in CARDS:
        for out in (model(**inputs_of(task), task=task), joint[task]):
            assert torch.allclose(out.last_hidden_state, expected[task], **CLOSE)


def test_base_is_used_where_no_task_is_active():
    model = model_with_tasks("tuab")
    base = tiny_model()
    model.set_adapter(None)
    out = model(**inputs_of("tuab"))
    assert out.logits is None
    assert torch.equal(out.pooler_output, base(**inputs_of("tuab")).pooler_output)
    named = model(**inputs_of("tuab"), task="tuab").pooler_output
    assert not torch.allclose(named, out.pooler_output, atol=1e-3)


def test_task_of_a_call_leaves_the_active_one():
    model = model_with_tasks("tuab", "seed-v")
    model.set_adapter("tuab")
    assert model(**inputs_of("seed-v"), task="seed-v").logits.shape == (3, 5)
    assert model.active_adapter == "tuab"
    assert torch.equal(
        model(**inputs_of("tuab")).logits, model(**inputs_of("tuab"), task="tuab").logits
    )


def test_switching_touches_no_module(monkeypatch):
    model = model_with_tasks("tuab", "seed-v")
    before, switches = snapshot(model), trainable(model)

    def refuse(*args, **kwargs):
        raise AssertionError("set_adapter walks over modules")

    for method in ("named_modules", "modules", "parameters", "named_parameters", "children"):
        monkeypatch.setattr(nn.Module, method, refuse)
    for task in ("tuab", "seed-v", None, "tuab"):
        model.set_adapter(task)
    monkeypatch.undo()
    assert not changed(model, before) and trainable(model) == switches


def test_tasks_named_like_parts_of_parameters_train_their_own():
    model = tiny_model(num_hidden_layers=1)
    names = ("weight", "layers", "attention", "heads", "default", "temporal-encoder", "a")
    for name in names:
        model.add_adapter(name, ["x", "y", "z"])
    for name in names:
        found = model.set_trainable([name], temporal_encoder=False)
        assert found and all(belongs_to(parameter, name) for parameter in found)
        assert len(found) == 2 + 2 * 4


def test_set_trainable_says_exactly_what_is_trained():
    model = model_with_tasks("tuab", "seed-v")
    everything = {name for name, _ in model.named_parameters()}
    encoder = {name for name in everything if name.startswith("temporal_encoder.")}
    own = {t: {n for n in everything if belongs_to(n, t)} for t in model.tasks}
    assert set(model.set_trainable()) == trainable(model) == encoder | own["tuab"] | own["seed-v"]
    assert set(model.set_trainable(["tuab"])) == trainable(model) == encoder | own["tuab"]
    assert set(model.set_trainable([], temporal_encoder=True)) == encoder == trainable(model)
    assert model.set_trainable([]) and not model.set_trainable([], temporal_encoder=False)
    assert set(model.set_trainable(everything=True)) == everything == trainable(model)
    with pytest.raises(ValueError, match="Unknown task 'nix'"):
        model.set_trainable(["nix"])


def test_new_parts_follow_the_models_mode():
    for mode in (True, False):
        model = tiny_model().train(mode)
        model.add_adapter("tuab", ["a", "b"], dropout=0.5)
        assert {module.training for module in model.modules()} == {mode}


def test_a_seventh_task_leaves_the_six_bit_for_bit():
    model = model_with_tasks()
    before, outputs = snapshot(model), logits_of(model)
    switches = trainable(model)
    model.add_adapter("my-task", list("abcdefg"), rank=4)
    after = logits_of(model, *outputs)
    assert all(torch.equal(after[task], outputs[task]) for task in outputs)
    assert {n for n, _ in model.named_parameters()} - set(before) == {
        n for n, _ in model.named_parameters() if belongs_to(n, "my-task")
    }
    assert switches < trainable(model) and model.active_adapter == "my-task"
    assert model(**inputs_of("tuev")).logits.shape == (3, 7)


@pytest.mark.parametrize("gone", CARDS)
def test_deleting_a_task_leaves_the_others(gone):
    model = model_with_tasks()
    kept = [task for task in CARDS if task != gone]
    model.set_trainable(kept[2:3], temporal_encoder=False)
    outputs, switches = logits_of(model, *kept), trainable(model)
    model.set_adapter(kept[0])
    model.delete_adapter(gone)
    assert list(model.tasks) == kept and model.active_adapter == kept[0]
    assert not any(belongs_to(name, gone) for name, _ in model.named_parameters())
    assert trainable(model) == switches
    after = logits_of(model)
    assert all(torch.equal(after[task], outputs[task]) for task in kept)
    with pytest.raises(ValueError, match=f"Unknown task '{gone}'"):
        model(**inputs_of(gone), task=gone)


def test_deleting_all_tasks_gives_the_plain_model_back():
    model, plain = model_with_tasks(), tiny_model()
    for task in CARDS:
        model.delete_adapter(task)
    kinds = [type(module) for module in plain.modules()]
    assert [type(module) for module in model.modules()] == kinds
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert not changed(model, snapshot(plain))
    assert not hasattr(model, "peft_config") and not model.tasks and not model.has_adapters
    assert model.active_adapter is None
    model.add_adapter("tuab", card=CARDS["tuab"])
    assert model(**batch_of("tuab")).loss is not None
    assert list(model.peft_config) == ["tuab"]


@pytest.mark.parametrize("first", OPTIONS, ids=str)
@pytest.mark.parametrize("second", [OPTIONS[0], OPTIONS[2], {"location": "none"}], ids=str)
def test_a_name_can_be_used_again_with_other_options(first, second):
    used, fresh = model_with_tasks("seed-v"), model_with_tasks("seed-v")
    used.add_adapter("tuab", card=CARDS["tuab"], **first)
    used.delete_adapter("tuab")
    state = model_with_tasks("tuab", options=second).adapter_state_dict("tuab")
    for model in (used, fresh):
        model.add_adapter("tuab", card=CARDS["tuab"], **second)
        model.load_adapter_state_dict("tuab", state)
    assert torch.equal(logits_of(used)["tuab"], logits_of(fresh)["tuab"])
    assert used.adapter_state_dict("tuab").keys() == state.keys()
    assert used.adapter_options == fresh.adapter_options and trainable(used) == trainable(fresh)


@pytest.mark.parametrize("options", [*OPTIONS, {"location": "none"}], ids=str)
def test_merging_gives_a_plain_network_with_the_same_output(options):
    model = model_with_tasks("tuab", "seed-v", options=options)
    expected = logits_of(model)["seed-v"]
    fingerprint = model.fingerprint()
    merged = copy.deepcopy(model).merge_and_unload("seed-v")
    assert list(merged.tasks) == ["seed-v"] and merged.active_adapter == "seed-v"
    assert {type(module) for module in merged.modules()} == (
        {type(module) for module in tiny_model().modules()} | {TaskHead}
    )
    assert torch.allclose(merged(**inputs_of("seed-v")).logits, expected, **CLOSE)
    assert (merged.fingerprint() == fingerprint) == (options.get("location") == "none")
    assert torch.equal(logits_of(model)["seed-v"], expected)


def test_merging_an_unknown_task_changes_nothing():
    model = model_with_tasks("tuab")
    with pytest.raises(ValueError, match=r"Unknown task 'nix'; this model holds \['tuab'\]"):
        model.merge_and_unload("nix")
    assert list(model.tasks) == ["tuab"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Tuab"}, "Task name: expected lower-case"),
        ({"name": "a.b"}, "Task name: expected lower-case"),
        ({"name": 0}, "Task name: expected lower-case"),
        ({"name": "qkv"}, "part of the model"),
        ({"name": "train"}, "part of the model"),
        ({"name": "tuab"}, "Task 'tuab' is already there"),
        ({"rank": 0}, "rank: expected a whole number above 0, found 0"),
        ({"rank": 2.0}, r"rank: .*found 2\.0"),
        ({"rank": True}, "rank: .*found True"),
        ({"scaling": 0}, "scaling: expected a number above 0, found 0"),
        ({"scaling": float("inf")}, "scaling: .*found inf"),
        ({"scaling": "1"}, "scaling: .*found '1'"),
        ({"dropout": 1}, r"dropout: expected a number in \[0, 1\), found 1"),
        ({"dropout": float("nan")}, "dropout: .*found nan"),
        ({"location": "mlp"}, "location: expected one of .*'feed-forward'.*found 'mlp'"),
        ({"location": ["both"]}, r"location: .*found \['both'\]"),
        ({"separate_qkv": "no"}, "separate_qkv: expected True or False, found 'no'"),
        ({"labels": ["a"]}, "two or more different labels"),
        ({"labels": None}, "Give either labels"),
        ({"card": CARDS["tuev"]}, "Give either labels"),
        ({"labels": None, "card": CARDS["tuev"], "window_s": 3}, r"not both; found \['window_s'\]"),
        ({"labels": None, "card": {"name": "x"}}, "card: expected a TaskCard, found dict"),
        ({"window": 3}, r"unknown fields \['window'\]"),
    ],
)
def test_wrong_use_of_add_adapter_changes_nothing(fields, message):
    model = model_with_tasks("tuab", num_hidden_layers=1)
    before, switches = snapshot(model), trainable(model)
    model.set_adapter(None)
    with pytest.raises(ValueError, match=message):
        model.add_adapter(**{"name": "new", "labels": ["a", "b"], **fields})
    assert not changed(model, before) and trainable(model) == switches
    assert list(model.tasks) == ["tuab"] and model.active_adapter is None
    assert list(model.peft_config) == ["tuab"]


@pytest.mark.parametrize(
    "method", ["set_adapter", "delete_adapter", "adapter_state_dict", "get_adapter_state_dict"]
)
def test_unknown_tasks_are_answered_with_the_known_ones(method):
    for model, held in ((tiny_model(), "no tasks"), (model_with_tasks("tuab"), "'tuab'")):
        with pytest.raises(ValueError, match=rf"Unknown task 'tuev'; this model holds .*{held}"):
            getattr(model, method)("tuev")
        with pytest.raises(ValueError, match=r"Unknown task \(1,\)|found \(1,\)|Unknown task 1"):
            getattr(model, method)((1,))


def test_models_can_be_copied():
    model = model_with_tasks("tuab", "seed-v")
    twin = copy.deepcopy(model)
    expected = logits_of(model)
    twin.delete_adapter("tuab")
    randomize(twin, seed=9)
    assert all(torch.equal(expected[task], value) for task, value in logits_of(model).items())
    assert list(model.tasks) == ["tuab", "seed-v"]
