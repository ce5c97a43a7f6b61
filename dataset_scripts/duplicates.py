"""Recordings that are there twice under two names.

A copy counts its subject double, and may put the same windows into two splits, so only the first is
used; the other is skipped with the reason. (Two files of one name:
:func:`~modeling_mteeg.dataset_scripts.corpus.mark_repeated`.)
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from modeling_mteeg.dataset_scripts.corpus import Recording
from modeling_mteeg.dataset_scripts.sources import sha256_of_file
from modeling_mteeg.model.recording_headers import RecordingError, read_edf_header

NAMES_BYTES = 256
"""The fixed part of an EDF header holds names and dates; a copy may differ in them alone."""
_PROBE_BYTES = 2**16


def mark_same_signal(recordings: Sequence[Recording]) -> list[Recording]:
    """Of recordings with the same bytes behind the first 256 all but one carry a fault.

    The first is kept, but for a file whose header does not count its records: its repaired copy is.

    Parameters
    ----------
    recordings : sequence of Recording
        In the order in which the first is kept. Those that are left out or faulty already are
        passed on.

    Notes
    -----
    Sizes are compared first, then a few blocks, then everything, so that hardly any file is read
    as a whole unless it has a copy.
    """
    candidates = [
        recording
        for recording in recordings
        if not recording.left_out and not recording.fault and _has_content(recording.signal_file)
    ]
    groups: list[list[Recording]] = [candidates]
    for property_of in (_size, _probe, _digest):
        groups = [part for group in groups for part in _grouped(group, property_of)]
    first = {}
    for group in groups:
        kept = next((one for one in group if counts_right(one.signal_file)), group[0])
        first |= {one.key: kept for one in group if one is not kept}
    return [
        dataclasses.replace(
            recording,
            fault=f"{recording.path.name}: the same signal as {first[recording.key].path.name}; "
            "keep one of the two.",
            repeated=True,
        )
        if recording.key in first
        else recording
        for recording in recordings
    ]


def _grouped(
    recordings: Iterable[Recording], property_of: Callable[[Path], Hashable]
) -> list[list[Recording]]:
    """Groups of two or more with the same property; unreadable files are in none."""
    groups: dict[Hashable, list[Recording]] = {}
    for recording in recordings:
        try:
            groups.setdefault(property_of(recording.signal_file), []).append(recording)
        except OSError:  # reading it for its signal will name the fault
            continue
    return [group for group in groups.values() if len(group) > 1]


def _has_content(path: Path) -> bool:
    """Whether there is anything to compare; an empty file has another fault, named on reading."""
    return path.is_file() and _size(path) > NAMES_BYTES


def counts_right(path: Path) -> bool:
    """Whether an EDF header states the records that the file has; of other formats always."""
    if path.suffix.lower() not in (".edf", ".bdf"):
        return True
    try:
        header = read_edf_header(path)
    except RecordingError:
        return False
    return header.promised == header.records


def _size(path: Path) -> int:
    return path.stat().st_size


def _probe(path: Path) -> bytes:
    """Hash of three blocks: behind the names, in the middle, at the end."""
    size = _size(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for start in (NAMES_BYTES, size // 2, max(NAMES_BYTES, size - _PROBE_BYTES)):
            file.seek(start)
            digest.update(file.read(_PROBE_BYTES))
    return digest.digest()


def _digest(path: Path) -> str:
    return sha256_of_file(path, NAMES_BYTES)
