"""BIOT: tokens of every channel's spectra, and a transformer of linear attention over them all."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from ..conversion.checkpoint_reader import read_checkpoint
from ..model.channels import clean_name
from ..model.finite_weights import check_finite
from ..model.task_card import TaskCard
from ..settings.schema import setting
from .method import TrainingError
from .published_network import SingleTaskNetwork
from .single_network import SingleNetworkMethod
from .sinusoids import SinusoidalPositions

FRAME, HOP = 200, 100
BINS = FRAME // 2 + 1
PUBLISHED_CHANNELS = (
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2 "
    "FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2 C3-A2 C4-A1"
).split()
"""Of the rows of the published encoders, which have the first 16 or all 18."""
_LATER_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}


@dataclasses.dataclass(frozen=True)
class BIOTOptions:
    """Width, layers and heads of the transformer."""

    width: int = setting(256, "> 0")
    layers: int = setting(4, "> 0")
    heads: int = setting(8, "> 0")

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads: expected a divisor of width {self.width}, found {self.heads}")


class LinearAttention(nn.Module):
    """Attention at the cost of tokens, not of pairs: keys and values are summed up first.

    Notes
    -----
    Shen et al. 2021, "Efficient attention": queries are a softmax over a head's features, keys one
    over the tokens.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (n, heads, tokens, part)
            for part in (self.to_q, self.to_k, self.to_v)
        )
        query = query.softmax(-1) * query.shape[-1] ** -0.5
        context = key.softmax(-2).mT @ value  # (n, heads, part, part)
        mixed = query @ context  # (n, heads, tokens, part)
        return self.dropout(self.to_out(mixed.transpose(1, 2).flatten(2)))


class Feedforward(nn.Module):
    """The MLP of a layer, without dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.act = nn.GELU()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.w2(self.act(self.w1(tokens)))


class PreNorm(nn.Module):
    """fn after a normalisation."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn, self.norm = fn, nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fn(self.norm(tokens))


def _named(**parts: nn.Module) -> nn.Sequential:
    """A level of the published names."""
    return nn.Sequential(OrderedDict(parts))


class BIOTEncoder(nn.Module):
    """(n, channels, samples) to features (n, width)."""

    def __init__(self, channels: int, samples: int, options: BIOTOptions) -> None:
        super().__init__()
        width, frames = options.width, (samples - FRAME) // HOP + 1
        self.patch_embedding = _named(projection=nn.Linear(BINS, width))
        layers = nn.ModuleList()
        for _ in range(options.layers):
            attention = PreNorm(width, LinearAttention(width, options.heads))
            layers.append(nn.ModuleList((attention, PreNorm(width, _named(fn=Feedforward(width))))))
        self.transformer = _named(layers=_named(layers=layers))
        self.positional_encoding = SinusoidalPositions(frames, width)
        self.channel_tokens = nn.Embedding(channels, width)

    def spectra(self, signal: torch.Tensor) -> torch.Tensor:
        """(n, channels, samples) to (n, channels, frames, 101); what fills no frame is dropped."""
        return torch.fft.rfft(signal.unfold(2, FRAME, HOP)).abs()

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        tokens = self.patch_embedding(self.spectra(signal))  # (n, channels, frames, width)
        tokens = tokens + self.channel_tokens.weight[:, None]  # a channel's row at all its frames
        # Positions are those of a channel's frames, whatever the channel.
        hidden = self.positional_encoding(tokens).flatten(1, 2)  # (n, channels * frames, width)
        for attention, mlp in self.transformer.layers.layers:
            hidden = hidden + attention(hidden)
            hidden = hidden + mlp(hidden)
        return hidden.mean(1)


class BIOTNetwork(SingleTaskNetwork):
    """As in BIOT's repository: encoder, ELU, a linear layer."""

    name = "biot"
    Options = BIOTOptions

    def __init__(self, channels: int, samples: int, outputs: int, options: BIOTOptions) -> None:
        super().__init__(channels, samples, outputs)
        self.biot = BIOTEncoder(channels, samples, options)
        self.classifier = _named(clshead=nn.Sequential(nn.ELU(), nn.Linear(options.width, outputs)))

    @classmethod
    def needs(cls, channels: int, samples: int) -> str:
        return "" if samples >= FRAME else f"{FRAME} samples or more"

    def computed(self) -> dict[str, torch.Tensor]:
        return {
            "biot.index": torch.arange(self.channels),
            "biot.positional_encoding.pe": self.biot.positional_encoding.pe[None],
        }

    def logits(self, signal: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.biot(signal))


@dataclasses.dataclass(frozen=True)
class BIOTMethodOptions(BIOTOptions):
    """Also a file of a published encoder to start from."""

    checkpoint: str | None = setting(None)


class BIOT(SingleNetworkMethod):
    """From random weights, or from a published encoder."""

    names = ("biot",)
    title = "BIOT: tokens of spectra and a transformer of linear attention, a network a task"
    source = (
        "BIOT (Yang, Westover, Sun, BIOT: Biosignal Transformer for cross-data learning in the "
        "wild, 2023)"
    )
    Options = BIOTMethodOptions
    Network = BIOTNetwork
    _start: dict[str, str] | None = None

    @classmethod
    def build(cls, config: Any, cards: Mapping[str, TaskCard], seed: int) -> Self:
        method = super().build(config, cards, seed)
        if method.options.checkpoint:
            method._start_from(method.options.checkpoint)
        return method

    def _start_from(self, path: str) -> None:
        """Put a published encoder into every task's network."""
        try:
            checkpoint = read_checkpoint(path)
            weights = checkpoint.state_dict.items()
            check_finite({k: v for k, v in weights if isinstance(v, torch.Tensor)}, path)
            taken = {
                task: load_encoder(self.module[task], card.channels, checkpoint.state_dict)
                for task, card in self.cards.items()
            }
        except ValueError as error:  # of the file, or of what it holds
            raise TrainingError(f"method_options.checkpoint: {path}: {error}") from error
        told = [
            f"{task} {found} of {len(self.cards[task].channels)}" for task, found in taken.items()
        ]
        self._start = {
            "sha256": checkpoint.sha256(),
            "words": f"{Path(path).name}, with rows for these of the channels: "
            f"{', '.join(told)}; the others and the last layer afresh",
        }

    @classmethod
    def start_file(cls, config: Any) -> str | None:
        return config.method_options.get("checkpoint")

    def settings(self) -> dict[str, str]:
        return {"published encoder": self._start["words"]} if self._start else {}

    def identity(self) -> dict[str, Any]:
        return {"start": self._start["sha256"]} if self._start else {}


def load_encoder(
    network: BIOTNetwork, channels: Sequence[str], state: Mapping[str, torch.Tensor]
) -> int:
    """Put a published encoder into a network; its last layer stays as it is.

    Parameters
    ----------
    network : BIOTNetwork
    channels : sequence of str
        Of its windows, in their order.
    state : mapping of str to torch.Tensor
        Of the encoder alone, names without ``biot.``; a row of ``channel_tokens`` for each of the
        first 16 or all 18 of :data:`PUBLISHED_CHANNELS`.

    Returns
    -------
    int
        How many channels have a published row; the others' rows stay as they are.

    Raises
    ------
    ValueError
        It is no such encoder, or one of other sizes.
    """
    name, width = "channel_tokens.weight", network.biot.channel_tokens.embedding_dim
    published = state.get(name)
    shape = tuple(published.shape) if isinstance(published, torch.Tensor) else None
    if shape not in ((16, width), (18, width)):
        raise ValueError(
            f"expected a BIOT encoder with {name} of shape (16, {width}) or (18, {width}), found "
            f"{shape or 'none'} among {len(state)} entries"
        )
    places = {channel: row for row, channel in enumerate(PUBLISHED_CHANNELS[: shape[0]])}
    rows, found = network.biot.channel_tokens.weight.detach().clone(), 0
    for number, channel in enumerate(channels):
        electrodes = (_LATER_NAMES.get(part, part) for part in clean_name(channel).split("-"))
        row = places.get("-".join(electrodes))
        if row is not None:
            rows[number], found = published[row], found + 1
    last = {key: t for key, t in network.state_dict().items() if key.startswith("classifier.")}
    encoder = {f"biot.{key}": t for key, t in state.items() if key != "index"}  # of its own rows
    network.load_published({**last, **encoder, f"biot.{name}": rows})
    return found
