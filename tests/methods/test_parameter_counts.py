"""How many weights there are, are trained, and meet a window of one task."""

from __future__ import annotations

import json

import pytest
import torch
from places import ROOT
from tiny_models import CARDS as TINY
from training_program import make_config

from modeling_mteeg import MteegConfig, MteegModel, TaskCard
from modeling_mteeg.cards.sections import parameters_text
from modeling_mteeg.methods import METHODS, build_sharing
from modeling_mteeg.methods.band_power import BandPower, BandPowerOptions
from modeling_mteeg.methods.cgc import Cgc
from modeling_mteeg.methods.hps import Hps
from modeling_mteeg.methods.mmoe import Mmoe
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.model.channels import ELECTRODES

# Task: outputs, channels, seconds (paper, table 1).
SHAPES = {"tuab": (1, 23, 10), "tuev": (6, 23, 5), "seed-v": (5, 62, 1), "chb-mit": (1, 16, 10),
          "sleep-edf": (5, 2, 30), "physionet-mi": (5, 64, 4)}  # fmt: skip
CARDS = {
    task: TaskCard(task, tuple(map(str, range(max(outputs, 2)))), ELECTRODES[:channels],
                   window_s=seconds)
    for task, (outputs, channels, seconds) in SHAPES.items()
}  # fmt: skip
ENCODER, HEADS = 5_819_936, 4_623


def counts(name: str) -> dict:
    """Of LaBraM-Base, without a number in memory."""
    with torch.device("meta"):
        module = build_sharing(name, CARDS, MteegConfig.from_preset("base")).module
    method = Hps(module) if name == "hps" else {"mmoe": Mmoe, "cgc": Cgc}[name](module, "full")
    return method.facts()["parameters"]


@pytest.mark.parametrize(
    ("name", "total", "gates", "run"),
    [
        ("hps", 5_824_559, 0, 1),
        ("mmoe", 35_983_875, 1_059_636, 6),
        ("cgc", 71_080_097, 1_236_242, 7),
    ],
)
def test_sharing_has_the_papers_numbers(name, total, gates, run):
    found = counts(name)
    assert found["total"] == found["trained"] == total
    experts = {"hps": 1, "mmoe": 6, "cgc": 12}[name]
    assert total == experts * ENCODER + HEADS + gates
    for task, (outputs, channels, seconds) in SHAPES.items():
        gate = 0 if name == "hps" else run * (channels * seconds * 200 + 1)
        assert found["run_for_one_task"][task] == run * ENCODER + gate + 201 * outputs


def test_mteeg_trains_a_third_of_what_hps_does():
    model = MteegModel(MteegConfig.from_preset("base"))
    for task, card in CARDS.items():
        model.add_adapter(task, card=card)
    found = Mteeg(model).facts()["parameters"]
    heads = {task: 201 * outputs for task, (outputs, *_) in SHAPES.items()}
    encoder = sum(p.numel() for p in model.temporal_encoder.parameters())
    adapter = (1_848_399 - encoder - HEADS) // 6
    assert found["trained"] == 1_848_399 == encoder + 6 * adapter + HEADS
    assert found["total"] == ENCODER + 6 * adapter + HEADS == 7_667_759
    assert found["run_for_one_task"] == {t: ENCODER + adapter + n for t, n in heads.items()}


def test_the_documents_numbers_are_these():
    text = (ROOT / "docs/methods.md").read_text("utf-8")
    for row in (
        "hps` | one backbone | head | 5,824,559 | 5,824,559 | 5.8 M",
        "mmoe` | 6 backbones | gate, head | 35,983,875 | 35,983,875 | 35.0 to 35.2 M",
        "cgc` | 6 backbones | one backbone, gate, head | 71,080,097 | 71,080,097 | 40.8 to 41.1 M",
        "mteeg` | one backbone | low-rank adapter, head | 7,667,759 | 1,848,399 | 6.1 M",
    ):
        assert f"| `{row} |" in text  # fmt: skip
    for name, told in (("mmoe", (35.0, 35.2)), ("cgc", (40.8, 41.1)), ("hps", (5.8, 5.8))):
        run = counts(name)["run_for_one_task"].values()
        assert (round(min(run) / 1e6, 1), round(max(run) / 1e6, 1)) == told


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_them(name):
    tasks, config = ("tuab", "seed-v"), {"adapter": {}, "floor": False}
    found = METHODS[name].build(make_config(tasks, method=name, **config), CARDS, 0).facts()
    numbers = found["parameters"]
    assert numbers["trained"] == found["trainable_parameters"]
    assert list(numbers["run_for_one_task"]) == list(tasks)
    for run in numbers["run_for_one_task"].values():
        assert 0 < run <= numbers["total"]
    assert json.dumps(numbers)


def test_band_power_is_counted_before_it_is_fitted_and_after():
    method = BandPower({"tuab": TINY["tuab"]}, BandPowerOptions(strengths=(1.0,)))
    before = method.parameter_counts()
    generator = torch.Generator().manual_seed(0)
    batch = {"input_values": torch.randn(8, 4, 2, 200, generator=generator)}
    features = method.features("tuab", batch)
    method.fit("tuab", features, torch.arange(8).numpy() % 2, 1.0)
    assert method.parameter_counts() == before
    assert before == {"total": 21, "trained": 21, "run_for_one_task": {"tuab": 21}}


def test_numbers_in_words():
    counts = {"total": 1234, "trained": 5, "run_for_one_task": {"a": 1000, "b": 1200}}
    assert parameters_text(counts) == "1,234 in all, 5 trained, 1,000 to 1,200 run for one task"
    counts["run_for_one_task"]["a"] = 1200
    assert parameters_text(counts).endswith(", 1,200 run for one task")
    assert parameters_text({}) == ""
