"""Metrics of many resamples at once are those of one resample after the other."""

from __future__ import annotations

import numpy as np
import pytest
from fake_rows import CARDS, predictions

from modeling_mteeg.evaluation import METRICS, PeopleBootstrap, intervals, scores_by_subject
from modeling_mteeg.evaluation.evaluator import metric_inputs
from modeling_mteeg.evaluation.weighted_people import weighted_values


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 15)


def said(task, ties=False):
    found = predictions(CARDS[task], 0.7, people=9, windows=24)
    if ties:
        found.logits[:] = np.round(found.logits)
    return found


@pytest.mark.parametrize(("task", "metric"), [
    ("tuab", "balanced_accuracy"), ("tuab", "auc_pr"), ("tuab", "auroc"),
    ("tuev", "balanced_accuracy"), ("tuev", "cohen_kappa"), ("tuev", "weighted_f1"),
    ("chb-mit", "macro_auroc"),
])  # fmt: skip
@pytest.mark.parametrize("ties", [False, True])
def test_resamples_at_once_equal_resamples_one_by_one(task, metric, ties):
    found = said(task, ties)
    bootstrap = PeopleBootstrap(found.subjects, found.labels)
    predicted = metric_inputs(found, found.card)[METRICS[metric].wants]
    values = weighted_values(metric, predicted, found.labels, bootstrap.person, bootstrap.weights)
    assert values == pytest.approx(bootstrap.values(found, metric), abs=1e-12)
    assert np.ptp(values) > 0


@pytest.mark.parametrize("task", ["tuab", "tuev"])
def test_one_person_each_gives_the_metrics_by_subject(task):
    found = said(task)
    found.labels[found.subjects == "s003"] = 1  # of one class: kappa and AUROC say nothing
    rows = scores_by_subject(found)
    person = np.unique(found.subjects.astype(str), return_inverse=True)[1]
    for metric in found.card.metrics:
        predicted = metric_inputs(found, found.card)[METRICS[metric].wants]
        values = weighted_values(metric, predicted, found.labels, person, np.eye(9, dtype=int))
        assert values == pytest.approx([row[metric] for row in rows], abs=1e-12, nan_ok=True)
    assert np.isnan(rows[3][found.card.metrics[1]])


def test_nobody_drawn_is_no_value():
    found = said("tuab")
    person = np.unique(found.subjects.astype(str), return_inverse=True)[1]
    for metric in found.card.metrics:
        predicted = metric_inputs(found, found.card)[METRICS[metric].wants]
        nobody = np.zeros((2, 9), int)
        assert np.isnan(weighted_values(metric, predicted, found.labels, person, nobody)).all()
