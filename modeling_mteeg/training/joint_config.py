"""The configuration of a joint training: a YAML file, checked as a whole before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..data.mixing import SamplingRule
from ..data.remote import is_url
from ..data.split_rules import SplitError, SplitRule
from ..evaluation.metrics import METRICS
from ..methods import METHODS, FittedMethod, Method
from ..model.adapter_sharing import AdapterSharing
from ..model.head_options import KINDS, HeadOptions
from ..model.task_card import TASK_NAME, TaskCard
from ..settings.schema import nearest, read_section, setting
from .augmentation import AugmentationOptions
from .balancing import BalancingOptions, balancing_faults
from .class_weights import class_weight_faults
from .gradient_comparison import GradientOptions
from .run_config import OptimizationOptions, RunConfig, check_start
from .search_grid import grid_faults

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
    ``simulated_size`` is that of ``dataset_scripts.demo.simulate``: ``people`` has more of
    them, who differ more.

    ``split`` with ``split_seed``, ``fold`` and ``validation_share``, and ``labels`` (task to new
    class to the stored classes that it joins), choose among the stored windows
    (:func:`modeling_mteeg.data.view_corpora`).
    """

    folder: str | None = setting(None)
    streaming: bool = setting(False)
    tasks: tuple[str, ...] = setting(TASKS)
    simulate: bool = setting(False)
    simulated_size: str = setting("demo", "small|demo|people", later=True)
    split: str = setting("corpus", later=True)
    split_seed: int = setting(0, ">= 0", later=True)
    fold: int | None = setting(None, ">= 0", later=True)
    validation_share: float = setting(0.2, "> 0, < 1", later=True)
    labels: dict[str, dict[str, tuple[str, ...]]] = setting({}, later=True)

    @property
    def view(self) -> dict[str, Any]:
        """Arguments of :func:`modeling_mteeg.data.view_corpora`."""
        return {
            "split": self.split,
            "seed": self.split_seed,
            "fold": self.fold,
            "validation_share": self.validation_share,
            "labels": self.labels,
        }


@dataclasses.dataclass(frozen=True)
class JointOptimization(OptimizationOptions):
    """Optimiser and schedule over all tasks.

    ``max_tokens`` bounds the tokens that go through the model in one pass: small tasks share a
    pass, large ones are cut. ``layer_decay`` lowers the learning rate towards the input.
    ``class_weights`` is ``balanced``, or by task ``balanced`` or a number for every class
    (:mod:`modeling_mteeg.training.class_weights`). ``patience`` ends a training after so many
    epochs without a better validation score. ``head_start: probe`` begins with every head fitted to
    the start's features (:mod:`modeling_mteeg.training.head_start`), and that start is the first
    candidate of the selection, unless ``keep_start`` is false. ``optimizer: adam`` adds the
    decay to the gradient.
    """

    eval_batch_size: int = setting(64, "> 0")
    max_tokens: int | None = setting(None, "> 0")
    layer_decay: float = setting(0.65, "> 0, <= 1")
    label_smoothing: float = setting(0.1, ">= 0, < 1")
    task_weights: dict[str, float] = setting({}, "> 0")
    class_weights: Any = setting(None, later=True)
    patience: int | None = setting(None, "> 0", later=True)
    head_start: str = setting("random", "random|probe", later=True)
    keep_start: bool = setting(True, later=True)
    optimizer: str = setting("adamw", "adamw|adam", later=True)


@dataclasses.dataclass(frozen=True)
class JointConfig(RunConfig):
    """A whole joint training. The YAML files in ``recipes/configs`` have these keys.

    ``adapter.sharing`` says what adapters of several tasks share (docs/adapter_sharing.md).
    ``head`` is every task's, ``heads`` has, by task, one in place of it (docs/heads.md).
    ``method`` names a file of :mod:`modeling_mteeg.methods`; ``method_options`` are its own.
    ``balancing`` goes beyond the fixed fractions of ``sampling``, and ``gradients`` compares those
    of the tasks (docs/balancing.md).
    ``search`` has, by short name or dotted key, values of which validation chooses
    (:mod:`modeling_mteeg.training.search`).
    ``monitor`` names, by task, the metric that selects the model, and ``metrics`` those that are
    reported, both in place of what the prepared data's task card says. ``train_temporal_encoder``
    is left open by default: it is trained, unless the base has tasks
    (:mod:`modeling_mteeg.training.standing_tasks`). ``into_base`` writes new tasks into the base's
    own folder, too; ``replace_tasks`` lets them take the places of its tasks of the same names.
    ``floor`` sets the commonest class and band power beside the results
    (:mod:`modeling_mteeg.training.floors`). ``threshold: validation`` chooses the decision
    threshold of tasks of two classes on validation. ``compile`` runs a LaBraM's layers through
    ``torch.compile`` (:mod:`modeling_mteeg.training.compiling`), which changes speed and rounding.
    """

    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    adapter: AdapterSharing = dataclasses.field(default_factory=AdapterSharing)
    head: HeadChoice = dataclasses.field(default_factory=HeadChoice)
    heads: dict[str, HeadChoice] = setting({}, later=True)
    optimization: JointOptimization = dataclasses.field(default_factory=JointOptimization)
    augmentation: AugmentationOptions = dataclasses.field(default_factory=AugmentationOptions)
    sampling: dict[str, SamplingRule] = setting({})
    balancing: BalancingOptions = dataclasses.field(default_factory=BalancingOptions)
    gradients: GradientOptions = dataclasses.field(default_factory=GradientOptions)
    method: str = setting("mteeg")
    method_options: dict[str, Any] = setting({}, later=True)
    search: dict[str, tuple[Any, ...]] = setting({}, later=True)
    monitor: dict[str, str] = setting({}, later=True)
    metrics: dict[str, tuple[str, ...]] = setting({}, later=True)
    train_temporal_encoder: bool | None = setting(None)
    into_base: bool = setting(False, later=True)
    replace_tasks: bool = setting(False, later=True)
    seeds: tuple[int, ...] = setting((0,), ">= 0")
    floor: bool = setting(True)
    compile: bool = setting(False, later=True)
    threshold: str | None = setting(None, "validation", later=True)
    output: str = setting("outputs/joint")

    # The list of seeds is outside, since a checkpoint belongs to one of them.
    OUTSIDE: ClassVar[tuple[str, ...]] = (
        "output", "tracker", "seeds", "num_processes", "checkpoint.", "data.simulate",
        "data.simulated_size",
        "data.folder", "data.streaming", "optimization.eval_batch_size", "metrics", "floor",
        "threshold", "gradients.",
        "into_base", "replace_tasks", "compile",
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
        fault = METHODS.fault(self.method)
        if fault:
            faults.append(f"method: {fault}")
        tasks = self.data.tasks
        if not tasks:
            faults.append("data.tasks: expected at least one task, found none")
        for task in dict.fromkeys(tasks):
            if not TASK_NAME.fullmatch(task):
                faults.append(f"data.tasks: {task!r} is no task name (lower-case letters, digits, "
                              f"dashes){nearest(task, TASKS)}")  # fmt: skip
            if tasks.count(task) > 1:
                faults.append(f"data.tasks: {task!r} stands there {tasks.count(task)} times")
        try:
            SplitRule.parse(self.data.split)
        except SplitError as error:
            faults.append(str(error))
        known = dict.fromkeys((*TASKS, *tasks))
        options = tree.get("optimization")
        options = options if isinstance(options, Mapping) else {}
        sections = {key: tree.get(key) for key in ("sampling", "monitor", "metrics", "heads")}
        for key in ("task_weights", "class_weights"):
            sections[f"optimization.{key}"] = options.get(key)
        sections["data.labels"] = self.data.labels
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
        faults.extend(class_weight_faults(self.optimization.class_weights))
        method = METHODS[self.method]
        if method.needs_model:
            check_start(self.model.preset, self.model.base, "base", faults)
        read_section(method.Options, self.method_options, "method_options", faults)
        faults.extend(method.check(self))
        faults.extend(balancing_faults(self.balancing, self.method, data.tasks))
        faults.extend(grid_faults(self.search))
        if self.search and issubclass(method, FittedMethod):
            faults.append(f"search: {self.method} is fitted at once and tries its own settings; "
                          "leave search out")  # fmt: skip
        if self.optimization.batch_size < len(data.tasks):
            faults.append(
                f"optimization: batch_size {self.optimization.batch_size} leaves less than one "
                f"sample for each of {len(data.tasks)} tasks"
            )
        if self.into_base and len(self.seeds) > 1:
            faults.append(f"into_base: expected one seed, found {len(self.seeds)}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            faults.append(f"seeds: expected different numbers, found {list(self.seeds)}")


def foreign_sections(method: type[Method]) -> tuple[str, ...]:
    """Sections of a configuration that are about other methods than this one."""
    sections = () if method.has_adapters else ("adapter",)
    sections += () if method.has_heads else ("head", "heads")
    # what is fitted at once tries its own settings
    return sections + (("search",) if issubclass(method, FittedMethod) else ())
