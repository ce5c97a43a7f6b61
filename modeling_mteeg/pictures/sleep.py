"""Sleep: hypnogram, probabilities of the stages, spectrogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..model.task_card import TaskCard
from ..prediction.result import Prediction
from .layout import time_figure, write_legend
from .spans import overlap_remark, runs, steps, window_spans
from .style import plain_text
from .time_axis import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .drawn_recording import ShownRecording

STAGES = ("W", "REM", "N1", "N2", "N3")
"""From top to bottom, as in the hypnograms of the AASM manual for scoring of sleep."""
STAGE_COLOURS = {
    "W": "#BDBDBD",
    "REM": "#D55E00",
    "N1": "#9CC9E8",
    "N2": "#3D8BC4",
    "N3": "#0B3C6F",
}
"""REM stands out; the deeper the sleep, the darker the blue."""
HIGHEST_HZ = 30.0
PANELS_IN = (1.75, 1.35, 1.55)
_NAMES = {
    "W": "W", "WAKE": "W", "R": "REM", "REM": "REM", "N1": "N1", "N2": "N2", "N3": "N3",
    "S1": "N1", "S2": "N2", "S3": "N3",
}  # fmt: skip


def stage_order(card: TaskCard) -> dict[str, int] | None:
    """Stage to class number in the order of :data:`STAGES`; None: the labels are no sleep stages.

    A task may lack stages (wake, REM and non-REM sleep would not do: its label is no stage).
    """
    stages = [_NAMES.get(label.upper()) for label in card.labels]
    if None in stages or len(set(stages)) < len(stages) or len(stages) < 3:
        return None
    return {stage: stages.index(stage) for stage in STAGES if stage in stages}


def draw_sleep(prediction: Prediction, recording: ShownRecording, extra_in: float = 0.0) -> tuple:
    """The figure, and its part of ``extra_in`` inches for more (None where that is 0)."""
    order = stage_order(prediction.card)
    figure, (top, middle, _), beside, extra = time_figure(
        prediction, recording, "Sleep stages", PANELS_IN, 0.7, extra_in=extra_in,
        remarks=overlap_remark(prediction), most_channels=1, highest_hz=HIGHEST_HZ,
    )  # fmt: skip
    spans = window_spans(prediction)
    draw_hypnogram(top, prediction, spans, order)
    colours = [STAGE_COLOURS[stage] for stage in order]
    draw_shares(middle, spans, prediction.probabilities[:, list(order.values())], colours)
    total = len(prediction.onset_s)
    seconds = spans[:, 1] - spans[:, 0]
    details = []
    for index in order.values():
        in_stage = prediction.classes == index
        share = 100 * in_stage.sum() / total if total else 0
        details.append(f"{duration(float(seconds[in_stage].sum()))}  {share:.0f} %")
    labels = [prediction.card.labels[index] for index in order.values()]
    write_legend(beside[0], labels, colours, details)
    return figure, extra


def draw_hypnogram(
    axes: Axes, prediction: Prediction, spans: np.ndarray, order: dict[str, int]
) -> None:
    """The most probable stage over time as a line, REM with a thick bar."""
    level = {index: -row for row, index in enumerate(order.values())}
    levels = np.array([level[index] for index in prediction.classes], dtype=float)
    for run in runs(spans):
        axes.plot(*steps(spans[run], levels[run]), color="black", lw=0.9, solid_joinstyle="miter")
    rem = order.get("REM")
    if rem is not None:
        in_rem = prediction.classes == rem
        axes.hlines(
            levels[in_rem], spans[in_rem, 0], spans[in_rem, 1], color=STAGE_COLOURS["REM"], lw=5,
            label="REM", capstyle="butt",
        )  # fmt: skip
    names = [plain_text(prediction.card.labels[index]) for index in order.values()]
    axes.set_yticks([-row for row in range(len(names))], names)
    axes.set_ylim(0.5 - len(names), 0.5)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#eeeeee", lw=0.6)
    axes.set_ylabel("stage", fontsize=8)


def draw_shares(axes: Axes, spans: np.ndarray, shares: np.ndarray, colours: list[str]) -> None:
    """Probabilities over time, stacked from the top down in the order given."""
    stacked = 1 - np.cumsum(shares, axis=1)
    edges = np.concatenate([np.ones((len(shares), 1)), stacked], axis=1)
    for run in runs(spans):
        times, corners = steps(spans[run], edges[run])
        for index, colour in enumerate(colours):
            axes.fill_between(times, corners[:, index + 1], corners[:, index], color=colour, lw=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(labelsize=8)
    axes.set_ylabel("probability", fontsize=8)
