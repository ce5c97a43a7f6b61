"""How long a training of stage one is: what was planned, and what it stays on the plateau."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ..core import TrainingCore
from ..optimization import CosineSchedule
from .held_out_codes import CollapseError
from .stage_one_config import StageOneOptimization


@dataclasses.dataclass(frozen=True)
class Length:
    """Epochs planned, and epochs that do not count because they ended on the plateau.

    Such an epoch is done again at the same place of the schedule, on other windows, so that the
    learning rate falls only once there is something to refine. What counts is read from the history
    of the epochs: going on with a larger ``most`` is as if it had been that large from the start.

    Parameters
    ----------
    planned, steps_per_epoch : int
    warmup_steps : int
        Of the learning rate.
    codes_from : int
        Steps before codes start.
    most : int
        Epochs on the plateau that do not count, at most.
    """

    planned: int
    steps_per_epoch: int
    warmup_steps: int
    codes_from: int
    most: int

    @classmethod
    def from_options(
        cls, options: StageOneOptimization, steps_per_epoch: int, codes_from: int = 0
    ) -> Length:
        """Steps are rounded up to whole epochs; codes start after ``codes_from`` steps or half."""
        planned = options.epochs or -(-options.steps // steps_per_epoch)
        warmup = options.warmup_steps
        if warmup is None:
            warmup = round(options.warmup_epochs * steps_per_epoch)
        most = -(-options.max_steps_on_plateau // steps_per_epoch)
        warmup = min(warmup, planned * steps_per_epoch)
        codes_from = min(codes_from, planned * steps_per_epoch // 2)
        return cls(planned, steps_per_epoch, warmup, codes_from, most)

    @property
    def free(self) -> int:
        """Epochs that begin before this step are no plateau yet: the rate rises, or no codes."""
        return max(self.warmup_steps, self.codes_from)

    def schedule(self, lr: float, min_lr: float) -> CosineSchedule:
        """The learning rate of every planned step."""
        return CosineSchedule(lr, min_lr, self.warmup_steps, self.planned * self.steps_per_epoch)

    def repeated(
        self, history: Sequence[Mapping[str, Any]], plateau: Callable[[Mapping], str]
    ) -> int:
        """How many finished epochs are done again; ``plateau`` says why of held-out figures."""
        return min(self.most, self.on_plateau(history, plateau))

    def used_up(
        self, history: Sequence[Mapping[str, Any]], plateau: Callable[[Mapping], str]
    ) -> bool:
        """Whether it went on for as long as it may, the last epoch being on the plateau still."""
        if not history or not plateau(history[-1].get("validation", {})):
            return False
        return 0 < self.most < self.on_plateau(history, plateau)

    def on_plateau(
        self, history: Sequence[Mapping[str, Any]], plateau: Callable[[Mapping], str]
    ) -> int:
        """How many finished epochs ended on the plateau, whether they are done again or not."""
        found = 0
        for number, entry in enumerate(history):
            begun = (number - min(found, self.most)) * self.steps_per_epoch
            found += begun >= self.free and bool(plateau(entry.get("validation", {})))
        return found


class LengthenedTraining(TrainingCore):
    """A training that does epochs on the plateau again, and tells where it ends there."""

    codes_from = 0
    """Steps before codes start, as the configuration says."""
    remedy: ClassVar[str]
    """What helps off the plateau."""
    plateau_is_fault: ClassVar[bool]
    """Whether a training that ends on it has failed."""

    @abstractmethod
    def plateau(self, figures: Mapping[str, float]) -> str:
        """A sentence where held-out ``figures`` are those of the plateau, else nothing."""

    def planned_schedule(self) -> CosineSchedule:
        options = self.options
        self.length = Length.from_options(options, self.steps_per_epoch, self.codes_from)
        return self.length.schedule(options.lr, options.min_lr)

    @property
    def repeated(self) -> int:
        """Epochs so far that ended on the plateau and are done again."""
        return self.length.repeated(self.progress.history, self.plateau)

    @property
    def epochs(self) -> int:
        return self.length.planned + self.repeated

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, or it has been on the plateau for as long as it may."""
        stops = self.config.on_collapse == "stop"
        return self.finished or (stops and self.length.used_up(self.progress.history, self.plateau))

    def end_on_plateau(self) -> str:
        """A sentence where the training ends on the plateau: what to do about it.

        Raises
        ------
        CollapseError
            In its place, where that is a fault and ``on_collapse`` is ``stop``.
        """
        told = self.plateau(self.progress.history[-1].get("validation", {}))
        if not told:
            return ""
        steps = self.length.on_plateau(self.progress.history, self.plateau) * self.steps_per_epoch
        told += (
            f" It was there for about {steps:,} steps (optimization.max_steps_on_plateau: "
            f"{self.options.max_steps_on_plateau}). {self.remedy}"
        )
        if self.config.on_collapse == "continue" or not self.plateau_is_fault:
            return told
        raise CollapseError(
            f"{told} Nothing is lost: the same command with a larger "
            f"optimization.max_steps_on_plateau goes on from {self.store.folder}. "
            "on_collapse: continue saves what there is."
        )
