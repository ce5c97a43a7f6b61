"""The configuration of a joint training: a YAML file, checked as a whole before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.remote import is_url
from ..model.adapter_options import AdapterOptions
from ..model.task_card import TASK_NAME
from ..settings.config_file import SavedConfig, flatten, put_over, read_tree
from ..settings.schema import ConfigError, nearest, read_section, setting

TASKS = ("tuab", "tuev", "seed-v", "chb-mit", "sleep-edf", "physionet-mi")


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Which backbone: a preset with random weights, or a base folder or Hub id; not both."""

    preset: str | None = setting(None, "tiny|base|large|huge")
    base: str | None = setting(None)
    drop_path: float = setting(0.0, ">= 0, < 1")


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Where the prepared corpora lie, which tasks to train, and whether to simulate them.

    ``folder`` may be a URL (``hf://datasets/me/eeg``, ``s3://bucket/eeg``) and may hold ``{task}``
    in place of ``<folder>/<task>``. URLs are streamed; ``streaming`` does so from a folder too.
    """

    folder: str | None = setting(None)
    streaming: bool = setting(False)
    tasks: tuple[str, ...] = setting(TASKS)
    simulate: bool = setting(False)


@dataclasses.dataclass(frozen=True)
class OptimizationOptions:
    """AdamW, its schedule, and the batch.

    ``batch_size`` counts the samples of one optimiser step over all tasks, processes and
    accumulated parts. So the number of processes and ``gradient_accumulation`` (parts of a step
    that go through the model one after the other, which bounds the memory) change memory and
    speed but neither samples nor gradients of a step. ``max_tokens`` bounds the tokens that go
    through the model in one pass: small tasks share a pass, large ones are cut.
    """

    epochs: int = setting(50, "> 0")
    batch_size: int = setting(512, "> 0")
    eval_batch_size: int = setting(64, "> 0")
    gradient_accumulation: int = setting(1, "> 0")
    max_tokens: int | None = setting(None, "> 0")
    lr: float = setting(5e-4, "> 0")
    min_lr: float = setting(1e-6, ">= 0")
    warmup_epochs: float = setting(5.0, ">= 0")
    weight_decay: float = setting(0.05, ">= 0")
    betas: tuple[float, ...] = setting((0.9, 0.999), ">= 0, < 1")
    layer_decay: float = setting(0.65, "> 0, <= 1")
    label_smoothing: float = setting(0.1, ">= 0, < 1")
    clip_norm: float | None = setting(None, "> 0")
    task_weights: dict[str, float] = dataclasses.field(
        default_factory=dict, metadata={"check": "> 0"}
    )


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """What share of a task's training samples an epoch draws (paper, sections 4.1 and 4.2)."""

    fraction: float = setting(1.0, "> 0, <= 1")
    negative_fraction: float = setting(1.0, "> 0, <= 1")


@dataclasses.dataclass(frozen=True)
class CheckpointOptions:
    """A checkpoint after every epoch and every so many optimiser steps; the last few are kept."""

    every_steps: int = setting(500, "> 0")
    keep: int = setting(2, "> 0")


@dataclasses.dataclass(frozen=True)
class JointConfig(SavedConfig):
    """A whole joint training. The YAML files in ``recipes/configs`` have these keys."""

    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    adapter: AdapterOptions = dataclasses.field(default_factory=AdapterOptions)
    optimization: OptimizationOptions = dataclasses.field(default_factory=OptimizationOptions)
    sampling: dict[str, SamplingOptions] = dataclasses.field(default_factory=dict)
    checkpoint: CheckpointOptions = dataclasses.field(default_factory=CheckpointOptions)
    method: str = setting("mteeg", "mteeg|full")
    train_temporal_encoder: bool = setting(True)
    seeds: tuple[int, ...] = setting((0,), ">= 0")
    num_processes: int | None = setting(None, "> 0")
    mixed_precision: str | None = setting(None, "no|bf16|fp16")
    tracker: str = setting("none", "none|tensorboard")
    output: str = setting("outputs/joint")

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as in the YAML file."""
        return {**super().to_dict(), "adapter": self.adapter.to_dict()}

    def identity(self) -> dict[str, Any]:
        """The keys that decide the trained numbers, flat: a checkpoint belongs to these.

        Left out are the keys that only say where and how often something is written, the number
        of processes, and the list of seeds (a checkpoint belongs to one of them).
        """
        flat = flatten(self.to_dict())
        outside = ("output", "tracker", "seeds", "num_processes", "checkpoint.", "data.simulate",
                   "data.folder", "data.streaming", "optimization.eval_batch_size")  # fmt: skip
        return {key: value for key, value in flat.items() if not key.startswith(outside)}

    def sampling_of(self, tasks: Iterable[str]) -> dict[str, dict[str, float]]:
        """The sampling rules of those of ``tasks`` that have one."""
        return {task: vars(self.sampling[task]) for task in tasks if task in self.sampling}


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> JointConfig:
    """Read a YAML file, put ``overrides`` over it, and check everything at once.

    Parameters
    ----------
    path : str or Path
    overrides : mapping of str to value
        Dotted keys, such as ``{"data.tasks": ["tuab"]}``; they win over the file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ConfigError
        Not YAML, unknown keys, wrong types, wrong values, or values that contradict each other:
        all of them in one error.
    """
    tree, duplicates = read_tree(path)
    return build_config(tree, overrides, str(path), duplicates)


def build_config(
    tree: Any,
    overrides: Mapping[str, Any] | None = None,
    source: str = "configuration",
    faults: Sequence[str] = (),
) -> JointConfig:
    """Check a nested mapping and make the configuration of it; see :func:`load_config`."""
    faults = list(faults)
    tree = put_over(tree, overrides, source)
    config = read_section(JointConfig, tree, "", faults)
    _check_tasks(tree, config, faults)
    if not faults:
        _check_together(tree, config, faults)
    if faults:
        raise ConfigError(source, faults)
    return config


def _check_tasks(tree: Mapping[str, Any], config: JointConfig, faults: list[str]) -> None:
    """Names of tasks: well formed, not twice; other sections speak of known tasks only."""
    tasks = config.data.tasks
    if not tasks:
        faults.append("data.tasks: expected at least one task, found none")
    for task in dict.fromkeys(tasks):
        if not TASK_NAME.fullmatch(task):
            faults.append(f"data.tasks: {task!r} is no task name (lower-case letters, digits, "
                          f"dashes){nearest(task, TASKS)}")  # fmt: skip
        if tasks.count(task) > 1:
            faults.append(f"data.tasks: {task!r} stands there {tasks.count(task)} times")
    known = dict.fromkeys((*TASKS, *tasks))
    weights = tree.get("optimization")
    weights = weights.get("task_weights") if isinstance(weights, Mapping) else None
    for where, names in (
        ("sampling", tree.get("sampling")),
        ("optimization.task_weights", weights),
    ):
        for task in names if isinstance(names, Mapping) else ():
            if task not in known:
                faults.append(f"{where}.{task}: unknown task{nearest(task, known)}")


def _check_together(tree: Mapping[str, Any], config: JointConfig, faults: list[str]) -> None:
    """Values that are right alone and wrong together."""
    model, data, opt = config.model, config.data, config.optimization
    if (model.preset is None) == (model.base is None):
        found = "neither" if model.preset is None else f"{model.preset!r} and {model.base!r}"
        faults.append("model: expected either preset (random weights) or base (a folder or Hub "
                      f"id), found {found}")  # fmt: skip
    if data.folder is None and not data.simulate:
        faults.append("data: expected folder (or --data), or simulate: true; found neither")
    folder = data.folder or ""
    if data.simulate and (is_url(folder) or "{task}" in folder):
        faults.append(f"data: simulated corpora go to a plain local folder, found {folder!r}")
    if config.method == "full":
        if config.adapter != AdapterOptions():
            faults.append("adapter: method full has no adapters; leave the section out")
        if not config.train_temporal_encoder:
            faults.append("train_temporal_encoder: method full trains everything, found false")
    if opt.min_lr > opt.lr:
        faults.append(f"optimization: min_lr {opt.min_lr:g} is above lr {opt.lr:g}")
    if opt.warmup_epochs > opt.epochs:
        faults.append(f"optimization: {opt.warmup_epochs:g} warmup_epochs are more than "
                      f"{opt.epochs} epochs")  # fmt: skip
    if len(opt.betas) != 2:
        faults.append(f"optimization.betas: expected two numbers, found {len(opt.betas)}")
    if opt.batch_size < len(data.tasks):
        faults.append(
            f"optimization: batch_size {opt.batch_size} leaves less than one sample for each of "
            f"{len(data.tasks)} tasks"
        )
    if not config.seeds or len(set(config.seeds)) != len(config.seeds):
        faults.append(f"seeds: expected different numbers, found {list(config.seeds)}")
    if not config.output:
        faults.append("output: expected a folder, found an empty text")
