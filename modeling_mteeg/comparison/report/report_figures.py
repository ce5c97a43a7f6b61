"""The figures of a comparison: radar, ablations, confusion matrices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...cards.curves import can_draw
from ...evaluation import confusion_counts
from ...evaluation.judgement import people_text
from ...evaluation.metrics import title_of
from ...pictures.ablation import Panel, draw_ablation
from ...pictures.confusion import draw_confusions
from ...pictures.radar import LEAST_AXES, draw_radar
from ...pictures.style import save_figure
from .report_plan import ReportPlan
from .row_scores import Scored

MOST_LINES = 8
"""Lines of a radar that can still be told apart."""
_LEAST = {"cohen_kappa": 0.0, "auroc": 0.5, "macro_auroc": 0.5}


def draw_all(scored: Scored, plan: ReportPlan, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw every figure into ``folder``.

    Returns
    -------
    list of Path, list of str
        The pictures, and what was not drawn and why.
    """
    if not can_draw():
        return [], ["No figures: matplotlib is not installed (pip install 'modeling-mteeg[plot]')."]
    made, notes = [], []
    radar, why = _radar(scored, plan)
    notes += why
    if radar is not None:
        made.append(save_figure(radar, folder / "radar.png"))
    for axis, values in plan.figures.items():
        figure = _ablation(scored, str(axis), {str(k): row for k, row in values.items()})
        if figure is None:
            notes.append(f"No figure of {axis}: none of its rows has results.")
        else:
            made.append(save_figure(figure, folder / f"ablation_{file_name(str(axis))}.png"))
    for task in scored.tasks:
        figure = _confusions(scored, task)
        if figure is not None:
            made.append(save_figure(figure, folder / f"confusion_{file_name(task)}.png"))
    return made, notes


def file_name(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "unnamed"


def simulated_text(scored: Scored, tasks: tuple[str, ...] | None = None) -> str:
    """What a title adds where recordings are simulated."""
    of = [task for task in scored.simulated if tasks is None or task in tasks]
    if not of:
        return ""
    every = set(of) >= set(scored.tasks if tasks is None else tasks)
    return " (simulated data)" if every else f" (simulated: {', '.join(of)})"


def _radar(scored: Scored, plan: ReportPlan) -> tuple[Any, list[str]]:
    """Figure 1, or None and why."""
    metric = plan.metric
    tasks = [task for task in scored.tasks if metric in scored.metrics(task)]
    if len(tasks) < LEAST_AXES:
        return None, [f"No radar: it needs {LEAST_AXES} tasks with {title_of(metric)}, "
                      f"found {len(tasks)}."]  # fmt: skip
    names, notes = _radar_rows(scored, plan)
    values = {}
    for name in names:
        line = [_mean(scored, name, task, metric) for task in tasks]
        if np.isfinite(line).any():
            values[name] = line
    if not values:
        return None, [*notes, "No radar: none of its rows has results."]
    lowest = []
    for task in tasks:
        chance = 1 / len(scored.reference(task).card.labels)
        lowest.append(chance if metric == "balanced_accuracy" else _LEAST.get(metric, 0.0))
    inner = "chance" if metric == "balanced_accuracy" else "the lowest of the range shown"
    remark = (f"Mean over seeds. Each axis has its own scale: the inner ring is {inner}, the outer "
              "the best of these rows.")  # fmt: skip
    title = f"{title_of(metric).capitalize()} on {len(tasks)} tasks{simulated_text(scored)}"
    return draw_radar(values, tasks, lowest, title, remark), notes


def _radar_rows(scored: Scored, plan: ReportPlan) -> tuple[list[str], list[str]]:
    there = [row.name for row in scored.rows]
    if plan.radar:
        return [name for name in plan.radar if name in there], [
            f"Radar: there is no row {name!r} among the results."
            for name in plan.radar if name not in there
        ]  # fmt: skip
    names = [row.name for row in scored.rows if row.group == "multi-task"]
    single = plan.claims.get("single")
    names += [single] if single in there and single not in names else []
    if len(names) <= MOST_LINES:
        return names, []
    return names[:MOST_LINES], [f"Radar: the first {MOST_LINES} of {len(names)} rows; "
                                "report.radar chooses others."]  # fmt: skip


def _mean(scored: Scored, row: str, task: str, metric: str) -> float:
    scores = scored.scores.get((row, task))
    if scores is None or metric not in scores.by_fold:
        return float("nan")
    return scores.mean(metric)


def _ablation(scored: Scored, axis: str, values: Mapping[str, str]) -> Any:
    """Figures 3 to 6: an option's values over all tasks and metrics; None without results."""
    panels = []
    for task in scored.tasks:
        for metric in scored.metrics(task):
            by_seed = []
            for row in values.values():
                scores = scored.scores.get((row, task))
                known = scores is not None and metric in scores.by_fold
                by_seed.append(tuple(scores.by_seed(metric)) if known else ())
            if any(by_seed):
                panels.append(Panel(task, title_of(metric), tuple(by_seed)))
    if not panels:
        return None
    tasks = tuple(dict.fromkeys(panel.task for panel in panels))
    remark = ("Large points: mean over seeds, with the standard deviation; small points: seeds; "
              "ring: highest mean.\nEvery panel has its own scale.")  # fmt: skip
    title = f"Ablation: {axis}{simulated_text(scored, tasks)}"
    return draw_ablation(axis, list(values), panels, title, remark)


def _confusions(scored: Scored, task: str) -> Any:
    """A matrix a row, added up over seeds and folds."""
    counts = {
        scores.row: sum(
            confusion_counts(said, said.card) for folds in scores.tested for said in folds
        )
        for scores in scored.of_task(task)
    }
    if not counts:
        return None
    first = scored.reference(task)
    title = (f"{task}: {first.windows:,} test windows of {people_text(first.people)}, added up "
             f"over seeds{simulated_text(scored, (task,))}")  # fmt: skip
    return draw_confusions(counts, first.card.labels, title)
