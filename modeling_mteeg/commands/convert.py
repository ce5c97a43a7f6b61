"""``mteeg convert``: published weights to a base folder, and a base to a model of braindecode."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..settings.command_line import CommandParser, Place
from ..settings.vocabulary import add_option
from .shared_arguments import task_of

if TYPE_CHECKING:
    from ..conversion import ConversionReport

SUMMARY = (
    "turn published LaBraM weights, or braindecode's, into a folder for from_pretrained; or a base "
    "into a model of braindecode"
)
EXAMPLES = (
    "mteeg convert labram-base.pth --out labram-base",
    "mteeg convert BASE --to braindecode --task tuab --out tuab-braindecode",
)
KEPT = "of a download what came is kept; a folder is made whole or not at all"
KINDS = ("auto", "base", "pretraining", "tokenizer")
"""As of :mod:`modeling_mteeg.conversion`, which imports torch."""
TO = ("mteeg", "braindecode")
_ONE_WAY = {
    "mteeg": ("file", "sha256", "prefix", "drop", "kind", "heads"),
    "braindecode": ("task", "window", "stand_ins", "check"),
}
"""Options that serve for one direction only."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="SOURCE",
        help="published .pth, bare state dict or safetensors file; owner/repo on the Hub, such as "
        "braindecode/labram-pretrained; an http(s) address. With --to braindecode: a base, folder "
        "or Hub id",
    )
    add_option(parser, "--out", "a folder", required=True, type=Place(folder=True))
    add("--to", default="mteeg", choices=TO, help="what to make (default: mteeg, a base)")
    add_option(parser, "--overwrite", "a model in that folder")
    add_option(parser, "--revision", "of SOURCE")
    add_option(parser, "--token")
    add_option(parser, "--quiet")
    group = parser.add_argument_group("published weights to a base")
    add = group.add_argument
    add("--file", metavar="PATH", help="file in the repository on the Hub (default: its weights)")
    add("--sha256", metavar="HEX", help="SHA-256 that the file must have")
    add("--prefix", help="start of the encoder's keys, where the checkpoint holds several encoders")
    add(
        "--drop",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out keys that match this shell pattern; may be repeated",
    )
    add(
        "--kind",
        default="auto",
        choices=KINDS,
        help="what to make: a base for tuning, the whole model of masked pre-training, or a neural "
        "tokenizer (default: a tokenizer where the file holds one, else a base)",
    )
    add("--heads", type=int, help="attention heads of a tokenizer, whose weights do not tell")
    group = parser.add_argument_group("a base to braindecode")
    add = group.add_argument
    add_option(
        group, "--task", "which to merge: one beside the base, a folder, owner/repo", one=True
    )
    add_option(group, "--window", "(default: the task's; 15 s for a base)")
    add("--stand-ins", action="store_true",
        help="write derivations that braindecode has no name for under electrodes' names that the "
        "task does not use")  # fmt: skip
    add("--check", action="store_true", help="load the result with braindecode and compare")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from ..conversion import ConversionError
    from ..hub.reaching import reach_hub

    check_direction(args)
    reach_hub(args.checkpoint, args.task)
    if args.quiet or not sys.stderr.isatty():
        _without_bars()
    try:
        report = _to_braindecode(args) if args.to == "braindecode" else _to_base(args)
    except ConversionError as error:
        if error.report is not None:
            print(error.report.table())
        raise
    print(report.table())
    print(report.summary())
    print(f"saved {args.out}")


def check_direction(args: argparse.Namespace) -> None:
    """Raise where an option of the other direction was given."""
    other = TO[1 - TO.index(args.to)]
    given = ["--" + name.replace("_", "-") for name in _ONE_WAY[other]
             if getattr(args, name) not in (None, False, [], "auto")]  # fmt: skip
    if given:
        way = "with --to braindecode" if other == "braindecode" else "without --to braindecode"
        raise ValueError(f"expected {', '.join(given)} {way} only.")


def _without_bars() -> None:
    import huggingface_hub.utils
    import transformers.utils.logging

    huggingface_hub.utils.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def _to_base(args: argparse.Namespace) -> ConversionReport:
    from ..conversion import convert_checkpoint
    from ..conversion.checkpoint_source import is_remote

    names = ("revision", "file", "token", "sha256", "prefix", "drop", "kind", "heads")
    options = {name: getattr(args, name) for name in names}
    if is_remote(args.checkpoint):
        print(f"looking for {args.checkpoint} ...", file=sys.stderr)
    report = convert_checkpoint(args.checkpoint, args.out, args.overwrite, **options)
    print(report.origin())
    return report


def _task(args: argparse.Namespace) -> str:
    """The task to merge; ``all`` where there is one."""
    return task_of(argparse.Namespace(**{**vars(args), "base": args.checkpoint}))


def _to_braindecode(args: argparse.Namespace) -> ConversionReport:
    from ..conversion import write_braindecode
    from ..prediction.task_loading import load_tasks

    tasks = [_task(args)] if args.task else []
    model, names = load_tasks(
        args.checkpoint, tasks, revision=args.revision, token=args.token, device="cpu"
    )
    return write_braindecode(
        model,
        args.out,
        names[0] if names else None,
        window_s=args.window,
        stand_ins=args.stand_ins,
        check=args.check,
        overwrite=args.overwrite,
    )
