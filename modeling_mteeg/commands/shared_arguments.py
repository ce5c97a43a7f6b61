"""Arguments that several commands have: the base, and how a recording is read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def add_base(parser: argparse.ArgumentParser) -> None:
    """Declare ``--base`` and how it is fetched, and ``--overwrite``."""
    add = parser.add_argument
    add("--base", required=True, help="folder or Hub id of the base")
    add("--revision", help="revision of the base on the Hub")
    add("--token", help="token for private repositories (default: the one you logged in with)")
    add("--overwrite", action="store_true", help="replace files that are there")


def add_rename(parser: argparse.ArgumentParser) -> None:
    """Declare ``--rename OLD=NEW``."""
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="take the recording's channel OLD for NEW, such as T7=T3; may be repeated",
    )


def add_interpolate(parser: argparse.ArgumentParser) -> None:
    """Declare ``--interpolate [MONTAGE]``."""
    parser.add_argument(
        "--interpolate",
        nargs="?",
        const=True,
        default=False,
        metavar="MONTAGE",
        help="make the electrodes that a task needs and the recording lacks from the others, by "
        "the positions in its file, or by those of a standard montage of MNE, such as "
        "GSN-HydroCel-128",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Declare how a recording is read, where it is computed, and ``--quiet``."""
    add = parser.add_argument
    add("--allow-missing", type=int, metavar="N", help="go on where up to N of a task's channels "
        "are missing (default: what its card allows)")  # fmt: skip
    add_rename(parser)
    add("--unit", choices=("uV", "mV", "V"), help="unit that the file's numbers really have")
    add_interpolate(parser)
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    add("--quiet", action="store_true", help="no progress bar (in a file there is none)")


def shows_progress(args: argparse.Namespace) -> bool:
    """Whether a bar is shown: in a terminal, unless ``--quiet`` was given."""
    return not args.quiet and sys.stderr.isatty()


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
