"""Differences of two rows: paired over seeds and over people."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats
from fake_rows import CARDS, fake_row, in_folds, predictions

from modeling_mteeg.comparison.report.differences import Differences, paired_t
from modeling_mteeg.comparison.report.row_scores import score_rows
from modeling_mteeg.evaluation import intervals, judge, judge_folds


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 200)


def differences(*rows):
    return Differences(score_rows(rows))


METRIC = "balanced_accuracy"


def test_identical_rows_differ_by_exactly_nothing():
    rows = [fake_row(name, noise_of="same") for name in ("a", "b")]
    found = differences(*rows)
    for difference in (
        found.on_task("a", "b", "tuab", METRIC),
        found.in_the_mean("a", "b", METRIC),
    ):
        assert difference.value == 0
        assert (difference.over_people.low, difference.over_people.high) == (0, 0)
        assert (difference.seeds.interval.low, difference.seeds.interval.high) == (0, 0)
        assert difference.seeds.p == 1


def test_the_same_draws_make_the_interval_of_a_difference_narrow():
    """Rows that are wrong on the same people differ by less than each is uncertain."""
    better, worse = fake_row("better", 1.3, noise_of="x"), fake_row("worse", 1.0, noise_of="x")
    scored = score_rows([better, worse])
    found = Differences(scored)
    difference = found.on_task("better", "worse", "tuev", METRIC)
    alone = found.interval(scored.scores["better", "tuev"], METRIC)
    assert 0 < difference.over_people.low < difference.value < difference.over_people.high
    width = difference.over_people.high - difference.over_people.low
    assert width < 0.8 * (alone.high - alone.low)
    back = found.on_task("worse", "better", "tuev", METRIC)
    assert back.over_people.low == pytest.approx(-difference.over_people.high)


@pytest.mark.parametrize(("folds", "metric"), [(1, "auroc"), (3, "cohen_kappa")])
@pytest.mark.slow
def test_the_interval_is_that_of_the_judgement(folds, metric, monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 25)  # the judgement's are one by one
    task = "tuab" if metric == "auroc" else "tuev"
    rows = [fake_row("a", 1.2, folds=folds), fake_row("b", 1.0, "floor", folds=folds, seeds=(0,))]
    difference = differences(*rows).on_task("a", "b", task, metric)
    model, floor = ([row.tested[task][seed] for seed in row.tested[task]] for row in rows)
    if folds == 1:
        judged = judge([one[0] for one in model], {"floor": floor[0][0]})
    else:
        judged = judge_folds(model, {"floor": floor[0]})
    expected = judged["floors"]["floor"]["difference"]
    assert difference.value == pytest.approx(expected["value"], abs=1e-9)
    assert difference.over_people.low == pytest.approx(expected["low"], abs=1e-9)
    assert difference.over_people.high == pytest.approx(expected["high"], abs=1e-9)
    assert "one fit" in difference.seeds.note and len(difference.seeds.differences) == 3


def test_seeds_are_paired_by_their_number():
    rows = [fake_row("a", 1.2, seeds=(0, 1, 2)), fake_row("b", 1.0, seeds=(2, 1, 5))]
    scored = score_rows(rows)
    test = Differences(scored).on_task("a", "b", "tuab", METRIC).seeds
    a, b = (scored.scores[name, "tuab"] for name in "ab")
    assert a.seeds == (0, 1, 2) and b.seeds == (1, 2, 5)
    expected = a.by_seed(METRIC)[1:] - b.by_seed(METRIC)[:2]
    assert test.differences == pytest.approx(expected)
    assert "2 seeds that both" in test.note
    test = paired_t([0.1, 0.3, 0.2])
    scipys = scipy.stats.ttest_1samp([0.1, 0.3, 0.2], 0)
    interval = scipys.confidence_interval()
    assert (test.interval.low, test.interval.high) == pytest.approx((interval.low, interval.high))
    assert test.p == pytest.approx(scipys.pvalue) and test.above == 3


def test_the_same_difference_in_all_seeds_is_no_certainty():
    same = paired_t([0.05, 0.05, 0.05])
    assert same.interval.missing == "the same difference in all seeds" and same.p is None
    assert paired_t([0.0, 0.0]).p == 1 and paired_t([0.05, 0.05, 0.0501]).interval.low > 0


def test_no_test_where_there_is_nothing_to_test():
    one = differences(fake_row("a", seeds=(0,)), fake_row("b", 0.5, seeds=(0,)))
    difference = one.on_task("a", "b", "tuab", METRIC)
    assert difference.seeds.interval.missing == "one seed" and difference.seeds.p is None
    assert difference.over_people.low is not None
    apart = differences(fake_row("a", seeds=(0,)), fake_row("b", seeds=(1,)))
    assert "no seed in common" in apart.on_task("a", "b", "tuab", METRIC).missing
    gap = differences(fake_row("a"), fake_row("b", missing={"tuab": "needs 4 channels"}))
    assert "needs 4 channels" in gap.on_task("a", "b", "tuab", METRIC).missing
    assert gap.in_the_mean("a", "b", METRIC).tasks == ("tuev",)


def test_tasks_of_other_seeds_have_no_common_test_over_seeds():
    rows = [fake_row("a", seeds=(0, 1)), fake_row("b", 0.5, seeds=(0, 1))]
    rows[0].tested["tuev"][7] = rows[0].tested["tuev"].pop(0)
    rows[1].tested["tuev"][7] = rows[1].tested["tuev"].pop(0)
    mean = differences(*rows).in_the_mean("a", "b", METRIC)
    assert mean.seeds.interval.missing == "the tasks have different seeds"
    assert mean.over_people.low is not None


def test_other_windows_are_not_compared():
    moved = fake_row("b")
    for seed, (said,) in moved.tested["tuab"].items():
        moved.tested["tuab"][seed] = [dataclasses.replace(said, onsets_s=said.onsets_s + 1)]
    found = differences(fake_row("a"), moved)
    assert found.scored.other_windows == {("b", "tuab")}
    assert "other windows" in found.on_task("a", "b", "tuab", METRIC).missing


def test_too_few_people_have_no_interval_and_no_part_in_the_mean():
    tasks = ("tuab", "tuev", "chb-mit")
    found = differences(fake_row("a", 1.5, tasks=tasks), fake_row("b", 1.0, tasks=tasks))
    alone = found.on_task("a", "b", "chb-mit", METRIC)
    assert "2 people" in alone.over_people.missing and alone.seeds.interval.low is not None
    mean = found.in_the_mean("a", "b", METRIC)
    assert mean.tasks == ("tuab", "tuev") and mean.left_out == ("chb-mit",)
    by_task = [found.on_task("a", "b", task, METRIC) for task in mean.tasks]
    assert mean.value == pytest.approx(np.mean([each.value for each in by_task]))
    assert mean.people == 44
    widths = [each.over_people.high - each.over_people.low for each in by_task]
    # of independent halves: the root of the sum of squares
    width = mean.over_people.high - mean.over_people.low
    assert width == pytest.approx(np.hypot(*widths) / 2, rel=0.25)
    only = differences(*(fake_row(name, tasks=("chb-mit",)) for name in "ab"))
    nothing = only.in_the_mean("a", "b", METRIC)
    assert nothing.tasks == ("chb-mit",) and "no task" in nothing.over_people.missing


def test_the_people_of_two_tasks_are_drawn_by_themselves():
    """Two tasks with the same people and windows: half the variance, not all of it."""
    row = {name: fake_row(name, effect, tasks=("tuab",)) for name, effect in (("a", 1.4), ("b", 1))}
    card = CARDS["tuab"].replace(name="other")
    for one in row.values():
        one.tested["other"] = {
            seed: [dataclasses.replace(said[0], card=card)]
            for seed, said in one.tested["tuab"].items()
        }
    found = differences(*row.values())
    single, both = found.on_task("a", "b", "tuab", METRIC), found.in_the_mean("a", "b", METRIC)
    width = [each.over_people.high - each.over_people.low for each in (single, both)]
    assert width[1] == pytest.approx(width[0] / np.sqrt(2), rel=0.15)


def test_a_fold_of_one_class_is_judged_pooled():
    said = predictions(CARDS["tuab"], people=8, windows=20)
    said.labels[:] = (np.arange(160) // 20) % 2  # a person has one class
    row = fake_row("a", tasks=("tuab",))
    row.tested["tuab"] = {0: in_folds(said, 8)}
    scores = score_rows([row]).scores["a", "tuab"]
    assert scores.statistic("auroc") == "pooled" and np.isnan(scores.by_fold["auroc"]).all()
    assert scores.statistic(METRIC) == "mean over folds"
    assert np.isfinite(scores.mean("auroc"))
