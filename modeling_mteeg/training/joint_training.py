"""A joint training: batches of all tasks in, one step, over and over; selected on validation."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ..data.loading import Corpus, JointBatches, training_mixes
from ..data.mixing import EpochPlan
from ..evaluation import (
    WindowPredictions,
    choose_threshold,
    chosen_metrics,
    evaluate_tasks,
    monitor_mean,
    predict_task,
)
from ..methods.method import GradientMethod, Method, TrainingError
from ..model.modeling_mteeg import task_loss
from .augmentation import augmented
from .checkpoint import Checkpoint
from .class_weights import class_weights, weights_text
from .core import TrainingCore, count, same_everywhere, step_seed
from .head_start import start_heads
from .joint_config import JointConfig
from .optimization import sum_gradients
from .passes import split_passes

Batches = Mapping[str, Mapping[str, torch.Tensor]]


def choose_metrics(config: JointConfig, corpora: Mapping[str, Corpus]) -> dict[str, Corpus]:
    """The corpora with the metrics and monitors that the configuration chooses in their cards.

    Raises
    ------
    ValueError
        A metric that there is not, or that is not for a task's classes.
    """
    return {
        task: dataclasses.replace(
            corpus,
            card=chosen_metrics(corpus.card, config.monitor.get(task), config.metrics.get(task)),
        )
        for task, corpus in corpora.items()
    }


def is_better(value: float, best: float) -> bool:
    """Whether a monitor's value is above the best so far; an undefined one is below all."""
    return value > best or (math.isnan(best) and not math.isnan(value))


class SelectedTraining(TrainingCore):
    """What trainings of tasks share: the plan, evaluation, and selection on validation.

    Parameters
    ----------
    config : JointConfig
    corpora : mapping of str to Corpus
        Every task's card and its splits ``train``, ``validation``, ``test``.
    method : Method
    accelerator : Accelerator
    seed : int
    folder : str or Path
        Checkpoints go to ``checkpoints`` in it.
    """

    config: JointConfig

    def __init__(
        self,
        config: JointConfig,
        corpora: Mapping[str, Corpus],
        method: Method,
        accelerator: Accelerator,
        seed: int,
        folder: str | Path,
    ) -> None:
        super().__init__(config, accelerator, seed, folder)
        self.method, self.tasks = method, tuple(config.data.tasks)
        self.corpora = {task: corpora[task] for task in self.tasks}
        self.cards = {task: corpora[task].card for task in self.tasks}
        self.mixes = training_mixes(self.corpora, config.sampling_of(self.tasks))
        self.best: dict[str, torch.Tensor] | None = None
        self.best_of_task: dict[str, tuple[float, int]] = {}
        """Highest monitor and its epoch, of every task, where each is selected by itself."""
        self.start: dict[str, Any] | None = None
        """Validation before the first step, where the start is a candidate, too."""
        self.loss_sums = torch.zeros(len(self.tasks), device=accelerator.device)

    def plan(self, epoch: int) -> EpochPlan:
        """Which samples stand in which part of which step of an epoch."""
        return EpochPlan(
            self.mixes,
            batch_size=self.options.batch_size,
            seed=self.seed,
            epoch=epoch,
            world_size=self.accelerator.num_processes,
            slices=self.options.gradient_accumulation,
        )

    def _identity(self) -> dict[str, Any]:
        identity = {**super()._identity(), "seed": self.seed}
        for task, card in self.cards.items():
            splits = self.corpora[task].splits
            sizes = {name: len(reader) for name, reader in splits.items()}
            stored = {"split_hash": card.split_hash, "dtype": splits["train"].dtype}
            identity[f"data of {task}"] = {**stored, **sizes}
        return identity

    def not_finite(self, names: Sequence[str], where: str) -> str:
        tasks = [name.partition("/")[0] for name in names]
        return (
            f"The loss of {tasks} is not finite in {where}: look at the data of these tasks, lower "
            "optimization.lr, or use mixed_precision: bf16 or no."
        )

    # Between the epochs ----------------------------------------------------------------------

    def evaluate(self, split: str) -> dict[str, dict[str, float]]:
        """Every task's metrics on a split, computed by all processes together."""
        return evaluate_tasks(
            self.method,
            self.corpora,
            split,
            self.options.eval_batch_size,
            self.accelerator,
            progress=True,
        )

    def predict(self, split: str) -> dict[str, WindowPredictions]:
        """What is said of every window of a split, by all processes together."""
        return {
            task: WindowPredictions.of(
                predict_task(
                    self.method,
                    corpus.splits[split],
                    corpus.card,
                    self.options.eval_batch_size,
                    self.accelerator,
                    progress=True,
                ),
                corpus.splits[split],
                corpus.card,
            )
            for task, corpus in self.corpora.items()
        }

    def finish_epoch(
        self, validation: Mapping[str, Mapping[str, float]] | None = None
    ) -> dict[str, Any]:
        """Keep the weights if they are the best yet on validation, begin a new epoch.

        The best are those with the highest mean over tasks of the monitor metric (paper, section
        4.2), or each task's own where the method says so; of equals the earliest.

        Parameters
        ----------
        validation : mapping, optional
            Of :meth:`evaluate` on that split; evaluated here where it is not given.

        Returns
        -------
        dict
            The epoch's entry in the history.
        """
        drawn = self.plan(self.progress.epoch).drawn
        sums = dict(zip(self.tasks, self.loss_sums.tolist(), strict=True))
        validation = self.evaluate("validation") if validation is None else validation
        score = monitor_mean(validation, self.cards)
        entry = {
            "epoch": self.progress.epoch,
            "train_loss": {task: sums[task] / drawn[task] for task in self.tasks},
            "validation": validation,
            "score": score,
            **({"start": self.start} if self.start and not self.progress.epoch else {}),
        }
        self.select(validation, score, self.progress.epoch)
        log = {f"validation/{task}/{metric}": value for task, values in validation.items()
               for metric, value in values.items()}  # fmt: skip
        self.loss_sums.zero_()
        self.end_epoch(entry, {**log, "validation/score": score})
        if self.finished and self.progress.epoch < self.epochs:
            entry["stopped"] = f"no better validation score for {self.options.patience} epochs"
        return entry

    def select(
        self, validation: Mapping[str, Mapping[str, float]], score: float, epoch: int
    ) -> None:
        """Keep what an epoch has trained (-1: the start), where it is the best on validation."""
        progress = self.progress
        if progress.best_score is None or score > progress.best_score:
            progress.best_score, progress.best_epoch = score, epoch
            if self.method.selection == "mean":
                self.best = self._copy(self.trained_tensors())
        if self.method.selection == "mean":
            return
        for task in self.tasks:
            value = validation[task][self.cards[task].monitor]
            # undefined (NaN) counts as less than any number
            if task not in self.best_of_task or is_better(value, self.best_of_task[task][0]):
                self.best_of_task[task] = (value, epoch)
                self.best = {**(self.best or {}), **self._copy(self.tensors_of(task))}

    @staticmethod
    def _copy(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def chosen_epochs(self) -> dict[str, int]:
        """The epoch whose weights serve a task, for all of them."""
        best = self.progress.best_epoch
        return {task: self.best_of_task.get(task, (0.0, best))[1] for task in self.tasks}

    def select_best(self) -> None:
        """Put the weights selected on validation into the method."""
        if self.best is None:
            raise TrainingError("No weights were selected: no epoch has been finished.")
        unselected = self.trained_tensors().keys() - self.best.keys()
        if unselected:
            raise TrainingError(
                f"{sorted(unselected)[:3]} serve no single task, yet tasks are selected one by "
                "one: a method whose selection is 'task' may not share what it trains."
            )
        self.put(self.best)

    def choose_thresholds(self) -> dict[str, float]:
        """Choose the thresholds of tasks of two classes on validation, where that is asked for.

        By what the selected weights say there. They go into the cards, and with these into the test
        and what is saved.

        Returns
        -------
        dict of str to float
            Of the tasks that got one.
        """
        chosen: dict[str, float] = {}
        if self.config.threshold is None:
            return chosen
        for task, said in self.predict("validation").items():
            threshold = choose_threshold(said, self.cards[task])
            if threshold is None:
                continue
            chosen[task] = threshold
            self.method.set_threshold(task, threshold)
            self.cards[task] = self.cards[task].replace(threshold=threshold)
            self.corpora[task] = dataclasses.replace(self.corpora[task], card=self.cards[task])
        return chosen

    def settings(self) -> dict[str, str]:
        """What was set beyond a plain training, for its record and cards, in words."""
        history = self.progress.history
        if history and "stopped" in history[-1]:
            return {"stopped": f"after epoch {len(history)} of {self.epochs}: "
                               f"{history[-1]['stopped']}"}  # fmt: skip
        return {}

    @abstractmethod
    def describe(self) -> str:
        """What is going to be trained, in a few words."""

    @abstractmethod
    def put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what :meth:`trained_tensors` returned once."""

    @abstractmethod
    def tensors_of(self, task: str) -> dict[str, torch.Tensor]:
        """Those of :meth:`trained_tensors` that serve a task alone."""

    # Checkpoints -----------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        extra = {**self.cut(), "loss_sums": self.loss_sums.tolist(), "scaler": self.scaler_state()}
        if self.method.selection == "task":
            extra["best_of_task"] = {task: list(best) for task, best in self.best_of_task.items()}
        if self.start:
            extra["start"] = self.start
        return Checkpoint(
            progress=self.progress,
            trainable=self.trained_tensors(),
            optimizer=self.optimizer.state_dict() if self.optimizer else {},
            best=self.best,
            extra=extra,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        self.put(checkpoint.trainable)
        if self.optimizer:
            self.optimizer.load_state_dict(checkpoint.optimizer)
        self.best = checkpoint.best
        self.loss_sums.copy_(torch.tensor(checkpoint.extra["loss_sums"]))
        self.start = checkpoint.extra.get("start")
        chosen = checkpoint.extra.get("best_of_task", {})
        self.best_of_task = {task: (best[0], best[1]) for task, best in chosen.items()}


class JointTrainer(SelectedTraining):
    """A training by gradients: model, optimiser, schedule.

    Parameters
    ----------
    config, corpora, accelerator, seed, folder
        See :class:`SelectedTraining`.
    method : GradientMethod
    optimizer : torch.optim.Optimizer
        Over the method's trained parameters, with ``lr_scale`` in every group.
    """

    method: GradientMethod

    def __init__(
        self,
        config: JointConfig,
        corpora: Mapping[str, Corpus],
        method: GradientMethod,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        seed: int,
        folder: str | Path,
    ) -> None:
        super().__init__(config, corpora, method, accelerator, seed, folder)
        weights = class_weights(self.options.class_weights, self.mixes, self.cards, seed)
        self.class_weights = {task: w.to(accelerator.device) for task, w in weights.items()}
        self._rates_hz = {task: card.rate_hz for task, card in self.cards.items()}
        same_everywhere(method.module, accelerator)
        self.begin(self.plan(0).num_steps, optimizer)

    @property
    def model(self) -> torch.nn.Module:
        """The method's network."""
        return self.method.module

    def describe(self) -> str:
        trained = self.method.facts()["trainable_parameters"]
        steps = count(self.steps_per_epoch, "step")
        return "\n  ".join(
            [f"{trained:,} trainable parameters, {steps} an epoch",
             *(f"{name}: {text}" for name, text in self.settings().items())]
        )  # fmt: skip

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or ``patience`` of them had no better validation score."""
        best = max(self.chosen_epochs().values()) if self.best else None
        patience, last = self.options.patience, self.progress.epoch - 1
        return super().finished or bool(patience and best is not None and last - best >= patience)

    def resume(self, mode: str = "auto") -> bool:
        """As :meth:`TrainingCore.resume`; where nothing is gone on from, heads get their start.

        A start as probes is the first candidate of the selection.
        """
        gone_on = super().resume(mode)
        if not gone_on and self.options.head_start == "probe":
            told = start_heads(
                self.method, self.corpora, self.mixes, self.seed, self.accelerator,
                self.options.eval_batch_size, self.class_weights,
            )  # fmt: skip
            for task, text in told.items():
                print(f"  {task}: head begins as a linear probe, {text}", flush=True)
            # A probe may be the best there is: few people teach a backbone little.
            validation = self.evaluate("validation")
            score = monitor_mean(validation, self.cards)
            self.start = {"validation": validation, "score": score}
            self.select(validation, score, -1)
        return gone_on

    def settings(self) -> dict[str, str]:
        options, settings = self.options, {}
        if options.head_start == "probe":
            settings["head start"] = "linear probe of the start's features"
        if self.class_weights:
            settings["class weights"] = weights_text(
                options.class_weights, self.class_weights, self.cards
            )
        if self.config.augmentation:
            settings["augmentation"] = self.config.augmentation.describe()
        if options.patience:
            settings["patience"] = count(options.patience, "epoch")
        return settings | super().settings()

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    trained_tensors = trainable

    def tensors_of(self, task: str) -> dict[str, torch.Tensor]:
        return {n: p for n, p in self.trainable().items() if self.method.task_of(n) == task}

    def put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trainable().items():
                parameter.copy_(tensors[name])

    def _identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, parameter in sorted(self.model.named_parameters()):
            if not parameter.requires_grad:
                digest.update(name.encode())
                digest.update(parameter.detach().float().cpu().numpy().tobytes())
        method = self.method.identity()
        return {**super()._identity(), "frozen weights": digest.hexdigest(), **method}

    # The steps -------------------------------------------------------------------------------

    def windows_before(self, step: int) -> tuple[int, int]:
        plan = self.plan(self.progress.epoch)
        return sum(plan.counts(0, step).values()) if step else 0, sum(plan.drawn.values())

    def epoch_parts(self, start: int) -> Iterator[tuple[Iterator[Batches], dict[str, int], int]]:
        plan = self.plan(self.progress.epoch)
        batches = JointBatches(
            self.corpora,
            plan,
            rank=self.accelerator.process_index,
            start_step=start,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        with closing(iter(batches)) as stream:
            for step in range(start, plan.num_steps):
                counts = plan.counts(step)
                parts = itertools.islice(stream, self.options.gradient_accumulation)
                yield parts, counts, sum(counts.values())

    def train_step(self, parts: Iterable[Batches], counts: Mapping[str, int]) -> torch.Tensor:
        """One optimiser step.

        Parameters
        ----------
        parts : iterable of mapping
            This process's batches of the step, one after the other: task to ``input_values``,
            ``channel_ids`` and ``labels``; a batch may lack tasks, or be empty.
        counts : mapping of str to int
            Samples of each task in the step over all processes and parts. A task's loss is its
            mean over them, whoever computes them, and the tasks' losses are added up.

        Returns
        -------
        torch.Tensor, (tasks,)
            Mean loss of each task in the step, over all processes; 0 where it had no sample.
        """
        losses = self.compute_gradients(parts, counts)
        if self.options.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.trainable().values(), self.options.clip_norm)
        rate = self.schedule.apply(self.optimizer, self.global_step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        weights = torch.tensor([counts.get(task, 0) for task in self.tasks], device=losses.device)
        self.loss_sums += losses * weights
        self._losses_of_step, self._rate = losses, rate
        return losses

    def compute_gradients(
        self, parts: Iterable[Batches], counts: Mapping[str, int]
    ) -> torch.Tensor:
        """The first half of :meth:`train_step`: the step's gradients, the same in all processes."""
        self.model.train()
        weights, accelerator = self.options.task_weights, self.accelerator
        losses = torch.zeros(len(self.tasks), device=accelerator.device)
        for part, batches in enumerate(parts):
            if not batches:
                continue
            where = (self.seed, self.global_step, part, accelerator.process_index)
            torch.manual_seed(step_seed(*where))
            if self.config.augmentation:
                batches = augmented(
                    self._on_device(batches), self.config.augmentation, self._rates_hz, where
                )
            for passed in split_passes(batches, self.options.max_tokens, self.method.tokens):
                total = 0.0
                for task, loss in self._losses(passed).items():
                    # of the task's mean over the whole step, whoever has the other samples
                    share = len(passed[task]["labels"]) / counts[task]
                    total = total + loss * (share * weights.get(task, 1.0))
                    losses[self.tasks.index(task)] += loss.detach() * share
                accelerator.backward(total)
        sum_gradients(self.trainable().values(), accelerator)
        return accelerator.reduce(losses, reduction="sum")

    def _on_device(self, batches: Batches) -> dict[str, dict[str, torch.Tensor]]:
        device = self.accelerator.device
        return {
            task: {key: value.to(device, non_blocking=True) for key, value in batch.items()}
            for task, batch in batches.items()
        }

    def _losses(self, batches: Batches) -> dict[str, torch.Tensor]:
        inputs, smoothing = self._on_device(batches), self.options.label_smoothing
        # With class weights the loss is made here, for every method alike.
        labels = {task: inputs[task].pop("labels") for task in inputs if task in self.class_weights}
        with self.accelerator.autocast():
            outputs = self.method.forward(inputs, smoothing)
            return {
                task: output.loss if task not in labels
                else task_loss(self.cards[task], output.logits, labels[task], smoothing,
                               self.class_weights[task])
                for task, output in outputs.items()
            }  # fmt: skip

    def values(self) -> dict[str, float]:
        losses = zip(self.tasks, self._losses_of_step.tolist(), strict=True)
        return {**{f"{task}/loss": loss for task, loss in losses}, "lr": self._rate}
