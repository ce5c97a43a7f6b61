"""Class weights of a joint training: rare classes count more in the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from ..data.mixing import TaskMix
from ..methods.method import TrainingError
from ..model.task_card import TaskCard

BALANCED = "balanced"


def of_task(setting: Any, task: str) -> Any:
    """What ``optimization.class_weights`` says of a task: ``balanced``, numbers, or None."""
    return setting.get(task) if isinstance(setting, Mapping) else setting


def class_weight_faults(setting: Any) -> Iterator[str]:
    """What is wrong with ``optimization.class_weights``, in sentences."""
    expected = "expected balanced, or a positive number for every class"
    if setting is None or setting == BALANCED:
        return
    if not isinstance(setting, Mapping):
        yield (f"optimization.class_weights: expected balanced, or for some tasks balanced or a "
               f"list of numbers, found {setting!r}")  # fmt: skip
        return
    for task, value in setting.items():
        numbers = isinstance(value, list | tuple) and all(
            isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < float("inf")
            for v in value
        )
        if value != BALANCED and not (numbers and value):
            yield f"optimization.class_weights.{task}: {expected}, found {value!r}"


def class_weights(
    setting: Any, mixes: Iterable[TaskMix], cards: Mapping[str, TaskCard], seed: int
) -> dict[str, torch.Tensor]:
    """The weights of the tasks that have some.

    Parameters
    ----------
    setting : None, "balanced" or mapping of str to "balanced" or sequence of float
        For all tasks, or by task.
    mixes : iterable of TaskMix
        Their training windows; the draw of the first epoch is counted.
    cards : mapping of str to TaskCard
    seed : int
        Of the training, for the draw.

    Returns
    -------
    dict of str to torch.Tensor
        (classes,) float32. ``balanced``: n / (classes that occur * windows of the class), as in
        scikit-learn; a class that the draw lacks counts as if it had one window. Given weights are
        scaled likewise, to a mean of 1 over the windows drawn, so that only their ratios matter and
        the learning rate keeps its meaning.

    Raises
    ------
    TrainingError
        Another number of weights than a task has classes.
    """
    weights = {}
    for mix in mixes:
        chosen = of_task(setting, mix.name)
        if chosen is None:
            continue
        classes = len(cards[mix.name].labels)
        counts = np.bincount(mix.labels[mix.draw(seed, 0)], minlength=classes)  # (classes,)
        if chosen == BALANCED:
            values = 1 / counts.clip(1)
        elif len(chosen) != classes:
            raise TrainingError(
                f"optimization.class_weights.{mix.name}: expected {classes} numbers, one for each "
                f"of {', '.join(cards[mix.name].labels)}, found {len(chosen)}."
            )
        else:
            values = np.array(chosen, float)
        scaled = values * counts.sum() / (values * counts).sum()
        weights[mix.name] = torch.tensor(scaled, dtype=torch.float32)
    return weights


def weights_text(
    setting: Any, weights: Mapping[str, torch.Tensor], cards: Mapping[str, TaskCard]
) -> str:
    """``eegmat balanced: rest 0.667, arithmetic 2``."""
    parts = []
    for task, values in weights.items():
        how = BALANCED if of_task(setting, task) == BALANCED else "given"
        named = zip(cards[task].labels, values.tolist(), strict=True)
        shown = ", ".join(f"{label} {value:.3g}" for label, value in named)
        parts.append(f"{task} {how}: {shown}")
    return "; ".join(parts)
