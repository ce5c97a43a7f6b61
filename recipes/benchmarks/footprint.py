"""What a task costs beside its base: switching to it, its files, its memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.recipes.benchmarks.joint_step import cards


def footprint(preset: str) -> dict[str, str]:
    """Measure on a model with six tasks.

    Returns
    -------
    dict of str to str
        Name of the figure to the figure with its unit.
    """
    model = MteegModel(MteegConfig.from_preset(preset))
    base = sum(p.numel() * p.element_size() for p in model.parameters())
    for task, card in cards().items():
        model.add_adapter(task, card=card)
    whole = sum(p.numel() * p.element_size() for p in model.parameters())
    names, times = list(model.tasks), []
    for turn in range(2000):
        start = time.perf_counter()
        model.set_adapter(names[turn % len(names)])
        times.append(time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {}
        for task in names:
            model.save_adapter(task, Path(folder) / task)
            sizes[task] = sum(p.stat().st_size for p in (Path(folder) / task).iterdir())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "switching the task": f"{statistics.median(times) * 1e3:.4f} ms",
        "adapter, head and card on disk, largest of six": f"{max(sizes.values()) / 1e6:.2f} MB",
        "memory of base and six tasks": f"{whole / base:.2f} times the base alone",
        "trainable parameters of six tasks": f"{trained:,}",
    }
