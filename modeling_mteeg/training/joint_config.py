"""The configuration of a joint training: a YAML file, checked as a whole before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..data.mixing import SamplingRule
from ..data.remote import is_url
from ..evaluation.metrics import METRICS
from ..methods import METHODS
from ..model.adapter_options import AdapterOptions
from ..model.head_options import KINDS, HeadOptions
from ..model.task_card import TASK_NAME, TaskCard
from ..settings.schema import nearest, read_section, setting
from .run_config import OptimizationOptions, RunConfig, check_start

TASKS = ("tuab", "tuev", "seed-v", "chb-mit", "sleep-edf", "physionet-mi")
NEW_TASK_HEAD = "channels"
"""Kind of the head of a task that is none of these, unless a configuration chooses one; as such it
reads band power, too (docs/heads.md)."""


@dataclasses.dataclass(frozen=True)
class HeadChoice(HeadOptions):
    """A task's head; ``auto``, the default, is the paper's for its six tasks.

    For any other task it is :data:`NEW_TASK_HEAD`, or ``mean`` where that cannot be: a ``channels``
    head needs a card that names its channels and lets none be missing.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("auto", *KINDS)

    kind: str = setting("auto", "|".join(KINDS), later=True)

    def for_task(self, task: str, card: TaskCard) -> HeadOptions:
        """The options of a task's head."""
        options = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        if self.kind == "auto":
            kind = "mean" if task in TASKS else NEW_TASK_HEAD
            all_there = card.channels and not card.max_missing_channels
            options["kind"] = "mean" if kind == "channels" and not all_there else kind
            options["band_power"] = options["kind"] == "channels"
        return HeadOptions(**options)


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
class JointOptimization(OptimizationOptions):
    """Optimiser and schedule over all tasks.

    ``max_tokens`` bounds the tokens that go through the model in one pass: small tasks share a
    pass, large ones are cut. ``layer_decay`` lowers the learning rate towards the input.
    """

    eval_batch_size: int = setting(64, "> 0")
    max_tokens: int | None = setting(None, "> 0")
    layer_decay: float = setting(0.65, "> 0, <= 1")
    label_smoothing: float = setting(0.1, ">= 0, < 1")
    task_weights: dict[str, float] = setting({}, "> 0")


@dataclasses.dataclass(frozen=True)
class JointConfig(RunConfig):
    """A whole joint training. The YAML files in ``recipes/configs`` have these keys.

    ``head`` is every task's, ``heads`` has, by task, one in place of it (docs/heads.md).
    ``method`` names a file of :mod:`modeling_mteeg.methods`; ``method_options`` are its own.
    ``monitor`` names, by task, the metric that selects the model, and ``metrics`` those that are
    reported, both in place of what the prepared data's task card says. ``train_temporal_encoder``
    is left open by default: it is trained, unless the base has tasks
    (:mod:`modeling_mteeg.training.standing_tasks`). ``into_base`` writes new tasks into the base's
    own folder, too; ``replace_tasks`` lets them take the places of its tasks of the same names.
    ``floor`` sets the commonest
    class and band power beside the results (:mod:`modeling_mteeg.training.floors`).
    """

    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    adapter: AdapterOptions = dataclasses.field(default_factory=AdapterOptions)
    head: HeadChoice = dataclasses.field(default_factory=HeadChoice)
    heads: dict[str, HeadChoice] = setting({}, later=True)
    optimization: JointOptimization = dataclasses.field(default_factory=JointOptimization)
    sampling: dict[str, SamplingRule] = setting({})
    method: str = setting("mteeg")
    method_options: dict[str, Any] = setting({}, later=True)
    monitor: dict[str, str] = setting({}, later=True)
    metrics: dict[str, tuple[str, ...]] = setting({}, later=True)
    train_temporal_encoder: bool | None = setting(None)
    into_base: bool = setting(False, later=True)
    replace_tasks: bool = setting(False, later=True)
    seeds: tuple[int, ...] = setting((0,), ">= 0")
    floor: bool = setting(True)
    output: str = setting("outputs/joint")

    # The list of seeds is outside, since a checkpoint belongs to one of them.
    OUTSIDE: ClassVar[tuple[str, ...]] = (
        "output", "tracker", "seeds", "num_processes", "checkpoint.", "data.simulate",
        "data.folder", "data.streaming", "optimization.eval_batch_size", "metrics", "floor",
        "into_base", "replace_tasks",
    )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        trained = self.train_temporal_encoder is not False  # open: as before there was a choice
        return {**super().identity(), "train_temporal_encoder": trained}

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "adapter": self.adapter.to_dict()}

    def head_of(self, task: str, card: TaskCard) -> HeadOptions:
        """The head of a task whose prepared data have ``card``."""
        return self.heads.get(task, self.head).for_task(task, card)

    def sampling_of(self, tasks: Iterable[str]) -> dict[str, SamplingRule]:
        """The sampling rules of those of ``tasks`` that have one."""
        return {task: self.sampling[task] for task in tasks if task in self.sampling}

    def check_names(self, tree: Mapping[str, Any], faults: list[str]) -> None:
        """The method, and tasks: well formed, not twice; sections speak of known tasks only."""
        if self.method not in METHODS:
            faults.append(f"method: expected one of {', '.join(METHODS)}, found {self.method!r}"
                          f"{nearest(self.method, METHODS)}")  # fmt: skip
        tasks = self.data.tasks
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
        sections = {key: tree.get(key) for key in ("sampling", "monitor", "metrics", "heads")}
        sections["optimization.task_weights"] = weights
        for section, names in sections.items():
            for task in names if isinstance(names, Mapping) else ():
                if task not in known:
                    faults.append(f"{section}.{task}: unknown task{nearest(task, known)}")
        for section in ("monitor", "metrics"):
            chosen = sections[section] if isinstance(sections[section], Mapping) else {}
            for task, names in chosen.items():
                for name in names if isinstance(names, (list, tuple)) else [names]:
                    if isinstance(name, str) and name not in METRICS:
                        faults.append(f"{section}.{task}: unknown metric {name!r}"
                                      f"{nearest(name, METRICS)}")  # fmt: skip

    def check_together(self, faults: list[str]) -> None:
        super().check_together(faults)
        data = self.data
        if data.folder is None and not data.simulate:
            faults.append("data: expected folder (or --data), or simulate: true; found neither")
        others = [task for task in data.tasks if task not in TASKS]
        if data.simulate and others:
            faults.append(f"data.tasks: only the paper's tasks can be simulated, found {others}; "
                          "give the folder of their prepared corpora (--data)")  # fmt: skip
        folder = data.folder or ""
        if data.simulate and (is_url(folder) or "{task}" in folder):
            faults.append(f"data: simulated corpora go to a plain local folder, found {folder!r}")
        method = METHODS[self.method]
        if method.needs_model:
            check_start(self.model.preset, self.model.base, "base", faults)
        read_section(method.Options, self.method_options, "method_options", faults)
        faults.extend(method.check(self))
        if self.optimization.batch_size < len(data.tasks):
            faults.append(
                f"optimization: batch_size {self.optimization.batch_size} leaves less than one "
                f"sample for each of {len(data.tasks)} tasks"
            )
        if self.into_base and len(self.seeds) > 1:
            faults.append(f"into_base: expected one seed, found {len(self.seeds)}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            faults.append(f"seeds: expected different numbers, found {list(self.seeds)}")
