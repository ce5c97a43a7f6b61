"""The optimiser of a training: parameter groups, schedule, gradients over processes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from accelerate.utils import broadcast

from ..methods import GradientMethod
from .joint_config import JointOptimization
from .run_config import OptimizationOptions

_BUCKET_NUMEL = 16 * 2**20


def parameter_groups(
    module: torch.nn.Module,
    weight_decay: float,
    decays: Callable[[str, torch.Tensor], bool],
    depth: Callable[[str], int] = lambda name: 0,
    depths: int = 0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups of the trainable parameters by depth and weight decay.

    Parameters
    ----------
    module : torch.nn.Module
    weight_decay : float
        Of the parameters for which ``decays(name, parameter)``.
    depth : callable
        Depth of a parameter by its name: 0 at the input side, ``depths`` at the heads.
    layer_decay : float
        Factor of the learning rate from one depth to the one before it.

    Returns
    -------
    list of dict
        Keys ``params``, ``names``, ``weight_decay`` and ``lr_scale``
        (``layer_decay ** (depths - depth)``), in order of depth, without decay first.

    Raises
    ------
    ValueError
        Nothing is trainable, or a parameter is in no known place.
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        key = depth(name), decays(name, parameter)
        group = groups.setdefault(
            key,
            {
                "params": [],
                "names": [],
                "weight_decay": weight_decay if key[1] else 0.0,
                "lr_scale": layer_decay ** (depths - key[0]),
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise ValueError("No parameter is trainable: call model.set_trainable(...) first.")
    return [groups[key] for key in sorted(groups)]


OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


def build_optimizer(
    method: GradientMethod, options: JointOptimization, device: torch.device | None = None
) -> torch.optim.Optimizer:
    """AdamW over :func:`parameter_groups` (LaBraM's fine-tuning; facts on MTEEG's are open).

    Or Adam, which adds the decay to the gradient, as the single-task models were trained. On a
    ``device`` that is a CPU or CUDA it is fused: a hundred tasks have ten thousand tensors, which
    are one call then instead of ten each. On CUDA that also takes the gradient scaler's factor and
    leaves a step out by itself: any other way the scaler would wait for the device in every step.
    """
    groups = parameter_groups(
        method.module,
        options.weight_decay,
        method.decays,
        method.depth,
        method.depths,
        options.layer_decay,
    )
    fused = True if device is not None and device.type in ("cpu", "cuda") else None
    kind, betas = OPTIMIZERS[options.optimizer], tuple(options.betas)
    return kind(groups, lr=options.lr, betas=betas, fused=fused)


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimiser's state dict, of this device or another one.

    How the step is computed stays as it is here: a checkpoint of another device, or of an
    earlier version, would take the fused kernel away, or bring it where there is none.
    """
    groups = [
        {**stored, "fused": own["fused"]} if "fused" in own else stored
        for stored, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


@dataclasses.dataclass(frozen=True)
class CosineSchedule:
    """Learning rate of every optimiser step: a linear warm-up, then half a cosine.

    It is a function of the step alone, so that a resumed training needs no state of it.

    Parameters
    ----------
    lr, min_lr : float
        Peak and final learning rate; equal where the schedule is ``constant``.
    warmup_steps, total_steps : int
        The peak is reached with step ``warmup_steps - 1``, ``min_lr`` with the last one.

    Notes
    -----
    The published code starts its warm-up with a learning rate of exactly 0, which wastes a step;
    here the first step has ``lr / warmup_steps``.
    """

    lr: float
    min_lr: float
    warmup_steps: int
    total_steps: int

    @classmethod
    def from_options(cls, options: OptimizationOptions, steps_per_epoch: int) -> CosineSchedule:
        """The schedule of ``options.epochs`` epochs of ``steps_per_epoch`` optimiser steps."""
        warmup = round(options.warmup_epochs * steps_per_epoch)
        last = options.lr if options.schedule == "constant" else options.min_lr
        return cls(options.lr, last, warmup, options.epochs * steps_per_epoch)

    def at(self, step: int) -> float:
        """Learning rate of optimiser step ``step``, counted from 0 over the whole training."""
        if not 0 <= step < self.total_steps:
            raise ValueError(f"step: expected 0 to {self.total_steps - 1}, found {step}.")
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        rest = self.total_steps - self.warmup_steps
        done = (step - self.warmup_steps + 1) / rest
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * done)) / 2

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Put the learning rate of ``step`` into every group, times its ``lr_scale``."""
        rate = self.at(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        return rate


def sum_gradients(parameters: Iterable[torch.nn.Parameter], accelerator: Any) -> None:
    """Add the gradients of all processes up, in place.

    A parameter that no process used keeps ``grad is None``, so AdamW leaves it alone: an adapter
    whose task had no sample in the step neither decays nor drifts on its old momentum. One that
    only some processes used counts as zero on the others. Every process must call this with the
    same parameters, even one that had no sample at all.

    Notes
    -----
    This stands in the place of DistributedDataParallel, which needs a graph through every
    parameter on every process or a search for the unused ones, and fails where a process has no
    sample. The trainable part is small (7 MB in Base), so there is nothing to overlap. Each
    process's loss is already divided by the number of samples of all of them: the sum is the
    gradient that one process would have found.
    """
    if accelerator.num_processes == 1:
        return
    parameters = list(parameters)
    if not parameters:
        return
    device = parameters[0].device
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=device)
    used = accelerator.reduce(used, reduction="sum").tolist()
    bucket: list[torch.nn.Parameter] = []
    for parameter, count in zip(parameters, used, strict=True):
        if not count:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if bucket and (
            sum(p.numel() for p in bucket) + parameter.numel() > _BUCKET_NUMEL
            or bucket[0].dtype != parameter.dtype
        ):
            _sum_bucket(bucket, accelerator)
            bucket = []
        bucket.append(parameter)
    if bucket:
        _sum_bucket(bucket, accelerator)


def _sum_bucket(bucket: list[torch.nn.Parameter], accelerator: Any) -> None:
    flat = torch.cat([parameter.grad.reshape(-1) for parameter in bucket])
    flat = accelerator.reduce(flat, reduction="sum")
    start = 0
    for parameter in bucket:
        stop = start + parameter.numel()
        parameter.grad.copy_(flat[start:stop].view_as(parameter.grad))
        start = stop


@torch.no_grad()
def average_running(tensors: Iterable[torch.Tensor], accelerator: Any) -> None:
    """Put the mean over processes into running statistics; counters are the first process's.

    Every process must call this with the same tensors.

    Notes
    -----
    Running statistics are sums of what batches had, weighted; so their mean after every step is
    that of running on apart and averaging in the end, and every checkpoint has it.
    """
    tensors = list(tensors)
    for tensor in tensors:
        if not tensor.is_floating_point():
            tensor.copy_(broadcast(tensor))
    moved = [tensor for tensor in tensors if tensor.is_floating_point()]
    if moved:
        flat = torch.cat([tensor.reshape(-1) for tensor in moved])
        flat = accelerator.reduce(flat, reduction="mean")
        parts = flat.split([tensor.numel() for tensor in moved])
        for tensor, part in zip(moved, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
