"""What every file holds, as a hash: read once, and remembered for the next start.

Copies and test recordings can only be found among the hashes of all files, so these come first. An
EDF or BDF file is hashed without the names and dates at its start, for de-identified copies differ
in them alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modeling_mteeg.dataset_scripts.bars import Bar
from modeling_mteeg.dataset_scripts.duplicates import NAMES_BYTES
from modeling_mteeg.dataset_scripts.unlabelled.layouts import UnlabelledRecording

_CHUNK_BYTES = 2**22
_NAMED = (".edf", ".bdf")


def digest_of(files: Sequence[Path], bar: Any = None) -> str:
    """SHA-256 of what a file holds; of several files, of their hashes in order.

    Parameters
    ----------
    files : sequence of Path
    bar : tqdm, optional
        Is told the bytes that were read.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    hashes = []
    for path in files:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            if path.suffix.lower() in _NAMED and os.fstat(file.fileno()).st_size > NAMES_BYTES:
                file.seek(NAMES_BYTES)
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                if bar is not None:
                    bar.update(len(chunk))
        hashes.append(digest.hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def read_digests(
    recordings: Iterable[UnlabelledRecording],
    remembered: Path,
    threads: int = 1,
    progress: bool = True,
) -> tuple[dict[Path, str], dict[Path, str]]:
    """Hashes of the files of recordings.

    Parameters
    ----------
    recordings : iterable of UnlabelledRecording
    remembered : Path
        A file of lines to which every hash is added at once; those of files that were not touched
        since are taken from it.
    threads : int
    progress : bool

    Returns
    -------
    digests, faults : dict of Path to str
        By the recordings' paths; a fault says why a file cannot be read.
    """
    files = {recording.path: recording.files for recording in recordings}
    states = {path: [_state(file) for file in of] for path, of in files.items()}
    known = _remembered(remembered)
    digests = {
        path: digest
        for path, (digest, state) in known.items()
        if path in files and state == states[path]
    }
    missing = [path for path in files if path not in digests]
    total = sum(max(0, state[0]) for path in missing for state in states[path])
    faults = {}
    with (
        Bar(total=total, desc="hashing", unit="B", unit_scale=True, progress=progress) as bar,
        ThreadPoolExecutor(threads) as pool,
        open(remembered, "a", encoding="utf-8") as lines,
    ):
        results = pool.map(lambda path: _digest_or_fault(files[path], bar), missing)
        for path, (digest, fault) in zip(missing, results, strict=True):
            if fault:
                faults[path] = fault
                continue
            digests[path] = digest
            lines.write(json.dumps([str(path), digest, states[path]]) + "\n")
            lines.flush()
    return digests, faults


def _digest_or_fault(files: Sequence[Path], bar: Any) -> tuple[str, str]:
    missing = [path for path in files if not path.is_file()]
    if missing:
        kind = "missing"
        if missing[0].exists():
            kind = "no regular file"  # opening a pipe would wait for its other end
        elif missing[0].is_symlink():
            kind = "a link to nothing"
        again = "start again (with --overwrite where the rest is done)"
        return "", f"{missing[0].name}: {kind}; download it, then {again}."
    try:
        return digest_of(files, bar), ""
    except OSError as error:
        return "", f"{files[0].name}: cannot be read ({error}); look at its rights."


def _state(path: Path) -> list[int]:
    """Size and times of a file; -1 where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return [-1, -1, -1]
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _remembered(path: Path) -> dict[Path, tuple[str, list[list[int]]]]:
    """What was written before; a line that a kill cut short counts for nothing."""
    if not path.is_file():
        return {}
    known = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            name, digest, state = json.loads(line)
        except (ValueError, TypeError):
            continue
        known[Path(name)] = (digest, state)
    return known
