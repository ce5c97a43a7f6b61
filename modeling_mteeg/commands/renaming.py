"""``--rename OLD=NEW``, of every command that reads a recording."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_rename(parser: argparse.ArgumentParser) -> None:
    """Declare the argument."""
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="take the recording's channel OLD for NEW, such as T7=T3; may be repeated",
    )


def parse_rename(pairs: Sequence[str]) -> dict[str, str]:
    """``OLD=NEW`` pairs as a mapping.

    Raises
    ------
    ValueError
        Something else than a pair, or a name that is renamed twice.
    """
    renamed: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (equals and old.strip() and new.strip()):
            raise ValueError(f"--rename: expected OLD=NEW, such as T7=T3, found {pair!r}.")
        if old.strip() in renamed:
            raise ValueError(f"--rename: expected {old.strip()} once, found it twice.")
        renamed[old.strip()] = new.strip()
    return renamed
