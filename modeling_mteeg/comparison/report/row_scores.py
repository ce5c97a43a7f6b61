"""The metrics of every row, task, seed and fold, from the predictions of the test windows."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...evaluation import METRICS, DegenerateMetricWarning, WindowPredictions, check_metrics
from ...evaluation.evaluator import metric_inputs
from ...evaluation.fold_judgement import pooled
from ...evaluation.judgement import check_same_windows
from ...model.task_card import TaskCard
from ..row_results import RowResults

OVER_FOLDS, POOLED = "mean over folds", "pooled"


@dataclasses.dataclass(frozen=True)
class TaskScores:
    """What a row reached on a task.

    Parameters
    ----------
    row, group, task : str
    seeds : tuple of int
    tested : tuple of tuple of WindowPredictions
        Of every seed, and in it of every fold.
    whole : tuple of WindowPredictions
        Of every seed the test windows of all folds.
    by_fold : mapping of str to np.ndarray, (seeds, folds)
        Metric to its values; NaN where it is undefined.
    as_one : mapping of str to np.ndarray, (seeds,)
        Metric to its values on the windows of all folds as one.
    """

    row: str
    group: str
    task: str
    seeds: tuple[int, ...]
    tested: tuple[tuple[WindowPredictions, ...], ...]
    whole: tuple[WindowPredictions, ...]
    by_fold: Mapping[str, np.ndarray]
    as_one: Mapping[str, np.ndarray]

    @property
    def card(self) -> TaskCard:
        """Of the first seed and fold."""
        return self.tested[0][0].card

    @property
    def folds(self) -> int:
        """How many; 1 where the split is fixed."""
        return len(self.tested[0])

    @property
    def windows(self) -> int:
        """Test windows of all folds."""
        return len(self.whole[0].labels)

    @property
    def people(self) -> int:
        """Subjects of the test windows."""
        return self.whole[0].people

    def statistic(self, metric: str) -> str:
        """What stands in the table: the mean over folds, pooled where a fold has no value."""
        defined = self.folds == 1 or bool(np.isfinite(self.by_fold[metric]).all())
        return OVER_FOLDS if defined else POOLED

    def by_seed(self, metric: str) -> np.ndarray:
        """A value for every seed, (seeds,)."""
        if self.statistic(metric) == POOLED:
            return self.as_one[metric]
        return self.by_fold[metric].mean(1)

    def mean(self, metric: str) -> float:
        """Over the seeds."""
        return float(self.by_seed(metric).mean())

    def deviation(self, metric: str) -> float | None:
        """Over the seeds, n - 1; None of one seed."""
        return float(self.by_seed(metric).std(ddof=1)) if len(self.seeds) > 1 else None


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of all rows, and what is to be said beside them.

    Parameters
    ----------
    rows : tuple of RowResults
    tasks : tuple of str
        In the order of the tables.
    scores : mapping of (str, str) to TaskScores
        Row and task to what was reached.
    gaps : mapping of (str, str) to str
        Row and task to why there is nothing, or not all.
    other_windows : frozenset of (str, str)
        Row and task whose test windows are not those of the first row.
    """

    rows: tuple[RowResults, ...]
    tasks: tuple[str, ...]
    scores: Mapping[tuple[str, str], TaskScores]
    gaps: Mapping[tuple[str, str], str]
    other_windows: frozenset[tuple[str, str]]

    def of_task(self, task: str) -> list[TaskScores]:
        """Of all rows that have it, in their order."""
        return [self.scores[row.name, task] for row in self.rows if (row.name, task) in self.scores]

    def reference(self, task: str) -> TaskScores | None:
        """The first row that has the task."""
        return next(iter(self.of_task(task)), None)

    def metrics(self, task: str) -> list[str]:
        """Metrics of a task, as the cards name them."""
        names = (metric for scores in self.of_task(task) for metric in scores.card.metrics)
        return list(dict.fromkeys(names))

    @property
    def simulated(self) -> list[str]:
        """Tasks whose recordings are simulated."""
        return [task for task in self.tasks
                if any(scores.card.simulated for scores in self.of_task(task))]  # fmt: skip

    def facts(self, row: RowResults) -> Iterator[Mapping[str, Any]]:
        """The facts of all trainings of a row, task by task."""
        for task in self.tasks:
            yield from row.facts.get(task, {}).values()


def score_rows(rows: Iterable[RowResults], tasks: Sequence[str] = ()) -> Scored:
    """Compute every metric of every row.

    Parameters
    ----------
    rows : iterable of RowResults
    tasks : sequence of str
        The order; tasks that it does not name come after it. Empty: as the rows have them.

    Raises
    ------
    ValueError
        Two rows of one name.

    Notes
    -----
    A row whose seeds were tested on different windows has no value on that task; the reason stands
    with the gap.
    """
    rows = tuple(rows)
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Rows: expected a name of its own for each, found twice: {twice}.")
    there = [task for row in rows for task in (*row.tested, *row.missing)]
    ordered = tuple(task for task in dict.fromkeys([*tasks, *there]) if task in there)
    scores: dict[tuple[str, str], TaskScores] = {}
    gaps: dict[tuple[str, str], str] = {}
    for row in rows:
        for task in ordered:
            key = row.name, task
            if task in row.missing:
                gaps[key] = row.missing[task] or "no results"
            if not row.tested.get(task):
                gaps.setdefault(key, "no results")
                continue
            try:
                scores[key] = _score(row, task)
            except ValueError as error:
                gaps[key] = f"no scores: {error}"
    scored = Scored(rows, ordered, scores, gaps, frozenset())
    return dataclasses.replace(scored, other_windows=frozenset(_other_windows(scored)))


def _score(row: RowResults, task: str) -> TaskScores:
    seeds = tuple(sorted(seed for seed, folds in row.tested[task].items() if folds))
    if not seeds:
        raise ValueError("no predictions")
    check_metrics([said.card for seed in seeds for said in row.tested[task][seed]])
    tested = tuple(tuple(row.tested[task][seed]) for seed in seeds)
    whole = tuple(said[0] if len(said) == 1 else pooled(said) for said in tested)
    check_same_windows(whole)
    sizes = {tuple(len(fold.labels) for fold in said) for said in tested}
    if len(sizes) > 1:
        raise ValueError(f"expected the same folds for all seeds, found {sorted(sizes)} windows")
    by_fold, as_one = {}, {}
    with warnings.catch_warnings():  # an undefined metric is NaN, and said so under the table
        warnings.simplefilter("ignore", DegenerateMetricWarning)
        for metric in tested[0][0].card.metrics:
            by_fold[metric] = np.array(
                [[value_of([said], metric) for said in each] for each in tested]
            )
            one = by_fold[metric][:, 0] if len(tested[0]) == 1 else None
            as_one[metric] = (
                np.array([value_of(each, metric) for each in tested]) if one is None else one
            )
    return TaskScores(row.name, row.group, task, seeds, tested, whole, by_fold, as_one)


def inputs_of(by_fold: Sequence[WindowPredictions], metric: str) -> np.ndarray:
    """What a metric is computed from, of all folds; classes by the card of each fold."""
    wants = METRICS[metric].wants
    return np.concatenate([metric_inputs(said, said.card)[wants] for said in by_fold])


def value_of(by_fold: Sequence[WindowPredictions], metric: str) -> float:
    """A metric on the windows of some folds as one."""
    labels = np.concatenate([said.labels for said in by_fold])
    return METRICS[metric](inputs_of(by_fold, metric), labels)


def _other_windows(scored: Scored) -> Iterator[tuple[str, str]]:
    for task in scored.tasks:
        reference = scored.reference(task)
        for scores in scored.of_task(task):
            try:
                check_same_windows([reference.whole[0], scores.whole[0]])
                same = [len(fold.labels) for fold in scores.tested[0]] == [
                    len(fold.labels) for fold in reference.tested[0]
                ]
            except ValueError:
                same = False
            if not same:
                yield scores.row, task
