"""The decision threshold of a task of two classes, chosen on validation."""

from __future__ import annotations

import numpy as np

from ..model.task_card import TaskCard
from .evaluator import Predictions, positive_probability

DEFAULT = 0.5


def choose_threshold(predictions: Predictions, card: TaskCard) -> float | None:
    """The threshold with the highest balanced accuracy on some predictions.

    Parameters
    ----------
    predictions : Predictions
        Of the validation split, by the weights that are kept.
    card : TaskCard

    Returns
    -------
    float or None
        Among 0.5 and the middles between probabilities that follow each other; of equals the one
        nearest to 0.5, then the lower. None: the task has more than two classes, or the predictions
        are of one class alone, which leave nothing to choose by.

    Notes
    -----
    A window is positive from the threshold on. In the middle, so that a probability that is rounded
    otherwise elsewhere stays on its side. A class is not rare any more in balanced accuracy, so the
    threshold moves towards it where a training without class weights has learned how rare it is.
    """
    if len(card.labels) != 2 or len(np.unique(predictions.labels)) < 2:
        return None
    probabilities = positive_probability(predictions, card)  # (n,)
    levels = np.unique(probabilities)
    candidates = np.unique([DEFAULT, *(levels[:-1] + (levels[1:] - levels[:-1]) / 2)])
    candidates = candidates[(candidates > 0) & (candidates < 1)]
    negative, positive = (np.sort(probabilities[predictions.labels == c]) for c in (0, 1))
    kept = np.searchsorted(negative, candidates)  # of class 0 below each candidate, (candidates,)
    found = len(positive) - np.searchsorted(positive, candidates)
    # Balanced accuracy in whole numbers, so that equals are equal.
    accuracy = kept * len(positive) + found * len(negative)
    best = candidates[accuracy == accuracy.max()]
    return float(best[np.abs(best - DEFAULT).argmin()])
