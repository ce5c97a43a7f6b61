"""The loop that both trainings of stage one share: steps, epochs, checkpoints."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list
from torch import nn
from tqdm.auto import tqdm

from ...data import GroupBatch, ShapePlan, StepPart, UnlabelledBatches, UnlabelledWindows
from ...model.channels import channel_ids
from ..checkpoint import Checkpoint, CheckpointError, CheckpointStore, Progress
from ..joint_training import step_seed
from ..optimization import CosineSchedule, sum_gradients
from ..setup import TrainingError
from .compiling import compile_layers
from .ema import WeightAverage
from .sharding import (
    clip,
    gather,
    gather_optimizer,
    load_optimizer,
    put,
    shard_if_asked,
    whole_model,
)
from .stage_one_config import StageOneConfig
from .step_place import StepPlace, StepShape

_REPORT_EVERY = 10
_NO_DECAY = ("cls_token", "mask_token", "spatial_embedding", "temporal_embedding")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters with and without weight decay.

    Biases, normalisations, layer scales, tokens and embedding tables do not decay. In the published
    code the mask token does.
    """
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(_NO_DECAY)
            groups[decays].append(parameter)
    return [
        {"params": groups[True], "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": groups[False], "weight_decay": 0.0, "lr_scale": 1.0},
    ]


class StageOneTrainer(ABC):
    """One training: model, optimiser, schedule, progress and checkpoints.

    Parameters
    ----------
    config : StageOneConfig
    data : mapping of str to sequence of UnlabelledWindows
        ``train``, and maybe ``validation``.
    model : torch.nn.Module
        The same in every process.
    accelerator : Accelerator
    folder : str or Path
        Checkpoints go to ``checkpoints`` in it.

    Notes
    -----
    Everything random is a function of (seed, step): the order of windows, masks, dropped paths.
    Resuming needs no state of a generator.
    """

    def __init__(
        self,
        config: StageOneConfig,
        data: Mapping[str, Sequence[UnlabelledWindows]],
        model: nn.Module,
        accelerator: Accelerator,
        folder: str | Path,
    ) -> None:
        self.config, self.options, self.seed = config, config.optimization, config.seed
        self.accelerator, self.data = accelerator, dict(data)
        self.model = model.to(accelerator.device)
        if accelerator.num_processes > 1:
            for tensor in self.model.state_dict().values():
                tensor.copy_(broadcast(tensor))
        self.sharded = shard_if_asked(self.model, accelerator)
        if config.compile and self.sharded:
            raise TrainingError("compile: not tested with FSDP; set compile: false.")
        if config.compile:
            compile_layers(*self.compiled_models())
        options = self.options
        optimizer = torch.optim.AdamW(
            parameter_groups(self.model, options.weight_decay),
            lr=options.lr,
            betas=tuple(options.betas),
            fused=accelerator.device.type in ("cpu", "cuda"),  # a pass over memory instead of ten
        )
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.steps_per_epoch = self.plan(0).num_steps
        self.schedule = CosineSchedule.from_options(options, self.steps_per_epoch)
        self.average = None
        if options.ema_decay is not None:
            self.average = WeightAverage(self.trainable(), options.ema_decay)
        self.progress = Progress()
        self.sums: dict[str, float] = {}
        self.store = CheckpointStore(
            Path(folder) / "checkpoints", self._identity(), config.checkpoint.keep
        )
        for split in self.data:  # do the processes and slices fit?
            self._check_batches(split)

    # What a training must say ------------------------------------------------------------------

    @abstractmethod
    def run_part(self, part: StepPart, where: StepPlace) -> tuple[torch.Tensor, dict[str, Any]]:
        """Loss of a part, already a share of the whole step's, and sums to add up over parts."""

    @abstractmethod
    def summary(self) -> dict[str, float]:
        """Values of the model itself that are worth noting at the end of an epoch."""

    def compiled_models(self) -> Sequence[nn.Module]:
        """Whose layers ``compile`` is about."""
        return (self.model,)

    def whole_step(self, parts: list[StepPart], where: StepPlace) -> Any:
        """A context around all parts of a training step; by default nothing."""
        return nullcontext()

    def figures(self, counts: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Pictures (matplotlib figures) of what the model does at the end of an epoch, by name.

        ``counts`` are those of all processes; not all of them call this.
        """
        return {}

    def counts(self) -> dict[str, torch.Tensor]:
        """What was counted in the running epoch, over all processes; a checkpoint keeps it."""
        return {}

    def load_counts(self, counts: Mapping[str, torch.Tensor]) -> None:
        """Go on counting from a checkpoint."""
        if counts:
            raise CheckpointError(f"Expected no counts in the checkpoint, found {sorted(counts)}.")

    # State -------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.progress.epoch >= self.options.epochs

    @property
    def global_step(self) -> int:
        """Optimiser steps done since the beginning."""
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def plan(self, epoch: int, split: str = "train") -> ShapePlan:
        """Which windows stand in which step of an epoch."""
        sizes = [len(group) for group in self.data[split]]
        options, bundle = self.options, self.config.data.bundle
        size = options.batch_size
        if split != "train":  # as many at a time as training, but no step too small to share
            size = max(2 * self.accelerator.num_processes, size // options.gradient_accumulation)
        return ShapePlan(sizes, size, self.seed, epoch, bundle)

    def batches(self, split: str, plan: ShapePlan, start_step: int = 0) -> UnlabelledBatches:
        """This process's batches of a plan."""
        return UnlabelledBatches(
            self.data[split],
            plan,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            self.options.gradient_accumulation if split == "train" else 1,
            start_step,
            pin_memory=self.accelerator.device.type == "cuda",
        )

    def _check_batches(self, split: str) -> None:
        try:
            self.batches(split, self.plan(0, split))
        except ValueError as error:
            if split == "train":
                raise
            windows = sum(len(group) for group in self.data[split])
            raise TrainingError(
                f"data.validation: expected at least a window held out for each of "
                f"{self.accelerator.num_processes} processes, found {windows}; hold out more, use "
                "fewer processes, or set data.validation: 0."
            ) from error

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with this training to be continued."""
        identity = self.config.identity()
        identity["mixed_precision"] = self.accelerator.mixed_precision
        for split, groups in self.data.items():
            identity[f"{split} data"] = [group.digest() for group in groups]
        return identity

    def example(self) -> tuple[GroupBatch, tuple[str, ...]]:
        """The same window of the widest montage every time, held out where there are any."""
        groups = self.data.get("validation", self.data["train"])
        windows = groups[-1]
        values = torch.from_numpy(windows.read([0]))
        ids = torch.from_numpy(channel_ids(windows.channels))
        part = StepPart((GroupBatch(values, ids, len(groups) - 1, 0, 1),))
        return part.to(self.accelerator.device).groups[0], windows.channels

    # The steps ---------------------------------------------------------------------------------

    def train_epoch(self) -> None:
        """Do the rest of the running epoch, with a checkpoint now and then."""
        progress = self.progress
        plan = self.plan(progress.epoch)
        batches = self.batches("train", plan, progress.step)
        bar = tqdm(
            total=plan.num_windows,
            initial=plan.bounds(progress.step)[0],
            unit="window",
            desc=f"epoch {progress.epoch + 1}/{self.options.epochs}",
            disable=not self.accelerator.is_main_process,
        )
        begun, windows = time.monotonic(), 0
        with bar, closing(iter(batches)) as stream:
            while progress.step < self.steps_per_epoch:
                parts = list(itertools.islice(stream, batches.slices))
                values = self.train_step(parts, batches)
                windows += batches.windows(progress.step)
                bar.update(batches.windows(progress.step))
                progress.step += 1
                last = progress.step == self.steps_per_epoch
                save = not last and progress.step % self.config.checkpoint.every_steps == 0
                if last or save or progress.step % _REPORT_EVERY == 0:
                    self._report(values, windows / (time.monotonic() - begun), bar)
                if save:
                    self.save_checkpoint()

    def train_step(self, parts: list[StepPart], batches: UnlabelledBatches) -> dict[str, float]:
        """One optimiser step over this process's parts; losses are the whole step's."""
        where = self.place(batches, self.progress.step)
        totals = self.compute_gradients(parts, where)
        options, accelerator = self.options, self.accelerator
        trainable = self.trainable().values()
        norm = None
        if options.clip_norm is not None:
            accelerator.unscale_gradients(self.optimizer)
            norm = float(clip(trainable, options.clip_norm))
        totals["lr"] = self.schedule.apply(self.optimizer, self.global_step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.global_step)
        share = batches.patches(self.progress.step)
        for name, value in totals.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * share
        self.sums["patches"] = self.sums.get("patches", 0.0) + share
        return totals if norm is None else {**totals, **self._note_norm(norm, share)}

    def _note_norm(self, norm: float, share: float) -> dict[str, float]:
        """The gradient's norm for the report, where it has one.

        In float16 a scale that grew too large makes it infinite now and then; the scaler leaves
        that step out, and so does the mean.
        """
        if self.accelerator.scaler is not None and not math.isfinite(norm):
            return {}
        for name, value in (("gradient_norm", norm * share), ("normed_patches", share)):
            self.sums[name] = self.sums.get(name, 0.0) + value
        return {"gradient_norm": norm}

    def compute_gradients(self, parts: list[StepPart], where: StepPlace) -> dict[str, float]:
        """Gradients of a whole step, the same in every process; its losses."""
        self.model.train()
        accelerator, totals = self.accelerator, {}
        parts = [part.to(accelerator.device) for part in parts]
        with self.whole_step(parts, where):
            for number, part in enumerate(parts):
                place = (self.seed, self.global_step, number, accelerator.process_index)
                torch.manual_seed(step_seed(*place))
                loss, values = self.run_part(part, where)
                accelerator.backward(loss)
                for name, value in values.items():
                    totals[name] = totals.get(name, 0.0) + value.detach()
        if not self.sharded:  # else backward has summed them
            sum_gradients(self.trainable().values(), accelerator)
        return self.added_up(totals)

    def place(self, batches: UnlabelledBatches, step: int, training: bool = True) -> StepPlace:
        """Where a step stands: what its losses are divided by, and what its masks depend on."""
        plan = batches.plan
        shapes = []
        for group, rows in plan.step(step):
            windows = batches.groups[group]
            shapes.append(StepShape(group, len(rows), len(windows.channels) * windows.patches))
        return StepPlace(self.seed, plan.epoch, step, training, tuple(shapes))

    def added_up(self, totals: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Values summed over all processes."""
        stacked = torch.stack([value.double().float() for value in totals.values()])
        stacked = self.accelerator.reduce(stacked, reduction="sum")
        return dict(zip(totals, stacked.tolist(), strict=True))

    def _report(self, values: Mapping[str, float], rate: float, bar: tqdm) -> None:
        """Losses for bar and tracker; stops a training whose losses are no numbers any more."""
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"{', '.join(wrong)} is not finite in epoch {self.progress.epoch + 1}, step "
                f"{self.progress.step}: look at the data, lower optimization.lr, set "
                "optimization.clip_norm, or use mixed_precision: bf16 or no."
            )
        log = {f"train/{name}": value for name, value in values.items()}
        self.accelerator.log({**log, "train/windows_per_s": rate}, step=self.global_step)
        shown = {"loss": f"{values['loss']:.3f}", "lr": f"{values['lr']:.1e}"}
        bar.set_postfix(shown, refresh=False)

    # Between the epochs ------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, split: str = "validation") -> dict[str, float]:
        """Mean losses over a split, every patch of equal weight, in all processes together."""
        self.model.eval()
        plan = self.plan(0, split)
        batches = self.batches(split, plan)
        sums, patches = {}, 0
        averages = self.average.in_place() if self.average is not None else nullcontext()
        with averages:
            for step in range(plan.num_steps):
                where = self.place(batches, step, training=False)
                part = batches.part(step).to(self.accelerator.device)
                share = batches.patches(step)
                for name, value in self.added_up(self.run_part(part, where)[1]).items():
                    sums[name] = sums.get(name, 0.0) + value * share
                patches += share
        return {name: value / patches for name, value in sums.items()}

    def finish_epoch(self) -> dict[str, Any]:
        """Evaluate where there is a validation split, and begin a new epoch.

        Returns the epoch's entry in the history.
        """
        progress = self.progress
        patches, normed = self.sums.pop("patches"), self.sums.pop("normed_patches", None)
        train = {name: value / (normed if name == "gradient_norm" else patches)
                 for name, value in self.sums.items() if name != "lr"}  # fmt: skip
        entry: dict[str, Any] = {"epoch": progress.epoch, "train": train}
        if "validation" in self.data:
            entry["validation"] = self.evaluate()
        main = self.accelerator.is_main_process
        tracked = self.config.tracker == "tensorboard" and (main or self.sharded)
        counts = self.counts()
        figures = self.figures(counts) if tracked else {}  # a sharded model works in all or none
        entry["model"] = self.summary()
        progress.history.append(entry)
        log = {f"{part}/{name}": value for part in ("validation", "model")
               for name, value in entry.get(part, {}).items()}  # fmt: skip
        self.accelerator.log(log, step=self.global_step)
        for name, figure in figures.items() if main else ():
            writer = self.accelerator.get_tracker("tensorboard").writer
            writer.add_figure(name, figure, self.global_step)
        progress.epoch, progress.step, self.sums = progress.epoch + 1, 0, {}
        return entry

    def use_average(self) -> None:
        """Leave the averaged weights in the model, where there are any: what is saved."""
        if self.average is not None:
            self.average.put()

    def whole_model(self) -> nn.Module | None:
        """The model to save, in the main process; every process must call this."""
        return whole_model(self.model, self.accelerator.is_main_process)

    # Checkpoints -------------------------------------------------------------------------------

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Trained parameters and the model's own buffers, by name."""
        return {**self.trainable(), **dict(self.model.named_buffers())}

    def save_checkpoint(self) -> None:
        """Write a checkpoint (main process); every process waits until it is on the disk."""
        counts, main = self.counts(), self.accelerator.is_main_process
        tensors = gather(self._tensors(), main)
        optimizer = gather_optimizer(self.optimizer, main)
        averages = None if self.average is None else gather(self.average.averages, main)
        if main:
            scaler = self.accelerator.scaler
            self.store.save(
                Checkpoint(
                    progress=self.progress,
                    trainable=tensors,
                    optimizer=optimizer,
                    best=averages,
                    extra={
                        "sums": dict(self.sums),
                        "world_size": self.accelerator.num_processes,
                        "slices": self.options.gradient_accumulation,
                        "scaler": None if scaler is None else scaler.state_dict(),
                        "counts": counts,
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
        own = self._tensors()
        if own.keys() != checkpoint.trainable.keys():
            other = sorted(own.keys() ^ checkpoint.trainable.keys())
            raise CheckpointError(f"Tensors differ from the stored ones: {other[:5]}.")
        for name, tensor in own.items():
            put(tensor, checkpoint.trainable[name])
        load_optimizer(self.optimizer, checkpoint.optimizer)
        if self.average is not None:
            self.average.load(checkpoint.best)
        extra = checkpoint.extra
        self.progress, self.sums = checkpoint.progress, dict(extra["sums"])
        self.load_counts(extra["counts"])
        if extra["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(extra["scaler"])
        then = extra["world_size"], extra["slices"]
        now = self.accelerator.num_processes, self.options.gradient_accumulation
        if then != now:
            warnings.warn(
                f"The checkpoint was written by {then[0]} processes with {then[1]} slices, now "
                f"there are {now[0]} with {now[1]}: the same windows in the same steps, but sums "
                "in another order, so not the same to the last bit.",
                stacklevel=2,
            )
