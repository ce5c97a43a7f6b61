"""A radar of one metric over tasks, a line a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .style import COLOURS, GREY, LIGHT, LINES, figure_class, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_AXES = 3
"""Of fewer tasks a radar is no area."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_RINGS = (0.25, 0.5, 0.75, 1.0)
_CENTRE = 0.12


def draw_radar(
    values: Mapping[str, Sequence[float]],
    axes_names: Sequence[str],
    lowest: Sequence[float],
    title: str,
    remark: str = "",
) -> Figure:
    """A line a model over axes that each have a scale of their own.

    Parameters
    ----------
    values : mapping of str to sequence of float
        Model to its value on every axis; NaN where it has none, which leaves its line open.
    axes_names : sequence of str
        Three or more.
    lowest : sequence of float
        The value of the inner ring of every axis, such as chance. The outer ring is the highest
        value of all models there. Values below the lowest are drawn on the inner ring.
    title, remark : str
        Above and below the picture.

    Raises
    ------
    ValueError
        Fewer than three axes, or values of another number than the axes.
    MissingMatplotlibError
        matplotlib is not installed.
    """
    count = len(axes_names)
    wrong = [name for name, line in values.items() if len(line) != count]
    if count < LEAST_AXES or len(lowest) != count or wrong:
        raise ValueError(
            f"expected {LEAST_AXES} axes or more and a value on each, found {count} axes, "
            f"{len(lowest)} lowest values" + (f", others in {wrong}" if wrong else "") + "."
        )
    numbers = np.array([list(line) for line in values.values()], float).reshape(-1, count)
    lowest = np.asarray(lowest, float)
    highest = np.array([_highest(numbers[:, axis], lowest[axis]) for axis in range(count)])
    lines = math.ceil(len(values) / 3)
    figure = figure_class()(figsize=(8.4, 6.9 + 0.24 * lines))
    height, below = figure.get_figheight(), 1.2 + 0.24 * lines  # inches; of legend and remark
    axes = figure.add_axes((0.2, below / height, 0.6, 1 - (below + 1.0) / height),
                           projection="polar")  # fmt: skip
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    _draw_frame(axes, angles)
    shares = np.clip((numbers - lowest) / (highest - lowest), 0, 1)
    radii = _CENTRE + (1 - _CENTRE) * shares
    for number, (name, line) in enumerate(zip(values, radii, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        style = LINES[number // len(COLOURS) % len(LINES)]
        axes.plot(np.append(angles, angles[0]), np.append(line, line[0]), style, lw=1.6,
                  color=colour, marker=MARKERS[number % len(MARKERS)], ms=4.5, alpha=0.9,
                  label=short_name(name, 30), clip_on=False)  # fmt: skip
    for angle, name, low, high in zip(angles, axes_names, lowest, highest, strict=True):
        side = math.cos(angle - np.pi / 2)
        axes.text(
            angle, 1.1, f"{short_name(name, 22)}\n{low:.3f} to {high:.3f}", fontsize=9,
            ha="left" if side > 0.1 else "right" if side < -0.1 else "center", va="center",
            color="black", linespacing=1.3,
        )  # fmt: skip
    figure.suptitle(title, fontsize=11, y=0.985)
    figure.legend(loc="lower center", ncols=3, fontsize=8, frameon=False,
                  bbox_to_anchor=(0.5, 0.4 / height))  # fmt: skip
    figure.text(0.5, 0.15 / height, remark, fontsize=8, color=GREY, ha="center")
    return figure


def _highest(column: np.ndarray, low: float) -> float:
    """The best value of an axis, above its lowest so that it has a length."""
    known = column[np.isfinite(column)]
    best = float(known.max()) if len(known) else low
    return best if best > low else low + 1e-6


def _draw_frame(axes: Axes, angles: np.ndarray) -> None:
    """Rings as polygons through the axes, and no circle."""
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["polar"].set_visible(False)
    closed = np.append(angles, angles[0])
    for ring in (0.0, *_RINGS):
        radius = _CENTRE + (1 - _CENTRE) * ring
        axes.plot(closed, np.full(len(closed), radius), color=LIGHT, lw=0.8, zorder=0)
    for angle in angles:
        axes.plot([angle, angle], [_CENTRE, 1], color=LIGHT, lw=0.8, zorder=0)
