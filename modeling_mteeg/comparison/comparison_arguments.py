"""The command line of a comparison."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..settings.config_file import read_overrides


def comparison_parser(text: str, configs: Path) -> argparse.ArgumentParser:
    """The arguments; ``configs`` holds the shipped configurations."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", default=configs / "comparison_demo.yaml", type=Path)
    add("--output", help="folder of the comparison, in place of the file's")
    add("--data", help="prepared corpora, <data>/<task>/: a folder or URL")
    add("--base", help="folder or Hub id of the base that rows start from, in place of common's")
    add("--tasks", help="tasks of the comparison, separated by commas, in place of common's")
    add("--seeds", help="final seeds, separated by commas, in place of common's")
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any key of common; what a row says itself stands")  # fmt: skip
    add("--only", metavar="ROW[,ROW]", help="these rows alone")
    add("--shard", metavar="I/N", help="this share of the trainings, such as 1/4")
    add("--again", metavar="ROW[,ROW]", help="let these rows begin anew and replace what they "
        "left: results of other data or settings, damaged files")  # fmt: skip
    add("--list", action="store_true", help="what there is to do, what is done, and the time")
    add("--table", action="store_true", help="the table of what there is; nothing is trained")
    add("--merge", nargs="*", metavar="FOLDER", help="take in what lies in the output folders of "
        "other machines, and write the table")  # fmt: skip
    add("--add", action="append", default=[], metavar="FOLDER", type=Path,
        help="rows of another comparison's output folder beside these in the table")  # fmt: skip
    return parser


def over_common(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments as dotted keys that are put over ``common``."""
    keys = read_overrides(args.set)
    if args.data is not None:
        keys |= {"data.folder": args.data, "data.simulate": False}
    if args.base is not None:
        keys |= {"model.base": args.base, "model.preset": None}
    if args.tasks is not None:
        keys["data.tasks"] = args.tasks.split(",")
    if args.seeds is not None:
        keys["seeds"] = [int(part) if part.isdecimal() else part for part in args.seeds.split(",")]
    return keys


def words(text: str | None) -> list[str]:
    """Names separated by commas."""
    return [part.strip() for part in text.split(",")] if text else []
