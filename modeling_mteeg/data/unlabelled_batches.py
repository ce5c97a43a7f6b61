"""Batches of pre-training: a step's windows, grouped by shape, split over processes and slices."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..model.channels import channel_ids
from .ahead import computed_ahead
from .shape_plan import ShapePlan
from .unlabelled import UnlabelledWindows

_channel_ids = functools.lru_cache(maxsize=256)(channel_ids)


@dataclasses.dataclass(frozen=True)
class GroupBatch:
    """Windows of one shape in one part of a step.

    Parameters
    ----------
    input_values : torch.Tensor
        float32 (n, channels, patches, 200), in units of 0.1 mV.
    channel_ids : torch.Tensor
        int64 (channels, 2), see :func:`modeling_mteeg.model.channels.channel_ids`.
    group : int
        Number of the shape.
    first, of : int
        Place of the first window among all windows of this shape in the step, and their number.
    """

    input_values: torch.Tensor
    channel_ids: torch.Tensor
    group: int
    first: int
    of: int

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What the models take."""
        return {"input_values": self.input_values, "channel_ids": self.channel_ids}


@dataclasses.dataclass(frozen=True)
class StepPart:
    """One slice of one process's share of a step; never empty."""

    groups: tuple[GroupBatch, ...]

    def to(self, device: torch.device) -> StepPart:
        """The same with its tensors on a device."""
        moved = []
        for batch in self.groups:
            inputs = {key: part.to(device, non_blocking=True) for key, part in batch.inputs.items()}
            moved.append(dataclasses.replace(batch, **inputs))
        return StepPart(tuple(moved))


class UnlabelledBatches:
    """The batches of an epoch for one process, in order: every slice of every step in turn.

    Parameters
    ----------
    groups : sequence of UnlabelledWindows
    plan : ShapePlan
        Over the lengths of ``groups``.
    rank, world_size : int
        This process, and how many there are.
    slices : int
        Parts into which every process cuts its share of a step, to bound memory.
    start_step : int
        First step, for a resumed run.
    prefetch : int, optional
        Batches that are read ahead in a thread; 0: none.
    pin_memory : bool
        Page-locked tensors for asynchronous copies to a GPU.

    Raises
    ------
    ValueError
        Groups and plan do not fit, a number is out of range, or a step has fewer windows than
        processes times slices.

    Notes
    -----
    Part ``rank * slices + slice`` takes that contiguous part of the step's windows, shape after
    shape: the parts in this order are the step as one process sees it.
    """

    def __init__(
        self,
        groups: Sequence[UnlabelledWindows],
        plan: ShapePlan,
        rank: int = 0,
        world_size: int = 1,
        slices: int = 1,
        start_step: int = 0,
        prefetch: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        sizes = tuple(len(group) for group in groups)
        if sizes != plan.sizes:
            raise ValueError(
                f"groups: expected {plan.sizes} windows as in the plan, found {sizes}."
            )
        if not (0 <= rank < world_size and slices >= 1 and 0 <= start_step <= plan.num_steps):
            raise ValueError(
                f"expected rank below {world_size}, one slice or more and start_step up to "
                f"{plan.num_steps}, found rank {rank}, {slices} slices, start_step {start_step}."
            )
        if prefetch is not None and prefetch < 0:
            raise ValueError(f"prefetch: expected 0 or above, found {prefetch}.")
        parts, smallest = world_size * slices, plan.num_windows // plan.num_steps
        if smallest < parts:
            raise ValueError(
                f"Expected steps of at least {parts} windows for {world_size} processes x {slices} "
                f"slices, found {smallest} ({plan.num_windows} windows in {plan.num_steps} steps); "
                "raise the batch size, or use fewer processes or slices."
            )
        self.groups, self.plan, self.rank = tuple(groups), plan, rank
        self.world_size, self.slices, self.start_step = world_size, slices, start_step
        self._prefetch, self._pin_memory = prefetch, pin_memory

    def __len__(self) -> int:
        return (self.plan.num_steps - self.start_step) * self.slices

    def __iter__(self) -> Iterator[StepPart]:
        calls = (
            functools.partial(self.part, step, slice)
            for step in range(self.start_step, self.plan.num_steps)
            for slice in range(self.slices)
        )
        return computed_ahead(calls, False, self._prefetch)

    def windows(self, step: int) -> int:
        """Windows of a step over all processes and slices."""
        first, last = self.plan.bounds(step)
        return last - first

    def patches(self, step: int) -> int:
        """Patches of a step over all processes and slices."""
        return sum(
            len(rows) * len(self.groups[group].channels) * self.groups[group].patches
            for group, rows in self.plan.step(step)
        )

    def part(self, step: int, slice: int = 0) -> StepPart:
        """This process's part of a step, by number."""
        hand, hands = self.rank * self.slices + slice, self.world_size * self.slices
        total = self.windows(step)
        # The step's windows, shape after shape, are a line of `total`; this hand has [first, last).
        first, last = hand * total // hands, (hand + 1) * total // hands
        batches, passed = [], 0  # passed: windows of the shapes before
        for group, rows in self.plan.step(step):
            low, high = max(first - passed, 0), min(last - passed, len(rows))
            if low < high:
                batches.append(self._read(group, rows[low:high], low, len(rows)))
            passed += len(rows)
        return StepPart(tuple(batches))

    def _read(self, group: int, rows: np.ndarray, first: int, of: int) -> GroupBatch:
        windows = self.groups[group]
        shape = (len(rows), len(windows.channels), windows.patches, 200)
        values = torch.empty(shape, pin_memory=self._pin_memory)
        windows.read(rows, out=values.numpy())
        ids = torch.tensor(_channel_ids(windows.channels))
        if self._pin_memory:
            ids = ids.pin_memory()
        return GroupBatch(values, ids, group, first, of)
