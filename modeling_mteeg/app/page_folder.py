"""The one folder of all that a page is given and makes, which goes when the page ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..settings.folder_lock import held
from .session import stop_all

PREFIX, LOCK = "mteeg-page-", "in-use.lock"
_GRADIO = "GRADIO_TEMP_DIR"


@contextmanager
def page_folder() -> Iterator[Path]:
    """Let uploads, results and whatever else is temporary lie in a new folder, and remove it.

    It is to be entered before a page is built, for Gradio asks then where uploads go. The process
    holds a lock in the folder, which the system frees when it is killed: what such a page left is
    removed at the next start.
    """
    root = Path(os.environ.get(_GRADIO) or tempfile.gettempdir())
    root.mkdir(parents=True, exist_ok=True)
    remove_leftovers(root)
    before = tempfile.tempdir, os.environ.get(_GRADIO)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root)).resolve()
    try:
        with held(folder / LOCK):
            tempfile.tempdir, os.environ[_GRADIO] = str(folder), str(folder / "uploads")
            yield folder
    finally:
        stop_all()
        tempfile.tempdir = before[0]
        os.environ.pop(_GRADIO)
        if before[1] is not None:
            os.environ[_GRADIO] = before[1]
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(root: Path) -> list[Path]:
    """Remove folders of pages of this user that were killed; returns them.

    A folder that a running page holds stays, and so does one whose lock file is not there: it is
    being made now, or is no page's.
    """
    gone = []
    for folder in sorted(root.glob(f"{PREFIX}*")):
        if folder.is_symlink() or not (folder / LOCK).is_file() or not _is_ours(folder):
            continue
        with held(folder / LOCK) as free:
            if free:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder)
    return gone


def _is_ours(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
