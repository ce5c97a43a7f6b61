"""From the files that a visitor dropped to one recording in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..model.recording_files import read_recording

SUFFIXES = (".edf", ".bdf", ".fif", ".set", ".vhdr", ".cnt")
"""Files that stand for a recording."""
COMPANIONS = {".vhdr": (".eeg", ".vmrk", ".dat", ".avg"), ".set": (".fdt",)}
"""Files that belong to one of them and are read along with it."""
TAKEN = (*SUFFIXES, ".gz", *dict.fromkeys(part for parts in COMPANIONS.values() for part in parts))
"""Every ending that the page lets through (``.gz``: ``.fif.gz``)."""
_NAMED = re.compile(r"^\s*(DataFile|MarkerFile)\s*[=:]\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)


class UploadError(ValueError):
    """Files that are not one readable recording."""


def gather_recording(files: Sequence[str | Path] | None, folder: str | Path) -> Path:
    """Lay the files of one recording side by side and return the one to open.

    A web server keeps every upload in a folder of its own, but BrainVision's header and EEGLAB's
    ``.set`` look for their other files beside themselves, by name.

    Parameters
    ----------
    files : sequence of str or Path, or None
        The uploads, under the names they had.
    folder : str or Path
        An empty folder; the files are linked into it, or copied where that is impossible.

    Returns
    -------
    Path
        The file to open, in ``folder``.

    Raises
    ------
    UploadError
        No file, several recordings at once, an ending that is not known, or companions missing.
    """
    files = [Path(file) for file in files or ()]
    if not files:
        raise UploadError(f"No recording yet: drop a file that ends in {_list(SUFFIXES)}.")
    gone = [file.name for file in files if not file.is_file()]
    if gone:
        raise UploadError(
            f"{_list(gone)} is no longer on the server (uploads are deleted after a while). "
            "Drop it again."
        )
    heads = [file for file in files if _suffix(file) in SUFFIXES]
    if len(heads) != 1:
        names = _list(file.name for file in (heads or files))
        more = "one recording at a time" if heads else f"a file that ends in {_list(SUFFIXES)}"
        raise UploadError(f"Expected {more}, found {names}.{_hint(files)}")
    head = heads[0]
    parts = COMPANIONS.get(_suffix(head), ())
    strangers = [file.name for file in files if file is not head and _suffix(file) not in parts]
    if strangers:
        raise UploadError(f"{_list(strangers)} does not belong to {head.name}: remove it.")
    _check_companions(head, {file.name for file in files})
    names = [file.name for file in files]
    if len(set(names)) != len(names):
        raise UploadError(f"Expected every file once, found {_list(names)}.")
    folder = Path(folder)
    for file in files:
        _link(file, folder / file.name)
    return folder / head.name


def _check_companions(head: Path, names: set[str]) -> None:
    """Raise where files that the header names were not dropped with it.

    A header may name a file anywhere; only what came along with it may be read (see
    :func:`open_recording`, too).
    """
    if _suffix(head) != ".vhdr":
        return
    text = head.read_text("utf-8", errors="replace")
    wanted = _NAMED.findall(text)
    if "datafile" not in [key.lower() for key, _ in wanted]:
        raise UploadError(f"{head.name} is no BrainVision header: it names no DataFile.")
    absent = [name for _, name in wanted if name not in names]
    if absent:
        raise UploadError(
            f"{head.name} belongs together with {_list(absent)}: drop all of its files at once."
        )


def open_recording(path: Path) -> Any:
    """Open what :func:`gather_recording` laid down, with its signal on disk.

    Returns
    -------
    mne.io.BaseRaw

    Raises
    ------
    ValueError
        MNE cannot read it; the message carries MNE's reason.
    UploadError
        It draws on a file that did not come along with it.
    """
    try:
        raw = read_recording(path, preload=False)
    except ValueError as error:
        text = str(error).replace(f"{path.parent}{os.sep}", "")  # its folder is ours alone
        raise UploadError(text) from error
    folder = path.parent.resolve()
    for file in raw.filenames:
        if file is not None and Path(file).resolve().parent != folder:
            raise UploadError(
                f"{path.name} draws on {Path(file).name}, which did not come along with it: drop "
                "both at once."
            )
    return raw


def _suffix(file: Path) -> str:
    name = file.name.lower()
    return ".fif" if name.endswith(".fif.gz") else Path(name).suffix


def _hint(files: Sequence[Path]) -> str:
    """What a lone companion is missing."""
    for head, parts in COMPANIONS.items():
        lone = [file.name for file in files if _suffix(file) in parts]
        if lone and not any(_suffix(file) == head for file in files):
            return f" {_list(lone)} is read through its {head} file: drop both."
    return ""


def _list(names) -> str:
    return ", ".join(names)


def _link(file: Path, target: Path) -> None:
    """The same bytes under another name, without a second copy where the disk allows it."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
