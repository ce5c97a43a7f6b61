"""The model that a configuration asks for, and the processes it runs in."""

from __future__ import annotations

import pytest
import torch
from tiny_corpora import CARDS
from tiny_models import tiny_model
from training_program import TASKS, make_config

from modeling_mteeg import MteegConfig, MteegForPreTraining
from modeling_mteeg.methods import METHODS
from modeling_mteeg.model.lora import adapter_layers
from modeling_mteeg.training import launch
from modeling_mteeg.training.launch import (
    TrainingError,
    bfloat16_ratio,
    check_devices,
    check_processes,
    start_accelerator,
)

ADAPTER = {
    "rank": 3,
    "scaling": 0.5,
    "dropout": 0.25,
    "location": "attention",
    "separate_qkv": True,
}


def build_model(config, cards, seed):
    """What the configured method trains."""
    return METHODS[config.method].build(config, cards, seed).module


@pytest.mark.parametrize("start", ["preset", "base", "pre-trained"])
def test_the_model_is_as_the_configuration_says(start, tmp_path):
    changes = {"model__drop_path": 0.3, "adapter": ADAPTER}
    if start == "base":
        tiny_model(num_hidden_layers=3).save_pretrained(tmp_path)
    elif start == "pre-trained":
        student = MteegForPreTraining(MteegConfig.from_preset("tiny"))
        student.save_pretrained(tmp_path)
    if start != "preset":
        changes |= {"model__preset": None, "model__base": str(tmp_path)}
    model = build_model(make_config(**changes), CARDS, seed=0)
    assert list(model.tasks) == list(TASKS)
    assert all(model.adapter_options[task].to_dict() == ADAPTER for task in TASKS)
    assert all(len(adapter_layers(model, task)) == 2 * 3 for task in TASKS)
    assert [layer.drop_path.rate for layer in model.layers] == pytest.approx([0, 0.15, 0.3])
    if start == "base":
        assert model.fingerprint() == tiny_model(num_hidden_layers=3).fingerprint()
    elif start == "pre-trained":
        assert model.fingerprint() == student.mteeg.fingerprint()


def test_adapters_do_not_depend_on_how_the_base_came_about(tmp_path):
    made = build_model(make_config(), CARDS, seed=3)
    made.save_pretrained(tmp_path)
    changes = {"model__preset": None, "model__base": str(tmp_path)}
    loaded = build_model(make_config(**changes), CARDS, seed=3)
    first, second = made.state_dict(), loaded.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_results_of_an_earlier_training_do_not_stay_in_the_card():
    cards = {task: card.replace(results={"auroc": 1.0}) for task, card in CARDS.items()}
    model = build_model(make_config(), cards, seed=0)
    assert {card.results for card in model.tasks.values()} == {None}


def test_a_model_is_a_function_of_the_seed():
    first, same, other = (
        build_model(make_config(), CARDS, seed=seed).state_dict() for seed in (4, 4, 5)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    for part in ("lora_A", "heads.seed-v.weight", "qkv.base_layer.weight", "conv1.weight"):
        names = [name for name in first if part in name]
        assert names and not any(torch.equal(first[name], other[name]) for name in names)


def test_numbers_of_processes():
    check_processes(None, 1, {})
    check_processes(1, 1, {})
    check_processes(2, 2, {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"})
    check_processes(1, 1, {"WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"})
    with pytest.raises(TrainingError, match=r"expected 2, found 1.*torchrun"):
        check_processes(2, 1, {})
    with pytest.raises(TrainingError, match=r"torchrun"):
        check_processes(None, 1, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})


def test_accelerate_s_own_accumulation_is_refused(monkeypatch):
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    AcceleratorState._reset_state(True)
    try:
        with pytest.raises(TrainingError, match=r"expected 1, found 4; .*gradient_accumulation"):
            start_accelerator(make_config(), cpu=True)
    finally:
        AcceleratorState._reset_state(True)


def test_fp16_on_a_cpu_is_refused():
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    try:
        with pytest.raises(TrainingError, match="fp16"):
            start_accelerator(make_config(mixed_precision="fp16"), cpu=True)
    finally:
        AcceleratorState._reset_state(True)


def test_times_of_products_are_compared(monkeypatch):
    """Float32 first, then bfloat16, each by its fastest product."""
    clock = iter([0, 9, 0, 9, 0, 4, 0, 6, 0, 5, 0, 5, 0, 8, 0, 7])
    monkeypatch.setattr(launch.time, "perf_counter", lambda: next(clock))
    assert bfloat16_ratio() == 5 / 4
    monkeypatch.undo()
    assert 0.01 < bfloat16_ratio() < 1000


@pytest.mark.parametrize(
    ("precision", "ratio", "warned"), [("bf16", 1.94, True), ("bf16", 0.5, False), ("no", 9, False)]
)
def test_slower_bfloat16_is_said(monkeypatch, recwarn, precision, ratio, warned):
    from accelerate.state import AcceleratorState

    monkeypatch.setattr(launch, "bfloat16_ratio", lambda: ratio)
    AcceleratorState._reset_state(True)
    try:
        start_accelerator(make_config(mixed_precision=precision), cpu=True)
    finally:
        AcceleratorState._reset_state(True)
    said = [str(one.message) for one in recwarn if "bfloat16" in str(one.message)]
    assert len(said) == warned
    assert not warned or ("1.9 times" in said[0] and "Set mixed_precision: no." in said[0])


def test_more_processes_than_gpus_on_a_machine_are_refused():
    check_devices(1, {})
    check_devices(2, {"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"})
    with pytest.raises(TrainingError, match=r"found 1 for 2 processes.*Start 1, with"):
        check_devices(1, {"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"})
