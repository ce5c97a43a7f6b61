"""The picture of a training: losses and validation over the epochs, a line a task."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..evaluation.metrics import title_of
from ..model.task_card import TaskCard
from .facts import Curve, TaskFacts

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""The palette of Okabe and Ito for colour-blind readers, without yellow."""
_STYLES = ("-", "--", "-.")


def can_draw() -> bool:
    """Whether matplotlib, which comes with the ``plot`` extra, is installed."""
    return find_spec("matplotlib") is not None


def has_curve(curve: Curve) -> bool:
    """Whether there are at least two epochs to connect."""
    return max(map(len, (curve.train_loss, curve.monitor))) > 1


def save_curves(tasks: Mapping[str, TaskFacts], selected: Any, path: Path, mark: str) -> None:
    """Draw the curves of one or several tasks.

    Parameters
    ----------
    tasks : mapping of str to TaskFacts
        Those with a curve are drawn.
    selected : int or None
        Epoch whose weights were kept, from 0; a vertical line.
    path : Path
        A PNG.
    mark : str
        Comment in the file, to know the picture of these curves again.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10 if len(tasks) == 1 else 12, 4.2), layout="constrained")
    loss, score = figure.subplots(1, 2)
    alone = len(tasks) == 1
    for number, (task, facts) in enumerate(tasks.items()):
        style = {"color": COLOURS[number % len(COLOURS)],
                 "linestyle": _STYLES[number // len(COLOURS) % len(_STYLES)]}  # fmt: skip
        curve = facts.curve
        _line(loss, curve.train_loss, "training" if alone else task, **style)
        if alone:
            _line(loss, curve.validation_loss, "validation", color=COLOURS[1], linestyle="--")
        _line(score, curve.monitor, _monitor_label(facts.card, alone), **style)
    simulated = any(facts.card.simulated for facts in tasks.values())
    loss.set(title="Loss" if alone else "Training loss", ylabel="loss")
    score.set(title="Validation", ylabel=_monitor_axis(tasks))
    for axes in (loss, score):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if isinstance(selected, int):
            axes.axvline(selected + 1, color="#666666", linestyle=":", label="weights kept")
        if alone:
            axes.legend(fontsize=8, frameon=False)
    if not alone:  # one for both: lines and colours are the same
        figure.legend(*score.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    names = next(iter(tasks)) if alone else f"{len(tasks)} tasks"
    figure.suptitle(f"Training of {names}" + (", simulated data" if simulated else ""))
    figure.savefig(path, dpi=100, metadata={"Software": None, "Comment": mark})


def _line(axes: Any, values: tuple[float, ...], label: str, **style: Any) -> None:
    if values:
        axes.plot(range(1, len(values) + 1), values, label=label, marker=".", **style)


def _monitor_label(card: TaskCard, alone: bool) -> str:
    metric = title_of(card.monitor)
    return metric if alone else f"{card.name} ({metric})"


def _monitor_axis(tasks: Mapping[str, TaskFacts]) -> str:
    monitors = {facts.card.monitor for facts in tasks.values()}
    return title_of(*monitors) if len(monitors) == 1 else "metric that selects"
