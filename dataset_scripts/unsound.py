"""Seconds of a recording that say nothing: marked as bad, or with channels that stay at one value.

Padded ends, a pulled plug, an amplifier at its limit: a window of them teaches a model nothing
that is true. Channels that are flat in the whole recording are another matter
(:mod:`modeling_mteeg.dataset_scripts.soundness`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from modeling_mteeg.dataset_scripts.recording import Recorded, Segment
from modeling_mteeg.model.constant_stretches import LEAST_SHARE, ConstantStretches
from modeling_mteeg.model.edf_annotations import Mark
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.model.window_quality import touching_s

MARKED_BAD = "over a part that is marked bad"
CONSTANT = f"with channels that are constant for {LEAST_SHARE:.0%} of it or more"
CONSTANT_KIND, BAD_KIND = "constant for a while", "a part of it is marked bad"
"""Kinds of warnings."""
_SHOWN = 8


def sound_windows(
    recorded: Recorded,
    segments: Sequence[Segment],
    left_out: Counter[str],
    card: TaskCard,
    leave_out_constant: bool,
) -> tuple[list[Segment], tuple[str, ...]]:
    """Windows of seconds that say something.

    Parameters
    ----------
    recorded : Recorded
        Of the card's channels.
    segments : sequence of Segment
    left_out : Counter
        Gets the numbers of the other windows, by reason.
    card : TaskCard
    leave_out_constant : bool
        Whether windows with constant channels are left out, or only named.

    Returns
    -------
    list of Segment
    tuple of str
        Warnings.
    """
    rate_hz, length = card.rate_hz, round(card.window_s * card.rate_hz)
    kept, marked = without_marked(segments, recorded.marks, length, rate_hz)
    left_out.update(marked)
    odd = [bad_warning(recorded.marks)]
    stretches = constant_stretches(recorded, card.channels)
    if stretches:
        odd.append(constant_warning(stretches, len(card.channels)))
        if leave_out_constant:
            kept, unsound = without_constant(kept, stretches, length, rate_hz)
            left_out.update(unsound)
    return kept, tuple(filter(None, odd))


def without_marked(
    segments: Sequence[Segment], marks: Iterable[Mark], length: int, rate_hz: float
) -> tuple[list[Segment], Counter[str]]:
    """Windows of ``length`` samples that no mark as bad touches, and how many others there are.

    A mark touches what it does where answers are asked for
    (:func:`modeling_mteeg.model.window_quality.touching_s`).
    """
    bad = [touching_s(mark) for mark in marks if mark.is_bad]
    kept = []
    for segment in segments:
        start_s, stop_s = segment.start / rate_hz, (segment.start + length) / rate_hz
        if not any(stop_s >= ends_s and start_s <= starts_s for ends_s, starts_s in bad):
            kept.append(segment)
    return kept, _counted(MARKED_BAD, segments, kept)


def without_constant(
    segments: Sequence[Segment],
    stretches: Mapping[str, Sequence[tuple[float, float]]],
    length: int,
    rate_hz: float,
) -> tuple[list[Segment], Counter[str]]:
    """Windows of which no channel is constant for much, and how many others there are.

    Parameters
    ----------
    segments : sequence of Segment
    stretches : mapping of str to sequence of (float, float)
        By channel, in seconds from the recording's start, apart and in order.
    length : int
        Samples of a window.
    rate_hz : float
        Of the windows.
    """
    starts = np.array([segment.start for segment in segments], dtype=float) / rate_hz
    out = np.zeros(len(segments), dtype=bool)
    for spans in stretches.values():
        edges = np.array(spans, dtype=float).ravel()  # start, stop, start, stop ...
        lengths = edges[1::2] - edges[::2]
        # Constant seconds before every edge, (2 * stretches,): they grow within stretches alone.
        grown = np.cumsum(np.stack([np.zeros_like(lengths), lengths], axis=1).ravel())
        first, last = (np.interp(at, edges, grown) for at in (starts, starts + length / rate_hz))
        inside = last - first
        out |= inside >= LEAST_SHARE * length / rate_hz - 1e-9
    kept = [segment for segment, unsound in zip(segments, out, strict=True) if not unsound]
    return kept, _counted(CONSTANT, segments, kept)


def _counted(reason: str, before: Sequence[Segment], after: Sequence[Segment]) -> Counter[str]:
    return Counter({reason: len(before) - len(after)} if len(before) > len(after) else {})


def constant_stretches(
    recorded: Recorded, channels: Sequence[str]
) -> dict[str, list[tuple[float, float]]]:
    """Where channels are constant for a second and more, in seconds from the recording's start.

    Channels that are constant in every part as a whole are not among them.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    whole: Counter[str] = Counter()
    for part in recorded.parts:
        looked = ConstantStretches(len(channels), recorded.rate_hz)
        looked.push(recorded.part_uv(part))
        for row, start, stop in looked.finish():
            name = channels[row]
            whole[name] += stop - start == part.samples
            first_s = part.onset_s + start / recorded.rate_hz
            found.setdefault(name, []).append(
                (first_s, first_s + (stop - start) / recorded.rate_hz)
            )
    return {name: sorted(spans) for name, spans in found.items()
            if whole[name] < len(recorded.parts)}  # fmt: skip


def constant_warning(stretches: Mapping[str, Sequence[tuple[float, float]]], count: int) -> str:
    """``kind: details`` on channels that are constant for a while."""
    shown = [f"{name} for {sum(stop - start for start, stop in spans):.3g} s"
             for name, spans in stretches.items()]  # fmt: skip
    more = " ..." if len(shown) > _SHOWN else ""
    return f"{CONSTANT_KIND}: {len(shown)} of {count} ({', '.join(shown[:_SHOWN])}{more})"


def bad_warning(marks: Iterable[Mark]) -> str:
    """``kind: details`` on marks as bad; empty where there is none."""
    bad = [mark for mark in marks if mark.is_bad]
    if not bad:
        return ""
    seconds = sum(mark.duration_s for mark in bad)
    names = ", ".join(sorted({mark.text for mark in bad}))
    return f"{BAD_KIND}: {len(bad)} marks, {seconds:.6g} s ({names})"
