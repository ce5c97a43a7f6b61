"""Evaluation: metrics, evaluation over several processes, saved predictions, intervals.

``metrics`` is the table of metrics and ``metric_choice`` says which of them a task is judged by:
both are light, and model cards, configurations and preparations take them from there. What needs
``evaluate``, ``datasets`` or the windows on disk is imported when it is first asked for.
"""

import importlib
from typing import Any

from .metric_choice import check_metrics, chosen_metrics
from .metrics import METRICS, DegenerateMetricWarning, Metric, metric

_LATER = {
    "evaluator": (
        "NotFiniteError", "Predictions", "TaskPredictor", "confusion_counts", "evaluate_task",
        "evaluate_tasks", "monitor_mean", "predict_task", "score",
    ),
    "intervals": ("Interval", "PeopleBootstrap", "scores_by_subject"),
    "fold_judgement": ("judge_folds", "pooled"),
    "judgement": ("judge",),
    "saved_predictions": (
        "PredictionFileError", "WindowPredictions", "read_predictions", "save_predictions",
    ),
    "threshold": ("choose_threshold",),
    "metric_modules": (
        "AucPr", "Auroc", "BalancedAccuracy", "CohenKappa", "WeightedF1", "metric_for",
    ),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}

__all__ = [
    "METRICS", "DegenerateMetricWarning", "Metric", "check_metrics", "chosen_metrics", "metric",
    *_MODULE_OF,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
