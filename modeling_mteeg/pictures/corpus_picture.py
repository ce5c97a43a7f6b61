"""The picture of a prepared corpus, as ``mteeg show`` draws it."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.inspection.overview import SHARES, Overview
from ..model.mains_notch import notches
from .style import (
    GREY,
    bare_rows,
    check_picture_name,
    class_style,
    draw_scale_bar,
    draw_traces,
    figure_class,
    name_channels,
    round_step,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 6
_CUT = 2.0


def save_overview(overview: Overview, path: str | Path) -> Path:
    """Draw a prepared corpus: one window of every class, channel amplitudes, spectra.

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
    return save_figure(draw_overview(overview), path)


def draw_overview(overview: Overview) -> Figure:
    """The figure of :func:`save_overview`.

    Notes
    -----
    All panels of traces have one scale, that of the bar; a trace is cut where it would reach more
    than two channels away, so that one wild channel does not bury the others.
    """
    channels, labels = len(overview.channels), list(overview.examples)
    columns = min(_COLUMNS, len(labels))
    rows = math.ceil(len(labels) / columns)
    height = max(2.8, 0.7 + 0.135 * channels)
    figure = figure_class("The text needs nothing more: --no-picture.")(
        figsize=(2.6 + max(2.9 * columns, 9.0), rows * height + 4.2), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.03)
    top, bottom = figure.subfigures(2, 1, height_ratios=[rows * height, 3.6])
    grid = top.subplots(
        rows, columns + 1, squeeze=False, sharey=True, width_ratios=[*[1.0] * columns, 0.62]
    )
    spacing = trace_spacing_uv(overview)
    for index, axes in enumerate(grid[:, :-1].flat):
        if index >= len(labels):
            axes.set_visible(False)
            continue
        _draw_traces(axes, overview, labels[index], spacing)
    for axes in grid[:, 0]:
        name_channels(axes, overview.channels)
    _draw_amplitudes(grid[0, -1], overview)
    for axes in grid[1:, -1]:
        axes.set_visible(False)
    left, right = bottom.subplots(1, 2, width_ratios=[1.5, 1])
    _draw_spectra(left, overview)
    _write_remarks(right, overview, spacing)
    figure.suptitle(_title(overview), x=0.01, ha="left", fontsize=11)
    return figure


def trace_spacing_uv(overview: Overview) -> float:
    """Microvolt from one channel's zero to the next: a round number near 1.4 times the amplitude.

    The amplitude is the 99 % quantile of the upper quartile of channels, in the example of the
    class in the middle.
    """
    heights = sorted(
        float(np.quantile(np.quantile(np.abs(example.signal_uv), 0.99, axis=1), 0.75))
        for example in overview.examples.values()
    )
    return round_step(1.4 * heights[len(heights) // 2])


def _title(overview: Overview) -> str:
    card = overview.card
    splits = " + ".join(split.name for split in overview.splits)
    origin = "SIMULATED" if card.simulated else "recorded"
    facts = (
        f"{len(overview.channels)} channels, windows of {card.window_s:g} s at {card.rate_hz:g} Hz"
    )
    return f"{card.name} ({origin}): {splits}, {facts}"


def _draw_traces(axes: Axes, overview: Overview, label: str, spacing: float) -> None:
    """One window: a trace per channel, the first on top."""
    example = overview.examples[label]
    times = np.arange(example.signal_uv.shape[1]) / overview.card.rate_hz
    draw_traces(axes, times, example.signal_uv / spacing, cut=_CUT, room=_CUT, width=0.6)
    axes.set_xlim(0, overview.card.window_s)
    axes.set_xlabel("time (s)", fontsize=8)
    index = overview.card.labels.index(label)
    count = sum(split.counts[index] for split in overview.splits)
    name = example.recording
    name = name if len(name) <= 22 else f"{name[:20]}…"
    origin = f"{example.split}: {name} at {example.onset_s:g} s"
    _write_heading(axes, f"{label} ({count:,} windows)", origin, class_style(index)[0])
    draw_scale_bar(axes, spacing)


def _write_heading(axes: Axes, title: str, note: str, colour: str = "black") -> None:
    axes.set_title(title, fontsize=9, color=colour, fontweight="bold", pad=14)
    axes.annotate(
        note, (0.5, 1.0), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points",
        ha="center", va="bottom", fontsize=6.5, color=GREY,
    )  # fmt: skip


def _draw_amplitudes(axes: Axes, overview: Overview) -> None:
    """Median and 99 % of every channel's absolute signal, beside the channel's name."""
    rows = -np.arange(len(overview.channels))
    values = overview.channel_quantiles_uv
    medians, high = values[:, SHARES.index(0.5)], values[:, SHARES.index(0.99)]
    seen = values[values > 0]
    if seen.size:
        axes.set_xscale("log")
        floor, ceiling = float(seen.min()) / 2, float(high.max()) * 2
        axes.set_xlim(floor, ceiling)
        _plain_decades(axes, wide=ceiling > 1e3 * floor)
        medians, high = np.maximum(medians, floor), np.maximum(high, floor)
    axes.hlines(rows, medians, high, color="#bbbbbb", lw=1)
    axes.plot(medians, rows, "o", color="black", ms=3, label="median", clip_on=False)
    axes.plot(high, rows, "|", color="#D55E00", ms=6, mew=1.5, label="99 %", clip_on=False)
    _write_heading(axes, "amplitude, all classes", "● median   | 99 % of |signal|")
    axes.set_xlabel("µV", fontsize=8)
    axes.grid(axis="x", which="both", color="#eeeeee", lw=0.6)
    bare_rows(axes)


def _plain_decades(axes: Axes, wide: bool) -> None:
    """Plain numbers on a logarithmic x axis: at 1, 2 and 5 of a decade, or at decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_spectra(axes: Axes, overview: Overview) -> None:
    """Power spectral density of every class, with the edges of the filters."""
    card, frequencies = overview.card, overview.frequencies_hz
    highest = max(float(density.max()) for density in overview.spectra.values())
    for label, density in overview.spectra.items():
        colour, line = class_style(card.labels.index(label))
        shown = np.maximum(density, highest * 1e-9 or 1e-30)
        axes.semilogy(frequencies[1:], shown[1:], line, color=colour, lw=1.4, label=label)
    top = min(100.0, card.rate_hz / 2)
    axes.set_xlim(0, top)
    if highest > 0:
        band = (frequencies > 0) & (frequencies <= min(top, card.lowpass_hz or top))
        lowest = min(float(density[band].min()) for density in overview.spectra.values())
        axes.set_ylim(max(lowest / 3, highest * 1e-6), highest * 3)
    if card.lowpass_hz and card.lowpass_hz < top:
        axes.axvspan(card.lowpass_hz, top, color="#f0f0f0", zorder=0)
    edges = [(mains_hz, "notch") for mains_hz in notches(card.notch_hz)]
    for value, name in (*edges, (card.lowpass_hz, "low-pass")):
        if value and value < top:
            axes.axvline(value, color=GREY, lw=0.8, ls=(0, (1, 2)), zorder=0)
            axes.annotate(
                f"{name} {value:g} Hz", (value, 1.0), xycoords=("data", "axes fraction"),
                xytext=(0, 2), textcoords="offset points", ha="center", fontsize=7, color=GREY,
            )  # fmt: skip
    axes.set_xlabel("frequency (Hz)", fontsize=8)
    axes.set_ylabel("power (µV²/Hz), median over\nchannels and windows", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(color="#eeeeee", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper right", ncols=2, handlelength=3)


def _write_remarks(axes: Axes, overview: Overview, spacing: float) -> None:
    """What is odd, and how to read the picture."""
    axes.set_axis_off()
    lines = []
    for remark in overview.remarks or ("Nothing odd: unit, channels and splits look plausible.",):
        lines += textwrap.wrap(remark, 84, initial_indent="• ", subsequent_indent="   ")
    notes = [
        f"Traces: one scale in all panels, {spacing:g} µV from channel to channel, cut at "
        f"±{_CUT * spacing:g} µV. {overview.rule}",
        f"Split hash {overview.card.split_hash or 'none'}.",
    ]
    small = [line for note in notes for line in textwrap.wrap(note, 112)]
    shown = lines[:14] + (["   … more in the text"] if len(lines) > 14 else [])
    axes.text(0, 1, "\n".join(shown), fontsize=8, va="top", transform=axes.transAxes)
    axes.text(0, 0, "\n".join(small), fontsize=6.5, va="bottom", color=GREY,
              transform=axes.transAxes)  # fmt: skip
