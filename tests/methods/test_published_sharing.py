"""HPS, MMoE and CGC give what LibMTL gives with published LaBraMs as encoders."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_model

from modeling_mteeg import MteegConfig, TaskCard, channel_ids
from modeling_mteeg.conversion.key_names import published_key, target_key
from modeling_mteeg.methods import build_sharing

CASES = ["same/hps", "same/mmoe", "same/cgc", "mixed/hps",
         pytest.param("mixed/mmoe", marks=pytest.mark.slow), "mixed/cgc"]  # fmt: skip
MONTAGES = {"first": "bipolar8", "second": "bipolar8", "tuev": "tuab", "physionet-mi": "physionet"}
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-5}
CONFIG = {"num_hidden_layers": 1}
CARDS = {
    "one": TaskCard("one", ("a", "b"), ("C3", "C4"), window_s=1),
    "two": TaskCard("two", ("a", "b", "c"), ("FP1", "FP2", "OZ"), window_s=2),
}


def published_values(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The weights of the reference, a rule of name and shape (golden/baselines)."""
    values = {}
    for name, shape in shapes.items():
        last = name.rsplit(".", 1)[-1]
        seed = zlib.crc32(name.encode())
        a = np.random.default_rng(seed).standard_normal(shape).astype("f4").astype("f8")
        if last.startswith("gamma"):
            a = 0.1 + 0.02 * a
        elif last in ("cls_token", "pos_embed", "time_embed"):
            a = 0.05 * a
        elif len(shape) >= 2:
            a = a * np.sqrt((2 if len(shape) > 2 else 1) / np.prod(shape[1:]))
        else:
            a = 1 + 0.1 * a if last == "weight" else 0.02 * a
        values[name] = torch.from_numpy(a.astype("f4"))
    return values


def published_shapes(network) -> dict[str, tuple[int, ...]]:
    """Published names and shapes: tables have a leading axis of one."""
    return {
        name: (1, *p.shape) if name.endswith(("pos_embed", "time_embed")) else tuple(p.shape)
        for name, p in network.published_parameters().items()
    }


def small(name="cgc", **options):
    return build_sharing(name, CARDS, MteegConfig.from_preset("tiny", **CONFIG), **options)


@pytest.fixture(scope="module")
def reference(golden_dir):
    folder = golden_dir / "baselines"
    cases = load_file(folder / "multi_task_tiny_cases.safetensors")
    montages = json.loads((golden_dir / "channels.json").read_text())["montages"]
    return cases, json.loads((folder / "multi_task.json").read_text()), montages


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach().double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("case", CASES)
def test_libmtl_is_met(reference, case):
    cases, records, montages = reference
    (kind, name), record, cards, tasks = case.split("/"), records[case], {}, {}
    for task in record["losses"]:
        x = cases[f"{kind}/{task}.x"]
        names = tuple(montages[MONTAGES.get(task, task)])
        outputs = cases[f"{case}/{task}.logits"].shape[1]
        labels = tuple(map(str, range(max(outputs, 2))))
        cards[task] = TaskCard(task, labels, names, window_s=x.shape[2] / 200)
        tasks[task] = {
            "input_values": x,
            "channel_ids": torch.from_numpy(channel_ids(names, "table")),
            "labels": torch.arange(len(x)) % len(labels),
        }
    config = MteegConfig.from_preset("tiny", **CONFIG)
    network = build_sharing(name, cards, config, shared=2 if kind == "same" else 6, own=1).eval()
    network.load_published(published_values(published_shapes(network)))
    assert sum(p.numel() for p in network.parameters()) == record["parameters"]
    for dtype, tolerance in TOLERANCES.items():
        network.to(dtype).zero_grad()
        outputs = network(tasks)
        for task, output in outputs.items():
            assert float(output.loss.detach()) == pytest.approx(
                record["losses"][task], rel=tolerance
            )
            for part in ("logits", "representation", "gate"):
                found = getattr(output, part)
                if part == "gate" and name == "hps":
                    assert found is None
                else:
                    assert relative(found, cases[f"{case}/{task}.{part}"]) < tolerance
        loss = sum(output.loss for output in outputs.values())
        loss.backward()
        if dtype is torch.float64:  # task_loss is float32 for every method
            assert float(loss.detach()) == pytest.approx(record["loss"], rel=1e-6)
            parameters = network.published_parameters()
            for key, norm in record["gradient_norms"].items():
                assert float(parameters[key].grad.norm()) == pytest.approx(norm, rel=1e-6), key


def test_a_published_state_of_cgc_is_taken_whole(reference, golden_dir):
    state = load_file(golden_dir / "baselines/multi_task_tiny_cgc.safetensors")
    names = tuple(reference[2]["bipolar8"])
    cards = {
        "first": TaskCard("first", tuple("abcd"), names, window_s=2),
        "second": TaskCard("second", tuple("ab"), names, window_s=2),
    }
    network = build_sharing("cgc", cards, MteegConfig.from_preset("tiny", **CONFIG), 2)
    network.load_published(state)
    for key, parameter in network.published_parameters().items():
        assert torch.equal(parameter, state[key].reshape(parameter.shape)), key


def test_what_does_not_fit_is_named_whole_and_nothing_is_taken():
    network = small(shared=1)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    state = published_values(published_shapes(network))
    state["experts_shared.1.cls_token"] = state.pop("experts_shared.0.cls_token")
    del state["gate_specific.two.0.bias"]
    state["decoders.one.weight"] = torch.zeros(2, 100)
    with pytest.raises(ValueError) as caught:
        network.load_published(state)
    lines = str(caught.value).splitlines()[1:]
    assert sorted(line.strip() for line in lines) == [
        "decoders.one.weight: expected shape (1, 100), found (2, 100)",
        "experts_shared.0.cls_token: missing",
        "experts_shared.1.cls_token: there is no such weight",
        "gate_specific.two.0.bias: missing",
    ]
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_own_experts_may_differ_in_number_by_task():
    network = small(shared=2, own={"one": 0, "two": 3})
    keys = published_shapes(network)
    assert keys["gate_specific.one.0.weight"] == (2, 2 * 200)
    assert keys["gate_specific.two.0.weight"] == (5, 3 * 400)
    assert "experts_specific.two.2.cls_token" in keys
    assert not any(key.startswith("experts_specific.one.") for key in keys)
    assert not any("specific" in key for key in published_shapes(small("hps")))
    assert not any("experts_specific" in key for key in published_shapes(small("mmoe", shared=1)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cgk", {}, r"name: expected one of hps, mmoe, cgc, found 'cgk' \(did you mean 'cgc'\?\)"),
        ("mmoe", {"shared": 0}, "at least one shared expert"),
        ("cgc", {"own": -1}, "at least one shared expert and none or more own ones"),
        ("cgc", {"own": {"one": 1}}, r"own: expected numbers of \['one', 'two'\]"),
    ],
)
def test_bad_arguments_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        small(name, **options)


def test_a_task_without_channels_or_with_attention_has_no_gate():
    config = MteegConfig.from_preset("tiny", **CONFIG)
    with pytest.raises(ValueError, match="Task 'one': a gate reads every channel"):
        build_sharing("mmoe", {"one": CARDS["one"].replace(channels=())}, config, 1)
    with pytest.raises(ValueError, match="Task 'one': a head of kind 'attention'"):
        build_sharing("mmoe", {"one": CARDS["one"].replace(head="attention")}, config, 1)


def test_published_names_of_a_base_are_read_back():
    names = list(tiny_model(qkv_bias=True).base_state_dict())
    assert [target_key(published_key(name)) for name in names] == names
