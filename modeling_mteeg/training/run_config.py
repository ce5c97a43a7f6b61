"""What every training's configuration has: optimiser and schedule, checkpoints, how it runs."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..settings.config_file import SavedConfig
from ..settings.schema import setting
from .trackers import NONE, TRACKERS


@dataclasses.dataclass(frozen=True)
class OptimizationOptions:
    """AdamW, its schedule, and the batch.

    ``batch_size`` counts the samples of one optimiser step over all processes and parts, so that
    neither their number nor ``gradient_accumulation`` (parts of a process's share, one after the
    other, which bound memory) changes the samples or gradients of a step. ``schedule: constant``
    stays at ``lr`` after the warm-up, whatever ``min_lr``.
    """

    epochs: int = setting(50, "> 0")
    batch_size: int = setting(512, "> 0")
    gradient_accumulation: int = setting(1, "> 0")
    lr: float = setting(5e-4, "> 0")
    min_lr: float = setting(1e-6, ">= 0")
    warmup_epochs: float = setting(5.0, ">= 0")
    weight_decay: float = setting(0.05, ">= 0")
    betas: tuple[float, ...] = setting((0.9, 0.999), ">= 0, < 1")
    clip_norm: float | None = setting(None, "> 0")
    schedule: str = setting("cosine", "cosine|constant", later=True)


@dataclasses.dataclass(frozen=True)
class CheckpointOptions:
    """A checkpoint after every epoch and every so many optimiser steps; the last few are kept."""

    every_steps: int = setting(500, "> 0")
    keep: int = setting(2, "> 0")


@dataclasses.dataclass(frozen=True)
class RunConfig(SavedConfig):
    """Keys of every recipe's configuration that say how it runs; subclasses add what it trains."""

    optimization: OptimizationOptions = dataclasses.field(default_factory=OptimizationOptions)
    checkpoint: CheckpointOptions = dataclasses.field(default_factory=CheckpointOptions)
    num_processes: int | None = setting(None, "> 0")
    mixed_precision: str | None = setting(None, "no|bf16|fp16")
    tracker: str = setting(NONE, "|".join((NONE, *TRACKERS)))
    output: str = setting("outputs/run")

    def check_together(self, faults: list[str]) -> None:
        opt = self.optimization
        if opt.schedule == "cosine" and opt.min_lr > opt.lr:
            faults.append(f"optimization: min_lr {opt.min_lr:g} is above lr {opt.lr:g}")
        if opt.epochs is not None and opt.warmup_epochs > opt.epochs:
            faults.append(f"optimization: {opt.warmup_epochs:g} warmup_epochs are more than "
                          f"{opt.epochs} epochs")  # fmt: skip
        if len(opt.betas) != 2:
            faults.append(f"optimization.betas: expected two numbers, found {len(opt.betas)}")
        if not self.output:
            faults.append("output: expected a folder, found an empty text")


def check_start(preset: Any, start: Any, key: str, faults: list[str]) -> None:
    """Note a model that begins from nothing, or from two things; ``key`` names the second."""
    if (preset is None) == (start is None):
        what = "a folder or Hub id" + (" to go on from" if key == "init" else "")
        given = "neither" if preset is None else f"{preset!r} and {start!r}"
        faults.append(
            f"model: expected either preset (random weights) or {key} ({what}), found {given}"
        )
