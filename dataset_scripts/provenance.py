"""Where a prepared corpus comes from, proven where it counts: were the files simulated?

A file ``SIMULATED`` says that a folder was simulated, and anybody can write one, or lay other
recordings beside it. So the simulator also leaves the SHA-256 of every file that it wrote, and a
preparation notes whether each file that it read is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg.dataset_scripts.corpus import SIMULATED_FILE, Corpus
from modeling_mteeg.dataset_scripts.report import Outcome
from modeling_mteeg.dataset_scripts.sources import sha256_of_file
from modeling_mteeg.dataset_scripts.splits import SPLITS

CHECKSUMS_FILE = "SIMULATED.sha256"
"""In the format of ``sha256sum``: a line ``<hash>  <path>`` for every file."""
_OWN = (SIMULATED_FILE, CHECKSUMS_FILE)


def file_times(folder: Path) -> dict[str, int]:
    """Time of last change in nanoseconds of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _OWN
    }


def write_checksums(folder: Path, before: Mapping[str, int]) -> None:
    """Write :data:`CHECKSUMS_FILE` of the files that are new or changed since ``before``.

    Parameters
    ----------
    folder : Path
        A simulated corpus, just completed.
    before : mapping
        :func:`file_times` from before the simulation: files that it did not touch are not its.
    """
    written = [name for name, time in file_times(folder).items() if before.get(name) != time]
    lines = [f"{sha256_of_file(folder / name)}  {name}\n" for name in written]
    (folder / CHECKSUMS_FILE).write_text("".join(lines), "utf-8", newline="\n")


def read_checksums(folder: Path) -> dict[str, str]:
    """Relative path to SHA-256; empty where there is no such file, or it is damaged."""
    try:
        lines = (folder / CHECKSUMS_FILE).read_text("utf-8").splitlines()
        pairs = [line.split("  ", 1) for line in lines]
        return {name: digest for digest, name in pairs}
    except (OSError, ValueError):
        return {}


def source_of(corpus: Corpus, used: Sequence[Outcome]) -> dict[str, Any]:
    """What the manifest says of the source.

    Returns
    -------
    dict
        ``reader`` name of the class, ``protocol``, ``version`` (of the corpus, where its windows
        are as many as a study counted in one; else None), ``simulation`` (content of the
        ``SIMULATED`` file, or None) and ``made_by_simulator``: whether every file that was read is
        one that the simulator wrote, unchanged.
    """
    return {
        "reader": type(corpus).__name__,
        "protocol": corpus.protocol,
        "version": known_version(corpus, used),
        "simulation": corpus.simulation,
        "made_by_simulator": corpus.simulation is not None and _all_written(corpus, used),
    }


def known_version(corpus: Corpus, used: Sequence[Outcome]) -> str | None:
    """Version of a corpus by the number of its windows in train, validation and test."""
    if corpus.simulated or corpus.protocol != "paper":
        return None
    counts = tuple(
        sum(int((outcome.row_splits == split).sum()) for outcome in used) for split in SPLITS
    )
    return next((name for name, known in corpus.known_counts.items() if known == counts), None)


def _all_written(corpus: Corpus, used: Sequence[Outcome]) -> bool:
    known = read_checksums(corpus.raw)
    files = [file for outcome in used for file in outcome.recording.files]
    return bool(files) and all(
        file.is_relative_to(corpus.raw)
        and known.get(file.relative_to(corpus.raw).as_posix()) == sha256_of_file(file)
        for file in dict.fromkeys(files)
    )
