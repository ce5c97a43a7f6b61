"""``python -m dataset_scripts.unlabelled --raw FOLDER --out FOLDER``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg.commands.shared_arguments import add_rename, parse_rename
from modeling_mteeg.model.mains_notch import parse_notch

from ..command import with_exit_code
from .excluded import Exclusions
from .known_sources import SOURCES
from .stretch_settings import DTYPES, UnlabelledSettings
from .stretch_writer import prepare_unlabelled


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dataset_scripts.unlabelled",
        description="Prepare unlabelled recordings for the neural tokenizer and pre-training.",
    )
    add = parser.add_argument
    add("--raw", type=Path, required=True, help="folder of recordings")
    add("--out", type=Path, required=True, help="the result")
    add("--source", choices=tuple(SOURCES), default="folder",
        help="the layout of a corpus of the paper; folder: anything that MNE reads")  # fmt: skip
    add("--subject", metavar="REGEX", help="one group that finds the subject in a path below "
        "--raw (default: sub-...)")  # fmt: skip
    add_rename(parser)
    add("--num-proc", type=int, default=1, help="processes, a recording each")
    add("--dtype", choices=DTYPES, default="int16")
    add("--max-patches", type=int, default=256, help="channels x seconds of a window")
    add("--max-seconds", type=int, default=16, help="longest window")
    add("--notch", default="50", metavar="HZ",
        help="mains frequency in Hz, several such as 50,60, or none (default: 50)")  # fmt: skip
    add("--exclude", action="append", default=[], metavar="LIST",
        help="recordings to leave out, made with python -m dataset_scripts.exclusions")  # fmt: skip
    add("--exclude-subjects", action="store_true",
        help="TUH: leave out every session of a subject in the lists")  # fmt: skip
    add("--without-tuh-lists", action="store_true",
        help="TUH: go on without lists of TUAB's and TUEV's test recordings")  # fmt: skip
    add("--strict", action="store_true", help="end at the first recording that is skipped")
    add("--overwrite", action="store_true", help="replace what --out holds")
    return parser.parse_args(arguments)


@with_exit_code
def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; returns the exit code."""
    options = parse(arguments)
    if options.num_proc < 1:
        raise ValueError(f"--num-proc: expected 1 or more, found {options.num_proc}.")
    notch_hz = parse_notch(options.notch)
    folder = prepare_unlabelled(
        options.raw,
        options.out,
        SOURCES[options.source](options.subject, parse_rename(options.rename)),
        UnlabelledSettings(options.max_patches, options.max_seconds, notch_hz, options.dtype),
        Exclusions.load(options.exclude, options.exclude_subjects, options.without_tuh_lists),
        options.num_proc,
        options.overwrite,
        strict=options.strict,
    )
    print(folder)


if __name__ == "__main__":
    raise SystemExit(main())
