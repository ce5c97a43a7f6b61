"""The curves of a joint training over its epochs, a line a seed, with the epoch that was kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..evaluation.metrics import title_of
from ..model.task_card import TaskCard
from .style import COLOURS, figure_class, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, Any]]


def draw_learning_curves(
    histories: Mapping[int, History],
    chosen: Mapping[int, Mapping[str, int]],
    cards: Mapping[str, TaskCard],
) -> Figure:
    """Losses, and the metric that selects, of every task by epoch.

    Parameters
    ----------
    histories : mapping of int to sequence of mapping
        Seed to its epochs, as ``history.json`` has them.
    chosen : mapping of int to mapping of str to int
        Seed to the epoch, from 0, whose weights serve each task; -1: those of the start.
    cards : mapping of str to TaskCard

    Returns
    -------
    matplotlib.figure.Figure
        A row a task: left the training loss (label smoothing and class weights in it) and the
        validation loss (neither), right the metric on validation with a ring around what was kept.

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed.
    """
    from_matplotlib = figure_class()
    figure = from_matplotlib(figsize=(10, 0.7 + 2.7 * len(cards)), layout="constrained")
    grid = figure.subplots(len(cards), 2, squeeze=False)
    for (losses, scores), (task, card) in zip(grid, cards.items(), strict=True):
        for number, (seed, history) in enumerate(histories.items()):
            _draw_seed(losses, scores, task, card, history, chosen[seed][task],
                       "" if number else "training", "" if number else "validation",
                       f"seed {seed}", COLOURS[number % len(COLOURS)])  # fmt: skip
        losses.set(title=f"{short_name(task)}: loss", ylabel="loss")
        metric = title_of(card.monitor)
        scores.set(title=f"{short_name(task)}: {metric} on validation", ylabel=metric)
        losses.legend(fontsize=8, frameon=False)
        scores.legend(fontsize=8, frameon=False, title="ring: weights kept", title_fontsize=8)
    for axes in grid.flat:
        _plain_epochs(axes)
    simulated = any(card.simulated for card in cards.values())
    figure.suptitle("Training by epoch" + (", simulated data" if simulated else ""))
    return figure


def _draw_seed(
    losses: Axes, scores: Axes, task: str, card: TaskCard, history: History, kept: int,
    training: str, validation: str, seed: str, colour: str,
) -> None:  # fmt: skip
    measured = [entry["validation"][task] for entry in history]
    train = [_number(entry["train_loss"][task]) for entry in history]
    start = history[0].get("start")  # a candidate as well: epoch 0
    if start:
        measured, train = [start["validation"][task], *measured], [math.nan, *train]
    epochs = range(0 if start else 1, len(history) + 1)
    held_out = [_number(values["loss"]) for values in measured]
    monitor = [_number(values[card.monitor]) for values in measured]
    losses.plot(epochs, train, "-", marker=".", color=colour, label=training or None)
    losses.plot(epochs, held_out, "--", marker=".", color=colour, label=validation or None)
    scores.plot(epochs, monitor, "-", marker=".", color=colour, label=seed)
    scores.plot(
        kept + 1, monitor[epochs.index(kept + 1)], "o", ms=10, mfc="none", mec=colour, mew=1.5
    )


def _plain_epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.title.set_fontsize(10)
    axes.spines[["top", "right"]].set_visible(False)


def _number(value: float | None) -> float:
    """NaN where a file has null."""
    return math.nan if value is None else value
