"""What all pictures share: colours, formats, figures that need no display, and how they are saved.

Figures are made without pyplot, so that drawing never opens a window nor changes the settings of
the program that draws.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards.curves import COLOURS
from ..settings.disk_faults import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("-", "--", "-.", ":")
"""The same order again, so that classes differ without colour, too."""
FORMATS = (".png", ".pdf", ".svg")
GREY = "#666666"
LIGHT = "#dddddd"
TRACES = ("#111111", "#005b96")
"""Neighbouring channels take turns, so that traces that cross can be told apart."""
DPI = 110
_LONGEST_NAME = 48


class MissingMatplotlibError(ImportError, ValueError):
    """matplotlib is not installed."""


def check_picture_name(path: str | Path) -> Path:
    """``path`` if its ending is one of ``FORMATS``, else ``ValueError``."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")
    return path


def figure_class(without: str = "") -> type[Figure]:
    """matplotlib's ``Figure``.

    Parameters
    ----------
    without : str
        How to go on without pictures, for the message.

    Raises
    ------
    MissingMatplotlibError
        matplotlib is not installed; the message says how to get it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingMatplotlibError(
            "Pictures need matplotlib, which is not installed: pip install 'modeling-mteeg[plot]' "
            f"(or pip install matplotlib). {without}".strip()
        ) from error
    return Figure


def save_figure(figure: Figure, path: str | Path, box: Any = None) -> Path:
    """Write a figure, or a box of it in inches, whole or not at all, with its folder."""
    path = check_picture_name(path)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            figure.savefig(part, dpi=DPI, bbox_inches=box)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return path


def class_style(index: int) -> tuple[str, Any]:
    """Colour and line of class number ``index``; the pair repeats only after 28 classes."""
    return COLOURS[index % len(COLOURS)], LINES[index % len(LINES)]


def short_name(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that fits, its middle left out where it is too long; see :func:`plain_text`."""
    name = _drawable(name)
    if len(name) > longest:
        half = (longest - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return name.replace("$", r"\$")


def plain_text(text: str) -> str:
    """Text in which matplotlib sees no formula; letters that the font lacks become their codes."""
    return _drawable(text).replace("$", r"\$")


def plain_caption(text: str) -> str:
    """:func:`plain_text` of several lines as one paragraph for other eyes than matplotlib's."""
    return " ".join(text.split()).replace(r"\$", "$")


def _drawable(text: str) -> str:
    return "".join(
        letter if letter.isprintable() and ord(letter) in _glyphs() else f"<U+{ord(letter):04X}>"
        for letter in text
    )


@functools.cache
def _glyphs() -> frozenset[int]:
    """Letters of the font that matplotlib writes with."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def round_step(wanted: float) -> float:
    """The number of 1, 2 or 5 times a power of ten that is nearest to ``wanted`` by ratio."""
    if not wanted > 0 or not math.isfinite(wanted):
        return 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    steps = (power, 2 * power, 5 * power, 10 * power)
    return min(steps, key=lambda step: abs(math.log(step / wanted)))


def draw_scale_bar(axes: Axes, spacing_uv: float) -> None:
    """A bar of one channel's spacing at the right edge, with its length in microvolt."""
    place = axes.get_yaxis_transform()
    axes.plot([1.012, 1.012], [-0.5, 0.5], transform=place, color="black", lw=2, clip_on=False)
    axes.annotate(
        f"{spacing_uv:g} µV", (1.012, 0.5), (4, 0), xycoords=place, textcoords="offset points",
        rotation=90, va="top", ha="left", fontsize=6.5, annotation_clip=False,
    )  # fmt: skip


def draw_traces(
    axes: Axes, times: np.ndarray, signal: np.ndarray, cut: float, room: float, width: float
) -> None:
    """A line for each row of ``signal`` (channels, samples), the first on top.

    Heights are in rows: ``signal`` is given in them, a trace is cut ``cut`` of them away from its
    own, and ``room`` of them are left at both ends.
    """
    from matplotlib.collections import LineCollection

    rows = enumerate(np.clip(signal, -cut, cut))
    lines = [np.column_stack([times, trace - row]) for row, trace in rows]
    axes.add_collection(LineCollection(lines, colors=TRACES, linewidths=width))
    axes.set_ylim(1 - len(signal) - room, room)
    bare_rows(axes)


def bare_rows(axes: Axes) -> None:
    """Rows with names beside them: no frame, and no ticks at the names."""
    axes.tick_params(labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def name_channels(axes: Axes, channels: Sequence[str]) -> None:
    """Channel names as labels of the y axis, the first on top."""
    axes.set_yticks([-row for row in range(len(channels))], [plain_text(name) for name in channels])
    axes.tick_params(axis="y", labelsize=6.5 if len(channels) > 20 else 8)
