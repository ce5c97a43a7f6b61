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
        Name of the variant; ``bfloat16`` or ``float16`` in it turns autocast on, and the latter a
        gradient scaler; ``TF32`` in it rounds products of float32.
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
        self.samples, self.device = samples, device
        self.half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(number_type(variant))
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.half == torch.float16)
        if number_type(variant) == "TF32":  # of the whole process, which has no other variant
            torch.set_float32_matmul_precision("high")
        self.accelerator = accelerator or Accelerator(cpu=device.type == "cpu")
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.share = slice(samples * self.rank // self.world,
                           samples * (self.rank + 1) // self.world)  # fmt: skip
        """This process's samples."""

    def autocast(self) -> torch.autocast:
        """The context in which the variant computes."""
        half = self.half or torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=self.half is not None)

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss, scaled in float16."""
        self.scaler.scale(loss).backward()

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimiser's step, which the scaler may leave out."""
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()


def number_type(variant: str) -> str:
    """In what a variant's products are taken: float32, TF32, bfloat16 or float16."""
    names = ("bfloat16", "float16", "TF32")
    return next((name for name in names if name in variant), "float32")


def layer_operations(config: MteegConfig, tokens: int, layers: int) -> float:
    """Operations in the matrix products of ``layers`` layers, forward, for one sample."""
    width = config.hidden_size
    weights = 4 * width * width + 2 * width * config.intermediate_size  # qkv, proj, fc1, fc2
    return tokens * layers * (2 * weights + 4 * tokens * width)  # scores, and what they weigh


def of_gpus_alone(variant: str) -> bool:
    """Whether a CPU has no such variant: TF32, float16, CUDA graphs."""
    return number_type(variant) in ("TF32", "float16") or "graph" in variant
