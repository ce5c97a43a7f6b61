"""The picture of a prediction, chosen by its task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.recording_sources import Source
from ..prediction.result import Prediction
from ..recordings.interpolation import open_for_tasks
from .binary import draw_binary
from .drawn_recording import ShownRecording
from .multiclass import draw_multiclass
from .scalp import HEIGHT_IN, draw_scalp_panels
from .sleep import draw_sleep, stage_order
from .spans import THRESHOLD
from .style import check_picture_name, figure_class, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..explanation.attribution import ChannelAttribution


def save_prediction(
    prediction: Prediction,
    recording: Any,
    path: str | Path,
    *,
    attribution: ChannelAttribution | None = None,
    threshold: float | None = None,
) -> Path:
    """Draw a prediction into a file; see :func:`draw_prediction`.

    Parameters
    ----------
    path : str or Path
        ``.png``, ``.pdf`` or ``.svg``; an older file is replaced.

    Returns
    -------
    Path
    """
    check_picture_name(path)
    figure = draw_prediction(prediction, recording, attribution=attribution, threshold=threshold)
    return save_figure(figure, path)


def draw_prediction(
    prediction: Prediction,
    recording: Any,
    *,
    attribution: ChannelAttribution | None = None,
    threshold: float | None = None,
) -> Figure:
    """Draw a prediction over the recording it was made on.

    Sleep stages become a hypnogram, a binary task a curve with its detections and the raw traces
    around them, any other task its class probabilities; a spectrogram lies beneath.

    Parameters
    ----------
    prediction : Prediction
    recording : str, Path, mne.io.BaseRaw, (array, names, rate_hz) or Source
        The one that was predicted, its channels under the names that were predicted. Only what is
        drawn is read from disk.
    attribution : ChannelAttribution, optional
        Adds a scalp map.
    threshold : float, optional
        Of a task of two classes: probability at which a window is a detection. Default: the
        prediction's or the task card's, else 0.5.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed.
    ValueError
        The recording is not the one that was predicted, or the threshold is no probability.
    """
    figure_class()
    if threshold is None:
        threshold = prediction.threshold or prediction.card.threshold or THRESHOLD
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected a probability above 0, found {threshold!r}.")
    settings = prediction.provenance.get("settings", {})
    if settings.get("interpolate") and not isinstance(recording, Source):
        recording = open_for_tasks(
            recording, [prediction.card], settings["unit"], None, settings["interpolate"]
        )
    shown = ShownRecording(recording, settings.get("unit"))
    _check_length(prediction, shown)
    extra = HEIGHT_IN if attribution is not None else 0.0
    if stage_order(prediction.card):
        figure, part = draw_sleep(prediction, shown, extra)
    elif len(prediction.card.labels) == 2:
        figure, part = draw_binary(prediction, shown, threshold, extra)
    else:
        figure, part = draw_multiclass(prediction, shown, extra)
    if attribution is not None:
        draw_scalp_panels(part, attribution)
    return figure


def _check_length(prediction: Prediction, recording: ShownRecording) -> None:
    if not len(prediction.onset_s):
        raise ValueError(
            f"Task {prediction.card.name!r}: expected at least one window to draw, found none."
        )
    end = float(prediction.onset_s[-1]) + prediction.window_s
    if end > recording.length_s + 1.0:
        raise ValueError(
            f"Expected the recording that was predicted, whose last window ends at {end:g} s; "
            f"found one of {recording.length_s:g} s."
        )
