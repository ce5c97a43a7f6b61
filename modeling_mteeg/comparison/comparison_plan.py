"""A comparison whose rows have been checked: common keys, a row's file, what it says itself."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..methods import METHODS, FittedMethod, Method
from ..settings.config_file import flatten, put_over, read_tree
from ..settings.schema import ConfigError, nearest
from ..training.joint_config import JointConfig, foreign_sections
from ..training.search import all_tries, budget_of
from ..training.search_grid import SHORT_NAMES, grid_faults
from .comparison_config import (
    NOT_HERE,
    OF_ALL_ROWS,
    OF_ONE_ROW,
    ComparisonConfig,
    RowOptions,
    TuneOptions,
    folder_name,
    of_tasks,
)
from .report import ReportPlan

_FACTOR = re.compile(r"x(\d+(?:\.\d+)?(?:e-?\d+)?)")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row whose configuration has been checked.

    Parameters
    ----------
    options : RowOptions
    place : int
        In the file, from 0.
    config : JointConfig
        Of all tasks; ``output`` is the row's folder.
    tries : JointConfig or None
        The same with the grid as its ``search`` and the seed of the tries; None: nothing is tried.
    tasks : tuple of str
        In the comparison's order.
    """

    options: RowOptions
    place: int
    config: JointConfig
    tries: JointConfig | None

    @property
    def name(self) -> str:
        return self.options.name

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.config.data.tasks

    @property
    def folder(self) -> Path:
        return Path(self.config.output)

    def to_dict(self) -> dict[str, Any]:
        """The row as it stands in the file, without what it leaves open."""
        return {k: v for k, v in dataclasses.asdict(self.options).items() if v not in (None, {})}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A comparison whose rows have all been checked.

    Parameters
    ----------
    config : ComparisonConfig
    rows : tuple of Row
    report : ReportPlan
        What the tables, figures and claims are of.
    left_out : dict of str to str
        Names of other rows of the file to why they cannot be here: a package is not installed.
    """

    config: ComparisonConfig
    rows: tuple[Row, ...]
    report: ReportPlan
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def output(self) -> Path:
        return Path(self.config.output)

    @property
    def first(self) -> JointConfig:
        """Any row's configuration: data, split and how it runs are the same in all."""
        return self.rows[0].config

    def chosen(self, names: Sequence[str] | None, option: str = "--only") -> tuple[Row, ...]:
        """The rows of these names, in the file's order; all without any.

        Raises
        ------
        ValueError
            There is no such row.
        """
        for name in names or ():
            if name in self.left_out:
                raise ValueError(f"{option}: row {name!r}: {self.left_out[name]}")
        known = [row.name for row in self.rows]
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise ValueError(
                f"{option}: there is no row "
                + ", ".join(f"{name!r}{nearest(name, known)}" for name in unknown)
            )
        return tuple(row for row in self.rows if not names or row.name in names)


def load_plan(path: Path, over_common: Mapping[str, Any], output: str | None = None) -> Plan:
    """Read and check a comparison.

    Parameters
    ----------
    path : Path
    over_common : mapping
        Dotted keys that are put over ``common``; what a row says itself stands.
    output : str, optional
        In place of the file's.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ConfigError
        All faults of all rows.
    """
    config = ComparisonConfig.load(path, {"output": output} if output else None)
    config = dataclasses.replace(config, common=_over(config.common, over_common))
    faults = list(_common_faults(config))
    rows, left_out = [], {}
    for place, options in enumerate(config.rows):
        reason = _not_installed(options)
        if reason:
            left_out[options.name] = reason
            continue
        own: list[str] = []
        row = _row(config, options, place, path.parent, own)
        faults += [f"row {options.name!r}: {fault}" for fault in own]
        rows.append(row)
    report = _report(config, faults)
    if not rows and not faults:
        faults += [f"row {name!r}: {reason}" for name, reason in left_out.items()]
    faults = _told_once(faults, len(rows))
    if not faults:
        faults += _budget_faults([row for row in rows if row.tries])
    if faults:
        raise ConfigError(str(path), faults)
    return Plan(config, tuple(rows), report, left_out)


def _over(common: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """``common`` with dotted keys over it; what it says of tasks that these leave out is gone."""
    data = common.get("data")
    tasks, chosen = data.get("tasks") if isinstance(data, Mapping) else None, keys.get("data.tasks")
    gone = set(map(str, tasks or ())) - set(chosen) if chosen else set()
    return put_over(of_tasks(common, lambda task: task not in gone), keys, "common")


def _report(config: ComparisonConfig, faults: list[str]) -> ReportPlan:
    try:
        report = ReportPlan.read(config.report)
    except ConfigError as error:
        faults += error.faults
        return ReportPlan()
    report.check_rows([row.name for row in config.rows], faults)
    return report


def _told_once(faults: Sequence[str], rows: int) -> list[str]:
    """A fault that every row has is one of ``common``."""
    texts = [re.sub(r"^row '.*?': ", "", fault) for fault in faults]
    told: list[str] = []
    for fault, text in zip(faults, texts, strict=True):
        everywhere = rows > 1 and texts.count(text) == rows
        line = f"common: {text}" if everywhere and text != fault else fault
        if line not in told:
            told.append(line)
    return told


def _common_faults(config: ComparisonConfig) -> Iterator[str]:
    common = config.common
    for key in OF_ONE_ROW:
        if key in common:
            yield f"common.{key}: belongs to a row"
    for key, remedy in NOT_HERE.items():
        if common.get(key) not in (None, False, "none", {}):
            yield f"common.{key}: {remedy}"
    data = common.get("data")
    if isinstance(data, Mapping) and data.get("fold") is not None:
        yield "common.data.fold: a comparison runs all folds; leave it out"
    yield from (f"tune.grid: {fault}" for fault in grid_faults(config.tune.grid))
    for section in ("data", "seeds", "output", "monitor", "metrics"):
        for key in config.tune.set:
            if key.partition(".")[0] == section:
                yield f"tune.set.{key}: tries must have the same windows and the same metric"


def _row(
    config: ComparisonConfig,
    options: RowOptions,
    place: int,
    beside: Path,
    faults: list[str],
) -> Row | None:
    """A row's configuration, or None after noting what is wrong with it."""
    own = _own_file(options, beside, faults)
    method = options.method or own.pop("method", None)
    if method is None:
        faults.append("expected a method, found none")
        return None
    own.pop("method", None)
    if method not in METHODS:
        faults.append(_unknown(method))
        return None
    for key in options.set:
        if key.partition(".")[0] in (*OF_ALL_ROWS, "method"):
            faults.append(f"set.{key}: belongs to common, since it is the same for every row")
    mine = {
        **options.set, "method": method,
        "output": str(Path(config.output) / "rows" / folder_name(options.name)),
        **({"seeds": list(options.seeds)} if options.seeds else {}),
    }  # fmt: skip
    checked = _checked(config.common, own, mine, faults)
    if checked is None:
        return None
    if config.tune.seed in checked.seeds and (options.grid or config.tune.grid):
        faults.append(f"tune.seed: expected one that is not among the final seeds "
                      f"{list(checked.seeds)}, found {config.tune.seed}")  # fmt: skip
    try:
        tries = _tries(config.tune, options, checked)
        if tries is not None:
            all_tries(tries, config.tune.seed, Path(tries.output))
    except ConfigError as error:
        faults += [f"tune: {fault}" for fault in error.faults]
        return None
    return Row(options, place, checked, tries)


def _not_installed(options: RowOptions) -> str | None:
    """Why the model of another package, such as ``braindecode:EEGNet``, cannot be here."""
    package, colon, _ = (options.method or "").partition(":")
    if not colon or package not in Method.families:
        return None
    fault = import_fault(package) or Method.families[package].incomplete()
    remedy = f"pip install 'modeling-mteeg[{package}]'"
    return fault and f"{package} is not installed, or not completely ({fault}): {remedy}"


@functools.cache  # a second import of what failed halfway may seem to succeed
def import_fault(package: str) -> str | None:
    """Why a package cannot be imported; None: it can."""
    try:
        importlib.import_module(package)
    except (ImportError, OSError) as error:
        return str(error)
    return None


def _unknown(method: str) -> str:
    """What is said of a method that there is not."""
    try:
        JointConfig.build({"method": method, "model": {"preset": "tiny"}, "data": {"folder": "."}})
    except ConfigError as error:
        return error.faults[0]
    raise ValueError(f"{method!r} is a method of METHODS after all")


def _checked(
    common: Mapping[str, Any], own: Mapping[str, Any], mine: Mapping[str, Any], faults: list[str]
) -> JointConfig | None:
    """A row's configuration; sections of ``common`` that its method refuses do not reach it."""
    foreign = foreign_sections(METHODS[mine["method"]])
    left = {key: value for key, value in common.items() if key not in foreign}
    for tree in (common, left):
        try:
            return JointConfig.build(put_over(_merged(tree, own), mine, "row"))
        except ConfigError as error:
            found = error.faults
    faults += found
    return None


def _own_file(options: RowOptions, beside: Path, faults: list[str]) -> dict[str, Any]:
    """What a row's ``config`` file says, without what belongs to all rows."""
    if options.config is None:
        return {}
    try:
        tree, twice = read_tree(beside / options.config)
    except (FileNotFoundError, ConfigError) as error:
        faults.append(f"config: {error}")
        return {}
    faults += [f"{options.config}: {fault}" for fault in twice]
    tree = tree if isinstance(tree, dict) else {}
    return {key: value for key, value in tree.items() if key not in OF_ALL_ROWS}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` put over ``below``, section by section; a start replaces another start."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            low = dict(merged[key])
            if key == "model" and ({"preset", "base"} & value.keys()):
                low = {k: v for k, v in low.items() if k not in ("preset", "base")}
            merged[key] = _merged(low, value)
        else:
            merged[key] = value
    return merged


def _tries(tune: TuneOptions, options: RowOptions, config: JointConfig) -> JointConfig | None:
    """The configuration of a row's tries, with its grid as ``search``."""
    grid = options.grid or tune.grid
    fitted = issubclass(METHODS[config.method], FittedMethod)  # it tries its own settings
    if fitted or not grid or not options.tuned:
        return None
    flat = flatten(config.to_dict())
    values: dict[str, list[Any]] = {}
    for name, asked in grid.items():
        mine = flat.get(SHORT_NAMES.get(name, name))
        values[name] = [_times(name, value, mine) for value in asked]
    changes = {**tune.set, "search": values, "seeds": [tune.seed]}
    return JointConfig.build(config.to_dict(), changes, "tune")


def _times(name: str, value: Any, mine: Any) -> Any:
    """``x0.3`` as that many times the row's own value."""
    match = _FACTOR.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return value
    if isinstance(mine, bool) or not isinstance(mine, (int, float)):
        raise ConfigError("tune", [f"grid.{name}: {value} of what is no number: {mine!r}"])
    product = float(f"{float(match[1]) * mine:.4g}")
    return round(product) if isinstance(mine, int) else product


def _budget_faults(rows: Sequence[Row]) -> Iterator[str]:
    """Rows that would get other budgets for their tries than most."""
    budgets = {
        row.name: budget_of(all_tries(row.tries, row.tries.seeds[0], row.folder))["tries"]
        for row in rows
    }
    if len(set(budgets.values())) > 1:
        shown = ", ".join(f"{name}: {number}" for name, number in budgets.items())
        yield f"tune: expected the same number of tries for every row, found {shown}"
