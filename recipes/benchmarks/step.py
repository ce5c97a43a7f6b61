"""What the measured training steps have in common."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from modeling_mteeg import MteegConfig


class Step:
    """A training step that is called again and again.

    Parameters
    ----------
    samples : int
        Of the whole step, in all processes together.
    variant : str
        Name of the variant; ``bfloat16`` in it turns autocast on.
    device : torch.device
    accelerator : Accelerator, optional
        Knows the other processes, if any; by default one that looks for them.
    """

    def __init__(
        self,
        samples: int,
        variant: str,
        device: torch.device,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.samples, self.device, self.half = samples, device, "bfloat16" in variant
        self.accelerator = accelerator or Accelerator(cpu=device.type == "cpu")
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.share = slice(samples * self.rank // self.world,
                           samples * (self.rank + 1) // self.world)  # fmt: skip
        """This process's samples."""

    def autocast(self) -> torch.autocast:
        """The context in which the variant computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


def layer_operations(config: MteegConfig, tokens: int, layers: int) -> float:
    """Operations in the matrix products of ``layers`` layers, forward, for one sample."""
    width = config.hidden_size
    weights = 4 * width * width + 2 * width * config.intermediate_size  # qkv, proj, fc1, fc2
    return tokens * layers * (2 * weights + 4 * tokens * width)  # scores, and what they weigh
