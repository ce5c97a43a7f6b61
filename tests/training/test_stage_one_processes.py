"""Stage one in real processes: two that train together, and one that is killed again and again."""

from __future__ import annotations

import functools
import signal
from pathlib import Path

import pytest
import torch
from launching import launch, succeed
from places import ROOT, SUPPORT
from safetensors.torch import load_file
from tiny_unlabelled import save_unlabelled

PROGRAM = SUPPORT / "stage_one_program.py"
KINDS = ("tokenizer", "masked")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", dtype="int16")


def result(folder: Path) -> tuple[bytes, str]:
    return (folder / "outcome.safetensors").read_bytes(), (folder / "history.json").read_text()


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """A function: folder of a whole training, done once in a fresh process."""

    @functools.cache
    def train(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        succeed([kind, "train", data, folder], program=PROGRAM, fresh=True)
        return folder

    return train


@pytest.mark.parametrize("kind", KINDS)
def test_killed_twice_and_started_again_is_as_if_nothing_had_happened(
    kind, data, uninterrupted, tmp_path
):
    killed = tmp_path / "killed"
    for step in (3, 2):
        died = launch([kind, "train", data, killed, "--die", step], program=PROGRAM)
        assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    succeed([kind, "train", data, killed], program=PROGRAM)
    assert result(killed) == result(uninterrupted(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_find_what_one_finds(kind, data, tmp_path):
    succeed([kind, "gradients", data, tmp_path / "one"], program=PROGRAM)
    succeed([kind, "gradients", data, tmp_path / "two", "--slices", 2], 2, PROGRAM)
    one, two = (load_file(tmp_path / name / "outcome.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_to_the_end_and_go_on_as_one(kind, data, uninterrupted, tmp_path):
    succeed([kind, "train", data, tmp_path / "two"], 2, PROGRAM)
    folders = tmp_path / "two", uninterrupted(kind)
    two, one = (load_file(folder / "outcome.safetensors") for folder in folders)
    assert one.keys() == two.keys()
    assert all(value.isfinite().all() for value in two.values() if value.is_floating_point())
    killed = tmp_path / "killed"
    died = launch([kind, "train", data, killed, "--die", 4], program=PROGRAM)
    assert died.returncode == -signal.SIGKILL
    with_two = launch([kind, "train", data, killed], 2, PROGRAM)
    assert with_two.returncode == 0, with_two.stderr[-2000:]
    assert "written by 1 processes" in with_two.stderr


def test_two_processes_make_the_demo_tokenizer_and_go_on(tmp_path, monkeypatch):
    recordings = {f"{montage}{number}": (f"s{number}", montage, 8000)
                  for montage in ("motor", "front") for number in range(4)}  # fmt: skip
    place = tmp_path / "outputs/unlabelled_demo/data"
    save_unlabelled(place, recordings, max_patches=64, max_seconds=8)
    monkeypatch.chdir(tmp_path)
    recipe = ROOT / "recipes/pretrain.py"
    done = launch(["--num-processes", 2, "--set", "mixed_precision=bf16"], 2, recipe)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("no tokenizer in outputs/tokenizer_demo/model yet") == 1
    for name in ("tokenizer_demo", "pretrain_demo"):
        assert (tmp_path / "outputs" / name / "model/model.safetensors").is_file()
