"""Annotations of EDF+ and BDF+ files, read from their annotation signals alone."""

from __future__ import annotations

import dataclasses
import re
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from .header_fields import RecordingError
from .label_numbers import seconds_of
from .record_times import ANNOTATIONS
from .recording_headers import EdfHeader

_STAMP = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?")
"""Onset and duration of a time-stamped annotation list."""


@dataclasses.dataclass(frozen=True)
class Mark:
    """An annotation.

    Parameters
    ----------
    onset_s, duration_s : float
        In seconds from the recording's start.
    text : str
    """

    onset_s: float
    duration_s: float
    text: str

    @property
    def is_bad(self) -> bool:
        """Whether it marks a bad part, by MNE's convention: its text begins with "bad"."""
        return self.text.lower().startswith("bad")


def read_edf_marks(path: str | Path, header: EdfHeader) -> list[Mark]:
    """Annotations of an EDF+ file by the time-stamped lists of the format.

    Text is UTF-8, as the format has it, or Latin-1 where it is no UTF-8.

    Raises
    ------
    RecordingError
        A time that no recording has.

    Notes
    -----
    A list is an onset, maybe 0x15 and a duration, then texts, each between 0x14, then 0x00. The
    first has no text: it says by how much the first record comes after the second that the header
    names. What has no such form is passed over, as MNE does. ``mne.read_annotations`` looks for
    annotations in every byte of the file, and a signal may hold bytes that look like one; and it
    drops what lies beyond the signal that is left when the gaps of an EDF+D file are closed.
    """
    # Mapped: of hours of signal only the pages with annotations are read.
    with open(path, "rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
        try:
            return _marks(content, header)
        except ValueError as error:
            raise RecordingError(
                f"{Path(path).name}: time of an annotation: {error}; download it again."
            ) from error


def _marks(content: bytes | mmap, header: EdfHeader) -> list[Mark]:
    width = header.record_bytes // max(1, sum(header.samples))  # bytes a sample: 2, of BDF 3
    ends = np.cumsum(header.samples) * width
    lists: list[bytes] = []
    for record in range(header.records):
        start = header.header_bytes + record * header.record_bytes
        for label, end, samples in zip(header.labels, ends, header.samples, strict=True):
            if label in ANNOTATIONS:
                lists += content[start + end - samples * width : start + end].split(b"\0")
    marks: list[Mark] = []
    offset = 0.0
    for number, entry in enumerate(filter(None, lists)):
        time, *texts = entry.split(b"\x14")
        stamp = _STAMP.fullmatch(time.strip())
        if stamp is None:
            continue
        onset, duration = (seconds_of(part.decode()) for part in (stamp[1], stamp[2] or b"0"))
        if number == 0 and texts[:1] == [b""]:
            offset = -onset
        marks += [Mark(onset + offset, duration, _decoded(text)) for text in texts if text]
    return marks


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")
