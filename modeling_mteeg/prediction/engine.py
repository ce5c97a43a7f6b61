"""One pass over a recording for one or several tasks, at constant memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from ..model.channel_choice import ChannelChoice, without_unfit
from ..model.channels import channel_ids
from ..model.modeling_mteeg import MteegModel
from ..model.preprocessing import PreprocessingInfo, preprocessing_info
from ..model.recording_sources import Source
from ..model.signal_checks import OtherUnitError, SignalError
from ..model.task_card import TaskCard
from ..recordings.block_reader import BlockReader, RunningChecks, open_recording
from ..recordings.montage import choose_for_task, electrodes_of, notes_on
from ..recordings.sliding import SlidingWindows, stride_samples
from ..recordings.whole_filter import recording_filter
from .origins import provenance
from .result import Prediction
from .task_loading import cards_of, load_tasks

BATCH_SIZE = 16
Progress = Callable[[float, float], None]
"""Told the seconds of EEG that are done, and all of them."""


def predict(
    recording: Any,
    model: MteegModel | str | Path,
    tasks: str | Sequence[str] | None = None,
    *,
    stride_s: float | None = None,
    batch_size: int = BATCH_SIZE,
    allow_missing: int | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    name: str | None = None,
    progress: bool | Progress = False,
    block_s: float | None = None,
) -> dict[str, Prediction]:
    """Class probabilities over time of one or several tasks on one recording.

    Parameters
    ----------
    recording : str, pathlib.Path, mne.io.BaseRaw or (array, channel names, rate in Hz)
        A continuous recording: a file of any format that MNE-Python reads, a Raw (not necessarily
        preloaded), or an array (channels, samples) in microvolt.
    model : MteegModel, str or pathlib.Path
        In evaluation mode; or a base's folder or Hub id, which is loaded.
    tasks : str, sequence of str or None
        Tasks that the model holds; None: all of them. With a base as ``model`` they are loaded as
        :func:`task_loading.load_tasks` says, and cannot be None.
    stride_s : float or None
        From the start of one window to the next, for all tasks; None: each task's window.
    batch_size : int
        Windows in one forward pass of a task.
    allow_missing : int or None
        How many of a task's channels the recording may lack; None: as many as its card allows.
    rename : mapping of str to str or None
        Channels that are meant by other names, such as ``{"T7": "T3", "T8": "T4"}``.
    unit : {"uV", "mV", "V"} or None
        Unit of the numbers. None: microvolt for arrays, volt for files and MNE's objects.
    name : str or None
        Name of the recording in the result; None: its path.
    progress : bool or callable
        True: a bar on stderr with seconds of EEG per second. A callable is told the seconds that
        are done and all of them.
    block_s : float or None
        Seconds that are read from disk at a time; the result does not depend on it.

    Returns
    -------
    dict of str to Prediction
        By task, in the order asked for.

    Raises
    ------
    SignalError
        Missing channels, NaN or infinity (with channel and time), all channels flat, a recording
        shorter than a window, or numbers that cannot be EEG in their unit. Channels in another unit
        than the others, or in none, count as missing.
    UnknownChannelError
        Channels that the spatial table does not know.
    TypeError, ValueError
        Wrong use, or a file that cannot be read; the message says what was expected.

    Notes
    -----
    The probabilities are those of ``model(**extractor(recording, task=card, stride_s=stride_s))``
    to 1e-4, but the recording is read in blocks, once for all tasks: memory grows with the
    number of windows alone. Every channel is filtered once for each distinct choice of filters;
    bipolar channels, being linear, are derived afterwards. Tasks that see the very same windows
    (channels and their order, length, stride, unit, filters) share one pass through the temporal
    encoder; for others that cannot be exact, since its GroupNorm pools over all patches of a
    window.

    At 100 and 128 Hz, where the 75 Hz low-pass cannot be applied, resampling is not local. There a
    recording is filtered as a whole up to a bound (two channels at 100 Hz: 11.6 hours) and piece by
    piece beyond: see :func:`whole_filter.recording_filter`.
    """
    if not isinstance(model, MteegModel):
        if tasks is None:
            raise ValueError("tasks: name the tasks to load with the base.")
        model, tasks = load_tasks(model, [tasks] if isinstance(tasks, str) else tasks)
    cards = cards_of(model, tasks)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size: expected a whole number above 0, found {batch_size!r}.")
    _check_allowed(allow_missing)
    source = open_recording(recording, unit, rename)
    block = None if block_s is None else max(1, round(block_s * source.rate_hz))
    while True:
        plans = [_plan(source, card, stride_s, allow_missing, rename or {}) for card in cards]
        try:
            _answer(source, plans, model, batch_size, block, progress)
            break
        except OtherUnitError as error:
            # Known at the end only. Without them: an error, or another pass where they may lack.
            source = without_unfit(source, error)
    settings = {
        plan.card.name: _settings(plan, source, allow_missing, rename or {}) for plan in plans
    }
    facts = provenance(model, settings)
    if name is None:
        name = str(recording) if isinstance(recording, (str, Path)) else _raw_name(recording)
    return {plan.card.name: plan.result(source, name, facts[plan.card.name]) for plan in plans}


def _answer(
    source: Source,
    plans: list[_Plan],
    model: MteegModel,
    batch_size: int,
    block: int | None,
    progress: bool | Progress,
) -> None:
    """One pass over the recording; the plans take their probabilities and notes."""
    groups = _group(source, plans, batch_size, model)
    reader = BlockReader(source, electrodes_of([plan.choice for plan in plans]), block)
    with _reported(progress, source.samples / source.rate_hz) as report:
        for _, signal in reader:
            for group in groups:
                group.push(signal, reader.names, lambda: report(_done_s(groups)))
        for group in groups:
            group.finish(lambda: report(_done_s(groups)))
        report(source.samples / source.rate_hz)


@dataclasses.dataclass(eq=False)
class _Plan:
    """One task on one recording: its channels and windows before, its probabilities after."""

    card: TaskCard
    choice: ChannelChoice
    info: PreprocessingInfo
    window: int
    stride: int
    notes: list[str]
    probabilities: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def same_windows(self) -> tuple:
        """Equal for tasks whose windows are the same tensors."""
        card = self.card
        return (self.choice.names, self.choice.parts, self.window, self.stride, card.scale_uv,
                card.bipolar)  # fmt: skip

    def result(self, source: Source, name: str, facts: dict[str, Any]) -> Prediction:
        probabilities = np.concatenate(self.probabilities)
        onsets = np.arange(len(probabilities)) * (self.stride / self.card.rate_hz)
        return Prediction(
            card=self.card,
            onset_s=onsets,
            probabilities=probabilities,
            stride_s=self.stride / self.card.rate_hz,
            channels=self.choice.names,
            derived=self.choice.derived,
            missing=self.choice.missing,
            recording=name,
            recording_s=source.samples / source.rate_hz,
            notes=tuple(self.notes),
            provenance=facts,
        )


class _Windows:
    """Windows that one or several tasks see, and the forward passes over them."""

    def __init__(self, plans: list[_Plan], source: Source, batch_size: int, model: MteegModel):
        self.plans, self.model, self.batch_size = plans, model, batch_size
        first = plans[0]
        self.choice, self.scale_uv = first.choice, np.float32(first.card.scale_uv)
        self.windows = SlidingWindows(first.window, first.stride, len(self.choice.names))
        self.checks = RunningChecks(
            self.choice, first.info.samples_out(source.samples), source.unit, first.info
        )
        ids = channel_ids(self.choice.names, first.card.bipolar)
        self.ids = torch.from_numpy(ids).to(model.device)
        self._waiting: list[np.ndarray] = []
        self._count = 0
        self.done_s = 0.0

    def push(self, signal: np.ndarray, order: Sequence[str], tell: Callable[[], None]) -> None:
        """Take the next filtered samples (electrodes, n) and predict what is complete."""
        step = self.batch_size * self.windows.stride  # no more than a batch of copies at a time
        for start in range(0, signal.shape[1], step):
            # Bipolar channels are differences, and filters are linear: (channels, step).
            piece = self.choice.derive(signal[:, start : start + step], order)
            self.checks.see_filtered(piece)
            _, windows = self.windows.push(piece)  # (k, channels, window)
            if len(windows):
                self._waiting.append(windows)
                self._count += len(windows)
            while self._count >= self.batch_size:
                self._run(self.batch_size)
                tell()

    def finish(self) -> None:
        """Predict what is left and judge the recording as a whole."""
        if self._count:
            self._run(self._count)
        notes = self.checks.finish()
        for plan in self.plans:
            plan.notes += notes

    def _run(self, count: int) -> None:
        """Predict the next ``count`` windows that wait, for every task that sees them."""
        windows = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        batch, rest = windows[:count], windows[count:]
        self._waiting, self._count = ([rest] if len(rest) else []), len(rest)
        values = torch.from_numpy(batch / self.scale_uv).to(self.model.device)
        inputs = {"input_values": values, "channel_ids": self.ids}
        with torch.inference_mode():
            # The same tensors for all tasks: the temporal encoder embeds them once.
            outputs = self.model(tasks={plan.card.name: inputs for plan in self.plans})
        for plan in self.plans:
            logits = outputs[plan.card.name].logits  # (count, outputs)
            rows = plan.card.probabilities(logits).cpu().numpy()  # (count, classes)
            if not np.isfinite(rows).all():
                raise ValueError(
                    f"Task {plan.card.name!r} gave probabilities that are not finite; its weights "
                    "or those of the base are damaged."
                )
            plan.probabilities.append(rows)
        self.done_s += count * self.windows.stride / self.plans[0].card.rate_hz


class _FilterGroup:
    """Tasks with the same filters: one stream of the channels that any of them needs."""

    def __init__(self, info: PreprocessingInfo, members: list[_Windows], samples: int) -> None:
        self.members = members
        self.names = electrodes_of([member.choice for member in members])
        self.filter = recording_filter(info, len(self.names), samples)

    def push(self, signal: np.ndarray, order: Sequence[str], tell: Callable[[], None]) -> None:
        """Take the next recorded samples of the channels ``order``."""
        for member in self.members:
            member.checks.see_recorded(member.choice.derive(signal, order))
        needed = signal[[order.index(name) for name in self.names]]  # (electrodes, n)
        self._give(self.filter.push(needed), tell)

    def finish(self, tell: Callable[[], None]) -> None:
        """End the recording."""
        self._give(self.filter.finish(), tell)
        for member in self.members:
            member.finish()

    def _give(self, filtered: np.ndarray, tell: Callable[[], None]) -> None:
        for member in self.members:
            member.push(filtered, self.names, tell)


def _done_s(groups: Sequence[_FilterGroup]) -> float:
    """Seconds of the recording that are predicted, on average over the windows of all tasks."""
    done = [member.done_s for group in groups for member in group.members]
    return sum(done) / len(done)


def _check_allowed(allow_missing: int | None) -> None:
    whole = isinstance(allow_missing, int) and not isinstance(allow_missing, bool)
    if allow_missing is not None and not (whole and allow_missing >= 0):
        raise ValueError(
            f"allow_missing: expected a whole number from 0 on, found {allow_missing!r}."
        )


def _plan(
    source: Source, card: TaskCard, stride_s, allow_missing: int | None, rename: Mapping[str, str]
) -> _Plan:
    choice = choose_for_task(source, card, allow_missing)
    edges = (card.highpass_hz, card.lowpass_hz, card.notch_hz)
    info = preprocessing_info(source.rate_hz, card.rate_hz, *edges)
    window = round(card.window_s * card.rate_hz)
    stride = window if stride_s is None else stride_samples(stride_s, card.rate_hz)
    if info.samples_out(source.samples) < window:
        raise SignalError(
            f"Expected at least {card.window_s:g} s, the length of task {card.name!r}'s window; "
            f"found a recording of {source.samples / source.rate_hz:.4g} s."
        )
    notes = [*source.notes, *notes_on(choice, card, rename), *info.left_out]
    if source.samples < info.filter_samples:
        notes.append(
            f"The recording is shorter than the {info.filter_s:.1f} s of the longest filter; "
            "activity below about 1 Hz is not reliable."
        )
    if card.simulated:
        notes.append("The task was trained on simulated recordings.")
    return _Plan(card, choice, info, window, stride, notes)


def _group(
    source: Source, plans: Iterable[_Plan], batch_size: int, model: MteegModel
) -> list[_FilterGroup]:
    """Plans by their filters, and within those by the windows that they see."""
    by_filter: dict[PreprocessingInfo, dict[tuple, list[_Plan]]] = {}
    for plan in plans:
        by_filter.setdefault(plan.info, {}).setdefault(plan.same_windows, []).append(plan)
    return [
        _FilterGroup(
            info,
            [_Windows(alike, source, batch_size, model) for alike in by_windows.values()],
            source.samples,
        )
        for info, by_windows in by_filter.items()
    ]


def _settings(
    plan: _Plan, source: Source, allow_missing: int | None, rename: Mapping[str, str]
) -> dict[str, Any]:
    """What the numbers depend on besides the weights and the recording."""
    card = plan.card
    return {
        "window_s": card.window_s,
        "stride_s": plan.stride / card.rate_hz,
        "rate_hz": card.rate_hz,
        "recorded_rate_hz": source.rate_hz,
        "scale_uv": card.scale_uv,
        "highpass_hz": plan.info.highpass_hz,
        "lowpass_hz": plan.info.lowpass_hz,
        "notch_hz": plan.info.notch_hz,
        "bipolar": card.bipolar,
        "unit": source.unit,
        "allow_missing": card.max_missing_channels if allow_missing is None else allow_missing,
        "rename": dict(rename),
    }


def _raw_name(recording: Any) -> str:
    """File of a Raw, if it has one."""
    files = [str(file) for file in getattr(recording, "filenames", ()) or () if file]
    return files[0] if files else ""


class _reported:
    """The progress of one recording as a bar, a call, or nothing."""

    def __init__(self, progress: bool | Progress, total_s: float) -> None:
        self.call = progress if callable(progress) else None
        self.total_s, self.bar = total_s, None
        self.shown = progress is True and os.environ.get("RANK", "0") == "0"

    def __enter__(self) -> Callable[[float], None]:
        if self.shown:
            total_s = round(self.total_s, 1)  # no bar where output is a file
            self.bar = tqdm(total=total_s, desc="predicting", unit=" s of EEG")
        return self._report

    def _report(self, done_s: float) -> None:
        if self.bar is not None:
            self.bar.update(min(round(done_s, 1), self.bar.total) - self.bar.n)
        if self.call is not None:
            self.call(min(done_s, self.total_s), self.total_s)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
