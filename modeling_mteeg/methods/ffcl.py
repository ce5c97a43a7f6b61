"""FFCL: the residual front beside an LSTM over decimated channels."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from ..settings.schema import setting
from .single_network import SingleNetworkMethod
from .stft_front import FrontNetwork, FrontOptions

DECIMATION = 20


@dataclasses.dataclass(frozen=True)
class FFCLOptions(FrontOptions):
    """Also units of the LSTM's layers."""

    units: int = setting(256, "> 0")


class FFCLNetwork(FrontNetwork):
    """As in BIOT's repository, which LaBraM and MTEEG compare with, too.

    Notes
    -----
    Time is the feature axis of the LSTM: it goes over channels, decimated at every offset.
    """

    name = "ffcl"
    Options = FFCLOptions

    def __init__(self, channels: int, samples: int, outputs: int, options: FFCLOptions) -> None:
        super().__init__(channels, samples, outputs, options.widths)
        self.lstm = nn.LSTM(
            samples // DECIMATION, options.units, num_layers=2, dropout=0.5, batch_first=True
        )
        features = options.widths[3] + options.units
        self.classifier = nn.Sequential(nn.ELU(), nn.Linear(features, outputs))

    @classmethod
    def needs(cls, channels: int, samples: int) -> str:
        rest = samples % DECIMATION
        return super().needs(channels, samples) or (
            f"samples that {DECIMATION} divides" if rest else ""
        )

    def decimated(self, signal: torch.Tensor) -> torch.Tensor:
        """(n, channels, samples) to (n, 20 * channels, samples / 20), offset by offset."""
        parts = signal.unflatten(2, (-1, DECIMATION))  # (n, channels, samples / 20, offset)
        return parts.permute(0, 3, 1, 2).flatten(1, 2)

    def logits(self, signal: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(self.decimated(signal))  # (n, 20 * channels, units)
        return self.classifier(torch.cat([self.front(signal), hidden[:, -1]], 1))


class FFCL(SingleNetworkMethod):
    """Both halves are trained together."""

    names = ("ffcl",)
    title = "FFCL: residual convolutions beside an LSTM, a network a task"
    source = (
        "FFCL (Li et al., Motor imagery EEG classification algorithm based on CNN-LSTM feature "
        "fusion network, 2022), as BIOT's authors measured it"
    )
    Network = FFCLNetwork
