"""Whether the files that a result was made from are still the same.

Hashing hundreds of gigabytes at every start would take longer than most starts have to do. So a
file is known by its size and by a sample of its content (head, tail and blocks in between), read
in milliseconds; whole files are hashed once, while they are prepared anyway, and again only where
the file system says that a file was touched since. What could go unseen is a change that keeps
size, sample, and both times of the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modeling_mteeg.dataset_scripts.corpus import Recording

END_BYTES = 64 * 1024
BLOCK_BYTES = 16 * 1024
BLOCKS = 8
"""The sample: 64 KiB at either end and 8 blocks of 16 KiB spread evenly; smaller files whole."""
MISSING = "missing"
Source = dict[str, Any]
"""``name`` relative to the raw folder, ``bytes``, ``sample`` and, once read, ``sha256``."""


def sample_digest(path: Path) -> str:
    """SHA-256 of the sample of a file, ``missing`` where there is none that can be read."""
    if not path.is_file():  # opening a pipe would wait for its other end
        return MISSING
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        with open(path, "rb", buffering=0) as file:
            if size <= 2 * END_BYTES + BLOCKS * BLOCK_BYTES:
                digest.update(file.read())
                return digest.hexdigest()
            inner = size - 2 * END_BYTES - BLOCK_BYTES
            middle = [END_BYTES + inner * block // (BLOCKS - 1) for block in range(BLOCKS)]
            places = [(0, END_BYTES), *((start, BLOCK_BYTES) for start in middle)]
            for start, length in [*places, (size - END_BYTES, END_BYTES)]:
                file.seek(start)
                digest.update(file.read(length))
    except OSError:
        return MISSING
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 of a whole file, ``missing`` where there is none that can be read."""
    if not path.is_file():
        return MISSING
    try:
        return sha256_of_file(path)
    except OSError:
        return MISSING


def sha256_of_file(path: Path, first: int = 0) -> str:
    """SHA-256 of a file's content from byte ``first`` on."""
    with open(path, "rb") as file:
        file.seek(first)
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed_ns(path: Path) -> int:
    """When content, owner or rights of a file last changed, in ns; 0 where it is missing."""
    try:
        state = path.stat()
    except OSError:
        return 0
    return max(state.st_mtime_ns, state.st_ctime_ns)


def describe_files(files: Iterable[Path], raw: Path) -> list[Source]:
    """The files as they are now, without their ``sha256``."""
    return [
        {
            "name": file.relative_to(raw).as_posix() if file.is_relative_to(raw) else str(file),
            "bytes": file.stat().st_size if file.exists() else 0,
            "sample": sample_digest(file),
        }
        for file in files
    ]


def describe_sources(recordings: Sequence[Recording], raw: Path) -> dict[str, list[Source]]:
    """:func:`describe_files` of every recording, by key."""
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        descriptions = pool.map(lambda recording: describe_files(recording.files, raw), recordings)
        return {
            recording.key: files for recording, files in zip(recordings, descriptions, strict=True)
        }


def differences(
    then: Sequence[Mapping[str, Any]],
    now: Sequence[Source],
    files: Sequence[Path],
    touched: Sequence[bool],
) -> list[str]:
    """What of a recording's files is not as it was; empty: nothing.

    Parameters
    ----------
    then : sequence of Source
        As they were, with ``sha256``.
    now : sequence of Source
        As they are.
    files : sequence of Path
        The same files.
    touched : sequence of bool
        Whether the file system says that a file may have changed since; those that look alike are
        hashed whole.
    """
    if [source["name"] for source in then] != [source["name"] for source in now]:
        return [f"files: {', '.join(source['name'] for source in then)} then, "
                f"{', '.join(source['name'] for source in now)} now"]  # fmt: skip
    lines = []
    for old, new, file, doubt in zip(then, now, files, touched, strict=True):
        if new["sample"] == MISSING != old["sample"]:
            lines.append(f"{new['name']} is gone")
        elif old["bytes"] != new["bytes"]:
            lines.append(f"{new['name']} had {old['bytes']} bytes, has {new['bytes']}")
        elif old["sample"] != new["sample"] or (doubt and old["sha256"] != content_digest(file)):
            lines.append(f"{new['name']} has other content in as many bytes")
    return lines
