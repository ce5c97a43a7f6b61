"""What peft's own functions may do to layers that serve several tasks.

peft's functions change the adapters of all layers at once and know nothing of heads, cards and
routes: what they add would never be used, what they delete or merge would change the answers of
tasks without a word. So the layers, and the table of their configurations, refuse what does not
come from this package.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_OPEN: ContextVar[bool] = ContextVar("changes by this package", default=False)

_INSTEAD = {
    "update_layer": "model.add_adapter(name, labels=[...], options=LoraConfig(...))",
    "delete_adapter": "model.delete_adapter(name)",
    "set_adapter": "model.set_adapter(name)",
    "enable_adapters": "model.disable_adapters() or model.enable_adapters()",
    "merge": "model.merge_and_unload(name)",
    "unmerge": "AutoModel.from_pretrained(base): a task is merged for good",
}
"""Methods of peft's layers that change which adapters they have, and what to write instead."""


@contextmanager
def changing_adapters() -> Iterator[None]:
    """This package changes the adapters of layers meanwhile."""
    token = _OPEN.set(True)
    try:
        yield
    finally:
        _OPEN.reset(token)


def _check(method: str) -> None:
    if not _OPEN.get():
        raise ValueError(
            "peft's functions cannot change the adapters of a model that holds tasks: each has a "
            "head and rows of its own, which they do not know. Write instead "
            f"{_INSTEAD[method]}. For peft alone take the base without tasks, such as "
            "PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)."
        )


def guarded(layer: type) -> type:
    """A class of peft's layers whose changing methods work for this package only."""

    def guard(name: str) -> Callable:
        plain = getattr(layer, name)

        @functools.wraps(plain)
        def method(self, *args: Any, **kwargs: Any) -> Any:
            _check(name)
            return plain(self, *args, **kwargs)

        return method

    return type(layer.__name__, (layer,), {name: guard(name) for name in _INSTEAD})


def foreign_layers(model: Any) -> list[str]:
    """Names of adapters that peft itself has put around layers of a model, sorted.

    They are found without importing peft: where it was never imported there are none.
    """
    tuners = sys.modules.get("peft.tuners.tuners_utils")
    if tuners is None:
        return []
    names: set[str] = set()
    for layer in model.modules():
        if isinstance(layer, tuners.BaseTunerLayer) and not getattr(layer, "takes_route", False):
            names |= set(layer._all_available_adapter_names()) or {type(layer).__name__}
    return sorted(names)


class TaskConfigs(dict):
    """``model.peft_config``: peft's configuration of every pair, added to by this package only."""

    def __setitem__(self, name: str, config: Any) -> None:
        _check("update_layer")
        super().__setitem__(name, config)

    def update(self, *args: Any, **kwargs: Any) -> None:
        _check("update_layer")
        super().update(*args, **kwargs)

    def __reduce__(self) -> tuple:
        return TaskConfigs, (dict(self),)
