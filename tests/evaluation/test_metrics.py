"""Metrics equal scikit-learn's, work offline, and say where they mean nothing."""

from __future__ import annotations

import math
import socket
import warnings

import evaluate
import numpy as np
import pytest
import sklearn.metrics as sk

from modeling_mteeg.evaluation import METRICS, DegenerateMetricWarning, metric_for
from modeling_mteeg.model.task_card import BINARY_METRICS, MULTICLASS_METRICS

REFERENCE = {
    "balanced_accuracy": sk.balanced_accuracy_score,
    "auc_pr": sk.average_precision_score,
    "auroc": sk.roc_auc_score,
    "cohen_kappa": sk.cohen_kappa_score,
    "weighted_f1": lambda true, found: sk.f1_score(true, found, average="weighted"),
}
PROBABILITIES = ("auc_pr", "auroc")


def example(name, number=200, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    if name in PROBABILITIES:
        references = rng.integers(0, 2, number)
        return np.round(np.clip(references * 0.2 + rng.random(number), 0, 1), 2), references
    references = rng.integers(0, classes, number)
    noise = rng.integers(0, classes, number)
    return np.where(rng.random(number) < 0.4, references, noise), references


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("a metric asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_every_metric_of_a_task_card_exists():
    assert set(BINARY_METRICS) | set(MULTICLASS_METRICS) == set(METRICS) == set(REFERENCE)
    for name, kind in METRICS.items():
        assert issubclass(kind, evaluate.Metric) and kind.key == name
        assert metric_for(name).info.description


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn(name, seed):
    predictions, references = example(name, seed=seed)
    result = metric_for(name).compute(predictions=predictions, references=references)
    assert list(result) == [name] and type(result[name]) is float
    assert result[name] == pytest.approx(REFERENCE[name](references, predictions), abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_batches_add_up(name):
    predictions, references = example(name)
    whole = metric_for(name).compute(predictions=predictions, references=references)
    metric = metric_for(name)
    for part in (slice(0, 7), slice(7, 150), slice(150, 199)):
        metric.add_batch(predictions=predictions[part], references=references[part])
    metric.add(prediction=predictions[199], reference=references[199])
    assert metric.compute() == whole
    half = metric.compute(predictions=predictions[:100], references=references[:100])
    assert half[name] != whole[name]  # nothing of the first round is left


def test_metrics_side_by_side_do_not_mix():
    one, other = metric_for("weighted_f1"), metric_for("weighted_f1")
    one.add_batch(predictions=[0, 1], references=[0, 1])
    other.add_batch(predictions=[0, 1], references=[1, 0])
    assert (one.compute(), other.compute()) == ({"weighted_f1": 1.0}, {"weighted_f1": 0.0})


def test_best_chance_and_worst():
    references = [0, 0, 0, 1, 1, 1]
    for name, (best, worst) in {
        "auroc": (1, 0), "balanced_accuracy": (1, 0), "cohen_kappa": (1, -1), "weighted_f1": (1, 0)
    }.items():  # fmt: skip
        same = metric_for(name).compute(predictions=references, references=references)
        opposite = [1 - value for value in references]
        against = metric_for(name).compute(predictions=opposite, references=references)
        assert (same[name], against[name]) == (best, worst)
    flat = {"predictions": [0.5] * 6, "references": references}
    assert metric_for("auroc").compute(**flat) == {"auroc": 0.5}
    assert metric_for("auc_pr").compute(**flat) == {"auc_pr": 0.5}


def test_probabilities_keep_double_precision():
    predictions = [1 - 1e-9, 1 - 1e-10, 1 - 1e-11, 0.0]
    result = metric_for("auroc").compute(predictions=predictions, references=[0, 1, 1, 0])
    assert result == {"auroc": 1.0}


def test_a_predicted_class_without_references_is_no_matter():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = metric_for("balanced_accuracy").compute(predictions=[0, 5], references=[0, 1])
        metric_for("weighted_f1").compute(predictions=[0, 5], references=[0, 1])
    assert result == {"balanced_accuracy": 0.5}


@pytest.mark.parametrize("name", ["auroc", "auc_pr", "cohen_kappa"])
@pytest.mark.parametrize("predictions", [[0, 0, 1], [1, 1, 1]])
def test_a_single_class_gives_nan_and_a_warning(name, predictions):
    with pytest.warns(DegenerateMetricWarning, match=rf"{name}.*3 references are of class 1"):
        result = metric_for(name).compute(predictions=predictions, references=[1, 1, 1])
    assert math.isnan(result[name])


@pytest.mark.parametrize(
    "name, predictions, references, message",
    [
        ("auroc", [0.5, np.nan], [0, 1], "probability"),
        ("auroc", [0.5, 1.5], [0, 1], "probability"),
        ("auc_pr", [-0.5, 0.5], [0, 1], "probability"),
        ("auc_pr", [0.1, 0.5], [0, 2], "two classes"),
        ("cohen_kappa", [0, 1], [0, -1], "true classes"),
        ("weighted_f1", [0, -1], [0, 1], "classes"),
        ("weighted_f1", [], [], "none"),
    ],
)
def test_nonsense_is_an_error(name, predictions, references, message):
    with pytest.raises(ValueError, match=message):
        metric_for(name).compute(predictions=predictions, references=references)


def test_an_unknown_metric_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'accuracy'.*'auroc'"):
        metric_for("accuracy")
