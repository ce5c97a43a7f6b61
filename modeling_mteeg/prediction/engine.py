"""One pass over a recording for one or several tasks, at constant memory."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..model.channel_choice import without_unfit
from ..model.edf_annotations import Mark
from ..model.file_choice import plain_path
from ..model.modeling_mteeg import MteegModel
from ..model.recording_headers import RecordingWarning
from ..model.recording_sources import Source
from ..model.signal_checks import OtherUnitError
from ..model.task_card import TaskCard
from ..recordings.interpolation import open_for_tasks
from .cues import find_cues, own_table
from .origins import provenance
from .recording_pass import Answer, class_probabilities, pass_over
from .result import Prediction
from .shown_progress import Progress
from .task_loading import cards_of, load_tasks
from .task_plan import Asked, plan_task

BATCH_SIZE = 16


def predict(
    recording: Any,
    model: MteegModel | str | Path,
    tasks: str | Sequence[str] | None = None,
    *,
    stride_s: float | None = None,
    last_window: bool = False,
    at: str | Path | Sequence[float] | Sequence[Mark] | None = None,
    at_offset_s: float = 0.0,
    at_labels: Sequence[str] | None = None,
    bad: str = "mark",
    batch_size: int = BATCH_SIZE,
    allow_missing: int | None = None,
    rename: Mapping[str, str] | None = None,
    unit: str | None = None,
    interpolate: bool | str = False,
    name: str | None = None,
    progress: bool | Progress = False,
    block_s: float | None = None,
) -> dict[str, Prediction]:
    """Class probabilities over time of one or several tasks on one recording.

    Parameters
    ----------
    recording : str, pathlib.Path, mne.io.BaseRaw or (array, channel names, rate in Hz)
        A continuous recording: a file of any format that MNE-Python reads, also as a
        ``mne_bids.BIDSPath``, a Raw (not necessarily preloaded), or an array (channels, samples) in
        microvolt.
    model : MteegModel, str or pathlib.Path
        In evaluation mode; or a base's folder or Hub id, which is loaded.
    tasks : str, sequence of str or None
        Tasks that the model holds; None: all of them. With a base as ``model`` they are loaded as
        ``task_loading.load_tasks`` says, and cannot be None.
    stride_s : float or None
        From the start of one window to the next, for all tasks; None: each task's window.
    last_window : bool
        Whether every part whose end fills no window gets one more, which ends with the part and
        overlaps the one before it.
    at : str, pathlib.Path, sequence of float or Mark, or None
        One window for every cue instead of sliding ones: ``"annotations"`` (the recording's own,
        without those of bad stretches), ``"events"`` (the BIDS ``events.tsv`` that belongs to the
        file), such a table, or seconds from the recording's start.
    at_offset_s : float
        From a cue's onset to its window's start.
    at_labels : sequence of str or None
        Cues with these texts only.
    bad : {"mark", "leave-out"}
        What becomes of windows under annotations that begin with "bad", and of those with constant
        channels.
    batch_size : int
        Windows in one forward pass of a task.
    allow_missing : int or None
        How many of a task's channels the recording may lack; None: as many as its card allows.
    rename : mapping of str to str or None
        Channels that are meant by other names, such as ``{"T7": "T3", "T8": "T4"}``.
    unit : {"uV", "mV", "V"} or None
        Unit of the numbers. None: microvolt for arrays, volt for files and MNE's objects.
    interpolate : bool or str
        Whether electrodes that the recording lacks are made from the others, by the positions in
        its file (True) or those of a standard montage of MNE, such as ``"GSN-HydroCel-128"``: see
        ``modeling_mteeg.recordings.interpolation.open_for_tasks``.
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
        Missing channels, NaN or infinity (with channel and time), all channels flat, no part as
        long as a window, no cue whose window fits, all windows left out, or numbers that cannot be
        EEG in their unit. Channels in another unit than the others, or in none, count as missing.
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

    Every part of a recording (:class:`~modeling_mteeg.model.record_parts.Part`) is filtered and cut
    as a recording of its own, and gives the same numbers as one; windows never span a joint.
    Channels are judged over all parts together.

    At 100 and 128 Hz, where the 75 Hz low-pass cannot be applied, resampling is not local. There a
    recording is filtered as a whole up to a bound (two channels at 100 Hz: 11.6 hours) and piece by
    piece beyond: see ``whole_filter.recording_filter``.
    """
    if not isinstance(model, MteegModel):
        if tasks is None:
            raise ValueError("tasks: name the tasks to load with the base.")
        model, tasks = load_tasks(model, [tasks] if isinstance(tasks, str) else tasks)
    answered = answer_windows(
        recording, model, cards_of(model, tasks), class_probabilities,
        Asked(stride_s, last_window, allow_missing, rename or {}, bad),
        at=at, at_offset_s=at_offset_s, at_labels=at_labels, batch_size=batch_size, unit=unit,
        interpolate=interpolate, name=name, progress=progress, block_s=block_s,
    )  # fmt: skip
    return {
        task: Prediction(card=model.tasks[task], probabilities=probabilities, **facts)
        for task, (probabilities, facts) in answered.items()
    }


def answer_windows(
    recording: Any,
    model: MteegModel,
    cards: Sequence[TaskCard],
    answer: Answer,
    asked: Asked,
    *,
    at: Any = None,
    at_offset_s: float = 0.0,
    at_labels: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
    unit: str | None = None,
    interpolate: bool | str = False,
    name: str | None = None,
    progress: bool | Progress = False,
    block_s: float | None = None,
) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Ask something of a model about the windows of a recording, in one pass for all tasks.

    Parameters
    ----------
    recording, model, at, at_offset_s, at_labels, batch_size, unit, interpolate, name, progress, \
block_s
        See :func:`predict`.
    cards : sequence of TaskCard
        Channels, filters and windows.
    answer : callable
        What is asked, see :data:`recording_pass.Answer`.
    asked : Asked
        How windows lie.

    Returns
    -------
    dict of str to (numpy.ndarray, dict)
        By name of the card what was answered, (windows, ...), and the facts of
        :meth:`task_plan.TaskPlan.kept`, with ``recording`` and ``provenance``.

    Raises
    ------
    SignalError, UnknownChannelError, TypeError, ValueError
        See :func:`predict`.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size: expected a whole number above 0, found {batch_size!r}.")
    if at is None and (at_labels is not None or at_offset_s):
        raise ValueError("at_labels and at_offset_s (--at-labels, --at-offset) go with at (--at).")
    recording = plain_path(recording)
    source = open_for_tasks(recording, cards, unit, asked.rename, interpolate)
    doubts: list[str] = []
    if at is not None:
        cues, doubts = _cues_and_doubts(own_table(at, recording), source, at_labels)
        asked = dataclasses.replace(asked, cues=cues, at_offset_s=at_offset_s)
    block = None if block_s is None else max(1, round(block_s * source.rate_hz))
    while True:
        plans = [plan_task(source, card, asked) for card in cards]
        try:
            constant = pass_over(source, plans, model, batch_size, block, progress, answer)
            break
        except OtherUnitError as error:
            # Known at the end only. Without them: an error, or another pass where they may lack.
            source = without_unfit(source, error)
    given = {"interpolate": interpolate}
    settings = {plan.card.name: plan.settings(source, asked) | given for plan in plans}
    origins = provenance(model, settings)
    if name is None:
        name = str(recording) if isinstance(recording, (str, Path)) else _raw_name(recording)
    answered = {}
    for plan in plans:
        plan.remarks.extend(doubts)
        answers, facts = plan.kept(source, asked, constant)
        origin = origins[plan.card.name]
        answered[plan.card.name] = answers, facts | {"recording": name, "provenance": origin}
    return answered


def _cues_and_doubts(
    at: Any, source: Source, labels: Sequence[str] | None
) -> tuple[tuple[Mark, ...], list[str]]:
    """The cues, and what is warned of while they are found, which belongs into the notes, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordingWarning)
        cues = tuple(find_cues(at, source, labels))
    for one in caught:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    said = [str(one.message) for one in caught if issubclass(one.category, RecordingWarning)]
    return cues, said


def _raw_name(recording: Any) -> str:
    """File of a Raw, if it has one."""
    files = [str(file) for file in getattr(recording, "filenames", ()) or () if file]
    return files[0] if files else ""
