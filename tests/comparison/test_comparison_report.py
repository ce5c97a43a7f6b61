"""A comparison's files: numbers by hand, marks, gaps, escapes, and what is said of little data."""

from __future__ import annotations

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
import sklearn.metrics as sk
from fake_rows import CARDS, fake_row, in_folds

from modeling_mteeg.comparison.report import ReportPlan, report_figures, write_report
from modeling_mteeg.comparison.report.paper_tables import make_tables
from modeling_mteeg.comparison.report.row_scores import score_rows
from modeling_mteeg.comparison.report.table_formats import as_latex, as_markdown, latex
from modeling_mteeg.evaluation import intervals, scores_by_subject
from modeling_mteeg.settings.plain_json import write_text


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 60)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(report_figures, "can_draw", lambda: False)


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shown(values):
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def line_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"| {name} "))


def test_tables_show_what_scikit_learn_computes():
    row = fake_row("a", 1.0)
    text = as_markdown(make_tables(score_rows([row]))[0])
    by_seed = [said for (said,) in row.tested["tuab"].values()]
    recall = [sk.balanced_accuracy_score(s.labels, s.logits[:, 0] >= 0) for s in by_seed]
    area = [sk.roc_auc_score(s.labels, s.logits[:, 0]) for s in by_seed]
    precision = [sk.average_precision_score(s.labels, s.logits[:, 0]) for s in by_seed]
    cells = line_of(text, "a").split(" | ")
    assert cells[1:6] == ["3", "1 k", shown(recall), shown(precision), shown(area)]
    assert "720 test windows of 24 people" in text and "n - 1" in text


def test_folds_are_averaged_seed_by_seed():
    row = fake_row("a", 1.0, folds=4, tasks=("tuev",))
    text = as_markdown(make_tables(score_rows([row]))[0])
    by_seed = [
        np.mean([sk.balanced_accuracy_score(s.labels, s.logits.argmax(1)) for s in folds])
        for folds in row.tested["tuev"].values()
    ]
    assert line_of(text, "a").split(" | ")[3] == shown(by_seed)
    assert "4 folds" in text and "Of a seed the mean over the folds" in text


def test_marks_are_within_groups_and_of_what_is_shown():
    rows = [fake_row("low", 0.5), fake_row("top", 2.0, noise_of="t"),
            fake_row("also top", 2.0, noise_of="t"), fake_row("middle", 1.2),
            fake_row("alone", 3.0, "single-task"), fake_row("floor", 4.0, "floor")]  # fmt: skip
    text = as_markdown(make_tables(score_rows(rows))[0])
    marks = {row.name: (line_of(text, row.name).count("**"), line_of(text, row.name).count("<u>"))
             for row in rows}  # fmt: skip
    assert marks == {"low": (0, 0), "top": (12, 0), "also top": (12, 0), "middle": (0, 6),
                     "alone": (0, 0), "floor": (0, 0)}  # fmt: skip


def test_what_is_undefined_is_neither_marked_nor_hidden():
    rows = [fake_row("a", 1.0, tasks=("tuab",)), fake_row("b", 1.2, tasks=("tuab",))]
    for row in rows:
        for (said,) in row.tested["tuab"].values():
            said.labels[:] = 1
    text = as_markdown(make_tables(score_rows(rows))[0])
    assert line_of(text, "a").count("n/a") == 2 and "hold one class" in text
    assert line_of(text, "b").count("**") == 2  # balanced accuracy alone


def test_gaps_have_their_reason_below():
    why = "needs 4 channels | has 2_a"
    rows = [fake_row("a"), fake_row("b", missing={"tuev": why}),
            fake_row("c", missing={"tuev": why})]  # fmt: skip
    other = fake_row("other windows")
    for seed, (said,) in other.tested["tuab"].items():
        other.tested["tuab"][seed] = [dataclasses.replace(said, onsets_s=said.onsets_s + 1)]
    table = make_tables(score_rows([*rows, other]))[0]
    text, tex = as_markdown(table), as_latex(table)
    assert line_of(text, "b").count("– (1)") == 3 == line_of(text, "c").count("– (1)")
    assert r"- (1) tuev: needs 4 channels \| has 2\_a" in text
    assert line_of(text, "other windows").count("(2)") == 3 and "not to be compared" in text
    assert "**" not in line_of(text, "other windows").split(" | ")[3]
    assert r"--$^{1}$" in tex and r"$^{1}$ tuev: needs 4 channels \textbar{} has 2\_a" in tex


def test_latex_is_escaped_and_has_as_many_cells_as_columns():
    rows = [fake_row(r"*A_1 & 50% #{x} \^~$", 1.0), fake_row("b", 2.0)]
    tex = as_latex(make_tables(score_rows(rows))[0])
    assert r"{*}A\_1 \& 50\% \#\{x\} \textbackslash{}\textasciicircum{}\textasciitilde{}\$" in tex
    body = tex.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    wide = [sum(int(n) - 1 for n in re.findall(r"multicolumn\{(\d+)", line)) for line in lines]
    widths = [line.count(" & ") + 1 + more for line, more in zip(lines, wide, strict=True)
              if r"A\_1" not in line]  # fmt: skip
    assert set(widths) == {9} and r"\begin{tabular}{lllcccccc}" in tex
    assert "{[}" in latex("[a]") and not re.search(r"\\\\\s*[*\[]", tex)
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")
    assert latex("±") == r"$\pm$" and r"\textbf{0.9" in tex and r"\underline{0." in tex


def test_the_files_recompute_each_other(tmp_path, no_pictures):
    rows = [fake_row("a", 1.3, folds=3), fake_row("b", 1.0, folds=3)]
    text = write_report(rows, tmp_path, ReportPlan.read({"claims": {"mteeg": "a", "hps": "b"}}))
    values, summary = read_csv(tmp_path / "table.csv"), read_csv(tmp_path / "summary.csv")
    markdown = (tmp_path / "tables.md").read_text("utf-8")
    for line in summary:
        folds = [v for v in values if v["fold"] != "pooled"
                 and all(v[key] == line[key] for key in ("row", "task", "metric"))]  # fmt: skip
        by_seed = [np.mean([float(v["value"]) for v in folds if v["seed"] == seed])
                   for seed in ("0", "1", "2")]  # fmt: skip
        assert len(folds) == 9 and float(line["mean"]) == pytest.approx(np.mean(by_seed), abs=1e-14)
        assert shown(by_seed) in line_of(markdown, line["row"])
        assert float(line["low_people"]) < float(line["mean"]) < float(line["high_people"])
    difference = next(d for d in read_csv(tmp_path / "differences.csv")
                      if d["task"] == "tuab" and d["metric"] == "auroc")  # fmt: skip
    means = {line["row"]: float(line["mean"]) for line in summary
             if line["task"] == "tuab" and line["metric"] == "auroc"}  # fmt: skip
    assert float(difference["difference"]) == pytest.approx(means["a"] - means["b"])
    told = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert told["tasks"]["tuab"]["folds"] == 3 and len(told["summary"]) == len(summary)
    assert "No figures: matplotlib is not installed" in text and told["pictures"] == []


def test_metrics_by_subject_are_those_of_the_evaluation(tmp_path, no_pictures):
    row = fake_row("a", 1.0, tasks=("tuev",), seeds=(4,))
    row.tested["tuev"][4] = in_folds(row.tested["tuev"][4][0], 2)
    write_report([row], tmp_path, ReportPlan())
    lines = read_csv(tmp_path / "by_subject.csv")
    expected = [{**one, "fold": str(fold)} for fold, said in enumerate(row.tested["tuev"][4])
                for one in scores_by_subject(said)]  # fmt: skip
    assert len(lines) == 20
    for line, one in zip(lines, expected, strict=True):
        assert (line["fold"], line["subject"]) == (one["fold"], one["subject"])
        assert (line["windows"], line["recordings"]) == ("30", "2")
        for metric in CARDS["tuev"].metrics:
            assert float(line[metric]) == pytest.approx(one[metric], abs=1e-12)


def test_one_seed_and_one_task_are_enough_and_said(tmp_path, no_pictures):
    row = fake_row("a", tasks=("tuab",), seeds=(3,))
    text = write_report([row], tmp_path, ReportPlan.read({"claims": {"mteeg": "a"}}))
    tables = (tmp_path / "tables.md").read_text("utf-8")
    assert "rows with one seed have no deviation" in tables and " ± " not in line_of(tables, "a")
    assert "There is one seed" in (tmp_path / "claims.md").read_text("utf-8")
    assert "simulated" in text.splitlines()[0]
    nothing = fake_row("b", tasks=("tuab",), missing={"tuab": "not finished"})
    write_report([nothing], tmp_path, ReportPlan())
    tables = (tmp_path / "tables.md").read_text("utf-8")
    assert "– (1)" in line_of(tables, "b") and "(1) tuab: not finished" in tables


def test_no_rows_and_two_of_a_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found none"):
        write_report([], tmp_path, ReportPlan())
    with pytest.raises(ValueError, match=r"found twice: \['a'\]"):
        write_report([fake_row("a"), fake_row("a")], tmp_path, ReportPlan())


def test_pictures_of_what_the_plan_names(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(report_figures, "save_figure", lambda _, path: write_text(path, ""))
    tasks = ("tuab", "tuev", "seed-v")
    rows = [fake_row("a", tasks=tasks), fake_row("b", tasks=tasks, missing={"tuev": "no"})]
    figures = {"location": {"both": "a", "attention": "b"}, "no/where": {"x": "none", "y": "not"}}
    text = write_report(rows, tmp_path, ReportPlan.read({"figures": figures, "radar": ["a", "z"]}))
    made = {path.name for path in tmp_path.glob("*.png")}
    assert made == {"radar.png", "ablation_location.png", *(f"confusion_{t}.png" for t in tasks)}
    assert "No figure of no/where" in text and "no row 'z'" in text
    two = fake_row("a", tasks=tasks[:2])
    assert "No radar: it needs 3 tasks" in write_report([two], tmp_path, ReportPlan())
    made = {path.name for path in tmp_path.iterdir() if path.suffix in (".png", ".tex")}
    assert made == {"confusion_tuab.png", "confusion_tuev.png", "table_1.tex"}
