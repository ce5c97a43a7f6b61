"""ST-Transformer: a linear layer over channels, patches of time, a transformer over them."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from ..settings.schema import setting
from .published_network import SingleTaskNetwork
from .single_network import SingleNetworkMethod

KERNEL, STRIDE = 15, 8
SAMPLES = KERNEL + STRIDE * (KERNEL - 1)
"""What two such convolutions need for one token: 127."""


@dataclasses.dataclass(frozen=True)
class STTransformerOptions:
    """Width, layers and heads of the transformer, and channels between the two convolutions."""

    width: int = setting(256, "> 0")
    layers: int = setting(4, "> 0")
    heads: int = setting(8, "> 0")
    patch_width: int = setting(64, "> 0")

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads: expected a divisor of width {self.width}, found {self.heads}")


class Residual(nn.Module):
    """x + fn(x)."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.fn = nn.Sequential(*parts)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.fn(hidden)


class ChannelMixing(nn.Module):
    """(n, channels, time) to as much: a linear layer over channels, normalised.

    Notes
    -----
    The published code also computes an attention over channels, and then sums its weights, which
    are 1, apart from what they should weigh: it returns its input, and ``query`` and ``key`` get
    no gradient. They are here for the count and for published weights alone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.projection = (
            nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels), nn.Dropout(0.3))
            for _ in range(3)
        )
        for part in (self.query, self.key, self.projection):
            nn.init.xavier_normal_(part[0].weight)
            nn.init.zeros_(part[0].bias)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.projection(signal.mT).mT  # over the channels of every sample


class PatchEmbedding(nn.Module):
    """(n, channels, samples) to tokens (n, time, width)."""

    def __init__(self, channels: int, options: STTransformerOptions) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Conv1d(channels, options.patch_width, KERNEL, stride=STRIDE),
            nn.BatchNorm1d(options.patch_width),
            nn.LeakyReLU(0.2),
            nn.Conv1d(options.patch_width, options.width, KERNEL, stride=STRIDE),
        )

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.projection(signal).mT


class Attention(nn.Module):
    """Self-attention whose scores are over the root of the full width, not of a head's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.dropout, self.scale = heads, 0.5, width**-0.5
        self.keys, self.queries, self.values, self.projection = (
            nn.Linear(width, width) for _ in range(4)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (n, heads, tokens, part)
            for part in (self.queries, self.keys, self.values)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, scale=self.scale
        )
        return self.projection(mixed.transpose(1, 2).flatten(2))


def transformer_block(width: int, heads: int) -> nn.Sequential:
    """Attention and MLP over tokens (n, tokens, width), each after a normalisation."""
    mlp = nn.Sequential(
        nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.5), nn.Linear(4 * width, width)
    )
    return nn.Sequential(
        Residual(nn.LayerNorm(width), Attention(width, heads), nn.Dropout(0.5)),
        Residual(nn.LayerNorm(width), mlp, nn.Dropout(0.5)),
    )


class STTransformerNetwork(SingleTaskNetwork):
    """As in BIOT's repository, names and their spelling too."""

    name = "st-transformer"
    Options = STTransformerOptions

    def __init__(
        self, channels: int, samples: int, outputs: int, options: STTransformerOptions
    ) -> None:
        super().__init__(channels, samples, outputs)
        self.channel_attension = Residual(
            nn.LayerNorm(samples), ChannelMixing(channels), nn.Dropout(0.5)
        )
        self.patch_embedding = PatchEmbedding(channels, options)
        blocks = (transformer_block(options.width, options.heads) for _ in range(options.layers))
        self.transformer = nn.Sequential(*blocks)
        self.classification = nn.Sequential(nn.ELU(), nn.Linear(options.width, outputs))

    @classmethod
    def needs(cls, channels: int, samples: int) -> str:
        return "" if samples >= SAMPLES else f"{SAMPLES} samples or more"

    def logits(self, signal: torch.Tensor) -> torch.Tensor:
        tokens = self.patch_embedding(self.channel_attension(signal))  # (n, tokens, width)
        return self.classification(self.transformer(tokens).mean(1))


class STTransformer(SingleNetworkMethod):
    """Its length is fixed by a normalisation over time."""

    names = ("st-transformer",)
    title = "ST-Transformer: patches of time and a transformer, a network a task"
    source = (
        "ST-Transformer (Song et al., Transformer-based spatial-temporal feature learning for EEG "
        "decoding, 2021), as BIOT's authors measured it"
    )
    Network = STTransformerNetwork
