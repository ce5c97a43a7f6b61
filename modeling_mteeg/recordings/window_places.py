"""Where windows lie in the parts of a recording, and when that was."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..model.edf_annotations import Mark
from ..model.findings import Finding
from ..model.preprocessing import PreprocessingInfo
from ..model.record_parts import Part
from .sliding import SlidingWindows, WindowsAt

_SHOWN = 5


@dataclasses.dataclass(frozen=True, eq=False)
class PartWindows:
    """The windows of one part.

    Parameters
    ----------
    part : Part
    samples : int
        Length of the part after filtering, at the rate of the windows.
    starts : numpy.ndarray
        int64, (windows,), first samples at that rate, from the part's first one, ascending.
    onset_s : numpy.ndarray
        float64, (windows,), when they start, in seconds from the recording's start.
    stride : int or None
        Samples from one start to the next, where that is the same for all of them.
    cues : tuple of int
        Which cue each of them begins at, where they begin at cues.
    """

    part: Part
    samples: int
    starts: np.ndarray
    onset_s: np.ndarray
    stride: int | None = None
    cues: tuple[int, ...] = ()

    def cutter(self, window: int, channels: int) -> SlidingWindows | WindowsAt:
        """What cuts them out of the filtered part."""
        if self.stride is not None:
            return SlidingWindows(window, self.stride, channels)
        return WindowsAt(window, self.starts, channels)


def long_enough(
    parts: Sequence[Part], info: PreprocessingInfo, window: int
) -> list[tuple[Part, int]]:
    """Parts that a window fits into, with their lengths after filtering."""
    lengths = [(part, info.samples_out(part.samples)) for part in parts]
    return [(part, samples) for part, samples in lengths if samples >= window]


def sliding_places(
    parts: Sequence[Part], info: PreprocessingInfo, window: int, stride: int, last_window: bool
) -> list[PartWindows]:
    """Windows that slide over every part, window k of it from ``k * stride`` on.

    Parameters
    ----------
    parts : sequence of Part
    info : PreprocessingInfo
    window, stride : int
        In samples at the target rate.
    last_window : bool
        Whether a part whose end fills no window gets one more, that ends with it.

    Returns
    -------
    list of PartWindows
        Of the parts that are long enough.
    """
    places = []
    for part, samples in long_enough(parts, info, window):
        starts = np.arange(0, samples - window + 1, stride, dtype=np.int64)
        onset_s = part.onset_s + np.arange(len(starts)) * (stride / info.target_hz)
        last = samples - window
        if not last_window or starts[-1] == last:
            places.append(PartWindows(part, samples, starts, onset_s, stride))
            continue
        starts = np.append(starts, last)
        onset_s = np.append(onset_s, part.onset_s + last / info.target_hz)
        places.append(PartWindows(part, samples, starts, onset_s))
    return places


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


def end_finding(places: Sequence[PartWindows], window: int, rate_hz: float) -> Finding | None:
    """Finding about the ends of parts that are in no window.

    Parameters
    ----------
    places : sequence of PartWindows
        That slide.
    window : int
    rate_hz : float
        Of the windows.
    """
    spans = []
    for place in places:
        end = int(place.starts[-1]) + window
        if end < place.samples:
            begin_s = place.part.onset_s
            spans.append((begin_s + end / rate_hz, begin_s + place.samples / rate_hz))
    if not spans:
        return None
    lost = [f"{stop - start:.4g} s" for start, stop in spans]
    if len(places) == 1:
        sentence = f"The last {lost[0]} are in no window and have no answer."
        end = "the recording"
    else:
        shown = [f"{text} before {stop:.6g} s" for text, (_, stop) in zip(lost, spans, strict=True)]
        sentence = (
            f"The ends of {len(spans)} of {len(places)} parts are in no window and have no answer: "
            f"{_listed(shown)}."
        )
        end = "its part"
    remedy = f"last_window (--last-window) adds a window that ends with {end}."
    return Finding("end-left-out", sentence, remedy, spans_s=tuple(spans))


def short_parts_finding(
    parts: Sequence[Part], places: Sequence[PartWindows], rate_hz: float, window_s: float
) -> Finding | None:
    """Finding about parts that no window fits into.

    Parameters
    ----------
    rate_hz : float
        Of the recording.
    """
    kept = {place.part for place in places}
    spans = [
        (part.onset_s, part.onset_s + part.samples / rate_hz) for part in parts if part not in kept
    ]
    if not spans:
        return None
    shown = [f"{start:.6g} to {stop:.6g} s" for start, stop in spans]
    return Finding(
        "parts",
        f"{len(spans)} of {len(parts)} parts are shorter than a window of {window_s:g} s and have "
        f"no answer: {_listed(shown)}.",
        spans_s=tuple(spans),
    )


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
        f"does not lie within the recording or one of its parts: {_listed(shown)}.",
        spans_s=tuple((begin, begin + window_s) for begin in begins),
    )


def _listed(shown: Sequence[str]) -> str:
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
