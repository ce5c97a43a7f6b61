"""Windows that begin at cues, and what cuts the windows of a part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..model.edf_annotations import Mark
from ..model.findings import Finding
from ..model.part_windows import PartWindows, long_enough
from ..model.preprocessing import PreprocessingInfo
from ..model.record_parts import Part
from ..model.visible_text import listed
from .sliding import SlidingWindows, WindowsAt


def cutter(place: PartWindows, window: int, channels: int) -> SlidingWindows | WindowsAt:
    """What cuts a part's windows out of its filtered signal, piece by piece."""
    if place.stride is not None:
        return SlidingWindows(window, place.stride, channels)
    return WindowsAt(window, place.starts, channels)


def cue_places(
    parts: Sequence[Part],
    info: PreprocessingInfo,
    window: int,
    cues: Sequence[Mark],
    offset_s: float = 0.0,
) -> tuple[list[PartWindows], list[int]]:
    """Windows that begin at cues.

    Parameters
    ----------
    cues : sequence of Mark
    offset_s : float
        From a cue's onset to its window's start. A window begins at the sample next to that.

    Returns
    -------
    places : list of PartWindows
        Of the parts that are long enough, also of those without a cue.
    outside : list of int
        Cues whose window does not fit into a part.
    """
    kept = long_enough(parts, info, window)
    begins = np.array([part.onset_s for part, _ in kept])
    found: list[list[tuple[int, int]]] = [[] for _ in kept]
    outside = []
    for number, cue in enumerate(cues):
        second = cue.onset_s + offset_s
        at = int(np.searchsorted(begins, second + 0.5 / info.target_hz, side="right")) - 1
        start = round((second - begins[at]) * info.target_hz) if at >= 0 else -1
        if at < 0 or start + window > kept[at][1]:
            outside.append(number)
        else:
            found[at].append((max(start, 0), number))
    places = []
    for (part, samples), pairs in zip(kept, found, strict=True):
        pairs.sort()  # of cues at one place the first one first
        starts = np.array([start for start, _ in pairs], dtype=np.int64)
        onset_s = part.onset_s + starts / info.target_hz
        numbers = tuple(number for _, number in pairs)
        places.append(PartWindows(part, samples, starts, onset_s, cues=numbers))
    return places, outside


def cues_finding(
    cues: Sequence[Mark], outside: Sequence[int], offset_s: float, window_s: float
) -> Finding | None:
    """Finding about cues whose window does not fit into a part."""
    if not outside:
        return None
    begins = [cues[number].onset_s + offset_s for number in outside]
    shown = [f"{cues[number].text} at {cues[number].onset_s:.6g} s".strip() for number in outside]
    return Finding(
        "cue-left-out",
        f"{len(outside)} of {len(cues)} cues have no answer, since their window of {window_s:g} s "
        f"does not lie within the recording or one of its parts: {listed(shown)}.",
        spans_s=tuple((begin, begin + window_s) for begin in begins),
    )
