"""Steps on a device that holds no numbers: what would read one back, or wait for a copy, fails.

``meta`` stands in for a GPU: its tensors have shapes alone, every branch for "not a CPU" is taken,
and a step that needs a number of the device in order to go on cannot get it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
READING = (
    "_local_scalar_dense", "nonzero", "masked_select", "bincount", "unique", "_unique2",
    "unique_dim", "unique_consecutive", "equal", "is_nonzero", "repeat_interleave",
)  # fmt: skip
"""Operations that read values of a GPU back, or sizes that depend on values."""


class WaitError(AssertionError):
    """A step that would wait for the device."""


class Movable(Accelerator):
    """An Accelerator that begins on the CPU, whose device :func:`moved` changes."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__(cpu=True)


def _there(value: Any) -> Any:
    return value.to(DEVICE) if isinstance(value, torch.Tensor) else value


def moved(trainer: Any) -> Any:
    """A trainer that was set up on the CPU, with all it has on the device; it gives it back."""
    old = {id(p): name for name, p in trainer.model.named_parameters()}
    trainer.model.to(DEVICE)
    new = dict(trainer.model.named_parameters())
    for group in trainer.optimizer.param_groups:
        group["params"] = [new[old[id(p)]] for p in group["params"]]
        group["fused"] = None  # torch's one kernel knows the devices that it is for
    for name, value in vars(trainer).items():
        if isinstance(value, torch.Tensor):
            setattr(trainer, name, value.to(DEVICE))
        elif isinstance(value, dict):
            setattr(trainer, name, {key: _there(part) for key, part in value.items()})
    trainer.accelerator.device = DEVICE
    return trainer


def without_autocast(monkeypatch) -> None:
    """There is no autocast for the device: off, whoever asks."""
    asked, made = torch.is_autocast_enabled, torch.autocast

    def enabled(kind: str | None = None) -> bool:
        return kind != DEVICE.type and (asked() if kind is None else asked(kind))

    def autocast(kind: str, *args: Any, **options: Any) -> Any:
        return nullcontext() if kind == DEVICE.type else made(kind, *args, **options)

    monkeypatch.setattr(torch, "is_autocast_enabled", enabled)
    monkeypatch.setattr(torch, "autocast", autocast)


class _NothingMadeThere(TorchFunctionMode):
    """Raises where numbers of the host become a tensor of the device, which waits for the copy."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        made = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None
        if made and torch.device(kwargs["device"]) == DEVICE:
            raise WaitError(f"{func.__name__}: numbers of the host, sent by a copy that waits")
        return func(*args, **kwargs)


class NoWaiting(TorchDispatchMode):
    """Raises on every operation that would wait for the device.

    Attributes
    ----------
    sent : collections.Counter
        Copies from the CPU to the device, by the number of their values.
    """

    def __init__(self, device: torch.device = DEVICE) -> None:
        super().__init__()
        self.device, self.sent, self._made = device, Counter(), _NothingMadeThere()

    def __enter__(self) -> NoWaiting:
        self._made.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._made.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self._look(func, args, kwargs)
        return func(*args, **kwargs)

    def _look(self, func: Any, args: tuple, kwargs: dict) -> None:
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        here = [tensor for tensor in tensors if tensor.device == self.device]
        if name == "_to_copy":
            self._copy(args[0], kwargs.get("device"), kwargs.get("non_blocking", False))
        elif name == "copy_" and args[0].device != args[1].device:
            asynchronous = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
            self._copy(args[1], args[0].device, asynchronous)
        elif here and name in READING:
            if name == "repeat_interleave" and kwargs.get("output_size") is not None:
                return
            raise WaitError(f"{func}: reads the device's values")
        elif here and name in ("index", "index_put", "index_put_"):
            for places in tree_leaves(args[1]):
                if isinstance(places, torch.Tensor) and places.dtype in (torch.bool, torch.uint8):
                    raise WaitError(f"{func}: a mask, whose number of places is read back")
                if isinstance(places, torch.Tensor) and places.device != self.device:
                    raise WaitError(f"{func}: places on {places.device}, sent without being told")

    def _copy(self, source: torch.Tensor, target: Any, asynchronous: bool) -> None:
        target = source.device if target is None else torch.device(target)
        if target == source.device:
            return
        if source.device == self.device:
            raise WaitError(f"a copy of {tuple(source.shape)} from the device")
        if target == self.device and not asynchronous:
            raise WaitError(f"a copy of {tuple(source.shape)} to the device that waits for it")
        self.sent[source.numel()] += 1
