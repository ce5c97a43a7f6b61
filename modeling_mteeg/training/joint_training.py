"""A joint training by gradients: batches of all tasks in, one step, over and over."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ..cards.sections import parameters_text
from ..data.loading import Corpus, JointBatches
from ..methods.method import GradientMethod
from ..model.modeling_mteeg import task_loss
from .augmentation import augmented
from .balancing import UncertaintyWeights
from .class_weights import class_weights, weights_text
from .compiling import compile_layers
from .core import count, numbers_on, same_everywhere, step_seed
from .gradient_comparison import GradientComparison
from .head_start import start_heads
from .joint_config import JointConfig
from .optimization import average_running, sum_gradients
from .passes import split_passes
from .selected_training import SelectedTraining

Batches = Mapping[str, Mapping[str, torch.Tensor]]


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
        if config.compile:
            compile_layers(method.module, temporal_encoder=True)
        self.uncertainty = None
        if config.balancing.rule == "uncertainty":
            self.uncertainty = UncertaintyWeights(self.tasks, accelerator.device)
            optimizer.add_param_group(self.uncertainty.group(config.balancing.lr_scale))
        every = config.gradients.every_steps
        self.conflicts = GradientComparison(method, self.tasks, every) if every else None
        self.begin(self.plan(0).num_steps, optimizer)

    @property
    def model(self) -> torch.nn.Module:
        """The method's network."""
        return self.method.module

    def describe(self) -> str:
        counts = self.method.parameter_counts()
        steps = count(self.steps_per_epoch, "step")
        return "\n  ".join(
            [f"{counts['trained']:,} trainable parameters, {steps} an epoch",
             f"parameters: {parameters_text(counts)}",
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
            if self.options.keep_start:  # a probe may be the best: few people teach little
                self.keep_start()
        return gone_on

    def settings(self) -> dict[str, str]:
        options, settings = self.options, self.method.settings()
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
        if self.uncertainty:
            settings["balancing"] = self.uncertainty.describe()
        if self.conflicts:
            settings["gradients of tasks"] = self.conflicts.describe()
        return self.method.settings() | settings | super().settings()

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name; weights of losses, too, where learned."""
        found = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        return found | (self.uncertainty.parameters if self.uncertainty else {})

    def trained_tensors(self) -> dict[str, torch.Tensor]:
        return {**self.trainable(), **self.method.running()}

    def tensors_of(self, task: str) -> dict[str, torch.Tensor]:
        return {n: t for n, t in self.trained_tensors().items() if self.method.task_of(n) == task}

    def put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.trained_tensors().items():
                tensor.copy_(tensors[name])

    def _identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, parameter in sorted(self.model.named_parameters()):
            if not parameter.requires_grad:
                digest.update(name.encode())
                digest.update(parameter.detach().float().cpu().numpy().tobytes())
        method = self.method.identity()
        return {**super()._identity(), "frozen weights": digest.hexdigest(), **method}

    def cut(self) -> dict[str, int]:
        return {**super().cut(), "compiled": self.config.compile}

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
            # Weights of losses are no part of it: the bound is that of the model's gradient.
            model = [p for p in self.model.parameters() if p.requires_grad]
            self.accelerator.clip_grad_norm_(model, self.options.clip_norm)
        rate = self.schedule.apply(self.optimizer, self.global_step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.accelerator.num_processes > 1:
            average_running(self.method.running().values(), self.accelerator)
        weights = numbers_on(losses.device, [counts.get(task, 0) for task in self.tasks])
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
        compared = self.conflicts and self.conflicts.due(self.global_step)
        for part, batches in enumerate(parts):
            if not batches:
                continue
            where = (self.seed, self.global_step, part, accelerator.process_index)
            if self.config.augmentation:
                batches = augmented(
                    self._on_device(batches), self.config.augmentation, self._rates_hz, where
                )
            torch.manual_seed(step_seed(*where))
            if compared:
                self.conflicts.add(batches, counts, self._losses, self._passes, self._loss_scale)
                torch.manual_seed(step_seed(*where))  # as if nothing had been drawn
            for passed in self._passes(batches):
                total = 0.0
                for task, loss in self._losses(passed).items():
                    # of the task's mean over the whole step, whoever has the other samples
                    share = len(passed[task]["labels"]) / counts[task]
                    losses[self.tasks.index(task)] += loss.detach() * share
                    if self.uncertainty:
                        loss = self.uncertainty.weighted(task, loss)
                    total = total + loss * (share * weights.get(task, 1.0))
                accelerator.backward(total)
        sum_gradients(self.trainable().values(), accelerator)
        if compared:
            place = self.progress.epoch, self.global_step
            told = self.conflicts.finish(*place, counts, accelerator, self._loss_scale)
            accelerator.log(told, step=self.global_step)
        return accelerator.reduce(losses, reduction="sum")

    def _passes(self, batches: Batches) -> list[Batches]:
        return split_passes(batches, self.options.max_tokens, self.method.tokens)

    @property
    def _loss_scale(self) -> float:
        scaler = self.accelerator.scaler  # of float16
        return 1.0 if scaler is None else scaler.get_scale()

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

    def balance(
        self, entry: Mapping[str, Any], drawn: Mapping[str, int]
    ) -> dict[str, dict[str, float]]:
        learned = {"loss_weights": self.uncertainty.weights()} if self.uncertainty else {}
        return super().balance(entry, drawn) | learned

    def values(self) -> dict[str, float]:
        losses = zip(self.tasks, self._losses_of_step.tolist(), strict=True)
        return {**{f"{task}/loss": loss for task, loss in losses}, "lr": self._rate}
