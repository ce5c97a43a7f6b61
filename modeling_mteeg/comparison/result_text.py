"""What a comparison prints: its report, written once more."""

from __future__ import annotations

from collections.abc import Sequence

from .comparison_plan import Plan
from .report import write_report
from .row_results import RowResults
from .units import claimed


def write_results(plan: Plan, rows: Sequence[RowResults]) -> str:
    """Write the report of what is finished into ``report/``; returns what is worth printing."""
    if not any(row.tested for row in rows):
        return "nothing is finished yet"
    folder = plan.output / "report"
    with claimed(folder) as mine:
        if not mine:
            return f"another process is writing {folder}: --show-table writes it once more"
        return write_report(rows, folder, plan.report)
