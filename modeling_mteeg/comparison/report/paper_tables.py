"""Tables as the paper has them: two tasks each, mean and deviation over seeds, best and second.

A table is made once, as blocks of cells, and written as Markdown or LaTeX by
:mod:`~modeling_mteeg.comparison.report.table_formats`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ...evaluation.judgement import people_text
from ...evaluation.metrics import title_of
from ..row_results import GROUPS
from .claims import trained_parameters
from .row_scores import POOLED, Scored

TASKS_A_TABLE = 2
MARKED = ("multi-task", "single-task")
"""Blocks whose best and second are marked, each by itself, as in the paper."""
BEST, SECOND = "best", "second"
DIGITS = 4
"""As the paper; marks follow what is shown, so that equal numbers have equal marks."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number, or a gap.

    Parameters
    ----------
    mean : float or None
        None: there is no result.
    deviation : float or None
        None: of one seed.
    mark : str
        :data:`BEST`, :data:`SECOND` or empty.
    note : int or None
        Number of the note below the table.
    """

    mean: float | None
    deviation: float | None = None
    mark: str = ""
    note: int | None = None

    @property
    def text(self) -> str:
        """``0.8140 ± 0.0019``; ``–`` for a gap, ``n/a`` for what is undefined."""
        if self.mean is None:
            return "–"
        if math.isnan(self.mean):
            return "n/a"
        spread = "" if self.deviation is None else f" ± {self.deviation:.{DIGITS}f}"
        return f"{self.mean:.{DIGITS}f}{spread}"


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A row's name, what is told of it, and its cells."""

    name: str
    seeds: str
    trained: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table before it is written.

    Parameters
    ----------
    number : int
        From 1.
    tasks : tuple of (str, tuple of str, str)
        Of every task its name, the titles of its metrics, and its windows, people and folds.
    blocks : tuple of (str, tuple of TableRow)
        Groups of rows.
    notes : tuple of str
        Why there are gaps, numbered from 1.
    remarks : tuple of str
        What the numbers are.
    """

    number: int
    tasks: tuple[tuple[str, tuple[str, ...], str], ...]
    blocks: tuple[tuple[str, tuple[TableRow, ...]], ...]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def title(self) -> str:
        """``Results on tuab and tuev``."""
        return "Results on " + " and ".join(task for task, _, _ in self.tasks)


def make_tables(scored: Scored) -> list[Table]:
    """One for every two tasks, in their order."""
    starts = range(0, len(scored.tasks), TASKS_A_TABLE)
    return [
        _table(scored, number, scored.tasks[start : start + TASKS_A_TABLE])
        for number, start in enumerate(starts, 1)
    ]


def _table(scored: Scored, number: int, tasks: Sequence[str]) -> Table:
    notes: list[str] = []
    columns = [(task, metric) for task in tasks for metric in _columns(scored, task)]
    blocks = []
    for group in GROUPS:
        rows = [row.name for row in scored.rows if row.group == group]
        if not rows:
            continue
        by_row = {
            row: [_cell(scored, row, task, metric, notes) for task, metric in columns]
            for row in rows
        }
        if group in MARKED:
            _mark(list(by_row.values()))
        blocks.append((group, tuple(
            TableRow(row, _seeds(scored, row, tasks), _count(trained_parameters(scored, row)),
                     tuple(cells)) for row, cells in by_row.items()
        )))  # fmt: skip
    heads = [(task, tuple(map(title_of, _columns(scored, task))), task_text(scored, task))
             for task in tasks]  # fmt: skip
    return Table(number, tuple(heads), tuple(blocks), tuple(notes),
                 tuple(_remarks(scored, tasks, blocks)))  # fmt: skip


def _columns(scored: Scored, task: str) -> list[str]:
    """A task's metrics; one column for the gaps of a task that no row has."""
    return scored.metrics(task) or ["no results"]


def _cell(scored: Scored, row: str, task: str, metric: str, notes: list[str]) -> Cell:
    key = row, task
    reasons = [f"{task}: {scored.gaps[key]}"] if key in scored.gaps else []
    if key in scored.other_windows:
        reasons.append(f"{task}: other test windows than the first row's, not to be compared")
    scores = scored.scores.get(key)
    if scores is not None and metric not in scores.by_fold:
        reasons.append(f"{task}: not judged by {title_of(metric)}")
        scores = None
    note = None
    if reasons:
        text = "; ".join(reasons)
        if text not in notes:
            notes.append(text)
        note = notes.index(text) + 1
    if scores is None:
        return Cell(None, note=note)
    return Cell(scores.mean(metric), scores.deviation(metric), note=note)


def _mark(rows: list[list[Cell]]) -> None:
    """Mark the highest and the second highest of every column, as they are shown.

    Equal ones are marked alike. What is undefined, missing or of other windows is left out, and so
    is a column with a single number.
    """
    for column in range(len(rows[0]) if rows else 0):
        shown = {
            number: round(row[column].mean, DIGITS)
            for number, row in enumerate(rows)
            if row[column].mean is not None
            and not math.isnan(row[column].mean)
            and row[column].note is None
        }
        if len(shown) < 2:
            continue
        ranks = sorted(set(shown.values()), reverse=True)
        marks = dict(zip(ranks, (BEST, SECOND), strict=False))
        for number, value in shown.items():
            cell = rows[number][column]
            rows[number][column] = dataclasses.replace(cell, mark=marks.get(value, ""))


def task_text(scored: Scored, task: str) -> str:
    """``2,312 test windows of 14 people, 5 folds``."""
    scores = scored.reference(task)
    if scores is None:
        return "no results"
    text = f"{scores.windows:,} test windows of {people_text(scores.people)}"
    if scores.folds > 1:
        text += f", {scores.folds} folds"
    return text + (", simulated" if scores.card.simulated else "")


def _seeds(scored: Scored, row: str, tasks: Sequence[str]) -> str:
    counts = [len(scored.scores[row, task].seeds) for task in tasks if (row, task) in scored.scores]
    return " / ".join(map(str, dict.fromkeys(counts))) or "–"


def _count(parameters: int | None) -> str:
    """``1.85 M``, ``12.3 k``, ``201``; ``–`` where nobody says."""
    if parameters is None:
        return "–"
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.3g} {unit}"
    return str(parameters)


def _remarks(scored: Scored, tasks: Sequence[str], blocks: Sequence) -> list[str]:
    there = [scores for task in tasks for scores in scored.of_task(task)]
    remarks = ["Mean ± standard deviation (n - 1) over seeds"]
    if any(len(scores.seeds) == 1 for scores in there):
        remarks[0] += "; rows with one seed have no deviation"
    if any(scores.folds > 1 for scores in there):
        remarks.append("Of a seed the mean over the folds")
        pooled = sorted({
            f"{title_of(metric)} of {scores.task}"
            for scores in there for metric in scores.by_fold
            if scores.statistic(metric) == POOLED
        })  # fmt: skip
        if pooled:
            remarks.append("Undefined in a fold, therefore of the test windows of all folds as "
                           f"one: {', '.join(pooled)}")  # fmt: skip
    if any(group in MARKED for group, _ in blocks):
        remarks.append(f"Best bold, second underlined, within {' and within '.join(MARKED)} rows; "
                       "a mark is no test")  # fmt: skip
    cells = [cell for _, rows in blocks for row in rows for cell in row.cells]
    if any(cell.mean is not None and math.isnan(cell.mean) for cell in cells):
        remarks.append("n/a: undefined, as the test windows hold one class")
    remarks.append("Trained: parameters that training changes, of a joint row for all its tasks, "
                   "else of one task's model (the largest)")  # fmt: skip
    return [f"{remark}." for remark in remarks]
