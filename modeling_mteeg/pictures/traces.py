"""Raw traces around a moment: labelled channels, a scale bar in microvolt, the moment shaded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..model.mains_notch import NotchHz
from .style import GREY, draw_scale_bar, draw_traces, name_channels, round_step
from .time_axis import elapsed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from .drawn_recording import ShownRecording

MARGIN_S = 5.0
LONGEST_S = 30.0
COLUMNS = 2
_CUT = 2.0


@dataclasses.dataclass(frozen=True)
class Moment:
    """A span of time whose traces are shown.

    Parameters
    ----------
    start_s, stop_s : float
    title : str
    colour : str
        Of title and shade.
    """

    start_s: float
    stop_s: float
    title: str
    colour: str


def traces_height_in(moments: int, channels: int) -> float:
    """Height in inches that the panels of so many moments need; 0 for none."""
    return math.ceil(moments / COLUMNS) * (0.75 + max(1.0, 0.125 * channels))


def draw_moments(
    part: SubFigure,
    moments: Sequence[Moment],
    recording: ShownRecording,
    channels: Sequence[str],
    notch_hz: NotchHz,
) -> float:
    """A panel for every moment, all in one scale; microvolt between two channels."""
    columns = min(COLUMNS, len(moments))
    grid = part.subplots(math.ceil(len(moments) / columns), columns, squeeze=False)
    parts = [excerpt(moment, recording.length_s) for moment in moments]
    signals = [recording.read_filtered(channels, *part, notch_hz) for part in parts]
    spacing = _spacing_uv([signal for _, signal in signals])
    for axes in grid.flat[len(moments) :]:
        axes.set_axis_off()
    for axes, moment, limits, (times, signal) in zip(grid.flat, moments, parts, signals):  # noqa: B905
        _draw(axes, moment, limits, times, signal / spacing)
        name_channels(axes, channels)
        draw_scale_bar(axes, spacing)
    return spacing


def excerpt(moment: Moment, length_s: float) -> tuple[float, float]:
    """What is shown of a moment: 5 s before and after it, 30 s at most, within the recording."""
    start = max(0.0, moment.start_s - MARGIN_S)
    return start, min(length_s, moment.stop_s + MARGIN_S, start + LONGEST_S)


def _draw(
    axes: Axes, moment: Moment, limits: tuple[float, float], times: np.ndarray, signal: np.ndarray
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.axvspan(moment.start_s, moment.stop_s, color=moment.colour, alpha=0.16, lw=0, zorder=0)
    draw_traces(axes, times, signal, cut=_CUT, room=_CUT / 2, width=0.5)
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: elapsed(value, whole=False)))
    axes.set_title(moment.title, fontsize=8, color=moment.colour, fontweight="bold", loc="left")
    if moment.stop_s > limits[1] + 1e-6:
        axes.annotate(
            f"goes on until {elapsed(moment.stop_s, whole=False)} →", (1, 1), (0, 3), ha="right",
            xycoords="axes fraction", textcoords="offset points", fontsize=7, color=GREY,
        )  # fmt: skip
    hours = limits[1] >= 3600
    axes.set_xlabel(f"time from the start ({'h:mm:ss' if hours else 'min:s'})", fontsize=7)


def _spacing_uv(signals: Sequence[np.ndarray]) -> float:
    """Microvolt between channels: a round number near three times the typical amplitude."""
    heights = [np.nanquantile(np.abs(signal), 0.98, axis=1) for signal in signals]
    return round_step(1.6 * float(np.quantile(np.concatenate(heights), 0.6)))
