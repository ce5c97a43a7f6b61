"""The overview of a prepared corpus as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from .overview import SHARES, Overview

_COLUMNS = 3
_MOST_DIFFERENT = 4
"""Channels that are named as those where two classes differ most."""


def overview_text(overview: Overview) -> str:
    """All numbers of an overview, for a terminal.

    Parameters
    ----------
    overview : Overview

    Returns
    -------
    str
        Lines of at most about 100 characters.
    """
    card = overview.card
    origin = "SIMULATED" if card.simulated else "recorded"
    return "\n".join(
        [
            f"{card.name}: {overview.folder}",
            f"  {origin}; {card.corpus}",
            f"  {len(overview.channels)} channels, windows of {card.window_s:g} s at "
            f"{card.rate_hz:g} Hz, {overview.card.filters}",
            f"  split hash {card.split_hash or 'none'}",
            "",
            *_split_table(overview),
            "",
            *_class_table(overview),
            "",
            "Absolute signal per channel in microvolt: median / 99 %",
            *_channel_table(overview),
            "",
            *_average_lines(overview),
            *_wrapped(overview.rule),
            "",
            *_remark_lines(overview.remarks),
        ]
    )


def _split_table(overview: Overview) -> list[str]:
    shares = [f"{100 * share:g} %" for share in SHARES]
    header = ["split", "windows", "hours", "recordings", "subjects", *shares, "highest"]
    rows = [
        [
            split.name, f"{sum(split.counts):,}", f"{split.hours:.2f}", str(split.recordings),
            str(split.subjects), *map(_microvolt, split.quantiles_uv), _microvolt(split.highest_uv),
        ]
        for split in overview.splits
    ]  # fmt: skip
    note = " " * 2 + "(quantiles and highest value of the absolute signal in microvolt)"
    return [*_table([header, *rows]), note]


def _class_table(overview: Overview) -> list[str]:
    header = ["class", *(split.name for split in overview.splits)]
    rows = []
    for index, label in enumerate(overview.card.labels):
        cells = [
            f"{split.counts[index]:,} ({split.counts[index] / max(1, sum(split.counts)):4.0%})"
            for split in overview.splits
        ]
        rows.append([label, *cells])
    return _table([header, *rows])


def _channel_table(overview: Overview) -> list[str]:
    """Channels in columns, read downwards."""
    median, high = SHARES.index(0.5), SHARES.index(0.99)
    width = max(map(len, overview.channels))
    cells = [
        f"{name:<{width}} {_microvolt(row[median]):>9} /{_microvolt(row[high]):>9}"
        for name, row in zip(overview.channels, overview.channel_quantiles_uv, strict=True)
    ]
    height = -(-len(cells) // _COLUMNS)
    return [f"  {'   '.join(cells[start::height])}" for start in range(height)]


def _average_lines(overview: Overview) -> list[str]:
    """Where two classes differ most at the cue; of more classes only how many were averaged."""
    averages = overview.averages
    if averages is None or not averages.counts:
        return []
    counts = ", ".join(f"{number:,} {label}" for label, number in averages.counts.items())
    lines = _wrapped(f"Class averages from the windows' start, over the windows read: {counts}")
    difference = averages.difference(overview.card.labels)
    if difference is None:
        return [*lines, ""]
    first, second = overview.card.labels
    values, errors = difference
    size = np.abs(values) / errors.clip(1e-12)  # in standard errors
    places = size.argmax(1)  # (channels,)
    channels = np.argsort(-size.max(1), kind="stable")[:_MOST_DIFFERENT]
    header = ["  most different", f"{second} less {first}, µV", "standard error", "at s"]
    rows = [
        [f"  {overview.channels[c]}", f"{values[c, places[c]]:+.3g}",
         f"{errors[c, places[c]]:.2g}", f"{places[c] / overview.card.rate_hz:.3f}"]
        for c in channels
    ]  # fmt: skip
    return [*lines, *_table([header, *rows]), ""]


def _remark_lines(remarks: Sequence[str]) -> list[str]:
    if not remarks:
        return ["Nothing odd: unit, channels and splits look plausible."]
    return ["Look at:", *(line for remark in remarks for line in _wrapped(f"- {remark}", "  "))]


def _microvolt(value: float) -> str:
    """Three digits, without an exponent where that is short."""
    if value and not 0.01 <= value < 1e6:
        return f"{value:.2e}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width; the first is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return lines


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, 98, initial_indent=indent, subsequent_indent=indent + "  ")
