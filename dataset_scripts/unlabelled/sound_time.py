"""Which samples of a recording windows may hold: between joints, and beside what says nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from modeling_mteeg.model.preprocessing import PreprocessingInfo
from modeling_mteeg.model.record_parts import Part
from modeling_mteeg.model.recording_sources import Source

MOSTLY = 0.5
"""Share of the time that the others were recorded from which on a channel that stays at one value
is left out, instead of its seconds in all channels."""
Span = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SoundPart:
    """A part of a recording, and the samples of it that can be used.

    Parameters
    ----------
    start, stop : int
        First sample as recorded, and the one behind the last.
    onset_s : float
        In seconds from the recording's start; pauses count.
    samples : int
        Its length at 200 Hz.
    runs : tuple of (int, int)
        First and last sample (exclusive) of what can be used, at 200 Hz, from the part's start.
    """

    start: int
    stop: int
    onset_s: float
    samples: int
    runs: tuple[tuple[int, int], ...]


class SoundTime:
    """The time of a recording without marks as bad and without channels that stay at one value.

    Parameters
    ----------
    source : Source
    stretches : mapping of str to sequence of (int, int)
        By channel, where it stays at one value: samples as recorded, apart and in order.
    channels : sequence of str
        Those that may be used.

    Attributes
    ----------
    mostly_constant : dict of str to str
        Channels that stay at one value for most of the recording, with the reason to leave them
        out; what all channels share, as padded ends, does not count.
    notes : tuple of str
        How many seconds are left out, and why.
    """

    def __init__(
        self,
        source: Source,
        stretches: Mapping[str, Sequence[tuple[int, int]]],
        channels: Sequence[str],
    ) -> None:
        self._source, rate_hz = source, source.rate_hz
        padded = where_at_least(stretches.values(), max(1, len(channels)))
        recorded = sum(part.samples for part in source.parts) - _length(padded)
        self.mostly_constant: dict[str, str] = {}
        for channel, spans in stretches.items():
            constant = _length(spans) - _length(padded)
            if constant > MOSTLY * recorded:
                self.mostly_constant[channel] = f"at one value for {_length(spans) / rate_hz:.6g} s"
        rest = {channel: spans for channel, spans in stretches.items()
                if channel not in self.mostly_constant}  # fmt: skip
        self._constant = where_at_least(rest.values(), 1)
        self._marked = [span for part in source.parts for span in self._marks_in(part)]
        names = ", ".join(rest)
        self.notes = tuple(
            f"{_length(where_at_least([[span] for span in spans], 1)) / rate_hz:.6g} s are left "
            f"out: {why}"
            for spans, why in (
                (self._marked, "marked as bad"),
                (self._constant, f"{names} at one value"),
            )
            if spans
        )

    def _marks_in(self, part: Part) -> Iterable[Span]:
        """Marks as bad in samples as recorded; of a moment the sample that it lies in."""
        rate_hz = self._source.rate_hz
        for mark in self._source.marks:
            if not mark.is_bad:
                continue
            first = part.start + (mark.onset_s - part.onset_s) * rate_hz
            last = first + mark.duration_s * rate_hz
            if not mark.duration_s:
                first = math.floor(first + 1e-6)
                last = first + 1
            if first < part.stop and last > part.start:
                yield max(first, part.start), min(last, part.stop)

    def parts(self, info: PreprocessingInfo) -> tuple[SoundPart, ...]:
        """Parts and the runs of usable samples in them, after filters and resampling."""
        ratio = info.target_hz / info.rate_hz
        unsound = [[span] for span in (*self._marked, *self._constant)]
        gone = where_at_least(unsound, 1)
        result = []
        for part in self._source.parts:
            samples, runs, place = info.samples_out(part.samples), [], 0
            for first, last in gone:
                start = (first - part.start) * ratio
                stop = (last - part.start) * ratio
                if stop <= 0 or start >= samples:
                    continue
                runs.append((place, min(math.floor(start + 1e-6), samples)))
                place = max(place, math.ceil(stop - 1e-6))
            runs.append((place, samples))
            runs = tuple((start, stop) for start, stop in runs if stop > start)
            result.append(SoundPart(part.start, part.stop, part.onset_s, samples, runs))
        return tuple(result)


def where_at_least(spans: Iterable[Sequence[Span]], count: int) -> list[Span]:
    """Where at least ``count`` of several sets of spans are, in order and apart."""
    # At one place starts come before ends, so that neighbours are one.
    edges = sorted(
        edge for some in spans for start, stop in some for edge in ((start, -1), (stop, 1))
    )
    result: list[Span] = []
    depth, since = 0, 0.0
    for place, end in edges:
        before, depth = depth, depth - end
        if before < count <= depth:
            since = place
        elif depth < count <= before and place > since:
            result.append((since, place))
    return result


def _length(spans: Iterable[Span]) -> float:
    return sum(stop - start for start, stop in spans)


def rows_of(source: Source, rows: Sequence[int]) -> Source:
    """The same recording with the channels at these positions alone."""
    kept = list(rows)
    return dataclasses.replace(
        source,
        names=tuple(source.names[row] for row in kept),
        read=lambda positions, *part: source.read([kept[p] for p in positions], *part),
        upsampled=lambda positions: source.upsampled([kept[p] for p in positions]),
    )
