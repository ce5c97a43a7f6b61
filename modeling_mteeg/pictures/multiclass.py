"""Tasks with several classes: probabilities over time, the most probable class, spectrogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..prediction.result import Prediction
from .drawn_recording import band_text
from .layout import time_figure, write_legend
from .sleep import draw_shares
from .spans import overlap_remark, window_spans
from .style import COLOURS, short_name
from .time_axis import elapsed
from .traces import Moment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .drawn_recording import ShownRecording

PANELS_IN = (0.3, 1.7, 1.5)
BACKGROUND = ("BCKG", "BACKGROUND")
"""A task with a class of this name looks for events; the traces of the surest are shown."""
_COLOURS = (*COLOURS[:6], "#F0E442", "#444444", "#999999", "#8DD3C7")
MOST_SHOWN = 4


def draw_multiclass(
    prediction: Prediction, recording: ShownRecording, extra_in: float = 0.0
) -> tuple:
    """The figure, and its part of ``extra_in`` inches for more (None where that is 0)."""
    moments = _moments(prediction)
    remarks = overlap_remark(prediction)
    if moments:
        remarks.append(
            "Traces: of every class of event that occurs the window with the highest probability, "
            f"{MOST_SHOWN} at most; band-pass {band_text(recording.rate_hz)} for display."
        )
    figure, (strip, middle, _), beside, extra = time_figure(
        prediction, recording, "Class probabilities", PANELS_IN, 0.9,
        remarks=remarks, moments=moments, extra_in=extra_in,
    )  # fmt: skip
    spans = window_spans(prediction)
    colours = [class_colour(index) for index in range(len(prediction.card.labels))]
    draw_strip(strip, prediction, spans, colours)
    draw_shares(middle, spans, prediction.probabilities, colours)
    counts = np.bincount(prediction.classes, minlength=len(colours))
    details = [f"{count:,} window{'s' if count != 1 else ''}" for count in counts]
    write_legend(beside[1], prediction.card.labels, colours, details)
    return figure, extra


def class_colour(index: int) -> str:
    """Colour of class number ``index``; they come again after ten."""
    return _COLOURS[index % len(_COLOURS)]


def draw_strip(axes: Axes, prediction: Prediction, spans: np.ndarray, colours: list[str]) -> None:
    """The most probable class of every window as a coloured strip."""
    for index, colour in enumerate(colours):
        bars = [(start, stop - start) for start, stop in spans[prediction.classes == index]]
        axes.broken_barh(bars, (0, 1), color=colour, lw=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("class", fontsize=8, rotation=0, ha="right", va="center")
    axes.spines["left"].set_visible(False)


def _moments(prediction: Prediction) -> list[Moment]:
    """Of an event task the surest window of each event, in the order of time."""
    labels = prediction.card.labels
    if not any(label.upper() in BACKGROUND for label in labels):
        return []
    surest = []
    for index, label in enumerate(labels):
        windows = np.flatnonzero(prediction.classes == index)
        if label.upper() in BACKGROUND or not len(windows):
            continue
        best = windows[np.argmax(prediction.probabilities[windows, index])]
        start, value = float(prediction.onset_s[best]), prediction.probabilities[best, index]
        title = f"{short_name(label, 20)} at {elapsed(start, whole=False)}, {value:.2f}"
        surest.append(
            (value, Moment(start, start + prediction.window_s, title, class_colour(index)))
        )
    best_first = sorted(surest, key=lambda pair: -pair[0])[:MOST_SHOWN]
    return sorted((moment for _, moment in best_first), key=lambda moment: moment.start_s)
