"""Differences of two rows: paired over seeds, and with an interval over people.

Two kinds of chance lie in a difference. Another seed gives other weights: a paired t interval over
the seeds. Other people give other windows: people are drawn with all their windows, the same draws
for both rows (:class:`~modeling_mteeg.evaluation.PeopleBootstrap`), in every fold its own people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluation import Interval, PeopleBootstrap
from ...evaluation.intervals import LEVEL
from ...evaluation.weighted_people import weighted_values
from .row_scores import POOLED, Scored, TaskScores, inputs_of

MEAN = "mean over tasks"
"""In place of a task's name."""
_SAME = 1e-12
"""Differences that are nearer are equal but for rounding."""


@dataclasses.dataclass(frozen=True)
class SeedTest:
    """A paired t interval over seeds.

    Parameters
    ----------
    differences : tuple of float
        One a seed.
    interval : Interval
    p : float or None
        Two-sided, of no difference.
    note : str
        How seeds were paired, where it is not one by one.
    seeds : tuple of int
        Which they are.
    """

    differences: tuple[float, ...]
    interval: Interval
    p: float | None = None
    note: str = ""
    seeds: tuple[int, ...] = ()

    @property
    def above(self) -> int:
        """Seeds in which the first row is above."""
        return sum(value > 0 for value in self.differences)


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first row less the second, in one metric on one task or in the mean over tasks.

    Parameters
    ----------
    first, second : str
        Rows.
    task : str
        :data:`MEAN` for the mean over tasks.
    metric : str
    value : float
        Of the means over the paired seeds; NaN where there is none.
    seeds : SeedTest
    people : int
        Of a mean, of all its tasks.
    windows : int
    over_people : Interval
    missing : str
        Why there is no difference at all.
    tasks, left_out : tuple of str
        Of a mean: the tasks that it is over, and those that both rows have and that have no
        interval over people.
    """

    first: str
    second: str
    task: str
    metric: str
    value: float
    seeds: SeedTest
    people: int
    windows: int
    over_people: Interval
    missing: str = ""
    tasks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        fields = dataclasses.asdict(self)
        fields["seeds"]["interval"] = self.seeds.interval.to_dict()
        fields["over_people"] = self.over_people.to_dict()
        return fields


def paired_t(differences: Sequence[float], note: str = "") -> SeedTest:
    """Student's interval of the mean of paired differences, 95 %, n - 1 degrees of freedom.

    Notes
    -----
    Where all seeds differ by the same, which few windows make likely, there is no interval: it
    would have no width, and say more than some seeds can. No difference in any seed is one of 0.
    """
    from scipy.stats import t as student

    values = np.asarray(differences, float)
    kept = tuple(map(float, values))
    if not len(values) or not np.isfinite(values).all():
        return SeedTest(kept, Interval(missing="it is undefined"), None, note)
    if len(values) < 2:
        return SeedTest(kept, Interval(missing="one seed"), None, note)
    if np.ptp(values) < _SAME:
        if np.abs(values).max() < _SAME:
            return SeedTest(kept, Interval(0.0, 0.0), 1.0, note)
        return SeedTest(kept, Interval(missing="the same difference in all seeds"), None, note)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(student.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    p = float(2 * student.sf(abs(mean) / error, len(values) - 1))
    return SeedTest(kept, Interval(mean - half, mean + half), p, note)


class Differences:
    """All differences that are asked for, each resampled metric computed once.

    Parameters
    ----------
    scored : Scored
    """

    def __init__(self, scored: Scored) -> None:
        self.scored = scored
        self._bootstraps: dict[str, tuple[PeopleBootstrap, np.ndarray]] = {}
        self._resampled: dict[tuple[str, str, str, int], np.ndarray] = {}

    def interval(self, scores: TaskScores, metric: str) -> Interval:
        """Over people, of the mean over a row's seeds."""
        if (scores.row, scores.task) in self.scored.other_windows:
            return Interval(missing="other test windows than the first row")
        bootstrap, _ = self._people(scores.task)
        values = [self._values(scores, metric, number) for number in range(len(scores.seeds))]
        return bootstrap.interval(np.mean(values, 0))

    def on_task(self, first: str, second: str, task: str, metric: str) -> Difference:
        """On one task."""
        found = self._pair(first, second, task, metric)
        if isinstance(found, str):
            nothing = SeedTest((), Interval(missing=found))
            return Difference(first, second, task, metric, float("nan"), nothing, 0, 0,
                              Interval(missing=found), found)  # fmt: skip
        scores, test, resampled = found
        bootstrap, _ = self._people(task)
        return Difference(
            first, second, task, metric, float(np.mean(test.differences)), test,
            scores.people, scores.windows, bootstrap.interval(resampled),
        )  # fmt: skip

    def in_the_mean(
        self, first: str, second: str, metric: str, tasks: Sequence[str] = ()
    ) -> Difference:
        """In the mean over the tasks that both rows have.

        Notes
        -----
        People of every task are drawn by themselves. Tasks without an interval over people (fewer
        than five people) are left out, so that both tests are of one number; where no task has
        one, the mean is over all and has no such interval either.
        """
        found = {}
        for task in tasks or self.scored.tasks:
            pair = self._pair(first, second, task, metric)
            if not isinstance(pair, str) and np.isfinite(pair[1].differences).all():
                found[task] = pair
        if not found:
            why = "no task that both rows have"
            nothing = SeedTest((), Interval(missing=why))
            return Difference(first, second, MEAN, metric, float("nan"), nothing, 0, 0,
                              Interval(missing=why), why)  # fmt: skip
        drawn = {task: pair[2] for task, pair in found.items() if self._has_interval(task, pair[2])}
        left_out = tuple(task for task in found if task not in drawn) if drawn else ()
        found = {task: pair for task, pair in found.items() if task not in left_out}
        value = float(np.mean([np.mean(test.differences) for _, test, _ in found.values()]))
        return Difference(
            first, second, MEAN, metric, value, self._seeds_of_mean(found),
            sum(scores.people for scores, _, _ in found.values()),
            sum(scores.windows for scores, _, _ in found.values()),
            self._interval_of_mean(drawn), "", tuple(found), left_out,
        )  # fmt: skip

    def _has_interval(self, task: str, resampled: np.ndarray) -> bool:
        return self._people(task)[0].interval(resampled).low is not None

    @staticmethod
    def _seeds_of_mean(found: dict[str, Any]) -> SeedTest:
        """Seed by seed the mean over the tasks; a test only where all tasks have the same seeds."""
        tests = [test for _, test, _ in found.values()]
        if len({(test.seeds, test.note) for test in tests}) > 1:
            return SeedTest((), Interval(missing="the tasks have different seeds"))
        mean = paired_t(np.mean([test.differences for test in tests], 0), tests[0].note)
        return dataclasses.replace(mean, seeds=tests[0].seeds)

    def _interval_of_mean(self, drawn: dict[str, np.ndarray]) -> Interval:
        if not drawn:
            return Interval(missing="no task has an interval over people")
        length, mixed = min(map(len, drawn.values())), []
        for number, task in enumerate(self.scored.tasks):
            if task in drawn:  # draws of two tasks in one order would not be independent
                order = np.random.default_rng([1, number]).permutation(len(drawn[task]))
                mixed.append(drawn[task][order][:length])
        tail = 50 * (1 - LEVEL)
        low, high = np.percentile(np.mean(mixed, 0), [tail, 100 - tail])
        return Interval(float(low), float(high))

    def _pair(
        self, first: str, second: str, task: str, metric: str
    ) -> str | tuple[TaskScores, SeedTest, np.ndarray]:
        """The paired seeds and the resampled differences, or why there are none."""
        both = []
        for row in (first, second):
            scores = self.scored.scores.get((row, task))
            if scores is None:
                return f"{row}: {self.scored.gaps.get((row, task), 'no such row')}"
            if (row, task) in self.scored.other_windows:
                return f"{row} was tested on other windows"
            if metric not in scores.by_fold:
                return f"{row} was not judged by {metric}"
            both.append(scores)
        numbers = _paired_seeds(*both)
        if isinstance(numbers, str):
            return numbers
        pairs, note = numbers
        values = [scores.by_seed(metric) for scores in both]
        test = paired_t([values[0][one] - values[1][other] for one, other in pairs], note)
        longer = max(both, key=lambda scores: len(scores.seeds))  # not a floor's one fit
        place = both.index(longer)
        seeds = tuple(longer.seeds[pair[place]] for pair in pairs)
        test = dataclasses.replace(test, seeds=seeds)
        resampled = np.mean(
            [self._values(both[0], metric, one) - self._values(both[1], metric, other)
             for one, other in pairs], 0,
        )  # fmt: skip
        return both[0], test, resampled

    def _people(self, task: str) -> tuple[PeopleBootstrap, np.ndarray]:
        """The draws of a task's people, the same for all rows, and as weights."""
        if task not in self._bootstraps:
            first = self.scored.reference(task).whole[0]
            bootstrap = PeopleBootstrap(first.subjects, first.labels)
            self._bootstraps[task] = bootstrap, bootstrap.weights
        return self._bootstraps[task]

    def _values(self, scores: TaskScores, metric: str, number: int) -> np.ndarray:
        """A metric of seed ``number`` on every resample, (resamples,)."""
        key = scores.row, scores.task, metric, number
        if key not in self._resampled:
            bootstrap, weights = self._people(scores.task)
            self._resampled[key] = (
                np.zeros(0)
                if bootstrap.missing
                else resampled_values(scores, metric, number, bootstrap.person, weights)
            )
        return self._resampled[key]


def resampled_values(
    scores: TaskScores, metric: str, number: int, person: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """A metric of one seed for every row of weights over people, (rows,).

    Notes
    -----
    As :func:`~modeling_mteeg.evaluation.judge_folds` has it: a fold that a draw leaves without a
    person, or without the classes that the metric needs, is left out of the mean of that draw.
    """
    folds = scores.tested[number]
    if scores.statistic(metric) == POOLED:
        whole = scores.whole[number]
        return weighted_values(metric, inputs_of(folds, metric), whole.labels, person, weights)
    ends = np.cumsum([len(said.labels) for said in folds])
    values = np.stack(
        [
            weighted_values(
                metric,
                inputs_of([said], metric),
                said.labels,
                person[end - len(said.labels) : end],
                weights,
            )
            for said, end in zip(folds, ends, strict=True)
        ]
    )  # fmt: skip  (folds, rows)
    there = np.isfinite(values)
    sums = np.where(there, values, 0).sum(0)
    return np.where(there.any(0), sums / np.maximum(there.sum(0), 1), np.nan)


def _paired_seeds(first: TaskScores, second: TaskScores) -> str | tuple[list[tuple[int, int]], str]:
    """Positions of seeds that belong together; a floor of one training goes with every seed."""
    common = [seed for seed in first.seeds if seed in second.seeds]
    for one, other in ((first, second), (second, first)):
        if other.group == "floor" and len(other.seeds) == 1 and len(one.seeds) > 1:
            pairs = [(number, 0) for number in range(len(one.seeds))]
            pairs = pairs if one is first else [(0, number) for number, _ in pairs]
            return pairs, f"{other.row} is one fit, set against every seed"
    if not common:
        return "the rows have no seed in common"
    note = ""
    if len(common) < max(len(first.seeds), len(second.seeds)):
        note = f"of the {len(common)} seeds that both rows have"
    return [(first.seeds.index(seed), second.seeds.index(seed)) for seed in common], note
