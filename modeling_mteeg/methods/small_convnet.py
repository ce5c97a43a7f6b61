"""A small convolutional network a task: what a few thousand weights learn without pre-training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import nn

from ..model.modeling_mteeg import MteegOutput, task_loss
from ..model.task_card import TaskCard
from ..settings.schema import setting
from .method import Batch, GradientMethod, TrainingError
from .task_files import WEIGHTS_FILE, save_tasks

TEMPORAL_S, POOL_S, STRIDE_S = 0.1, 0.3, 0.06
"""Lengths of the published network: 25, 75 and 15 samples at 250 Hz."""
UNIT_UV = 10.0
"""Microvolt per unit inside, so that EEG is near 1 and its logarithm of power near 0."""
_LEAST_POWER = 1e-6


@dataclasses.dataclass(frozen=True)
class ConvNetOptions:
    """Filters in time and in space (as many), and dropout before the classifier."""

    filters: int = setting(16, "> 0")
    dropout: float = setting(0.5, ">= 0, < 1")


class ShallowConvNet(nn.Module):
    """Filters in time, filters over channels, log power, one linear classifier.

    Notes
    -----
    Schirrmeister et al. 2017, "Deep learning with convolutional neural networks for EEG decoding
    and visualization", Human Brain Mapping 38, figure 2, written from the text. Departures: 16
    filters instead of 40; a bias in place of the batch normalisation between filters and square,
    since a step here may be cut into passes and processes, and must not depend on how.
    """

    def __init__(self, card: TaskCard, channels: int, filters: int, dropout: float) -> None:
        super().__init__()
        length, pool, stride = (round(s * card.rate_hz) for s in (TEMPORAL_S, POOL_S, STRIDE_S))
        samples = round(card.window_s * card.rate_hz) - length + 1
        pool = min(pool, samples)
        steps = (samples - pool) // stride + 1
        self.gain = card.scale_uv / UNIT_UV
        self.temporal = nn.Conv2d(1, filters, (1, length))  # the same for every channel
        self.spatial = nn.Conv2d(filters, filters, (channels, 1))  # over all filters and channels
        self.pool = nn.AvgPool1d(pool, stride)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(filters * steps, card.num_outputs)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """Logits (n, outputs) of windows (n, channels, time) in the card's unit."""
        hidden = self.temporal(self.gain * signal[:, None])  # (n, filters, channels, time)
        hidden = self.spatial(hidden).squeeze(2)  # (n, filters, time)
        power = self.pool(hidden.square()).clamp_min(_LEAST_POWER).log()  # (n, filters, steps)
        return self.classifier(self.dropout(power.flatten(1)))


class SmallConvNet(GradientMethod):
    """A network a task; nothing is shared, so each keeps its own best epoch."""

    names = ("shallow-convnet",)
    title = "a small convolutional network a task (Shallow ConvNet)"
    source = (
        "Shallow ConvNet (Schirrmeister et al., Deep learning with convolutional neural networks "
        "for EEG decoding and visualization, 2017), without batch normalisation"
    )
    selection = "task"
    needs_model = False
    Options = ConvNetOptions

    def __init__(
        self, cards: Mapping[str, TaskCard], options: Mapping[str, ConvNetOptions]
    ) -> None:
        super().__init__(cards)
        self.module = nn.ModuleDict({
            task: ShallowConvNet(card, len(card.channels), options[task].filters,
                                 options[task].dropout)
            for task, card in cards.items()
        })  # fmt: skip

    @classmethod
    def build(cls, config: Any, cards: Mapping[str, TaskCard], seed: int) -> Self:
        """Random weights from ``seed``, each task's the same whatever tasks are beside it."""
        chosen = {task: cards[task].replace(results=None) for task in config.data.tasks}
        for card in chosen.values():
            if not card.channels:
                raise TrainingError(
                    f"Task {card.name!r}: {config.method} needs the channels in the task card, "
                    "found none; prepare the corpus with them."
                )
        options = dict.fromkeys(chosen, cls.Options(**config.method_options))
        method = cls(chosen, options)
        for network in method.module.values():
            torch.manual_seed(seed)
            for layer in network.modules():
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
        return method

    def forward(self, batches: Mapping[str, Batch], smoothing: float) -> dict[str, MteegOutput]:
        outputs = {}
        for task, batch in batches.items():
            logits = self.module[task](batch["input_values"].flatten(2))  # (n, channels, time)
            labels, loss = batch.get("labels"), None
            if labels is not None:
                loss = task_loss(self.cards[task], logits, labels, smoothing)
            outputs[task] = MteegOutput(loss=loss, logits=logits)
        return outputs

    def tokens(self, batch: Batch) -> int:
        """Seconds of all channels, as of a LaBraM."""
        return batch["input_values"].shape[1] * batch["input_values"].shape[2]

    def task_of(self, name: str) -> str:
        return name.partition(".")[0]

    def save(
        self,
        folder: Path,
        results: Mapping[str, Mapping[str, Any]],
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """``tasks/<task>`` in the folder holds the task card and the network."""
        states = {task: self.module[task].state_dict() for task in self.cards}
        save_tasks(folder, self.cards, states, results, record)

    @classmethod
    def load(cls, folder: Path, task: str) -> Self:
        place = cls.task_folder(folder, task)
        weights = load_file(place / WEIGHTS_FILE)
        options = ConvNetOptions(filters=len(weights["temporal.bias"]))
        method = cls({task: TaskCard.load(place)}, {task: options})
        method.module[task].load_state_dict(weights)
        return method
