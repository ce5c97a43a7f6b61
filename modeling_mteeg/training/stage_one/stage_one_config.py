"""Configurations of stage one: the neural tokenizer's training, and masked pre-training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from ...settings.config_file import SavedConfig, flatten, put_over, read_tree
from ...settings.schema import ConfigError, read_section, setting
from ..joint_config import CheckpointOptions


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
class StageOneOptimization:
    """AdamW, its schedule, and the batch.

    ``batch_size`` counts the windows of one optimiser step over all processes and slices, so that
    neither their number nor ``gradient_accumulation`` (slices of a process's share, one after the
    other, which bound memory) changes a step. ``ema_decay``: the saved weights are an exponential
    average over steps.
    """

    epochs: int = setting(50, "> 0")
    batch_size: int = setting(512, "> 0")
    gradient_accumulation: int = setting(1, "> 0")
    lr: float = setting(5e-4, "> 0")
    min_lr: float = setting(1e-5, ">= 0")
    warmup_epochs: float = setting(5.0, ">= 0")
    weight_decay: float = setting(0.05, ">= 0")
    betas: tuple[float, ...] = setting((0.9, 0.98), ">= 0, < 1")
    clip_norm: float | None = setting(None, "> 0")
    ema_decay: float | None = setting(None, "> 0, < 1")


@dataclasses.dataclass(frozen=True)
class TokenizerOptions:
    """The neural tokenizer: a preset with random weights, or a folder or Hub id to go on from.

    ``num_codes`` and ``code_size`` replace the preset's; ``revive_dead`` gives codes that no token
    takes the values of tokens.
    """

    preset: str | None = setting(None, "tiny|base")
    init: str | None = setting(None)
    num_codes: int | None = setting(None, "> 0")
    code_size: int | None = setting(None, "> 0")
    revive_dead: bool = setting(False)


@dataclasses.dataclass(frozen=True)
class StudentOptions:
    """The backbone: a preset with random weights, or a folder or Hub id to go on from."""

    preset: str | None = setting(None, "tiny|base|large|huge")
    init: str | None = setting(None)
    drop_path: float = setting(0.0, ">= 0, < 1")
    mask_ratio: float = setting(0.5, "> 0, < 1")


@dataclasses.dataclass(frozen=True)
class StageOneConfig(SavedConfig):
    """What both trainings have in common.

    ``compile``: the transformer layers run through ``torch.compile``, which needs a C++ compiler on
    a CPU and Triton on a GPU.
    """

    data: UnlabelledOptions = dataclasses.field(default_factory=UnlabelledOptions)
    optimization: StageOneOptimization = dataclasses.field(default_factory=StageOneOptimization)
    checkpoint: CheckpointOptions = dataclasses.field(default_factory=CheckpointOptions)
    seed: int = setting(0, ">= 0")
    num_processes: int | None = setting(None, "> 0")
    mixed_precision: str | None = setting(None, "no|bf16|fp16")
    compile: bool = setting(False)
    tracker: str = setting("none", "none|tensorboard")
    output: str = setting("outputs/stage_one")

    OUTSIDE: ClassVar[tuple[str, ...]] = (
        "output", "tracker", "num_processes", "checkpoint.", "data.simulate", "data.folders",
        "optimization.gradient_accumulation",
    )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a YAML file, put ``overrides`` (dotted keys) over it, and check everything.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ConfigError
            Everything that is wrong with it, in one error.
        """
        tree, duplicates = read_tree(path)
        return cls.build(tree, overrides, str(path), duplicates)

    @classmethod
    def build(
        cls,
        tree: Any,
        overrides: Mapping[str, Any] | None = None,
        source: str = "configuration",
        faults: Sequence[str] = (),
    ) -> Self:
        """Check a nested mapping and make the configuration of it; see :meth:`load`."""
        faults = list(faults)
        config = read_section(cls, put_over(tree, overrides, source), "", faults)
        if not faults:
            config.check_together(faults)
        if faults:
            raise ConfigError(source, faults)
        return config

    def identity(self) -> dict[str, Any]:
        """The keys that decide the trained numbers, flat: a checkpoint belongs to these."""
        flat = flatten(self.to_dict())
        return {key: value for key, value in flat.items() if not key.startswith(self.OUTSIDE)}

    def check_together(self, faults: list[str]) -> None:
        """Note values that are right alone and wrong together."""
        model, data, opt = self.model, self.data, self.optimization
        if (model.preset is None) == (model.init is None):
            found = "neither" if model.preset is None else f"{model.preset!r} and {model.init!r}"
            faults.append("model: expected either preset (random weights) or init (a folder or "
                          f"Hub id to go on from), found {found}")  # fmt: skip
        if not data.folders and not data.simulate:
            faults.append("data: expected folders (or --data), or simulate: true; found neither")
        if data.folders and data.simulate:
            faults.append(
                f"data: expected folders or simulate: true, found {data.folders} and both"
            )
        if abs(data.stride_s * 200 - round(data.stride_s * 200)) > 1e-6:
            faults.append(f"data.stride_s: expected whole samples of 5 ms, found {data.stride_s}")
        if opt.min_lr > opt.lr:
            faults.append(f"optimization: min_lr {opt.min_lr:g} is above lr {opt.lr:g}")
        if opt.warmup_epochs > opt.epochs:
            faults.append(f"optimization: {opt.warmup_epochs:g} warmup_epochs are more than "
                          f"{opt.epochs} epochs")  # fmt: skip
        if len(opt.betas) != 2:
            faults.append(f"optimization.betas: expected two numbers, found {len(opt.betas)}")
        if not self.output:
            faults.append("output: expected a folder, found an empty text")


@dataclasses.dataclass(frozen=True)
class TokenizerTrainingConfig(StageOneConfig):
    """Training of the neural tokenizer; the keys of ``recipes/configs/tokenizer_*.yaml``."""

    model: TokenizerOptions = dataclasses.field(default_factory=TokenizerOptions)

    def check_together(self, faults: list[str]) -> None:
        super().check_together(faults)
        model = self.model
        if model.init is not None and (model.num_codes, model.code_size) != (None, None):
            faults.append("model: num_codes and code_size come with init, leave them out")


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
        if not self.tokenizer:
            faults.append(
                "tokenizer: expected a folder or Hub id (or --tokenizer): train one with "
                "recipes/pretrain_tokenizer.py, or convert a published one with mteeg convert"
            )
