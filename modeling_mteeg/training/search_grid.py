"""What a search may vary: short names of keys, and the values that are tried by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..settings.schema import nearest

SHORT_NAMES = {
    "lr": "optimization.lr",
    "epochs": "optimization.epochs",
    "batch-size": "optimization.batch_size",
    "weight-decay": "optimization.weight_decay",
    "layer-decay": "optimization.layer_decay",
    "head": "head.kind",
    "rank": "adapter.rank",
}
GRID: dict[str, tuple[Any, ...]] = {
    "lr": (2e-4, 1e-3, 5e-3),
    "epochs": (10, 30),
    "weight-decay": (0.0, 0.05),
    "layer-decay": (0.65, 1.0),
    "head": ("mean", "channels", "attention"),
    "rank": (4, 8),
}


def asked_grid(names: Sequence[str], given: Any) -> dict[str, Any]:
    """The grid of ``--search lr,head``: the file's values where it has some, else :data:`GRID`.

    A name that has neither gets an empty list, which is a fault of the configuration.
    """
    given = given if isinstance(given, Mapping) else {}
    return {name: given.get(name, list(GRID.get(name, ()))) for name in names}


def grid_faults(search: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """What is wrong with a ``search`` section by itself, in sentences."""
    for name, values in search.items():
        if "." not in name and name not in SHORT_NAMES:
            near = nearest(name, SHORT_NAMES)
            yield f"search.{name}: expected a dotted key or a short name{near}"
        elif not values:
            yield f"search.{name}: expected a list of values to try, found none"
        elif len({str(value) for value in values}) < len(values):
            yield f"search.{name}: a value stands there twice: {list(values)}"
        elif SHORT_NAMES.get(name, name).startswith(("data.", "seeds", "monitor", "search")):
            yield f"search.{name}: tries must have the same windows and the same metric"
