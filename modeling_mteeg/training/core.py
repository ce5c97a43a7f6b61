"""What all trainings share: epochs and steps, bar and tracker, checkpoints, going on after a kill.

A training is a plan of steps an epoch, and something that does one step. Everything random in it is
a function of (seed, epoch, step, part, process), so that going on needs three integers and tensors.
"""

from __future__ import annotations

import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list
from tqdm.auto import tqdm

from ..methods.method import TrainingError
from .checkpoint import Checkpoint, CheckpointError, CheckpointStore, Progress
from .optimization import CosineSchedule
from .run_config import RunConfig

_REPORT_EVERY = 10
_TELL_EVERY_S = 60.0
"""How often a line tells of a running epoch where output is no terminal."""


def step_seed(seed: int, step: int, part: int, rank: int) -> int:
    """Seed of the random values (drop path, dropout) of one part of a step in one process."""
    return int(np.random.SeedSequence([seed, step, part, rank]).generate_state(1, np.uint64)[0])


def count(number: int, noun: str) -> str:
    """``3 tasks``, ``1 process``."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def same_everywhere(module: torch.nn.Module, accelerator: Accelerator) -> None:
    """Put a module on the device, with the first process's tensors in all of them."""
    module.to(accelerator.device)
    if accelerator.num_processes > 1:
        for tensor in module.state_dict().values():
            tensor.copy_(broadcast(tensor))


def numbers_on(device: torch.device, numbers: Sequence[float]) -> torch.Tensor:
    """Numbers of the host, (numbers,), as a tensor on the device, which is not waited for."""
    tensor = torch.tensor(numbers)
    if device.type == "cuda":  # else the copy would wait for all that runs there
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def in_double(tensor: torch.Tensor) -> torch.Tensor:
    """In float64, so that sums over an epoch lose nothing; Apple's GPUs have float32 at most."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def read_back(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers, some of them scalars on a device, as floats; one wait for all of them."""
    there = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    read = torch.stack([in_double(value) for value in there.values()]).tolist() if there else []
    return {name: float(value) for name, value in values.items()
            if name not in there} | dict(zip(there, read, strict=True))  # fmt: skip


class DivergedError(TrainingError):
    """A training whose loss is no number any more."""


class TrainingCore(ABC):
    """One training with one seed, from its first step or from a checkpoint to its end.

    Parameters
    ----------
    config : RunConfig
    accelerator : Accelerator
    seed : int
    folder : str or Path
        Checkpoints go to ``checkpoints`` in it.

    Attributes
    ----------
    progress : Progress
        How far it has come, and the history of its epochs.
    steps_per_epoch : int
    """

    def __init__(
        self, config: RunConfig, accelerator: Accelerator, seed: int, folder: str | Path
    ) -> None:
        self.config, self.options, self.seed = config, config.optimization, seed
        self.accelerator, self.progress = accelerator, Progress()
        self.folder = Path(folder)

    def begin(self, steps_per_epoch: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Set up what depends on the plan; the last thing that a subclass's ``__init__`` does."""
        self.steps_per_epoch = steps_per_epoch
        self.optimizer = optimizer and self.accelerator.prepare_optimizer(optimizer)
        self.schedule = self.planned_schedule()
        self.store = CheckpointStore(
            self.folder / "checkpoints", self._identity(), self.config.checkpoint.keep
        )

    def planned_schedule(self) -> CosineSchedule:
        """The learning rate of every step."""
        return CosineSchedule.from_options(self.options, self.steps_per_epoch)

    # What a training must say ------------------------------------------------------------------

    @abstractmethod
    def epoch_parts(self, start: int) -> Iterator[tuple[Any, Any, int]]:
        """The steps of the running epoch from number ``start`` on.

        Yields the two arguments of :meth:`train_step` and the number of windows of the step.
        """

    @abstractmethod
    def windows_before(self, step: int) -> tuple[int, int]:
        """Windows of the running epoch before a step, and in all."""

    @abstractmethod
    def train_step(self, parts: Any, place: Any) -> Any:
        """One step over this process's parts."""

    @abstractmethod
    def values(self) -> dict[str, float]:
        """What the last step gave, for bar and tracker; reading it may wait for the device."""

    @abstractmethod
    def trained_tensors(self) -> dict[str, torch.Tensor]:
        """What training changes, by name, as this process holds it."""

    @abstractmethod
    def checkpoint(self) -> Checkpoint:
        """Everything a training needs to go on; every process calls this."""

    @abstractmethod
    def restore(self, checkpoint: Checkpoint) -> None:
        """The inverse of :meth:`checkpoint`."""

    @abstractmethod
    def not_finite(self, names: Sequence[str], where: str) -> str:
        """What to say of reported values that are no numbers any more."""

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with this training to be continued."""
        # What runs, where the configuration leaves it to accelerate's own.
        precision = self.accelerator.mixed_precision
        return {**self.config.identity(), "mixed_precision": precision}

    # The steps ---------------------------------------------------------------------------------

    @property
    def epochs(self) -> int:
        """How many epochs the training has."""
        return self.options.epochs

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.progress.epoch >= self.epochs

    @property
    def global_step(self) -> int:
        """Optimiser steps done since the beginning."""
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    def steps(self) -> Iterator[tuple[Any, Any]]:
        """The rest of the running epoch: the arguments of :meth:`train_step`, step by step.

        Between the steps come the bar, the tracker, a look at the losses, and a checkpoint now and
        then.
        """
        progress = self.progress
        before, total = self.windows_before(progress.step)
        bar = tqdm(
            total=total,
            initial=before,
            unit="window",
            desc=f"epoch {progress.epoch + 1}/{self.epochs}",
            # A file gets lines now and then instead: a bar would fill it.
            disable=None if self.accelerator.is_main_process else True,
        )
        begun, done = time.monotonic(), 0
        self._told = begun
        with bar, closing(self.epoch_parts(progress.step)) as steps:
            for parts, place, windows in steps:
                yield parts, place
                progress.step += 1
                done += windows
                bar.update(windows)
                last = progress.step == self.steps_per_epoch
                save = not last and progress.step % self.config.checkpoint.every_steps == 0
                if last or save or progress.step % _REPORT_EVERY == 0:
                    self._report(before + done, done / (time.monotonic() - begun), bar)
                if save:
                    self.save_checkpoint()

    def train_epoch(self) -> None:
        """Do the rest of the running epoch."""
        with closing(self.steps()) as steps:
            for parts, place in steps:
                self.train_step(parts, place)

    def _report(self, done: int, rate: float, bar: tqdm) -> None:
        """Values for bar and tracker; stops a training whose losses are no numbers any more.

        ``done`` are the windows of the epoch so far, over all processes.
        """
        values = self.values()
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            where = f"epoch {self.progress.epoch + 1}, step {self.progress.step}"
            raise DivergedError(self.not_finite(wrong, where))
        log = {f"train/{name}": value for name, value in values.items()}
        self.accelerator.log({**log, "train/windows_per_s": rate}, step=self.global_step)
        loss = sum(value for name, value in values.items() if name.rpartition("/")[2] == "loss")
        shown = {"loss": f"{loss:.3f}"}
        if "lr" in values:
            shown["lr"] = f"{values['lr']:.1e}"
        bar.set_postfix(shown, refresh=False)
        if bar.disable and self.accelerator.is_main_process:
            values = ", ".join(f"{name} {value}" for name, value in shown.items())
            self._tell(f"{done:,} windows, {rate:.0f} a second, {values}")

    def _tell(self, text: str) -> None:
        """Print how far the epoch is, if that was not said a moment ago."""
        now, progress = time.monotonic(), self.progress
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            print(f"epoch {progress.epoch + 1}/{self.epochs}: {text}", flush=True)

    def end_epoch(self, entry: dict[str, Any], log: Mapping[str, float]) -> dict[str, Any]:
        """Note an epoch in history and tracker, and begin the next; returns its ``entry``."""
        self.progress.history.append(entry)
        self.accelerator.log(dict(log), step=self.global_step)
        self.progress.epoch, self.progress.step = self.progress.epoch + 1, 0
        return entry

    # Checkpoints -------------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Write a checkpoint (main process); every process waits until it is on the disk."""
        checkpoint = self.checkpoint()
        if self.accelerator.is_main_process:
            self.store.save(checkpoint)
        self.accelerator.wait_for_everyone()

    def scaler_state(self) -> dict[str, Any] | None:
        """State of the gradient scaler of float16, where there is one."""
        scaler = self.accelerator.scaler
        return None if scaler is None else scaler.state_dict()

    def load_scaler(self, state: dict[str, Any] | None) -> None:
        """The inverse of :meth:`scaler_state`."""
        if state is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state)

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
        answer: list[Any] = [None, None]  # name and fault, which the main process finds for all
        if self.accelerator.is_main_process:
            try:
                if mode == "never":
                    self.store.clear()
                answer[0] = self.store.newest()
            except CheckpointError as error:
                answer[1] = str(error)
        broadcast_object_list(answer)
        name, fault = answer
        if fault is None and name is None and mode == "always":
            fault = f"No intact checkpoint in {self.store.folder}; use --resume auto."
        if fault is not None:
            raise CheckpointError(fault)
        if name is not None:
            self._continue(self.store.load(name))
        return name is not None

    def _continue(self, checkpoint: Checkpoint) -> None:
        here, stored = self.trained_tensors().keys(), checkpoint.trainable.keys()
        if here != stored:
            raise CheckpointError(
                f"Trained parameters differ from the stored ones: {sorted(here ^ stored)[:5]}."
            )
        self.progress = checkpoint.progress
        self.restore(checkpoint)
        extra = checkpoint.extra
        self.load_scaler(extra.get("scaler"))
        now = self.cut()
        if any(extra.get(key, False) != value for key, value in now.items()):
            warnings.warn(
                f"The checkpoint was written by {_in_words(extra)}, now there are "
                f"{_in_words(now)}: the same windows in the same steps, but sums in another order, "
                "so not the same to the last bit.",
                stacklevel=3,
            )

    def cut(self) -> dict[str, int]:
        """What decides the order of sums in a step; a checkpoint goes on with another, too."""
        return {"world_size": self.accelerator.num_processes}


def _in_words(cut: Mapping[str, Any]) -> str:
    slices = f" with {cut['slices']} slices" if "slices" in cut else ""
    layers = ", compiled layers" if cut.get("compiled") else ""
    return f"{cut['world_size']} processes{slices}{layers}"
