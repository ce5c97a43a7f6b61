"""The table of metrics as ``evaluate`` modules that need no network.

A class a metric, made from its entry in :data:`~modeling_mteeg.evaluation.metrics.METRICS`; nothing
is written here for a new one.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import evaluate
import numpy as np
from datasets import Features, List, Value

from .metrics import METRICS, PROBABILITIES, PROBABILITY, Metric


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

    metric: ClassVar[Metric]

    def __init__(self, **options: Any) -> None:
        options.setdefault("keep_in_memory", options.get("num_process", 1) == 1)
        super().__init__(**options)

    def _info(self) -> evaluate.MetricInfo:
        if self.metric.wants == PROBABILITY:
            given, meaning = Value("float64"), "probability of the positive class, in [0, 1]"
        elif self.metric.wants == PROBABILITIES:
            given, meaning = List(Value("float64")), "probabilities of all classes, in [0, 1]"
        else:
            given, meaning = Value("int64"), "predicted class, 0 or above"
        return evaluate.MetricInfo(
            description=self.metric.description,
            citation="",
            inputs_description=(
                f"\n\nArgs:\n    predictions: {meaning}\n    references: true class, 0 or above\n"
            ),
            features=Features({"predictions": given, "references": Value("int64")}),
            format=None,  # not "numpy", which would round probabilities to float32
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        value = self.metric(np.asarray(predictions), np.asarray(references, np.int64))
        return {self.metric.key: value}


@functools.cache
def _class_of(metric: Metric) -> type[TaskMetric]:
    """``AucPr`` for the entry ``auc_pr``, with the entry's fields as attributes."""
    name = "".join(word.capitalize() for word in metric.key.split("_"))
    fields = {key: value for key, value in vars(metric).items() if key != "function"}
    about = {"__module__": __name__, "__doc__": metric.description}
    return type(name, (TaskMetric,), {**fields, **about, "metric": metric})


def metric_for(name: str, **options: Any) -> TaskMetric:
    """A new metric by its name in a task card, such as ``"auroc"``.

    Raises
    ------
    ValueError
        There is no metric of that name.
    """
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}: expected one of {sorted(METRICS)}.")
    return _class_of(METRICS[name])(**options)


BalancedAccuracy = _class_of(METRICS["balanced_accuracy"])
AucPr = _class_of(METRICS["auc_pr"])
Auroc = _class_of(METRICS["auroc"])
CohenKappa = _class_of(METRICS["cohen_kappa"])
WeightedF1 = _class_of(METRICS["weighted_f1"])
