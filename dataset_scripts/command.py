"""The command line that all corpora share."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg.commands.shared_arguments import add_rename, parse_rename

from .corpus import Corpus
from .registry import KNOWN_TASKS
from .settings import Settings
from .shards import Shard
from .writer import PreparationError, merge_shards, prepare, prepare_shard


def add_writer_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :class:`~dataset_scripts.settings.Settings` that fit every corpus."""
    parser.add_argument("--raw", type=Path, required=True, help="folder of the download")
    parser.add_argument("--out", type=Path, required=True, help="the result becomes OUT/<task>")
    parser.add_argument("--num-proc", type=int, default=1, help="processes, a recording each")
    parser.add_argument("--dtype", choices=("int16", "float32"), default="int16")
    parser.add_argument(
        "--max-skipped",
        type=float,
        default=0.01,
        help="share of recordings that may be unusable before the run fails (default: 0.01)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a prepared corpus")
    add_rename(parser)
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument(
        "--shard",
        metavar="I/N",
        help="write only share I, from 1 to N, of the recordings, for --merge",
    )
    jobs.add_argument(
        "--merge",
        nargs="*",
        type=Path,
        metavar="DIR",
        help="make the result of the shards in OUT, or in the DIRs that were their --out",
    )


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

    @functools.wraps(command)
    def run(*arguments: Any) -> int:
        try:
            command(*arguments)
        except (ValueError, OSError, PreparationError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    return run


@with_exit_code
def run_command(corpus_class: type[Corpus], arguments: Sequence[str] | None = None) -> None:
    """Prepare one corpus from the command line.

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
    options = _parser(corpus_class).parse_args(arguments)
    split_seed = getattr(options, "split_seed", None)
    corpus = corpus_class(options.raw, options.protocol, split_seed=split_seed)
    corpus.use_constant(options.constant)
    print(f"{corpus.card.name}: {prepare_as_asked(corpus, options)}")


def _parser(corpus_class: type[Corpus]) -> argparse.ArgumentParser:
    """The options of one corpus: those of all, and its own protocols and splits."""
    card = corpus_class.card
    parser = argparse.ArgumentParser(
        prog=f"python -m dataset_scripts.{card.name.replace('-', '_')}"
        if card.name in KNOWN_TASKS
        else None,
        description=f"Prepare {card.corpus} for the task {card.name}, from {corpus_class.layout}.",
    )
    add_writer_options(parser)
    protocols = "; ".join(f"{name}: {text}" for name, text in corpus_class.protocols.items())
    parser.add_argument(
        "--protocol",
        choices=tuple(corpus_class.protocols),
        default=next(iter(corpus_class.protocols)),
        help=protocols.replace("%", "%%"),
    )
    if corpus_class.seeded_protocols:
        parser.add_argument(
            "--split-seed",
            type=int,
            help="seed of the shuffled split, for --protocol "
            f"{' or '.join(corpus_class.seeded_protocols)} (default: 0)",
        )
    parser.add_argument(
        "--split",
        choices=corpus_class.splits,
        default="protocol",
        help="the protocol's, or 64/16/20 of every subject's windows in order within each class",
    )
    parser.add_argument(
        "--constant",
        choices=("keep", "leave-out"),
        default=corpus_class.constant,
        help="windows in which channels stay at one value for half or more, such as padded ends "
        f"(default: {corpus_class.constant})",
    )
    parser.add_argument("--subjects", nargs="+", default=(), help="use these subjects only")
    return parser
