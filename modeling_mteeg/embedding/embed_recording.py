"""Features of a recording's windows, in one pass for one or several tasks, at constant memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..model.channels import UnknownChannelError
from ..model.edf_annotations import Mark
from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from ..model.findings import Finding
from ..model.modeling_mteeg import MteegModel
from ..model.record_parts import Part
from ..model.task_card import TaskCard
from ..prediction.engine import BATCH_SIZE, answer_windows
from ..prediction.shown_progress import Progress
from ..prediction.task_loading import cards_of, load_tasks
from ..prediction.task_plan import Asked
from .window_features import base_card, check_per, extractor_of, features_per


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Features of a recording.

    Parameters
    ----------
    per : {"window", "channel", "recording"}
    task : str
        Whose adapter the features are of; empty: the base alone.
    values : numpy.ndarray
        float32, (windows, width); by channel (windows, channels, width); of the recording (width,),
        the mean over its windows.
    onset_s : numpy.ndarray
        float64, (windows,), where each window starts, in seconds from the recording's start.
    window_s : float
        Length of a window in seconds.
    simulated : bool
        Whether the task was trained on simulated recordings.
    stride_s, channels, derived, missing, recording, recording_s, notes, provenance, findings, \
parts, recorded_rate_hz, marked, ends, cues
        As of a :class:`~modeling_mteeg.prediction.Prediction`.
    """

    per: str
    task: str
    values: np.ndarray
    onset_s: np.ndarray
    window_s: float
    simulated: bool = False
    stride_s: float | None = None
    channels: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    recording: str = ""
    recording_s: float = 0.0
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    parts: tuple[Part, ...] = ()
    recorded_rate_hz: float = 0.0
    marked: tuple[str, ...] = ()
    ends: np.ndarray | None = None
    cues: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """Length of a vector of features."""
        return self.values.shape[-1]


def embed(
    recording: Any,
    model: MteegModel | str | Path,
    tasks: str | Sequence[str] | None = None,
    *,
    per: str = "window",
    window_s: float | None = None,
    channels: Sequence[str] | None = None,
    extractor: MteegFeatureExtractor | None = None,
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
) -> dict[str, Embeddings]:
    """Features of a recording, of the base or of one or several of its tasks.

    Parameters
    ----------
    recording
        A file, a Raw, or (array (channels, samples) in microvolt, channel names, rate in Hz); see
        :func:`modeling_mteeg.prediction.predict`.
    model : MteegModel, str or pathlib.Path
        In evaluation mode; or a base's folder or Hub id, which is loaded.
    tasks : str, sequence of str or None
        Whose adapters, channels, filters and windows are used; with a base as ``model`` they are
        loaded. None: the base alone.
    per : {"window", "channel", "recording"}
        A vector for each window: the mean over its patch tokens, normalised (``pooler_output``).
        For each channel of each window: the same over the channel's tokens. For the recording: the
        mean of its windows' vectors, the marked ones too unless they are left out.
    window_s : float, optional
        Of the base alone: length of a window in whole seconds. Default: that of the extractor, else
        10.
    channels : sequence of str, optional
        Of the base alone: channels to take, in this order. Default: all that the recording has.
    extractor : MteegFeatureExtractor, optional
        Of the base alone: its filters, rate and unit. Default: the one beside the base.
    stride_s, last_window, at, at_offset_s, at_labels, bad, batch_size, allow_missing, rename, \
unit, interpolate, name, progress
        See :func:`modeling_mteeg.prediction.predict`. Of the base alone with ``channels``, none may
        be missing unless ``allow_missing`` says so.

    Returns
    -------
    dict of str to Embeddings
        By task, in the order asked for; of the base alone its only key is ``"base"``.

    Raises
    ------
    SignalError, UnknownChannelError, TypeError, ValueError
        As of :func:`modeling_mteeg.prediction.predict`.
    """
    check_per(per)
    if not isinstance(model, MteegModel):
        named = [tasks] if isinstance(tasks, str) else list(tasks or ())
        model, loaded = load_tasks(model, named)
        tasks = loaded or None
    cards = {}
    if tasks is not None:
        cards = {card.name: card for card in cards_of(model, tasks)}
        given = {"window_s": window_s, "channels": channels, "extractor": extractor}
        check_of_base(given)
    asked = [*cards.values()]
    if not asked:
        if model.training:
            raise ValueError("Expected a model in evaluation mode: call model.eval() first.")
        if extractor is None:
            place, size = model.config._name_or_path, model.config.patch_size
            extractor = extractor_of(place, size, model.base_commit)
        asked = [base_card(extractor, window_s, channels)]
    try:
        answered = answer_windows(
            recording, model, asked, features_per(per, alone=not cards),
            Asked(stride_s, last_window, allow_missing, rename or {}, bad),
            at=at, at_offset_s=at_offset_s, at_labels=at_labels, batch_size=batch_size, unit=unit,
            interpolate=interpolate, name=name, progress=progress,
        )  # fmt: skip
    except UnknownChannelError as error:
        if cards or channels:
            raise
        raise UnknownChannelError(f"{error} channels (--channels) names those to take.") from error
    return {
        card.name: _embeddings(per, card, card.name in cards, *answered[card.name])
        for card in asked
    }


def check_of_base(given: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where something is given beside a task that its card says."""
    wrong = [key for key, value in given.items() if value is not None]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: for the base alone; a task's card says its window, channels and "
            "filters. Leave them out, or the task."
        )


def _embeddings(
    per: str, card: TaskCard, is_task: bool, values: np.ndarray, facts: dict[str, Any]
) -> Embeddings:
    origin = facts["provenance"]
    origin = origin | {"settings": origin["settings"] | {"per": per}}
    if not is_task:  # whatever the model holds besides
        origin["adapter"] = None
    if per == "recording":
        values = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    return Embeddings(
        per=per, task=card.name if is_task else "", values=values, window_s=card.window_s,
        simulated=card.simulated, **facts | {"provenance": origin},
    )  # fmt: skip
