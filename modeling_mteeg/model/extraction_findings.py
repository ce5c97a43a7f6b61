"""What the feature extractor says about a recording besides what its file has."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence

import numpy as np

from .channel_choice import ChannelChoice, channel_findings
from .filter_chain import PreprocessingInfo
from .findings import Finding
from .part_windows import PartWindows, end_finding, short_parts_finding
from .record_parts import Part
from .recording_sources import Source, grouped_reasons
from .signal_checks import amplitude_uv
from .window_quality import ConstantChannels, Quality, judge_windows, least_constant_s

logger = logging.getLogger(__name__)

_LEAST_END_S = 1.0  # that fill no window, from which on a file's end is a finding
_MOST_OFFSET = 10.0  # times the amplitude: more is an electrode's offset, not EEG


def on_channels(source: Source, choice: ChannelChoice, all_of_them: bool) -> Iterator[Finding]:
    """How they differ from those wanted; where none are named, what is left out is logged."""
    yield from channel_findings(source, choice)
    left_out = [*source.left_out, *grouped_reasons(source.unfit)]
    if all_of_them and left_out:
        logger.warning("Channels left out: %s.", ", ".join(left_out))


def on_filters(source: Source, parts: Sequence[Part], info: PreprocessingInfo) -> Iterator[Finding]:
    """Filters that cannot be applied at this rate, or are longer than what they filter."""
    if info.left_out:
        yield Finding("filter-left-out", " ".join(info.left_out))
    sizes = [part.samples for part in parts] or [source.samples]
    short = sum(size < info.filter_samples for size in sizes)
    if short:
        what = "The recording is" if len(sizes) == 1 else f"{short} of {len(sizes)} parts are"
        what = "The windows are" if source.cut else what
        yield Finding(
            "short-for-filter",
            f"{what} shorter than the {info.filter_s:.1f} s of the longest filter and filtered "
            "by reflection at both ends, as MNE does; activity below about 1 Hz is not reliable.",
            "Use a longer recording, or a higher highpass_hz.",
        )


def on_windows(
    source: Source, places: Sequence[PartWindows], length: int, rate_hz: float
) -> Iterator[Finding]:
    """What no window holds; ends of arrays, and those of less than a second, are logged alone."""
    short = short_parts_finding(
        source.parts, places, source.rate_hz, length / rate_hz, answers=False
    )
    if short:
        yield short
    end = end_finding(places, length, rate_hz, answers=False)
    if end is None:
        return
    seconds = sum(stop - start for start, stop in end.spans_s)
    if source.kind == "array" or seconds < _LEAST_END_S - 1e-9:
        logger.info(end.sentence)
    else:
        yield end


def on_quality(
    source: Source,
    choice: ChannelChoice,
    places: Sequence[PartWindows],
    recorded: np.ndarray,
    window_s: float,
) -> Quality:
    """Windows under bad annotations, or with constant channels, as predictions mark them.

    Parameters
    ----------
    recorded : numpy.ndarray
        (1, electrodes, samples) of ``choice.needed``, the parts of ``places`` one behind the other.
    """
    if not places:
        return Quality()
    constant = ConstantChannels(choice.needed, source.rate_hz, least_constant_s(window_s))
    begin = 0
    for place in places:
        constant.begin_part(place.part)
        constant.push(recorded[0, :, begin : begin + place.part.samples])
        begin += place.part.samples
    onset_s = np.concatenate([place.onset_s for place in places])
    spans = constant.finish()
    return judge_windows(onset_s, window_s, source.marks, spans, choice.needed, None)


def on_unfiltered(
    signal_uv: np.ndarray, source: Source, highpass_hz: float | None, lowpass_hz: float | None
) -> Iterator[str]:
    """A sentence where a signal that is not filtered here was not filtered before."""
    lacking = []
    noted_high, noted_low = source.band_hz or (math.inf, 0.0)
    if highpass_hz is not None and noted_high < 0.99 * highpass_hz:
        lacking.append(f"a high-pass of {highpass_hz:g} Hz, noted is {noted_high:g} Hz")
    if lowpass_hz is not None and noted_low > 1.01 * min(lowpass_hz, source.rate_hz / 2):
        lacking.append(f"a low-pass of {lowpass_hz:g} Hz, noted is {noted_low:g} Hz")
    offset = np.median(np.abs(np.median(signal_uv, axis=2)))
    if highpass_hz is not None and offset > _MOST_OFFSET * amplitude_uv(signal_uv):
        lacking.append(f"no offset, found {offset:.3g} microvolt")
    if lacking:
        yield (
            f"The signal of {source.kind} is taken as filtered already, but expected was "
            f"{'; '.join(lacking)}. Filter the recording before cutting it, or pass filter=True."
        )
