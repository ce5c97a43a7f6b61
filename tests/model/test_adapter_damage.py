"""Damaged, hostile and half-written tasks: an error that names the file, and an untouched model."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file
from tiny_models import (
    CARDS,
    changed,
    inputs_of,
    logits_of,
    model_with_tasks,
    snapshot,
    tiny_model,
    trainable,
)

from modeling_mteeg import MteegModel, TaskCard
from modeling_mteeg.model.adapter_files import AdapterError

LORA, CONFIG, HEAD, CARD = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "head.safetensors",
    "task.json",
)


@pytest.fixture(scope="module")
def model() -> MteegModel:
    """A base with a task, on which loading fails over and over."""
    return model_with_tasks("seed-v")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A task's folder as it should be."""
    return model_with_tasks("tuab").save_adapter("tuab", tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "tuab"))


def state_of(model: MteegModel) -> dict:
    """All that loading may change, but for the weights."""
    return {
        "modules": {name: (type(part), part.training) for name, part in model.named_modules()},
        "trainable": trainable(model),
        "tasks": dict(model.tasks),
        "options": dict(model.adapter_options),
        "active": model.active_adapter,
        "peft": set(model.peft_config),
        "protected": set(model._loaded_digests),
    }


def refuses(model: MteegModel, folder: Path, message: str) -> None:
    """Loading fails with an AdapterError and leaves the model exactly as it was."""
    model.set_trainable(["seed-v"], temporal_encoder=False)
    model.set_adapter("seed-v")
    weights, before, logits = snapshot(model), state_of(model), logits_of(model)
    with pytest.raises(AdapterError, match=message):
        model.load_adapter(folder)
    assert not changed(model, weights) and state_of(model) == before
    assert all(torch.equal(logits[task], value) for task, value in logits_of(model).items())


def test_the_undamaged_task_loads(model, folder):
    model.load_adapter(folder)
    model.delete_adapter("tuab")


@pytest.mark.parametrize("name", [LORA, CONFIG, HEAD, CARD])
def test_missing_files_are_named(model, folder, name):
    (folder / name).unlink()
    refuses(model, folder, f"(?i){name}.*a task is made of")


@pytest.mark.parametrize("name", [LORA, CONFIG, HEAD, CARD])
@pytest.mark.parametrize("damage", ["empty", "truncated", "shortened", "garbage", "folder"])
def test_damaged_files_are_named(model, folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    damaged = {
        "empty": b"",
        "truncated": content[: len(content) // 2],
        "shortened": content[:-2],
        "garbage": bytes(range(256)) * 4,
    }
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(damaged[damage])
    refuses(model, folder, name)


@pytest.mark.parametrize("content", ["null", "[]", "3", '"x"', "{}", "[" * 100_000])
@pytest.mark.parametrize("name", [CONFIG, CARD])
def test_files_with_something_else_in_them_are_named(model, folder, name, content):
    (folder / name).write_text(content)
    refuses(model, folder, name)


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": None},
        {"target_modules": "qkv"},
        {"target_modules": 5},
        {"target_modules": ["qkv", 5]},
        {"target_modules": [["qkv"]]},
        {"target_modules": ["qkv"]},
        {"target_modules": ["qkv", "proj", "fc1", "fc2", "conv1"]},
        {"target_modules": []},
        {"r": "8"},
        {"r": None},
        {"r": 0},
        {"r": -8},
        {"r": 8.0},
        {"r": True},
        {"r": 10**9},
        {"r": 10**400},
        {"lora_alpha": "8"},
        {"lora_alpha": None},
        {"lora_alpha": 0},
        {"lora_alpha": -8},
        {"lora_alpha": float("nan")},
        {"lora_alpha": float("inf")},
        {"lora_alpha": 10**400},
        {"lora_alpha": [8]},
        {"lora_dropout": "much"},
        {"lora_dropout": "0.1"},
        {"lora_dropout": True},
        {"use_rslora": "false"},
        {"use_rslora": 1},
        {"monteclora_config": {"a": 1}},
        {"lora_dropout": 5},
        {"lora_dropout": -1},
        {"lora_dropout": [0.1]},
        {"lora_dropout": {"a": 1}},
        {"lora_dropout": float("nan")},
        {"peft_type": "LOHA"},
        {"peft_type": None},
        {"bias": "all"},
        {"use_dora": True},
        {"fan_in_fan_out": True},
        {"modules_to_save": ["fc_norm"]},
        {"layers_to_transform": [0]},
        {"exclude_modules": ["fc1"]},
        {"rank_pattern": {"qkv": 16}},
        {"rank_pattern": {"fc1": 24}},
        {"rank_pattern": ["qkv"]},
        {"rank_pattern": 3},
        {"alpha_pattern": {"qkv": 24}},
        {"alpha_pattern": {"fc1": 16}},
        {"alpha_pattern": [1]},
        {"rank_pattern": {"qkv": 24}, "alpha_pattern": {"qkv": 8}},
        {"rank_pattern": {"qkv": 24}, "alpha_pattern": {"qkv": "24"}},
        {"rank_pattern": {"qkv": 24}},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_adapters_this_model_cannot_hold_are_refused(model, folder, fields):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    refuses(model, folder, str(folder))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base": None}, "to name its base"),
        ({"base": {}}, "to name its base"),
        ({"base": "x"}, "base: expected a mapping"),
        (
            {"base": {"hidden_size": "100", "fingerprint": 5}},
            "fingerprint: expected text or null, found 5",
        ),
        ({"base": {"hidden_size": 100, "fingerprint": ["x"]}}, "fingerprint"),
        ({"base": {"hidden_size": 100}}, "fingerprint None"),
        (
            {"labels": list("abc"), "loss": "", "monitor": "", "metrics": []},
            r"head.weight: expected shape \(3, 100\), found \(1, 100\)",
        ),
        ({"labels": 3}, "labels: expected"),
        ({"loss": "cross_entropy"}, "head.weight: expected shape .2, 100."),
        ({"name": "../tuab"}, "Task name"),
        ({"adapter": 5}, "adapter: expected one of"),
        ({"window_s": "long"}, "window_s"),
        ({"surprise": 1}, r"unknown fields \['surprise'\]"),
    ],
    ids=str,
)
def test_cards_that_do_not_fit_are_refused(model, folder, fields, message):
    path = folder / CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    refuses(model, folder, message)


def resaved(path: Path, change) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def first_lora(tensors: dict) -> str:
    return next(key for key in tensors if ".lora_B." in key)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (HEAD, lambda t: t.pop("bias"), "head.bias: expected shape .*found nothing"),
        (HEAD, lambda t: t.update(weight=t["weight"].T.contiguous()), "head.weight: expected"),
        (HEAD, lambda t: t.update(bias=t["bias"][0]), "head.bias: expected"),
        (HEAD, lambda t: t.update(more=torch.zeros(1)), "head.more"),
        (LORA, lambda t: t.pop(first_lora(t)), "does not fit this model: missing base_model"),
        (LORA, lambda t: t.clear(), "missing .* and 10 more"),
        (LORA, lambda t: t.update(x=torch.zeros(1)), "unexpected x"),
        (LORA, lambda t: t.update({first_lora(t): torch.zeros(3)}), r"found \(3,\)"),
        (LORA, lambda t: t.update({"head.weight": torch.zeros(5, 100)}), "head.weight"),
    ],
    ids=["no-bias", "turned", "scalar", "extra", "no-B", "none", "unknown", "shape", "head"],
)
def test_tensors_that_do_not_fit_are_named(model, folder, name, change, message):
    resaved(folder / name, change)
    refuses(model, folder, message)


def test_adapter_of_a_deeper_base_is_refused(model, folder):
    other = model_with_tasks("tuab", num_hidden_layers=3)
    other.save_adapter("tuab", folder)
    refuses(model, folder, "fingerprint")
    card = TaskCard.load(folder)
    card.replace(base=card.base | {"fingerprint": model.fingerprint()}).save(folder)
    refuses(model, folder, "unexpected base_model.model.layers.2")


def test_separate_adapter_must_be_block_diagonal(model, folder):
    other = model_with_tasks("tuab", options={"separate_qkv": True})
    other.save_adapter("tuab", folder)
    key = next(k for k in load_file(folder / LORA) if k.endswith("qkv.lora_B.weight"))
    resaved(folder / LORA, lambda t: t.update({key: torch.ones_like(t[key])}))
    refuses(model, folder, "block-diagonal")


def test_a_task_with_wrong_tensors_in_memory_stays_as_it_was(model):
    state = model.adapter_state_dict("seed-v")
    key = first_lora(state)
    before = snapshot(model)
    for wrong in ({}, state | {"x": torch.zeros(1)}, {k: v for k, v in state.items() if k != key}):
        with pytest.raises(ValueError, match="seed-v"):
            model.load_adapter_state_dict("seed-v", {k: v + 1 for k, v in wrong.items()})
    assert not changed(model, before)


class Interrupted(BaseException):
    """Stands for a kill: nothing may catch it."""


def interrupt(monkeypatch, number: int) -> None:
    """Let the ``number``-th write of a file fail, half done where it can be."""
    calls = iter(range(10**6))

    def wrap(place, name: str, half=None):
        real = getattr(place, name)

        def call(*args, **kwargs):
            if next(calls) == number:
                if half is not None:
                    half(*args)
                raise Interrupted
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, call)

    wrap(safetensors.torch, "save_file", lambda tensors, path, *_: Path(path).write_bytes(b"half"))
    wrap(os, "replace")
    wrap(os, "unlink")
    wrap(Path, "unlink")
    wrap(Path, "write_text", lambda path, *_: path.write_bytes(b'{"name"'))


@pytest.mark.parametrize(
    "options", [{"separate_qkv": True, "scaling": 2.0}, {"location": "none"}], ids=["lora", "head"]
)
def test_an_interrupted_save_never_loads_wrongly(saved, options, tmp_path, monkeypatch):
    old, new = model_with_tasks("tuab"), tiny_model()
    new.add_adapter("tuab", card=CARDS["tuab"].replace(description="new"), **options)
    with torch.no_grad():
        new.heads["tuab"].bias.fill_(3.0)
    reader = tiny_model()
    outcomes = {"old": logits_of(old)["tuab"], "new": logits_of(new)["tuab"]}

    def read(folder: Path) -> str:
        """Whose logits the folder gives: the old save's, the new one's, or an error."""
        try:
            card = reader.load_adapter(folder)
        except AdapterError:
            return "error"
        logits = reader(**inputs_of("tuab")).logits
        reader.delete_adapter("tuab")
        who = "new" if card.description else "old"
        assert torch.equal(logits, outcomes[who]), "a mixture of two saves was loaded"
        return who

    seen = []
    for number in range(40):
        folder = Path(shutil.copytree(saved, tmp_path / str(number)))
        with monkeypatch.context() as patch:
            interrupt(patch, number)
            try:
                new.save_adapter("tuab", folder)
                finished = True
            except Interrupted:
                finished = False
        seen.append(read(folder))
        new.save_adapter("tuab", folder)  # a later save mends it
        assert read(folder) == "new"
        assert not (folder / ".part").exists()
        if finished:
            break
    assert finished and seen[0] == "old" and seen[-1] == "new" and "error" in seen
    assert seen == sorted(seen, key=["old", "error", "new"].index)
