"""Is this the file to open? Formats of several files, hidden files and folders, by name alone."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADS = {
    ".eeg": (".vhdr", ".ahdr"), ".vmrk": (".vhdr",), ".amrk": (".ahdr",), ".avg": (".vhdr",),
    ".dat": (".vhdr", ".lay"), ".fdt": (".set",), ".pnt": (".eeg",), ".21e": (".eeg",),
    ".11d": (".eeg",), ".cmt": (".eeg",), ".cn2": (".eeg",),
}  # fmt: skip
"""Files that are read through another one: by suffix, the suffixes of that one."""
_ALONE = (".fdt", ".vmrk", ".amrk", ".avg", ".pnt", ".21e", ".11d", ".cmt", ".cn2")
"""Those of them that no reader opens."""
_CURRY = (".dap", ".rs3")
_FOLDERS = (".ds", ".mff", ".mefd", ".fil")
"""Folders that are one recording."""
RECORDINGS = (
    ".edf", ".bdf", ".gdf", ".vhdr", ".ahdr", ".set", ".cnt", ".fif", ".fif.gz", ".mff", ".nxe",
    ".lay", ".cdt", ".dap", ".nedf",
)  # fmt: skip
_NEAR_INFRARED = (".snirf", ".hdr")
"""What MNE reads besides, with HDF5 and MATLAB's files among it, and is no EEG."""
_MAC = b"\0\5\x16\7"
_MOST_LOOKED_AT, _SHOWN = 2000, 3
_NAMED = re.compile(r"^\s*(?:DataFile|MarkerFile)\s*=\s*(.*?)\s*$", re.MULTILINE | re.I)
_PACKAGES = {"pymatreader": "EEGLAB of MATLAB 7.3", "mffpy": "MFF", "curryreader": "Curry",
             "defusedxml": "NEDF and MFF", "antio": "ANT eego"}  # fmt: skip
"""Packages that MNE reads some formats with, and does not bring along."""
FORMATS_EXTRA = "modeling-mteeg[formats]"
"""The extra that has all of them."""


def check_choice(path: Path) -> None:
    """Raise ``ValueError`` with the file to open where ``path``, which exists, is not it.

    Raises
    ------
    ValueError
        A hidden file of a Mac, a folder that is no recording, or a file whose header is another.
    """
    if path.is_dir():
        if not is_recording_folder(path):
            raise ValueError(_folder_text(path))
        return
    right = path.name.removeprefix("._")
    beside = path.name != right and path.with_name(right).exists()
    if _begin(path) == _MAC or beside:
        raise ValueError(
            f"{path}: not a recording, but what a Mac writes beside a file. Open {right} instead."
        )
    heads = [head.name for head in _heads_of(path)]
    suffix = path.suffix.lower()
    if suffix in _NEAR_INFRARED:
        raise ValueError(f"{path}: a near-infrared recording. Expected one of EEG.")
    if heads:
        raise ValueError(
            f"{path}: a part of a recording that is read through its header. Open "
            f"{' or '.join(heads)} instead."
        )
    if suffix in _ALONE:
        raise ValueError(
            f"{path}: a part of a recording that is read through its {HEADS[suffix][0]} file, "
            "which is not beside it. Put the files into one folder and open that one."
        )


def is_recording_folder(path: Path) -> bool:
    """Whether a folder is one recording, by its suffix."""
    return path.suffix.lower() in _FOLDERS


def plain_path(recording: Any) -> Any:
    """The file of a ``mne_bids.BIDSPath``, which is of EEG if it says nothing; others as they are.

    Raises
    ------
    ValueError
        It names no file, or several.
    """
    if not hasattr(type(recording), "fpath"):  # of the class: its value is searched for on disk
        return recording
    unsaid = [key for key in ("suffix", "datatype") if getattr(recording, key, "") is None]
    try:
        if unsaid:
            recording = recording.copy().update(**dict.fromkeys(unsaid, "eeg"))
        return Path(recording.fpath)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{recording}: expected the path of one recording: {reason}") from error


def absent_text(path: Path) -> str:
    """A sentence about a recording that is not there."""
    if path.is_symlink():
        try:
            path.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return f"{path}: a link that leads back to itself. Put the recording in its place."
        return (
            f"{path}: a link to a file that is not there. Fetch it first (of a DataLad or "
            f"git-annex dataset: datalad get {path.name})."
        )
    return f"No recording: expected a file {path}."


def is_ant(path: Path) -> bool:
    """Whether a ``.cnt`` file is one of ANT eego, a format of its own, not Neuroscan's."""
    return _begin(path) in (b"RIFF", b"RF64")


def hint_after_failure(path: Path, error: BaseException) -> str:
    """A sentence, with a blank before it, on why a file could not be read; "" if unknown."""
    errors = [error]
    while (below := errors[-1].__cause__ or errors[-1].__context__) is not None:
        errors.append(below)
    name = _package_of(path, " ".join(map(str, errors)))
    if name and importlib.util.find_spec(name) is None:
        return (
            f" Its format is {_PACKAGES[name]}, which needs a package: pip install {name}, or "
            f"pip install '{FORMATS_EXTRA}' for all such formats."
        )
    if any(isinstance(one, FileNotFoundError) for one in errors):
        return (
            " A file that belongs to it is not there: put all files of the recording into one "
            "folder, under the names that they had."
        )
    suffix = path.suffix.lower()
    if suffix in HEADS:
        heads = " or ".join(HEADS[suffix])
        return f" Files that end in {suffix} are mostly read through a {heads} file: open that one."
    return ""


def _package_of(path: Path, text: str) -> str:
    """Which of the packages a file needs, by its name and what readers said; "" if none."""
    suffix = path.suffix.lower()
    if suffix == ".cnt" and is_ant(path):
        return "antio"
    if suffix == ".set" and "v7.3" in text:
        return "pymatreader"
    if suffix == ".dat" and any(path.with_suffix(other).exists() for other in _CURRY):
        return "curryreader"
    return next((name for name in _PACKAGES if name in text), "")


def _begin(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with open(path, "rb") as file:
        return file.read(4)


def _heads_of(path: Path) -> list[Path]:
    """Header files in its folder that a file belongs to."""
    suffixes = HEADS.get(path.suffix.lower(), ())
    if not suffixes:
        return []
    beside = [file for file in path.parent.iterdir() if not file.name.startswith(".")]
    of_stem = [file for file in beside if file.stem == path.stem]
    if path.suffix.lower() == ".dat" and any(f.suffix.lower() in _CURRY for f in of_stem):
        return []  # Curry's reader takes any of its files
    heads = [file for file in of_stem if file.suffix.lower() in suffixes]
    brainvision = [file for file in beside if file.suffix.lower() in suffixes[:1]
                   and file.suffix.lower() in (".vhdr", ".ahdr")]  # fmt: skip
    return heads or sorted(file for file in brainvision if path.name in named_by(file))


def named_by(header: Path) -> list[str]:
    """Names of the files that a BrainVision header says its data and markers are in."""
    with open(header, "rb") as file:
        content = file.read(2**16)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [name.replace("$b", header.stem) for name in _NAMED.findall(text)]


def _folder_text(folder: Path) -> str:
    found = list(_recordings_below(folder))
    if not found:
        return f"{folder}: a folder; expected the file of a recording, found none below it."
    shown = ", ".join(str(path.relative_to(folder)) for path in found[:_SHOWN])
    more = " and others" if len(found) > _SHOWN else ""
    return (
        f"{folder}: a folder; expected the file of a recording. Open one of those below it, or "
        f"name several: {shown}{more}."
    )


def _recordings_below(folder: Path) -> Iterator[Path]:
    """A few of the recordings below a folder, without looking at all of a large one."""
    looked_at = found = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(inner for inner in folders if not inner.startswith("."))
        for name in sorted(files):
            looked_at += 1
            if not name.startswith(".") and name.lower().endswith(RECORDINGS):
                found += 1
                yield Path(place) / name
            if found > _SHOWN or looked_at > _MOST_LOOKED_AT:
                return
