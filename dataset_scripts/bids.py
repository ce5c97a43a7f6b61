"""A corpus from any BIDS dataset of EEG: windows at its events, or labels of its participants.

    python -m dataset_scripts.bids --raw DS --out data --task NAME --labels a,b --window 2
    python -m dataset_scripts.bids --raw DS --out data --task NAME --event-column stim --labels a,b
    python -m dataset_scripts.bids --raw DS --out data --task NAME \\
        --participants-column group --labels control,patient --window 4

It is :mod:`.annotated` with what a dataset's own files say: people are its subjects,
``channels.tsv`` gives types, units and bad channels, ``dataset_description.json`` name and licence.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg._ending import hush
from modeling_mteeg.dataset_scripts.annotated import Annotated
from modeling_mteeg.dataset_scripts.annotated_options import (
    AnnotatedOptions,
    add_old_spellings,
    add_options,
    options_of,
)
from modeling_mteeg.dataset_scripts.command import (
    add_writer_options,
    prepare_as_asked,
    with_exit_code,
)
from modeling_mteeg.model.bids_sidecars import DESCRIPTION
from modeling_mteeg.model.text_files import read_text_file
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.settings.vocabulary import add_option


def bids_options(raw: Path, options: AnnotatedOptions) -> AnnotatedOptions:
    """Options with what a BIDS dataset says of itself.

    Parameters
    ----------
    raw : Path
        The dataset, or a folder of it.
    options : AnnotatedOptions
        Those that are given stay.
    """
    name, license = _described(raw)
    return dataclasses.replace(
        options,
        bids=True,
        subject_from="bids" if options.subject_from == "auto" else options.subject_from,
        corpus=options.corpus or name,
        license=license if options.license == AnnotatedOptions().license else options.license,
    )


def _described(raw: Path) -> tuple[str, str]:
    """Name and licence by ``dataset_description.json``; what it does not say is as without it."""
    try:
        fields = json.loads(read_text_file(raw / DESCRIPTION).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    name, license = (str(fields.get(key) or "").strip() for key in ("Name", "License"))
    if name.startswith("["):  # mne-bids' "[Unspecified]"
        name = ""
    return name, license or AnnotatedOptions().license


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return _run(arguments)


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m dataset_scripts.bids",
        description="Prepare a BIDS dataset for a task: windows at events, or labels of people.",
        examples=(
            "python -m dataset_scripts.bids --raw DATASET --out data --task presses "
            "--bids-task oddball --labels left,right",
        ),
    )
    add_writer_options(parser)
    add_option(parser, "--task", "the new one's name, of lower-case letters, digits, dashes (which "
        "of the dataset's own tasks it is made of: --bids-task)", one=True, every=False,
        required=True)  # fmt: skip
    parser.old_spelling("--task-name", "--task")
    parser.add_argument("--participants-column", metavar="COLUMN",
        help="classes are of people, in this column of participants.tsv")  # fmt: skip
    add_option(parser, "--split-seed", "shuffles the people (default: 0)")
    add_option(parser, "--subjects", nargs="+", default=())
    add_options(parser)
    add_old_spellings(parser)
    return parser


def check_name(raw: Path, task: str, options: AnnotatedOptions) -> None:
    """Raise ``ValueError`` where a new task is named as one of the dataset's, but made of all.

    To whoever knows BIDS ``--task`` may mean which of the recordings are taken.
    """
    names = (re.search(r"_task-([^_]+)_", path.name) for path in raw.rglob("sub-*_eeg.*"))
    found = sorted({name[1] for name in names if name})
    if task in found and len(found) > 1 and not options.bids_task:
        raise ValueError(
            f"--task {task}: the dataset has the tasks {', '.join(found)}, and all of them would "
            f"become the new one. Say --bids-task {task} for its recordings alone, or give the new "
            "task another name."
        )


@with_exit_code
def _run(arguments: Sequence[str] | None) -> None:
    given = build_parser().parse_args(arguments)
    hush(given.quiet)
    options = options_of(given)
    check_name(given.raw, given.task, options)
    given.subjects = [name if name.startswith("sub-") else f"sub-{name}" for name in given.subjects]
    if given.participants_column:
        options = dataclasses.replace(
            options, labels_from="table", table="participants.tsv",
            label_column=given.participants_column,
        )  # fmt: skip
    corpus = Annotated(given.raw, given.task, bids_options(given.raw, options),
                       given.split_seed)  # fmt: skip
    print(f"{given.task}: {prepare_as_asked(corpus, given)}")


if __name__ == "__main__":
    raise SystemExit(main())
