"""Times of the data records of an EDF+ or BDF+ file: where it has gaps, if it has any.

Every record begins its first annotation signal with the second at which it was recorded (Kemp and
Olivan 2003, "time-keeping TAL"). The letter D in the header only says that records may have gaps;
a file whose records follow each other is a continuous one, whatever its letter. Of a file that says
C, or nothing, a few records are looked at: where times contradict the header, times count.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .findings import Finding
from .header_fields import RecordingError

if TYPE_CHECKING:
    from .recording_headers import EdfHeader

ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
"""Labels of the signals that hold annotations."""
LOOKED_AT = "header and stretches"
"""Where a Raw that was opened here keeps them, so that nothing is read twice."""
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)\x14")
_OF_RECORD = re.compile(rb"([+-]\d+(?:\.\d*)?)\x14\x14")
"""Without a text behind it, as the time of a record is, and not that of an event."""
_ONSET_BYTES = 32
_ROUNDED_S = 1.5e-3
_SHOWN = 5
_LEAST_DRIFT_S = 0.1
_LOOKS = 32
_LEAST_STEPS = 3
_MOST_SHARE = 0.9
_MOST_DRIFT = 0.01
_MOST_S = 1e9
"""Thirty years: no recording is longer."""


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Records without a gap between them.

    Parameters
    ----------
    first_s : float
        Seconds of signal before it in the file, the gaps left out.
    onset_s, stop_s : float
        When it was recorded, in seconds from the first record.
    timed : bool
        False where its records all carry one and the same time, which is none.
    """

    first_s: float
    onset_s: float
    stop_s: float
    timed: bool = True


def stretches(path: str | Path, header: EdfHeader) -> tuple[Stretch, ...] | None:
    """The stretches of a file, in its order; None where a record carries no time.

    Of hours of signal only the first bytes of every record's annotations are read; of a file that
    says that it is continuous those of a few records, as long as they agree.

    Raises
    ------
    RecordingError
        The times contradict how long a record lasts by the header, and so the rate; or the
        annotations are not where the header has them.

    Notes
    -----
    Two records are apart where their onsets differ by a sample (or by 1.5 ms, since onsets are
    often written in ms) more or less than a record lasts; so a time that goes back is a gap, too.
    """
    whole = Stretch(0.0, 0.0, header.duration_s)
    if header.continuous and not _contradicted(Path(path), header):
        return (whole,)
    onsets = _onsets(Path(path), header, _OF_RECORD if header.continuous else _ONSET)
    if onsets is None:
        if header.continuous:
            raise RecordingError(
                f"{Path(path).name}: some of its records say other times than follow from its "
                "header, and others none. Convert it to a continuous file (EDFbrowser does that)."
            )
        return None
    onsets -= onsets[0]
    if header.continuous and not onsets.any():
        return (dataclasses.replace(whole, timed=False),)
    step_s = _step_s(Path(path), header, onsets)
    apart = np.abs(np.diff(onsets) - step_s) > _sample_s(header)  # (records - 1,)
    firsts = [0, *(np.flatnonzero(apart) + 1).tolist()]
    lasts = [*(first - 1 for first in firsts[1:]), header.records - 1]
    return tuple(
        Stretch(first * header.record_s, float(onsets[first]),
                float(onsets[last]) + header.record_s)
        for first, last in zip(firsts, lasts, strict=True)
    )  # fmt: skip


def time_fault(path: str | Path) -> str:
    """Why a file whose records may have gaps and do not tell their times cannot be read."""
    return (
        f"{Path(path).name}: its records may have gaps (EDF+D), and not every one of them says "
        "when it was recorded. Where it is known to have none, write EDF+C for EDF+D into its "
        "header (BDF+C for BDF+D), else convert it to continuous files."
    )


def order_fault(path: str | Path, found: Sequence[Stretch]) -> str:
    """Why a file whose records go back in time cannot be read; "" where they do not."""
    if not any(after.onset_s < before.stop_s - _ROUNDED_S for before, after in pairwise(found)):
        return ""
    return (
        f"{Path(path).name}: its records go back in time: they were recorded at "
        f"{_shown(found)}, in this order. Sort them, or convert every part to a continuous file "
        "(EDFbrowser does that)."
    )


def drift_finding(path: str | Path, header: EdfHeader, found: Sequence[Stretch]) -> Finding | None:
    """Finding where records come later or earlier, each by less than a sample, and it adds up.

    Or where they all carry the same time, which therefore tells nothing.
    """
    if not found[0].timed:
        return Finding(
            "record-times",
            f"{Path(path).name}: all of its {header.records} records carry the same time, which is "
            "not used: read as continuous, by its rate.",
        )
    ends_s = [*(after.first_s for after in found[1:]), header.duration_s]
    off_s = max((one.stop_s - one.onset_s - (end_s - one.first_s)
                 for one, end_s in zip(found, ends_s, strict=True)), key=abs)  # fmt: skip
    if abs(off_s) < _LEAST_DRIFT_S:
        return None
    return Finding(
        "record-times",
        f"{Path(path).name}: by the times of its records it runs up to {abs(off_s):.3g} s "
        f"{'longer' if off_s > 0 else 'shorter'} than by its rate, without a gap of a sample; "
        "onsets are told by the rate.",
        "Is the rate in its header the true one?",
    )


def _shown(found: Sequence[Stretch]) -> str:
    shown = ", ".join(f"{one.onset_s:.6g} to {one.stop_s:.6g} s" for one in found[:_SHOWN])
    return shown + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _sample_s(header: EdfHeader) -> float:
    """Seconds from sample to sample, at least what onsets may be off by rounding."""
    most = max(
        (count for label, count in zip(header.labels, header.samples, strict=True)
         if label not in ANNOTATIONS), default=1
    )  # fmt: skip
    return max(header.record_s / most, _ROUNDED_S)


def _step_s(path: Path, header: EdfHeader, onsets: np.ndarray) -> float:
    """Seconds from record to record: as the header says, or a clock that is up to 1 % off.

    Raises
    ------
    RecordingError
        Nearly all records follow each other by another time, the same for all. Single gaps are
        gaps; then it is the length, and with it the rate, that is wrong.
    """
    steps = np.diff(onsets)  # (records - 1,)
    usual_s, near_s = float(np.median(steps)) if len(steps) else 0.0, _sample_s(header)
    alike = np.mean(np.abs(steps - usual_s) <= near_s) if len(steps) >= _LEAST_STEPS else 0.0
    if alike < _MOST_SHARE or abs(usual_s - header.record_s) <= near_s or usual_s <= 0:
        return header.record_s
    if abs(usual_s / header.record_s - 1) <= _MOST_DRIFT:
        return usual_s
    most = _most_samples(header)
    raise RecordingError(
        f"{path.name}: its header says that a record lasts {header.record_s:g} s ({most} samples: "
        f"{most / header.record_s:g} Hz), the times of its {header.records} records say "
        f"{usual_s:.6g} s ({most / usual_s:.6g} Hz). Write the right duration into its header (8 "
        "bytes at byte 244); where pauses between records are meant, convert every part to a "
        "continuous file (EDFbrowser does that)."
    )


def _most_samples(header: EdfHeader) -> int:
    """Samples a record of the signals with the highest rate."""
    return max(
        (count for label, count in zip(header.labels, header.samples, strict=True)
         if label not in ANNOTATIONS), default=1
    )  # fmt: skip


def _sample_s(header: EdfHeader) -> float:
    """Seconds from sample to sample, at least what onsets may be off by rounding."""
    return max(header.record_s / _most_samples(header), _ROUNDED_S)


def _place(header: EdfHeader) -> tuple[int, int] | None:
    """Where in the file the first record's time stands, and how many bytes are enough for it."""
    places = [i for i, label in enumerate(header.labels) if label in ANNOTATIONS]
    if not places:
        return None
    before = sum(header.samples[: places[0]]) * header.sample_bytes
    size = header.samples[places[0]] * header.sample_bytes
    return header.header_bytes + before, min(_ONSET_BYTES, size)


def has_time(path: Path, header: EdfHeader, record: int) -> bool:
    """Whether a record begins its annotations with a time, and so is where the header has it."""
    place = _place(header)
    if place is None:
        return False
    with open(path, "rb", buffering=0) as file:
        file.seek(place[0] + record * header.record_bytes)
        return _OF_RECORD.match(file.read(place[1])) is not None


def _contradicted(path: Path, header: EdfHeader) -> bool:
    """Whether a few records of a file carry times that do not follow from its header."""
    place = _place(header)
    if place is None or not header.has_signal:
        return False
    looks = np.unique(np.linspace(0, header.records - 1, _LOOKS).astype(int)).tolist()
    onsets = {}
    with open(path, "rb", buffering=0) as file:
        for record in looks:
            file.seek(place[0] + record * header.record_bytes)
            found = file.read(place[1])
            if found[:1] not in (b"\0", b" ", b"+", b"-", b"\x14"):
                raise RecordingError(
                    f"{path.name}: the annotations of record {record + 1} do not begin with its "
                    f"time, found {found[:8]!r}: the numbers of samples in its header do not fit "
                    "the file; download it again or repair it."
                )
            if stamp := _OF_RECORD.match(found):
                onsets[record] = float(stamp[1])
    if len(onsets) < 2:
        return False
    records, times = np.array(list(onsets)), np.array(list(onsets.values()))
    off_s = np.abs(times - times[0] - (records - records[0]) * header.record_s)
    return bool(off_s.max() >= max(_LEAST_DRIFT_S, _sample_s(header)))


def _onsets(path: Path, header: EdfHeader, form: re.Pattern[bytes]) -> np.ndarray | None:
    """Seconds at which the records (records,) were recorded, or None."""
    place = _place(header)
    if place is None:
        return None
    onsets = np.empty(header.records)
    with open(path, "rb", buffering=0) as file:
        for record in range(header.records):
            file.seek(place[0] + record * header.record_bytes)
            found = file.read(place[1])
            stamp = form.match(found)
            if stamp is None or abs(float(stamp[1])) > _MOST_S:
                return None
            onsets[record] = float(stamp[1])
    return onsets
