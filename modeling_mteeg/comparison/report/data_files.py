"""A comparison's numbers as CSV, at full precision: values, summary, differences, subjects."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.metrics import METRICS, in_order
from ...evaluation.weighted_people import weighted_values
from ...settings.plain_json import write_text
from .claims import Claim, parameter_count
from .differences import Differences
from .row_scores import POOLED, Scored, TaskScores, inputs_of

Row = dict[str, Any]


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> Path:
    """Rows under the heads ``columns``; None and NaN are empty, numbers are at full precision."""
    columns, text = list(columns), io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return write_text(path, text.getvalue())


def _plain(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else repr(float(value))
    return "" if value is None else value


VALUES = ("row", "group", "task", "metric", "seed", "fold", "value", "windows", "people")


def value_rows(scored: Scored) -> Iterator[Row]:
    """Every value: of each seed and fold, and with folds of all of them as one (``pooled``)."""
    for scores in scored.scores.values():
        for metric, values in scores.by_fold.items():
            for number, seed in enumerate(scores.seeds):
                base = {"row": scores.row, "group": scores.group, "task": scores.task,
                        "metric": metric, "seed": seed}  # fmt: skip
                for fold, said in enumerate(scores.tested[number]):
                    yield {**base, "fold": fold if scores.folds > 1 else None,
                           "value": values[number, fold], "windows": len(said.labels),
                           "people": said.people}  # fmt: skip
                if scores.folds > 1:
                    yield {**base, "fold": POOLED, "value": scores.as_one[metric][number],
                           "windows": scores.windows, "people": scores.people}  # fmt: skip


SUMMARY = (
    "row", "group", "task", "metric", "mean", "std", "seeds", "statistic", "low_people",
    "high_people", "no_interval", "windows", "people", "folds", "simulated", "total_parameters",
    "trained_parameters", "run_parameters", "seconds", "peak_memory_bytes", "gap",
)  # fmt: skip


def summary_rows(scored: Scored, differences: Differences) -> Iterator[Row]:
    """A row's mean and deviation on every task and metric, its interval over people, its cost."""
    for row in scored.rows:
        for task in scored.tasks:
            base = {"row": row.name, "group": row.group, "task": task,
                    "gap": scored.gaps.get((row.name, task))}  # fmt: skip
            scores = scored.scores.get((row.name, task))
            if scores is None:
                yield base
                continue
            base |= _cost(list(row.facts.get(task, {}).values()))
            for metric in scores.by_fold:
                interval = differences.interval(scores, metric)
                yield {
                    **base, "metric": metric, "mean": scores.mean(metric),
                    "std": scores.deviation(metric), "seeds": len(scores.seeds),
                    "statistic": scores.statistic(metric) if scores.folds > 1 else None,
                    "low_people": interval.low, "high_people": interval.high,
                    "no_interval": interval.missing, "windows": scores.windows,
                    "people": scores.people, "folds": scores.folds,
                    "simulated": scores.card.simulated,
                }  # fmt: skip


def _cost(trainings: Sequence[Mapping[str, Any]]) -> Row:
    """Parameters, mean time and highest memory of the trainings, where they say them."""
    seconds = [facts["seconds"] for facts in trainings if facts.get("seconds") is not None]
    peaks = [facts.get("peak_memory_bytes") for facts in trainings]
    peaks = [peak for peak in peaks if isinstance(peak, (int, float))]
    return {
        **{f"{which}_parameters": parameter_count(trainings, which)
           for which in ("total", "trained", "run")},
        "seconds": sum(seconds) / len(seconds) if seconds else None,
        "peak_memory_bytes": max(peaks) if peaks else None,
    }  # fmt: skip


DIFFERENCES = (
    "first", "second", "task", "metric", "difference", "low_people", "high_people",
    "no_interval_people", "mean_over", "people", "windows", "low_seeds", "high_seeds",
    "no_interval_seeds", "p_seeds", "seeds", "seeds_above", "pairing",
)  # fmt: skip


def difference_rows(scored: Scored, differences: Differences, claims: Iterable[Claim]) -> list[Row]:
    """Of every two rows that a claim compares: every task and metric, and the mean over tasks."""
    pairs = dict.fromkeys(
        (test.difference.first, test.difference.second) for claim in claims for test in claim.tests
    )
    rows = []
    for first, second in pairs:
        found = [differences.on_task(first, second, task, metric)
                 for task in scored.tasks for metric in scored.metrics(task)]  # fmt: skip
        everywhere = [metric for metric in METRICS
                      if all(metric in scored.metrics(task) for task in scored.tasks)]  # fmt: skip
        found += [differences.in_the_mean(first, second, metric) for metric in everywhere]
        for each in found:
            over, seeds = each.over_people, each.seeds
            rows.append({
                "first": first, "second": second, "task": each.task, "metric": each.metric,
                "difference": each.value, "low_people": over.low, "high_people": over.high,
                "no_interval_people": over.missing,
                "mean_over": " ".join(each.tasks), "people": each.people,
                "windows": each.windows, "low_seeds": seeds.interval.low,
                "high_seeds": seeds.interval.high, "no_interval_seeds": seeds.interval.missing,
                "p_seeds": seeds.p, "seeds": len(seeds.differences), "seeds_above": seeds.above,
                "pairing": seeds.note,
            })  # fmt: skip
    return rows


def subject_columns(scored: Scored) -> list[str]:
    """Heads of :func:`subject_rows`."""
    metrics = in_order(metric for task in scored.tasks for metric in scored.metrics(task))
    return ["row", "group", "task", "seed", "fold", "subject", "recordings", "windows", *metrics]


def subject_rows(scored: Scored) -> Iterator[Row]:
    """The metrics of every test subject, in every fold by itself."""
    for scores in scored.scores.values():
        for number, seed in enumerate(scores.seeds):
            for fold in range(scores.folds):
                base = {"row": scores.row, "group": scores.group, "task": scores.task,
                        "seed": seed, "fold": fold if scores.folds > 1 else None}  # fmt: skip
                yield from ({**base, **row} for row in _by_subject(scores, number, fold))


def _by_subject(scores: TaskScores, number: int, fold: int) -> Iterator[Row]:
    """As :func:`~modeling_mteeg.evaluation.scores_by_subject`, all subjects at once."""
    said = scores.tested[number][fold]
    names, person = np.unique(np.asarray(said.subjects, str), return_inverse=True)
    one_each = np.eye(len(names), dtype=np.int64)
    columns = {
        metric: weighted_values(metric, inputs_of([said], metric), said.labels, person, one_each)
        for metric in scores.by_fold
    }
    pairs = set(zip(person.tolist(), said.recordings, strict=True))
    counted = np.bincount([one for one, _ in pairs], minlength=len(names))
    windows = np.bincount(person, minlength=len(names))
    for place, name in enumerate(names):
        yield {"subject": str(name), "recordings": int(counted[place]),
               "windows": int(windows[place]),
               **{metric: float(values[place]) for metric, values in columns.items()}}  # fmt: skip
