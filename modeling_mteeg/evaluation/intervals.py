"""Intervals over people, and metrics by subject.

Windows of one person resemble each other, so that many windows of few people say little about the
next person. An interval is therefore made by drawing people, never windows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from .evaluator import metric_inputs
from .metrics import METRICS
from .saved_predictions import WindowPredictions

LEVEL = 0.95
RESAMPLES = 1000
LEAST_PEOPLE = 5
"""Of fewer people no interval is given."""
MOST_LACKING = 0.1
"""Share of the resamples that may lack a class; with more, no interval is given."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """``low`` to ``high``; both None where there is none, and ``missing`` says why."""

    low: float | None = None
    high: float | None = None
    missing: str = ""

    def to_dict(self) -> dict[str, Any]:
        """``low`` and ``high``, or ``missing``."""
        fields = dataclasses.asdict(self)
        return {key: value for key, value in fields.items() if value not in (None, "")}


class PeopleBootstrap:
    """The people of a split, drawn anew with replacement, with all windows of each.

    As many people as there are, 1,000 times, from a fixed seed: the same split gives the same
    resamples, so that values of two models on it are paired. The interval is that of the
    percentiles 2.5 and 97.5 of the metric over the resamples (Efron's percentile bootstrap). It
    speaks of other people of the same kind, not of another training; with few people it is somewhat
    too short.

    A resample that lacks a class of the split is left out, since a metric means something else
    there. Where more than a tenth lack one, as when a class occurs in one or two people, no
    interval is given; nor with fewer than five people.

    Parameters
    ----------
    subjects : np.ndarray, (n,), str
        Subject of every window.
    labels : np.ndarray, (n,), int64
        True class of every window.

    Attributes
    ----------
    people : int
    missing : str
        Why there can be no interval; empty where there can.
    person : np.ndarray, (n,), int64
        Number of the person of every window, in the order of the names.
    """

    def __init__(self, subjects: np.ndarray, labels: np.ndarray) -> None:
        names, person = np.unique(np.asarray(subjects, str), return_inverse=True)
        classes, label = np.unique(labels, return_inverse=True)
        self.people, self.person = len(names), person
        self._classes = len(classes)
        self._rows = [np.flatnonzero(person == number) for number in range(self.people)]
        draws = np.random.default_rng(0).integers(0, self.people, (RESAMPLES, self.people))
        has = np.zeros((self.people, len(classes)), bool)
        has[person, label] = True
        self._draws = draws[has[draws].any(1).all(1)]  # those with every class of the split
        lacking = RESAMPLES - len(self._draws)
        self.missing = ""
        if self.people < LEAST_PEOPLE:
            self.missing = f"{self.people} people, and at least {LEAST_PEOPLE} are needed"
            self.missing = self.missing.replace("1 people", "1 person")
        elif lacking > MOST_LACKING * RESAMPLES:
            self.missing = (f"a class occurs in too few people ({lacking:,} of {RESAMPLES:,} "
                            "resamples lack one)")  # fmt: skip

    def __iter__(self) -> Iterator[np.ndarray]:
        """The windows of every resample that is used, (m,) row numbers."""
        for draw in self._draws:
            yield np.concatenate([self._rows[person] for person in draw])

    @property
    def weights(self) -> np.ndarray:
        """How often each person was drawn, (resamples, people) int64, of the resamples used."""
        rows = np.arange(len(self._draws))[:, None]
        counts = np.zeros((len(self._draws), self.people), np.int64)
        np.add.at(counts, (rows, self._draws), 1)
        return counts

    def values(self, predictions: WindowPredictions, metric: str) -> np.ndarray:
        """A metric on every resample, (resamples,); empty where no interval can be."""
        if self.missing:
            return np.zeros(0)
        entry = METRICS[metric]
        if entry.needs_two_classes and self._classes < 2:
            return np.full(len(self._draws), np.nan)
        predicted = metric_inputs(predictions, predictions.card)[entry.wants]
        labels = predictions.labels
        return np.array([entry.resampled(predicted[rows], labels[rows]) for rows in self])

    def interval(self, values: np.ndarray) -> Interval:
        """The interval of what :meth:`values` gave, or of differences or means of such."""
        if self.missing:
            return Interval(missing=self.missing)
        if not np.isfinite(values).all():
            return Interval(missing="it is undefined")
        tail = 50 * (1 - LEVEL)
        low, high = np.percentile(values, [tail, 100 - tail])
        return Interval(float(low), float(high))


def scores_by_subject(predictions: WindowPredictions) -> list[dict[str, Any]]:
    """The card's metrics of every subject by itself, in the order of the names.

    Returns
    -------
    list of dict
        ``subject``, ``recordings``, ``windows``, and the metrics: NaN where a metric needs two
        classes and the subject has one. Balanced accuracy is over the classes that the subject has.
    """
    values = metric_inputs(predictions, predictions.card)
    subjects = np.asarray(predictions.subjects, str)
    rows = []
    for subject in np.unique(subjects):
        mine = subjects == subject
        labels = predictions.labels[mine]
        row = {"subject": str(subject), "recordings": len(set(predictions.recordings[mine])),
               "windows": int(mine.sum())}  # fmt: skip
        for name in predictions.card.metrics:
            entry = METRICS[name]
            defined = len(set(labels)) > 1 or not entry.needs_two_classes
            row[name] = float(entry(values[entry.wants][mine], labels)) if defined else np.nan
        rows.append(row)
    return rows
