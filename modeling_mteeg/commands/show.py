"""``mteeg show``: what a prepared corpus holds."""

from __future__ import annotations

import argparse

from ..settings.command_line import ALL, CommandParser, Place
from ..settings.vocabulary import add_option
from .shared_arguments import PICTURES

SUMMARY = "print what a prepared corpus holds and draw a window and the spectrum of every class"
EXAMPLES = ("mteeg show data/sleep-edf --out sleep-edf.png",)
PRINTS = True


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", help="a prepared corpus, or a folder of several")
    place = Place(*PICTURES, folder=True, any_case=True)
    add_option(parser, "--out", "a picture (.png, .pdf, .svg); of several corpora: a folder "
        "(default: <task>.png here)", type=place)  # fmt: skip
    add_option(parser, "--on", "(default: all)")
    parser.old_spelling("--split", "--on")
    add_option(parser, "--windows", "to read of every class and split")
    parser.add_argument(
        "--averages", action=argparse.BooleanOptionalAction, default=None,
        help="average windows by class from their start, as at a cue (default: where the windows' "
        "onsets look like cues)",
    )  # fmt: skip
    parser.add_argument("--no-picture", action="store_true", help="print the text only")
    add_option(parser, "--overwrite")
    add_option(parser, "--quiet", "and the text")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..pictures.show_corpora import show

    splits = None if args.on == [ALL] else args.on
    show(args.folder, args.out, splits, args.windows, picture=not args.no_picture,
         averages=args.averages, overwrite=args.overwrite, quiet=args.quiet)  # fmt: skip
