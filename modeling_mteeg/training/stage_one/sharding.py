"""Weights of one model spread over all processes (FSDP2), for a backbone as large as Huge.

Every process holds a part of each weight, of its gradient and of AdamW's two averages. A layer's
weights are put together for as long as the layer works. The loss of a part is already its share of
the whole step's, so gradients are summed, where FSDP's own way is their mean over processes.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ...model.layers import MteegLayer
from ..launch import check_sharding, sharding_asked


def shard_if_asked(model: nn.Module, accelerator: Accelerator) -> bool:
    """Spread a model's weights over the processes where ``accelerate launch --use_fsdp`` says so.

    The layers (``MteegLayer``) are units of their own, everything else is one more. The model must
    be the same in every process before, and be called as a whole afterwards.

    Returns
    -------
    bool
        Whether it was done. With one process there is nothing to spread.

    Raises
    ------
    TrainingError
        See :func:`~modeling_mteeg.training.launch.check_sharding`.
    """
    if not sharding_asked(os.environ) or accelerator.num_processes == 1:
        return False
    check_sharding(os.environ, accelerator.mixed_precision)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    # The root too gives its weights back after a forward pass: else an evaluation with averaged
    # weights would leave them in the next step.
    for module in [m for m in model.modules() if isinstance(m, MteegLayer)] + [model]:
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    return True


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with the parts of all processes, which must all call this; others as they are."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gather(tensors: Mapping[str, torch.Tensor], keep: bool) -> dict[str, torch.Tensor]:
    """Whole tensors on the CPU where ``keep`` says so, nothing elsewhere; all must call this."""
    gathered = {}
    for name, tensor in tensors.items():
        full = whole(tensor)
        if keep:
            gathered[name] = full.cpu() if isinstance(tensor, DTensor) else full
    return gathered


@torch.no_grad()
def put(target: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor into ``target``, or the part that this process holds of it."""
    target.copy_(_like(value, target))


def _like(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if not isinstance(target, DTensor):
        return value
    value = value.to(target.device, target.dtype)
    # Every process has read the same checkpoint: nothing to send.
    return distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)


def gather_optimizer(optimizer: torch.optim.Optimizer, keep: bool) -> dict[str, Any]:
    """The state dict of an optimiser over whole parameters, as one process would have it."""
    state = optimizer.state_dict()
    entries = {number: gather(_tensors(entry), keep) for number, entry in state["state"].items()}
    if not keep:
        return {}
    rest = {number: {k: v for k, v in entry.items() if not isinstance(v, torch.Tensor)}
            for number, entry in state["state"].items()}  # fmt: skip
    merged = {number: {**rest[number], **entries[number]} for number in entries}
    return {**state, "state": merged}


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load what :func:`gather_optimizer` returned, whoever holds the parameters now."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {**state, "state": copy.copy(state["state"])}
    for number, entry in state["state"].items():
        target = parameters[number]
        state["state"][number] = {
            key: _like(value, target) if getattr(value, "shape", None) == target.shape else value
            for key, value in entry.items()
        }
    optimizer.load_state_dict(state)


def _tensors(entry: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in entry.items() if isinstance(value, torch.Tensor)}


def clip(parameters: Iterable[nn.Parameter], max_norm: float) -> torch.Tensor:
    """Scale gradients down to a norm over all parameters and processes; returns what it was."""
    return whole(nn.utils.clip_grad_norm_(parameters, max_norm))


def whole_model(model: nn.Module, keep: bool) -> nn.Module | None:
    """A model that can be saved: itself, or, if it is spread, a whole copy on the CPU.

    Every process must call this; the copy is made where ``keep`` says so, else None comes back.
    """
    if not any(isinstance(p, DTensor) for p in model.parameters()):
        return model
    state = gather(model.state_dict(), keep)
    if not keep:
        return None
    from torch.distributed.fsdp import FSDPModule

    # fully_shard has put a class of its own before the model's.
    plain_class = next(kind for kind in type(model).__mro__ if not issubclass(kind, FSDPModule))
    plain = plain_class(model.config)
    plain.load_state_dict(state)
    return plain
