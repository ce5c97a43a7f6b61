"""Which class was taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import figure_class, short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NUMBERS = 12
"""Classes above which the cells have no room for numbers."""


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
