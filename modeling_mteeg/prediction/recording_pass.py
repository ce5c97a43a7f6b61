"""One pass over a recording, part by part: every filter and every window once for all tasks."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from ..model.channels import channel_ids
from ..model.modeling_mteeg import MteegModel
from ..model.preprocessing import PreprocessingInfo
from ..model.record_parts import Part
from ..model.recording_sources import Source
from ..model.window_quality import ConstantChannels, Spans, least_constant_s
from ..recordings.block_reader import BlockReader, RunningChecks
from ..recordings.montage import electrodes_of
from ..recordings.whole_filter import recording_filter
from ..recordings.window_places import cutter
from .shown_progress import Progress, ShownProgress
from .task_plan import TaskPlan

Answer = Callable[[MteegModel, Mapping[str, Mapping[str, torch.Tensor]]], dict[str, np.ndarray]]
"""What a model says of a batch: from the inputs of tasks, which may be the same tensors, to an
array (windows, ...) of each."""


def class_probabilities(
    model: MteegModel, tasks: Mapping[str, Mapping[str, torch.Tensor]]
) -> dict[str, np.ndarray]:
    """Probabilities of the classes, float32 (windows, classes), an :data:`Answer`."""
    # The same tensors for all tasks: the temporal encoder embeds them once.
    outputs = model(tasks=tasks)
    return {
        name: model.tasks[name].probabilities(output.logits).cpu().numpy()
        for name, output in outputs.items()
    }


def pass_over(
    source: Source,
    plans: Sequence[TaskPlan],
    model: MteegModel,
    batch_size: int,
    block: int | None,
    progress: bool | Progress,
    answer: Answer = class_probabilities,
) -> Spans:
    """Give the plans their answers and what the checks found.

    Parameters
    ----------
    block : int or None
        Samples that are read at a time.
    answer : callable
        What is asked of the model.

    Returns
    -------
    mapping
        By channel of the recording, where it is constant; not those that are so throughout.

    Raises
    ------
    SignalError, ValueError
        See :func:`engine.predict`.
    """
    groups = _group(source, plans, batch_size, functools.partial(answer, model), model.device)
    names = electrodes_of([plan.choice for plan in plans])
    parts = [part for part in source.parts if any(part in plan.by_part for plan in plans)]
    least_s = min(least_constant_s(plan.card.window_s) for plan in plans)
    total_s = sum(part.samples for part in parts) / source.rate_hz
    constant = ConstantChannels(names, source.rate_hz, least_s)
    with ShownProgress(progress, total_s) as report, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A recording is shorter")  # it is a finding

        def tell() -> None:
            report(_done_s(groups))

        for part in parts:
            reading = [group for group in groups if group.begin_part(part)]
            constant.begin_part(part)
            for _, signal in BlockReader(source, names, block, part):
                constant.push(signal)
                for group in reading:
                    group.push(signal, names, tell)
            for group in reading:
                group.end_part(tell)
        for group in groups:
            group.judge()
        report(total_s)
    return constant.finish()


class _Windows:
    """Windows that one or several tasks see, and the forward passes over them."""

    def __init__(
        self,
        plans: list[TaskPlan],
        source: Source,
        batch_size: int,
        answer: Callable[..., dict[str, np.ndarray]],
        device: torch.device,
    ) -> None:
        self.plans, self.answer, self.batch_size, self.device = plans, answer, batch_size, device
        first = plans[0]
        self.choice, self.scale_uv = first.choice, np.float32(first.card.scale_uv)
        self.window, self.stride = first.window, first.stride or first.window
        self.rate_hz = first.card.rate_hz
        samples_out = sum(place.samples for place in first.places)
        self.checks = RunningChecks(self.choice, samples_out, source.unit, first.info)
        ids = channel_ids(self.choice.names, first.card.bipolar)
        self.ids = torch.from_numpy(ids).to(device)
        self._waiting: list[np.ndarray] = []
        self._count = 0
        self.done_s = 0.0

    def begin_part(self, part: Part) -> bool:
        """Whether a window fits into the part, which comes next."""
        place = self.plans[0].by_part.get(part)
        if place is not None:
            self._cutter = cutter(place, self.window, len(self.choice.names))
        return place is not None

    def push(self, signal: np.ndarray, order: Sequence[str], tell: Callable[[], None]) -> None:
        """Take the next filtered samples (electrodes, n) and predict what is complete."""
        step = self.batch_size * self.stride  # no more than a batch of copies at a time
        for start in range(0, signal.shape[1], step):
            # Bipolar channels are differences, and filters are linear: (channels, step).
            piece = self.choice.derive(signal[:, start : start + step], order)
            self.checks.see_filtered(piece)
            _, windows = self._cutter.push(piece)  # (k, channels, window)
            self.done_s += piece.shape[1] / self.rate_hz
            if len(windows):
                self._waiting.append(windows)
                self._count += len(windows)
            while self._count >= self.batch_size:
                self._run(self.batch_size)
                tell()

    def end_part(self) -> None:
        """Predict what is left: a part gives what it gives as a recording of its own."""
        if self._count:
            self._run(self._count)
        self.checks.end_part()

    def judge(self) -> None:
        """Judge the recording as a whole."""
        found = self.checks.finish()
        for plan in self.plans:
            plan.remarks += found

    def _run(self, count: int) -> None:
        """Predict the next ``count`` windows that wait, for every task that sees them."""
        windows = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        batch, rest = windows[:count], windows[count:]
        self._waiting, self._count = ([rest] if len(rest) else []), len(rest)
        values = torch.from_numpy(batch / self.scale_uv).to(self.device)
        inputs = {"input_values": values, "channel_ids": self.ids}
        with torch.inference_mode():
            answers = self.answer({plan.card.name: inputs for plan in self.plans})
        for plan in self.plans:
            rows = answers[plan.card.name]  # (count, ...)
            if not np.isfinite(rows).all():
                raise ValueError(
                    f"Task {plan.card.name!r} gave numbers that are not finite; its weights or "
                    "those of the base are damaged."
                )
            plan.answers.append(rows)


class _FilterGroup:
    """Tasks with the same filters: one stream of the channels that any of them needs."""

    def __init__(self, info: PreprocessingInfo, members: list[_Windows]) -> None:
        self.info, self.members = info, members
        self.names = electrodes_of([member.choice for member in members])
        self._reading: list[_Windows] = []

    def begin_part(self, part: Part) -> bool:
        """Begin a part with fresh filters; whether any window fits into it."""
        self._reading = [member for member in self.members if member.begin_part(part)]
        if self._reading:
            self._filter = recording_filter(self.info, len(self.names), part.samples)
        return bool(self._reading)

    def push(self, signal: np.ndarray, order: Sequence[str], tell: Callable[[], None]) -> None:
        """Take the next recorded samples of the channels ``order``."""
        for member in self._reading:
            member.checks.see_recorded(member.choice.derive(signal, order))
        needed = signal[[order.index(name) for name in self.names]]  # (electrodes, n)
        self._give(self._filter.push(needed), tell)

    def end_part(self, tell: Callable[[], None]) -> None:
        """End the part."""
        self._give(self._filter.finish(), tell)
        for member in self._reading:
            member.end_part()

    def judge(self) -> None:
        """Judge the recording as a whole."""
        for member in self.members:
            member.judge()

    def _give(self, filtered: np.ndarray, tell: Callable[[], None]) -> None:
        for member in self._reading:
            member.push(filtered, self.names, tell)


def _done_s(groups: Sequence[_FilterGroup]) -> float:
    """Seconds of the recording that are predicted, on average over the windows of all tasks."""
    done = [member.done_s for group in groups for member in group.members]
    return sum(done) / len(done)


def _group(
    source: Source,
    plans: Iterable[TaskPlan],
    batch_size: int,
    answer: Callable[..., dict[str, np.ndarray]],
    device: torch.device,
) -> list[_FilterGroup]:
    """Plans by their filters, and within those by the windows that they see."""
    by_filter: dict[PreprocessingInfo, dict[tuple, list[TaskPlan]]] = {}
    for plan in plans:
        by_filter.setdefault(plan.info, {}).setdefault(plan.same_windows, []).append(plan)
    return [
        _FilterGroup(
            info,
            [_Windows(alike, source, batch_size, answer, device) for alike in by_windows.values()],
        )
        for info, by_windows in by_filter.items()
    ]
