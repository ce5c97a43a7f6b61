"""A configuration of peft, as its users write it, as options of a task's adapter."""

from __future__ import annotations

import dataclasses
from typing import Any

from .adapter_options import LOCATIONS, AdapterOptions

_TAKEN = frozenset(
    ("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora")
    + ("rank_pattern", "alpha_pattern", "peft_type")
)
_NO_MATTER = frozenset(
    ("task_type", "auto_mapping", "peft_version", "base_model_name_or_path")
    + ("revision", "inference_mode", "runtime_config", "megatron_core", "qalora_group_size")
)
"""What does not change a fresh adapter that is trained."""
STOCK = (
    "For an adapter of peft itself, without a head: peft.get_peft_model(model, config), on a "
    "model that holds no task with adapters."
)


def is_peft_config(value: Any) -> bool:
    """Whether something is a configuration of peft, without importing it."""
    return hasattr(value, "peft_type") and dataclasses.is_dataclass(value)


def options_of(config: Any) -> AdapterOptions:
    """The options in a ``peft.LoraConfig``.

    Parameters
    ----------
    config : peft.PeftConfig
        ``target_modules="all-linear"`` is every linear layer of the transformer.

    Raises
    ------
    ValueError
        Another kind of adapter, or options that a task's adapter does not have: all are named, and
        what to write instead.
    """
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind != "LORA" or type(config).__name__ != "LoraConfig":
        raise ValueError(
            f"A task's adapter is a LoRA: expected a peft.LoraConfig, found {type(config).__name__}"
            f" ({kind}). {STOCK}"
        )
    _check_targets(config.target_modules)
    plain = type(config)()
    known = _TAKEN | _NO_MATTER
    odd = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in known and getattr(config, field.name) != getattr(plain, field.name)
    }
    if odd.pop("use_dora", False):
        raise ValueError(
            "use_dora=True: a task's adapter has no DoRA, since that needs a magnitude for every "
            "output, and rows of other tasks and of the base pass the same layer. Leave it out, or "
            f"take use_rslora=True. {STOCK}"
        )
    if odd:
        named = ", ".join(f"{key}={value!r}" for key, value in odd.items())
        raise ValueError(
            f"LoraConfig: expected r, lora_alpha, lora_dropout, target_modules, use_rslora and "
            f"patterns of ranks, found {named} too, which a task's adapter does not have. {STOCK}"
        )
    fields = {name: getattr(config, name) for name in _TAKEN}
    if fields["target_modules"] == "all-linear":
        fields["target_modules"] = LOCATIONS["both"]
    return AdapterOptions.from_peft({**fields, "peft_type": kind}, "LoraConfig")


def _check_targets(targets: Any) -> None:
    places = [sorted(layers) for layers in LOCATIONS.values() if layers]
    if targets == "all-linear" or (not isinstance(targets, str | None) and targets):
        found = None if isinstance(targets, str) else sorted(map(str, targets))
        if found is None or found in places:
            return
        targets = found
    raise ValueError(
        f"target_modules: expected 'all-linear', or one of {places}, the linear layers of "
        f"attention, of the feed-forward part, or of both; found {targets!r}."
    )
