"""Claims follow the data, and say no more than the data."""

from __future__ import annotations

import pytest
from fake_rows import fake_row

from modeling_mteeg.comparison.report import ReportPlan
from modeling_mteeg.comparison.report.claims import (
    FAILS,
    HOLDS,
    OPEN,
    UNTESTED,
    test_claims,
    together,
)
from modeling_mteeg.comparison.report.claims_text import claims_page
from modeling_mteeg.comparison.report.differences import Differences
from modeling_mteeg.comparison.report.row_scores import score_rows
from modeling_mteeg.evaluation import intervals
from modeling_mteeg.settings.schema import ConfigError


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 200)


def claimed(rows, claims, **plan):
    plan = ReportPlan.read({"claims": claims, **plan})
    scored = score_rows(rows)
    made = test_claims(scored, Differences(scored), plan)
    return {claim.key: claim for claim in made}, claims_page(scored, made, plan)


ROLES = {"mteeg": "ours", "hps": "hps", "single": "single"}


def rows(ours=1.5, hps=0.8, single=1.5, **options):
    options["noise_of"] = "x"
    return [
        fake_row("ours", ours, trained=1_848_399, **options),
        fake_row("hps", hps, **options),
        fake_row("single", single, "single-task", trained=5_800_000, **options),
    ]


def test_claims_flip_with_the_data():
    there, page = claimed(rows(), ROLES)
    assert there["joint training costs"].verdict == HOLDS
    assert there["level with single-task"].verdict == HOLDS
    assert there["a third of the parameters"].verdict == HOLDS
    assert "0.32 of one LaBraM" in page and "simulated" in page
    flipped, _ = claimed(rows(ours=0.6, hps=2.2), ROLES)
    assert flipped["joint training costs"].verdict == FAILS
    assert flipped["level with single-task"].verdict == FAILS
    same, page = claimed(rows(hps=1.5), ROLES)
    assert same["joint training costs"].verdict == OPEN
    assert "the interval over people holds 0" in page


def test_a_row_that_is_not_there_keeps_a_claim_from_holding():
    found, page = claimed(rows(), ROLES)
    above = found["above other sharing"]
    assert above.by_task == {"tuab": HOLDS, "tuev": HOLDS} and above.verdict == OPEN
    assert "The plan names no row as cgc." in page
    assert found["gates do not repair it"].verdict == UNTESTED
    missing, _ = claimed(rows(), ROLES | {"mmoe": "nowhere", "cgc": "hps"})
    assert any("no row 'nowhere'" in note for note in missing["above other sharing"].notes)
    assert missing["above other sharing"].verdict == OPEN
    assert {"rank 8", "sharing"} & set(found) == {"rank 8"} and found["rank 8"].verdict == UNTESTED
    gap = rows()
    gap[1] = fake_row("hps", 0.8, noise_of="x", missing={"tuev": "not finished"})
    assert claimed(gap, ROLES)[0]["joint training costs"].verdict == OPEN


@pytest.mark.parametrize(("options", "why"), [({"seeds": (0,)}, "one seed"),
                                              ({"tasks": ("chb-mit",)}, "2 people")])  # fmt: skip
def test_without_both_tests_nothing_is_shown(options, why):
    found, page = claimed(rows(**options), ROLES)
    claim = found["joint training costs"]
    assert claim.verdict == OPEN and why in claim.tests[0].reason and why in page


def test_the_margin_is_what_level_means():
    close = rows(ours=1.4, single=1.45)
    assert claimed(close, ROLES, margin=0.2)[0]["level with single-task"].verdict == HOLDS
    assert claimed(close, ROLES, margin=0.001)[0]["level with single-task"].verdict != HOLDS
    tests = claimed(close, ROLES | {"mmoe": "hps", "cgc": "hps"}, comparable=["tuev"])[0]
    bounds = {test.difference.task: test.bound for test in tests["above other sharing"].tests}
    assert bounds == {"tuab": 0, "tuev": -0.02, "mean over tasks": 0}


def test_an_ablation_is_tested_against_every_other_value():
    ranks = {4: "r4", 8: "ours", 16: "r16"}
    data = rows() + [fake_row("r4", 0.8, "ablation"), fake_row("r16", 0.9, "ablation")]
    found, _ = claimed(data, ROLES, figures={"rank": ranks})
    assert found["rank 8"].verdict == HOLDS
    pairs = {(test.difference.first, test.difference.second) for test in found["rank 8"].tests}
    assert pairs == {("ours", "r4"), ("ours", "r16")}
    data[-1] = fake_row("r16", 3.0, "ablation")
    assert claimed(data, ROLES, figures={"rank": ranks})[0]["rank 8"].verdict == FAILS
    assert claimed(data[:-1], ROLES, figures={"rank": ranks})[0]["rank 8"].verdict == OPEN


def test_the_best_from_scratch_is_chosen_task_by_task():
    data = rows() + [fake_row("s1", {"tuab": 1.2, "tuev": 0.2}, "single-task"),
                     fake_row("s2", {"tuab": 0.4, "tuev": 1.0}, "single-task")]  # fmt: skip
    found, _ = claimed(data, ROLES | {"scratch": ["s1", "s2"]})
    tests = found["above from scratch"].tests
    assert [(t.difference.task, t.difference.second) for t in tests[:2]] == [
        ("tuab", "s1"), ("tuev", "s2"),
    ]  # fmt: skip


def test_ways_of_sharing_are_a_claim_each_and_variants_are_tested_too():
    data = rows() + [fake_row("pool", 2.2, "sharing", noise_of="x"), fake_row("big", 2.5)]
    plan = {"variants": {"Large": {"mteeg": "big", "single": "single"}}}
    found, page = claimed(data, ROLES | {"sharing": ["pool", "hps"]}, **plan)
    assert found["ways of sharing: pool"].verdict == HOLDS
    assert found["ways of sharing: hps"].verdict == FAILS
    assert "MTEEG is level with one LaBraM for each task (Large)" in page


def test_together_needs_all():
    assert together([HOLDS, HOLDS]) == HOLDS and together([HOLDS, FAILS, OPEN]) == FAILS
    assert together([HOLDS, UNTESTED]) == OPEN and together([UNTESTED]) == UNTESTED
    assert together([]) == UNTESTED


def test_gradients_are_told_where_they_were_compared():
    told = {"tasks": ["a", "b", "c"], "overall": {
        "mean_cosine": [[1, 0.2, -0.4], [0.2, 1, None], [-0.4, None, 1]],
        "negative_share": [[0, 0.1, 0.9], [0.1, 0, None], [0.9, None, 0]], "negative_pairs": 0.5,
    }}  # fmt: skip
    _, page = claimed([fake_row("joint", conflicts=told)], {})
    assert "| joint | 3 | -0.100 | 1 of 2 | 50% | a and c: -0.400 |" in page
    del told["overall"]["negative_pairs"]
    assert "| 50% |" in claimed([fake_row("joint", conflicts=told)], {})[1]
    assert "Do gradients conflict" not in claimed([fake_row("joint")], {})[1]


def test_all_faults_of_a_plan_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        ReportPlan.read({"metrik": 1, "claims": {"mteg": "x"}, "margin": 2})
    text = str(error.value)
    assert "metrik" in text and "did you mean 'metric'" in text and "margin" in text
    with pytest.raises(ConfigError, match=r"'balanced_accuracy'\?(.|\n)*'mteeg'\?"):
        ReportPlan.read({"claims": {"mteg": "x"}, "metric": "balanced_acuracy"})
    plan = ReportPlan.read({"radar": ["A"], "figures": {"rank": {8: "B"}}, "claims": {"hps": "A"}})
    faults = []
    plan.check_rows(["A", "C"], faults)
    assert faults == ["report.figures.rank: there is no row 'B' (known: A, C)"]
