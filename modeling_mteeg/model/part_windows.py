"""Where windows lie in the parts of a recording, when that was, and what is in none of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from .filter_chain import PreprocessingInfo
from .findings import Finding
from .record_parts import Part, spans_text
from .visible_text import listed


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


def cut_windows(signal: np.ndarray, places: Sequence[PartWindows], window: int) -> np.ndarray:
    """Cut a filtered signal that is in memory.

    Parameters
    ----------
    signal : numpy.ndarray
        (channels, samples), the parts of ``places`` one behind the other.
    places : sequence of PartWindows
        That slide, and no last ones.
    window : int

    Returns
    -------
    numpy.ndarray
        (windows, channels, window); of one part a view.
    """
    pieces, begin = [], 0
    for place in places:
        piece = signal[:, begin : begin + place.samples]
        view = np.lib.stride_tricks.sliding_window_view(piece, window, axis=1)
        pieces.append(view[:, :: place.stride].transpose(1, 0, 2))
        begin += place.samples
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def end_finding(
    places: Sequence[PartWindows], window: int, rate_hz: float, answers: bool = True
) -> Finding | None:
    """Finding about the ends of parts that are in no window.

    Parameters
    ----------
    places : sequence of PartWindows
        That slide.
    window : int
    rate_hz : float
        Of the windows.
    answers : bool
        Whether windows get answers, of which these seconds have none, or are only cut.
    """
    spans = []
    for place in places:
        end = int(place.starts[-1]) + window
        if end < place.samples:
            begin_s = place.part.onset_s
            spans.append((begin_s + end / rate_hz, begin_s + place.samples / rate_hz))
    if not spans:
        return None
    fate = " and have no answer" if answers else ""
    lost = [f"{stop - start:.4g} s" for start, stop in spans]
    if len(places) == 1:
        sentence = f"The last {lost[0]} are in no window{fate}."
        end = "the recording"
    else:
        shown = [f"{text} before {stop:.6g} s" for text, (_, stop) in zip(lost, spans, strict=True)]
        sentence = (
            f"The ends of {len(spans)} of {len(places)} parts are in no window{fate}: "
            f"{listed(shown)}."
        )
        end = "its part"
    remedy = f"last_window (--last-window) adds a window that ends with {end}." if answers else ""
    return Finding("end-left-out", sentence, remedy, spans_s=tuple(spans))


def short_parts_finding(
    parts: Sequence[Part],
    places: Sequence[PartWindows],
    rate_hz: float,
    window_s: float,
    answers: bool = True,
) -> Finding | None:
    """Finding about parts that no window fits into.

    Parameters
    ----------
    rate_hz : float
        Of the recording.
    answers : bool
        See :func:`end_finding`.
    """
    kept = {place.part for place in places}
    spans = [
        (part.onset_s, part.onset_s + part.samples / rate_hz) for part in parts if part not in kept
    ]
    if not spans:
        return None
    return Finding(
        "parts",
        f"{len(spans)} of {len(parts)} parts are shorter than a window of {window_s:g} s and "
        f"{'have no answer' if answers else 'left out'}: {spans_text(spans)}.",
        spans_s=tuple(spans),
    )
