"""The metrics of a task: chosen by a training, checked before any work."""

from __future__ import annotations

import pytest

from modeling_mteeg.evaluation import check_metrics, chosen_metrics
from modeling_mteeg.model.task_card import TaskCard

TUAB = TaskCard("tuab", ("normal", "abnormal"))
STAGES = TaskCard("sleep-edf", ("W", "N1", "N2", "N3", "REM"))


def test_without_a_choice_the_card_is_the_datas():
    for card in (TUAB, STAGES):
        assert chosen_metrics(card) is card
        assert chosen_metrics(card, monitor=card.monitor) is card
        assert chosen_metrics(card, metrics=card.metrics) is card


def test_a_chosen_monitor_is_the_cards_and_is_reported():
    chosen = chosen_metrics(TUAB, monitor="balanced_accuracy")
    assert chosen == TUAB.replace(monitor="balanced_accuracy")
    chosen = chosen_metrics(TUAB, monitor="cohen_kappa")
    assert (chosen.monitor, chosen.metrics) == ("cohen_kappa", (*TUAB.metrics, "cohen_kappa"))
    assert TaskCard.from_dict(chosen.to_dict()) == chosen
    assert TUAB.monitor == "auroc"  # the data's card is as it was


def test_chosen_metrics_replace_the_cards_and_keep_the_monitor():
    chosen = chosen_metrics(STAGES, metrics=["weighted_f1", "weighted_f1"])
    assert (chosen.monitor, chosen.metrics) == ("cohen_kappa", ("weighted_f1", "cohen_kappa"))
    chosen = chosen_metrics(STAGES, "weighted_f1", ["weighted_f1"])
    assert (chosen.monitor, chosen.metrics) == ("weighted_f1", ("weighted_f1",))


@pytest.mark.parametrize(
    "monitor, metrics, message",
    [
        ("auroc", None, r"'sleep-edf': metric 'auroc' is for two classes, the task has 5"),
        (None, ["auc_pr"], r"'sleep-edf': metric 'auc_pr' is for two classes"),
        ("cohen_kapa", None, r"'sleep-edf': unknown metric 'cohen_kapa' \(did you mean "
         r"'cohen_kappa'\?\)"),
    ],
)  # fmt: skip
def test_a_choice_that_does_not_suit_the_task_is_an_error(monitor, metrics, message):
    with pytest.raises(ValueError, match=message):
        chosen_metrics(STAGES, monitor, metrics)


def test_all_faults_of_all_cards_are_named():
    cards = [
        TUAB.replace(metrics=("auroc", "balanced_acuracy")),
        STAGES.replace(metrics=("cohen_kappa", "auroc", "xyz")),
        TUAB,
    ]
    with pytest.raises(ValueError) as caught:
        check_metrics(cards)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith("Task 'tuab': unknown metric 'balanced_acuracy' (did you mean ")
    assert first.endswith("'balanced_accuracy'?).")
    assert second == "Task 'sleep-edf': metric 'auroc' is for two classes, the task has 5."
    assert third.startswith("Task 'sleep-edf': unknown metric 'xyz' (known: balanced_accuracy,")
    check_metrics([TUAB, STAGES])
