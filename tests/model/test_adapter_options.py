"""Options of an adapter: one type for ``add_adapter``, YAML, peft's files, cards and counts."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from peft import PeftModel
from tiny_models import (
    CARDS,
    OPTIONS,
    inputs_of,
    logits_of,
    model_with_tasks,
    tiny_model,
    trainable,
)
from transformers import AutoModel

from modeling_mteeg import AdapterOptions
from modeling_mteeg.methods import METHODS
from modeling_mteeg.model.adapter_files import read_adapter_config
from modeling_mteeg.model.lora import adapter_layers
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.joint_config import JointConfig

BY_KIND = {"attention": 4, "feed-forward": 16}
TREE = {"model": {"preset": "tiny"}, "data": {"folder": "data", "tasks": ["tuab", "seed-v"]}}
ALL = [AdapterOptions(**options) for options in OPTIONS]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def ranks(model, task: str) -> dict[str, set[int]]:
    """Rank of a task's adapter by the last part of the layers' names."""
    by_layer: dict[str, set[int]] = {}
    for name, layer in adapter_layers(model, task).items():
        rank = layer.lora_B[task].weight.shape[1]
        by_layer.setdefault(name.rpartition(".")[2], set()).add(rank)
    return by_layer


@pytest.mark.parametrize("options", ALL, ids=str)
def test_options_are_equal_after_every_form(options):
    written = json.loads(json.dumps(options.to_peft().to_dict(), default=list))
    kept = options if "qkv" in options.layers else dataclasses.replace(options, separate_qkv=False)
    assert AdapterOptions.from_peft(written, "file") == kept
    assert AdapterOptions(**json.loads(json.dumps(options.to_dict()))) == options


def test_rank_by_kind_gives_every_layer_its_rank():
    model = tiny_model()
    model.add_adapter("tuab", card=CARDS["tuab"], rank=BY_KIND)
    assert ranks(model, "tuab") == {"qkv": {4}, "proj": {4}, "fc1": {16}, "fc2": {16}}
    assert {layer.scaling["tuab"] for layer in adapter_layers(model, "tuab").values()} == {1.0}
    model.add_adapter("seed-v", card=CARDS["seed-v"], rank=BY_KIND | {"proj": 2})
    assert ranks(model, "seed-v") == {"qkv": {4}, "proj": {2}, "fc1": {16}, "fc2": {16}}
    width, wide = model.config.hidden_size, model.config.intermediate_size
    count = 2 * (4 * (width + 3 * width) + 4 * (width + width) + 2 * 16 * (width + wide))
    names = [name for name in trainable(model) if ".lora_" in name and ".tuab." in name]
    assert sum(model.get_parameter(name).numel() for name in names) == count
    before = logits_of(model, "tuab")["tuab"]
    model.delete_adapter("seed-v")
    assert torch.equal(logits_of(model, "tuab")["tuab"], before)


def test_equal_ranks_are_one_number():
    assert AdapterOptions(rank={"attention": 8, "fc1": 8, "fc2": 8}) == AdapterOptions()
    by_layer = {"qkv": 4, "proj": 4, "fc1": 16, "fc2": 16}
    assert AdapterOptions(rank=by_layer).rank == BY_KIND
    assert AdapterOptions(rank={"attention": 8}, location="attention").rank == 8


def test_rank_by_kind_goes_from_yaml_to_folder_card_and_stock_peft(tmp_path):
    path = tmp_path / "joint.yaml"
    path.write_text(
        "model: {preset: tiny}\ndata: {folder: data, tasks: [seed-v]}\n"
        "adapter: {rank: {attention: 4, feed-forward: 16}, separate_qkv: true}\n"
    )
    config = JointConfig.load(path)
    config.save(path)
    assert JointConfig.load(path) == config and config.adapter.rank == BY_KIND
    model = METHODS[config.method].build(config, CARDS, seed=0).module.eval()
    with torch.no_grad():
        for layer in adapter_layers(model, "seed-v").values():
            layer.lora_B["seed-v"].weight.normal_(std=0.1)
    model.save_pretrained(tmp_path / "base")
    folder = model.save_adapter("seed-v", tmp_path / "base" / "adapters" / "seed-v")
    written = json.loads((folder / "adapter_config.json").read_text())
    assert (written["r"], written["lora_alpha"]) == (4, 4)
    assert written["rank_pattern"] == written["alpha_pattern"] == {"qkv": 12, "fc1": 16, "fc2": 16}
    assert read_adapter_config(folder) == config.adapter.plain()
    row = "rank 4 in attention, 16 in feed-forward, separate q, k, v"
    assert row in (folder / "README.md").read_text("utf-8")

    base = AutoModel.from_pretrained(tmp_path / "base")
    loaded = AutoModel.from_pretrained(tmp_path / "base")
    loaded.load_adapter("seed-v")
    expected = model(**inputs_of("seed-v"))
    assert torch.equal(loaded(**inputs_of("seed-v")).logits, expected.logits)
    stock = PeftModel.from_pretrained(base, folder).eval()(**inputs_of("seed-v"))
    assert torch.allclose(stock.last_hidden_state, expected.last_hidden_state, **CLOSE)
    merged = loaded.merge_and_unload("seed-v")(**inputs_of("seed-v"))
    assert torch.allclose(merged.logits, expected.logits, **CLOSE)


def test_rank_stabilised_adapters_scale_by_the_root_of_the_rank():
    model = tiny_model()
    model.add_adapter("tuab", card=CARDS["tuab"], rank=BY_KIND, kind="rslora", scaling=0.5)
    factors = {
        name.rpartition(".")[2]: layer.scaling["tuab"]
        for name, layer in adapter_layers(model, "tuab").items()
    }
    assert factors == pytest.approx({"qkv": 1.0, "proj": 1.0, "fc1": 2.0, "fc2": 2.0})


def test_options_can_be_given_as_one():
    single, whole = tiny_model(), tiny_model()
    torch.manual_seed(0)
    single.add_adapter("tuab", card=CARDS["tuab"], rank=3, location="attention")
    torch.manual_seed(0)
    options = AdapterOptions(3, location="attention")
    whole.add_adapter("tuab", card=CARDS["tuab"], options=options)
    assert whole.adapter_options == single.adapter_options == {"tuab": options}
    assert torch.equal(logits_of(single)["tuab"], logits_of(whole)["tuab"])
    with pytest.raises(ValueError, match=r"not both; found \['rank'\]"):
        whole.add_adapter("new", ["a", "b"], options=options, rank=3)
    with pytest.raises(ValueError, match="options: expected AdapterOptions, found dict"):
        whole.add_adapter("new", ["a", "b"], options={"rank": 3})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rank": {"atention": 4}}, r"numbers by attention, .*fc2, found \['atention'\]"),
        ({"rank": {}}, "rank: expected one for each layer .*found ranks for none"),
        ({"rank": {"attention": 4}}, r"location 'both' \(qkv, proj, fc1, fc2\), found .*qkv, proj"),
        ({"rank": BY_KIND, "location": "attention"}, r"'attention' \(qkv, proj\), found"),
        ({"rank": BY_KIND, "location": "none"}, r"'none' \(no layer\), found"),
        ({"rank": BY_KIND | {"fc1": 0}}, "rank of fc1: expected a whole number above 0, found 0"),
        ({"rank": BY_KIND | {"fc1": True}}, "rank of fc1: .*found True"),
        ({"rank": [4, 16]}, r"rank: expected a whole number above 0, found \[4, 16\]"),
        ({"kind": "dora"}, "kind: expected one of .*found 'dora'. DoRA needs a magnitude"),
        ({"kind": None}, "kind: expected one of .*found None"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused_before_any_change(fields, message):
    model = model_with_tasks("tuab", num_hidden_layers=1)
    names = list(model.state_dict())
    with pytest.raises(ValueError, match=message):
        model.add_adapter("new", ["a", "b"], **fields)
    assert list(model.tasks) == ["tuab"] and list(model.state_dict()) == names


def test_a_configuration_names_all_faults_of_its_adapter_at_once():
    wrong = {"rank": {"attention": 0, "fc1": "x"}, "kind": "dora", "location": "none"}
    with pytest.raises(ConfigError) as error:
        JointConfig.build(TREE | {"adapter": wrong})
    assert [fault.partition(":")[0] for fault in error.value.faults] == [
        f"adapter.{key}" for key in ("rank.attention", "rank.fc1", "location", "kind")
    ]
    for rank in (None, "eight", True):
        with pytest.raises(
            ConfigError, match=r"1 fault.*\n.*adapter.rank: expected a whole number"
        ):
            JointConfig.build(TREE | {"adapter": {"rank": rank}})
    with pytest.raises(ConfigError, match=r"1 fault.*\n.*adapter.location: expected one of"):
        JointConfig.build(TREE | {"adapter": {"rank": {"attention": 4}, "location": "attenton"}})
    with pytest.raises(ConfigError, match=r"1 fault.*\n.*adapter: rank: expected one for each"):
        JointConfig.build(TREE | {"adapter": {"rank": {"attention": 4}}})


def test_checkpoints_of_before_belong_to_the_same_trainings():
    def options_in(adapter: dict) -> dict:
        identity = JointConfig.build(TREE | {"adapter": adapter}).identity()
        return {key: value for key, value in identity.items() if key.startswith("adapter.")}

    before = {"rank": 8, "scaling": 1.0, "dropout": 0.0, "location": "both", "separate_qkv": False}
    assert options_in({}) == {f"adapter.{key}": value for key, value in before.items()}
    later = options_in({"rank": BY_KIND, "kind": "rslora"})
    assert later["adapter.rank.feed-forward"] == 16 and later["adapter.kind"] == "rslora"


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"use_rslora": True}, AdapterOptions(kind="rslora")),
        (
            {"rank_pattern": {"qkv": 4}, "alpha_pattern": {"qkv": 4.0}},
            AdapterOptions(rank={"qkv": 4, "proj": 8, "feed-forward": 8}),
        ),
    ],
    ids=str,
)
def test_other_ways_to_write_an_adapter_are_read(fields, options):
    written = json.loads(json.dumps(AdapterOptions().to_peft().to_dict(), default=list))
    assert AdapterOptions.from_peft(written | fields, "file") == options


@pytest.mark.parametrize(
    "fields",
    [
        {"rank_pattern": {"fc1": 16}},
        {"rank_pattern": {"fc1": 16}, "alpha_pattern": {"fc1": 8}},
        {"rank_pattern": {"fc1": 16.0}, "alpha_pattern": {"fc1": 16}},
        {"rank_pattern": {"fc1": 5000}, "alpha_pattern": {"fc1": 5000}},
        {"rank_pattern": {"layers.0.mlp.fc1": 16}, "alpha_pattern": {"layers.0.mlp.fc1": 16}},
        {"rank_pattern": {"qkv": 24}, "alpha_pattern": {"qkv": 24}, "use_rslora": True},
    ],
    ids=str,
)
def test_patterns_of_another_scaling_or_layer_are_refused(fields):
    written = json.loads(json.dumps(AdapterOptions().to_peft().to_dict(), default=list))
    with pytest.raises(ValueError, match="file: expected one rank and one alpha for all layers"):
        AdapterOptions.from_peft(written | fields, "file")
