"""Times of the data records of an EDF+D or BDF+D file: where it has gaps, if it has any.

The letter D only says that records may have gaps. Every record begins its first annotation signal
with the second at which it was recorded (Kemp and Olivan 2003, "time-keeping TAL"); a file whose
records follow each other is a continuous one, whatever its letter.
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

if TYPE_CHECKING:
    from .recording_headers import EdfHeader

ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
"""Labels of the signals that hold annotations."""
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)\x14")
_ONSET_BYTES = 32
_ROUNDED_S = 1.5e-3
_SHOWN = 5
_LEAST_DRIFT_S = 0.1


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Records without a gap between them.

    Parameters
    ----------
    first_s : float
        Seconds of signal before it in the file, the gaps left out.
    onset_s, stop_s : float
        When it was recorded, in seconds from the first record.
    """

    first_s: float
    onset_s: float
    stop_s: float


def may_have_gaps(path: str | Path) -> bool:
    """Whether a file says EDF+D or BDF+D where such files do."""
    with open(path, "rb") as file:
        return file.read(197)[193:] == b"DF+D"


def stretches(path: str | Path, header: EdfHeader) -> tuple[Stretch, ...] | None:
    """The stretches of a file, in its order; None where a record carries no time.

    Of hours of signal only the first bytes of every record's annotations are read.

    Notes
    -----
    Two records are apart where their onsets differ by a sample (or by 1.5 ms, since onsets are
    often written in ms) more or less than a record lasts; so a time that goes back is a gap, too.
    """
    if header.continuous:
        return (Stretch(0.0, 0.0, header.duration_s),)
    onsets = _onsets(Path(path), header)
    if onsets is None:
        return None
    onsets -= onsets[0]
    apart = np.abs(np.diff(onsets) - header.record_s) > _sample_s(header)  # (records - 1,)
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
        f"{Path(path).name}: its records go back in time (EDF+D): they were recorded at "
        f"{_shown(found)}, in this order. Sort them, or convert every part to a continuous file "
        "(EDFbrowser does that)."
    )


def drift_finding(path: str | Path, header: EdfHeader, found: Sequence[Stretch]) -> Finding | None:
    """Finding where records come later or earlier, each by less than a sample, and it adds up."""
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


def _onsets(path: Path, header: EdfHeader) -> np.ndarray | None:
    """Seconds at which the records (records,) were recorded, or None."""
    places = [i for i, label in enumerate(header.labels) if label in ANNOTATIONS]
    if not places:
        return None
    width = header.record_bytes // sum(header.samples)  # bytes a sample: 2, of BDF 3
    at = header.header_bytes + sum(header.samples[: places[0]]) * width
    count = min(_ONSET_BYTES, header.samples[places[0]] * width)
    onsets = np.empty(header.records)
    with open(path, "rb", buffering=0) as file:
        for record in range(header.records):
            file.seek(at + record * header.record_bytes)
            stamp = _ONSET.match(file.read(count))
            if stamp is None:
                return None
            onsets[record] = float(stamp[1])
    return onsets
