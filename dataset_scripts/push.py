"""Push a prepared corpus to the Hub, where its licence allows it.

``python -m dataset_scripts.push FOLDER --repo OWNER/NAME [--private]``

TUAB, TUEV and SEED-V may not be redistributed: they are refused, also for a private repository.
What decides is the corpus's class and what the preparation found out about the files that it read,
never an option: a corpus passes as simulated only if every file was written by the simulator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg._ending import command, hush
from modeling_mteeg.data import Corpus as PreparedCorpus
from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.merging import SPLITS_FILE
from modeling_mteeg.dataset_scripts.registry import KNOWN_TASKS, corpus_class
from modeling_mteeg.dataset_scripts.splits import manifest_hash
from modeling_mteeg.model.hub_push import PushRefusedError, paths_of, push_files
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.settings.vocabulary import add_option

ENDINGS = (".arrow", ".parquet", ".json", ".md", ".tsv")
"""What a prepared corpus consists of; a file of another kind is not uploaded but an error."""
KEPT = (".gitattributes",)


def push(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    reader: type[Corpus] | None = None,
    token: str | bool | None = None,
) -> str:
    """Upload a prepared corpus as one commit.

    Parameters
    ----------
    folder : str or Path
        A prepared corpus, ``<out>/<task>``.
    repo_id : str
        ``owner/name`` of a dataset repository, made if needed.
    private : bool, optional
        True: the repository must be private.
    reader : subclass of Corpus, optional
        The class of a corpus that is not in this package.
    token : str or bool, optional
        As everywhere in ``huggingface_hub``.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    PushRefusedError
        The licence does not allow it, or the folder contradicts itself. Nothing was uploaded.
    HubError
        The Hub could not be reached or did not accept the commit.

    Notes
    -----
    New files, changed files and the removal of those that the folder does not have are one commit
    on the revision that was there: a push that fails leaves the old revision whole.
    """
    folder = Path(folder)
    check_allowed(folder, reader)
    files = files_to_push(folder)

    def review(api: Any, known: Any) -> list[str]:
        return sorted(paths_of(known) - set(files) - set(KEPT))

    task = json.loads((folder / SPLITS_FILE).read_text("utf-8"))["task"]
    return push_files(
        files,
        repo_id,
        message=f"Upload the prepared corpus {task}",
        private=private,
        token=token,
        review=review,
        repo_type="dataset",
    )


def check_allowed(folder: str | Path, reader: type[Corpus] | None = None) -> None:
    """Raise :class:`PushRefusedError` unless the licence lets anybody publish this very folder.

    Parameters
    ----------
    folder : str or Path
        A prepared corpus.
    reader : subclass of Corpus, optional
        The class of a corpus that is not in this package.
    """
    folder = Path(folder)
    prepared = load_corpus(folder)
    card = prepared.card
    reader = _reader(card.name, reader)
    manifest = _checked_manifest(folder, prepared)
    source = manifest.get("source")
    if not isinstance(source, dict) or source.get("reader") != reader.__name__:
        raise PushRefusedError(
            f"{folder}: {SPLITS_FILE} does not say that {reader.__name__} prepared it; prepare it "
            "again with this version."
        )
    simulated = source.get("simulation") is not None
    if card.simulated != simulated:
        raise PushRefusedError(
            f"{folder}: the task card says {'simulated' if card.simulated else 'recorded'}, the "
            f"source was {'simulated' if simulated else 'recorded'} ({SPLITS_FILE}). Prepare it "
            "again."
        )
    if simulated:
        if source.get("made_by_simulator") is not True:
            raise PushRefusedError(
                f"{folder}: says that it is simulated, but not all files that it was made of are "
                "files that the simulator wrote. Simulate into a new folder and prepare that."
            )
    elif not reader.redistributable:
        raise PushRefusedError(
            f"{folder}: {reader.card.corpus} may not be published, in a private repository "
            f"neither. Licence: {reader.card.license or 'not stated'}. See "
            f"{reader.license_link or reader.homepage or 'its source'}. Whoever wants this data "
            "gets the corpus there and prepares it with the same command and split hash."
        )


def _reader(task: str, reader: type[Corpus] | None) -> type[Corpus]:
    """The class that decides: this package's own for its tasks, else the one that is given."""
    if task in KNOWN_TASKS:
        return corpus_class(task)
    if reader is None:
        raise PushRefusedError(
            f"Task {task!r} is not of this package: name its class with --corpus FILE.py:CLASS, so "
            "that its licence is known."
        )
    if reader.card.name != task:
        raise PushRefusedError(
            f"{reader.__name__} is the class of task {reader.card.name!r}, the folder holds "
            f"{task!r}."
        )
    return reader


def _checked_manifest(folder: Path, prepared: PreparedCorpus) -> dict[str, Any]:
    """The manifest, if card, splits and rows are those that it speaks of."""
    path = folder / SPLITS_FILE
    try:
        manifest = json.loads(path.read_text("utf-8"))
        task, assignments = manifest["task"], dict(manifest["assignments"])
        counted = manifest_hash(task, manifest["rule"], assignments)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PushRefusedError(
            f"{path}: expected the manifest of a preparation: {error}."
        ) from error
    card = prepared.card
    if task != card.name or not counted == manifest.get("hash") == card.split_hash:
        raise PushRefusedError(
            f"{folder}: the task card ({card.name}, split {card.split_hash}) and {SPLITS_FILE} "
            f"({task}, split {counted}) do not belong together. Prepare the corpus again."
        )
    known: dict[str, set[str]] = {}
    for unit, split in assignments.items():
        known.setdefault(split, set()).add(unit.split("/")[0].split("#")[0])
    for split, reader in prepared.splits.items():
        strange = sorted(set(reader.recordings.tolist()) - known.get(split, set()))
        if strange:
            raise PushRefusedError(
                f"{folder}: {split} has windows of recordings that {SPLITS_FILE} does not put "
                f"there: {', '.join(strange[:5])}. Prepare the corpus again."
            )
    return manifest


def files_to_push(folder: Path) -> dict[str, Path]:
    """Path in the repository to file; a file that no preparation writes is an error."""
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    strange = [
        name
        for name, path in files.items()
        if path.suffix not in ENDINGS or any(part.startswith(".") for part in name.split("/"))
    ]
    if strange:
        raise PushRefusedError(
            f"{folder}: holds files that no preparation writes: {', '.join(strange[:5])}. Move "
            "them elsewhere, so that only the prepared corpus is uploaded."
        )
    return files


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m dataset_scripts.push",
        description="Push a prepared corpus to the Hub as one commit, where its licence allows it.",
        examples=("python -m dataset_scripts.push data/eegmat --repo OWNER/NAME --private",),
    )
    parser.add_argument("folder", type=Path, help="a prepared corpus, OUT/<task>")
    add_option(parser, "--repo", "of datasets", required=True)
    add_option(parser, "--private")
    add_option(parser, "--corpus")
    add_option(parser, "--quiet")
    return parser


@command("a commit is made whole or not at all", errors=(ValueError, OSError))
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = build_parser().parse_args(arguments)
    hush(options.quiet)
    reader = corpus_class(options.corpus) if options.corpus else None
    address = push(options.folder, options.repo, options.private or None, reader)
    print(f"pushed: {address}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
