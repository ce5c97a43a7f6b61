"""Every public adapter call of transformers and of peft, and what it does on a model with tasks.

``docs/stock_calls.md`` has the same list. A call that a new version of either brings makes these
tests fail until both say what it does here.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import peft
import pytest
import torch
from peft import LoraConfig
from peft import functional as peft_functional
from places import ROOT
from stock_models import LABELS, config, features, held
from test_peft_calls import NO_MATTER, PEFT
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
from transformers.integrations.peft import PeftAdapterMixin

from modeling_mteeg import AdapterOptions, MteegModel
from modeling_mteeg.model.lora import adapter_layers

DOCUMENT = (ROOT / "docs/stock_calls.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A base with the tasks ``tuab`` and ``seed-v``."""
    place = tmp_path_factory.mktemp("stock") / "base"
    held().save_pretrained(place)
    return place


def load_adapter(folder: Path) -> None:
    expected = logits_of(held())
    model = MteegModel.from_pretrained(folder)
    card = model.load_adapter(peft_model_id=str(folder / "adapters/tuab"), adapter_name="mine")
    assert card.name == "mine" and model.active_adapters() == ["mine"]
    batch = inputs_of("tuab")
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, expected["tuab"])
    model.load_adapter(folder, adapter_kwargs={"subfolder": "adapters/seed-v"})
    assert torch.equal(logits_of(model, "seed-v")["seed-v"], expected["seed-v"])
    # Every argument that transformers has: it works, or a sentence says what to write instead.
    given = {
        "peft_model_id": "tuab", "adapter_name": "again", "low_cpu_mem_usage": True,
        "is_trainable": False, "hotswap": False, "local_files_only": True,
        "adapter_kwargs": {"revision": None}, "load_config": None,
        "peft_config": config(), "adapter_state_dict": {},
    }  # fmt: skip
    stock = [p for p in inspect.signature(PeftAdapterMixin.load_adapter).parameters.values()
             if p.name != "self" and p.kind is not p.VAR_KEYWORD]  # fmt: skip
    assert {parameter.name for parameter in stock} <= set(given)
    refused = {"peft_config": "add_adapter", "adapter_state_dict": "load_adapter_state_dict"}
    works = {key: given[key] for key in given.keys() - refused.keys()}
    model.load_adapter(**works)
    assert not [name for name in trainable(model) if ".again." in name]
    for key, words in refused.items():
        with pytest.raises(ValueError, match=rf"found {key}: {words}"):
            model.load_adapter("tuab", "x", **{key: given[key]})
    with pytest.raises(ValueError, match=r"hotswap .*load_adapter_state_dict\(name, state\)"):
        model.load_adapter("tuab", "again", hotswap=True)
    with pytest.raises(TypeError, match=r"unknown arguments \['device_map'\]"):
        model.load_adapter("tuab", "x", device_map="auto")
    with pytest.raises(TypeError, match=r"unknown arguments \['proxies'\]"):
        model.load_adapter("tuab", "x", adapter_kwargs={"proxies": {"a": "b"}})
    with pytest.raises(ValueError, match="expected one source"):
        model.load_adapter("tuab", peft_model_id="tuab")
    with pytest.raises(ValueError, match="found nothing"):
        model.load_adapter()


def add_adapter(folder: Path) -> None:
    calls = [
        lambda model, given: model.add_adapter(given, adapter_name="mine", labels=LABELS),
        lambda model, given: model.add_adapter(given, "mine", card=CARDS["tuab"]),
        lambda model, given: model.add_adapter("mine", given, labels=LABELS),
        lambda model, given: model.add_adapter("mine", LABELS, options=given),
        lambda model, given: model.add_adapter(
            adapter_config=given, adapter_name="mine", labels=LABELS
        ),
    ]
    given = config(lora_alpha=8, lora_dropout=0.1, use_rslora=True)
    for call in calls:
        model = tiny_model(num_hidden_layers=1)
        assert call(model, given).name == "mine"
        assert model.adapter_options["mine"] == AdapterOptions(4, 2.0, 0.1, kind="rslora")
        assert model.active_adapters() == ["mine"]
    assert model.add_adapter(config(), labels=LABELS).name == "default"
    assert model.adapter_options["default"] == AdapterOptions(4, 2.0)
    # The product is scaled as stock peft scales it; model is the last of above, with "mine".
    stock = peft.get_peft_model(tiny_model(num_hidden_layers=1), given, adapter_name="mine")
    for name, layer in stock.named_modules():
        ours = adapter_layers(model, "mine").get(name.removeprefix("base_model.model."))
        if ours is not None:
            assert ours.scaling["mine"] == layer.scaling["mine"]


def set_adapter(folder: Path) -> None:
    model = held()
    for name in ("tuab", ["seed-v"]):
        model.set_adapter(name)
        assert model.active_adapters() == [name if isinstance(name, str) else name[0]]
    with pytest.raises(ValueError, match=r"One task is active at a time.*model\(tasks="):
        model.set_adapter(["tuab", "seed-v"])
    assert model.active_adapter == "seed-v"


def disable_adapters(folder: Path) -> None:
    model, plain = held(), tiny_model(num_hidden_layers=1)
    model.disable_adapters()
    assert model(**inputs_of("tuab")).logits is None and model.active_adapters() == []
    assert torch.equal(features(model), features(plain))
    plain.disable_adapters()  # as of a model without any: nothing to do


def enable_adapters(folder: Path) -> None:
    model = held()
    for name in model.tasks:
        model.set_adapter(name)
        model.disable_adapters()
        model.disable_adapters()
        model.enable_adapters()
        assert model.active_adapters() == [name]
        model.enable_adapters()
        assert model.active_adapters() == [name]
    model.disable_adapters()
    model.delete_adapter("seed-v")
    model.enable_adapters()
    assert model.active_adapters() == ["tuab"], "the only one"
    model = held()
    model.set_adapter(None)
    with pytest.raises(ValueError, match=r"holds seed-v, tuab, and none.*set_adapter\(name\)"):
        model.enable_adapters()
    with pytest.raises(ValueError, match="the model holds no tasks"):
        tiny_model(num_hidden_layers=1).enable_adapters()


def active_adapters(folder: Path) -> None:
    model = held()
    assert model.active_adapters() == ["seed-v"]
    assert tiny_model(num_hidden_layers=1).active_adapters() == []


def get_adapter_state_dict(folder: Path) -> None:
    model, other = held(), model_with_tasks("tuab", "seed-v", seed=5, num_hidden_layers=1)
    for name in (None, "tuab"):
        state = model.get_adapter_state_dict(name)
        stock = peft.get_peft_model_state_dict(model, adapter_name=name or "seed-v")
        assert {key for key in state if not key.startswith("head.")} == set(stock)
        assert all(torch.equal(state[key], value) for key, value in stock.items())
        assert "head.weight" in state
    gathered = model.get_adapter_state_dict("tuab", other.state_dict())
    model.load_adapter_state_dict("tuab", gathered)
    expected = other.get_adapter_state_dict("tuab")
    found = model.get_adapter_state_dict("tuab")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    model.set_adapter(None)
    with pytest.raises(ValueError, match="no task is active, so name one"):
        model.get_adapter_state_dict()
    with pytest.raises(ValueError, match="state_dict: expected all weights"):
        model.get_adapter_state_dict("tuab", {})


def delete_adapter(folder: Path) -> None:
    model = model_with_tasks("tuab", "seed-v", "tuev", num_hidden_layers=1)
    with pytest.raises(ValueError, match="Unknown task 'x'"):
        model.delete_adapter(["tuab", "x"])
    assert len(model.tasks) == 3
    model.delete_adapter(["tuab", "tuev"])
    model.delete_adapter("seed-v")
    assert not model.tasks and not hasattr(model, "peft_config")
    peft.get_peft_model(model, config())  # a plain model again


def enable_peft_hotswap(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"not needed here.*set_adapter\(name\) switches"):
        held().enable_peft_hotswap(target_rank=64)


TRANSFORMERS = {
    call.__name__: call
    for call in (
        load_adapter, enable_peft_hotswap, add_adapter, set_adapter, disable_adapters,
        enable_adapters, active_adapters, get_adapter_state_dict, delete_adapter,
    )
}  # fmt: skip


def installed_calls() -> set[str]:
    """Public functions of peft, and its classes that stand around a model."""
    found = set()
    for name in peft.__all__:
        value = getattr(peft, name)
        if inspect.isfunction(value) or (
            inspect.isclass(value) and re.fullmatch(r"(Auto)?Peft(Mixed)?Model", name)
        ):
            found.add(name)
    twice = {name for name in peft_functional.__all__ if name in found}
    return found | {f"functional.{name}" for name in set(peft_functional.__all__) - twice}


def stock_calls() -> set[str]:
    """Public methods of transformers' mixin, as installed."""
    methods = vars(PeftAdapterMixin).items()
    return {name for name, value in methods if inspect.isfunction(value) and name[0] != "_"}


def rows(title: str) -> list[str]:
    """Names of the calls in a table of the document."""
    section = DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `\w+\.((?:functional\.)?\w+)", section, re.MULTILINE)


def test_the_list_is_whole():
    lacks = "docs/stock_calls.md and the tests lack a call"
    assert stock_calls() <= set(TRANSFORMERS), lacks
    assert installed_calls() <= set(PEFT) | NO_MATTER, lacks
    assert sorted(rows("transformers")) == sorted(TRANSFORMERS)
    assert sorted(rows("peft")) == sorted(PEFT)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_call_of_transformers(name, folder):
    assert vars(PeftAdapterMixin)[name] is not getattr(MteegModel, name), "ours, not transformers'"
    stock = inspect.signature(getattr(PeftAdapterMixin, name)).parameters
    keywords = {key: None for key, value in stock.items() if value.kind is not value.VAR_KEYWORD}
    inspect.signature(getattr(MteegModel, name)).bind_partial(**keywords)
    TRANSFORMERS[name](folder)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (config(use_dora=True), r"use_dora=True: .*use_rslora=True.*peft\.get_peft_model"),
        (config(init_lora_weights="gaussian"), "found init_lora_weights='gaussian' too"),
        (config(bias="all", lora_bias=False), "found bias='all' too"),
        (config(modules_to_save=["heads"]), r"found modules_to_save=\['heads'\] too"),
        (config(layers_to_transform=[0], exclude_modules=["x"]), "exclude_modules.*layers_to_tr"),
        (config(target_modules=["qkv"]), r"target_modules: expected 'all-linear', or .*\['qkv'\]"),
        (config(target_modules=".*fc1"), r"target_modules: expected .*found '\.\*fc1'"),
        (LoraConfig(), "target_modules: expected .*found None"),
        (config(rank_pattern={"qkv": 9}, alpha_pattern={"qkv": 1}), "at the same scaling"),
        (peft.IA3Config(), r"expected a peft\.LoraConfig, found IA3Config \(IA3\)"),
        (peft.AdaLoraConfig(total_step=3), "found AdaLoraConfig"),
    ],
)
def test_a_configuration_that_a_task_cannot_have_is_refused(given, words):
    model = held()
    before, switches = snapshot(model), trainable(model)
    with pytest.raises(ValueError, match=words):
        model.add_adapter(given, adapter_name="new", labels=LABELS)
    assert not changed(model, before) and trainable(model) == switches
    assert list(model.tasks) == ["tuab", "seed-v"] and model.active_adapter == "seed-v"


def test_a_configuration_needs_classes_and_no_second_one():
    model = tiny_model(num_hidden_layers=1)
    for call in (
        lambda: model.add_adapter(config()),
        lambda: model.add_adapter(config(), "new"),
        lambda: model.add_adapter("new", config()),
    ):
        with pytest.raises(ValueError, match=r"a task has a head.*labels=\[\.\.\.\]"):
            call()
    with pytest.raises(ValueError, match="Give one configuration"):
        model.add_adapter(config(), "new", options=AdapterOptions(), card=CARDS["tuab"])
    with pytest.raises(ValueError, match=r"expected a peft\.LoraConfig, found dict"):
        model.add_adapter(adapter_config={"r": 3}, adapter_name="new", labels=LABELS)
    all_linear = model.add_adapter("new", config(target_modules="all-linear"), labels=LABELS)
    assert model.adapter_options[all_linear.name].location == "both"
