"""The command line that all corpora share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

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


def prepare_as_asked(corpus: Corpus, options: argparse.Namespace, settings: Settings) -> Path:
    """The whole corpus, one shard of it, or its shards merged, by the command line."""
    if options.shard is not None:
        return prepare_shard(corpus, options.out, Shard.parse(options.shard), settings)
    if options.merge is not None:
        return merge_shards(corpus, options.out, options.merge, settings)
    return prepare(corpus, options.out, settings)


def run_command(corpus_class: type[Corpus], arguments: Sequence[str] | None = None) -> int:
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
    parser.add_argument("--subjects", nargs="+", default=(), help="use these subjects only")
    options = parser.parse_args(arguments)
    try:
        settings = Settings(
            num_proc=options.num_proc,
            dtype=options.dtype,
            split=options.split,
            max_skipped=options.max_skipped,
            subjects=tuple(options.subjects),
            overwrite=options.overwrite,
        )
        corpus = corpus_class(
            options.raw, options.protocol, split_seed=getattr(options, "split_seed", None)
        )
        folder = prepare_as_asked(corpus, options, settings)
    except (ValueError, OSError, PreparationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{card.name}: {folder}")
    return 0
