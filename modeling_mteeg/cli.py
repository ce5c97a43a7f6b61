"""The ``mteeg`` command; its subcommands are in :mod:`modeling_mteeg.commands`.

Help, usage errors and completion import nothing heavy: the console script enters by
``mteeg_command``, which puts off what ``import modeling_mteeg`` does until a subcommand begins.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ._ending import ended, hush
from ._version import __version__
from .commands import COMMANDS
from .settings.command_line import CommandParser


def build_parser() -> CommandParser:
    """The parser of the whole command line, one subparser for every row of ``COMMANDS``.

    A subparser declares its arguments when it is used, or :meth:`~CommandParser.filled`.
    """
    parser = CommandParser(
        prog="mteeg",
        description="One pre-trained EEG model, one adapter and head per task.",
        epilog="mteeg COMMAND --help says more; docs/commands.md has what holds for all of them.",
        examples=("mteeg predict night.edf --base BASE --task sleep-edf --out events.tsv",),
    )
    parser.add_argument("--version", action="version", version=f"mteeg {__version__}")
    parser.add_argument(
        "--debug", action="store_true", help="show the full traceback of an error (before COMMAND)"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparsers.add_parser(
            name,
            help=command.SUMMARY,
            description=command.SUMMARY,
            examples=command.EXAMPLES,
            fill=command.add_arguments,
        )
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
        ``--debug`` was given; 1 where a disk was full or read-only; 130 after Ctrl-C, 143 after
        SIGTERM. Errors of any other kind are faults of the program and propagate.
    """
    return ended(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    args.parser = parser
    args.words = list(sys.argv[1:] if argv is None else argv)  # what was typed, for records
    command = COMMANDS[args.command]
    if not getattr(command, "LIGHT", False):
        _run_init()
    if hasattr(args, "base") and not sys.stderr.isatty():
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of loading weights: in a file it is noise
    errors = () if args.debug else (OSError, ValueError)
    kept = getattr(command, "KEPT", "")
    return ended(lambda: _quietly(command, args), kept, f"mteeg {args.command}", errors, code=2)


def _quietly(command: Any, args: argparse.Namespace) -> int | None:
    """Run a command as ``--quiet`` says; ``PRINTS``: what it prints is what was asked for."""
    prints = getattr(command, "PRINTS", False)
    hush(getattr(args, "quiet", False), printed=prints(args) if callable(prints) else prints)
    return command.run(args)


def _run_init() -> None:
    """Run the package's ``__init__`` where the console script has put it off."""
    package = sys.modules[__package__]
    if not hasattr(package, "__all__"):
        package.__spec__.loader.exec_module(package)


if __name__ == "__main__":
    sys.exit(main())
