"""Intervals over people, metrics by subject, and how a model stands to its floors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sklearn.metrics as sk
from test_saved_predictions import predictions_of
from tiny_corpora import CARDS

from modeling_mteeg import TaskCard
from modeling_mteeg.evaluation import (
    PeopleBootstrap,
    WindowPredictions,
    intervals,
    judge,
    score,
    scores_by_subject,
)

CARD = TaskCard("tuab", ("normal", "abnormal"))


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    """Each costs the metric once."""
    monkeypatch.setattr(intervals, "RESAMPLES", 200)


def people(number: int, windows: int, effect: float = 1.0, seed: int = 0, card=CARD):
    """Predictions of people who differ in how well they are told."""
    random = np.random.default_rng(seed)
    size = number * windows
    labels = np.tile(np.arange(size // number) % len(card.labels), number)
    person = np.repeat(np.arange(number), windows)
    skill = random.normal(effect, 0.5, number)[person]
    classes = np.eye(len(card.labels))[labels] * skill[:, None]
    logits = classes + random.normal(0, 1, classes.shape)
    logits = logits[:, 1:] - logits[:, :1] if card.is_binary else logits
    subjects = np.array([f"p{number:03}" for number in person], object)
    return WindowPredictions(
        logits.astype(np.float32), labels, card, subjects, subjects, np.arange(size) * 1.0
    )


@pytest.mark.parametrize("task", ["tuab", "seed-v"])
def test_an_interval_holds_its_estimate_and_narrows_with_people(task):
    widths = []
    for number in (8, 200):
        said = people(number, 12, card=CARDS[task])
        bootstrap = PeopleBootstrap(said.subjects, said.labels)
        estimate = score(said, said.card)
        for metric in said.card.metrics:
            interval = bootstrap.interval(bootstrap.values(said, metric))
            assert interval.low < estimate[metric] < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 2


def test_windows_copied_within_people_leave_the_interval_as_it_is():
    """More windows of the same people are no more people."""
    said = people(12, 10)
    twice = dataclasses.replace(
        said, **{name: np.repeat(getattr(said, name), 2, 0)
                 for name in ("logits", "labels", "recordings", "subjects", "onsets_s")}
    )  # fmt: skip
    first, second = (
        bootstrap.interval(bootstrap.values(each, "balanced_accuracy"))
        for each in (said, twice)
        for bootstrap in [PeopleBootstrap(each.subjects, each.labels)]
    )
    assert first.low == pytest.approx(second.low) and first.high == pytest.approx(second.high)


def test_people_of_one_window_each_are_a_bootstrap_over_windows():
    labels = np.arange(200) % 2
    random = np.random.default_rng(1)
    said = dataclasses.replace(
        people(200, 1), labels=labels,
        logits=(random.normal(0, 1, (200, 1)) + labels[:, None]).astype(np.float32),
    )  # fmt: skip
    bootstrap = PeopleBootstrap(said.subjects, said.labels)
    values = bootstrap.values(said, "auroc")
    draws = np.random.default_rng(0).integers(0, 200, (200, 200))
    expected = [sk.roc_auc_score(labels[draw], said.logits[draw, 0]) for draw in draws]
    assert values == pytest.approx(expected)
    interval = bootstrap.interval(values)
    assert (interval.low, interval.high) == pytest.approx(
        tuple(np.percentile(expected, [2.5, 97.5]))
    )


def test_the_order_of_windows_and_the_names_of_people_do_not_matter():
    said = people(9, 12)
    order = np.random.default_rng(0).permutation(len(said.labels))
    mixed = dataclasses.replace(
        said, **{name: getattr(said, name)[order]
                 for name in ("logits", "labels", "recordings", "subjects", "onsets_s")}
    )  # fmt: skip
    first, second = (judge([each])["intervals"]["auroc"] for each in (said, mixed))
    assert first == pytest.approx(second)


def test_without_enough_people_or_classes_it_says_so_instead_of_a_number():
    few = judge([people(4, 50)])
    assert few["people"] == 4
    reason = "4 people, and at least 5 are needed"
    assert few["intervals"]["auroc"] == {"missing": reason} and reason in few["sentence"]
    assert "1 person" in judge([people(1, 50)])["sentence"]
    said = people(10, 6)
    rare = np.where(np.isin(said.subjects, ["p003"]), said.labels, 0)
    lacking = judge([dataclasses.replace(said, labels=rare)])["intervals"]
    assert all("too few people" in interval["missing"] for interval in lacking.values())
    with pytest.warns(UserWarning, match="is not defined"):
        single = judge([dataclasses.replace(said, labels=np.zeros_like(said.labels))])
    assert single["intervals"]["auroc"] == {"missing": "it is undefined"}
    assert "AUROC undefined" in single["sentence"]


def test_a_resample_that_lacks_a_class_is_left_out():
    said = people(8, 6)
    labels = np.where(np.isin(said.subjects, ["p000", "p001", "p002"]), 1, 0)  # a class a person
    said = dataclasses.replace(said, labels=labels)
    bootstrap = PeopleBootstrap(said.subjects, labels)
    values = bootstrap.values(said, "auroc")
    assert 180 < len(values) < 200 and np.isfinite(values).all()
    assert len(bootstrap.values(said, "balanced_accuracy")) == len(values)


def test_a_model_beside_its_floors():
    strong, weak = people(20, 20, 3.0), people(20, 20, 0.5, seed=1)
    verdicts = judge([strong], {"weak": weak})["floors"]["weak"]
    assert verdicts["relation"] == "above" and verdicts["difference"]["low"] > 0
    turned = judge([weak], {"strong": strong})
    assert turned["floors"]["strong"]["relation"] == "below"
    assert "; below strong (" in turned["sentence"]
    same = judge([weak], {"weak": weak})["floors"]["weak"]
    assert same["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert same["relation"] == "not shown to be above"
    assert same["scores"] == {name: score(weak, CARD)[name] for name in CARD.metrics}


@pytest.mark.slow
def test_several_seeds_are_judged_by_their_mean():
    seeds = [people(15, 20, 1.0, seed) for seed in range(3)]
    together, alone = judge(seeds), [judge([said]) for said in seeds]
    low = [each["intervals"]["auroc"]["low"] for each in alone]
    assert min(low) < together["intervals"]["auroc"]["low"]
    confusion = np.sum([each["confusion"] for each in alone], 0)
    assert together["confusion"] == confusion.tolist() and confusion.sum() == 900
    same = judge([seeds[0]] * 3)["intervals"]
    assert same["auroc"] == pytest.approx(alone[0]["intervals"]["auroc"])


def test_predictions_of_other_windows_are_refused():
    with pytest.raises(ValueError, match="the same windows"):
        judge([people(6, 10), people(6, 12)])
    late = dataclasses.replace(people(6, 10), onsets_s=np.zeros(60))
    with pytest.raises(ValueError, match="the same windows"):
        judge([people(6, 10)], {"a floor": people(6, 10, seed=2), "another": late})


def test_metrics_by_subject():
    said = predictions_of(CARDS["tuab"], number=20)
    labels = said.labels.copy()
    labels[said.subjects == "s1"] = 0
    said = dataclasses.replace(said, labels=labels)
    rows = scores_by_subject(said)
    assert [(row["subject"], row["recordings"], row["windows"]) for row in rows] == [
        ("s0", 2, 8), ("s1", 2, 8), ("s2", 1, 4)
    ]  # fmt: skip
    assert np.isnan(rows[1]["auroc"])
    mine = said.subjects == "s2"
    assert rows[2]["auroc"] == sk.roc_auc_score(labels[mine], said.logits[mine, 0])
    assert rows[1]["balanced_accuracy"] == np.mean(said.logits[said.subjects == "s1"] < 0)
