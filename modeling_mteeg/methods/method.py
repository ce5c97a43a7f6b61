"""What a method must offer. Loop, optimiser, checkpoints, evaluation, cards and recipes know this.

There are two kinds. A :class:`GradientMethod` has a network whose parameters an optimiser moves,
step by step. A :class:`FittedMethod` is fitted to all training windows of a task at once, as
logistic regression is, for one candidate setting after the other. Both are selected on validation,
tested once, and end in the same results and tables.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import nn

from ..cards.facts import TASKS
from ..model.task_card import TaskCard

Batch = Mapping[str, torch.Tensor]
"""``input_values`` (n, channels, patches, 200) float32, ``channel_ids`` (channels, 2) int64,
``labels`` (n,) int64; as of :func:`modeling_mteeg.data.model_inputs`."""


class TrainingError(RuntimeError):
    """A training that cannot start, or cannot go on."""


class TaskOutput(Protocol):
    """What a forward pass gives for a task."""

    loss: torch.Tensor | None
    """Mean over the batch, where it has labels."""
    logits: torch.Tensor
    """(n, outputs): one column for a binary task."""


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """The ``method_options`` of a method that has none."""


class Method(ABC):
    """One way to learn the tasks of a training.

    Attributes
    ----------
    cards : dict of str to TaskCard
        The tasks, in the configuration's order.
    """

    by_name: ClassVar[dict[str, type[Method]]] = {}
    families: ClassVar[dict[str, type[Method]]] = {}
    names: ClassVar[tuple[str, ...]] = ()
    """What a configuration calls it; empty: not to be chosen, a base of others."""
    prefix: ClassVar[str] = ""
    """Of a family, whose members ``prefix:name`` :meth:`member` makes; empty: it is none."""
    Options: ClassVar[type] = NoOptions
    """Dataclass of the ``method_options`` of a configuration."""
    selection: ClassVar[str] = "mean"
    """``mean``: of all tasks the same epoch, by the mean of their monitor metrics (paper, section
    4.2). ``task``: every task its own epoch; nothing that is trained may then be shared."""
    needs_model: ClassVar[bool] = True
    """Whether it starts from the configuration's ``model`` (a preset or a base)."""
    makes_base: ClassVar[bool] = True
    """Whether what it saves is a base with tasks, where it starts from one; else the base stays as
    it is, with the tasks on it."""
    has_adapters: ClassVar[bool] = False
    """Whether the configuration's ``adapter`` section is about it."""
    has_heads: ClassVar[bool] = False
    """Whether the configuration's ``head`` and ``heads`` sections are about it."""
    title: ClassVar[str] = ""
    """What model cards call it: a few words, such as ``linear probe: a head a task``."""
    source: ClassVar[str] = ""
    """Where it comes from, for model cards; empty: not said."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in cls.names:
            Method.by_name[name] = cls
        if "prefix" in cls.__dict__:
            Method.families[cls.prefix] = cls

    def __init__(self, cards: Mapping[str, TaskCard]) -> None:
        self.cards = dict(cards)

    def set_threshold(self, task: str, threshold: float) -> None:
        """Put a decision threshold into a task's card; it is saved with the task."""
        self.cards[task] = self.cards[task].replace(threshold=threshold)

    @classmethod
    def check(cls, config: Any) -> Iterator[str]:
        """What is wrong with a configuration (``JointConfig``) for this method, in sentences."""
        if not cls.uses_adapters(config) and config.adapter != type(config.adapter)():
            yield f"adapter: method {config.method} has no adapters; leave the section out"
        if config.compile and not cls.has_heads:
            yield f"compile: method {config.method} has no layers of a LaBraM; leave compile out"
        if not cls.has_heads and (config.head != type(config.head)() or config.heads):
            yield (
                f"head: method {config.method} has no heads of a LaBraM; leave head and heads out"
            )

    @classmethod
    def member(cls, name: str) -> type[Method]:
        """The method of a family that has a name.

        Raises
        ------
        LookupError
            There is none; what there is, or what to install.
        """
        raise NotImplementedError(f"{cls.__name__} is no family of methods.")

    @classmethod
    def incomplete(cls) -> str:
        """Why the package of a family has no methods here; empty: it has."""
        return ""

    @classmethod
    def refusal(cls, config: Any, card: TaskCard) -> str:
        """Why the method cannot learn a task under a configuration (``JointConfig``), such as
        windows that are too short for a network; empty: it can. Cheap, nothing is kept of it."""
        return ""

    @classmethod
    def start_file(cls, config: Any) -> str | None:
        """A file of weights that a training starts from, other than a base; None: there is none."""
        return None

    @classmethod
    def uses_adapters(cls, config: Any) -> bool:
        """Whether a training has a use for the section ``adapter``."""
        return cls.has_adapters

    @classmethod
    def keeps_base(cls, config: Any) -> bool:
        """Whether a training leaves all weights of the base as they are, so that the tasks that
        stand on it stay right."""
        return False

    @classmethod
    @abstractmethod
    def build(cls, config: Any, cards: Mapping[str, TaskCard], seed: int) -> Self:
        """Everything that will be trained, the same in every process: random values from ``seed``.

        Raises
        ------
        TrainingError
            What it should start from is not there.
        """

    @abstractmethod
    def predict_logits(self, task: str, batch: Batch) -> torch.Tensor:
        """Logits (n, outputs) of a batch, which need not have labels; nothing is trained by it.

        With it a method is what :func:`modeling_mteeg.evaluation.predict_task` takes.
        """

    def facts(self) -> dict[str, Any]:
        """What a model card tells of the method, beside what every training is told of.

        ``method_title`` and ``method_source`` in words, and ``parameters`` of
        :meth:`parameter_counts`; subclasses add ``trainable_parameters`` and what else there is to
        tell.
        """
        return {
            "method_title": self.title,
            "method_source": self.source,
            "parameters": self.parameter_counts(),
        }

    @abstractmethod
    def parameter_counts(self) -> dict[str, Any]:
        """Numbers of weights: ``total`` and ``trained`` (of all tasks together), and
        ``run_for_one_task`` (by task, those that its windows meet)."""

    @abstractmethod
    def save(
        self,
        folder: Path,
        results: Mapping[str, Mapping[str, Any]],
        record: Mapping[str, Any],
    ) -> None:
        """Write everything into an empty folder: weights, task cards with ``results``, cards.

        ``record`` says how the training came about (``modeling_mteeg.training.record``).
        """

    @staticmethod
    def task_folder(folder: Path, task: str) -> Path:
        """Where in a folder that :meth:`save` wrote a task's card lies."""
        return folder / TASKS / task

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, task: str) -> Self:
        """The method with one task of a saved folder, loaded as a user would."""


class GradientMethod(Method):
    """A method whose parameters an optimiser moves.

    Attributes
    ----------
    module : torch.nn.Module
        Holds every parameter; those that are trained have ``requires_grad``.
    """

    module: nn.Module

    @abstractmethod
    def forward(self, batches: Mapping[str, Batch], smoothing: float) -> Mapping[str, TaskOutput]:
        """Losses and logits of a batch of every task given, which need not be all.

        ``smoothing`` is the label smoothing of cross-entropy losses.
        """

    @torch.no_grad()
    def predict_logits(self, task: str, batch: Batch) -> torch.Tensor:
        device = next(self.module.parameters()).device
        batch = {
            key: value.to(device, non_blocking=True)
            for key, value in batch.items() if key != "labels"
        }  # fmt: skip
        self.module.eval()  # a training step puts it back
        return self.forward({task: batch}, 0.0)[task].logits

    def output_layer(self, task: str) -> nn.Linear | None:
        """The last layer of a task's head, where that is linear; None: there is none such."""
        return None

    def output_blocks(self, task: str) -> tuple[int, ...]:
        """Numbers of these features by source, in their order; empty: one source."""
        return ()

    def output_features(self, task: str, batch: Batch) -> torch.Tensor:
        """What :meth:`output_layer` gets of a batch, (n, features), in evaluation mode."""
        raise NotImplementedError(f"{type(self).__name__} has no linear output layer.")

    def depth(self, name: str) -> int:
        """Depth of a parameter, 0 at the input side, up to :attr:`depths`, for layer decay."""
        return self.depths

    depths: int = 0
    """Depth of the heads."""

    def decays(self, name: str, parameter: torch.Tensor) -> bool:
        """Whether weight decay acts on a parameter: by default on matrices and kernels only."""
        return parameter.ndim > 1

    def tokens(self, batch: Batch) -> int:
        """Tokens of one sample, which ``optimization.max_tokens`` counts."""
        return 1

    def task_of(self, name: str) -> str | None:
        """The only task that a parameter or buffer serves; None: several share it."""
        return None

    def running(self) -> dict[str, torch.Tensor]:
        """Buffers that training moves beside the parameters, by name, as batch normalisation does.

        They are selected, saved in checkpoints and, over several processes, averaged with each
        step. By default those that a state dict has.
        """
        parameters = dict(self.module.named_parameters(remove_duplicate=False))
        state = self.module.state_dict(keep_vars=True)
        return {name: tensor for name, tensor in state.items() if name not in parameters}

    def settings(self) -> dict[str, str]:
        """What a training is told to begin with and its results have, in words: by default none."""
        return {}

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have been made with, beside configuration, data and weights."""
        return {}

    def parameter_counts(self) -> dict[str, Any]:
        """By :meth:`task_of`: a task's windows meet what is its own and what several share."""
        sizes = [(self.task_of(name), p.numel(), p.requires_grad)
                 for name, p in self.module.named_parameters()]  # fmt: skip
        return {
            "total": sum(size for _, size, _ in sizes),
            "trained": sum(size for _, size, trained in sizes if trained),
            "run_for_one_task": {
                task: sum(size for owner, size, _ in sizes if owner in (None, task))
                for task in self.cards
            },
        }

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        return {**facts, "trainable_parameters": facts["parameters"]["trained"]}


class FittedMethod(Method):
    """A method that is fitted to all windows of a task at once, a candidate setting an epoch."""

    selection: ClassVar[str] = "task"
    needs_model: ClassVar[bool] = False

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        candidates = [str(value) for value in self.candidates]
        trained = facts["parameters"]["trained"]
        return {**facts, "candidates": candidates, "trainable_parameters": trained}

    def parameter_counts(self) -> dict[str, Any]:
        """Of what is fitted; before that, nothing."""
        by_task = {task: self.fitted_weights(task) for task in self.cards}
        total = sum(by_task.values())
        return {"total": total, "trained": total, "run_for_one_task": by_task}

    def fitted_weights(self, task: str) -> int:
        """Number of a task's weights."""
        return sum(tensor.numel() for tensor in self.state(task).values())

    @property
    @abstractmethod
    def candidates(self) -> Sequence[Any]:
        """The settings that are tried, one an epoch; the best on validation is kept."""

    @abstractmethod
    def features(self, task: str, batch: Batch) -> np.ndarray:
        """(n, features) float64 of a batch."""

    @abstractmethod
    def fit(self, task: str, features: np.ndarray, labels: np.ndarray, candidate: Any) -> float:
        """Fit a task to its training windows (n, features) and (n,); returns the mean loss."""

    @abstractmethod
    def predict_features(self, task: str, features: np.ndarray) -> torch.Tensor:
        """Logits (n, outputs) float64 of windows by their features (n, features)."""

    def predict_logits(self, task: str, batch: Batch) -> torch.Tensor:
        return self.predict_features(task, self.features(task, batch))

    @abstractmethod
    def state(self, task: str) -> dict[str, torch.Tensor]:
        """What a task was fitted to."""

    @abstractmethod
    def load_state(self, task: str, state: Mapping[str, torch.Tensor]) -> None:
        """The inverse of :meth:`state`."""
