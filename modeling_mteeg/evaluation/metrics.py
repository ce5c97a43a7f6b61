"""The paper's metrics as ``evaluate`` modules that need no network (section 4.2).

Each is scikit-learn's definition. Two kinds of predictions: the probability of the positive class
(AUROC, AUC-PR) or the class (the others); ``wants`` of a metric says which.

Where the references hold a single class, AUROC, AUC-PR and Cohen's kappa say nothing about a
model. They are then NaN, with a :class:`DegenerateMetricWarning` that names the class, whatever
the predictions are; so a task has a value in all evaluations of a split or in none of them.
"""

from __future__ import annotations

import warnings
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value

PROBABILITY, CLASS = "probability", "class"


class DegenerateMetricWarning(UserWarning):
    """A metric is undefined for these references and was set to NaN."""


class TaskMetric(evaluate.Metric):
    """One number from predictions and references; the base of the classes below.

    Parameters
    ----------
    **options
        Those of ``evaluate.Metric``. ``keep_in_memory`` is True unless ``num_process`` is given, so
        that evaluations running side by side share no cache file.

    Notes
    -----
    ``compute(predictions=..., references=...)`` returns ``{key: float}``; ``add`` and
    ``add_batch`` collect before. Gathering over processes is the work of
    :mod:`modeling_mteeg.evaluation.evaluator`.
    """

    key = ""
    title = ""
    wants = CLASS
    needs_two_classes = False

    def __init__(self, **options: Any) -> None:
        options.setdefault("keep_in_memory", options.get("num_process", 1) == 1)
        super().__init__(**options)

    def _info(self) -> evaluate.MetricInfo:
        predictions = "float64" if self.wants == PROBABILITY else "int64"
        meaning = {
            PROBABILITY: "probability of the positive class, in [0, 1]",
            CLASS: "predicted class, 0 or above",
        }[self.wants]
        return evaluate.MetricInfo(
            description=f"{self.title}, as defined by scikit-learn.",
            citation="",
            inputs_description=(
                f"\n\nArgs:\n    predictions: {meaning}\n    references: true class, 0 or above\n"
            ),
            features=Features({"predictions": Value(predictions), "references": Value("int64")}),
            format=None,  # not "numpy", which would round probabilities to float32
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        references = np.asarray(references, np.int64)
        predictions = np.asarray(predictions)
        _check(self.key, self.wants, predictions, references)
        classes = np.unique(references)
        if self.needs_two_classes and len(classes) < 2:
            warnings.warn(
                f"{self.key} is not defined: all {len(references)} references are of class "
                f"{classes[0]}; it is NaN here.",
                DegenerateMetricWarning,
                stacklevel=3,
            )
            return {self.key: float("nan")}
        return {self.key: float(self._value(predictions, references))}

    def _value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        raise NotImplementedError


def _check(key: str, wants: str, predictions: np.ndarray, references: np.ndarray) -> None:
    """Raise ``ValueError`` where a metric would count nonsense."""
    if len(references) == 0:
        raise ValueError(f"{key}: expected one sample or more, found none.")
    if references.min() < 0:
        raise ValueError(f"{key}: expected true classes of 0 or above, found {references.min()}.")
    if wants == CLASS and predictions.min() < 0:
        raise ValueError(f"{key}: expected classes of 0 or above, found {predictions.min()}.")
    if wants == PROBABILITY:
        if not (
            np.isfinite(predictions).all() and 0 <= predictions.min() <= predictions.max() <= 1
        ):
            raise ValueError(
                f"{key}: expected the probability of the positive class, found values from "
                f"{predictions.min()} to {predictions.max()}."
            )
        if references.max() > 1:
            raise ValueError(
                f"{key}: expected two classes, 0 and 1, found class {references.max()}."
            )


class BalancedAccuracy(TaskMetric):
    """Mean of the recalls of the classes that occur in the references."""

    key, title = "balanced_accuracy", "Balanced accuracy"

    def _value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        # By hand, for scikit-learn warns of every predicted class that has no reference.
        hits = predictions == references
        return float(np.mean([hits[references == name].mean() for name in np.unique(references)]))


class AucPr(TaskMetric):
    """Area under the precision-recall curve, as average precision."""

    key, title = "auc_pr", "Average precision"
    wants, needs_two_classes = PROBABILITY, True

    def _value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        from sklearn.metrics import average_precision_score

        return average_precision_score(references, predictions)


class Auroc(TaskMetric):
    """Area under the receiver operating characteristic."""

    key, title = "auroc", "Area under the receiver operating characteristic"
    wants, needs_two_classes = PROBABILITY, True

    def _value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        from sklearn.metrics import roc_auc_score

        return roc_auc_score(references, predictions)


class CohenKappa(TaskMetric):
    """Agreement of predicted and true classes beyond chance."""

    key, title = "cohen_kappa", "Cohen's kappa"
    needs_two_classes = True

    def _value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        from sklearn.metrics import cohen_kappa_score

        return cohen_kappa_score(references, predictions)


class WeightedF1(TaskMetric):
    """Mean of the F1 scores of the classes, weighted by their numbers of references."""

    key, title = "weighted_f1", "Weighted F1"

    def _value(self, predictions: np.ndarray, references: np.ndarray) -> float:
        from sklearn.metrics import f1_score

        return f1_score(references, predictions, average="weighted", zero_division=0)


METRICS: dict[str, type[TaskMetric]] = {
    metric.key: metric for metric in (BalancedAccuracy, AucPr, Auroc, CohenKappa, WeightedF1)
}


def metric_for(name: str, **options: Any) -> TaskMetric:
    """A new metric by its name in a task card, such as ``"auroc"``.

    Raises
    ------
    ValueError
        There is no metric of that name.
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}: expected one of {sorted(METRICS)}.")
    return METRICS[name](**options)
