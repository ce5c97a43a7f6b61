"""What trainings of tasks share: the plan of an epoch, and selection on validation."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ..data.loading import Corpus, training_mixes
from ..data.mixing import EpochPlan
from ..evaluation import (
    WindowPredictions,
    choose_threshold,
    chosen_metrics,
    evaluate_tasks,
    monitor_mean,
    predict_task,
)
from ..methods.method import Method, TrainingError
from .balancing import ProgressRule
from .checkpoint import Checkpoint
from .core import TrainingCore
from .gradient_comparison import GradientComparison
from .joint_config import JointConfig
from .optimization import load_optimizer_state


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
        fixed = {mix.name: mix.drawn for mix in self.mixes}
        following = config.balancing.rule == "progress"
        self.progress_rule = (
            ProgressRule(config.balancing, fixed, self.cards) if following else None
        )
        self.best: dict[str, torch.Tensor] | None = None
        self.best_of_task: dict[str, tuple[float, int]] = {}
        """Highest monitor and its epoch, of every task, where each is selected by itself."""
        self.start: dict[str, Any] | None = None
        """Validation before the first step, where the start is a candidate, too."""
        self.loss_sums = torch.zeros(len(self.tasks), device=accelerator.device)
        self.conflicts: GradientComparison | None = None

    def plan(self, epoch: int) -> EpochPlan:
        """Which samples stand in which part of which step of an epoch.

        With the rule ``progress`` that depends on the epochs before it, which must be done.
        """
        numbers = None
        if self.progress_rule and epoch:
            numbers = self.progress.history[epoch - 1]["next_samples"]
        return EpochPlan(
            self.mixes,
            batch_size=self.options.batch_size,
            seed=self.seed,
            epoch=epoch,
            world_size=self.accelerator.num_processes,
            slices=self.options.gradient_accumulation,
            numbers=numbers,
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
        balance = self.balance(entry, drawn)
        entry |= balance
        log = {f"validation/{task}/{metric}": value for task, values in validation.items()
               for metric, value in values.items()}  # fmt: skip
        self.loss_sums.zero_()
        log |= {f"{what}/{task}": value for what, values in balance.items()
                for task, value in values.items()}  # fmt: skip
        self.end_epoch(entry, {**log, "validation/score": score})
        if self.finished and self.progress.epoch < self.epochs:
            entry["stopped"] = f"no better validation score for {self.options.patience} epochs"
        return entry

    def balance(
        self, entry: Mapping[str, Any], drawn: Mapping[str, int]
    ) -> dict[str, dict[str, float]]:
        """What balances the tasks, by task: what the epoch had, and what a next one has."""
        if not self.progress_rule:
            return {}
        told = {"samples": {task: drawn[task] for task in self.tasks}}
        if self.progress.epoch + 1 == self.epochs:
            return told
        numbers = [self.progress_rule.next_samples([*self.progress.history, entry])]
        # The plan must be the same everywhere, to the last sample: one process says it.
        broadcast_object_list(numbers)
        return told | {"next_samples": {task: numbers[0][task] for task in self.tasks}}

    def keep_start(self) -> None:
        """Make the weights before the first step the first candidate."""
        validation = self.evaluate("validation")
        score = monitor_mean(validation, self.cards)
        self.start = {"validation": validation, "score": score}
        self.select(validation, score, -1)

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
        history, settings = self.progress.history, {}
        if self.progress_rule:
            settings["balancing"] = self.progress_rule.describe(history)
        if history and "stopped" in history[-1]:
            settings["stopped"] = (
                f"after epoch {len(history)} of {self.epochs}: {history[-1]['stopped']}"
            )
        return settings

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
        if self.conflicts:
            extra["conflicts"] = self.conflicts.measurements
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
            load_optimizer_state(self.optimizer, checkpoint.optimizer)
        self.best = checkpoint.best
        self.loss_sums.copy_(torch.tensor(checkpoint.extra["loss_sums"]))
        self.start = checkpoint.extra.get("start")
        if self.conflicts:
            self.conflicts.measurements = checkpoint.extra.get("conflicts", [])
        chosen = checkpoint.extra.get("best_of_task", {})
        self.best_of_task = {task: (best[0], best[1]) for task, best in chosen.items()}
