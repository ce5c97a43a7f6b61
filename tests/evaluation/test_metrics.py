"""Metrics equal scikit-learn's, work offline, and say where they mean nothing."""

from __future__ import annotations

import math
import socket
import warnings

import evaluate
import numpy as np
import pytest
import sklearn.metrics as sk

from modeling_mteeg.evaluation import (
    METRICS,
    AucPr,
    Auroc,
    BalancedAccuracy,
    CohenKappa,
    DegenerateMetricWarning,
    Predictions,
    WeightedF1,
    metric,
    metric_for,
    monitor_mean,
    score,
)
from modeling_mteeg.evaluation.metrics import in_order, title_of
from modeling_mteeg.model.task_card import BINARY_METRICS, MULTICLASS_METRICS, TaskCard

REFERENCE = {
    "balanced_accuracy": sk.balanced_accuracy_score,
    "auc_pr": sk.average_precision_score,
    "auroc": sk.roc_auc_score,
    "cohen_kappa": sk.cohen_kappa_score,
    "weighted_f1": lambda true, found: sk.f1_score(true, found, average="weighted"),
    "macro_auroc": lambda true, found: sk.roc_auc_score(true, found, multi_class="ovr"),
}
PROBABILITIES = ("auc_pr", "auroc")


def example(name, number=200, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    if name in PROBABILITIES:
        references = rng.integers(0, 2, number)
        return np.round(np.clip(references * 0.2 + rng.random(number), 0, 1), 2), references
    references = rng.integers(0, classes, number)
    if name == "macro_auroc":
        scores = rng.random((number, classes)) + 0.3 * (references[:, None] == np.arange(classes))
        return scores / scores.sum(1, keepdims=True), references
    noise = rng.integers(0, classes, number)
    return np.where(rng.random(number) < 0.4, references, noise), references


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("a metric asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def own_metric():
    """A metric of one's own, as one would write it in a file of one's own."""

    @metric("sensitivity of class 1", needs_two_classes=True)
    def sensitivity(predictions: np.ndarray, references: np.ndarray) -> float:
        """Part of the positives that are found."""
        return (predictions == 1)[references == 1].mean()

    yield sensitivity
    del METRICS["sensitivity"]


def test_every_metric_of_a_task_card_exists():
    papers = set(BINARY_METRICS) | set(MULTICLASS_METRICS)
    assert papers < set(REFERENCE) <= set(METRICS)
    for name in METRICS:
        module = metric_for(name)
        assert isinstance(module, evaluate.Metric) and module.key == name
        assert module.info.description


def test_the_papers_five_are_classes_of_evaluate():
    classes = (BalancedAccuracy, AucPr, Auroc, CohenKappa, WeightedF1)
    assert [kind.key for kind in classes] == list(METRICS)[: len(classes)]
    for kind in classes:
        assert issubclass(kind, evaluate.Metric) and type(metric_for(kind.key)) is kind
        assert kind.__name__.lower() == kind.key.replace("_", "")
        assert kind.__doc__ == METRICS[kind.key].description


def test_a_metric_is_one_function_and_its_title(own_metric):
    assert title_of("sensitivity") == "sensitivity of class 1"
    assert list(METRICS)[-1] == "sensitivity"
    result = metric_for("sensitivity").compute(predictions=[0, 1, 1], references=[1, 1, 0])
    assert result == {"sensitivity": 0.5}
    assert own_metric(np.array([0, 1]), np.array([1, 1])) == 0.5  # still the plain function
    assert "positives" in metric_for("sensitivity").info.description
    with pytest.warns(DegenerateMetricWarning, match="sensitivity"):
        value = metric_for("sensitivity").compute(predictions=[0, 1], references=[0, 0])
    assert math.isnan(value["sensitivity"])


def test_a_task_is_scored_by_a_metric_of_ones_own(own_metric):
    card = TaskCard("tuab", ("normal", "abnormal"), metrics=("sensitivity",), monitor="sensitivity")
    logits = np.array([[-1.0], [1.0], [1.0]], np.float32)
    result = score(Predictions(logits, np.array([1, 1, 0])), card)
    assert result["sensitivity"] == 0.5
    assert monitor_mean({"tuab": result}, {"tuab": card}) == 0.5


def test_a_metric_may_be_written_again_in_its_own_module(own_metric):
    def sensitivity(predictions, references):
        return 1.0

    metric("anew")(sensitivity)
    assert title_of("sensitivity") == "anew"
    assert metric_for("sensitivity").compute(predictions=[0], references=[1])["sensitivity"] == 1.0


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("auroc", {}, r"'auroc' already, in modeling_mteeg\.evaluation\.metrics"),
        ("loss", {}, "'loss' can be no metric's name"),
        ("sensitivity", {"wants": "logits"}, "expected one of .*'probabilities'.*, found 'logits'"),
    ],
)
def test_what_can_be_no_metric_is_refused(name, options, message):
    def function(predictions, references):
        return 0.0

    function.__name__ = name
    before = dict(METRICS)
    with pytest.raises(ValueError, match=message):
        metric("title", **options)(function)
    assert before == METRICS


def test_columns_stand_in_the_order_of_the_file():
    assert in_order({"weighted_f1", "auroc"}) == ["auroc", "weighted_f1"]
    assert in_order(["zeta", "alpha", "auroc"]) == ["auroc", "alpha", "zeta"]
    assert title_of("alpha") == "alpha"


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn(name, seed):
    predictions, references = example(name, seed=seed)
    result = metric_for(name).compute(predictions=predictions, references=references)
    assert list(result) == [name] and type(result[name]) is float
    assert result[name] == pytest.approx(REFERENCE[name](references, predictions), abs=1e-12)


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].quick])
def test_the_quick_way_for_resamples_gives_the_same(name):
    for seed in range(20):
        predictions, references = example(name, number=5 + 20 * seed, seed=seed)
        predictions = predictions.round(seed % 3 + 1)  # ties, too
        if len(set(references)) == 2:
            value = METRICS[name].resampled(predictions, references)
            assert value == pytest.approx(REFERENCE[name](references, predictions), abs=1e-12)


@pytest.mark.parametrize("name", REFERENCE)
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
