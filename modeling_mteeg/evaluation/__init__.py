"""Evaluation: metrics, evaluation over several processes, saved predictions, intervals.

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
    from .intervals import Interval, PeopleBootstrap, scores_by_subject
    from .judgement import judge
    from .metric_modules import (
        AucPr,
        Auroc,
        BalancedAccuracy,
        CohenKappa,
        WeightedF1,
        metric_for,
    )
    from .saved_predictions import (
        PredictionFileError,
        WindowPredictions,
        read_predictions,
        save_predictions,
    )

_MODULES = {
    "intervals": ("Interval", "PeopleBootstrap", "scores_by_subject"),
    "judgement": ("judge",),
    "metric_modules": (
        "AucPr", "Auroc", "BalancedAccuracy", "CohenKappa", "WeightedF1", "metric_for",
    ),
    "saved_predictions": (
        "PredictionFileError", "WindowPredictions", "read_predictions", "save_predictions",
    ),
}  # fmt: skip

__all__ = [
    "AucPr",
    "Auroc",
    "BalancedAccuracy",
    "CohenKappa",
    "DegenerateMetricWarning",
    "Interval",
    "METRICS",
    "Metric",
    "PeopleBootstrap",
    "PredictionFileError",
    "Predictions",
    "TaskPredictor",
    "WeightedF1",
    "WindowPredictions",
    "check_metrics",
    "chosen_metrics",
    "confusion_counts",
    "evaluate_task",
    "evaluate_tasks",
    "judge",
    "metric",
    "metric_for",
    "monitor_mean",
    "predict_task",
    "read_predictions",
    "save_predictions",
    "score",
    "scores_by_subject",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((file for file, names in _MODULES.items() if name in names), "evaluator")
    return getattr(importlib.import_module(f".{module}", __name__), name)
