"""Evaluation of a task, on one process or several, every window counted exactly once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from ..data.ahead import computed_ahead
from ..data.loading import Corpus, check_windows, model_inputs
from ..data.source import WindowSource
from ..model.task_card import TaskCard
from .metric_choice import check_metrics
from .metric_modules import metric_for
from .metrics import CLASS, PROBABILITIES, PROBABILITY

if TYPE_CHECKING:
    from accelerate import Accelerator


class NotFiniteError(ValueError):
    """A model says NaN or infinity of a window."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model says of every window of a split, in the split's order.

    Parameters
    ----------
    logits : np.ndarray, (n, outputs), float
        One column for a binary task.
    labels : np.ndarray, (n,), int64
        True classes.
    """

    logits: np.ndarray
    labels: np.ndarray


class TaskPredictor(Protocol):
    """Anything that gives logits of a task's windows; it need not be a ``torch`` model."""

    def predict_logits(self, task: str, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits (n, outputs) of a batch.

        Parameters
        ----------
        task : str
        batch : mapping of str to torch.Tensor
            ``input_values`` and ``channel_ids`` of :func:`~modeling_mteeg.data.model_inputs`, on
            the CPU; not the labels.
        """


def predict_task(
    model: nn.Module | TaskPredictor,
    reader: WindowSource,
    card: TaskCard,
    batch_size: int = 64,
    accelerator: Accelerator | None = None,
    progress: bool = False,
) -> Predictions:
    """Logits of all windows of a split.

    Parameters
    ----------
    model : MteegModel or TaskPredictor
        What has a ``predict_logits`` is asked by that; a model is called as
        ``model(input_values=..., channel_ids=..., task=card.name)``, wrapped by
        ``accelerator.prepare`` or not. A module is put into evaluation mode for the while; the
        mode of each of its modules is restored.
    reader : WindowSource
        The split.
    card : TaskCard
        The task.
    batch_size : int
        Windows per call and process.
    accelerator : accelerate.Accelerator, optional
        Gives device, mixed precision and the other processes. Every process then reads its own
        contiguous part and gets the predictions of all.
    progress : bool
        A progress bar, on the main process only.

    Raises
    ------
    ValueError
        The windows contradict the card, the logits have another shape than the card says, or some
        are not finite, as after a diverged training (:class:`NotFiniteError`).
    """
    check_windows(card, reader)
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or above, found {batch_size}.")
    world, rank = (accelerator.num_processes, accelerator.process_index) if accelerator else (1, 0)
    # Process r takes the rows from bounds[r] to bounds[r + 1]: the split in equal parts, in order.
    bounds = [len(reader) * part // world for part in range(world + 1)]
    starts = range(bounds[rank], bounds[rank + 1], batch_size)
    quiet = not progress or not (accelerator is None or accelerator.is_main_process)
    model, device, autocast = _unwrapped(model, accelerator)
    read = functools.partial(model_inputs, reader, card, pin_memory=device.type == "cuda")
    calls = (
        functools.partial(read, np.arange(start, min(start + batch_size, bounds[rank + 1])))
        for start in starts
    )
    if hasattr(model, "predict_logits"):
        predict = model.predict_logits
    else:
        predict = functools.partial(_model_logits, model, device)
    parts = []
    with (
        torch.no_grad(),
        _evaluation_mode(model),
        contextlib.closing(computed_ahead(calls, reader.remote)) as ahead,
    ):
        for batch in tqdm(ahead, card.name, len(starts), leave=False, disable=quiet or None):
            del batch["labels"]  # a predictor has no business with them
            with autocast():
                logits = predict(card.name, batch)
            parts.append(logits.float().to(device))  # (n, outputs)
    empty = torch.zeros(0, card.num_outputs)  # a process without a window
    logits = torch.cat(parts).cpu() if parts else empty
    if world > 1:
        from accelerate.utils import gather_object

        logits = torch.cat(gather_object([logits]))  # of all processes, in the order of their parts
    return _checked(Predictions(logits.numpy(), reader.labels), card)


def _model_logits(
    model: nn.Module, device: torch.device, task: str, batch: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """:meth:`TaskPredictor.predict_logits` of an ``MteegModel``."""
    inputs = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    return model(**inputs, task=task).logits


def _checked(predictions: Predictions, card: TaskCard) -> Predictions:
    logits, expected = predictions.logits, (len(predictions.labels), card.num_outputs)
    if logits.shape != expected:
        raise ValueError(
            f"Task {card.name!r}: expected logits {expected}, found {logits.shape}; the model's "
            "head belongs to other labels."
        )
    bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if bad:
        raise NotFiniteError(
            f"Task {card.name!r}: expected finite logits, found NaN or infinity for {bad} of "
            f"{len(logits)} windows; the training may have diverged, or the precision is too low."
        )
    return predictions


def _unwrapped(model: nn.Module | TaskPredictor, accelerator: Accelerator | None):
    """Model, device and autocast context.

    Evaluation runs the bare module: a wrapper for distributed training may exchange buffers in
    its forward pass, and processes with fewer batches than others would leave it waiting.
    """
    is_module = isinstance(model, nn.Module)
    if accelerator is not None:
        model = accelerator.unwrap_model(model) if is_module else model
        return model, accelerator.device, accelerator.autocast
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    weight = next(model.parameters(), None) if is_module else None
    device = torch.device("cpu") if weight is None else weight.device
    return model, device, contextlib.nullcontext


@contextlib.contextmanager
def _evaluation_mode(model: nn.Module | TaskPredictor) -> Iterator[None]:
    is_module = isinstance(model, nn.Module)
    modes = [(module, module.training) for module in model.modules()] if is_module else []
    if is_module:
        model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def score(predictions: Predictions, card: TaskCard) -> dict[str, float]:
    """The card's metrics, the mean loss without label smoothing, and the number of samples.

    Returns
    -------
    dict of str to float
        ``card.metrics``, ``loss``, ``num_samples``. The class of a binary task is the positive one
        from a probability of 0.5 on, or from the card's threshold on.
    """
    logits = torch.from_numpy(predictions.logits).double()
    labels = torch.from_numpy(predictions.labels)
    if card.is_binary:
        loss = F.binary_cross_entropy_with_logits(logits[:, 0], labels.double())
    else:
        loss = F.cross_entropy(logits, labels)
    values = metric_inputs(predictions, card)
    check_metrics([card])
    scores = {}
    for metric in map(metric_for, card.metrics):
        scores |= metric.compute(predictions=values[metric.wants], references=predictions.labels)
    return scores | {"loss": float(loss), "num_samples": float(len(labels))}


def metric_inputs(predictions: Predictions, card: TaskCard) -> dict[str, np.ndarray]:
    """What metrics are computed from, by their ``wants``.

    The probability of the positive class (n,) float64 (of more than two classes it means nothing),
    the predicted class (n,) int64, and the probabilities of all classes (n, classes) float64.
    """
    positive = positive_probability(predictions, card)
    if card.is_binary:
        every = np.stack([1 - positive, positive], 1)
    else:
        every = torch.from_numpy(predictions.logits).double().softmax(1).numpy()
    return {PROBABILITY: positive, CLASS: _classes(predictions, card), PROBABILITIES: every}


def positive_probability(predictions: Predictions, card: TaskCard) -> np.ndarray:
    """Probability (n,) float64 of ``labels[1]`` of two classes."""
    logits = torch.from_numpy(predictions.logits).double()
    # Two classes with a logit each: the softmax's second column is the sigmoid of their difference.
    # In double precision, so that probabilities near 0 and 1 keep their order.
    margin = logits[:, 0] if card.is_binary else logits[:, 1] - logits[:, 0]
    return margin.sigmoid().numpy()


def _classes(predictions: Predictions, card: TaskCard) -> np.ndarray:
    """Predicted classes (n,) int64."""
    if card.threshold is not None:
        return (positive_probability(predictions, card) >= card.threshold).astype(np.int64)
    if card.is_binary:
        return (predictions.logits[:, 0] >= 0).astype(np.int64)
    return predictions.logits.argmax(axis=1)


def confusion_counts(predictions: Predictions, card: TaskCard) -> np.ndarray:
    """Windows by true class (rows) and predicted class (columns), (classes, classes) int64."""
    counts = np.zeros((len(card.labels), len(card.labels)), np.int64)
    np.add.at(counts, (predictions.labels, _classes(predictions, card)), 1)
    return counts


def evaluate_task(
    model: nn.Module | TaskPredictor,
    reader: WindowSource,
    card: TaskCard,
    batch_size: int = 64,
    accelerator: Accelerator | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """:func:`predict_task` and :func:`score` in one; the same on every process."""
    check_metrics([card])  # a wrong card fails before the work, not after it
    predictions = predict_task(model, reader, card, batch_size, accelerator, progress)
    return score(predictions, card)


def evaluate_tasks(
    model: nn.Module | TaskPredictor,
    corpora: Mapping[str, Corpus],
    split: str,
    batch_size: int = 64,
    accelerator: Accelerator | None = None,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """:func:`evaluate_task` for a split of every corpus, task by task."""
    check_metrics(corpus.card for corpus in corpora.values())
    return {
        task: evaluate_task(
            model, corpus.splits[split], corpus.card, batch_size, accelerator, progress
        )
        for task, corpus in corpora.items()
    }


def monitor_mean(
    results: Mapping[str, Mapping[str, float]], cards: Mapping[str, TaskCard]
) -> float:
    """Mean over tasks of each task's monitor metric, which selects the model (section 4.2).

    Parameters
    ----------
    results : mapping of str to mapping of str to float
        As from :func:`evaluate_tasks`.
    cards : mapping of str to TaskCard
        At least the tasks of ``results``.

    Raises
    ------
    ValueError
        No results, a metric is missing, or it is NaN for every task.

    Notes
    -----
    A task whose monitor is NaN is left out with a warning. That depends on its references alone
    (see ``modeling_mteeg.evaluation.metrics``), so the mean is over the same tasks in every
    epoch.
    """
    values = {}
    for task, result in results.items():
        monitor = cards[task].monitor
        if monitor not in result:
            raise ValueError(
                f"Task {task!r}: expected its monitor metric {monitor!r}, found {sorted(result)}."
            )
        values[task] = float(result[monitor])
    defined = [value for value in values.values() if not math.isnan(value)]
    if not defined:
        raise ValueError(
            f"No task has a defined monitor metric, found {values}: the splits hold a single "
            "class each; evaluate on more recordings."
        )
    if len(defined) < len(values):
        undefined = [task for task, value in values.items() if math.isnan(value)]
        warnings.warn(
            f"The mean of the monitor metrics leaves out {undefined}: undefined, as their split "
            "holds a single class.",
            stacklevel=2,
        )
    return sum(defined) / len(defined)
