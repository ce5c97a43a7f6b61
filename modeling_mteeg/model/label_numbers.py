"""Numbers in files of labels: of a length that anybody writes, finite, and within what can be.

Python reads a number of 5,000 digits as infinite, or not at all; nobody means such a number.
"""

from __future__ import annotations

import math

MOST_S = 1e9
"""Thirty years: no recording is longer."""
_LONGEST = 40


def seconds_of(text: str) -> float:
    """A time or a duration in seconds.

    Raises
    ------
    ValueError
        No finite number, or one beyond :data:`MOST_S`.
    """
    value = number_of(text)
    if not abs(value) <= MOST_S:
        raise ValueError(f"expected seconds of a recording, found {shown(text)}")
    return value


def whole_of(text: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``; ``5.0`` is one, ``5.9`` is not.

    Raises
    ------
    ValueError
    """
    value = number_of(text)
    if not (low <= value <= high and value.is_integer()):
        raise ValueError(f"expected a whole number from {low} to {high}, found {shown(text)}")
    return int(value)


def number_of(text: str) -> float:
    """A finite number.

    Raises
    ------
    ValueError
    """
    text = text.strip()
    try:
        value = float(text) if len(text) <= _LONGEST else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number, found {shown(text)}")
    return value


def shown(text: str) -> str:
    """Text of a file for a message: quoted, and not longer than a line."""
    return repr(text) if len(text) <= _LONGEST else f"{text[:20]!r}... ({len(text)} characters)"
