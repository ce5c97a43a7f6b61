"""Configurations of stage one: the neural tokenizer's training, and masked pre-training."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from ..._clone import as_typed
from ...settings.schema import setting
from ..run_config import OptimizationOptions, RunConfig, check_start


@dataclasses.dataclass(frozen=True)
class UnlabelledOptions:
    """Which recordings, and how windows are cut.

    ``folders`` were prepared with ``python -m dataset_scripts.unlabelled``; with ``simulate`` they
    are made first. A window has ``min(max_patches // channels, max_seconds)`` seconds, and one
    begins every ``stride_s``. ``validation`` is the share of subjects held out; ``bundle`` is how
    many windows of one shape stay together.
    """

    folders: tuple[str, ...] = setting(())
    simulate: bool = setting(False)
    stride_s: float = setting(4.0, "> 0")
    max_patches: int = setting(256, "> 0")
    max_seconds: int = setting(16, "> 0")
    validation: float = setting(0.02, ">= 0, < 1")
    bundle: int = setting(16, "> 0")


@dataclasses.dataclass(frozen=True)
class StageOneOptimization(OptimizationOptions):
    """Optimiser and schedule.

    Either ``epochs`` or ``steps`` (optimiser steps, rounded up to whole epochs; ``epochs: null``)
    says how long, and ``warmup_steps`` stands in for ``warmup_epochs``. Epochs that end on the
    plateau are done again, ``max_steps_on_plateau`` steps at most, rounded up to whole epochs (see
    ``Length``). ``ema_decay``: the saved weights are an exponential average.
    """

    epochs: int | None = setting(50, "> 0")
    steps: int | None = setting(None, "> 0", later=True)
    warmup_steps: int | None = setting(None, ">= 0", later=True)
    max_steps_on_plateau: int = setting(0, ">= 0", later=True)
    min_lr: float = setting(1e-5, ">= 0")
    betas: tuple[float, ...] = setting((0.9, 0.98), ">= 0, < 1")
    ema_decay: float | None = setting(None, "> 0, < 1")


@dataclasses.dataclass(frozen=True)
class TokenizerOptions:
    """The neural tokenizer: a preset with random weights, or a folder or Hub id to go on from.

    ``revive_dead`` gives codes that no token takes the values of tokens; the codebook starts after
    ``continuous_steps`` steps. What is null keeps the value of preset or folder; all are fields of
    ``MteegTokenizerConfig``.
    """

    preset: str | None = setting(None, "tiny|base")
    init: str | None = setting(None)
    num_codes: int | None = setting(None, "> 0")
    code_size: int | None = setting(None, "> 0")
    revive_dead: bool = setting(False)
    continuous_steps: int = setting(0, ">= 0", later=True)
    commitment_weight: float | None = setting(None, ">= 0", later=True)
    amplitude_target: str | None = setting(None, "linear|log", later=True)
    phase_weight: float | None = setting(None, ">= 0", later=True)
    initializer_range: float | None = setting(None, "> 0", later=True)


@dataclasses.dataclass(frozen=True)
class StudentOptions:
    """The backbone: a preset with random weights, or a folder or Hub id to go on from.

    ``initializer_range`` replaces the preset's deviation of random weights.
    """

    preset: str | None = setting(None, "tiny|base|large|huge")
    init: str | None = setting(None)
    initializer_range: float | None = setting(None, "> 0", later=True)
    drop_path: float = setting(0.0, ">= 0, < 1")
    mask_ratio: float = setting(0.5, "> 0, < 1")


@dataclasses.dataclass(frozen=True)
class StageOneConfig(RunConfig):
    """What both trainings have in common.

    ``on_collapse``: whether codes of which one takes nearly all held-out patches stop the training
    with an error, before it (pre-training) or in the end (tokenizer).
    ``compile``: the transformer layers run through ``torch.compile``, which needs a C++ compiler on
    a CPU and Triton on a GPU.
    """

    data: UnlabelledOptions = dataclasses.field(default_factory=UnlabelledOptions)
    optimization: StageOneOptimization = dataclasses.field(default_factory=StageOneOptimization)
    seed: int = setting(0, ">= 0")
    compile: bool = setting(False)
    on_collapse: str = setting("stop", "stop|continue", later=True)
    output: str = setting("outputs/stage_one")

    OUTSIDE: ClassVar[tuple[str, ...]] = (
        "output", "tracker", "num_processes", "checkpoint.", "data.simulate", "data.folders",
        "optimization.gradient_accumulation", "optimization.max_steps_on_plateau", "on_collapse",
    )  # fmt: skip

    def check_together(self, faults: list[str]) -> None:
        super().check_together(faults)
        model, data = self.model, self.data
        check_start(model.preset, model.init, "init", faults)
        epochs, steps = self.optimization.epochs, self.optimization.steps
        if (epochs is None) == (steps is None):
            faults.append(
                f"optimization: expected either epochs or steps, and null for the other; found "
                f"epochs: {epochs}, steps: {steps}"
            )
        if not data.folders and not data.simulate:
            faults.append("data: expected folders (or --data), or simulate: true; found neither")
        if data.folders and data.simulate:
            faults.append(
                f"data: expected folders or simulate: true, found {data.folders} and both"
            )
        if abs(data.stride_s * 200 - round(data.stride_s * 200)) > 1e-6:
            faults.append(f"data.stride_s: expected whole samples of 5 ms, found {data.stride_s}")


@dataclasses.dataclass(frozen=True)
class TokenizerTrainingConfig(StageOneConfig):
    """Training of the neural tokenizer; the keys of ``recipes/configs/tokenizer_*.yaml``."""

    model: TokenizerOptions = dataclasses.field(default_factory=TokenizerOptions)

    def check_together(self, faults: list[str]) -> None:
        super().check_together(faults)
        model = self.model
        fixed = ("num_codes", "code_size", "amplitude_target", "initializer_range")
        given = [name for name in fixed if getattr(model, name) is not None]
        if model.init is not None and given:
            faults.append(f"model: {', '.join(given)} come with init, leave them out")


@dataclasses.dataclass(frozen=True)
class MaskedTrainingConfig(StageOneConfig):
    """Masked pre-training; the keys of ``recipes/configs/pretrain_*.yaml``.

    ``tokenizer``: folder or Hub id of the neural tokenizer whose codes are predicted.
    """

    model: StudentOptions = dataclasses.field(default_factory=StudentOptions)
    tokenizer: str | None = setting(None)

    OUTSIDE: ClassVar[tuple[str, ...]] = (*StageOneConfig.OUTSIDE, "tokenizer")

    def check_together(self, faults: list[str]) -> None:
        super().check_together(faults)
        if self.model.init is not None and self.model.initializer_range is not None:
            faults.append("model: initializer_range comes with init, leave it out")
        if not self.tokenizer:
            remedy = as_typed("train one with accelerate launch recipes/pretrain_tokenizer.py")
            faults.append(
                f"tokenizer: expected a folder or Hub id (or --tokenizer): {remedy}, or convert a "
                "published one with mteeg convert"
            )
