"""A corpus from any BIDS dataset of EEG: windows at its events, or labels of its participants.

    python -m dataset_scripts.bids --raw DS --out data --task-name NAME --labels a,b --window 2
    python -m dataset_scripts.bids --raw DS --out data --task-name NAME --column stim --labels a,b
    python -m dataset_scripts.bids --raw DS --out data --task-name NAME \\
        --participants-column group --labels control,patient --window 4

It is :mod:`dataset_scripts.annotated` with what a dataset's own files say: people are its subjects,
``channels.tsv`` gives types, units and bad channels, ``dataset_description.json`` name and licence.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg.model.bids_sidecars import DESCRIPTION

from .annotated import Annotated
from .annotated_options import AnnotatedOptions, add_options, options_of
from .command import add_writer_options, prepare_as_asked, with_exit_code


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
        fields = json.loads((raw / DESCRIPTION).read_text("utf-8-sig"))
    except (OSError, ValueError):
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    name, license = (str(fields.get(key) or "").strip() for key in ("Name", "License"))
    if name.startswith("["):  # mne-bids' "[Unspecified]"
        name = ""
    return name, license or AnnotatedOptions().license


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return _run(arguments)


@with_exit_code
def _run(arguments: Sequence[str] | None) -> None:
    # Unabbreviated: --task would be --task-name, and is --bids-task to whoever knows BIDS.
    parser = argparse.ArgumentParser(
        prog="python -m dataset_scripts.bids",
        description="Prepare a BIDS dataset for a task: windows at events, or labels of people.",
        allow_abbrev=False,
    )
    add_writer_options(parser)
    parser.add_argument("--task-name", required=True, metavar="NAME",
        help="the new task's name: lower-case letters, digits, dashes")  # fmt: skip
    parser.add_argument("--participants-column", metavar="COLUMN",
        help="classes are of people, in this column of participants.tsv")  # fmt: skip
    parser.add_argument("--split-seed", type=int, help="of the shuffled people (default: 0)")
    parser.add_argument("--subjects", nargs="+", default=(), help="use these subjects only")
    add_options(parser)
    given = parser.parse_args(arguments)
    options = options_of(given)
    given.subjects = [name if name.startswith("sub-") else f"sub-{name}" for name in given.subjects]
    if given.participants_column:
        options = dataclasses.replace(
            options, labels_from="table", table="participants.tsv",
            label_column=given.participants_column,
        )  # fmt: skip
    corpus = Annotated(given.raw, given.task_name, bids_options(given.raw, options),
                       given.split_seed)  # fmt: skip
    print(f"{given.task_name}: {prepare_as_asked(corpus, given)}")


if __name__ == "__main__":
    raise SystemExit(main())
