"""Which class was taken for which, of one model or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import figure_class, short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NUMBERS = 12
"""Classes above which the cells have no room for numbers."""
_MOST_SHARES = 6
"""The same for the small matrices of :func:`draw_confusions`."""
_COLUMNS = 6
"""How many of these stand in a row."""


def draw_confusion(counts: np.ndarray, labels: Sequence[str], title: str = "") -> Figure:
    """A confusion matrix: windows as numbers, their share of the true class as colour.

    Parameters
    ----------
    counts : np.ndarray, (classes, classes), int
        Windows by true class (rows) and predicted class (columns).
    labels : sequence of str
        Names of the classes.
    title : str

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed.
    """
    counts = np.asarray(counts)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    side = min(9.0, 2.4 + 0.55 * len(labels))
    figure = figure_class()(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [short_name(label, 20) for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title or "Confusion matrix", fontsize=9)
    if len(names) <= _MOST_NUMBERS:
        for (row, column), number in np.ndenumerate(counts):
            axes.text(column, row, f"{number:,}", ha="center", va="center", fontsize=8,
                      color="white" if shares[row, column] > 0.5 else "black")  # fmt: skip
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def draw_confusions(
    counts: Mapping[str, np.ndarray], labels: Sequence[str], title: str = ""
) -> Figure:
    """Confusion matrices of several models on the same windows.

    Parameters
    ----------
    counts : mapping of str to np.ndarray, (classes, classes), int
        Model to its windows by true class (rows) and predicted class (columns).
    labels : sequence of str
        Names of the classes.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        A small matrix a model: the share of the true class as colour and, of few classes, in
        percent. Names of classes stand at the left and below the last of each column.

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed.
    """
    columns = min(_COLUMNS, len(counts))
    rows = math.ceil(len(counts) / columns)
    side = min(2.6, max(1.45, 0.3 * len(labels)))
    figure = figure_class()(
        figsize=(max(5.0, 1.9 + columns * (side + 0.25)), 1.5 + rows * (side + 0.45)),
        layout="constrained",
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    names = [short_name(label, 14) for label in labels]
    for number, (axes, (name, matrix)) in enumerate(zip(grid.flat, counts.items(), strict=False)):
        matrix = np.asarray(matrix)
        shares = matrix / matrix.sum(1, keepdims=True).clip(1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(short_name(name, 24), fontsize=8)
        axes.set_xticks(range(len(names)), [])
        axes.set_yticks(range(len(names)), names if number % columns == 0 else [], fontsize=7)
        if number + columns >= len(counts):
            axes.set_xticks(range(len(names)), names, fontsize=7, rotation=90)
        if len(names) <= _MOST_SHARES:
            for (row, column), share in np.ndenumerate(shares):
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center",
                          fontsize=7, color="white" if share > 0.5 else "black")  # fmt: skip
    for axes in grid.flat[len(counts) :]:
        axes.set_axis_off()
    figure.suptitle(title or "Confusion matrices", fontsize=10)
    figure.supylabel("true", fontsize=9)
    figure.supxlabel("predicted", fontsize=9)
    figure.colorbar(image, ax=grid, label="share of the true class", shrink=min(1.0, 1.8 / rows),
                    aspect=25, pad=0.01)  # fmt: skip
    return figure
