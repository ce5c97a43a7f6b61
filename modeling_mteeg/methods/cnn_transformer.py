"""CNN-Transformer: segments of a window, the residual front of each, a transformer over them."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from ..settings.schema import setting
from .single_network import SingleNetworkMethod
from .sinusoids import SinusoidalPositions
from .stft_front import FRAME, FrontNetwork, FrontOptions

SEGMENTS = 5


@dataclasses.dataclass(frozen=True)
class CNNTransformerOptions(FrontOptions):
    """Also layers and attention heads of the transformer."""

    layers: int = setting(4, "> 0")
    heads: int = setting(4, "> 0")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.widths[3] % self.heads:
            raise ValueError(
                f"heads: expected a divisor of the last width {self.widths[3]}, found {self.heads}"
            )


class CNNTransformerNetwork(FrontNetwork):
    """As in BIOT's repository.

    Notes
    -----
    The published code fails where a fifth of a window is not longer than 100 samples, which the
    spectrogram reflects. Here there are as many segments, up to five, as are longer: one for 1 s.
    """

    name = "cnn-transformer"
    Options = CNNTransformerOptions

    def __init__(
        self, channels: int, samples: int, outputs: int, options: CNNTransformerOptions
    ) -> None:
        super().__init__(channels, samples, outputs, options.widths)
        width = options.widths[3]
        longest = [n for n in range(1, SEGMENTS + 1) if samples // n > FRAME // 2]
        self.segments = max(longest)
        self.positional_encoding = SinusoidalPositions(self.segments, width)
        layer = nn.TransformerEncoderLayer(
            width, options.heads, dim_feedforward=width, dropout=0.2, activation="gelu",
            batch_first=True,
        )  # fmt: skip
        self.transformer = nn.TransformerEncoder(layer, options.layers, enable_nested_tensor=False)
        self.classifier = nn.Sequential(nn.ELU(), nn.Linear(width, outputs))

    def computed(self) -> dict[str, torch.Tensor]:
        return {"positional_encoding.pe": self.positional_encoding.pe[None]}

    def logits(self, signal: torch.Tensor) -> torch.Tensor:
        length = self.samples // self.segments  # what is left over is dropped, as published
        parts = signal[..., : length * self.segments].unflatten(2, (self.segments, length))
        tokens = [self.front(part) for part in parts.unbind(2)]  # segments of (n, width)
        hidden = self.transformer(self.positional_encoding(torch.stack(tokens, 1)))
        return self.classifier(hidden.mean(1))


class CNNTransformer(SingleNetworkMethod):
    """The front's weights are those of all segments."""

    names = ("cnn-transformer",)
    title = "CNN-Transformer: residual convolutions and a transformer, a network a task"
    source = (
        "CNN-Transformer (Peh, Yao, Dauwels, Transformer convolutional neural networks for "
        "automated artifact detection in scalp EEG, 2022), as BIOT's authors measured it"
    )
    Network = CNNTransformerNetwork
