"""The command line that all corpora share."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg._ending import ended, hush
from modeling_mteeg.commands.shared_arguments import add_rename, parse_rename
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.downloads import download_command
from modeling_mteeg.dataset_scripts.downloads.download_settings import DownloadError
from modeling_mteeg.dataset_scripts.registry import KNOWN_TASKS
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.shards import Shard
from modeling_mteeg.dataset_scripts.writer import (
    PreparationError,
    merge_shards,
    prepare,
    prepare_shard,
)
from modeling_mteeg.settings.command_line import CommandParser, Place
from modeling_mteeg.settings.vocabulary import add_option

KEPT = "recordings that are done stay, and the same command goes on with the others"


def add_writer_options(parser: CommandParser, out_required: bool = True) -> None:
    """Add the options of :class:`~.settings.Settings` that fit every corpus."""
    add_option(parser, "--raw", required=True)
    out = "the corpus becomes OUT/<task>" + "; not needed with --download" * (not out_required)
    add_option(parser, "--out", out, required=out_required, type=Place(folder=True, kind=Path))
    add_option(parser, "--num-proc", "that prepare, a recording each (default: 1)", default=1)
    add_option(parser, "--dtype", "(default: int16)")
    add_option(parser, "--max-skipped", "before the run fails (default: 0.01)", default=0.01)
    add_option(parser, "--overwrite", "a prepared corpus")
    add_option(parser, "--quiet")
    add_rename(parser)
    jobs = parser.add_mutually_exclusive_group()
    add_option(jobs, "--shard", "of the recordings, for --merge")
    add_option(jobs, "--merge", "shards of OUT, or of the folders that were their --out")


def prepare_as_asked(corpus: Corpus, options: argparse.Namespace) -> Path:
    """The whole corpus, one shard of it, or its shards merged, by the command line."""
    settings = settings_of(options)
    corpus.use_rename(parse_rename(options.rename))
    if options.shard is not None:
        return prepare_shard(corpus, options.out, Shard.parse(options.shard), settings)
    if options.merge is not None:
        return merge_shards(corpus, options.out, options.merge, settings)
    return prepare(corpus, options.out, settings)


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that a command line gives; the others have their defaults."""
    names = (field.name for field in dataclasses.fields(Settings))
    chosen = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return Settings(**chosen | {"subjects": tuple(chosen.get("subjects", ()))})


def with_exit_code(command: Callable[..., None]) -> Callable[..., int]:
    """Make a command return 0, or 1 with a message on stderr where a user can mend the fault."""

    errors = (ValueError, OSError, PreparationError)

    @functools.wraps(command)
    def run(*arguments: Any) -> int:
        return ended(lambda: command(*arguments), KEPT, errors=errors)

    return run


def run_command(corpus_class: type[Corpus], arguments: Sequence[str] | None = None) -> int:
    """Prepare one corpus from the command line; download it first where that is asked for.

    Parameters
    ----------
    corpus_class : subclass of Corpus
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit code: 0, or 1 with a message on stderr.
    """
    parser = corpus_parser(corpus_class)
    options = parser.parse_args(arguments)
    download_command.check_download_options(parser, options, corpus_class.database)
    if getattr(options, "download", False):

        def fetch() -> None:
            hush(options.quiet, printed=bool(options.dry_run))
            download_command.fetch_as_asked(corpus_class, options)

        status = ended(fetch, download_command.KEPT, errors=(ValueError, OSError, DownloadError))
        if status or options.out is None or options.dry_run:
            return status
    return _prepare(corpus_class, options)


@with_exit_code
def _prepare(corpus_class: type[Corpus], options: argparse.Namespace) -> None:
    """Prepare one corpus by its options."""
    hush(options.quiet)
    split_seed = getattr(options, "split_seed", None)
    corpus = corpus_class(options.raw, options.protocol, split_seed=split_seed)
    corpus.use_constant(options.constant)
    print(f"{corpus.card.name}: {prepare_as_asked(corpus, options)}")


def corpus_parser(corpus_class: type[Corpus]) -> CommandParser:
    """The options of one corpus: those of all, and its own protocols and splits."""
    card = corpus_class.card
    module = f"python -m dataset_scripts.{card.name.replace('-', '_')}"
    known = card.name in KNOWN_TASKS
    download = " --download" if corpus_class.database is not None else ""
    parser = CommandParser(
        prog=module if known else None,
        description=f"Prepare {card.corpus} for the task {card.name}, from {corpus_class.layout}.",
        examples=(
            f"{module if known else 'python FILE.py'} --raw raw/{card.name} --out data{download}",
        ),
    )
    add_writer_options(parser, out_required=corpus_class.database is None)
    protocols = "; ".join(f"{name}: {text}" for name, text in corpus_class.protocols.items())
    names = tuple(corpus_class.protocols)
    add_option(parser, "--protocol", protocols, choices=names, default=names[0])
    if corpus_class.seeded_protocols:
        protocols = " or ".join(corpus_class.seeded_protocols)
        add_option(parser, "--split-seed", f"for --protocol {protocols} (default: 0)")
    add_option(parser, "--split", "the protocol's, or 64/16/20 of every subject's windows in order "
        "within each class", choices=corpus_class.splits, default="protocol")  # fmt: skip
    add_option(parser, "--constant", f"such as padded ends (default: {corpus_class.constant})",
        choices=("keep", "leave-out"), default=corpus_class.constant)  # fmt: skip
    subjects = ""
    if corpus_class.database is not None:
        subjects = "by name or number: 1-10,12"
        download_command.add_download_options(parser)
    add_option(parser, "--subjects", subjects, nargs="+", default=())
    return parser
