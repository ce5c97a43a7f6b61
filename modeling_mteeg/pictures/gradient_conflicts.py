"""Which tasks pull shared weights in which direction: a heat map of cosines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import LIGHT, figure_class, short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NUMBERS = 12
"""Tasks above which the cells have no room for numbers."""


def draw_conflicts(
    tasks: Sequence[str],
    mean_cosine: np.ndarray,
    negative_share: np.ndarray,
    negative_pairs: float,
    title: str = "",
    limit: float | None = None,
) -> Figure:
    """Mean cosine between the gradients of every two tasks, and how often it was negative.

    Parameters
    ----------
    tasks : sequence of str
    mean_cosine, negative_share : np.ndarray, (tasks, tasks)
        NaN: the two were never compared.
    negative_pairs : float
        Part of all pairs, over all comparisons, that were negative.
    title : str
    limit : float, optional
        End of the colour scale, for pictures that stand beside each other; by default the largest
        mean of two tasks, and at least 0.25.

    Returns
    -------
    matplotlib.figure.Figure
        A cell a pair: the mean cosine as colour and number, below it the share of its comparisons
        with a negative one.

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed.
    """
    mean_cosine, negative_share = np.asarray(mean_cosine), np.asarray(negative_share)
    count = len(tasks)
    side = min(9.0, 2.4 + 0.75 * count)
    figure = figure_class()(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    # A task with itself is always 1: it would leave the pairs, which are the question, no colour.
    shown = np.where(np.eye(count, dtype=bool), np.nan, mean_cosine)
    if limit is None:
        largest = np.nanmax(np.abs(shown)) if np.isfinite(shown).any() else 1.0
        limit = float(min(1.0, max(0.25, largest)))  # what is next to nothing stays pale
    image = axes.imshow(np.ma.masked_invalid(shown), cmap="RdBu", vmin=-limit, vmax=limit)
    axes.set_facecolor(LIGHT)
    names = [short_name(task, 20) for task in tasks]
    axes.set_xticks(range(count), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(count), names, fontsize=8)
    if count <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(shown):
            text = "" if row == column else "none"
            if np.isfinite(value):
                text = f"{value:+.2f}\n{negative_share[row, column]:.0%} < 0"
            dark = np.isfinite(value) and abs(value) > 0.6 * limit
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5,
                      color="white" if dark else "black")  # fmt: skip
    share = (
        ""
        if np.isnan(negative_pairs)
        else (f"\n{negative_pairs:.0%} of all pairs negative (of unrelated gradients: 50%)")
    )
    axes.set_title(f"{title or 'Gradients of tasks'}{share}", fontsize=9)
    figure.colorbar(image, ax=axes, label="mean cosine of two tasks' gradients", shrink=0.8)
    return figure
