"""The ``mteeg`` command; its subcommands are in :mod:`modeling_mteeg.commands`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .commands import COMMANDS


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, one subparser for every row of ``COMMANDS``."""
    parser = argparse.ArgumentParser(
        prog="mteeg", description="One pre-trained EEG model, one adapter and head per task."
    )
    parser.add_argument("--version", action="version", version=f"mteeg {version('modeling-mteeg')}")
    parser.add_argument(
        "--debug", action="store_true", help="show the full traceback of an error (before COMMAND)"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        command.add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        0, or 2 where the input was wrong: the message is on stderr, without a traceback unless
        ``--debug`` was given. Errors of any other kind are faults of the program and propagate.
    """
    args = build_parser().parse_args(argv)
    args.words = list(sys.argv[1:] if argv is None else argv)  # what was typed, for records
    if hasattr(args, "base") and not sys.stderr.isatty():
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of loading weights: in a file it is noise
    try:
        COMMANDS[args.command].run(args)
    except (OSError, ValueError) as error:
        if args.debug:
            raise
        print(f"mteeg {args.command}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
