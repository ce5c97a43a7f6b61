"""The options of ``--download``, for the command of every corpus that is on PhysioNet."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from modeling_mteeg._clone import as_typed
from modeling_mteeg.dataset_scripts.downloads.database import MIRRORS, SOURCE, Database
from modeling_mteeg.settings.vocabulary import add_option

if TYPE_CHECKING:
    from modeling_mteeg.dataset_scripts.corpus import Corpus

KEPT = (
    "finished files and the bytes of unfinished ones (.part) stay, and the same command goes on "
    "from there"
)
_OPTIONS = ("all_files", "mirror", "connections", "stall", "replace_wrong", "dry_run")


def add_download_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--download`` and what goes with it; without it they are refused."""
    group = parser.add_argument_group(
        "download",
        "--download fetches the recordings from PhysioNet into RAW, by its list of SHA-256 sums, "
        "and prepares them only where --out is given, too. Started again it goes on.",
    )
    group.add_argument("--download", action="store_true", help="fetch the corpus into RAW first")
    add_option(group, "--dry-run", "list the files that would be fetched", default=None)
    group.add_argument(
        "--all-files",
        action="store_true",
        default=None,
        help="all files of the database, not only those that the task reads",
    )
    group.add_argument(
        "--mirror",
        metavar="URL",
        help=f"where databases lie as SLUG/VERSION/ (default: {SOURCE}); aws: PhysioNet's own copy "
        f"at {MIRRORS['aws']}",
    )
    group.add_argument(
        "--connections", type=int, metavar="N", help="files at once, 1 to 16 (default: 8)"
    )
    group.add_argument(
        "--stall",
        type=float,
        metavar="S",
        help="seconds without a byte before a connection is tried again (default: 60)",
    )
    group.add_argument(
        "--replace-wrong",
        action="store_true",
        default=None,
        help="fetch files anew that are there with another content (default: an error)",
    )


def check_download_options(
    parser: argparse.ArgumentParser, options: argparse.Namespace, database: Database | None
) -> None:
    """Make names of ``--subjects``; end with a usage error where options do not go together."""
    if database is None:
        return
    given = [f"--{name.replace('_', '-')}" for name in _OPTIONS
             if getattr(options, name, None) is not None]  # fmt: skip
    if given and not options.download:
        parser.error(f"{', '.join(given)}: only with --download")
    if options.out is None and not options.download:
        parser.error("the following arguments are required: --out")
    try:
        options.subjects = database.subject_names(options.subjects)
    except ValueError as error:
        parser.error(str(error))


def fetch_as_asked(corpus: type[Corpus], options: argparse.Namespace) -> None:
    """Download a corpus by the command line, and say what comes next."""
    # These import aiohttp, which preparations do not need.
    from modeling_mteeg.dataset_scripts.downloads.download_settings import DownloadSettings
    from modeling_mteeg.dataset_scripts.downloads.downloading import download

    given = {
        "subjects": options.subjects,
        "all_files": options.all_files,
        "mirror": options.mirror,
        "connections": options.connections,
        "stall_s": options.stall,
        "replace_wrong": options.replace_wrong,
        "dry_run": options.dry_run,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    download(corpus, options.raw, DownloadSettings(**chosen))
    if options.dry_run:
        print("Nothing was fetched (--dry-run).")
        return
    if not options.subjects:
        corpus_of_it = corpus(options.raw)
        for line in corpus_of_it.missing(corpus_of_it.find_recordings()):
            print(f"{corpus.card.name}: {line}")
    if options.out is None:
        module = corpus.card.name.replace("-", "_")
        raw = shlex.quote(str(options.raw))
        command = as_typed(f"python -m dataset_scripts.{module}")
        print(f"Next: {command} --raw {raw} --out data")
