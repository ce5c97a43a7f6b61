"""Recordings below a folder: every file of a format of EEG, or those of a BIDS dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..model.bids_sidecars import DESCRIPTION, entities_of, is_bids_eeg
from ..model.file_choice import RECORDINGS, is_recording_folder

SUFFIXES = (*RECORDINGS, ".data", ".eeg")
"""Suffixes that MNE reads EEG by; ``.eeg`` is Nihon Kohden's where no BrainVision header stands
beside it."""
BESIDE_THE_DATA = ("derivatives", "sourcedata", "code", "stimuli", "phenotype")
"""Folders of a BIDS dataset that hold what its recordings came from, or what was made of them."""


def walk(raw: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[Path]:
    """Paths below a folder with one of these suffixes, links that lead nowhere too.

    Hidden files and folders are passed over: a dataset under git-annex holds every file once more
    below ``.git``, under a name that says nothing. Links to folders are followed.
    """
    seen = set()
    for folder, folders, files in os.walk(raw, followlinks=True):
        place = os.stat(folder)
        again = (place.st_dev, place.st_ino) in seen  # a link back to where it lies
        seen.add((place.st_dev, place.st_ino))
        if again:
            folders.clear()
            continue
        visible = sorted(inner for inner in folders if not inner.startswith("."))
        recordings = [inner for inner in visible if inner.lower().endswith(".mff")]
        folders[:] = [inner for inner in visible if inner not in recordings]
        for name in sorted([*files, *recordings]):
            path = Path(folder) / name
            if name.startswith(".") or not name.lower().endswith(suffixes):
                continue
            if name.lower().endswith(".eeg") and _has_header(path):
                continue
            yield path


def _has_header(path: Path) -> bool:
    """Whether it is the signal of a BrainVision recording, whose header stands beside it."""
    return any(path.with_suffix(suffix).exists() for suffix in (".vhdr", ".ahdr"))


def folder_beside_the_data(raw: Path, path: Path) -> str:
    """Which folder of a BIDS dataset below ``raw`` takes a file out of the dataset's recordings.

    Parameters
    ----------
    raw, path : pathlib.Path
        A folder and a file below it. Where ``raw`` itself lies in such a folder, it is the dataset.

    Returns
    -------
    str
        One of :data:`BESIDE_THE_DATA`; empty: none.
    """
    place = raw
    for part in path.relative_to(raw).parts[:-1]:
        if part in BESIDE_THE_DATA and _is_dataset(place):
            return part
        place = place / part
    return ""


def _is_dataset(folder: Path) -> bool:
    return (folder / DESCRIPTION).is_file() or next(folder.glob("sub-*"), None) is not None


def bids_recordings(folder: str | Path) -> tuple[list[Path], dict[str, int]]:
    """EEG recordings of a BIDS dataset, or of a folder of one (a subject, a session).

    Parameters
    ----------
    folder : str or pathlib.Path

    Returns
    -------
    recordings : list of pathlib.Path
        Files named ``sub-..._eeg.*``, sorted by path. Of a FIF recording in parts the first one,
        with which the others are read.
    passed_over : dict of str to int
        How many recordings lie in folders that are beside the data, by folder.
    """
    folder = Path(folder)
    recordings, passed_over = [], {}
    for path in sorted(walk(folder)):
        later_part = entities_of(path).get("split", "1").lstrip("0") != "1"
        if not is_bids_eeg(path) or later_part:
            continue
        beside = folder_beside_the_data(folder, path)
        if beside:
            passed_over[beside] = passed_over.get(beside, 0) + 1
        else:
            recordings.append(path)
    return recordings, passed_over


def files_of(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Files of recordings that were asked for; of a BIDS folder all its EEG recordings.

    Parameters
    ----------
    paths : iterable of str or pathlib.Path
        Files, and folders of BIDS datasets. Other folders stay as they are: opening one says
        which files lie in it.

    Returns
    -------
    files : list of pathlib.Path
        Each once, in the order asked for.
    sentences : list of str
        What became of folders.
    """
    files: list[Path] = []
    sentences = []
    for path in map(Path, paths):
        if not path.is_dir() or is_recording_folder(path):
            files.append(path)
            continue
        found, passed_over = bids_recordings(path)
        files += found or [path]
        if found:
            sentences.append(f"{path}: {_counted(found)}{_passed(passed_over)}")
    return list(dict.fromkeys(files)), sentences


def _counted(files: Sequence[Path]) -> str:
    subjects = {entities_of(file)["sub"] for file in files}
    of_files, of_subjects = ("" if len(some) == 1 else "s" for some in (files, subjects))
    return f"{len(files)} EEG recording{of_files} of {len(subjects)} subject{of_subjects}"


def _passed(counts: dict[str, int]) -> str:
    if not counts:
        return ""
    shown = ", ".join(f"{count} in {folder}" for folder, count in counts.items())
    return f"; passed over: {shown} (name that folder to take them)"
