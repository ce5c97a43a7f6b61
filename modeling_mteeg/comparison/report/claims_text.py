"""The page of claims: which hold in this table, by which test, and what was not tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...evaluation import Interval
from ...evaluation.intervals import LEAST_PEOPLE, RESAMPLES
from ...evaluation.metrics import title_of
from ..row_results import RowResults
from .claims import FAILS, HOLDS, OPEN, UNTESTED, Claim, Tested, means_of
from .differences import MEAN
from .report_plan import ReportPlan
from .row_scores import Scored

_HOW = """\
Every difference below is of {metric}, the first row less the second, on the same test windows.

- **Over people**: 95 % percentile interval of {resamples:,} resamples. People are drawn with all
  their windows, the same draws for both rows; a window is not a sample. With fewer than {least}
  people there is no interval, and such a task is left out of the mean over tasks, in which the
  people of every task are drawn by themselves. It speaks of other people and the same weights.
- **Over seeds**: 95 % interval of the paired t test over seeds (seed by seed, n - 1 degrees of
  freedom), and its two-sided p of no difference. It speaks of other seeds and the same people.
  {seeds}
- **Holds**: both intervals are above 0 (where rows are said to be level: above minus {margin:g}).
  **Does not hold**: both are below. **Not shown**: anything else, also where one of the two tests
  cannot be made. It does not mean that the rows are equal.
- A claim holds where it holds on every task and against every row that it names; a row or a result
  that is missing keeps it from holding. The mean over tasks stands beside it and does not decide.
- Nothing is corrected for the number of tests ({tests} below): some intervals of 95 % miss."""


def claims_page(scored: Scored, claims: Sequence[Claim], plan: ReportPlan) -> str:
    """The text of ``claims.md``."""
    data = " on **simulated** recordings" if scored.simulated else ""
    if scored.simulated and set(scored.simulated) != set(scored.tasks):
        data = f" (simulated recordings: {', '.join(scored.simulated)})"
    made = sum(test.verdict != UNTESTED for claim in claims for test in claim.tests)
    how = _HOW.format(metric=title_of(plan.metric), resamples=RESAMPLES, least=LEAST_PEOPLE,
                      margin=plan.margin, tests=made, seeds=_seeds_text(scored))  # fmt: skip
    parts = [f"# What this comparison shows{data}", overview(claims), how]
    parts += [_claim_text(number, claim) for number, claim in enumerate(claims, 1)]
    conflicts = conflicts_text(scored.rows)
    return "\n\n".join([*parts, *([conflicts] if conflicts else [])]) + "\n"


def overview(claims: Sequence[Claim]) -> str:
    """A line a claim: the verdict, and on which tasks."""
    rows = [["", "claim", "verdict", "by task", "in the mean over tasks"]]
    for number, claim in enumerate(claims, 1):
        means = "; ".join(_mean_text(test) for test in means_of(claim)
                          if test.verdict != UNTESTED)  # fmt: skip
        rows.append([str(number), claim.statement, f"**{claim.verdict}**", by_task_text(claim),
                     means])  # fmt: skip
    return _markdown(rows)


def by_task_text(claim: Claim) -> str:
    """``holds on a, b; not shown on c``."""
    parts = []
    for verdict in (HOLDS, FAILS, OPEN, UNTESTED):
        tasks = [task for task, found in claim.by_task.items() if found == verdict]
        if tasks:
            parts.append(f"{verdict} on {', '.join(tasks)}")
    return "; ".join(parts)


def _claim_text(number: int, claim: Claim) -> str:
    parts = [f"## {number}. {claim.statement}", f"**{claim.verdict.capitalize()}.** "
             + " ".join([f"Source: {claim.source}.", *claim.notes])]  # fmt: skip
    if claim.by_task:
        parts[-1] += f" {by_task_text(claim).capitalize()}."
    if claim.tests:
        heads = ["task", "rows", "difference", "95 % over people", "people", "windows",
                 "95 % over seeds", "seeds above", "p (seeds)", "verdict"]  # fmt: skip
        parts.append(_markdown([heads, *map(_test_row, claim.tests)]))
    return "\n\n".join(parts)


def _test_row(test: Tested) -> list[str]:
    found = test.difference
    verdict = test.verdict if not test.reason else f"{test.verdict}: {test.reason}"
    rows = f"{found.first} less {found.second}"
    if found.missing:
        return [found.task, rows, "", "", "", "", "", "", "", verdict]
    people, seeds, task = interval_text(found.over_people), found.seeds, found.task
    if task == MEAN:
        task = f"mean over {len(found.tasks)} {'tasks' if len(found.tasks) > 1 else 'task'}"
        task += f" (without {', '.join(found.left_out)})" if found.left_out else ""
    note = f" ({seeds.note})" if seeds.note else ""
    return [
        task, rows, _number(found.value), people, str(found.people), f"{found.windows:,}",
        interval_text(seeds.interval) + note,
        f"{seeds.above} of {len(seeds.differences)}" if seeds.differences else "",
        "" if seeds.p is None else p_text(seeds.p), verdict,
    ]  # fmt: skip


def _mean_text(test: Tested) -> str:
    """``A less B +0.012 (5 tasks), holds``."""
    found = test.difference
    tasks = f"{len(found.tasks)} {'tasks' if len(found.tasks) > 1 else 'task'}"
    return f"{found.first} less {found.second} {found.value:+.3f} ({tasks}), {test.verdict}"


def interval_text(interval: Interval) -> str:
    """``-0.012 to +0.034``, or why there is none."""
    if interval.low is None:
        return f"none: {interval.missing}"
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def p_text(p: float) -> str:
    """Three digits; ``< 0.001`` below."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:+.3f}"


def _seeds_text(scored: Scored) -> str:
    counts = sorted({len(scores.seeds) for scores in scored.scores.values()
                     if scores.group != "floor"})  # fmt: skip
    if not counts:
        return "There are no results of trainings."
    if counts == [1]:
        return "There is one seed here: no such test can be made, so nothing is shown."
    number = " or ".join(map(str, counts))
    few = f"With {number} seeds it is wide, and it supposes a normal distribution."
    return few if counts[0] < 10 else f"There are {number} seeds."


def conflicts_text(rows: Iterable[RowResults]) -> str:
    """Whether gradients of two tasks point against each other, of every row that recorded it."""
    lines = [["row", "tasks", "mean cosine of two tasks", "pairs of negative mean",
              "comparisons below 0", "lowest pair"]]  # fmt: skip
    for row in rows:
        found = list(_conflicts(row))
        if found:
            lines.append([row.name, *conflict_cells(found)])
    if len(lines) == 1:
        return ""
    return "\n\n".join([
        "## Do gradients conflict?",
        "Cosine between the gradients of two tasks on the parameters that they share, over "
        "training; the mean over seeds (and folds). Rows share different parameters, so that their "
        "numbers say how much each of them sees, not which is better. No test stands behind them.",
        _markdown(lines),
    ])  # fmt: skip


def _conflicts(row: RowResults) -> Iterable[Mapping[str, Any]]:
    """What trainings recorded, each once (all tasks of a joint training have the same)."""
    seen = set()
    for by_seed in row.facts.values():
        for seed, facts in by_seed.items():
            for fold, of_fold in enumerate(facts.get("folds") or [facts]):
                told = of_fold.get("conflicts") or {}
                summary = {**told, **(told.get("overall") or {})}
                if not summary.get("mean_cosine"):
                    continue
                key = seed, fold, str(summary["tasks"]), str(summary["mean_cosine"])
                if key not in seen:
                    seen.add(key)
                    yield summary


def conflict_cells(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The cells of a row, the mean over its trainings."""
    tasks = list(found[0]["tasks"])
    same = [one for one in found if list(one["tasks"]) == tasks]
    matrices = np.ma.masked_invalid([np.array(one["mean_cosine"], float) for one in same])
    mean = matrices.mean(0).filled(np.nan)
    below = np.tril_indices(len(tasks), -1)
    pairs = mean[below]
    known = np.isfinite(pairs)
    if not known.any():
        return [str(len(tasks)), "undefined", "", "", ""]
    shares = [_negative_share(one) for one in found]
    lowest = int(np.nanargmin(pairs))
    one, other = tasks[below[1][lowest]], tasks[below[0][lowest]]
    return [
        str(len(tasks)), f"{np.nanmean(pairs):+.3f}",
        f"{int((pairs < 0).sum())} of {known.sum()}", f"{np.nanmean(shares):.0%}",
        f"{one} and {other}: {pairs[lowest]:+.3f}",
    ]  # fmt: skip


def _negative_share(summary: Mapping[str, Any]) -> float:
    """Share of comparisons below 0, from one number or the mean over pairs of tasks."""
    share = summary.get("negative_pairs", summary.get("negative_share"))
    share = np.array(np.nan if share is None else share, float)
    if share.ndim == 2:
        share = share[np.tril_indices(len(share), -1)]
    return float(np.nanmean(share)) if np.isfinite(share).any() else float("nan")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is escaped."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
