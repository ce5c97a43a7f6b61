"""Compiled layers and regions: the same files, the same fingerprint, the same tasks."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import TorchDynamoPlugin, compile_regions
from safetensors.torch import load_file
from stock_models import Windows, held
from tiny_models import CARDS, batch_of, logits_of, model_with_tasks, randomize, tiny_model
from transformers import AutoModel, Trainer, TrainingArguments

from modeling_mteeg import MteegModel

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
EAGER = {"backend": "eager"}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def one_layer(model: MteegModel) -> MteegModel:
    model.layers[0] = torch.compile(model.layers[0], **EAGER)
    return model


def in_place(model: MteegModel) -> MteegModel:
    for layer in model.layers:
        layer.compile(**EAGER)
    return model


def regions(model: MteegModel) -> MteegModel:
    return compile_regions(model, **EAGER)


def prepared(model: MteegModel) -> MteegModel:
    """By accelerate, which compiles regions; unwrapped for saving, still compiled."""
    plugin = TorchDynamoPlugin(backend="eager", use_regional_compilation=True)
    accelerator = Accelerator(cpu=True, dynamo_plugin=plugin)
    return accelerator.unwrap_model(accelerator.prepare(model), keep_torch_compile=True)


def whole(model: MteegModel) -> MteegModel:
    return torch.compile(model, **EAGER)


WAYS = [one_layer, in_place, regions, prepared, whole]


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors of all files below a folder."""
    files = sorted(folder.rglob("*.safetensors"))
    return {str(path.relative_to(folder)): load_file(path) for path in files}


def assert_same_files(folder: Path, expected: Path) -> None:
    found, wanted = weights(folder), weights(expected)
    assert found.keys() == wanted.keys()
    for name, tensors in wanted.items():
        assert found[name].keys() == tensors.keys()
        assert all(torch.equal(found[name][key], value) for key, value in tensors.items())


@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_model_is_saved_as_the_plain_one(way, tmp_path):
    model = held()
    expected, fingerprint = logits_of(model), model.fingerprint()
    names = {name.replace("_orig_mod.", "") for name in model.set_trainable()}
    model.save_pretrained(tmp_path / "plain")
    model.save_pretrained(tmp_path / "checkpoint-1", state_dict=None)
    compiled = way(copy.deepcopy(model))
    assert compiled.fingerprint() == fingerprint
    assert {name.replace("_orig_mod.", "") for name in compiled.set_trainable()} == names
    compiled.save_pretrained(tmp_path / "saved")
    assert_same_files(tmp_path / "saved", tmp_path / "plain")
    assert compiled.config.fingerprint == fingerprint
    for given in (None, compiled.state_dict()):
        compiled.save_pretrained(tmp_path / "again/checkpoint-1", state_dict=given)
        assert_same_files(tmp_path / "again/checkpoint-1", tmp_path / "checkpoint-1")
    loaded = AutoModel.from_pretrained(tmp_path / "saved")
    loaded.load_adapters()
    assert all(torch.equal(expected[task], new) for task, new in logits_of(loaded).items())


@pytest.mark.slow
@pytest.mark.parametrize("way", [one_layer, regions])
def test_tasks_come_and_go_in_a_compiled_model(way, tmp_path):
    saved = held()
    saved.save_pretrained(tmp_path)
    expected = logits_of(saved)
    model = way(MteegModel.from_pretrained(tmp_path))
    model.load_adapters()
    assert torch.allclose(logits_of(model, "seed-v")["seed-v"], expected["seed-v"], **CLOSE)
    model.add_adapter("tuev", card=CARDS["tuev"])
    model.train()
    model(**batch_of("tuev")).loss.backward()
    gradients = {name for name, value in model.named_parameters() if value.grad is not None}
    assert gradients and all("tuev" in name for name in gradients), "the others are from disk"
    model.eval()
    model.delete_adapter("tuab")
    assert torch.allclose(logits_of(model, "seed-v")["seed-v"], expected["seed-v"], **CLOSE)
    model.merge_and_unload("seed-v")
    assert torch.allclose(logits_of(model, "seed-v")["seed-v"], expected["seed-v"], **CLOSE)


@pytest.mark.parametrize("way", WAYS[:-1])  # torch's own wrapper takes its own names alone
def test_weights_load_into_a_compiled_model_and_out_of_one(way):
    model, other = held(), held()
    randomize(other, seed=8)
    with torch.no_grad():
        other.fc_norm.weight.add_(1)
    compiled = way(copy.deepcopy(other))
    model.load_state_dict(compiled.state_dict())
    assert model.fingerprint() == other.fingerprint()
    assert torch.equal(logits_of(model)["tuab"], logits_of(other)["tuab"])
    compiled.load_state_dict(held().state_dict())
    assert compiled.fingerprint() == held().fingerprint()
    found, wanted = (one.adapter_state_dict("tuab") for one in (compiled, held()))
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_a_linear_layer_that_was_compiled_by_itself(tmp_path):
    model = held()
    expected = logits_of(model)
    model.save_pretrained(tmp_path / "plain")
    mlp = model.layers[0].mlp
    mlp.fc1 = torch.compile(mlp.fc1, **EAGER)
    assert torch.allclose(logits_of(model, "tuab")["tuab"], expected["tuab"], **CLOSE)
    model.save_pretrained(tmp_path / "saved")
    assert_same_files(tmp_path / "saved", tmp_path / "plain")
    fresh = tiny_model(num_hidden_layers=1)
    fresh.layers[0].mlp.fc1 = torch.compile(fresh.layers[0].mlp.fc1, **EAGER)
    before = {name: type(module) for name, module in fresh.named_modules()}
    for act in (
        lambda: fresh.add_adapter("tuab", card=CARDS["tuab"]),
        lambda: fresh.load_adapter(tmp_path / "saved/adapters/tuab"),
    ):
        with pytest.raises(ValueError, match=r"found layers\.0\.mlp\.fc1 compiled by itself"):
            act()
        assert not fresh.tasks and not fresh.adapter_options
        assert {name: type(module) for name, module in fresh.named_modules()} == before


def trainer_of(model: MteegModel, folder: Path, **settings) -> Trainer:
    arguments = TrainingArguments(
        str(folder), max_steps=2, save_steps=2, report_to=[], use_cpu=True, disable_tqdm=True,
        torch_compile=True, torch_compile_backend="eager", **settings,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=Windows("tuab"))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_model_gives_the_same(way):
    model = model_with_tasks("tuab", "seed-v")
    expected = logits_of(model)
    for task, logits in logits_of(way(model)).items():
        assert torch.allclose(logits, expected[task], **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("region", [False, True], ids=["whole", "regions"])
def test_a_trainer_that_compiles_saves_plain_names(region, tmp_path, monkeypatch):
    if region:
        monkeypatch.setenv("ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION", "true")
    model = model_with_tasks("tuab")
    trainer = trainer_of(model, tmp_path)
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    expected = logits_of(model.eval())
    for place in ("saved", "checkpoint-2"):
        assert not [key for part in weights(tmp_path / place).values() for key in part
                    if "_orig_mod" in key or "base_layer" in key]  # fmt: skip
        loaded = AutoModel.from_pretrained(tmp_path / place)
        loaded.load_adapters()
        assert torch.allclose(logits_of(loaded)["tuab"], expected["tuab"], **CLOSE)
        assert loaded.fingerprint() == model.fingerprint()
