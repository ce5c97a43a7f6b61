"""Which class was taken for which, of one model or of several side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import figure_class, plain_text, short_name

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
    side = min(2.6, max(1.5, 0.3 * len(labels)))
    left, right, bottom, gap = 1.3, 1.0, 1.35, 0.35  # inches
    width = left + right + columns * (side + gap)
    head = textwrap.fill(plain_text(title or "Confusion matrices"), int(11 * width))
    top = 0.5 + 0.18 * len(head.splitlines())
    size = (width, top + bottom + rows * (side + gap))
    figure = figure_class()(figsize=size)  # laid out by hand: with 30 matrices four times as fast
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={
        "left": left / size[0], "right": 1 - right / size[0], "top": 1 - top / size[1],
        "bottom": bottom / size[1], "wspace": gap / side, "hspace": gap / side,
    })  # fmt: skip
    names = [short_name(label, 14) for label in labels]
    for number, (axes, (name, matrix)) in enumerate(zip(grid.flat, counts.items(), strict=False)):
        matrix = np.asarray(matrix)
        shares = matrix / matrix.sum(1, keepdims=True).clip(1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(short_name(name, 28), fontsize=7, pad=3)
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
    figure.suptitle(head, fontsize=10, x=0.02, ha="left", y=1 - 0.12 / size[1], va="top")
    figure.supylabel("true", fontsize=9, x=0.2 / size[0])
    figure.supxlabel("predicted", fontsize=9, y=0.15 / size[1])
    bar = figure.add_axes((1 - 0.75 / size[0], bottom / size[1], 0.12 / size[0],
                           min(2.5, size[1] - top - bottom) / size[1]))  # fmt: skip
    numbers = " (numbers: percent)" if len(names) <= _MOST_SHARES else ""
    figure.colorbar(image, cax=bar).set_label(f"share of the true class{numbers}", fontsize=8)
    bar.tick_params(labelsize=7)
    return figure
