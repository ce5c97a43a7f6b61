"""Bases and tasks on disk: saved and loaded is equal, for stock PEFT too; bases are told apart."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import (
    CARDS,
    OPTIONS,
    batch_of,
    batches,
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
from transformers import AutoModel

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.model.adapter_files import AdapterError

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
FILES = {"adapter_model.safetensors", "adapter_config.json", "head.safetensors", "task.json"}
CARD = {"README.md"}


def publish(model: MteegModel, folder: Path) -> Path:
    """Save the base with its tasks beside it."""
    model.save_pretrained(folder)
    for task in model.tasks:
        model.save_adapter(task, folder / "adapters" / task)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A base with six tasks on disk, and the logits they gave."""
    model = model_with_tasks()
    return publish(model, tmp_path_factory.mktemp("base")), logits_of(model)


def loaded_with(folder: Path, *tasks: str) -> MteegModel:
    model = AutoModel.from_pretrained(folder)
    for task in tasks or CARDS:
        model.load_adapter(task)
    return model


def test_a_base_is_saved_without_any_task(published):
    folder, _ = published
    names = set(load_file(folder / "model.safetensors"))
    assert names == set(tiny_model().state_dict())
    assert not (folder / "adapter_config.json").exists()
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["MteegModel"]


def test_a_task_is_four_files_and_a_model_card(published):
    folder, _ = published
    for task in CARDS:
        assert {path.name for path in (folder / "adapters" / task).iterdir()} == FILES | CARD


def test_base_and_six_tasks_saved_and_loaded_are_bit_for_bit_equal(published):
    folder, expected = published
    model = loaded_with(folder)
    assert list(model.tasks) == list(CARDS) and model.active_adapter == "physionet-mi"
    found = logits_of(model)
    assert all(torch.equal(found[task], expected[task]) for task in CARDS)
    for task, card in CARDS.items():
        assert model.tasks[task].replace(base=None) == card
        assert model.tasks[task].base["fingerprint"] == model.fingerprint()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options", [*OPTIONS, {"location": "none"}, {"rank": 7, "scaling": 0.1}])
def test_every_kind_of_adapter_saved_and_loaded_is_equal(options, tmp_path):
    model = model_with_tasks("tuab", "seed-v", options=options)
    publish(model, tmp_path)
    loaded = loaded_with(tmp_path, "seed-v", "tuab")
    assert not loaded.training and not any(part.training for part in loaded.modules())
    expected, found = logits_of(model), logits_of(loaded)
    for task in model.tasks:
        assert torch.equal(found[task], expected[task])
        first, second = model.adapter_state_dict(task), loaded.adapter_state_dict(task)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
        kept = loaded.adapter_options[task].to_dict()
        default = {"separate_qkv": False, "dropout": 0, "location": "both", "scaling": 1, "rank": 8}
        expected_options = default | options
        assert kept.pop("rank") == expected_options.pop("rank")
        assert kept == pytest.approx(expected_options)
    again = loaded.save_adapter("tuab", tmp_path / "again")
    loaded.save_adapter("tuab", again)
    files = FILES if loaded.has_adapters else {"head.safetensors", "task.json"}
    assert set(contents(again)) == files | CARD
    for name in {"adapter_model.safetensors", "head.safetensors"} & set(contents(again)):
        assert contents(again)[name] == contents(tmp_path / "adapters" / "tuab")[name]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_stock_peft_gives_the_same_features(options, tmp_path):
    model = model_with_tasks("tuab", "seed-v", options=options)
    base = AutoModel.from_pretrained(publish(model, tmp_path))
    inputs = inputs_of("seed-v")
    expected = model(**inputs, task="seed-v")
    bare = base(**inputs).last_hidden_state
    stock = PeftModel.from_pretrained(base, tmp_path / "adapters" / "seed-v").eval()
    found = stock(**inputs)
    assert torch.allclose(found.last_hidden_state, expected.last_hidden_state, **CLOSE)
    assert torch.allclose(found.pooler_output, expected.pooler_output, **CLOSE)
    assert not torch.allclose(bare, expected.last_hidden_state, atol=1e-3)


def test_saved_adapters_are_the_same_file_in_every_process(published):
    folder, _ = published
    config = json.loads((folder / "adapters" / "tuab" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["fc1", "fc2", "proj", "qkv"]
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (8, 8, "LORA")
    assert config["inference_mode"] is True  # stock PEFT then loads it frozen


def test_a_base_adapter_with_head_is_small(tmp_path):
    model = MteegModel(MteegConfig.from_preset("base"))
    model.add_adapter("tuev", card=CARDS["tuev"])
    folder = model.save_adapter("tuev", tmp_path)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1.3e6


def test_tasks_move_between_models_as_tensors():
    first, second = model_with_tasks("tuab"), tiny_model()
    second.add_adapter("tuab", card=CARDS["tuab"])
    second.load_adapter_state_dict("tuab", first.adapter_state_dict("tuab"))
    assert torch.equal(logits_of(first)["tuab"], logits_of(second)["tuab"])


def test_card_can_be_changed_when_saving(tmp_path):
    model = model_with_tasks("tuab")
    folder = model.save_adapter("tuab", tmp_path, results={"auroc": 0.5}, simulated=True)
    card = tiny_model().load_adapter(folder)
    assert card.results == {"auroc": 0.5} and card.simulated
    with pytest.raises(ValueError, match=r"unknown fields \['result'\]"):
        model.save_adapter("tuab", tmp_path / "new", result={})
    assert not (tmp_path / "new").exists()


def test_a_task_can_be_loaded_from_anywhere_under_another_name(published, tmp_path, monkeypatch):
    folder, expected = published
    model = AutoModel.from_pretrained(folder)
    for place in (folder / "adapters" / "tuab", str(folder / "adapters" / "tuab")):
        card = model.load_adapter(place, adapter_name="other")
        assert card.name == "other" == model.active_adapter
        assert torch.equal(model(**inputs_of("tuab")).logits, expected["tuab"])
        model.delete_adapter("other")
    monkeypatch.chdir(folder / "adapters")
    moved = AutoModel.from_pretrained(publish(tiny_model(), tmp_path))
    assert moved.load_adapter("./seed-v").name == "seed-v"


def test_transformers_loads_the_base_of_a_tasks_folder(tmp_path):
    model = AutoModel.from_pretrained(publish(tiny_model(), tmp_path))
    model.add_adapter("seed-v", card=CARDS["seed-v"])
    randomize(model)
    folder = model.save_adapter("seed-v", tmp_path / "adapters" / "seed-v")
    by_task = AutoModel.from_pretrained(folder)
    beside = AutoModel.from_pretrained(tmp_path, adapter_kwargs={"subfolder": "adapters/seed-v"})
    for found in (by_task, beside):
        assert found.active_adapter == "seed-v"
        assert torch.equal(logits_of(found)["seed-v"], logits_of(model)["seed-v"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_base_is_the_same_base(published, dtype, tmp_path):
    folder, expected = published
    base = AutoModel.from_pretrained(folder)
    half = AutoModel.from_pretrained(folder, dtype=dtype)
    assert half.fingerprint() == base.fingerprint() == base.config.fingerprint
    half.load_adapter("tuab")
    publish(half, tmp_path)
    for precision in (dtype, torch.float32):
        again = AutoModel.from_pretrained(tmp_path, dtype=precision)
        assert again.fingerprint() == base.fingerprint()
        again.load_adapter("tuab")
        found = logits_of(again)["tuab"]
        assert torch.allclose(found, expected["tuab"], rtol=0.1, atol=0.1)
    first, second = half.adapter_state_dict("tuab"), again.adapter_state_dict("tuab")
    assert all(torch.equal(first[key], second[key]) for key in first)
    with torch.no_grad():
        half.temporal_encoder.conv1.weight[0] += 0.5
    assert half.fingerprint() != base.fingerprint()
    merged = AutoModel.from_pretrained(folder, dtype=dtype)
    merged.load_adapter("tuab")
    assert merged.merge_and_unload("tuab").fingerprint() != base.fingerprint()


def test_fingerprint_is_that_of_the_base_alone(tmp_path):
    model = tiny_model()
    fingerprint = model.fingerprint()
    assert fingerprint == tiny_model().fingerprint() != tiny_model(seed=1).fingerprint()
    model.add_adapter("tuab", card=CARDS["tuab"])
    assert model.fingerprint() == fingerprint
    randomize(model)
    model.delete_adapter("tuab")
    assert model.fingerprint() == fingerprint
    model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).fingerprint() == fingerprint


@pytest.mark.parametrize(
    "name",
    ["temporal_encoder.conv3.bias", "cls_token", "layers.1.mlp.fc1.weight", "fc_norm.bias"],
)
def test_an_adapter_refuses_a_base_that_was_changed(published, name):
    folder, _ = published
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[-1] += 1e-3
    with pytest.raises(AdapterError, match=r"belongs to the base with fingerprint .* this model's"):
        model.load_adapter("tuab")
    assert not model.tasks


def test_an_adapter_refuses_a_base_of_another_width(published):
    folder, _ = published
    model = MteegModel(MteegConfig.from_preset("base", num_hidden_layers=1))
    with pytest.raises(AdapterError, match=r"base of width 100 .*this model has width 200"):
        model.load_adapter(folder / "adapters" / "tuab")


def test_an_unknown_name_lists_what_lies_beside_the_base(published):
    folder, _ = published
    model = AutoModel.from_pretrained(folder)
    with pytest.raises(AdapterError) as error:
        model.load_adapter("sleep")
    assert str(folder / "adapters" / "sleep") in str(error.value)
    assert ", ".join(sorted(CARDS)) in str(error.value)


def test_names_are_checked_when_loading(published):
    folder, _ = published
    model = loaded_with(folder, "tuab")
    with pytest.raises(ValueError, match="Task 'tuab' is already there; pass another adapter_name"):
        model.load_adapter("tuab")
    with pytest.raises(ValueError, match="Task 'tuab' is already there"):
        model.load_adapter("tuev", adapter_name="tuab")
    for name in ("Tuev", "a.b", "0", "qkv", "train"):
        with pytest.raises(ValueError, match="Task name"):
            model.load_adapter("tuev", adapter_name=name)
    assert list(model.tasks) == ["tuab"]


def test_a_task_that_is_not_there_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="Unknown task 'tuev'; this model holds no tasks"):
        tiny_model().save_adapter("tuev", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_seventh_task_is_trained_beside_six_loaded_ones(published, tmp_path):
    folder, expected = published
    model = loaded_with(folder)
    before = snapshot(model)
    model.add_adapter("my-task", list("abc"), rank=4)
    assert all(belongs_to(name, "my-task") for name in trainable(model))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    batch = batch_of("tuab") | {"labels": torch.tensor([0, 1, 2])}
    for _ in range(2):
        model.train()(tasks={"my-task": batch, **batches("tuev")})["my-task"].loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    assert not any(not torch.equal(model.get_parameter(n), value) for n, value in before.items())
    found = logits_of(model, *CARDS)
    assert all(torch.equal(found[task], expected[task]) for task in CARDS)
    saved = model.save_adapter("my-task", tmp_path)
    fresh = AutoModel.from_pretrained(folder)
    fresh.load_adapter(saved)
    seventh = model(**inputs_of("tuab"), task="my-task").logits
    assert torch.equal(fresh(**inputs_of("tuab")).logits, seventh)
    assert seventh.any()


def test_loaded_tasks_protect_the_shared_weights(published):
    folder, _ = published
    model = loaded_with(folder, "tuab", "tuev")
    assert not any(name.startswith("temporal_encoder") for name in trainable(model))
    model.add_adapter("my-task", list("abc"))
    switches = trainable(model)
    for wanted in ({"temporal_encoder": True}, {"everything": True}):
        with pytest.raises(ValueError, match=r"change the results of \['tuab', 'tuev'\]"):
            model.set_trainable(["my-task"], **wanted)
        assert trainable(model) == switches
    assert model.set_trainable(["tuab", "tuev", "my-task"], temporal_encoder=True)
    model.delete_adapter("tuab")
    with pytest.raises(ValueError, match=r"change the results of \['tuev'\]"):
        model.set_trainable(["my-task"], temporal_encoder=True)
    model.delete_adapter("tuev")
    names = model.set_trainable(["my-task"])
    assert any(name.startswith("temporal_encoder") for name in names)


@pytest.mark.parametrize("options", [{}, {"separate_qkv": True, "scaling": 2.0}], ids=str)
def test_a_merged_model_saved_and_loaded_is_equal(options, tmp_path):
    model = model_with_tasks("tuab", "seed-v", options=options)
    publish(model, tmp_path / "first")
    merged = copy.deepcopy(model).merge_and_unload("seed-v")
    folder = publish(merged, tmp_path / "merged")
    loaded = loaded_with(folder, "seed-v")
    assert loaded.tasks["seed-v"].adapter == "none" and not loaded.has_adapters
    found = logits_of(loaded)["seed-v"]
    assert torch.equal(found, logits_of(merged)["seed-v"])
    assert torch.allclose(found, logits_of(model)["seed-v"], **CLOSE)
    with pytest.raises(AdapterError, match="belongs to the base with fingerprint"):
        loaded.load_adapter(tmp_path / "first" / "adapters" / "tuab")
    assert not changed(loaded, snapshot(merged))
