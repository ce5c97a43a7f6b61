"""The picture of class averages at a cue: a trace a class and channel, and the difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.inspection.overview import Overview
from .style import (
    GREY,
    bare_rows,
    check_picture_name,
    class_style,
    draw_scale_bar,
    figure_class,
    name_channels,
    plain_text,
    round_step,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CUT = 2.0
_ERRORS = 2


def save_averages(overview: Overview, path: str | Path) -> Path:
    """Draw the class averages of an overview that has some.

    Parameters
    ----------
    overview : Overview
    path : str or Path
        ``.png``, ``.pdf`` or ``.svg``; an older file is replaced.

    Raises
    ------
    ValueError
        Another ending.
    MissingMatplotlibError
        matplotlib is not installed; the message says how to get it.
    """
    check_picture_name(path)
    return save_figure(draw_averages(overview), path)


def draw_averages(overview: Overview) -> Figure:
    """The figure of :func:`save_averages`: with two classes their difference beside them.

    Notes
    -----
    Channels stand below each other, all at the scale of the bar. The band around a difference is
    two standard errors over the windows; where it leaves the line of 0 the classes differ there.
    """
    averages, card = overview.averages, overview.card
    difference = averages.difference(card.labels)
    channels, panels = len(overview.channels), 1 if difference is None else 2
    figure = figure_class("The text needs nothing more: --no-picture.")(
        figsize=(2.0 + 5.2 * panels, max(3.2, 1.4 + 0.26 * channels)), layout="constrained"
    )
    means, *beside = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
    times = np.arange(next(iter(averages.means_uv.values())).shape[1]) / card.rate_hz
    spacing = _spacing_uv(list(averages.means_uv.values()))
    for label, mean in averages.means_uv.items():
        colour, line = class_style(card.labels.index(label))
        name = f"{plain_text(label)} ({averages.counts[label]:,} windows)"
        for row, trace in enumerate(np.clip(mean / spacing, -_CUT, _CUT)):
            means.plot(times, trace - row, line, color=colour, lw=0.9, label="" if row else name)
    _finish(means, overview, "mean of every class", spacing)
    means.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=2)
    name_channels(means, overview.channels)
    if difference is not None:
        spacing = _spacing_uv([np.abs(difference[0]) + _ERRORS * difference[1]])
        for row, (trace, error) in enumerate(zip(*difference, strict=True)):
            low, high = ((trace + side * _ERRORS * error) / spacing for side in (-1, 1))
            beside[0].axhline(-row, color=GREY, lw=0.4)
            band = (np.clip(bound, -_CUT, _CUT) - row for bound in (low, high))
            beside[0].fill_between(times, *band, color="#bbbbbb", lw=0)
            shown = np.clip(trace / spacing, -_CUT, _CUT) - row
            beside[0].plot(times, shown, color="black", lw=0.9)
        first, second = map(plain_text, card.labels)
        title = f"{second} less {first}, ± {_ERRORS} standard errors"
        _finish(beside[0], overview, title, spacing)
    origin = "SIMULATED" if card.simulated else "recorded"
    figure.suptitle(f"{card.name} ({origin}): class averages from the windows' start",
                    x=0.01, ha="left", fontsize=11)  # fmt: skip
    return figure


def _finish(axes: Axes, overview: Overview, title: str, spacing: float) -> None:
    axes.set_title(title, fontsize=9, fontweight="bold")
    axes.set_xlabel("time from the window's start (s)", fontsize=8)
    axes.set_xlim(0, overview.card.window_s)
    axes.set_ylim(0.2 - len(overview.channels) - 0.5, 1.0)
    bare_rows(axes)
    draw_scale_bar(axes, spacing)


def _spacing_uv(signals: list[np.ndarray]) -> float:
    """Microvolt from one channel's zero to the next, a round number."""
    return round_step(1.4 * float(np.quantile(np.abs(np.stack(signals)), 0.99)))
