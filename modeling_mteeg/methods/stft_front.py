"""The front of ContraWR, CNN-Transformer and FFCL: a spectrogram and four residual blocks."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from ..settings.schema import setting
from .published_network import SingleTaskNetwork

FRAME, HOP = 200, 10
"""Samples of a frame of the spectrogram, and from one to the next: 1 s and 0.05 s at 200 Hz."""


@dataclasses.dataclass(frozen=True)
class FrontOptions:
    """Channels after each of the four blocks."""

    widths: tuple[int, ...] = setting((32, 64, 128, 256), "> 0")

    def __post_init__(self) -> None:
        if len(self.widths) != 4:
            raise ValueError(f"widths: expected four numbers, found {len(self.widths)}")


class ResidualBlock(nn.Module):
    """(n, inside, height, width) to (n, outside, height / 4, width / 4), each halving rounded up.

    Two convolutions and beside them one, added up, no activation after the sum, pooled.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside)
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        hidden = self.bn1(self.conv1(maps)).relu()  # (n, outside, height / 2, width / 2)
        hidden = self.bn2(self.conv2(hidden)) + self.downsample(maps)
        return self.dropout(self.pool(hidden))


class FrontNetwork(SingleTaskNetwork):
    """A network that begins with the front.

    Notes
    -----
    The published code squeezes a map of 1 x 1, and so fails from 2,560 samples on. Here it is the
    mean over the map, which is the same thing where the map is 1 x 1.
    """

    def __init__(self, channels: int, samples: int, outputs: int, widths: tuple[int, ...]) -> None:
        super().__init__(channels, samples, outputs)
        self.conv1 = ResidualBlock(channels, widths[0])
        self.conv2 = ResidualBlock(widths[0], widths[1])
        self.conv3 = ResidualBlock(widths[1], widths[2])
        self.conv4 = ResidualBlock(widths[2], widths[3])
        self.register_buffer("window", torch.ones(FRAME), persistent=False)  # rectangular

    @classmethod
    def needs(cls, channels: int, samples: int) -> str:
        least = FRAME // 2  # what the spectrogram reflects at either end
        return "" if samples > least else f"more than {least} samples"

    def spectrogram(self, signal: torch.Tensor) -> torch.Tensor:
        """(n, channels, samples) to (n, channels, 101 frequencies, samples // 10 + 1 frames)."""
        frames = torch.stft(
            signal.flatten(0, 1),  # one signal a row
            FRAME,
            HOP,
            window=self.window,
            center=True,
            pad_mode="reflect",
            normalized=True,  # over sqrt(FRAME)
            return_complex=True,
        )
        return frames.abs().unflatten(0, signal.shape[:2])

    def front(self, signal: torch.Tensor) -> torch.Tensor:
        """(n, channels, samples) to features (n, widths[3])."""
        maps = self.conv2(self.conv1(self.spectrogram(signal)))
        maps = self.conv4(self.conv3(maps))  # (n, widths[3], 1, 1), wider beyond 2,559 samples
        return maps.mean((2, 3))
