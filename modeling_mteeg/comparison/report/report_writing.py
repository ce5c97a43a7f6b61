"""A comparison's report: everything that can be said of finished rows, as files and as a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...evaluation.metrics import title_of
from ...settings.plain_json import write_json, write_text
from ..row_results import RowResults
from .claims import Claim, test_claims
from .claims_text import by_task_text, claims_page
from .data_files import (
    DIFFERENCES,
    SUMMARY,
    VALUES,
    difference_rows,
    subject_columns,
    subject_rows,
    summary_rows,
    value_rows,
    write_csv,
)
from .differences import Differences
from .paper_tables import Cell, Table, make_tables
from .report_figures import draw_all, simulated_text
from .report_plan import ReportPlan
from .row_scores import Scored, score_rows
from .table_formats import as_latex, as_markdown

FORMAT = 1
_OF_SOME = ("table_[0-9]*.tex", "radar.png", "ablation_*.png", "confusion_*.png")
"""Files that a report may lack which an earlier one had."""


def write_report(rows: Sequence[RowResults], folder: Path, plan: ReportPlan) -> str:
    """Write tables, claims, figures and data of finished rows.

    Parameters
    ----------
    rows : sequence of RowResults
        In the order of the tables.
    folder : Path
        Gets the files; those of an earlier report are replaced, others are left.
    plan : ReportPlan

    Returns
    -------
    str
        What is worth printing: means of the plan's metric, a line a claim, the names of the files.

    Raises
    ------
    ValueError
        No row, or two rows of one name.

    Notes
    -----
    ``tables.md``, ``table_<n>.tex``; ``claims.md``; ``table.csv`` (every value), ``summary.csv``,
    ``differences.csv``, ``by_subject.csv``; ``report.json``; ``radar.png``, ``ablation_<axis>.png``
    and ``confusion_<task>.png`` where matplotlib is installed.
    """
    if not rows:
        raise ValueError("A report needs one finished row or more, found none.")
    folder = Path(folder)
    for pattern in _OF_SOME:
        for path in folder.glob(pattern):
            path.unlink()
    scored = score_rows(rows, plan.tasks)
    differences = Differences(scored)
    claims = test_claims(scored, differences, plan)
    tables = make_tables(scored)
    made = _write_tables(folder, scored, tables)
    made.append(write_text(folder / "claims.md", claims_page(scored, claims, plan)))
    summary = list(summary_rows(scored, differences))
    found = difference_rows(scored, differences, claims)
    made += [
        write_csv(folder / "table.csv", value_rows(scored), VALUES),
        write_csv(folder / "summary.csv", summary, SUMMARY),
        write_csv(folder / "differences.csv", found, DIFFERENCES),
        write_csv(folder / "by_subject.csv", subject_rows(scored), subject_columns(scored)),
    ]
    pictures, notes = draw_all(scored, plan, folder)
    everything = {
        "format": FORMAT,
        "tasks": {task: _task_facts(scored, task) for task in scored.tasks},
        "summary": summary,
        "differences": found,
        "claims": [claim.to_dict() for claim in claims],
        "rows": [{"name": row.name, "group": row.group, "options": dict(row.options),
                  "missing": dict(row.missing)} for row in rows],
        "plan": dataclasses.asdict(plan),
        "pictures": [path.name for path in pictures],
        "notes": notes,
    }  # fmt: skip
    made += [write_json(folder / "report.json", everything), *pictures]
    return _printed(scored, claims, plan, [path.name for path in made], folder, notes)


def _write_tables(folder: Path, scored: Scored, tables: Sequence[Table]) -> list[Path]:
    """``tables.md`` and a LaTeX file a table."""
    text = f"# Results{simulated_text(scored)}\n\n" + "\n\n".join(map(as_markdown, tables)) + "\n"
    made = [write_text(folder / "tables.md", text)]
    made += [write_text(folder / f"table_{table.number}.tex", as_latex(table)) for table in tables]
    return made


def _task_facts(scored: Scored, task: str) -> dict[str, Any]:
    first = scored.reference(task)
    if first is None:
        return {}
    return {"windows": first.windows, "people": first.people, "folds": first.folds,
            "simulated": first.card.simulated, "labels": list(first.card.labels),
            "metrics": scored.metrics(task), "monitor": first.card.monitor}  # fmt: skip


def _printed(
    scored: Scored, claims: Sequence[Claim], plan: ReportPlan, files: Sequence[str], folder: Path,
    notes: Sequence[str],
) -> str:  # fmt: skip
    lines = [["", *scored.tasks]]
    for row in scored.rows:
        cells = []
        for task in scored.tasks:
            scores = scored.scores.get((row.name, task))
            known = scores is not None and plan.metric in scores.by_fold
            cells.append(
                Cell(scores.mean(plan.metric), scores.deviation(plan.metric)).text if known else "–"
            )
        lines.append([row.name, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
             for line in lines]  # fmt: skip
    head = f"{title_of(plan.metric)}, mean ± deviation over seeds{simulated_text(scored)}"
    said = []
    for number, claim in enumerate(claims, 1):
        detail = by_task_text(claim) if len(set(claim.by_task.values())) > 1 else ""
        said.append(f"{number}. {claim.statement}: {claim.verdict}"
                    + (f" ({detail})" if detail else ""))  # fmt: skip
    ending = [*notes, f"Written to {folder}: {', '.join(files)}"]
    return "\n\n".join([f"{head}\n" + "\n".join(table), "\n".join(said), "\n".join(ending)])
