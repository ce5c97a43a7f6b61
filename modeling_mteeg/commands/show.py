"""``mteeg show``: what a prepared corpus holds."""

from __future__ import annotations

import argparse

SUMMARY = "print what a prepared corpus holds and draw a window and the spectrum of every class"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
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
    parser.add_argument(
        "--averages", action=argparse.BooleanOptionalAction, default=None,
        help="average windows by class from their start, as at a cue (default: where the windows' "
        "onsets look like cues)",
    )  # fmt: skip
    parser.add_argument("--no-picture", action="store_true", help="print the text only")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..pictures.show_corpora import show

    show(args.folder, args.out, args.split, args.windows, picture=not args.no_picture,
         averages=args.averages)  # fmt: skip
