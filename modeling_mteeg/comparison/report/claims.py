"""The claims of the paper and of this package, each with the differences that it stands on.

A claim is that differences are above a bound: 0 where a row is said to be above another, minus the
margin where it is said to be level. On a task it holds where both 95 % intervals of a difference,
over people and over seeds, are above the bound; it does not hold where both are below; anything
else is not shown, and the reason is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...evaluation import Interval
from .differences import MEAN, Difference, Differences
from .report_plan import AXES, ROLES, ReportPlan, in_list
from .row_scores import Scored

HOLDS, FAILS, OPEN, UNTESTED = "holds", "does not hold", "not shown", "not tested"
THIRD = 0.36
"""Largest ratio that is called a third: the paper's are 0.31 (Base, 1.8 M of 5.8 M) and 0.16."""


@dataclasses.dataclass(frozen=True)
class Tested:
    """A difference, the bound that it is held against, and what follows.

    Parameters
    ----------
    difference : Difference
    bound : float
        The claim is that the difference is above it.
    verdict : str
        One of :data:`HOLDS`, :data:`FAILS`, :data:`OPEN`, :data:`UNTESTED`.
    reason : str
        What keeps it from being shown; empty otherwise.
    """

    difference: Difference
    bound: float
    verdict: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim and its tests.

    Parameters
    ----------
    key : str
        Short name.
    statement : str
    source : str
        Section of the paper, or that it is ours.
    tests : tuple of Tested
        Task by task, and in the mean over tasks.
    by_task : mapping of str to str
        Task to the verdict over all its tests.
    verdict : str
        Over all tasks, without the mean.
    notes : tuple of str
        What was not tested and why, and how rows were chosen.
    counts : mapping of str to int
        Of the claim on parameters: row to trained parameters.
    """

    key: str
    statement: str
    source: str
    tests: tuple[Tested, ...] = ()
    by_task: Mapping[str, str] = dataclasses.field(default_factory=dict)
    verdict: str = UNTESTED
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        fields = dataclasses.asdict(self)
        fields["tests"] = [
            {**dataclasses.asdict(test), "difference": test.difference.to_dict()}
            for test in self.tests
        ]
        return fields


@dataclasses.dataclass(frozen=True)
class _Definition:
    """A claim before it is tested; ``first`` and ``against`` are roles."""

    key: str
    statement: str
    source: str
    first: str
    against: tuple[str, ...]
    level: bool = False  # not lower by more than the margin, on every task
    comparable: bool = False  # the same, on the tasks that the plan calls comparable


_PAPER = "the paper, section 4.3"
_OURS = "this package's question"
_DEFINITIONS = (
    _Definition("joint training costs", "One backbone for all tasks (HPS) is below one LaBraM for "
                "each task, on every task", _PAPER, "single", ("hps",)),
    _Definition("gates do not repair it", "MMoE and CGC are below one LaBraM for each task as "
                "well, on every task", _PAPER, "single", ("mmoe", "cgc")),
    _Definition("above other sharing", "MTEEG is above HPS, MMoE and CGC, on every task", _PAPER,
                "mteeg", ("hps", "mmoe", "cgc"), comparable=True),
    _Definition("level with single-task", "MTEEG is level with one LaBraM for each task", _PAPER,
                "mteeg", ("single",), level=True),
)  # fmt: skip
_OWN_DEFINITIONS = (
    _Definition("above band power", "MTEEG is above band power with logistic regression", _OURS,
                "mteeg", ("band-power",)),
    _Definition("above the frozen base", "MTEEG is above a head on the frozen base", _OURS,
                "mteeg", ("linear-probe",)),
)  # fmt: skip
_BEST = {
    "rank": ("rank 8", "Rank 8 is above every other rank", "8"),
    "location": ("both locations", "Adapters on attention and feed-forward layers are above those "
                 "on either alone", "both"),
    "temporal encoder": ("trained encoder", "A trained temporal encoder is above a frozen one",
                         "trained"),
    "start": ("pre-trained start", "A pre-trained base is above random weights", "pre-trained"),
}  # fmt: skip
"""Of an ablation: name, claim, and the value of the axis that is said to be above the others."""


def relation(interval: Interval, bound: float) -> int | None:
    """1 above the bound, -1 below it, 0 where the interval holds it, None without an interval."""
    if interval.low is None or interval.high is None:
        return None
    return 1 if interval.low > bound else -1 if interval.high < bound else 0


def tested(difference: Difference, bound: float = 0.0) -> Tested:
    """Hold a difference against a bound by both of its intervals."""
    if difference.missing:
        return Tested(difference, bound, UNTESTED, difference.missing)
    sides = {
        "people": (difference.over_people, relation(difference.over_people, bound)),
        "seeds": (difference.seeds.interval, relation(difference.seeds.interval, bound)),
    }
    found = [side for _, side in sides.values()]
    if found == [1, 1] or found == [-1, -1]:
        return Tested(difference, bound, HOLDS if found[0] > 0 else FAILS, "")
    edge = "0" if bound == 0 else f"{bound:g}"
    reasons = []
    for name, (interval, side) in sides.items():
        if side is None:
            reasons.append(f"no interval over {name}: {interval.missing}")
        elif side == 0:
            reasons.append(f"the interval over {name} holds {edge}")
    return Tested(difference, bound, OPEN, "; ".join(reasons) or "people and seeds disagree")


def together(verdicts: Iterable[str]) -> str:
    """Of all: holds where each does, does not where any does not, else not shown.

    A part that was not tested keeps the whole from holding.
    """
    verdicts = set(verdicts)
    if FAILS in verdicts:
        return FAILS
    if verdicts <= {UNTESTED}:
        return UNTESTED
    return HOLDS if verdicts == {HOLDS} else OPEN


def test_claims(scored: Scored, differences: Differences, plan: ReportPlan) -> list[Claim]:
    """Every claim for the plan's rows, and again for those of every variant."""
    claims = []
    for variant, roles in {"": plan.claims, **plan.variants}.items():
        axes = {axis: str(roles.get(axis, axis if not variant else "")) for axis in AXES}
        figures = {axis: plan.figures[name] for axis, name in axes.items() if name in plan.figures}
        tester = _Tester(scored, differences, plan, roles, f" ({variant})" if variant else "")
        claims += [tester.of_definition(definition) for definition in _DEFINITIONS]
        claims.append(tester.parameters())
        claims += [
            tester.ablation(axis, figures.get(axis, {})) for axis in _BEST if axis != "start"
        ]
        claims += [tester.of_definition(definition) for definition in _OWN_DEFINITIONS]
        claims += [tester.scratch(), tester.ablation("start", figures.get("start", {})),
                   *tester.each("adaptive", "adaptive balancing", "fixed fractions of the tasks",
                                "fixed" if "fixed" in roles else "mteeg"),
                   *tester.each("sharing", "ways of sharing", "an own adapter for each task",
                                "mteeg")]  # fmt: skip
    return claims


test_claims.__test__ = False  # no test of pytest's


class _Tester:
    """The claims of one set of roles."""

    def __init__(
        self, scored: Scored, differences: Differences, plan: ReportPlan,
        roles: Mapping[str, Any], suffix: str,
    ) -> None:  # fmt: skip
        self.scored, self.differences, self.plan = scored, differences, plan
        self.roles, self.suffix = roles, suffix
        self._names = {row.name for row in scored.rows}

    def of_definition(self, definition: _Definition) -> Claim:
        first, notes = self._row(definition.first)
        pairs = []
        for role in definition.against:
            second, why = self._row(role)
            notes += why
            if first and second:
                pairs.append((first, second))
        complete = len(pairs) == len(definition.against)
        comparable = self.plan.comparable if definition.comparable else ()
        levels = self.scored.tasks if definition.level else comparable
        statement = definition.statement
        named = [task for task in comparable if task in self.scored.tasks]
        if named:
            statement += f" (level on {', '.join(named)})"
        if levels and pairs:
            notes.append(f"Level: not lower by more than {self.plan.margin:g}.")
        source = definition.source
        return self._claim(definition.key, statement, source, pairs, notes, levels, complete)

    def ablation(self, axis: str, values: Mapping[Any, str]) -> Claim:
        """The claimed value of an axis against each of the others."""
        key, statement, best = _BEST[axis]
        rows = {str(value): row for value, row in values.items()}
        source = _OURS if axis == "start" else "the paper, section 4.4"
        notes = [f"{value}: there is no row {row!r} among the results."
                 for value, row in rows.items() if row not in self._names]  # fmt: skip
        if best not in rows or len(rows) < 2:
            notes = [f"The plan has no figure {axis!r} with the value {best!r} and others."]
            return self._claim(key, statement, source, [], notes)
        there = {value: row for value, row in rows.items() if row in self._names}
        pairs = [(rows[best], row) for value, row in there.items()
                 if value != best and best in there]  # fmt: skip
        complete = len(there) == len(rows)
        return self._claim(key, statement, source, pairs, notes, complete=complete)

    def scratch(self) -> Claim:
        """MTEEG against the model from random weights that reached most, task by task."""
        key, statement = "above from scratch", "MTEEG is above the best model trained from scratch"
        first, notes = self._row("mteeg")
        rows, why = self._rows("scratch")
        notes += why
        complete = not why
        tests, mean_of = [], {}
        for task in self.scored.tasks if first else ():
            reached = {row: self._mean(row, task) for row in rows}
            reached = {row: value for row, value in reached.items() if value is not None}
            if reached:
                best = max(reached, key=reached.__getitem__)
                tests.append(tested(self.differences.on_task(first, best, task, self.plan.metric)))
        if first and rows:
            means = [self.differences.in_the_mean(first, row, self.plan.metric) for row in rows]
            most = max(len(mean.tasks) for mean in means)
            mean_of = [mean for mean in means if most and len(mean.tasks) == most]
        if mean_of:
            tests.append(tested(min(mean_of, key=lambda mean: mean.value)))
            notes.append("The best is chosen by its test value, task by task, which makes the "
                         f"claim harder; of {', '.join(rows)}.")  # fmt: skip
        return self._made(key, statement, _OURS, tests, notes, complete)

    def each(self, role: str, key: str, other: str, against: str) -> list[Claim]:
        """A claim for every row of a role, that it is above one row."""
        second, notes = self._row(against)
        rows, why = self._rows(role)
        if not rows:
            return [self._claim(key, f"{ROLES[role].capitalize()} are above {other}", _OURS, [],
                                notes + why)]  # fmt: skip
        return [
            self._claim(f"{key}: {row}", f"{row} is above {other}", _OURS,
                        [(row, second)] if second else [], notes)
            for row in rows
        ]  # fmt: skip

    def parameters(self) -> Claim:
        """Trained parameters of MTEEG for all tasks beside those of one LaBraM."""
        key, source = "a third of the parameters", _PAPER
        statement = "MTEEG trains, for all tasks, a third of what one LaBraM has"
        counts, notes = {}, []
        for role in ("mteeg", "single"):
            row, why = self._row(role)
            notes += why
            found = trained_parameters(self.scored, row) if row else None
            if row and found is None:
                notes.append(f"{row}: its results do not say how many parameters were trained.")
            if found is not None:
                counts[row] = found
        verdict = UNTESTED
        if len(counts) == 2:
            ours, other = counts.values()
            verdict = HOLDS if ours <= THIRD * other else FAILS
            tasks = len(self.scored.tasks)
            notes.append(
                f"{ours:,} against {other:,}: {ours / other:.2f} of one LaBraM, and "
                f"{ours / other / tasks:.3f} of {tasks} LaBraMs, one for each task. A count, no "
                f"test; up to {THIRD:g} is called a third."
            )
        return Claim(key, statement + self.suffix, source, (), {}, verdict, tuple(notes), counts)

    def _claim(
        self, key: str, statement: str, source: str, pairs: Sequence[tuple[str, str]],
        notes: Sequence[str], levels: Sequence[str] = (), complete: bool = True,
    ) -> Claim:  # fmt: skip
        """Tests of pairs of rows on every task and in the mean; ``levels``: tasks of the margin."""
        tests = []
        for first, second in pairs:
            for task in self.scored.tasks:
                bound = -self.plan.margin if task in levels else 0.0
                difference = self.differences.on_task(first, second, task, self.plan.metric)
                tests.append(tested(difference, bound))
            everywhere = bool(levels) and set(self.scored.tasks) <= set(levels)
            mean = self.differences.in_the_mean(first, second, self.plan.metric)
            tests.append(tested(mean, -self.plan.margin if everywhere else 0.0))
        return self._made(key, statement, source, tests, notes, complete)

    def _made(
        self, key: str, statement: str, source: str, tests: Sequence[Tested],
        notes: Sequence[str], complete: bool,
    ) -> Claim:  # fmt: skip
        """``complete``: all rows that the claim is about are there, without which none holds."""
        by_task = {
            task: together(test.verdict for test in tests if test.difference.task == task)
            for task in self.scored.tasks
        }
        by_task = {task: verdict for task, verdict in by_task.items() if tests}
        verdict = together([*by_task.values(), *([] if complete else [UNTESTED])])
        return Claim(key, statement + self.suffix, source, tuple(tests), by_task, verdict,
                     tuple(notes))  # fmt: skip

    def _row(self, role: str) -> tuple[str, list[str]]:
        """The row of a role, or empty and why."""
        rows, notes = self._rows(role)
        return (rows[0] if rows else ""), notes

    def _rows(self, role: str) -> tuple[list[str], list[str]]:
        named = in_list(self.roles.get(role, ()))
        if not named:
            return [], [f"The plan names no row as {role}."]
        missing = [f"{role}: there is no row {row!r} among the results."
                   for row in named if row not in self._names]  # fmt: skip
        return [row for row in named if row in self._names], missing

    def _mean(self, row: str, task: str) -> float | None:
        scores = self.scored.scores.get((row, task))
        if scores is None or self.plan.metric not in scores.by_fold:
            return None
        value = scores.mean(self.plan.metric)
        return None if value != value or (row, task) in self.scored.other_windows else value


def trained_parameters(scored: Scored, name: str) -> int | None:
    """Trained parameters of a row: of the largest of its models, where each task has its own."""
    row = next(row for row in scored.rows if row.name == name)
    return parameter_count(scored.facts(row), "trained")


def parameter_count(facts: Iterable[Mapping[str, Any]], which: str) -> int | None:
    """``total``, ``trained`` or ``run`` of trainings, the largest; None where none tells it."""
    counts = [(each.get("parameters") or {}).get(which) for each in facts]
    counts = [count for count in counts if isinstance(count, (int, float))]
    return int(max(counts)) if counts else None


def means_of(claim: Claim) -> Iterator[Tested]:
    """The tests in the mean over tasks."""
    yield from (test for test in claim.tests if test.difference.task == MEAN)
