"""Evaluation: the paper's metrics as ``evaluate`` modules, and evaluation over several processes.

Needs ``evaluate`` and scikit-learn; ``import modeling_mteeg`` alone does not import this package.
"""

from .evaluator import (
    Predictions,
    confusion_counts,
    evaluate_task,
    evaluate_tasks,
    monitor_mean,
    predict_task,
    score,
)
from .metrics import (
    METRICS,
    AucPr,
    Auroc,
    BalancedAccuracy,
    CohenKappa,
    DegenerateMetricWarning,
    WeightedF1,
    metric_for,
)

__all__ = [
    "AucPr",
    "Auroc",
    "BalancedAccuracy",
    "CohenKappa",
    "DegenerateMetricWarning",
    "METRICS",
    "Predictions",
    "WeightedF1",
    "confusion_counts",
    "evaluate_task",
    "evaluate_tasks",
    "metric_for",
    "monitor_mean",
    "predict_task",
    "score",
]
