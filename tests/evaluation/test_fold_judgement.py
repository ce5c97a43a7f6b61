"""Judged over folds: which statistic, whose intervals, and when there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from test_judgement import people

from modeling_mteeg.evaluation import WindowPredictions, intervals, judge, judge_folds, pooled


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 100)


def some(said: WindowPredictions, rows: np.ndarray) -> WindowPredictions:
    fields = ("logits", "labels", "recordings", "subjects", "onsets_s")
    values = {name: getattr(said, name)[rows] for name in fields}
    return WindowPredictions(card=said.card, **values)


def in_folds(said: WindowPredictions, folds: int) -> list[WindowPredictions]:
    """People dealt to folds."""
    names = sorted(set(said.subjects))
    return [some(said, np.flatnonzero(np.isin(said.subjects, names[fold::folds])))
            for fold in range(folds)]  # fmt: skip


def shifted(by_fold, offsets):
    """Every fold's model has another bias, as models of other people have."""
    return [
        WindowPredictions(said.logits + offset, said.labels, said.card, said.recordings,
                          said.subjects, said.onsets_s)
        for said, offset in zip(by_fold, offsets, strict=True)
    ]  # fmt: skip


def test_a_bias_of_a_fold_spoils_the_pooled_value_and_not_the_mean_over_folds():
    by_fold = in_folds(people(12, 20, effect=0.7), 3)
    plain, moved = judge_folds([by_fold]), judge_folds([shifted(by_fold, (-9, 0, 9))])
    aurocs = [roc_auc_score(said.labels, said.logits[:, 0]) for said in by_fold]
    for judged in (plain, moved):
        values = judged["metrics"]["auroc"]
        assert values["by_fold"] == pytest.approx(aurocs, abs=1e-6)
        assert judged["statistic"] == "mean over folds"
        low, high = judged["interval"]["low"], judged["interval"]["high"]
        assert low < np.mean(aurocs) < high
    assert moved["metrics"]["auroc"]["pooled"] < plain["metrics"]["auroc"]["pooled"] - 0.05
    assert moved["interval"] == pytest.approx(plain["interval"], abs=1e-6)


def test_folds_of_one_class_are_judged_pooled():
    said = people(10, 20)
    rows = np.flatnonzero((np.arange(len(said.labels)) // 20) % 2 == said.labels)
    by_person = in_folds(some(said, rows), 10)  # a person has one class
    judged = judge_folds([by_person], {"a floor": shifted(by_person, [-5.0] * 10)})
    whole = judge([pooled(by_person)])
    assert judged["statistic"] == "pooled" and np.isnan(judged["metrics"]["auroc"]["mean"])
    assert judged["interval"] == whole["intervals"]["auroc"]
    assert judged["floors"]["a floor"]["difference"]["value"] == pytest.approx(0, abs=1e-6)
    assert judged["floors"]["a floor"]["relation"] == "not shown to be above"
    assert "AUROC pooled" in judged["sentence"] and "one class" in judged["sentence"]


def test_seeds_are_averaged_and_a_better_model_is_above_a_worse():
    seeds = [in_folds(people(15, 20, effect=1.5, seed=0), 5), in_folds(people(15, 20, 1.0), 5)]
    chance = [some(said, np.arange(len(said.labels))) for said in seeds[0]]
    chance = [WindowPredictions(np.zeros_like(said.logits), said.labels, said.card, said.recordings,
                                said.subjects, said.onsets_s) for said in chance]  # fmt: skip
    judged = judge_folds(seeds, {"chance": chance})
    values = judged["metrics"]["auroc"]
    assert (
        values["mean"] == pytest.approx(np.mean(values["by_seed"])) and len(values["by_seed"]) == 2
    )
    floor = judged["floors"]["chance"]
    assert floor["relation"] == "above" and floor["metrics"]["auroc"]["mean"] == 0.5
    assert "above chance (0.500; difference +" in judged["sentence"]
    assert judged["people"] == 15 and judged["windows"] == 300 and judged["folds"] == 5


def test_few_people_have_no_interval_and_it_is_said():
    judged = judge_folds([in_folds(people(4, 20), 2)])
    assert "missing" in judged["interval"] and "4 people" in judged["sentence"]


def test_every_fold_has_its_own_threshold():
    by_fold = in_folds(people(12, 20, effect=0.7), 3)
    moved = shifted(by_fold, (-2, 0, 2))
    own = [
        dataclasses.replace(said, card=said.card.replace(threshold=1 / (1 + np.exp(-offset))))
        for said, offset in zip(moved, (-2, 0, 2), strict=True)
    ]
    plain, judged = judge_folds([by_fold]), judge_folds([own])
    accuracy = plain["metrics"]["balanced_accuracy"]
    assert judged["metrics"]["balanced_accuracy"] == accuracy
    assert judged["confusion"] == plain["confusion"] != judge_folds([moved])["confusion"]
    assert judged["intervals"]["balanced_accuracy"] == plain["intervals"]["balanced_accuracy"]
    assert judged["thresholds"] == [[said.card.threshold for said in own]]
    assert "in every fold its own" in judged["sentence"] and "own" not in plain["sentence"]


def test_predictions_of_other_windows_are_refused():
    with pytest.raises(ValueError, match="the same windows"):
        judge_folds([in_folds(people(12, 20), 3), in_folds(people(12, 20), 4)])
