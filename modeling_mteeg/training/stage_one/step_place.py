"""Where a step of stage one stands: what its losses are divided by, and which patches it hides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch

from ...data import GroupBatch, StepPart
from ...model.pretraining_mteeg import random_mask


@dataclasses.dataclass(frozen=True)
class StepShape:
    """Windows of one shape in a whole step, over all processes and slices."""

    group: int
    windows: int
    patches: int


@dataclasses.dataclass(frozen=True)
class StepPlace:
    """A step as all processes see it.

    Parameters
    ----------
    seed, epoch, step : int
    training : bool
        False: a step of an evaluation.
    shapes : tuple of StepShape
        ``patches`` are those of one window.
    """

    seed: int
    epoch: int
    step: int
    training: bool
    shapes: tuple[StepShape, ...]

    @property
    def patches(self) -> int:
        """Patches of the whole step."""
        return sum(shape.windows * shape.patches for shape in self.shapes)

    def hidden(self, ratio: float) -> tuple[int, int]:
        """Patches of the whole step that masks of ``ratio`` hide, and that they leave."""
        return _hidden([(shape.windows, shape.patches) for shape in self.shapes], ratio)

    def hidden_in(self, part: StepPart, ratio: float) -> tuple[int, int]:
        """The same for a part of the step."""
        shapes = [batch.input_values.shape[:3] for batch in part.groups]
        return _hidden([(shape[0], shape[1] * shape[2]) for shape in shapes], ratio)

    def mask(self, batch: GroupBatch, ratio: float) -> torch.Tensor:
        """The mask of a part's windows of one shape, (windows, patches of a window), bool.

        Drawn on the CPU for all windows of the shape in the step: any number of processes and
        slices hides the same patches.
        """
        samples, channels, seconds = batch.input_values.shape[:3]
        words = [self.seed, self.epoch, self.step, int(self.training), batch.group]
        state = np.random.SeedSequence(words).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]) & (2**63 - 1))
        mask = random_mask(batch.of, channels * seconds, ratio, generator)
        of_part = mask[batch.first : batch.first + samples]
        device = batch.input_values.device
        if device.type == "cuda":  # else the copy would wait for all that runs there
            of_part = of_part.contiguous().pin_memory()
        return of_part.to(device, non_blocking=True)


def masked_patches(batch: GroupBatch, ratio: float) -> int:
    """How many patches :meth:`StepPlace.mask` hides of a part's windows of one shape."""
    samples, channels, seconds = batch.input_values.shape[:3]
    return _hidden([(samples, channels * seconds)], ratio)[0]


def _hidden(shapes: Iterable[tuple[int, int]], ratio: float) -> tuple[int, int]:
    """Hidden and other patches of so many windows of so many patches; see ``random_mask``."""
    hidden = left = 0
    for windows, patches in shapes:
        visible = int(patches * (1 - ratio))
        hidden, left = hidden + windows * (patches - visible), left + windows * visible
    return hidden, left
