"""One preparation of a folder at a time, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from modeling_mteeg.settings.disk_faults import writing
from modeling_mteeg.settings.folder_lock import held


class PreparationError(RuntimeError):
    """A preparation that ended without its dataset; what was done is kept for the next start."""


def write_whole(path: Path, text: str) -> None:
    """Write a text so that a kill leaves the file whole, as it was, or not there."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with writing(path):
        temporary.write_text(text, "utf-8")
        os.replace(temporary, path)


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Hold ``<folder>/.<name>.lock``, which the system frees when the process ends, however.

    Raises
    ------
    PreparationError
        Another process holds it.
    """
    path = folder / f".{name}.lock"
    with held(path) as mine:
        if not mine:
            raise PreparationError(
                f"{folder / name}: another process is preparing it now (it holds {path}). Wait "
                "until it has ended, or choose another --out; to work on one corpus in several "
                "jobs, give each its own --shard."
            )
        yield
