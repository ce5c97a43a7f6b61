"""The command line of a comparison."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..settings.command_line import CommandParser, Place, text_and_examples
from ..settings.config_file import read_overrides
from ..settings.vocabulary import OF_THE_DATA, add_option
from ..training.arguments import chosen_tasks, config_type


def comparison_parser(text: str, configs: Path) -> CommandParser:
    """The arguments; ``text`` is the recipe's docstring, ``configs`` has what is shipped."""
    description, examples = text_and_examples(text)
    parser = CommandParser(description=description, examples=examples)
    add = parser.add_argument
    add_option(parser, "--config", "or the name of a shipped one, such as comparison_paper "
        "(default: comparison_demo)", default=configs / "comparison_demo.yaml",
        type=config_type(configs))  # fmt: skip
    add_option(parser, "--out", "a folder, in place of the file's", dest="output",
        type=Place(folder=True))  # fmt: skip
    add_option(parser, "--data", "corpora, <data>/<task>/: a folder or URL")
    add_option(parser, "--base", "that rows start from, in place of common's")
    add_option(parser, "--task", f"in place of common's; {OF_THE_DATA}", nargs="+")
    add_option(parser, "--seeds", "of the final trainings, in place of common's")
    add_option(parser, "--set", "of common; what a row says itself stands")
    add_option(parser, "--only", metavar="ROW[,ROW]")
    add_option(parser, "--shard")
    add_option(parser, "--again", "rows: results of other data or settings, damaged files",
        metavar="ROW[,ROW]")  # fmt: skip
    add("--list", action="store_true", help="what there is to do, what is done, and the time")
    add_option(parser, "--show-table")
    parser.old_spelling("--table", "--show-table")
    add_option(parser, "--merge", "the output folders of other machines; and write the table")
    add("--add", action="append", default=[], metavar="FOLDER", type=Path,
        help="rows of another comparison's output folder beside these in the table")  # fmt: skip
    add_option(parser, "--quiet")
    return parser


def over_common(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments as dotted keys that are put over ``common``."""
    keys = read_overrides(args.set)
    if args.data is not None:
        keys |= {"data.folder": args.data, "data.simulate": False}
    if args.base is not None:
        keys |= {"model.base": args.base, "model.preset": None}
    if args.task is not None:
        keys["data.tasks"] = chosen_tasks(args, keys, "common")
    if args.seeds is not None:
        keys["seeds"] = args.seeds
    return keys
