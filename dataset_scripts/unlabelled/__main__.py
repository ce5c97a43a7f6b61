"""``python -m dataset_scripts.unlabelled --raw FOLDER --out FOLDER``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg._clone import as_typed
from modeling_mteeg._ending import hush
from modeling_mteeg.commands.shared_arguments import add_rename, parse_rename
from modeling_mteeg.dataset_scripts.command import with_exit_code
from modeling_mteeg.dataset_scripts.unlabelled.excluded import Exclusions
from modeling_mteeg.dataset_scripts.unlabelled.known_sources import SOURCES
from modeling_mteeg.dataset_scripts.unlabelled.stretch_settings import DTYPES, UnlabelledSettings
from modeling_mteeg.dataset_scripts.unlabelled.stretch_writer import prepare_unlabelled
from modeling_mteeg.model.mains_notch import parse_notch
from modeling_mteeg.settings.command_line import CommandParser, Place
from modeling_mteeg.settings.vocabulary import add_option


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m dataset_scripts.unlabelled",
        description="Prepare unlabelled recordings for the neural tokenizer and pre-training.",
        examples=("python -m dataset_scripts.unlabelled --raw RECORDINGS --out unlabelled",),
    )
    add = parser.add_argument
    add_option(parser, "--raw", required=True)
    add_option(parser, "--out", "prepared windows: a folder", required=True,
        type=Place(folder=True, kind=Path))  # fmt: skip
    add("--source", choices=tuple(SOURCES), default="folder",
        help="the layout of a corpus of the paper; folder: anything that MNE reads")  # fmt: skip
    add_option(parser, "--subject-from", "one group that finds the subject in a path below --raw "
        "(default: sub-...)", dest="subject", metavar="REGEX")  # fmt: skip
    parser.old_spelling("--subject", "--subject-from")
    add_rename(parser)
    add_option(parser, "--num-proc", "that prepare, a recording each (default: 1)", default=1)
    add_option(parser, "--dtype", "(default: int16)", choices=DTYPES)
    add("--max-patches", type=int, default=256, help="channels x seconds of a window")
    add("--max-seconds", type=int, default=16, help="longest window")
    add_option(parser, "--notch", "or none (default: 50)", default="50")
    add("--exclude", action="append", default=[], metavar="LIST",
        help="recordings to leave out, made with "
        + as_typed("python -m dataset_scripts.exclusions"))  # fmt: skip
    add("--exclude-subjects", action="store_true",
        help="TUH: leave out every session of a subject in the lists")  # fmt: skip
    add("--without-tuh-lists", action="store_true",
        help="TUH: go on without lists of TUAB's and TUEV's test recordings")  # fmt: skip
    add("--strict", action="store_true", help="end at the first recording that is skipped")
    add_option(parser, "--overwrite", "what --out holds")
    add_option(parser, "--quiet")
    return parser


@with_exit_code
def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; returns the exit code."""
    options = build_parser().parse_args(arguments)
    hush(options.quiet)
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
