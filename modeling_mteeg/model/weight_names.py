"""What a parameter belongs to, by its name, whatever the layers around it are wrapped in."""

from __future__ import annotations

from .adapter_sharing import is_shared

_COMPILED = "_orig_mod."
"""What ``torch.compile`` of a layer, and accelerate's regional compilation, put in a name."""


def uncompiled(name: str) -> str:
    """Name of a module or weight as in a model of which no layer is compiled."""
    return f"{name}.".replace(f".{_COMPILED}", ".").removeprefix(_COMPILED).removesuffix(".")


def plain_name(name: str) -> str:
    """Name of a weight as in a model without adapters and without compiled layers."""
    return uncompiled(name).replace(".base_layer.", ".")


def owner_of(name: str) -> str | None:
    """The task, or the pair of several tasks, that a parameter is of; None: the base."""
    parts = uncompiled(name).split(".")
    if parts[0] == "heads":  # heads.TASK.weight, heads.TASK.hidden.weight
        return parts[1]
    return parts[-2] if ".lora_" in name else None  # layers.0.mlp.fc1.lora_A.TASK.weight


def task_of(name: str) -> str | None:
    """The only task that a parameter serves, by its name; None: the base, or a shared adapter."""
    owner = owner_of(name)
    return None if owner is None or is_shared(owner) else owner
