"""A small convolutional network a task: what a few thousand weights learn without pre-training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..model.task_card import TaskCard
from ..settings.schema import setting
from .single_network import NETWORK_FILE, SingleNetworkMethod

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

    def __init__(self, card: TaskCard, options: ConvNetOptions) -> None:
        super().__init__()
        channels, filters = len(card.channels), options.filters
        length, pool, stride = (round(s * card.rate_hz) for s in (TEMPORAL_S, POOL_S, STRIDE_S))
        samples = round(card.window_s * card.rate_hz) - length + 1
        pool = min(pool, samples)
        steps = (samples - pool) // stride + 1
        self.gain = card.scale_uv / UNIT_UV
        self.temporal = nn.Conv2d(1, filters, (1, length))  # the same for every channel
        self.spatial = nn.Conv2d(filters, filters, (channels, 1))  # over all filters and channels
        self.pool = nn.AvgPool1d(pool, stride)
        self.dropout = nn.Dropout(options.dropout)
        self.classifier = nn.Linear(filters * steps, card.num_outputs)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """Logits (n, outputs) of windows (n, channels, time) in the card's unit."""
        hidden = self.temporal(self.gain * signal[:, None])  # (n, filters, channels, time)
        hidden = self.spatial(hidden).squeeze(2)  # (n, filters, time)
        power = self.pool(hidden.square()).clamp_min(_LEAST_POWER).log()  # (n, filters, steps)
        return self.classifier(self.dropout(power.flatten(1)))


class SmallConvNet(SingleNetworkMethod):
    """The windows come in the card's unit."""

    names = ("shallow-convnet",)
    title = "a small convolutional network a task (Shallow ConvNet)"
    source = (
        "Shallow ConvNet (Schirrmeister et al., Deep learning with convolutional neural networks "
        "for EEG decoding and visualization, 2017), without batch normalisation"
    )
    Options = ConvNetOptions

    @classmethod
    def network_of(cls, card: TaskCard, options: ConvNetOptions) -> ShallowConvNet:
        return ShallowConvNet(card, options)

    def scaled(self, task: str, signal: torch.Tensor) -> torch.Tensor:
        return signal

    def decays(self, name: str, parameter: torch.Tensor) -> bool:
        return parameter.ndim > 1

    @classmethod
    def load_options(cls, place: Path, weights: Mapping[str, torch.Tensor]) -> ConvNetOptions:
        if not (place / NETWORK_FILE).exists():  # as of before there was that file
            return ConvNetOptions(filters=len(weights["temporal.bias"]))
        return super().load_options(place, weights)
