"""Binary tasks: probability over time with threshold and detections, and the traces around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..prediction.result import Prediction
from .drawn_recording import band_text
from .layout import time_figure
from .spans import (
    Detection,
    detections,
    overlap_remark,
    runs,
    shown_detections,
    steps,
    window_spans,
)
from .style import COLOURS, GREY, plain_text, short_name
from .time_axis import duration, elapsed
from .traces import Moment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .drawn_recording import ShownRecording

MOST_SHOWN = 4
PANELS_IN = (1.7, 0.3, 1.5)
_POSITIVE = COLOURS[1]
_CURVE = COLOURS[0]


def draw_binary(
    prediction: Prediction, recording: ShownRecording, threshold: float, extra_in: float = 0.0
) -> tuple:
    """The figure, and its part of ``extra_in`` inches for more (None where that is 0)."""
    detected = detections(prediction, threshold)
    shown = shown_detections(detected, MOST_SHOWN)
    label = short_name(prediction.card.labels[1], 24)
    figure, (top, strip, _), beside, extra = time_figure(
        prediction, recording, f"Probability of {label}", PANELS_IN, 0.8,
        remarks=_remarks(prediction, detected, shown, threshold, recording),
        moments=_moments(prediction, detected, shown), extra_in=extra_in,
    )  # fmt: skip
    draw_probability(top, prediction, detected, threshold)
    draw_detections(strip, detected, shown, recording.length_s)
    _write_beside(beside[0], prediction, detected, threshold)
    return figure, extra


def draw_probability(
    axes: Axes, prediction: Prediction, detected: list[Detection], threshold: float
) -> None:
    """Probability of the positive class as steps; detections as spans behind it."""
    spans, positive = window_spans(prediction), prediction.probabilities[:, 1]
    for detection in detected:
        extent = detection.start_s, detection.stop_s
        axes.axvspan(*extent, color=_POSITIVE, alpha=0.15, lw=0, zorder=0)
    for run in runs(spans):
        times, values = steps(spans[run], positive[run])
        axes.plot(times, values, color=_CURVE, lw=1.1, solid_joinstyle="miter", clip_on=False)
    axes.axhline(threshold, color=GREY, lw=0.9, ls=(0, (4, 3)))
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.tick_params(labelsize=8)
    label = short_name(prediction.card.labels[1], 20)
    axes.set_ylabel(f"probability\nof {label}", fontsize=8)


def draw_detections(
    axes: Axes, detected: list[Detection], shown: list[Detection], length_s: float
) -> None:
    """A strip with a bar for every detection, and the numbers of those whose traces are shown."""
    bars = [(part.start_s, part.stop_s - part.start_s) for part in detected]
    axes.broken_barh(bars, (0, 0.45), facecolor=_POSITIVE, edgecolor=_POSITIVE, lw=0.8)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylabel("detected", fontsize=8, rotation=0, ha="right", va="center")
    groups: list[list[Detection]] = []
    for detection in shown:  # numbers that would cover one another stand together
        near = groups and detection.start_s - groups[-1][-1].stop_s < 0.02 * length_s
        groups[-1].append(detection) if near else groups.append([detection])
    for group in groups:
        middle = (group[0].start_s + group[-1].stop_s) / 2 / length_s
        numbers = ", ".join(str(detected.index(detection) + 1) for detection in group)
        axes.text(
            min(max(middle, 0.004), 0.996), 1.0, numbers,
            transform=axes.transAxes, fontsize=7, fontweight="bold", color=_POSITIVE, va="top",
            ha="left" if middle < 0.02 else "right" if middle > 0.98 else "center",
        )  # fmt: skip


def _write_beside(
    axes: Axes, prediction: Prediction, detected: list[Detection], threshold: float
) -> None:
    total = sum(detection.stop_s - detection.start_s for detection in detected)
    lines = [
        f"threshold {threshold:.3g}",
        f"{len(detected)} detection{'s' if len(detected) != 1 else ''}",
        f"{duration(total)} in all",
    ]
    if len(prediction.onset_s):
        positive = prediction.probabilities[:, 1]
        lines += [f"mean {positive.mean():.2f}", f"highest {positive.max():.2f}"]
    axes.text(0.0, 1.0, "\n".join(lines), fontsize=8, va="top", transform=axes.transAxes,
              linespacing=1.45)  # fmt: skip


def _moments(
    prediction: Prediction, detected: list[Detection], shown: list[Detection]
) -> list[Moment]:
    """The shown detections, or without any the window with the highest probability."""
    label = short_name(prediction.card.labels[1], 20)
    if shown:
        return [
            Moment(
                part.start_s, part.stop_s,
                f"{detected.index(part) + 1}: {label} from {elapsed(part.start_s, whole=False)} to "
                f"{elapsed(part.stop_s, whole=False)}, up to {part.peak:.2f}", _POSITIVE,
            )
            for part in shown
        ]  # fmt: skip
    if not len(prediction.onset_s):
        return []
    best = int(np.argmax(prediction.probabilities[:, 1]))
    start, value = float(prediction.onset_s[best]), prediction.probabilities[best, 1]
    title = f"no detection; highest probability {value:.2f} at {elapsed(start, whole=False)}"
    return [Moment(start, start + prediction.window_s, title, _CURVE)]


def _remarks(
    prediction: Prediction,
    detected: list[Detection],
    shown: list[Detection],
    threshold: float,
    recording: ShownRecording,
) -> list[str]:
    label = plain_text(prediction.card.labels[1])
    remarks = [
        f"A detection: windows in a row with a probability of {label} of {threshold:.3g} or more "
        "(shaded)."
    ]
    if threshold == prediction.card.threshold and prediction.threshold is None:
        remarks[0] += " The threshold was chosen on validation."
    if len(detected) > len(shown):
        remarks[0] += (
            f" Traces of {len(shown)} of {len(detected)} detections, those with the highest "
            "probability."
        )
    remarks.append(
        f"Traces: band-pass {band_text(recording.rate_hz)} for display, one scale in all panels."
    )
    return remarks + overlap_remark(prediction)
