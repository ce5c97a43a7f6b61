"""The threshold chosen on validation is what a search through all of them finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from modeling_mteeg.evaluation import Predictions, choose_threshold, confusion_counts, score
from modeling_mteeg.evaluation.evaluator import positive_probability
from modeling_mteeg.model.task_card import TaskCard, TaskCardError

ONE_LOGIT = TaskCard("a", ("no", "yes"))
TWO_LOGITS = TaskCard("a", ("no", "yes"), loss="cross_entropy")


def said(seed, card, number=60, rare=0.15):
    random = np.random.default_rng(seed)
    labels = (random.random(number) < rare).astype(np.int64)
    labels[:2] = 0, 1
    margin = np.round(random.normal(labels * 1.5 - 2, 1.0), 1)  # rounded: many are equal
    shift = random.normal(size=number)
    logits = margin[:, None] if card.is_binary else np.stack([shift, shift + margin], 1)
    return Predictions(logits.astype(np.float32), labels)


@pytest.mark.parametrize("card", [ONE_LOGIT, TWO_LOGITS])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_search_through_all_thresholds_finds(card, seed):
    predictions = said(seed, card)
    p = positive_probability(predictions, card)
    levels = sorted(set(p.tolist()))
    tried = [0.5, *((low + high) / 2 for low, high in itertools.pairwise(levels))]

    def accuracy(t):
        return np.mean([np.mean((p >= t)[predictions.labels == c] == c) for c in (0, 1)])

    values = [round(accuracy(t), 12) for t in tried]
    best = [t for t, value in zip(tried, values, strict=True) if value == max(values)]
    expected = min(sorted(best), key=lambda t: abs(t - 0.5))
    assert choose_threshold(predictions, card) == pytest.approx(expected, abs=1e-15)
    # and no other number between 0 and 1 is better, but for calling all windows positive
    grid = np.linspace(levels[0] + 1e-9, 1, 201)
    assert max(values) >= max(map(accuracy, grid)) - 1e-9


def test_equals_go_to_one_half():
    logits = np.array([-3.0, -2.0, 2.0, 3.0], np.float32)[:, None]
    assert choose_threshold(Predictions(logits, np.array([0, 0, 1, 1])), ONE_LOGIT) == 0.5


@pytest.mark.parametrize("labels, card", [
    ([0, 0, 0], ONE_LOGIT), ([0, 1, 2], TaskCard("a", ("x", "y", "z"))),
])  # fmt: skip
def test_nothing_to_choose_gives_none(labels, card):
    logits = np.zeros((3, card.num_outputs), np.float32)
    assert choose_threshold(Predictions(logits, np.array(labels)), card) is None


def test_the_card_s_threshold_decides_in_metrics_and_confusion():
    predictions = said(3, ONE_LOGIT)
    p = positive_probability(predictions, ONE_LOGIT)
    card = ONE_LOGIT.replace(threshold=0.2)
    with_it, without = score(predictions, card), score(predictions, ONE_LOGIT)
    expected = balanced_accuracy_score(predictions.labels, p >= 0.2)
    assert with_it["balanced_accuracy"] == pytest.approx(expected)
    assert with_it["balanced_accuracy"] != without["balanced_accuracy"]
    for metric in ("auroc", "auc_pr", "loss"):
        assert with_it[metric] == without[metric], "a threshold decides nothing there"
    assert confusion_counts(predictions, card)[:, 1].sum() == (p >= 0.2).sum()


def test_cards_without_a_threshold_are_those_of_before():
    assert "threshold" not in ONE_LOGIT.to_dict()
    card = ONE_LOGIT.replace(threshold=0.375)
    assert TaskCard.from_dict(card.to_dict()) == card and card.to_dict()["threshold"] == 0.375
    for threshold, labels in ((0.0, 2), (1.0, 2), (1.5, 2), ("x", 2), (True, 2), (0.4, 3)):
        with pytest.raises(TaskCardError, match="threshold"):
            TaskCard("a", tuple("xyz"[:labels]), threshold=threshold)


def test_decisions_of_a_card():
    probabilities = np.array([[0.5, 0.5], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9]])
    assert ONE_LOGIT.decide(probabilities).tolist() == [0, 0, 0, 1]
    card = ONE_LOGIT.replace(threshold=0.4)
    assert card.decide(probabilities).tolist() == [1, 0, 1, 1]
    assert "threshold 0.4, chosen on validation" in card.decision
