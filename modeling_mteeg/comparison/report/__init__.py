"""What a comparison shows: tables, intervals of differences, claims, pictures."""

from .report_plan import ReportPlan
from .report_writing import write_report

__all__ = ["ReportPlan", "write_report"]
