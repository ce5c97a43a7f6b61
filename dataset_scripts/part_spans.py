"""Where the parts of a recording lie in time, and which windows lie in one of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

from modeling_mteeg.dataset_scripts.recording import Segment
from modeling_mteeg.model.record_parts import Part

OVER_A_JOINT = "over a joint of two parts, or in a gap"
TWICE = "in parts whose times overlap"
BEYOND = "beyond the recording"


@dataclasses.dataclass(frozen=True)
class Span:
    """When a part of a recording was recorded.

    Parameters
    ----------
    start, stop : int
        First sample and the one behind the last, at the card's rate, counted from the recording's
        start; pauses count. A start between two samples is rounded to the nearest.
    """

    start: int
    stop: int

    @property
    def samples(self) -> int:
        """Its length."""
        return self.stop - self.start


def span_of(part: Part, samples: int, rate_hz: float) -> Span:
    """The span of a part that has so many samples at ``rate_hz``."""
    start = round(part.onset_s * rate_hz)
    return Span(start, start + samples)


def placed(
    segments: Sequence[Segment], spans: Sequence[Span], length: int
) -> tuple[list[Segment], Counter[str]]:
    """Windows that lie in one part, with its number; and those that do not, by reason.

    Parameters
    ----------
    segments : sequence of Segment
        By true times.
    spans : sequence of Span
    length : int
        Samples of a window.
    """
    kept, left_out = [], Counter()
    for segment in segments:
        part, reason = place_of(segment.start, segment.start + length, spans)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(dataclasses.replace(segment, part=part))
    return kept, left_out


def place_of(start: int, stop: int, spans: Sequence[Span]) -> tuple[int, str]:
    """Number of the only part that holds [start, stop), or why there is none."""
    inside = [number for number, span in enumerate(spans)
              if span.start <= start and stop <= span.stop]  # fmt: skip
    if len(inside) == 1:
        return inside[0], ""
    if inside:
        return -1, TWICE
    outside = start < min(span.start for span in spans) or stop > max(span.stop for span in spans)
    return -1, BEYOND if outside else OVER_A_JOINT


def part_by_part(
    spans: Sequence[Span],
    length: int,
    segments_of: Callable[[int], tuple[list[Segment], Counter[str]]],
) -> tuple[list[Segment], Counter[str]]:
    """Windows of every part that is as long as one, moved to the recording's time.

    Parameters
    ----------
    spans : sequence of Span
    length : int
        Samples of a window.
    segments_of : callable
        From a part's number to its windows, counted from its own first sample, and to the number
        of those that are left out by reason.
    """
    result, left_out = [], Counter()
    for number, span in enumerate(spans):
        if span.samples < length:
            continue
        segments, outside = segments_of(number)
        left_out += outside
        result += [
            dataclasses.replace(segment, start=segment.start + span.start, part=number)
            for segment in segments
        ]
    return result, left_out
