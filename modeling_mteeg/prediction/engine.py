"""One pass over a recording for one or several tasks, at constant memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..model.channel_choice import without_unfit
from ..model.edf_annotations import Mark
from ..model.file_choice import plain_path
from ..model.modeling_mteeg import MteegModel
from ..model.signal_checks import OtherUnitError
from ..recordings.interpolation import open_for_tasks
from .cues import find_cues
from .origins import provenance
from .recording_pass import pass_over
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
        :func:`task_loading.load_tasks` says, and cannot be None.
    stride_s : float or None
        From the start of one window to the next, for all tasks; None: each task's window.
    last_window : bool
        Whether every part whose end fills no window gets one more, which ends with the part and
        overlaps the one before it.
    at : str, pathlib.Path, sequence of float or Mark, or None
        One window for every cue instead of sliding ones: ``"annotations"`` (the recording's own,
        without those of bad stretches), a BIDS ``events.tsv``, or seconds from the recording's
        start.
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
        :func:`modeling_mteeg.recordings.interpolation.open_for_tasks`.
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

    Every part of a recording (:class:`record_parts.Part`) is filtered and cut as a recording of its
    own, and gives the same numbers as one; windows never span a joint. Channels are judged over all
    parts together.

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
    if at is None and (at_labels is not None or at_offset_s):
        raise ValueError("at_labels and at_offset_s (--at-labels, --at-offset) go with at (--at).")
    asked = Asked(stride_s, last_window, allow_missing, rename or {}, bad)
    recording = plain_path(recording)
    source = open_for_tasks(recording, cards, unit, rename, interpolate)
    if at is not None:
        cues = tuple(find_cues(at, source, at_labels))
        asked = dataclasses.replace(asked, cues=cues, at_offset_s=at_offset_s)
    block = None if block_s is None else max(1, round(block_s * source.rate_hz))
    while True:
        plans = [plan_task(source, card, asked) for card in cards]
        try:
            constant = pass_over(source, plans, model, batch_size, block, progress)
            break
        except OtherUnitError as error:
            # Known at the end only. Without them: an error, or another pass where they may lack.
            source = without_unfit(source, error)
    given = {"interpolate": interpolate}
    settings = {plan.card.name: plan.settings(source, asked) | given for plan in plans}
    facts = provenance(model, settings)
    if name is None:
        name = str(recording) if isinstance(recording, (str, Path)) else _raw_name(recording)
    return {
        plan.card.name: plan.result(source, asked, constant, name, facts[plan.card.name])
        for plan in plans
    }


def _raw_name(recording: Any) -> str:
    """File of a Raw, if it has one."""
    files = [str(file) for file in getattr(recording, "filenames", ()) or () if file]
    return files[0] if files else ""
