"""What one option of a model changes: every task and metric over the option's values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import COLOURS, GREY, figure_class, plain_text, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Panel:
    """A metric of a task over the values of an option.

    Parameters
    ----------
    task, metric : str
        Names in words.
    by_seed : tuple of tuple of float
        Of every value of the option what each seed reached; empty where there is no result.
    """

    task: str
    metric: str
    by_seed: tuple[tuple[float, ...], ...]


def draw_ablation(
    axis: str, values: Sequence[str], panels: Sequence[Panel], title: str, remark: str = ""
) -> Figure:
    """A row of panels a task, a panel a metric.

    Parameters
    ----------
    axis : str
        Name of the option.
    values : sequence of str
        Its values in order. Where all are numbers a line goes through them, evenly spaced.
    panels : sequence of Panel
        Task by task.
    title, remark : str
        Above and below.

    Returns
    -------
    matplotlib.figure.Figure
        Large points are means over seeds, bars their standard deviation (n - 1), small points the
        seeds. Every panel has a scale of its own, which does not begin at 0.

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed.
    """
    tasks = list(dict.fromkeys(panel.task for panel in panels))
    by_task = [[panel for panel in panels if panel.task == task] for task in tasks]
    columns = max(map(len, by_task))
    names = [short_name(value, max(18, 54 // len(values))) for value in values]
    slanted = sum(map(len, names)) > 48
    figure = figure_class()(
        figsize=(1.0 + 3.3 * columns, 0.9 + (2.55 + 0.35 * slanted) * len(tasks)),
        layout="constrained",
    )
    grid = figure.subplots(len(tasks), columns, squeeze=False)
    numbers = all(map(_is_number, values))
    for row, mine in zip(grid, by_task, strict=True):
        for axes in row[len(mine) :]:
            axes.set_axis_off()
        for axes, panel in zip(row, mine, strict=False):
            _draw_panel(axes, panel, numbers)
            axes.set_xticks(range(len(names)), names, fontsize=8,
                            **({"rotation": 25, "ha": "right"} if slanted else {}))  # fmt: skip
            axes.set_xlim(-0.5, len(names) - 0.5)
    for axes, mine in zip(grid[-1], by_task[-1], strict=False):
        if mine:
            axes.set_xlabel(plain_text(axis), fontsize=9)
    figure.suptitle(title, fontsize=11)
    if remark:
        figure.supxlabel(remark, fontsize=8, color=GREY)
    return figure


def _draw_panel(axes: Axes, panel: Panel, numbers: bool) -> None:
    means, places = [], []
    for place, seeds in enumerate(panel.by_seed):
        known = np.array([value for value in seeds if math.isfinite(value)])
        if not len(known):
            axes.annotate("no\nresult", (place, 0.5), xycoords=("data", "axes fraction"),
                          fontsize=7, color=GREY, ha="center", va="center")  # fmt: skip
            continue
        means.append(known.mean())
        places.append(place)
        spread = known.std(ddof=1) if len(known) > 1 else 0.0
        axes.errorbar(place, means[-1], spread, fmt="none", ecolor=COLOURS[0], capsize=3, lw=1.2)
        axes.plot(np.full(len(known), place + 0.16), known, ".", color=GREY, ms=4)
    line = "-" if numbers else "none"
    axes.plot(places, means, ls=line, marker="o", ms=6, color=COLOURS[0], lw=1.4)
    if len(means) > 1:
        best = int(np.argmax(means))
        axes.plot(places[best], means[best], "o", ms=11, mfc="none", mec=COLOURS[1], mew=1.5)
    axes.set_title(f"{short_name(panel.task, 22)}: {plain_text(panel.metric)}", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="y", alpha=0.3)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
