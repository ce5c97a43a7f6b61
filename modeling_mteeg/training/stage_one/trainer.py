"""The loop that both trainings of stage one share: steps, epochs, checkpoints."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ...data import GroupBatch, ShapePlan, StepPart, UnlabelledBatches, UnlabelledWindows
from ...methods.method import TrainingError
from ...model.channels import channel_ids
from ..checkpoint import Checkpoint, CheckpointError
from ..compiling import compile_layers
from ..core import in_double, read_back, same_everywhere, step_seed
from ..optimization import parameter_groups, sum_gradients
from ..trackers import log_figure, shows_figures
from .ema import WeightAverage
from .held_out_codes import HeldOutCodes, band_limits
from .length import LengthenedTraining
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

_NO_DECAY = ("cls_token", "mask_token", "spatial_embedding", "temporal_embedding")


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay acts on a parameter.

    Biases, normalisations, layer scales, tokens and embedding tables do not decay. In the published
    code the mask token does.
    """
    return parameter.ndim > 1 and not name.endswith(_NO_DECAY)


def stage_one_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters with and without weight decay, in the order of earlier checkpoints."""
    return parameter_groups(model, weight_decay, decays)[::-1]


class StageOneTrainer(LengthenedTraining):
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
        super().__init__(config, accelerator, config.seed, folder)
        self.data, self.model = dict(data), model
        same_everywhere(model, accelerator)
        self.sharded = shard_if_asked(model, accelerator)
        if config.compile and self.sharded:
            raise TrainingError("compile: not tested with FSDP; set compile: false.")
        if config.compile:
            compile_layers(*self.compiled_models())
        options = self.options
        optimizer = torch.optim.AdamW(
            stage_one_groups(model, options.weight_decay),
            lr=options.lr,
            betas=tuple(options.betas),
            fused=accelerator.device.type in ("cpu", "cuda"),  # a pass over memory instead of ten
        )
        self.average = None
        if options.ema_decay is not None:
            self.average = WeightAverage(self.trainable(), options.ema_decay)
        self.sums: dict[str, Any] = {}  # of the epoch, on the device
        self._limits: torch.Tensor | None = None
        self.begin(self.plan(0).num_steps, optimizer)
        for split in self.data:  # do the processes and slices fit?
            self._check_batches(split)

    # What a training must say ------------------------------------------------------------------

    @abstractmethod
    def run_part(self, part: StepPart, where: StepPlace) -> tuple[torch.Tensor, dict[str, Any]]:
        """Loss of a part, already a share of the whole step's, and sums to add up over parts."""

    @abstractmethod
    def summary(self) -> dict[str, float]:
        """Values of the model itself that are worth noting at the end of an epoch."""

    @property
    @abstractmethod
    def num_codes(self) -> int:
        """Codes of the tokenizer."""

    @property
    @abstractmethod
    def num_electrodes(self) -> int:
        """Rows of the tokenizer's table of electrodes."""

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
        digests = {
            f"{split} data": [group.digest() for group in groups]
            for split, groups in self.data.items()
        }
        return {**super()._identity(), **digests}

    def example(self) -> tuple[GroupBatch, tuple[str, ...]]:
        """The same window of the widest montage every time, held out where there are any."""
        groups = self.data.get("validation", self.data["train"])
        windows = groups[-1]
        values = torch.from_numpy(windows.read([0]))
        ids = torch.from_numpy(channel_ids(windows.channels))
        part = StepPart((GroupBatch(values, ids, len(groups) - 1, 0, 1),))
        return part.to(self.accelerator.device).groups[0], windows.channels

    # The steps ---------------------------------------------------------------------------------

    def windows_before(self, step: int) -> tuple[int, int]:
        plan = self.plan(self.progress.epoch)
        return plan.bounds(step)[0], plan.num_windows

    def epoch_parts(self, start: int) -> Iterator[tuple[list[StepPart], UnlabelledBatches, int]]:
        batches = self.batches("train", self.plan(self.progress.epoch), start)
        with closing(iter(batches)) as stream:
            for step in range(start, self.steps_per_epoch):
                parts = list(itertools.islice(stream, batches.slices))
                yield parts, batches, batches.windows(step)

    def train_step(self, parts: list[StepPart], batches: UnlabelledBatches) -> dict[str, Any]:
        """One optimiser step over this process's parts; losses are the whole step's.

        What it gives lies on the device, but for the learning rate: nothing here waits for it.
        """
        where = self.place(batches, self.progress.step)
        totals: dict[str, Any] = self.compute_gradients(parts, where)
        options, accelerator = self.options, self.accelerator
        norm = None
        if options.clip_norm is not None:
            accelerator.unscale_gradients(self.optimizer)
            norm = clip(self.trainable().values(), options.clip_norm)
        planned_step = self.global_step - self.repeated * self.steps_per_epoch
        totals["lr"] = self.schedule.apply(self.optimizer, planned_step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.global_step)
        share = batches.patches(self.progress.step)
        self._note({**totals, "patches": 1.0}, share)
        if norm is not None:
            totals |= self._note_norm(norm, share)
        self._totals = totals
        return totals

    def _note(self, values: Mapping[str, Any], share: Any) -> None:
        """Add values, weighed by ``share``, to the epoch's sums."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * share

    def values(self) -> dict[str, float]:
        values = read_back(self._totals)
        if self.accelerator.scaler is not None and not math.isfinite(
            values.get("gradient_norm", 0)
        ):
            del values["gradient_norm"]
        return values

    def not_finite(self, names: Sequence[str], where: str) -> str:
        return (
            f"{', '.join(names)} is not finite in {where}: look at the data, lower "
            "optimization.lr, set optimization.clip_norm, or use mixed_precision: bf16 or no."
        )

    def _note_norm(self, norm: torch.Tensor, share: float) -> dict[str, torch.Tensor]:
        """The gradient's norm for the report, where it has one.

        In float16 a scale that grew too large makes it infinite now and then; the scaler leaves
        that step out, and so does the mean.
        """
        norm = in_double(norm)
        counts = torch.ones_like(norm)
        if self.accelerator.scaler is not None:
            counts = norm.isfinite().to(norm.dtype)
        kept = torch.where(counts > 0, norm, 0.0)
        self._note({"gradient_norm": kept, "normed_patches": counts}, share)
        return {"gradient_norm": norm}

    def compute_gradients(self, parts: list[StepPart], where: StepPlace) -> dict[str, torch.Tensor]:
        """Gradients of a whole step, the same in every process; its losses, on the device."""
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

    def added_up(self, totals: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Values summed over all processes, on the device."""
        stacked = torch.stack([value.detach().float() for value in totals.values()])
        stacked = in_double(self.accelerator.reduce(stacked, reduction="sum"))
        return dict(zip(totals, stacked.unbind(), strict=True))

    # Between the epochs ------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, split: str = "validation") -> dict[str, float]:
        """Mean losses over a split, every patch of equal weight, and how its codes spread.

        See ``held_out_codes.HeldOutCodes``; all processes together.
        """
        self.model.eval()
        self.held_out = self.no_codes_yet(split)
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
        means = {name: value / patches for name, value in read_back(sums).items()}
        return {**means, **self.held_out.figures(self.accelerator)}

    def no_codes_yet(self, split: str) -> HeldOutCodes:
        """Counts to begin with."""
        if self._limits is None:
            self._limits = band_limits(self.data[split])
        device = self.accelerator.device
        return HeldOutCodes(self.num_codes, self._limits, self.num_electrodes, device)

    def finish_epoch(self) -> dict[str, Any]:
        """Evaluate where there is a validation split, and begin a new epoch.

        Returns the epoch's entry in the history.
        """
        sums = read_back(self.sums)
        patches, normed = sums.pop("patches"), sums.pop("normed_patches", None)
        if not normed:  # in float16 perhaps not one of its steps had a finite gradient
            sums.pop("gradient_norm", None)
        train = {name: value / (normed if name == "gradient_norm" else patches)
                 for name, value in sums.items() if name != "lr"}  # fmt: skip
        entry: dict[str, Any] = {"epoch": self.progress.epoch, "train": train}
        if "validation" in self.data:
            entry["validation"] = self.evaluate()
        main = self.accelerator.is_main_process
        tracked = shows_figures(self.config.tracker) and (main or self.sharded)
        counts = self.counts()
        figures = self.figures(counts) if tracked else {}  # a sharded model works in all or none
        entry["model"] = self.summary()
        log = {f"{part}/{name}": value for part in ("validation", "model")
               for name, value in entry.get(part, {}).items()}  # fmt: skip
        for name, figure in figures.items() if main else ():
            log_figure(self.accelerator, name, figure, self.global_step)
        self.sums = {}
        return self.end_epoch(entry, log)

    def use_average(self) -> None:
        """Leave the averaged weights in the model, where there are any: what is saved."""
        if self.average is not None:
            self.average.put()

    def whole_model(self) -> nn.Module | None:
        """The model to save, in the main process; every process must call this."""
        return whole_model(self.model, self.accelerator.is_main_process)

    # Checkpoints -------------------------------------------------------------------------------

    def trained_tensors(self) -> dict[str, torch.Tensor]:
        """Trained parameters and the model's own buffers, by name."""
        return {**self.trainable(), **dict(self.model.named_buffers())}

    def cut(self) -> dict[str, int]:
        return {**super().cut(), "slices": self.options.gradient_accumulation}

    def checkpoint(self) -> Checkpoint:
        counts, main = self.counts(), self.accelerator.is_main_process
        return Checkpoint(
            progress=self.progress,
            trainable=gather(self.trained_tensors(), main),
            optimizer=gather_optimizer(self.optimizer, main),
            best=None if self.average is None else gather(self.average.averages, main),
            extra={
                "sums": read_back(self.sums),
                **self.cut(),
                "scaler": self.scaler_state(),
                "counts": counts,
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        for name, tensor in self.trained_tensors().items():
            put(tensor, checkpoint.trainable[name])
        load_optimizer(self.optimizer, checkpoint.optimizer)
        if self.average is not None:
            self.average.load(checkpoint.best)
        self.sums = dict(checkpoint.extra["sums"])
        self.load_counts(checkpoint.extra["counts"])
