"""From a recording to the channels that a task's answer rests on; ``mteeg explain`` runs it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..model.channel_choice import without_unfit
from ..model.channels import channel_ids
from ..model.file_choice import plain_path
from ..model.finding_warnings import warn_of
from ..model.findings import Finding
from ..model.modeling_mteeg import MteegModel
from ..model.part_windows import PartWindows
from ..model.record_parts import spans_text
from ..model.recording_sources import Source
from ..model.signal_checks import OtherUnitError, SignalError
from ..model.task_card import TaskCard
from ..model.window_quality import ConstantChannels, Spans, judge_windows, least_constant_s
from ..prediction import Prediction, predict
from ..prediction.task_plan import Asked, TaskPlan, plan_task
from ..recordings.block_reader import BlockReader, RunningChecks
from ..recordings.interpolation import open_for_tasks
from ..recordings.sliding import WindowsAt
from ..recordings.stream_filter import StreamFilter
from .attribution import ChannelAttribution, LabelledWindows, attribute

WINDOWS = 8


class NoSuchWindowError(ValueError):
    """No window of a recording is the label that was to be explained."""


def explain(
    recording: Any,
    model: MteegModel,
    task: str,
    *,
    onsets_s: Sequence[float] | None = None,
    windows: int = WINDOWS,
    label: str | None = None,
    min_probability: float | None = None,
    method: str = "integrated-gradients",
    steps: int | None = None,
    allow_missing: int | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    interpolate: bool | str = False,
    name: str | None = None,
    progress: bool = False,
) -> ChannelAttribution:
    """Attribute a task's answer on some windows of a recording to its channels.

    Parameters
    ----------
    recording : str, pathlib.Path, mne.io.BaseRaw or (array, channel names, rate in Hz)
        As in :func:`modeling_mteeg.prediction.predict`.
    model : MteegModel
        In evaluation mode, with the task loaded.
    task : str
    onsets_s : sequence of float, optional
        Where the windows start, in seconds from the recording's start; they need not be the label.
        By default the task is predicted on the whole recording, and of the windows that are the
        label those are taken in which it is most probable.
    windows : int
        How many at most, without ``onsets_s``.
    label : str, optional
        Class to explain. By default ``labels[1]`` of two, else the class that most
        windows are (without ``onsets_s``: of the recording).
    min_probability : float, optional
        From which probability of it on a window is the label. By default it is what the task's card
        decides: the most probable class, or by the card's threshold.
    method, steps
        See :func:`modeling_mteeg.explanation.attribution.attribute`.
    allow_missing, rename, unit, interpolate, name, progress
        See :func:`modeling_mteeg.prediction.predict`.

    Returns
    -------
    ChannelAttribution
        Mean over the windows; its ``labelled`` says how many are the label, its ``findings`` what
        is odd about the recording.

    Raises
    ------
    NoSuchWindowError
        Without ``onsets_s``: no window of the recording is the label. The message has the highest
        probability and where it is.
    SignalError, UnknownChannelError, TypeError, ValueError
        See :func:`modeling_mteeg.prediction.predict`; or a window outside the recording or its
        parts, or an unknown label or task.

    Warns
    -----
    RecordingWarning
        Every finding, once.
    """
    if not isinstance(task, str) or task not in model.tasks:
        raise ValueError(f"task: expected one of {sorted(model.tasks)}, found {task!r}.")
    card = model.tasks[task]
    recording = plain_path(recording)
    if label is not None and label not in card.labels:
        raise ValueError(
            f"label: expected one of {', '.join(card.labels)} (task {task!r}), found {label!r}."
        )
    _check_choice(windows, min_probability)
    reading = {"allow_missing": allow_missing, "rename": rename, "unit": unit,
               "interpolate": interpolate}  # fmt: skip
    labelled = None
    if onsets_s is None:
        prediction = predict(recording, model, task, progress=progress, **reading)[task]
        label = label or card.labels[class_to_explain(card, prediction.probabilities)]
        onsets_s, labelled = _choose(prediction, label, windows, min_probability)
    read = window_inputs(recording, card, onsets_s, **reading)
    warn_of(read.findings)
    inputs = {key: value.to(model.device) for key, value in read.inputs.items()}
    if labelled is None:
        with torch.inference_mode():
            logits = model(**inputs, task=task).logits
        probabilities = card.probabilities(logits).cpu().numpy()
        label = label or card.labels[class_to_explain(card, probabilities)]
        _, labelled = windows_of_label(card, probabilities, label, min_probability)
    rollout = method == "attention-rollout"
    options = {} if rollout else {"target": card.labels.index(label), "steps": steps}
    values = attribute(model, inputs, task, method=method, progress=progress, **options)
    if name is None:
        name = str(recording) if isinstance(recording, (str, Path)) else ""
    return ChannelAttribution(
        channels=read.channels, values=values.mean(0).numpy(), method=method, task=task,
        label="" if rollout else label, onset_s=tuple(map(float, onsets_s)),
        recording=name, simulated=card.simulated, findings=read.findings,
        labelled=labelled,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class WindowInputs:
    """Windows as the model takes them.

    Parameters
    ----------
    inputs : dict
        ``input_values`` float32 (windows, channels, patches, 200) and ``channel_ids``.
    channels : tuple of str
        In the order of the inputs.
    findings : tuple of Finding
        What is odd about the recording.
    """

    inputs: dict[str, torch.Tensor]
    channels: tuple[str, ...]
    findings: tuple[Finding, ...]


def window_inputs(
    recording: Any,
    card: TaskCard,
    onsets_s: Sequence[float],
    *,
    allow_missing: int | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    interpolate: bool | str = False,
) -> WindowInputs:
    """Windows of a recording as the model takes them.

    Parameters
    ----------
    onsets_s : sequence of float
        In seconds from the recording's start, to the nearest sample at the task's rate. A window
        lies within one part of the recording.

    Raises
    ------
    SignalError, UnknownChannelError, TypeError, ValueError
        See :func:`explain`.

    Notes
    -----
    The recording is filtered part by part and piece by piece, exactly as
    :func:`modeling_mteeg.prediction.predict` does, and judged as a whole; memory does not grow with
    its length. Where no low-pass can be applied (100 and 128 Hz) what is close to Nyquist differs a
    little from ``predict``: see :class:`modeling_mteeg.recordings.stream_filter.StreamFilter`.
    """
    source = open_for_tasks(recording, [card], unit, rename, interpolate)
    asked = Asked(allow_missing=allow_missing, rename=rename or {})
    plan = plan_task(source, card, asked)
    places = _places(plan, source, onsets_s)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="A recording is shorter")  # a finding
                signal, found, constant = _gather(source, plan, places)
            break
        except OtherUnitError as error:  # without them, where the task lets them be missing
            source = without_unfit(source, error)
            plan = plan_task(source, card, asked)
    values = torch.from_numpy(signal / np.float32(card.scale_uv))
    ids = torch.from_numpy(channel_ids(plan.choice.names, card.bipolar))
    quality = judge_windows(
        np.sort(onsets_s), card.window_s, source.marks, constant, plan.choice.needed, None
    )
    findings = [*plan.remarks, *found, *quality.findings]
    return WindowInputs(
        {"input_values": values.unflatten(-1, (card.patches, -1)), "channel_ids": ids},
        plan.choice.names,
        tuple(finding for finding in findings if isinstance(finding, Finding)),
    )


def _places(
    plan: TaskPlan, source: Source, onsets_s: Sequence[float]
) -> list[tuple[PartWindows, int]]:
    """The part that every window lies in, and its first sample there at the task's rate."""
    card = plan.card
    if not len(onsets_s):
        raise ValueError("onsets_s: expected at least one window, found none.")
    half_s = 0.5 / card.rate_hz
    spans = [
        (place.part.onset_s, place.part.onset_s + place.part.samples / source.rate_hz)
        for place in plan.places
    ]
    found = []
    for onset in onsets_s:
        within = [
            place
            for place, (first_s, last_s) in zip(plan.places, spans, strict=True)
            if first_s - half_s <= onset and onset + card.window_s <= last_s + half_s
        ]
        if not within:
            ranges = spans_text([(first_s, last_s - card.window_s) for first_s, last_s in spans])
            inside = " (it lies within one part)" if len(source.parts) > 1 else ""
            raise SignalError(
                f"A window of task {card.name!r} is {card.window_s:g} s long{inside}: expected an "
                f"onset from {ranges}, found {onset:g} s."
            )
        start = round((onset - within[0].part.onset_s) * card.rate_hz)
        found.append((within[0], min(max(start, 0), within[0].samples - plan.window)))
    return found


def _gather(
    source: Source, plan: TaskPlan, places: Sequence[tuple[PartWindows, int]]
) -> tuple[np.ndarray, list[Finding], Spans]:
    """float32 (windows, channels, samples) in microvolt, and what the whole recording shows.

    Also where its channels are constant.
    """
    choice, order = plan.choice, plan.choice.needed
    windows = np.zeros((len(places), len(choice.names), plan.window), dtype=np.float32)
    samples = sum(place.samples for place in plan.places)
    checks = RunningChecks(choice, samples, source.unit, plan.info)
    least_s = least_constant_s(plan.card.window_s)
    constant = ConstantChannels(order, source.rate_hz, least_s)
    for place in plan.places:
        constant.begin_part(place.part)
        rows = sorted(
            (start, row) for row, (within, start) in enumerate(places) if within.part == place.part
        )
        cutter = WindowsAt(plan.window, [start for start, _ in rows], len(choice.names))
        stream = StreamFilter(plan.info, len(order), place.part.samples)
        cut = []

        def take(filtered: np.ndarray, cutter=cutter, cut=cut) -> None:
            piece = choice.derive(filtered, order)
            checks.see_filtered(piece)
            cut.extend(cutter.push(piece)[1])

        for _, signal in BlockReader(source, order, part=place.part):
            constant.push(signal)
            checks.see_recorded(choice.derive(signal, order))
            take(stream.push(signal))
        take(stream.finish())
        checks.end_part()
        for (_, row), window in zip(rows, cut, strict=True):
            windows[row] = window
    return windows, checks.finish(), constant.finish()


def class_to_explain(card: TaskCard, probabilities: np.ndarray) -> int:
    """The positive class of two, else the one that most windows (windows, classes) are.

    Of several, that with the highest mean probability.
    """
    if len(card.labels) == 2:  # of one logit, or of one each
        return 1
    counts = np.bincount(card.decide(probabilities), minlength=len(card.labels))
    return int(np.lexsort((probabilities.mean(0), counts))[-1])


def _check_choice(windows: int, min_probability: float | None) -> None:
    if isinstance(windows, bool) or not isinstance(windows, int) or windows < 1:
        raise ValueError(f"windows: expected a whole number above 0, found {windows!r}.")
    least = min_probability
    number = isinstance(least, (int, float)) and not isinstance(least, bool)
    if least is not None and not (number and 0 <= least <= 1):
        raise ValueError(
            f"min_probability (--min-probability): expected a number from 0 to 1, found {least!r}."
        )


def windows_of_label(
    card: TaskCard, probabilities: np.ndarray, label: str, min_probability: float | None = None
) -> tuple[list[int], LabelledWindows]:
    """Which of windows (windows, classes) are a label, the surest first, and their count in words.

    Parameters
    ----------
    label : str
        One of the card's.
    min_probability : float or None
        See :func:`explain`.
    """
    target = card.labels.index(label)
    if min_probability is not None:
        are = probabilities[:, target] >= min_probability
        rule = f"its probability {min_probability:g} or more"
    else:
        are = card.decide(probabilities) == target
        rule = "the most probable class"
        if card.threshold is not None:
            rule = f"by the task's threshold of {card.threshold:.3g} for {card.labels[1]}"
    order = np.argsort(-probabilities[:, target], kind="stable")
    return order[are[order]].tolist(), LabelledWindows(label, int(are.sum()), len(are), rule)


def surest_windows(prediction: Prediction, target: int, most: int) -> list[int]:
    """Numbers of the windows with the highest probability of a class, the highest first."""
    return np.argsort(-prediction.probabilities[:, target], kind="stable")[:most].tolist()


def _choose(
    prediction: Prediction, label: str, windows: int, min_probability: float | None
) -> tuple[list[float], LabelledWindows]:
    """Onsets of the windows that are a label most surely, in the order of time."""
    card, probabilities = prediction.card, prediction.probabilities
    chosen, labelled = windows_of_label(card, probabilities, label, min_probability)
    if not chosen:
        of_label = probabilities[:, card.labels.index(label)]
        onset_s = prediction.onset_s[of_label.argmax()]
        raise NoSuchWindowError(
            f"{labelled}; the highest probability is {of_label.max():.3f}, in the window from "
            f"{onset_s:.6g} s. Nothing is explained. To look at that one take onsets_s (--onset "
            f"{onset_s:g}); a lower min_probability (--min-probability) and another label "
            "(--label) take other windows."
        )
    return sorted(prediction.onset_s[chosen[:windows]].tolist()), labelled
