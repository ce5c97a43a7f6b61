"""The overview of a prepared corpus as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .overview import SHARES, Overview

_COLUMNS = 3


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
