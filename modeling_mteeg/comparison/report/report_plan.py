"""What a comparison's report draws and which rows its claims are about, from its YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Self

from ...evaluation.metrics import METRICS
from ...settings.schema import ConfigError, nearest, read_section, setting

ROLES = {
    "mteeg": "a low-rank adapter for each task, a shared temporal encoder",
    "hps": "one backbone for all tasks",
    "mmoe": "shared experts with a gate for each task",
    "cgc": "shared and own experts with a gate for each task",
    "single": "one LaBraM for each task, trained whole",
    "band-power": "band power and logistic regression",
    "linear-probe": "a head on the frozen base",
    "scratch": "models of one task trained from random weights",
    "adaptive": "rules that follow each task's progress",
    "fixed": "fixed fractions of the tasks",
    "sharing": "other ways of sharing adapters",
}
"""What the rows that claims are about are, by their role in ``claims``."""
AXES = ("rank", "location", "temporal encoder", "start")
"""Names of ``figures`` that claims are about."""
_SEVERAL = ("scratch", "adaptive", "sharing")


@dataclasses.dataclass(frozen=True)
class ReportPlan:
    """The section ``report`` of a comparison's YAML; all of it may be left out.

    Parameters
    ----------
    tasks : tuple of str
        Order of the tasks, two a table. Empty: as the rows have them.
    metric : str
        What claims, the radar and the mean over tasks are of: one that every task has.
    margin : float
        How much lower a row may be and still count as level with another.
    comparable : tuple of str
        Tasks on which the paper calls MTEEG comparable with, not above, the sharing methods.
    figures : mapping of str to mapping of str to str
        Title of an ablation to the values of its axis, each with its row. Those called ``rank``,
        ``location``, ``temporal encoder`` and ``start`` are also tested.
    radar : tuple of str
        Rows of the radar picture. Empty: those of multi-task methods, and the claims' ``single``.
    claims : mapping of str to str or list of str
        Role (see ``ROLES``) to its row or, of ``scratch``, ``adaptive`` and ``sharing``, rows.
        A claim with a role that is not there is listed as not tested.
    variants : mapping of str to mapping
        Name, such as ``Large``, to such a mapping, whose claims are tested as well; there
        ``rank``, ``location``, ``temporal encoder`` and ``start`` name one of ``figures``.
    """

    tasks: tuple[str, ...] = ()
    metric: str = setting("balanced_accuracy")
    margin: float = setting(0.02, "> 0, < 1")
    comparable: tuple[str, ...] = ("seed-v",)
    figures: dict[str, dict[Any, str]] = setting({})
    radar: tuple[str, ...] = ()
    claims: dict[str, Any] = setting({})
    variants: dict[str, dict[str, Any]] = setting({})

    def __post_init__(self) -> None:
        faults = []
        if self.metric not in METRICS:
            faults.append(f"metric: expected one of {', '.join(METRICS)}, found {self.metric!r}"
                          f"{nearest(self.metric, METRICS)}")  # fmt: skip
        for where, roles in {"claims": self.claims, **self.variants}.items():
            faults += _faults_of(where, roles, self.figures, is_variant=where in self.variants)
        if faults:
            raise ValueError("; ".join(faults))

    @classmethod
    def read(cls, tree: Mapping[str, Any], where: str = "report") -> Self:
        """Check a plain mapping and make the plan of it.

        Raises
        ------
        ConfigError
            Unknown keys, roles or metrics, wrong types: all of them in one error.
        """
        faults: list[str] = []
        plan = read_section(cls, tree, where, faults)
        if faults:
            raise ConfigError(where, faults)
        return plan

    def rows(self) -> dict[str, list[str]]:
        """Names of rows by the dotted key that names them, for a check against what there is."""
        named = {"report.radar": list(self.radar)}
        for axis, values in self.figures.items():
            named[f"report.figures.{axis}"] = list(values.values())
        for where, roles in {"claims": self.claims, **self.variants}.items():
            for role, rows in roles.items():
                if role in ROLES:
                    named[f"report.{where}.{role}"] = in_list(rows)
        return named

    def check_rows(self, known: Iterable[str], faults: list[str]) -> None:
        """Note names of rows that are not among ``known``, with the nearest."""
        known = list(known)
        for where, names in self.rows().items():
            for name in names:
                if name not in known:
                    faults.append(f"{where}: there is no row {name!r}{nearest(name, known)}")


def in_list(rows: str | Iterable[str]) -> list[str]:
    """One name or several as a list."""
    return [rows] if isinstance(rows, str) else list(rows)


def _faults_of(
    where: str, roles: Mapping[str, Any], figures: Mapping[str, Any], is_variant: bool
) -> list[str]:
    faults, known = [], (*ROLES, *AXES) if is_variant else tuple(ROLES)
    for role, rows in roles.items():
        if role not in known:
            faults.append(f"{where}.{role}: unknown role{nearest(role, known)}")
        elif role in AXES and rows not in figures:
            faults.append(f"{where}.{role}: expected the name of a figure, found {rows!r}"
                          f"{nearest(rows, map(str, figures))}")  # fmt: skip
        elif role in _SEVERAL and not isinstance(rows, (str, list, tuple)):
            faults.append(f"{where}.{role}: expected a row or a list of rows, found {rows!r}")
        elif role not in _SEVERAL and not isinstance(rows, str):
            faults.append(f"{where}.{role}: expected the name of a row, found {rows!r}")
    return faults
