"""Networks of the published comparison: windows of one shape, weights by the published names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from ..settings.schema import nearest
from .method import TrainingError


class WindowError(TrainingError, ValueError):
    """Windows that a network cannot take; the text says what it needs and what there was."""


class PublishedStateError(ValueError):
    """A state dict that is not that of the published network."""


class SingleTaskNetwork(nn.Module):
    """A network for windows of one shape, its parts named as in the published code.

    Parameters
    ----------
    channels, samples : int
        Of the windows.
    outputs : int
        Logits.

    Raises
    ------
    WindowError
        It cannot take such windows.
    """

    name: ClassVar[str] = ""
    """Of its method, for messages."""
    Options: ClassVar[type]
    """Dataclass of its sizes."""

    def __init__(self, channels: int, samples: int, outputs: int) -> None:
        super().__init__()
        self.channels, self.samples, self.outputs = channels, samples, outputs
        needs = self.needs(channels, samples)
        if needs:
            raise WindowError(
                f"{self.name} needs {needs}, found windows of {channels} channels x {samples} "
                "samples."
            )

    @classmethod
    @abstractmethod
    def needs(cls, channels: int, samples: int) -> str:
        """What these windows lack, such as ``more than 100 samples``; empty: nothing."""

    @abstractmethod
    def logits(self, signal: torch.Tensor) -> torch.Tensor:
        """Logits (batch, outputs) of a signal (batch, channels, samples)."""

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """Logits of scaled windows.

        Parameters
        ----------
        signal : torch.Tensor
            (batch, channels, samples) float, scaled as by ``scaled_by_quantile``.

        Returns
        -------
        torch.Tensor, (batch, outputs)

        Raises
        ------
        ValueError
            Windows of another shape than the network was made for.
        """
        if signal.ndim != 3 or tuple(signal.shape[1:]) != (self.channels, self.samples):
            raise ValueError(
                f"{self.name}: expected a signal of shape (batch, {self.channels}, {self.samples})"
                f", found {tuple(signal.shape)}."
            )
        return self.logits(signal)

    def computed(self) -> dict[str, torch.Tensor]:
        """What a published state dict may hold, too, and the network computes by itself."""
        return {}

    def load_published(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over the published network's state dict of the same channels, samples and outputs.

        Parameters
        ----------
        state : mapping of str to torch.Tensor
            By the published names. What follows from the shape (``pe``, ``index``) and the
            counters of batch normalisation (``num_batches_tracked``) may be missing.

        Raises
        ------
        PublishedStateError
            Names are missing or left over, or shapes or values are others; nothing is taken then.
        """
        state = dict(state)
        faults = _computed_faults(state, self.computed())
        own = self.state_dict()
        counters = {name for name in own if name.endswith("num_batches_tracked")}
        faults += _state_faults(state, own, optional=counters)
        if faults:
            raise PublishedStateError(
                f"{self.name}: expected the published state dict for {self.channels} channels, "
                f"{self.samples} samples and {self.outputs} outputs, found\n  - "
                + "\n  - ".join(faults)
            )
        self.load_state_dict(own | state)


def _computed_faults(
    state: dict[str, torch.Tensor], computed: Mapping[str, torch.Tensor]
) -> list[str]:
    """Take what the network computes out of ``state``; say where it is something else."""
    faults = []
    for name, own in computed.items():
        given = state.pop(name, own)
        right = (
            isinstance(given, torch.Tensor)
            and given.ndim == own.ndim
            and given.numel() > 0
            and given.shape[2:] == own.shape[2:]
        )
        if right:  # the published tables have more rows; they may have been kept as float16
            given, own = (tensor.double().reshape(-1, *own.shape[2:]) for tensor in (given, own))
            rows = min(len(given), len(own))
            right = torch.allclose(given[:rows], own[:rows].to(given), atol=1e-2)
        if not right:
            faults.append(f"{name}: other values than the network computes")
    return faults


def _state_faults(
    state: Mapping[str, Any], own: Mapping[str, torch.Tensor], optional: set[str]
) -> list[str]:
    """How a state dict differs from a network's own, in sentences."""
    faults = []
    missing = [name for name in own if name not in state and name not in optional]
    if missing:
        faults.append(f"missing: {_listed(missing)}")
    left = [name for name in state if name not in own]
    if left:
        faults.append(f"left over: {_listed(left)}{nearest(left[0], missing or own)}")
    for name, tensor in own.items():
        found = state.get(name, tensor)
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        if shape != tuple(tensor.shape):
            faults.append(f"{name}: expected shape {tuple(tensor.shape)}, found {shape}")
        elif tensor.is_floating_point() and not found.is_floating_point():
            faults.append(f"{name}: expected {tensor.dtype}, found {found.dtype}")
    return faults


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
