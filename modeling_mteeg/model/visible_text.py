"""Texts of foreign files in messages: control characters shown as text, long lists shortened."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_NAMES = 64
"""Plain names of channels in one message: a usual cap."""
MOST_REASONS = 8
"""Channels in one message that each come with a reason."""
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"  # C0, DEL, C1, bidi
)


def visible(text: str) -> str:
    r"""``text`` with control characters as ``\x1b`` and the like; tab and newline stay.

    Also the characters that turn the direction of writing, and what no encoding can hold: bytes of
    a file name that are no UTF-8.
    """
    return _CONTROL.sub(_named, text)


def _named(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def listed(shown: Sequence[str], most: int = 5) -> str:
    """The first few of many, and how many more there are."""
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


class PlainError(ValueError):
    """An error about a foreign file or signal, whose message is :func:`visible`."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*(visible(part) if isinstance(part, str) else part for part in parts))
