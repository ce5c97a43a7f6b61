"""ContraWR, as BIOT's repository has it: a spectrogram, four residual blocks, a linear layer."""

from __future__ import annotations

import torch
from torch import nn

from .single_network import SingleNetworkMethod
from .stft_front import FrontNetwork, FrontOptions


class ContraWRNetwork(FrontNetwork):
    """Of PyHealth's model of the same name window, activation and depth are others."""

    name = "contrawr"
    Options = FrontOptions

    def __init__(self, channels: int, samples: int, outputs: int, options: FrontOptions) -> None:
        super().__init__(channels, samples, outputs, options.widths)
        self.classifier = nn.Sequential(nn.ELU(), nn.Linear(options.widths[3], outputs))

    def logits(self, signal: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.front(signal))


class ContraWR(SingleNetworkMethod):
    """Trained with labels alone, as in the published comparison; no contrast of windows."""

    names = ("contrawr",)
    title = "ContraWR: a spectrogram and residual convolutions, a network a task"
    source = (
        "ContraWR (Yang et al., Self-supervised electroencephalogram representation learning for "
        "automatic sleep staging, 2023), its supervised network as BIOT's authors measured it"
    )
    Network = ContraWRNetwork
