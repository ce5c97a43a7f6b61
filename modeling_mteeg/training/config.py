"""The configuration of a joint training: a YAML file, checked as a whole before any work."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..data.remote import is_url
from ..task_card import TASK_NAME
from .schema import ConfigError, nearest, read_section, setting, yaml_loader

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
class AdapterOptions:
    """The low-rank adapters (paper, section 3; figures in section 4.4)."""

    rank: int = setting(8, "> 0")
    scaling: float = setting(1.0, "> 0")
    dropout: float = setting(0.0, ">= 0, < 1")
    location: str = setting("both", "both|attention|feed-forward")
    separate_qkv: bool = setting(False)


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
class JointConfig:
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
        return json.loads(json.dumps(dataclasses.asdict(self)))

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

    def save(self, path: str | Path) -> None:
        """Write the configuration as YAML, whole or not at all; :func:`load_config` reads it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), "utf-8")
        os.replace(part, path)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; empty mappings stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{name}.") if nested else {name: value}
    return flat


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
    path = Path(path)
    if not path.is_file():
        found = sorted(str(file) for file in path.parent.glob("*.yaml"))
        raise FileNotFoundError(f"No configuration {path}; in that folder: {found or 'none'}.")
    duplicates: list[str] = []
    try:
        tree = yaml.load(path.read_text("utf-8"), Loader=yaml_loader(duplicates))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"not readable as YAML: {error}"]) from error
    return build_config({} if tree is None else tree, overrides, str(path), duplicates)


def build_config(
    tree: Any,
    overrides: Mapping[str, Any] | None = None,
    source: str = "configuration",
    faults: Sequence[str] = (),
) -> JointConfig:
    """Check a nested mapping and make the configuration of it; see :func:`load_config`."""
    if not isinstance(tree, Mapping):
        raise ConfigError(source, [f"expected keys and values, found {type(tree).__name__}"])
    faults = list(faults)
    tree = json.loads(json.dumps(tree, default=str))
    for key, value in (overrides or {}).items():
        _put(tree, key.split("."), value)
    config = read_section(JointConfig, tree, "", faults)
    _check_tasks(tree, config, faults)
    if not faults:
        _check_together(tree, config, faults)
    if faults:
        raise ConfigError(source, faults)
    return config


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    tree[keys[-1]] = value


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
