"""Evaluation: the metrics, and evaluation over several processes.

``metrics`` is the table of metrics and ``metric_choice`` says which of them a task is judged by:
both are light, and model cards, configurations and preparations take them from there. What needs
``evaluate``, ``datasets`` or the windows on disk is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .metric_choice import check_metrics, chosen_metrics
from .metrics import METRICS, DegenerateMetricWarning, Metric, metric

if TYPE_CHECKING:
    from .evaluator import (
        Predictions,
        TaskPredictor,
        confusion_counts,
        evaluate_task,
        evaluate_tasks,
        monitor_mean,
        predict_task,
        score,
    )
    from .metric_modules import (
        AucPr,
        Auroc,
        BalancedAccuracy,
        CohenKappa,
        WeightedF1,
        metric_for,
    )

_MODULES = ("AucPr", "Auroc", "BalancedAccuracy", "CohenKappa", "WeightedF1", "metric_for")

__all__ = [
    "AucPr",
    "Auroc",
    "BalancedAccuracy",
    "CohenKappa",
    "DegenerateMetricWarning",
    "METRICS",
    "Metric",
    "Predictions",
    "TaskPredictor",
    "WeightedF1",
    "check_metrics",
    "chosen_metrics",
    "confusion_counts",
    "evaluate_task",
    "evaluate_tasks",
    "metric",
    "metric_for",
    "monitor_mean",
    "predict_task",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "metric_modules" if name in _MODULES else "evaluator"
    return getattr(importlib.import_module(f".{module}", __name__), name)
