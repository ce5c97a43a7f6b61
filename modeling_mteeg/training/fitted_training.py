"""A training of a method that is fitted at once: an epoch is a candidate setting, a step a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from ..cards.sections import parameters_text
from ..data.loading import Corpus, model_inputs
from ..data.source import WindowSource
from ..methods.method import FittedMethod
from ..model.task_card import TaskCard
from .joint_config import JointConfig
from .selected_training import SelectedTraining

_WINDOWS = 256
"""Windows whose features are computed at a time."""


def window_features(
    method: FittedMethod, reader: WindowSource, card: TaskCard, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, f) and labels (n,) of the windows of a split with the numbers ``rows``."""
    parts = [
        method.features(card.name, model_inputs(reader, card, some))
        for some in np.array_split(rows, -(-len(rows) // _WINDOWS))
    ]
    return np.concatenate(parts), reader.labels[rows]


class FittedTrainer(SelectedTraining):
    """Every task is fitted to its training windows once per candidate; the best is kept.

    Every process does the same work: there is little of it. Epochs do not draw anew: all
    candidates see the windows that the plan draws for epoch 0.

    Parameters
    ----------
    config, corpora, accelerator, seed, folder
        See :class:`~modeling_mteeg.training.selected_training.SelectedTraining`.
    method : FittedMethod
    """

    method: FittedMethod

    def __init__(
        self,
        config: JointConfig,
        corpora: Mapping[str, Corpus],
        method: FittedMethod,
        accelerator: Accelerator,
        seed: int,
        folder: str | Path,
    ) -> None:
        super().__init__(config, corpora, method, accelerator, seed, folder)
        self._features: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._losses: dict[str, float] = {}
        self.begin(len(self.tasks), None)

    @property
    def epochs(self) -> int:
        return len(self.method.candidates)

    def describe(self) -> str:
        tried = ", ".join(map(str, self.method.candidates))
        unused = "optimization and augmentation do not apply"
        counts = parameters_text(self.method.parameter_counts())
        return f"fitted at once, an epoch for each of {tried}; {unused}\n  parameters: {counts}"

    def windows_before(self, step: int) -> tuple[int, int]:
        drawn = [self.plan(0).drawn[task] for task in self.tasks]
        return sum(drawn[:step]), sum(drawn)

    def epoch_parts(self, start: int) -> Iterator[tuple[str, Any, int]]:
        candidate = self.method.candidates[self.progress.epoch]
        for task in self.tasks[start:]:
            yield task, candidate, self.plan(0).drawn[task]

    def train_step(self, task: str, candidate: Any) -> float:
        """Fit a task with a candidate setting; returns its mean training loss."""
        features, labels = self._features_of(task)
        loss = self.method.fit(task, features, labels, candidate)
        self._losses[task] = loss
        self.loss_sums[self.tasks.index(task)] += loss * len(labels)
        return loss

    def _features_of(self, task: str) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, f) and labels (n,) of the training windows, computed once."""
        if task not in self._features:
            mix = next(mix for mix in self.mixes if mix.name == task)
            reader, rows = self.corpora[task].splits["train"], np.sort(mix.draw(self.seed, 0))
            self._features[task] = window_features(self.method, reader, self.cards[task], rows)
        return self._features[task]

    def values(self) -> dict[str, float]:
        return {f"{task}/loss": loss for task, loss in self._losses.items()}

    def trained_tensors(self) -> dict[str, torch.Tensor]:
        return {k: v for task in self.tasks for k, v in self.tensors_of(task).items()}

    def tensors_of(self, task: str) -> dict[str, torch.Tensor]:
        return {f"{task}.{name}": value for name, value in self.method.state(task).items()}

    def put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for task in self.tasks:
            start = f"{task}."
            state = {name.removeprefix(start): value for name, value in tensors.items()
                     if name.startswith(start)}  # fmt: skip
            self.method.load_state(task, state)
