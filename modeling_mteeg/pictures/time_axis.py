"""Axes over a recording's time: seconds in the data, a readable unit and the clock on the axis."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

from .style import GREY

_STEPS_S = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600,
    43200, 86400,
)  # fmt: skip
_UNITS = ((180.0, 1.0, "s"), (2 * 3600.0, 60.0, "min"), (math.inf, 3600.0, "h"))
_MOST_TICKS = 11


def set_time_axes(
    stack: Sequence[Axes], length_s: float, started: datetime.datetime | None = None
) -> None:
    """Give axes that lie above one another the recording's time.

    Parameters
    ----------
    stack : sequence of Axes
        From top to bottom; ticks are labelled below the last, clock times above the first.
    length_s : float
        Length of the recording, the limit of all axes.
    started : datetime.datetime, optional
        When it began; without it there is no clock.
    """
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    seconds, unit = next((s, name) for longest, s, name in _UNITS if length_s <= longest)
    step = _step(length_s)
    for axes in stack:
        axes.set_xlim(0, length_s)
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.tick_params(axis="x", labelsize=8, labelbottom=axes is stack[-1])
    last = stack[-1]
    last.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / seconds:g}"))
    last.set_xlabel(f"time from the start of the recording ({unit})", fontsize=8)
    if started is not None:
        _draw_clock(stack[0], length_s, started, step)


def clock_ticks(
    length_s: float, started: datetime.datetime, step_s: float
) -> tuple[list[float], list[str]]:
    """Seconds from the start at which the clock is round, and what it shows then."""
    midnight = started.replace(hour=0, minute=0, second=0, microsecond=0)
    first_s = (started - midnight).total_seconds()
    places, names = [], []
    for number in range(math.ceil(first_s / step_s), math.floor((first_s + length_s) / step_s) + 1):
        time = midnight + datetime.timedelta(seconds=number * step_s)
        places.append(number * step_s - first_s)
        fraction = f".{time.microsecond // 100_000}" if step_s < 1 else ""
        names.append(f"{time:%H:%M}" if step_s >= 60 else f"{time:%H:%M:%S}{fraction}")
    return places, names


def elapsed(seconds: float, whole: bool = True) -> str:
    """``65`` as ``1:05``, ``3665`` as ``1:01:05``; with ``whole=False`` to a tenth of a second."""
    rounded = round(seconds) if whole else round(seconds, 1)
    minutes, rest = divmod(rounded, 60)
    hours, minutes = divmod(int(minutes), 60)
    last = f"{rest:02.0f}" if whole or rest == int(rest) else f"{rest:04.1f}"
    return f"{hours}:{minutes:02d}:{last}" if hours else f"{minutes}:{last}"


def duration(seconds: float) -> str:
    """``30 s``, ``2.5 min`` or ``1 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{seconds / 60:.3g} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def _step(length_s: float) -> float:
    days = 86400.0 * math.ceil(length_s / 86400.0 / _MOST_TICKS)
    return next((step for step in _STEPS_S if length_s / step <= _MOST_TICKS), days)


def _draw_clock(axes: Axes, length_s: float, started: datetime.datetime, step_s: float) -> None:
    step = step_s if step_s >= 1 else 1.0
    places, names = clock_ticks(length_s, started, step)
    clock = axes.secondary_xaxis("top")
    clock.set_xticks(places, names)
    clock.tick_params(labelsize=7, labelcolor=GREY, color=GREY, length=2)
    clock.spines["top"].set_visible(False)
    clock.set_xlabel(f"clock time, from {started:%Y-%m-%d %H:%M:%S}", fontsize=7, color=GREY)
