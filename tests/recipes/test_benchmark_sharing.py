"""The steps of HPS, MMoE, CGC and MTEEG that the benchmark sets side by side."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from places import ROOT

RECIPES = ROOT / "recipes"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sharing():
    from modeling_mteeg.recipes.benchmarks import sharing_step as sharing

    return sharing


def gradients(sharing, variant: str, samples: int = 2) -> torch.Tensor:
    """Of one call, without drop path: its decisions differ between passes."""
    step = sharing.build(variant, "tiny", samples, CPU)
    step.method.module.eval()
    step.optimizer.step = step.optimizer.zero_grad = lambda **_: None
    step()
    return torch.cat([p.grad.flatten() for p in step.method.module.parameters()
                      if p.grad is not None])  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "first"),
    [
        ("HPS, bounded", "HPS"),
        pytest.param("MMoE, bounded", "MMoE", marks=pytest.mark.slow),
        pytest.param("MMoE, task by task", "MMoE", marks=pytest.mark.slow),
        pytest.param("CGC, bounded", "CGC", marks=pytest.mark.slow),
    ],
)
def test_rows_of_a_method_take_the_same_step(sharing, variant, first):
    expected = gradients(sharing, first)
    assert (gradients(sharing, variant) - expected).norm() < 1e-4 * expected.norm()


def test_ratios_are_of_the_first_row_within_a_round(sharing):
    seconds = {"HPS": [1.0, 2.0], "CGC": [7.0, 16.0], "MTEEG": [0.5, 1.0]}
    text = sharing.sharing_table("tiny", seconds, {"HPS": 100.0, "CGC": 350.0, "MTEEG": 80.0})
    rows = {line.split(" | ")[0]: line.strip("| ").split(" | ") for line in text.splitlines()}
    assert rows["| CGC"][1:5] == ["11.500", "7.50", "350", "3.50"]
    assert rows["| MTEEG"][1:5] == ["0.750", "0.50", "80", "0.80"]
    assert all(name.partition(",")[0] in ("HPS", "MMoE", "CGC", "MTEEG")
               for name in sharing.VARIANTS)  # fmt: skip


@pytest.mark.slow
def test_the_command_prints_its_rows(sharing, tmp_path):
    """A process a row; the step of every row is tested above."""
    table, rows = tmp_path / "table.md", ("HPS", "MTEEG")
    arguments = "sharing --preset tiny --samples 1 --repeats 1 --warmup 0 --device cpu --threads 1"
    subprocess.run(
        [sys.executable, str(RECIPES / "benchmark.py"), *arguments.split(), "--only", "MTEEG",
         "--out", str(table)], check=True,
    )  # fmt: skip
    text = table.read_text("utf-8")
    for row in rows:
        assert f"| {row} |" in text and f"- {row}: {sharing.VARIANTS[row]}" in text
