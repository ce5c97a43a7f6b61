"""Pre-training with its weights spread over two processes: on CPUs, through the code of GPUs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from launching import launch, succeed
from places import ROOT, SUPPORT
from safetensors.torch import load_file
from tiny_unlabelled import save_unlabelled

from modeling_mteeg import MteegForPreTraining
from modeling_mteeg.training.launch import TrainingError, check_sharding

PROGRAM = SUPPORT / "stage_one_program.py"
RECIPES = ROOT / "recipes"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", dtype="int16")


@pytest.fixture
def sharded(monkeypatch):
    """A function that starts two processes as ``accelerate launch --use_fsdp`` would."""

    def start(*arguments, run=succeed, program=PROGRAM):
        with monkeypatch.context() as context:
            context.setenv("ACCELERATE_USE_FSDP", "true")
            context.setenv("FSDP_VERSION", "2")
            return run(list(arguments), 2, program)

    return start


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "outcome.safetensors")


def assert_close(found: Path, expected: Path, **tolerances) -> None:
    found, expected = tensors(found), tensors(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name, **tolerances)


@pytest.mark.slow
def test_gradients_of_a_sharded_step_are_those_of_one_process(sharded, data, tmp_path):
    """Parts of unequal size (17 windows of two shapes): their sum, not the processes' mean."""
    succeed(["masked", "gradients", data, tmp_path / "one"], program=PROGRAM)
    sharded("masked", "gradients", data, tmp_path / "two", "--slices", 2)
    assert_close(tmp_path / "two", tmp_path / "one", rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_sharded_training_is_the_plain_one(sharded, data, tmp_path):
    """Weights, averages and AdamW to the end, with evaluations and pictures in between."""
    succeed(["masked", "train", data, tmp_path / "plain"], 2, PROGRAM)
    sharded("masked", "train", data, tmp_path / "sharded", "--tracker", "tensorboard")
    assert_close(tmp_path / "sharded", tmp_path / "plain", rtol=1e-3, atol=3e-4)
    (events,) = (tmp_path / "sharded/logs").glob("events*")
    assert b"hidden patches" in events.read_bytes()


@pytest.mark.slow
def test_a_sharded_training_goes_on_after_a_kill_sharded_or_not(sharded, data, tmp_path):
    sharded("masked", "train", data, tmp_path / "whole")
    killed, other = tmp_path / "killed", tmp_path / "other"
    died = sharded("masked", "train", data, killed, "--die", 3, run=launch)
    assert died.returncode != 0 and (killed / "checkpoints").is_dir()
    assert not (killed / "history.json").exists()
    shutil.copytree(killed, other)
    sharded("masked", "train", data, killed)
    assert tensors(killed).keys() == tensors(tmp_path / "whole").keys()
    for name, value in tensors(tmp_path / "whole").items():
        assert torch.equal(tensors(killed)[name], value), name
    plain = launch(["masked", "train", data, other], 2, PROGRAM)
    assert plain.returncode == 0, plain.stderr[-2000:]
    assert "going on at epoch 1, step 2" in plain.stdout  # where the sharded one died
    assert_close(other, tmp_path / "whole", rtol=1e-3, atol=3e-4)


@pytest.mark.slow
def test_the_recipe_saves_a_whole_model(sharded, tmp_path, monkeypatch):
    recordings = {f"{montage}{number}": (f"s{number}", montage, 8000)
                  for montage in ("motor", "front") for number in range(4)}  # fmt: skip
    place = tmp_path / "outputs/unlabelled_demo/data"
    save_unlabelled(place, recordings, max_patches=64, max_seconds=8)
    monkeypatch.chdir(tmp_path)
    tokenizer = launch(["--set", "optimization.epochs=2", "--set", "optimization.warmup_epochs=0"],
                       program=RECIPES / "pretrain_tokenizer.py")  # fmt: skip
    assert tokenizer.returncode == 0, tokenizer.stderr[-2000:]
    words = ("--set", "optimization.epochs=1", "--set", "optimization.warmup_epochs=0",
             "--num-processes", 2, "--set", "mixed_precision=bf16")  # fmt: skip
    done = sharded(*words, run=launch, program=RECIPES / "pretrain.py")
    assert done.returncode == 0, done.stderr[-2000:]
    model, notes = MteegForPreTraining.from_pretrained(
        "outputs/pretrain_demo/model", output_loading_info=True
    )
    assert not any(notes.values())
    (checkpoint,) = Path("outputs/pretrain_demo/checkpoints").glob("epoch-00001-*")
    trained = load_file(checkpoint / "trainable.safetensors")
    if (checkpoint / "best.safetensors").exists():  # averages are what is saved
        trained |= load_file(checkpoint / "best.safetensors")
    parameters = dict(model.named_parameters())
    for name, value in trained.items():
        torch.testing.assert_close(parameters[name].detach(), value, rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_a_tokenizer_is_not_sharded(sharded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = sharded(run=launch, program=RECIPES / "pretrain_tokenizer.py")
    assert done.returncode != 0 and "error: FSDP: the model fits every device" in done.stderr


@pytest.mark.parametrize(
    ("changes", "precision", "message"),
    [
        ({"FSDP_VERSION": "1"}, "no", "expected --fsdp_version 2, found 1"),
        ({}, "fp16", "found fp16"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "bf16", "fsdp_offload_params"),
        ({"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "bf16", "cpu_ram_efficient_loading false"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "True"}, "bf16", "gradient_accumulation"),
    ],
)
def test_what_would_not_be_kept_is_refused(changes, precision, message):
    check_sharding({"FSDP_VERSION": "2"}, "bf16")
    with pytest.raises(TrainingError, match=message):
        check_sharding({"FSDP_VERSION": "2", **changes}, precision)
