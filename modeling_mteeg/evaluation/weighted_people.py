"""Metrics of many resamples of people at once, from what each person adds.

A resample of people counts every window of a person as often as the person was drawn. So a metric
of predicted classes follows from the sum of the people's confusion matrices, AUROC from the wins of
each person's positives over each person's negatives, and average precision from one sort. All are
the values of ``modeling_mteeg.evaluation.metrics`` but for rounding, hundreds of times faster;
a metric that is none of these is computed resample by resample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .metrics import METRICS

_BLOCK = 1_000_000
"""Numbers in one block of a computation, which bounds the memory."""


def weighted_values(
    metric: str, predicted: np.ndarray, labels: np.ndarray, person: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """A metric for every row of ``weights``.

    Parameters
    ----------
    metric : str
        A name of :data:`~modeling_mteeg.evaluation.METRICS`.
    predicted : np.ndarray, (n,) or (n, classes)
        What the metric wants; see :class:`~modeling_mteeg.evaluation.Metric`.
    labels : np.ndarray, (n,), int64
        True classes.
    person : np.ndarray, (n,), int64
        Number of the person of every window, from 0.
    weights : np.ndarray, (rows, people), int64
        How often a person counts.

    Returns
    -------
    np.ndarray, (rows,), float64
        NaN where no window counts, or where the metric needs two classes and one counts.
    """
    entry = METRICS[metric]
    weights = np.asarray(weights)
    classes = [_counts(labels == label, person, weights) > 0 for label in np.unique(labels)]
    enough = np.sum(classes, 0) >= (2 if entry.needs_two_classes else 1)  # (rows,)
    values = np.full(len(weights), np.nan)
    function = _QUICK.get(metric)
    if function is not None and enough.any():
        values[enough] = function(predicted, labels, person, weights[enough])
    elif function is None:
        for number in np.flatnonzero(enough):
            rows = np.repeat(np.arange(len(labels)), weights[number][person])
            values[number] = entry.resampled(predicted[rows], labels[rows])
    return values


def _counts(chosen: np.ndarray, person: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Chosen windows of every row of weights, (rows,)."""
    return weights @ np.bincount(person[chosen], minlength=weights.shape[1])


def _confusion(
    predicted: np.ndarray, labels: np.ndarray, person: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Windows by true and predicted class of every row of weights, (rows, classes, classes)."""
    people, classes = weights.shape[1], int(max(predicted.max(), labels.max())) + 1
    cell = (person * classes + labels) * classes + predicted
    counts = np.bincount(cell, minlength=people * classes**2).reshape(people, -1)
    summed = weights.astype(float) @ counts  # whole numbers, exact in float64
    return summed.reshape(-1, classes, classes)


def _of_confusion(function: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda *windows: function(_confusion(*windows))


def _balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    true = confusion.sum(2)  # (rows, classes)
    occurs = true > 0
    recalls = np.diagonal(confusion, axis1=1, axis2=2) / np.where(occurs, true, 1)
    return recalls.sum(1) / np.maximum(occurs.sum(1), 1)


def _cohen_kappa(confusion: np.ndarray) -> np.ndarray:
    total = confusion.sum((1, 2))
    total = np.where(total > 0, total, 1)
    agreed = np.trace(confusion, axis1=1, axis2=2) / total
    expected = (confusion.sum(1) * confusion.sum(2)).sum(1) / total**2
    sure = expected >= 1  # one class everywhere
    return np.where(sure, np.nan, (agreed - expected) / np.where(sure, 1, 1 - expected))


def _weighted_f1(confusion: np.ndarray) -> np.ndarray:
    true, said = confusion.sum(2), confusion.sum(1)  # (rows, classes)
    f1 = 2 * np.diagonal(confusion, axis1=1, axis2=2) / np.maximum(true + said, 1)
    return (f1 * true).sum(1) / np.maximum(true.sum(1), 1)


def _auroc(
    probability: np.ndarray, labels: np.ndarray, person: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Mann and Whitney's U: for two people, how often a positive of one beats the other's negative.

    The sum of U over all pairs of people, each as often as both were drawn.
    """
    positive = labels == 1
    wins = _wins(probability, positive, person, weights.shape[1])  # (people, people)
    weights = weights.astype(float)
    pairs = _counts(positive, person, weights) * _counts(~positive, person, weights)
    return ((weights @ wins) * weights).sum(1) / np.where(pairs > 0, pairs, 1)


def _wins(
    probability: np.ndarray, positive: np.ndarray, person: np.ndarray, people: int
) -> np.ndarray:
    """Pairs of a positive of the row's person above a negative of the column's; ties are half."""
    wins = np.zeros((people, people))
    ascending = np.argsort(probability, kind="stable")
    values, owner, is_positive = probability[ascending], person[ascending], positive[ascending]
    order = np.flatnonzero(is_positive)
    order = order[np.argsort(owner[order], kind="stable")]  # positives, person by person
    if not len(order) or len(order) == len(values):
        return wins
    first = np.searchsorted(values, values[order], "left")  # windows strictly below
    last = np.searchsorted(values, values[order], "right")  # and those not above
    owners, starts = np.unique(owner[order], return_index=True)
    width = max(1, _BLOCK // len(values))
    for low in range(0, people, width):
        some = np.arange(low, min(low + width, people))
        negative = (owner[:, None] == some) & ~is_positive[:, None]
        below = np.zeros((len(values) + 1, len(some)))
        np.cumsum(negative, 0, out=below[1:])  # negatives of each person among the lowest
        beaten = (below[first] + below[last]) / 2
        wins[np.ix_(owners, some)] = np.add.reduceat(beaten, starts, 0)
    return wins


def _auc_pr(
    probability: np.ndarray, labels: np.ndarray, person: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Average precision: the mean over positives of the precision at their probability."""
    descending = np.argsort(-probability, kind="stable")
    values, owner = probability[descending], person[descending]
    positives = np.flatnonzero(labels[descending] == 1)
    last = np.searchsorted(-values, -values[positives], "right") - 1  # ends of their ties
    last_positive = np.searchsorted(positives, last, "right") - 1  # the same among positives
    results = np.zeros(len(weights))
    small = weights.astype(np.int32)  # sums stay below 2^31: no more windows are drawn
    width = max(1, _BLOCK // len(values))
    for low in range(0, len(weights), width):
        counted = small[low : low + width][:, owner]  # (rows, n)
        found = counted[:, positives]
        hits = found.cumsum(1, dtype=np.int32)[:, last_positive]
        above = counted.cumsum(1, dtype=np.int32)[:, last]
        precision = hits / np.maximum(above, 1)
        total = np.maximum(found.sum(1), 1)
        results[low : low + width] = np.einsum("rp,rp->r", precision, found) / total
    return results


_QUICK = {
    "balanced_accuracy": _of_confusion(_balanced_accuracy),
    "cohen_kappa": _of_confusion(_cohen_kappa),
    "weighted_f1": _of_confusion(_weighted_f1),
    "auroc": _auroc,
    "auc_pr": _auc_pr,
}
