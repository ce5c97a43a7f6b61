"""Logistic regression on features, as the weight and bias of a task's output layer."""

from __future__ import annotations

from typing import Any

import numpy as np

NEVER = -30.0
"""Logit of a class that no training window has."""


def fit_logistic(
    features: np.ndarray,
    labels: np.ndarray,
    outputs: int,
    strength: float,
    class_weight: Any,
    scale: np.ndarray | float = 1.0,
) -> dict[str, np.ndarray]:
    """Fit standardised features.

    Parameters
    ----------
    features : np.ndarray, (n, f), float64
    labels : np.ndarray, (n,), int64
    outputs : int
        Of the layer: 1 for two classes with one logit, else a logit a class.
    strength : float
        ``C`` of scikit-learn: the larger, the less the weights are held down.
    class_weight : "balanced", dict of int to float, or None
    scale : np.ndarray, (f,), or float
        Of the standardised features: a larger one is held down less.

    Returns
    -------
    dict
        ``mean`` and ``deviation`` (f,) of the features, ``weight`` (outputs, f) and ``bias``
        (outputs,) over ``(features - mean) / deviation``, float64. A class without a window gets a
        logit of -30.
    """
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(0), features.std(0).clip(1e-12)
    classes = np.unique(labels)
    weight, bias = np.zeros((outputs, features.shape[1])), np.full(outputs, NEVER)
    if len(classes) > 1:
        if isinstance(class_weight, dict):
            class_weight = {label: class_weight[label] for label in classes.tolist()}
        model = LogisticRegression(C=strength, class_weight=class_weight, max_iter=5000)
        model.fit((features - mean) / deviation * scale, labels)
        coefficients, intercepts = model.coef_ * scale, model.intercept_
        if outputs > 1 and len(classes) == 2:  # one row for the second: as a softmax of two
            coefficients = np.stack([-coefficients[0] / 2, coefficients[0] / 2])
            intercepts = np.array([-intercepts[0] / 2, intercepts[0] / 2])
        rows = classes if outputs > 1 else [0]
        weight[rows], bias[rows] = coefficients, intercepts
    elif outputs > 1 or classes[0] == 1:
        bias[classes if outputs > 1 else 0] = -NEVER
    return {"mean": mean, "deviation": deviation, "weight": weight, "bias": bias}
