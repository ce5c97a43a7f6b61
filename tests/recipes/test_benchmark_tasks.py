"""The benchmark's parts about scale: many tasks in a step, many short files."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from places import ROOT

RECIPES = ROOT / "recipes"


@pytest.fixture(scope="module")
def parts():
    """The modules of the two parts."""
    from modeling_mteeg.recipes.benchmarks import many_files, task_step

    return task_step, many_files


@pytest.mark.parametrize("count", [6, 12])
def test_a_step_holds_the_same_samples_however_many_tasks_it_has(parts, count):
    task_step, _ = parts
    step = task_step.build(f"{count} tasks, training", "tiny", 2, torch.device("cpu"))
    assert len(step.batches) == len(step.model.tasks) == count
    shapes = sorted(
        tuple(batch["input_values"].shape[1:])
        for batch in step.batches.values()
        for _ in range(len(batch["labels"]))
    )
    six = sorted((c, s, 200) for _, c, s in task_step.SHAPES.values())
    assert shapes == sorted(six * 2)
    before = {name: p.clone() for name, p in step.model.named_parameters() if p.requires_grad}
    step()
    moved = [name for name, p in step.model.named_parameters()
             if name in before and not torch.equal(p, before[name])]  # fmt: skip
    assert {name.split(".")[1] for name in moved if name.startswith("heads")} == set(step.batches)
    still = task_step.build(f"{count} tasks, inference", "tiny", 2, torch.device("cpu"))
    state = {name: value.clone() for name, value in still.model.state_dict().items()}
    still()
    assert all(torch.equal(state[name], value) for name, value in still.model.state_dict().items())


def test_counts_that_do_not_divide_the_step_are_refused(parts):
    task_step, _ = parts
    task_step.check_counts((6, 24, 96), 16)
    for counts, samples in (((6, 96), 4), ((5,), 5), ((), 16)):
        with pytest.raises(ValueError, match="--num-tasks: expected multiples of 6"):
            task_step.check_counts(counts, samples)


def test_what_tasks_cost_is_measured(parts):
    found = parts[0].measure("tiny", 6)
    assert found["weights_mb"] > 0 and found["load_s"] > 0 and found["switch_ms"] > 0


@pytest.mark.slow
def test_the_command_prints_every_row(tmp_path):
    out = tmp_path / "table.md"
    arguments = (
        "tasks files --preset tiny --samples 2 --num-tasks 6 --repeats 1 --warmup 0 "
        "--num-files 3 --file-seconds 30 --device cpu --threads 1"
    ).split()
    subprocess.run(
        [sys.executable, str(RECIPES / "benchmark.py"), *arguments, "--out", str(out)], check=True
    )
    text = out.read_text("utf-8")
    for row in ("training | 6", "inference | 6", "predict", "predict, 2 at once", "plain"):
        assert f"| {row} |" in text
