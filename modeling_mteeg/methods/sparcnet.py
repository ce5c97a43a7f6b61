"""SPaRCNet: a one-dimensional DenseNet over time."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import torch
from torch import nn

from ..settings.schema import setting
from .published_network import SingleTaskNetwork
from .single_network import SingleNetworkMethod


@dataclasses.dataclass(frozen=True)
class SPaRCNetOptions:
    """Layers of a dense block, channels that each adds, and how many times as many lie between."""

    layers: int = setting(4, "> 0")
    growth: int = setting(16, "> 0")
    bottleneck: int = setting(16, "> 0")


class DenseLayer(nn.Module):
    """(n, inside, time) to (n, inside + growth, time): what is new stands after what came in."""

    def __init__(self, inside: int, options: SPaRCNetOptions) -> None:
        super().__init__()
        between = options.bottleneck * options.growth
        self.norm1 = nn.BatchNorm1d(inside)
        self.elu1 = nn.ELU()
        self.conv1 = nn.Conv1d(inside, between, 1)
        self.norm2 = nn.BatchNorm1d(between)
        self.elu2 = nn.ELU()
        self.conv2 = nn.Conv1d(between, options.growth, 3, padding=1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        new = self.conv1(self.elu1(self.norm1(hidden)))  # (n, between, time)
        new = self.dropout(self.conv2(self.elu2(self.norm2(new))))  # (n, growth, time)
        return torch.cat([hidden, new], 1)


def transition(inside: int) -> nn.Sequential:
    """(n, inside, time) to (n, inside // 2, time // 2)."""
    return nn.Sequential(OrderedDict(
        norm=nn.BatchNorm1d(inside), elu=nn.ELU(), conv=nn.Conv1d(inside, inside // 2, 1),
        pool=nn.AvgPool1d(2, 2),
    ))  # fmt: skip


class SPaRCNetNetwork(SingleTaskNetwork):
    """As in BIOT's repository.

    Notes
    -----
    The published code squeezes a single time step, which whole seconds at 200 Hz leave. Where
    another length leaves two it fails; here it is their mean.
    """

    name = "sparcnet"
    Options = SPaRCNetOptions

    def __init__(self, channels: int, samples: int, outputs: int, options: SPaRCNetOptions) -> None:
        super().__init__(channels, samples, outputs)
        width = 2 ** channels.bit_length()  # the power of two above: 16 and 23 -> 32, 64 -> 128
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv1d(channels, width, 7, stride=2, padding=3),
            "norm0": nn.BatchNorm1d(width),
            "elu0": nn.ELU(),
            "pool0": nn.MaxPool1d(3, stride=2, padding=1),
        }
        pairs = (samples // 4).bit_length() - 1  # floor(log2): each halves what is left of time
        for pair in range(1, pairs + 1):
            layers = OrderedDict(
                (f"denselayer{number}", DenseLayer(width + (number - 1) * options.growth, options))
                for number in range(1, options.layers + 1)
            )
            width += options.layers * options.growth
            parts[f"denseblock{pair}"] = nn.Sequential(layers)
            parts[f"transition{pair}"] = transition(width)
            width //= 2
        self.encoder = nn.Sequential(OrderedDict(parts))
        self.classifier = nn.Sequential(nn.ELU(), nn.Linear(width, outputs))
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier[1].bias)

    @classmethod
    def needs(cls, channels: int, samples: int) -> str:
        return "" if samples >= 8 else "8 samples or more"

    def logits(self, signal: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.encoder(signal).mean(2))


class SPaRCNet(SingleNetworkMethod):
    """Deeper for longer windows, so its size depends on the task."""

    names = ("sparcnet",)
    title = "SPaRCNet: a DenseNet over time, a network a task"
    source = (
        "SPaRCNet (Jing et al., Development of expert-level classification of seizures and "
        "rhythmic and periodic patterns during EEG interpretation, 2023), as BIOT's authors "
        "measured it"
    )
    Network = SPaRCNetNetwork
