"""Which metrics a task is judged by: the choice of a training, and the check before any work."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..model.task_card import TaskCard
from ..settings.schema import nearest
from .metrics import METRICS, PROBABILITY


def check_metrics(cards: Iterable[TaskCard]) -> None:
    """Raise where a task card names a metric that there is not, or that is not for its classes.

    For the start of whatever ends in an evaluation: a preparation, a training, an evaluation.

    Raises
    ------
    ValueError
        Every fault in one message, with task, metric, and the nearest known name.
    """
    faults = []
    for card in cards:
        for name in card.metrics:
            if name not in METRICS:
                faults.append(f"Task {card.name!r}: unknown metric {name!r}"
                              f"{nearest(name, METRICS)}.")  # fmt: skip
            elif METRICS[name].wants == PROBABILITY and len(card.labels) != 2:
                faults.append(f"Task {card.name!r}: metric {name!r} is for two classes, the task "
                              f"has {len(card.labels)}.")  # fmt: skip
    if faults:
        raise ValueError("\n".join(faults))


def chosen_metrics(
    card: TaskCard, monitor: str | None = None, metrics: Collection[str] | None = None
) -> TaskCard:
    """A task card with the metrics that a training chooses in place of the prepared data's.

    Parameters
    ----------
    card : TaskCard
    monitor : str, optional
        Metric that selects the model. Default: the card's.
    metrics : collection of str, optional
        Metrics that are reported. Default: the card's. The monitor is reported always.

    Returns
    -------
    TaskCard
        ``card`` itself where nothing is chosen.

    Raises
    ------
    ValueError
        As :func:`check_metrics`, of the chosen ones and of those that stay.
    """
    chosen = monitor or card.monitor
    reported = tuple(dict.fromkeys((*(metrics or card.metrics), chosen)))
    if (chosen, reported) != (card.monitor, card.metrics):
        card = card.replace(monitor=chosen, metrics=reported)
    check_metrics([card])
    return card
