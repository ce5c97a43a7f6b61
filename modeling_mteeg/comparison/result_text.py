"""What a comparison prints: its report, written once more."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np

from ..evaluation import WindowPredictions, score
from ..training.results import aligned
from .comparison_plan import Plan
from .row_results import RowResults
from .units import claimed


def write_results(plan: Plan, rows: Sequence[RowResults]) -> str:
    """Write the report of what is finished into ``report/``; returns what is worth printing."""
    if not any(row.tested for row in rows):
        return "nothing is finished yet"
    folder = plan.output / "report"
    with claimed(folder) as mine:
        if not mine:
            return f"another process is writing {folder}: --table writes it once more"
        try:
            from .report import ReportPlan, write_report
        except ImportError:
            return plain_table(rows)
        return write_report(rows, folder, ReportPlan.read(plan.config.report))


def plain_table(rows: Sequence[RowResults]) -> str:
    """Rows with columns of one width; a gap is a dash."""
    cards = {task: said[0].card for row in rows for task, by_seed in row.tested.items()
             for said in by_seed.values()}  # fmt: skip
    lines = [["row", *(f"{task} {card.monitor}" for task, card in cards.items())]]
    for row in rows:
        lines.append([row.name, *(_cell(row, task) for task in cards)])
    return "\n".join(aligned(lines, text_columns=1))


def _cell(row: RowResults, task: str) -> str:
    if task not in row.tested:
        return "-"
    values = []
    for folds in row.tested[task].values():
        said = pooled(folds)
        values.append(score(said, said.card)[said.card.monitor])
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread} ({len(values)})"


def pooled(folds: Sequence[WindowPredictions]) -> WindowPredictions:
    """The test windows of all folds as one."""
    if len(folds) == 1:
        return folds[0]
    names = ("logits", "labels", "recordings", "subjects", "onsets_s")
    joined = {name: np.concatenate([getattr(fold, name) for fold in folds]) for name in names}
    return dataclasses.replace(folds[0], **joined)
