"""EDF, EDF+, BDF: sizes, ranges, samples, and the time stamps of the records."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STAMP = re.compile(rb"^([+-]\d+(?:\.\d*)?)(?:\x15[^\x14]*)?\x14")
LIST = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\x00]*)\x14?\x00")
_NOTES = ("EDF Annotations", "BDF Annotations")


def number(part: bytes) -> float:
    """The number in a field; NaN: none."""
    try:
        return float(part.decode("ascii").strip(" \0").replace(",", "."))
    except (UnicodeDecodeError, ValueError):
        return math.nan


@dataclass
class Edf:
    """The fields of a file, unchecked."""

    path: Path
    content: bytes

    def __post_init__(self) -> None:
        head = self.content[:256]
        self.wide = head[:1] == b"\xff" or self.path.suffix.lower() == ".bdf"
        self.width = 3 if self.wide else 2
        count = number(head[252:256])
        self.signals = int(count) if 1 <= count <= 9999 and count == int(count) else 0
        self.header_bytes, self.records = number(head[184:192]), number(head[236:244])
        self.record_s, self.reserved = number(head[244:252]), head[192:236]
        table = self.content[256 : 256 * (self.signals + 1)]

        def column(offset: int, width: int) -> list[bytes]:
            start = offset * self.signals
            return [table[start + i * width : start + (i + 1) * width]
                    for i in range(self.signals)]  # fmt: skip

        self.labels = [part.decode("latin-1").strip(" \0") for part in column(0, 16)]
        self.physical = [tuple(map(number, pair)) for pair in zip(column(104, 8), column(112, 8),
                                                                  strict=True)]  # fmt: skip
        self.digital = [tuple(map(number, pair)) for pair in zip(column(120, 8), column(128, 8),
                                                                 strict=True)]  # fmt: skip
        self.samples = [number(part) for part in column(216, 8)]
        self.is_note = [label in _NOTES for label in self.labels]

    @property
    def sized(self) -> bool:
        """Whether the numbers of samples can be numbers of samples."""
        return bool(self.samples) and all(
            1 <= count <= 2**24 and count == int(count) for count in self.samples
        )

    @property
    def record_bytes(self) -> int:
        return int(sum(self.samples)) * self.width

    @property
    def held(self) -> int:
        """Whole records in the file."""
        return max(0, len(self.content) - 256 * (self.signals + 1)) // self.record_bytes

    def signal(self, index: int) -> np.ndarray:
        """Digital samples of one signal, (records, samples)."""
        start = 256 * (self.signals + 1)
        body = np.frombuffer(self.content, np.uint8)[start : start + self.held * self.record_bytes]
        rows = body.reshape(self.held, self.record_bytes)
        begin = int(sum(self.samples[:index])) * self.width
        part = rows[:, begin : begin + int(self.samples[index]) * self.width]
        part = np.ascontiguousarray(part).reshape(self.held, -1, self.width).astype(np.int32)
        value = sum(part[..., byte] << (8 * byte) for byte in range(self.width))
        high = 1 << (8 * self.width - 1)
        return np.where(value >= high, value - 2 * high, value)

    def notes(self) -> list[bytes]:
        """Bytes of the first annotation signal by record."""
        index = self.is_note.index(True)
        start = 256 * (self.signals + 1) + int(sum(self.samples[:index])) * self.width
        length = int(self.samples[index]) * self.width
        places = [start + record * self.record_bytes for record in range(self.held)]
        return [self.content[place : place + length] for place in places]


def edf(path: Path) -> list[str]:
    """What contradicts in one file."""
    return of_content(Edf(path, path.read_bytes()))


def of_content(file: Edf) -> list[str]:
    """See :func:`edf`."""
    if len(file.content) < 256:
        return [f"{len(file.content)} bytes are no header"]
    if not file.signals:
        return ["the number of signals is none"]
    found = _sizes(file)
    if not file.sized:
        return [*found, "the samples of a record are no numbers of samples"]
    if file.signals and not all(file.is_note) and not file.record_s > 0:
        found.append(f"a record lasts {file.record_s} s")
    return found + _ranges(file) + _times(file)


def _sizes(file: Edf) -> list[str]:
    found = []
    if file.header_bytes != 256 * (file.signals + 1):
        found.append(f"{file.signals} signals and a header of {file.header_bytes:g} bytes")
    body = len(file.content) - 256 * (file.signals + 1)
    if body < 0:
        return [*found, "the file ends in its header"]
    if file.sized and file.records != -1 and body != file.records * file.record_bytes:
        found.append(f"{body} bytes of records, stated {file.records:g} of {file.record_bytes}")
    if file.sized and file.records == -1 and body % file.record_bytes:
        found.append(f"{body} bytes are no whole number of records of {file.record_bytes}")
    return found


def _ranges(file: Edf) -> list[str]:
    found, limit = [], 2 ** (8 * file.width - 1)
    for index, label in enumerate(file.labels):
        if file.is_note[index]:
            continue
        (low, high), (least, most) = file.digital[index], file.physical[index]
        if not low < high:
            found.append(f"{label}: digital minimum {low:g}, maximum {high:g}")
            continue
        if low < -limit - 1 or high > limit:  # some count one more than there is
            found.append(f"{label}: {low:g} to {high:g} are not of {8 * file.width} bits")
        if not (math.isfinite(least) and math.isfinite(most)) or least == most:
            found.append(f"{label}: physical minimum {least:g}, maximum {most:g}")
        if file.held:
            values = file.signal(index)
            # One count is a habit of writers: -32768 under a minimum of -32767.
            if values.min() < low - 1 or values.max() > high + 1:
                found.append(f"{label}: samples {values.min()} to {values.max()} outside "
                             f"{low:g} to {high:g}")  # fmt: skip
    return found


def _times(file: Edf) -> list[str]:
    """The records' own times against their duration.

    A time that is missing contradicts nothing where records follow each other (+C).
    """
    if not any(file.is_note) or not file.held or all(file.is_note):
        return []
    stamps = [STAMP.match(part) for part in file.notes()]
    gaps = file.reserved[3:5] == b"+D"
    lacking = sum(stamp is None for stamp in stamps)
    if gaps and lacking:
        return [f"{lacking} of {len(stamps)} records have no time"]
    seconds = [math.nan if stamp is None else float(stamp[1]) for stamp in stamps]
    steps = np.diff(seconds)  # NaN beside a missing one, which is neither more nor less
    most = max((n for n, note in zip(file.samples, file.is_note, strict=True) if not note),
               default=1)  # fmt: skip
    allowed = max(file.record_s / most, 1.5e-3)
    off = steps - file.record_s
    # Pauses contradict the letter C alone; without a letter nothing is said of them.
    wrong = np.abs(off) > allowed if file.reserved[3:5] == b"+C" else off < -allowed
    if wrong.any():
        return [f"records last {file.record_s:g} s and follow each other after "
                f"{steps[wrong][0]:g} s ({int(wrong.sum())} of them)"]  # fmt: skip
    return []


def listed_notes(file: Edf) -> list[tuple[float, float, str]]:
    """Onset, duration and text of all annotations of a file."""
    found = []
    for index, is_note in enumerate(file.is_note):
        if not is_note:
            continue
        for record in range(file.held):
            start = 256 * (file.signals + 1) + record * file.record_bytes
            start += int(sum(file.samples[:index])) * file.width
            part = file.content[start : start + int(file.samples[index]) * file.width]
            for one in LIST.finditer(part):
                for text in one[3].split(b"\x14"):
                    if text:
                        found.append((float(one[1]), float(one[2] or 0), text.decode("latin-1")))
    return found
