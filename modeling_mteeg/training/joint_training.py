"""The loop of a joint training: batches of all tasks in, one optimiser step, over and over."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list
from tqdm.auto import tqdm

from ..data.loading import Corpus, JointBatches, training_mixes
from ..data.mixing import EpochPlan
from ..evaluation import evaluate_tasks, monitor_mean
from ..model.modeling_mteeg import MteegModel
from .checkpoint import Checkpoint, CheckpointError, CheckpointStore, Progress
from .joint_config import JointConfig
from .optimization import CosineSchedule, build_optimizer, sum_gradients
from .passes import split_passes
from .setup import TrainingError, build_model

Batches = Mapping[str, Mapping[str, torch.Tensor]]
_REPORT_EVERY = 10


def step_seed(seed: int, step: int, part: int, rank: int) -> int:
    """Seed of the random values (drop path, dropout) of one part of a step in one process."""
    return int(np.random.SeedSequence([seed, step, part, rank]).generate_state(1, np.uint64)[0])


class JointTrainer:
    """One training with one seed: model, optimiser, schedule, progress and checkpoints.

    Parameters
    ----------
    config : JointConfig
    corpora : mapping of str to Corpus
        Every task's card and its splits ``train``, ``validation``, ``test``.
    accelerator : Accelerator
    seed : int
    folder : str or Path
        Checkpoints go to ``checkpoints`` in it.
    model : MteegModel, optional
        Instead of the one that :func:`build_model` makes.
    """

    def __init__(
        self,
        config: JointConfig,
        corpora: Mapping[str, Corpus],
        accelerator: Accelerator,
        seed: int,
        folder: str | Path,
        model: MteegModel | None = None,
    ) -> None:
        self.config, self.options, self.seed = config, config.optimization, seed
        self.accelerator = accelerator
        self.tasks = tuple(config.data.tasks)
        self.corpora = {task: corpora[task] for task in self.tasks}
        self.cards = {task: corpora[task].card for task in self.tasks}
        model = build_model(config, self.cards, seed) if model is None else model
        self.model = model.to(accelerator.device)
        if accelerator.num_processes > 1:
            for tensor in self.model.state_dict().values():
                tensor.copy_(broadcast(tensor))
        optimizer = build_optimizer(self.model, model.config.num_hidden_layers, self.options)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.mixes = training_mixes(self.corpora, config.sampling_of(self.tasks))
        self.steps_per_epoch = self.plan(0).num_steps
        self.schedule = CosineSchedule.from_options(self.options, self.steps_per_epoch)
        self.progress = Progress()
        self.best: dict[str, torch.Tensor] | None = None
        self.loss_sums = torch.zeros(len(self.tasks), device=accelerator.device)
        self.store = CheckpointStore(
            Path(folder) / "checkpoints", self._identity(), config.checkpoint.keep
        )

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.progress.epoch >= self.options.epochs

    @property
    def global_step(self) -> int:
        """Optimiser steps done since the beginning."""
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

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
        """What a checkpoint must share with this training to be continued."""
        identity = {**self.config.identity(), "seed": self.seed}
        # What runs, where the configuration leaves it to accelerate's own.
        identity["mixed_precision"] = self.accelerator.mixed_precision
        for task, card in self.cards.items():
            splits = self.corpora[task].splits
            sizes = {name: len(reader) for name, reader in splits.items()}
            stored = {"split_hash": card.split_hash, "dtype": splits["train"].dtype}
            identity[f"data of {task}"] = {**stored, **sizes}
        digest = hashlib.sha256()
        for name, parameter in sorted(self.model.named_parameters()):
            if not parameter.requires_grad:
                digest.update(name.encode())
                digest.update(parameter.detach().float().cpu().numpy().tobytes())
        identity["frozen weights"] = digest.hexdigest()
        return identity

    # The steps -------------------------------------------------------------------------------

    def train_epoch(self) -> None:
        """Do the rest of the running epoch, with a checkpoint now and then."""
        progress, options = self.progress, self.options
        plan = self.plan(progress.epoch)
        start = progress.step
        batches = JointBatches(
            self.corpora,
            plan,
            rank=self.accelerator.process_index,
            start_step=start,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        bar = tqdm(
            total=sum(plan.drawn.values()),
            initial=sum(plan.counts(0, start).values()) if start else 0,
            unit="window",
            desc=f"epoch {progress.epoch + 1}/{options.epochs}",
            disable=not self.accelerator.is_local_main_process,
        )
        with bar, closing(iter(batches)) as stream:
            while progress.step < self.steps_per_epoch:
                counts = plan.counts(progress.step)
                parts = itertools.islice(stream, options.gradient_accumulation)
                losses = self.train_step(parts, counts)
                progress.step += 1
                bar.update(sum(counts.values()))
                last = progress.step == self.steps_per_epoch
                save = not last and progress.step % self.config.checkpoint.every_steps == 0
                if last or save or progress.step % _REPORT_EVERY == 0:
                    bar.set_postfix(self._report(losses), refresh=False)
                if save:
                    self.save_checkpoint()

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
        self.schedule.apply(self.optimizer, self.global_step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        weights = torch.tensor([counts.get(task, 0) for task in self.tasks], device=losses.device)
        self.loss_sums += losses * weights
        return losses

    def compute_gradients(
        self, parts: Iterable[Batches], counts: Mapping[str, int]
    ) -> torch.Tensor:
        """The first half of :meth:`train_step`: the step's gradients, the same in all processes."""
        self.model.train()
        weights, accelerator = self.options.task_weights, self.accelerator
        patch_size = self.model.config.patch_size
        losses = torch.zeros(len(self.tasks), device=accelerator.device)
        for part, batches in enumerate(parts):
            if not batches:
                continue
            where = (self.seed, self.global_step, part, accelerator.process_index)
            torch.manual_seed(step_seed(*where))
            for one in split_passes(batches, self.options.max_tokens, patch_size):
                total = 0.0
                for task, loss in self._losses(one).items():
                    share = len(one[task]["labels"]) / counts[task]
                    total = total + loss * (share * weights.get(task, 1.0))
                    losses[self.tasks.index(task)] += loss.detach() * share
                accelerator.backward(total)
        sum_gradients(self.trainable().values(), accelerator)
        return accelerator.reduce(losses, reduction="sum")

    def _losses(self, batches: Batches) -> dict[str, torch.Tensor]:
        device = self.accelerator.device
        inputs = {
            task: {key: value.to(device, non_blocking=True) for key, value in batch.items()}
            for task, batch in batches.items()
        }
        with self.accelerator.autocast():
            outputs = self.model(tasks=inputs, smoothing=self.options.label_smoothing)
        return {task: output.loss for task, output in outputs.items()}

    def _report(self, losses: torch.Tensor) -> dict[str, str]:
        """Losses for bar and tracker; stops a training whose losses are no numbers any more."""
        values = dict(zip(self.tasks, losses.tolist(), strict=True))
        wrong = [task for task, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"The loss of {wrong} is not finite in epoch {self.progress.epoch + 1}, step "
                f"{self.progress.step}: look at the data of these tasks, lower optimization.lr, "
                "or use mixed_precision: bf16 or no."
            )
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        log = {f"train/{task}/loss": value for task, value in values.items()}
        self.accelerator.log({**log, "train/lr": rate}, step=self.global_step)
        return {"loss": f"{sum(values.values()):.3f}", "lr": f"{rate:.1e}"}

    # Between the epochs ----------------------------------------------------------------------

    def evaluate(self, split: str) -> dict[str, dict[str, float]]:
        """Every task's metrics on a split, computed by all processes together."""
        return evaluate_tasks(
            self.model,
            self.corpora,
            split,
            self.options.eval_batch_size,
            self.accelerator,
            progress=True,
        )

    def finish_epoch(self) -> dict[str, Any]:
        """Evaluate on validation, keep the weights if they are the best yet, begin a new epoch.

        The best are those with the highest mean over tasks of the monitor metric (paper, section
        4.2); of equals the earliest. Returns the epoch's entry in the history.
        """
        progress = self.progress
        drawn = self.plan(progress.epoch).drawn
        sums = dict(zip(self.tasks, self.loss_sums.tolist(), strict=True))
        validation = self.evaluate("validation")
        score = monitor_mean(validation, self.cards)
        entry = {
            "epoch": progress.epoch,
            "train_loss": {task: sums[task] / drawn[task] for task in self.tasks},
            "validation": validation,
            "score": score,
        }
        if progress.best_score is None or score > progress.best_score:
            progress.best_score, progress.best_epoch = score, progress.epoch
            self.best = {name: p.detach().cpu().clone() for name, p in self.trainable().items()}
        progress.history.append(entry)
        log = {f"validation/{task}/{metric}": value for task, values in validation.items()
               for metric, value in values.items()}  # fmt: skip
        self.accelerator.log({**log, "validation/score": score}, step=self.global_step)
        progress.epoch, progress.step = progress.epoch + 1, 0
        self.loss_sums.zero_()
        return entry

    def select_best(self) -> None:
        """Put the weights selected on validation into the model."""
        if self.best is None:
            raise TrainingError("No weights were selected: no epoch has been finished.")
        self._put(self.best)

    def _put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        trainable = self.trainable()
        if tensors.keys() != trainable.keys():
            other = sorted(tensors.keys() ^ trainable.keys())
            raise CheckpointError(f"Trained parameters differ from the stored ones: {other[:5]}.")
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(tensors[name])

    # Checkpoints -----------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Write a checkpoint (main process); every process waits until it is on the disk."""
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            self.store.save(
                Checkpoint(
                    progress=self.progress,
                    trainable=self.trainable(),
                    optimizer=self.optimizer.state_dict(),
                    best=self.best,
                    extra={
                        "loss_sums": self.loss_sums.tolist(),
                        "world_size": self.accelerator.num_processes,
                        "scaler": None if scaler is None else scaler.state_dict(),
                    },
                )
            )
        self.accelerator.wait_for_everyone()

    def resume(self, mode: str = "auto") -> bool:
        """Go on from the newest intact checkpoint.

        Parameters
        ----------
        mode : {"auto", "always", "never"}
            ``auto``: if there is one; ``always``: it is an error if there is none; ``never``:
            remove them and start anew.

        Returns
        -------
        bool
            Whether there was a checkpoint.

        Raises
        ------
        CheckpointError
            The checkpoint belongs to another configuration or to other data.
        """
        found: list[Any] = [None, None]
        if self.accelerator.is_main_process:
            try:
                if mode == "never":
                    self.store.clear()
                found[0] = self.store.newest()
            except CheckpointError as error:
                found[1] = str(error)
        broadcast_object_list(found)
        name, fault = found
        if fault is None and name is None and mode == "always":
            fault = f"No intact checkpoint in {self.store.folder}; use --resume auto."
        if fault is not None:
            raise CheckpointError(fault)
        if name is not None:
            self._restore(self.store.load(name))
        return name is not None

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._put(checkpoint.trainable)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.progress, self.best = checkpoint.progress, checkpoint.best
        extra = checkpoint.extra
        self.loss_sums.copy_(torch.tensor(extra["loss_sums"]))
        if extra["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(extra["scaler"])
        if extra["world_size"] != self.accelerator.num_processes:
            warnings.warn(
                f"The checkpoint was written by {extra['world_size']} processes, now there are "
                f"{self.accelerator.num_processes}: the same samples in the same steps, but sums "
                "in another order, so not the same to the last bit.",
                stacklevel=2,
            )
