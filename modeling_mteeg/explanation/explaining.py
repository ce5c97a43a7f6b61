"""From a recording to the channels that a task's answer rests on; ``mteeg explain`` runs it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..model.channel_choice import ChannelChoice, missing_note, without_unfit
from ..model.channels import channel_ids
from ..model.modeling_mteeg import MteegModel
from ..model.preprocessing import preprocessing_info
from ..model.recording_headers import RecordingWarning
from ..model.recording_sources import Source
from ..model.signal_checks import OtherUnitError, SignalError, check_channels
from ..model.task_card import TaskCard
from ..prediction import Prediction, predict
from ..recordings.block_reader import BlockReader
from ..recordings.interpolation import open_for_tasks
from ..recordings.montage import choose_for_task
from ..recordings.stream_filter import StreamFilter
from .attribution import ChannelAttribution, attribute

WINDOWS = 8


def explain(
    recording: Any,
    model: MteegModel,
    task: str,
    *,
    onsets_s: Sequence[float] | None = None,
    windows: int = WINDOWS,
    label: str | None = None,
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
        Where the windows start, in seconds. By default the task is predicted on the whole
        recording and the windows are those in which ``label`` is most probable.
    windows : int
        How many, without ``onsets_s``.
    label : str, optional
        Class to explain. By default ``labels[1]`` of a binary task, else the class with the
        highest mean probability over the windows (without ``onsets_s``: over the recording).
    method, steps
        See :func:`modeling_mteeg.explanation.attribution.attribute`.
    allow_missing, rename, unit, interpolate, name, progress
        See :func:`modeling_mteeg.prediction.predict`.

    Returns
    -------
    ChannelAttribution
        Mean over the windows.

    Raises
    ------
    SignalError, UnknownChannelError, TypeError, ValueError
        See :func:`modeling_mteeg.prediction.predict`; or a window outside the recording, or an
        unknown label or task.
    """
    if not isinstance(task, str) or task not in model.tasks:
        raise ValueError(f"task: expected one of {sorted(model.tasks)}, found {task!r}.")
    card = model.tasks[task]
    if label is not None and label not in card.labels:
        raise ValueError(
            f"label: expected one of {', '.join(card.labels)} (task {task!r}), found {label!r}."
        )
    reading = {"allow_missing": allow_missing, "rename": rename, "unit": unit,
               "interpolate": interpolate}  # fmt: skip
    if onsets_s is None:
        prediction = predict(recording, model, task, progress=progress, **reading)[task]
        label = label or card.labels[class_to_explain(card, prediction.probabilities)]
        onsets_s = _surest(prediction, card.labels.index(label), windows)
    inputs, channels = window_inputs(recording, card, onsets_s, **reading)
    inputs = {key: value.to(model.device) for key, value in inputs.items()}
    if label is None:
        with torch.inference_mode():
            logits = model(**inputs, task=task).logits
        label = card.labels[class_to_explain(card, card.probabilities(logits).cpu().numpy())]
    rollout = method == "attention-rollout"
    options = {} if rollout else {"target": card.labels.index(label), "steps": steps}
    values = attribute(model, inputs, task, method=method, progress=progress, **options)
    if name is None:
        name = str(recording) if isinstance(recording, (str, Path)) else ""
    return ChannelAttribution(
        channels=channels, values=values.mean(0).numpy(), method=method, task=task,
        label="" if rollout else label, onset_s=tuple(map(float, onsets_s)),
        recording=name, simulated=card.simulated,
    )  # fmt: skip


def window_inputs(
    recording: Any,
    card: TaskCard,
    onsets_s: Sequence[float],
    *,
    allow_missing: int | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    interpolate: bool | str = False,
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Windows of a recording as the model takes them.

    Parameters
    ----------
    onsets_s : sequence of float
        In seconds, to the nearest sample at the task's rate.

    Returns
    -------
    inputs : dict
        ``input_values`` float32 (windows, channels, patches, 200) and ``channel_ids``.
    channels : tuple of str
        In the order of the inputs.

    Notes
    -----
    The recording is filtered piece by piece, exactly as :func:`modeling_mteeg.prediction.predict`
    does, up to the last of the windows; memory does not grow with its length. Where no
    low-pass can be applied (100 and 128 Hz) what is close to Nyquist differs a little from
    ``predict``: see :class:`modeling_mteeg.recordings.stream_filter.StreamFilter`.
    """
    source = open_for_tasks(recording, [card], unit, rename, interpolate)
    for sentence in source.notes:
        warnings.warn(sentence, RecordingWarning, stacklevel=2)
    choice = choose_for_task(source, card, allow_missing)
    length_s = source.samples / source.rate_hz
    if not len(onsets_s):
        raise ValueError("onsets_s: expected at least one window, found none.")
    for onset in onsets_s:
        if not (onset >= 0 and onset + card.window_s <= length_s + 0.5 / card.rate_hz):
            raise SignalError(
                f"A window of task {card.name!r} is {card.window_s:g} s long: expected an onset "
                f"from 0 to {length_s - card.window_s:g} s, found {onset:g} s."
            )
    starts = [round(onset * card.rate_hz) for onset in onsets_s]
    signal = _gather(source, choice, card, starts)
    try:
        note = check_channels(signal, choice.names, source.unit)
    except OtherUnitError as error:  # without them, where the task lets them be missing
        choice = choose_for_task(without_unfit(source, error), card, allow_missing)
        signal = _gather(source, choice, card, starts)
        note = check_channels(signal, choice.names, source.unit)
    for sentence in (missing_note(choice) if choice.reasons else "", note):
        if sentence:
            warnings.warn(sentence, stacklevel=2)
    values = torch.from_numpy(signal / np.float32(card.scale_uv))
    ids = torch.from_numpy(channel_ids(choice.names, card.bipolar))
    patches = values.unflatten(-1, (card.patches, -1))
    return {"input_values": patches, "channel_ids": ids}, choice.names


def _gather(
    source: Source, choice: ChannelChoice, card: TaskCard, starts: Sequence[int]
) -> np.ndarray:
    """float32 (windows, channels, samples) in microvolt, from samples at the task's rate."""
    filters = (card.highpass_hz, card.lowpass_hz, card.notch_hz)
    info = preprocessing_info(source.rate_hz, card.rate_hz, *filters)
    size, order = round(card.window_s * card.rate_hz), choice.needed
    windows = np.zeros((len(starts), len(choice.names), size), dtype=np.float32)
    stream = StreamFilter(info, len(order), source.samples)
    place = 0
    for filtered in _filtered(BlockReader(source, order), stream):
        piece = choice.derive(filtered, order)
        for window, start in zip(windows, starts, strict=True):
            first, last = max(start, place), min(start + size, place + piece.shape[1])
            if first < last:
                window[:, first - start : last - start] = piece[:, first - place : last - place]
        place += piece.shape[1]
        if place >= max(starts) + size:
            break
    return windows


def _filtered(reader: BlockReader, stream: StreamFilter) -> Iterator[np.ndarray]:
    for _, signal in reader:
        yield stream.push(signal)
    yield stream.finish()


def class_to_explain(card: TaskCard, probabilities: np.ndarray) -> int:
    """The positive class of two, else that with the highest mean probability (windows, classes)."""
    return 1 if card.is_binary else int(probabilities.mean(0).argmax())


def surest_windows(prediction: Prediction, target: int, most: int) -> list[int]:
    """Numbers of the windows with the highest probability of a class, the highest first."""
    return np.argsort(-prediction.probabilities[:, target], kind="stable")[:most].tolist()


def _surest(prediction: Prediction, target: int, windows: int) -> list[float]:
    """Onsets of the windows with the highest probabilities, in the order of time."""
    if isinstance(windows, bool) or not isinstance(windows, int) or windows < 1:
        raise ValueError(f"windows: expected a whole number above 0, found {windows!r}.")
    return sorted(prediction.onset_s[surest_windows(prediction, target, windows)].tolist())
