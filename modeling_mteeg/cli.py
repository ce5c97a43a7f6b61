"""The ``mteeg`` command. Subcommands import what they need when they run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NamedTuple


class Command(NamedTuple):
    """A subcommand: what it does in a line, its arguments, and what runs it."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="published .pth, bare state dict or safetensors file")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the model in FOLDER, where it has one"
    )
    parser.add_argument(
        "--prefix", help="start of the encoder's keys, where the checkpoint holds several encoders"
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out keys that match this shell pattern; may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="print counts and notes only")


def _convert(args: argparse.Namespace) -> None:
    from .conversion import ConversionError, convert_checkpoint

    try:
        report = convert_checkpoint(
            args.checkpoint, args.out, args.overwrite, prefix=args.prefix, drop=args.drop
        )
    except ConversionError as error:
        if error.report is not None and not args.quiet:
            print(error.report.table())
        raise
    if not args.quiet:
        print(report.table())
    print(report.summary())
    print(f"saved {args.out}")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="a prepared corpus, or a folder of several")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="picture (.png, .pdf, .svg); of several corpora: a folder (default: <task>.png here)",
    )
    parser.add_argument(
        "--split",
        action="append",
        choices=("train", "validation", "test"),
        help="look at this split only; may be repeated",
    )
    parser.add_argument(
        "--windows", type=int, metavar="N", help="windows to read of every class and split"
    )
    parser.add_argument("--no-picture", action="store_true", help="print the text only")


def _show(args: argparse.Namespace) -> None:
    from .inspection.show import show

    show(args.folder, args.out, args.split, args.windows, picture=not args.no_picture)


COMMANDS: dict[str, Command] = {
    "convert": Command(
        "turn published LaBraM weights, or braindecode's, into a folder for from_pretrained",
        _convert_arguments,
        _convert,
    ),
    "show": Command(
        "print what a prepared corpus holds and draw a window and the spectrum of every class",
        _show_arguments,
        _show,
    ),
}
"""Subcommands by name; a new one is a row here."""


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
        sub = subparsers.add_parser(name, help=command.summary, description=command.summary)
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
