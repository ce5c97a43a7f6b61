"""The YAML file of a comparison: what all rows have in common, and every row in a few lines.

```yaml
common: {...}          # keys of a joint training (JointConfig): data, model, optimization ...
tune: {grid: {lr: [x0.3, x1, x3]}, seed: 100, set: {optimization.epochs: 5}}
rows:
  - {name: MTEEG, method: mteeg}
  - {name: rank 4, group: ablation, method: mteeg, set: {adapter.rank: 4}}
  - {name: BIOT, group: single-task, config: biot.yaml, separate: true}
report: {...}          # figures and claims
```
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..settings.config_file import SavedConfig
from ..settings.schema import setting
from .row_results import GROUPS

OF_ALL_ROWS = (
    "data", "seeds", "monitor", "metrics", "threshold", "output", "tracker", "num_processes",
    "mixed_precision", "checkpoint", "floor", "search", "into_base", "replace_tasks",
)  # fmt: skip
"""Sections that a row cannot change: the same windows, metrics and seeds for every one."""
OF_ONE_ROW = ("method", "method_options")
NOT_HERE = {
    "floor": "floors are rows here: band-power, linear-probe",
    "search": "use tune, which no final seed takes part in",
    "into_base": "a row leaves no task for a base",
    "replace_tasks": "a row leaves no task for a base",
    "tracker": "every row leaves a history.json",
    "output": "use output beside common",
}
_BY_TASK = (
    "sampling", "monitor", "metrics", "heads", "data.labels", "optimization.task_weights",
    "optimization.class_weights",
)  # fmt: skip
NOTE = "comparison.yaml"
"""In the output folder: the plan of whoever began last."""


@dataclasses.dataclass(frozen=True)
class RowOptions:
    """A row as it stands in the file.

    ``config`` is a YAML file of a joint training, beside this one, whose keys come between
    ``common`` and the row's own ``set`` (data, seeds and what else belongs to all rows excepted).
    ``separate``: a training, and so a model, for every task. ``grid`` is tried in place of
    ``tune.grid``. ``tuned: false``: nothing is tried, as of an ablation, which changes one thing.
    """

    name: str = setting("")
    group: str = setting(GROUPS[0], "|".join(GROUPS))
    method: str | None = setting(None)
    config: str | None = setting(None)
    set: dict[str, Any] = setting({})
    separate: bool = setting(False)
    seeds: tuple[int, ...] | None = setting(None, ">= 0")
    grid: dict[str, tuple[Any, ...]] = setting({})
    tuned: bool = setting(True)


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """What every row chooses on validation, with a seed that no final training has.

    A value ``x0.3`` is that many times the row's own. ``set`` is put over a try's configuration.
    """

    grid: dict[str, tuple[Any, ...]] = setting({})
    seed: int = setting(100, ">= 0")
    set: dict[str, Any] = setting({})


@dataclasses.dataclass(frozen=True)
class ComparisonConfig(SavedConfig):
    """The file; ``report`` belongs to what makes tables and figures."""

    common: dict[str, Any] = setting({})
    rows: tuple[RowOptions, ...] = setting(())
    tune: TuneOptions = dataclasses.field(default_factory=TuneOptions)
    keep_models: bool = setting(True)
    report: dict[str, Any] = setting({})
    output: str = setting("outputs/comparison")

    def check_together(self, faults: list[str]) -> None:
        """Names: there, not twice, and folders of their own."""
        if not self.rows:
            faults.append("rows: expected at least one, found none")
        seen: dict[str, str] = {}
        for number, row in enumerate(self.rows):
            folder = folder_name(row.name)
            if not folder.strip("_."):
                faults.append(f"rows[{number}].name: expected a name, found {row.name!r}")
            elif folder.lower() in seen:
                faults.append(f"rows[{number}].name: {row.name!r} has the same folder as "
                              f"{seen[folder.lower()]!r}")  # fmt: skip
            seen.setdefault(folder.lower(), row.name)


def folder_name(name: str) -> str:
    """Of a row: what no folder's name can hold is replaced."""
    return "".join(c if c.isalnum() or c in "=,.-+_" else "_" for c in name)


def of_tasks(tree: Mapping[str, Any], kept: Callable[[str], bool]) -> dict[str, Any]:
    """Keys of a joint training without what they say by name of tasks that are not ``kept``."""
    tree = dict(tree)
    for where in _BY_TASK:
        section, _, key = where.partition(".")
        if key and isinstance(tree.get(section), Mapping):
            tree[section] = dict(tree[section])
        place, name = (tree.get(section), key) if key else (tree, section)
        if isinstance(place, Mapping) and isinstance(place.get(name), Mapping):
            place[name] = {task: said for task, said in place[name].items() if kept(task)}
    return tree
