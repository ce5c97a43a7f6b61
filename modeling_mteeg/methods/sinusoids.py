"""The sinusoidal table of positions, added to tokens."""

from __future__ import annotations

import math

import torch
from torch import nn


def sinusoidal_table(positions: int, width: int) -> torch.Tensor:
    """(positions, width): sin(p / 10000^(2i / width)) at 2i, the cosine at 2i + 1."""
    position = torch.arange(positions, dtype=torch.float64)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(1e4) / width))
    table = torch.empty(positions, width, dtype=torch.float64)
    table[:, 0::2] = torch.sin(position * rates)
    table[:, 1::2] = torch.cos(position * rates)[:, : width // 2]
    return table.float()


class SinusoidalPositions(nn.Module):
    """Adds the table to (..., positions, width), then drops 10 %."""

    def __init__(self, positions: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("pe", sinusoidal_table(positions, width), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.dropout(tokens + self.pe[: tokens.shape[-2]])
