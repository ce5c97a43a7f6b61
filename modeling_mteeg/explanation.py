"""From a recording to the channels that a task's answer rests on; ``mteeg explain`` runs it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .attribution import ChannelAttribution, attribute
from .channels import channel_ids
from .modeling_mteeg import MteegModel
from .prediction import predict
from .prediction.montage import choose_for_task
from .prediction.reading import open_recording
from .preprocessing import preprocess, preprocessing_info
from .recording_sources import ChannelChoice, Source
from .signal_checks import SignalError, check_finite, unit_factor
from .task_card import TaskCard

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
        See :func:`modeling_mteeg.attribution.attribute`.
    allow_missing, rename, unit, name, progress
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
    reading = {"allow_missing": allow_missing, "rename": rename, "unit": unit}
    if onsets_s is None:
        found = predict(recording, model, task, progress=progress, **reading)[task]
        label = label or _label_of(card, found.probabilities)
        onsets_s = _surest(found.onset_s, found.probabilities[:, card.labels.index(label)], windows)
    inputs, channels = window_inputs(recording, card, onsets_s, **reading)
    inputs = {key: value.to(model.device) for key, value in inputs.items()}
    if label is None:
        with torch.inference_mode():
            logits = model(**inputs, task=task).logits
        label = _label_of(card, card.probabilities(logits).cpu().numpy())
    rollout = method == "attention-rollout"
    options = {} if rollout else {"target": card.labels.index(label), "steps": steps}
    values = attribute(model, inputs, task, method=method, progress=progress, **options)
    if name is None:
        name = str(recording) if isinstance(recording, (str, Path)) else ""
    return ChannelAttribution(
        channels=channels, values=values.mean(0).numpy(), method=method, task=task,
        label="" if rollout else label, onset_s=tuple(float(one) for one in onsets_s),
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
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Windows of a recording as the model takes them, each read with a margin for the filters.

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
    The margin is the length of the longest filter (33 s), so that a window is what it is in the
    whole recording, whatever the recording's length: only these parts are read.
    """
    source = open_recording(recording, unit, rename)
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
    signal = np.stack([_window(source, choice, card, float(onset)) for onset in onsets_s])
    values = torch.from_numpy((signal / np.float32(card.scale_uv)).astype(np.float32))
    ids = torch.from_numpy(channel_ids(choice.names, card.bipolar))
    return {
        "input_values": values.unflatten(-1, (card.patches, -1)), "channel_ids": ids,
    }, choice.names  # fmt: skip


def _window(source: Source, choice: ChannelChoice, card: TaskCard, onset_s: float) -> np.ndarray:
    """(channels, samples) in microvolt, filtered and resampled."""
    filters = (card.highpass_hz, card.lowpass_hz, card.notch_hz)
    info = preprocessing_info(source.rate_hz, card.rate_hz, *filters)
    margin = info.filter_s + 2.0
    begin_s = max(0, math.floor(onset_s - margin))  # whole seconds: samples of both rates coincide
    start = round(begin_s * source.rate_hz)
    stop = min(source.samples, math.ceil((onset_s + card.window_s + margin) * source.rate_hz))
    positions = [source.names.index(name) for name in choice.needed]
    signal = unit_factor(source.unit) * source.read(positions, start, stop)
    check_finite(signal, choice.needed)
    signal = choice.derive(signal[0], choice.needed)
    filtered = preprocess(signal, source.rate_hz, card.rate_hz, *filters)
    samples = round(card.window_s * card.rate_hz)
    first = min(round((onset_s - begin_s) * card.rate_hz), filtered.shape[1] - samples)
    return filtered[:, first : first + samples]


def _label_of(card: TaskCard, probabilities: np.ndarray) -> str:
    return card.labels[1 if card.is_binary else int(probabilities.mean(0).argmax())]


def _surest(onset_s: np.ndarray, probability: np.ndarray, windows: int) -> list[float]:
    """Onsets of the windows with the highest probabilities, in the order of time."""
    if isinstance(windows, bool) or not isinstance(windows, int) or windows < 1:
        raise ValueError(f"windows: expected a whole number above 0, found {windows!r}.")
    return sorted(onset_s[np.argsort(-probability, kind="stable")[:windows]].tolist())
