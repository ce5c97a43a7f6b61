"""Values of channels on the head, seen from above, and as bars."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .page_picture import CAPTION, halo, keep_colour
from .style import (
    GREY,
    bare_rows,
    check_picture_name,
    figure_class,
    plain_text,
    save_figure,
    short_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure, SubFigure

    from ..explanation.attribution import ChannelAttribution

HEIGHT_IN = 4.0
WIDTH_IN = 9.6
_SURFACE = 10
_BARS = 16
_HEAD = 1.0
_EDGE = 1.1
_RING = ("FPZ", "T7", "OZ", "T8")


def save_scalp(attribution: ChannelAttribution, path: str | Path) -> Path:
    """Draw an attribution into a file (``.png``, ``.pdf`` or ``.svg``); see :func:`draw_scalp`."""
    check_picture_name(path)
    return save_figure(draw_scalp(attribution), path)


def draw_scalp(attribution: ChannelAttribution) -> Figure:
    """A head with the values of its channels, and the largest of them as bars.

    Parameters
    ----------
    attribution : ChannelAttribution

    Notes
    -----
    Electrodes lie where MNE's ``colin27_1005`` montage has them (``standard_1005`` in older
    releases), projected so that the circle is about the ring FPZ-T7-OZ-T8. Ten or more electrodes
    become a surface (thin-plate spline) where an electrode is near, and discs beyond the head;
    fewer become discs, since nothing is known between them. A bipolar channel is a coloured line
    from electrode to electrode: its value belongs to neither alone. A scale beside the head says
    what its colours are.
    Channels without a known place are named below the head and marked among the bars.
    """
    figure = figure_class()(figsize=(WIDTH_IN, HEIGHT_IN + 0.3), layout="constrained")
    top, part, foot = figure.subfigures(3, 1, height_ratios=[0.42, HEIGHT_IN, 0.2])
    x = 0.12 / WIDTH_IN
    simulated = " (trained on SIMULATED data)" if attribution.simulated else ""
    name = short_name(Path(attribution.recording).name, 36)
    where = f" on {name}" if name else ""
    top.text(x, 0.85, f"{attribution.task}{simulated}{where}", fontsize=11, fontweight="bold",
             va="top")  # fmt: skip
    foot.text(x, 0.9, "What the model relies on, not a cause. Research software; not a medical "
              "device.", fontsize=7, color=GREY, va="top")  # fmt: skip
    draw_scalp_panels(part, attribution)
    return figure


def draw_scalp_panels(part: SubFigure | Figure, attribution: ChannelAttribution) -> None:
    """Head and bars into a part of a figure; see :func:`draw_scalp`."""
    head, bars = part.subplots(1, 2, width_ratios=[1.15, 1])
    colours = _colours(attribution)
    draw_head(head, attribution, colours)
    _draw_bars(bars, attribution, colours)
    scale = part.colorbar(colours, ax=head, location="left", shrink=0.7, aspect=25, pad=0.02)
    scale.set_label(_short_unit(attribution), fontsize=7)
    scale.ax.tick_params(labelsize=7)
    scale.outline.set_linewidth(0.5)


def positions(names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Places of electrodes on the head seen from above, nose up; unknown ones are left out.

    Parameters
    ----------
    names : tuple of str
        Single electrodes, in any case.

    Returns
    -------
    dict
        Name to (x, y); 1 is the radius of the head.
    """
    known = _montage()
    return {name: known[name.upper()] for name in names if name.upper() in known}


def _located(
    channels: Sequence[str],
) -> tuple[list[tuple[str, ...]], dict[str, tuple[float, float]], list[bool]]:
    """Electrodes of every channel, the places of those that have one, and whether all have one."""
    pairs = [tuple(name.split("-")) for name in channels]
    place = positions(tuple({half for pair in pairs for half in pair}))
    return pairs, place, [all(half in place for half in pair) for pair in pairs]


@functools.cache
def _montage() -> dict[str, tuple[float, float]]:
    import mne

    places = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    upper = {name.upper(): np.asarray(place) for name, place in places.items()}
    points = np.stack([place for place in upper.values() if place[2] > upper["T7"][2]])
    # |p|^2 = 2 p.centre + (r^2 - |centre|^2): the sphere through the electrodes of the upper head.
    system = np.column_stack([2 * points, np.ones(len(points))])
    centre = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0][:3]

    def angle(place: np.ndarray) -> float:
        x, y, z = place - centre
        return float(np.arctan2(np.hypot(x, y), z))

    ring = np.mean([angle(upper[name]) for name in _RING])
    out = {}
    for name, place in upper.items():
        x, y, _ = place - centre
        radius = angle(place) / ring / max(np.hypot(x, y), 1e-9)
        out[name] = (float(x * radius), float(y * radius))
    return out


def _colours(attribution: ChannelAttribution) -> ScalarMappable:
    """Colours of values: about zero where they have a sign."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    top = float(np.max(np.abs(attribution.values), initial=0.0)) or 1.0
    least, name = (-top, "RdBu_r") if attribution.signed else (0, "viridis")
    return ScalarMappable(Normalize(least, top), name)


def draw_head(axes: Axes, attribution: ChannelAttribution, colours: ScalarMappable) -> None:
    """Outline, and the channels in it."""
    pairs, place, located = _located(attribution.channels)
    values = attribution.values
    single = [i for i, pair in enumerate(pairs) if located[i] and len(pair) == 1]
    double = [i for i, pair in enumerate(pairs) if located[i] and len(pair) == 2]
    spots = np.array([place[pairs[i][0]] for i in single]).reshape(-1, 2)
    _draw_outline(axes)
    if len(single) >= _SURFACE:
        _draw_surface(axes, spots, values[single], colours)
        axes.plot(*spots.T, "o", color="black", ms=2.2, zorder=4)
        beyond = np.hypot(*spots.T) > _EDGE
        _draw_discs(axes, spots[beyond], values[single][beyond], 60, colours)
    elif single:
        _draw_discs(axes, spots, values[single], 420, colours)
    for i in double:
        ends = np.array([place[half] for half in pairs[i]])
        for colour, width, order in (("#777777", 8.5, 3), (colours.to_rgba(values[i]), 7, 3.5)):
            (line,) = axes.plot(*ends.T, color=colour, lw=width, solid_capstyle="round",
                                zorder=order)  # fmt: skip
            keep_colour(line)
    ends = sorted({half for i in double for half in pairs[i]})
    if ends:
        axes.plot(*np.array([place[name] for name in ends]).T, "o", color="black", ms=2.5, zorder=5)
    _write_names(axes, {pairs[i][0]: place[pairs[i][0]] for i in single}, len(single) >= _SURFACE)
    for name in ends:
        x, y = place[name]
        away = np.array([x, y]) / np.hypot(x, y) if abs(x) > 0.05 else np.array([1.0, 0.0])
        _write_name(axes, name, (x, y), tuple(8 * away), 7.0)
    reach = max((np.hypot(*place[half]) for pair in pairs for half in pair if half in place),
                default=1.0)  # fmt: skip
    axes.set_xlim(-max(1.25, reach + 0.12), max(1.25, reach + 0.12))
    axes.set_ylim(-max(1.15, reach + 0.05), max(1.2, reach + 0.12))
    lost = [name for name, known in zip(attribution.channels, located, strict=True) if not known]
    _write_below(axes, attribution, lost)


def _draw_discs(
    axes: Axes, spots: np.ndarray, values: np.ndarray, size: float, colours: ScalarMappable
) -> None:
    axes.scatter(*spots.T, c=values, s=size, cmap=colours.cmap, norm=colours.norm,
                 edgecolors="black", linewidths=0.8, zorder=4)  # fmt: skip


def _write_names(axes: Axes, place: dict[str, tuple[float, float]], dots: bool) -> None:
    """Names of single electrodes, over their dots or discs."""
    size = (5.0 if len(place) > 40 else 6.0) if dots else 7.0
    for name, spot in place.items():
        _write_name(axes, name, spot, (0, 6 if dots else 17), size)


def _write_name(
    axes: Axes, name: str, spot: tuple[float, float], offset: tuple[float, float], size: float
) -> None:
    x = offset[0]
    axes.annotate(
        name, spot, offset, textcoords="offset points", va="center", fontsize=size, zorder=6,
        ha="center" if abs(x) < 2 else "right" if x < 0 else "left",
        path_effects=[halo(1.6)],
    )  # fmt: skip


def _draw_outline(axes: Axes) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((0, 0), _HEAD, fill=False, lw=1.2, zorder=2))
    axes.plot([-0.12, 0, 0.12], [0.992, 1.13, 0.992], color="black", lw=1.2, zorder=2)
    ear = np.array(
        [(0.995, 0.14), (1.05, 0.17), (1.08, 0.06), (1.06, -0.1), (1.03, -0.17), (0.985, -0.15)]
    )
    for side in (1, -1):
        axes.plot(side * ear[:, 0], ear[:, 1], color="black", lw=1.2, zorder=2)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _draw_surface(
    axes: Axes, spots: np.ndarray, values: np.ndarray, colours: ScalarMappable
) -> None:
    """A thin-plate spline through the values, where an electrode is near."""
    from scipy.interpolate import RBFInterpolator
    from scipy.spatial import cKDTree

    line = np.linspace(-_EDGE, _EDGE, 400)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    spline = RBFInterpolator(spots, values, kernel="thin_plate_spline", smoothing=1e-6)
    surface = spline(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    tree = cKDTree(spots)
    gaps = tree.query(spots, k=2)[0][:, 1]
    far = tree.query(grid.reshape(-1, 2))[0].reshape(grid.shape[:2])
    outside = np.hypot(grid[..., 0], grid[..., 1]) > _EDGE
    hidden = outside | (far > max(0.4, 1.5 * float(np.median(gaps))))
    axes.pcolormesh(line, line, np.ma.masked_array(surface, hidden), cmap=colours.cmap,
                    norm=colours.norm, rasterized=True, zorder=1)  # fmt: skip


def _write_below(axes: Axes, attribution: ChannelAttribution, lost: list[str]) -> None:
    lines = [f"{len(lost)} without a place on the head: {_some(lost)}"] if lost else []
    lines.append(attribution.where())
    if attribution.labelled is not None:
        lines.append(plain_text(str(attribution.labelled)))
    axes.text(0.5, -0.01, "\n".join(lines), transform=axes.transAxes, ha="center", va="top",
              fontsize=7, color=GREY, gid=CAPTION)  # fmt: skip


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(plain_text(name) for name in names[:most]) + more


def _draw_bars(axes: Axes, attribution: ChannelAttribution, colours: ScalarMappable) -> None:
    """The largest values, sorted, in the colours of the head."""
    order = attribution.order()[:_BARS]
    values = attribution.values[order]
    _, _, located = _located(attribution.channels)
    names = [attribution.channels[i] + ("" if located[i] else " †") for i in order]
    rows = -np.arange(len(order))
    bars = axes.barh(rows, values, color=colours.to_rgba(values), height=0.75,
                     edgecolor="#777777", lw=0.5)  # fmt: skip
    for bar in bars:
        keep_colour(bar)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(rows, [plain_text(name) for name in names])
    spare = max(0, 9 - len(order)) / 2
    axes.set_ylim(0.4 - len(order) - spare, 0.6 + spare)
    bare_rows(axes)
    count = len(attribution.channels)
    label = short_name(attribution.label, 24)
    title = f"for {label}" if label else "attention"
    if len(order) < count:
        title += f": the {len(order)} largest of {count} channels"
    axes.set_title(title, fontsize=9, fontweight="bold", loc="left")
    off_head = "\n† not on the head" if any("†" in name for name in names) else ""
    axes.set_xlabel(f"{_short_unit(attribution)}{off_head}", fontsize=7)


def _short_unit(attribution: ChannelAttribution) -> str:
    """The unit of the values, for bars and colours."""
    label = short_name(attribution.label, 24)
    return dataclasses.replace(attribution, label=label).unit
