"""Real processes: two that train together, and one that is killed again and again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launching import LIMIT_S, PROGRAM, command, environment, launch, succeed
from places import ROOT
from tiny_corpora import save_corpora
from training_program import TASKS

JOINT = ROOT / "recipes/joint.py"
SIZES = {"tuab": (32, 8, 7), "seed-v": (27, 9, 8), "sleep-edf": (10, 6, 7)}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


def files(folder: Path) -> tuple[bytes, str]:
    """Final and selected weights, and all metrics."""
    return (folder / "outcome.safetensors").read_bytes(), (folder / "history.json").read_text()


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """In a fresh process, which has another seed of Python's hashes than the forked ones."""
    folder = tmp_path_factory.mktemp("whole")
    succeed(["train", data, folder], fresh=True)
    return files(folder)


@pytest.mark.parametrize(
    "kills",
    [["step:3", "optimizer:2"], ["tensors:2", "forward:5"], ["rename:4", "evaluation:1"]],
    ids="+".join,
)
def test_killed_twice_and_started_again_is_as_if_nothing_had_happened(
    data, tmp_path, uninterrupted, kills
):
    for kill in kills:
        done = launch(["train", data, tmp_path, "--die", kill])
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        assert not (tmp_path / "outcome.safetensors").exists()
    assert list((tmp_path / "checkpoints").glob("epoch-*"))
    succeed(["train", data, tmp_path])
    assert files(tmp_path) == uninterrupted


def test_killed_from_outside(data, tmp_path, uninterrupted):
    """At a moment nobody chose: some time after the first, then after a later checkpoint."""
    for wanted in (1, 2):
        process = subprocess.Popen(
            [*command(PROGRAM), "train", str(data), str(tmp_path), "--slow", "0.1"],
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            names: set[str] = set()
            while len(names) < wanted and process.poll() is None:
                names |= {path.name for path in (tmp_path / "checkpoints").glob("epoch-*")}
                time.sleep(0.02)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
    succeed(["train", data, tmp_path])
    assert files(tmp_path) == uninterrupted


def test_two_processes_killed_and_started_again(data, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    succeed(["train", data, whole], processes=2)
    assert launch(["train", data, parts, "--die", "step:4:1"], processes=2).returncode != 0
    assert launch(["train", data, parts, "--die", "optimizer:2:0"], processes=2).returncode != 0
    assert list((parts / "checkpoints").glob("epoch-*"))
    succeed(["train", data, parts], processes=2)
    assert files(parts) == files(whole)


@pytest.mark.parametrize(("batch_size", "processes"), [(12, 2), (3, 2), (3, 3)])
def test_processes_have_the_gradients_of_one_and_stay_equal(data, tmp_path, batch_size, processes):
    """A batch of 12 holds every task everywhere; of 3, a process may have no sample at all."""
    arguments = ["gradients", data, tmp_path, "--batch-size", batch_size]
    succeed(arguments)
    single = torch.load(tmp_path / "rank-0.pt")
    succeed(arguments, processes)
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(processes)]
    assert ranks[0]["always_present"] == (batch_size == 12)
    assert any(any(rank["empty"]) for rank in ranks) == (processes == 3)
    idle = 0
    for step, one in enumerate(single["gradients"]):
        for name, gradient in one.items():
            found = [rank["gradients"][step][name] for rank in ranks]
            if gradient is None:
                idle += 1
                assert found == [None] * processes, name
                continue
            scale = gradient.abs().max().clamp(min=1e-8)
            assert (found[0] - gradient).abs().max() <= 1e-5 * scale, name
            assert all(torch.equal(other, found[0]) for other in found[1:]), name
    assert step > 3 and (idle > 0) == (batch_size == 3)
    for name, weight in ranks[0]["weights"].items():
        assert torch.isfinite(weight).all()
        assert not torch.equal(weight, ranks[0]["start"][name]), name
        assert all(torch.equal(rank["weights"][name], weight) for rank in ranks[1:]), name
    for task in TASKS:
        for part in (f".lora_A.{task}.", f".lora_B.{task}.", f"heads.{task}."):
            assert any(part in name for name in ranks[0]["weights"])


def test_idle_adapters_do_not_drift_on_any_process(tmp_path):
    """Step by step: what has no gradient anywhere stays bit for bit, on every process."""
    save_corpora(tmp_path / "data", {**SIZES, "sleep-edf": (2, 6, 7)})
    succeed(["steps", tmp_path / "data", tmp_path, "--batch-size", 4], processes=2)
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(2)]
    assert ranks[0]["moved"] == ranks[1]["moved"]
    assert ranks[0]["present"] == ranks[1]["present"] == ranks[0]["moved"]
    steps = [step["sleep-edf"] for step in ranks[0]["present"]]
    assert steps.count(True) == 2 and not all(steps[steps.index(True) :])


RECIPE = ["--set", "model.preset=tiny", "--set", "optimization.epochs=2",
          "--set", "optimization.batch_size=12", "--tasks", ",".join(TASKS)]  # fmt: skip


def test_the_recipe_under_torchrun(data, tmp_path):
    arguments = ["--data", data, "--output", tmp_path / "out", "--num-processes", 2, *RECIPE]
    text = succeed(arguments, processes=2, program=JOINT)
    assert "2 processes on cpu" in text and "loaded back" in text
    assert text.count("Test results") == 1
    windows = {task: sizes[2] for task, sizes in SIZES.items()}
    for task, size in windows.items():
        assert re.search(rf"^{task}\s+\S+\s+{size}\b", text, re.MULTILINE), text


def test_the_recipe_says_when_accelerate_started_one_process_only(data, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
         str(JOINT), "--data", str(data), "--output", str(tmp_path / "out"), *RECIPE],
        env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "torchrun" in done.stderr and "found one" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_recipe_under_accelerate_launch(data, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", str(JOINT), "--data", str(data),
         "--output", str(tmp_path / "out"), *RECIPE, "--set", "mixed_precision=bf16"],
        env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "precision bf16" in done.stdout and "Test results" in done.stdout
