"""One unlabelled recording: its known channels, filtered and at 200 Hz, in the table's order.

A recording is read block by block and twice: first to see which channels can be used, then through
the filters. It is never in memory as a whole unless it is small.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modeling_mteeg.model.channel_choice import check_equal, rows_by_name
from modeling_mteeg.model.channel_units import channel_units
from modeling_mteeg.model.channels import channel_ids, clean_name, is_known, numbered_system
from modeling_mteeg.model.mains_line import MainsCheck
from modeling_mteeg.model.mains_notch import NotchHz
from modeling_mteeg.model.preprocessing import PreprocessingInfo, preprocessing_info
from modeling_mteeg.model.recording_headers import RecordingError, RecordingWarning
from modeling_mteeg.model.recording_sources import Source as OpenRecording
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.model.signal_checks import MOST_SAMPLES, flat_by_span, foreign_channels
from modeling_mteeg.recordings.whole_filter import recording_filter

from ..soundness import check_amplitude
from .layouts import Source, UnlabelledRecording

_HELD_VALUES = 2**24
"""Channels times samples up to which a recording is read once and kept: 128 MiB of float64."""
_BLOCK_VALUES = 2**21
LEAST_RATE_HZ = 100.0
"""Below, EEG of the band that the models see cannot be there (its Nyquist frequency is 50 Hz)."""


class Blocks:
    """Channels of a recording in microvolt, block by block, as often as they are asked for.

    Parameters
    ----------
    opened : modeling_mteeg.model.recording_sources.Source
    rows : dict of str to list of int
        Positions of the channels of every name; several have to be equal.
    file : str
        Name of the file, for messages.
    """

    def __init__(self, opened: OpenRecording, rows: dict[str, list[int]], file: str) -> None:
        self._opened, self._rows, self._file = opened, rows, file
        self._held: np.ndarray | None = None
        self._held_names: tuple[str, ...] = ()

    def of(self, names: Sequence[str]) -> Iterator[np.ndarray]:
        """(channels, n) float64 of every block.

        Raises
        ------
        RecordingError
            The signal cannot be read, or one name stands for different signals.
        """
        total, names = self._opened.samples, tuple(names)
        places = [place for name in names for place in self._rows[name]]
        if self._held is not None:
            yield self._held[[self._held_names.index(name) for name in names]]
            return
        # MNE brings channels of a lower rate to the highest one; a part is no part of the whole.
        whole = len(places) * total <= _HELD_VALUES or self._opened.upsampled(places)
        size = total if whole else max(round(self._opened.rate_hz), _BLOCK_VALUES // len(places))
        for start in range(0, total, size):
            block = self._read(names, places, start, min(start + size, total))
            if whole:
                self._held, self._held_names = block, names
            yield block

    def _read(self, names: Sequence[str], places: list[int], start: int, stop: int) -> np.ndarray:
        try:
            # (rows, stop - start): every name's rows lie together, in the order of the names.
            signal = self._opened.read(places, start, stop)[0] * 1e6
            if signal.shape[1] != stop - start:
                raise ValueError(f"expected {stop - start} samples, found {signal.shape[1]}")
            first, first_rows = 0, []
            for name in names:
                count = len(self._rows[name])
                if count > 1:
                    check_equal(name, signal[first : first + count])
                first_rows.append(first)
                first += count
        except Exception as error:  # MNE's readers raise whatever a damaged file makes them meet
            raise RecordingError(f"{self._file}: its signal cannot be read: {error}") from error
        return signal[first_rows] if len(first_rows) < len(places) else signal


@dataclasses.dataclass(frozen=True)
class Signal:
    """A recording that was opened and looked through; its filtered signal comes block by block.

    Parameters
    ----------
    blocks : Blocks
    channels : tuple of str
        Names of the table, in its order.
    info : PreprocessingInfo
    samples_in : int
        Length as recorded.
    left_out : tuple of str
        Channels that are not used, each with the reason.
    notes : tuple of str
        What is odd about it.
    file : str
        Name of the file, for messages.
    mains : MainsCheck
        Sees what is filtered, and knows afterwards whether a mains line is left.
    """

    blocks: Blocks
    channels: tuple[str, ...]
    info: PreprocessingInfo
    samples_in: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    file: str
    mains: MainsCheck

    @property
    def seconds(self) -> float:
        """Length as recorded."""
        return self.samples_in / self.info.rate_hz

    @property
    def samples(self) -> int:
        """Samples at 200 Hz."""
        return self.info.samples_out(self.samples_in)

    def filtered(self) -> Iterator[np.ndarray]:
        """(channels, n) float32 in microvolt at 200 Hz, ``samples`` in all; n may be 0.

        Raises
        ------
        RecordingError
            It cannot be read, or, at the end, the amplitude is none of EEG.
        UnlikeChannels
            At the end: the amplitudes of some channels differ from the others' as units do.
        """
        steps = recording_filter(self.info, len(self.channels), self.samples_in)
        every, place, sampled = max(1, self.samples // MOST_SAMPLES), 0, []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A recording is shorter than")
            for done in self._steps(steps):
                # Every ``every``-th sample of the whole, wherever a block begins (at ``place``).
                sampled.append(done[:, -place % every :: every].copy())
                place += done.shape[1]
                self.mains.see(done)
                yield done
        seen = np.concatenate(sampled, axis=1)  # (channels, about MOST_SAMPLES)
        check_amplitude(seen, self.channels, self.file)
        unlike = foreign_channels(seen, self.channels)
        if unlike:
            raise UnlikeChannels(unlike)

    def _steps(self, steps: Any) -> Iterator[np.ndarray]:
        for block in self.blocks.of(self.channels):
            yield steps.push(block)
        yield steps.finish()


class UnlikeChannels(Exception):
    """Channels whose amplitude is that of another unit, with its ratio to the others'."""

    def __init__(self, ratios: dict[str, float]) -> None:
        super().__init__(str(ratios))
        self.ratios = ratios


def read_signal(
    source: Source,
    recording: UnlabelledRecording,
    notch_hz: NotchHz = 50.0,
    unlike: Mapping[str, float] | None = None,
) -> Signal:
    """Open a recording and find the channels that have a place in the table and can be used.

    Parameters
    ----------
    source : Source
    recording : UnlabelledRecording
    notch_hz : float, tuple of float or None
    unlike : mapping of str to float, optional
        Channels to leave out for their amplitude; see :class:`UnlikeChannels`.

    Raises
    ------
    RecordingError
        It cannot be read, no channel is known or has activity, one name stands for different
        signals, or its rate is too low.
    """
    raw, odd = _noted(source, recording)
    name, unlike = recording.path.name, unlike or {}
    opened, left_out = _opened(raw, recording, source, name)
    rows = rows_by_name(opened)
    known = _known_channels(rows, opened, name)
    left_out += [f"{channel} (no place in the table)" for channel in rows if channel not in known]
    blocks = Blocks(opened, rows, name)
    unusable = _unusable(blocks, known)
    unusable |= {channel: f"its amplitude is {unlike[channel]:.2g} times that of the others"
                 for channel in unlike}  # fmt: skip
    reasons = [f"{channel} ({why})" for channel, why in unusable.items()]
    kept = tuple(channel for channel in known if channel not in unusable)
    if not kept:
        raise RecordingError(f"{name}: no channel can be used: {', '.join(reasons)}.")
    info = preprocessing_info(opened.rate_hz, notch_hz=notch_hz)
    left_out, odd = (*left_out, *reasons), (*odd, *info.left_out)
    mains = MainsCheck(info, info.samples_out(opened.samples))
    return Signal(blocks, kept, info, opened.samples, left_out, odd, name, mains)


def _noted(source: Source, recording: UnlabelledRecording) -> tuple[Any, tuple[str, ...]]:
    """A recording that is opened, and what its readers say is odd about its file."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RecordingWarning)
        raw = source.open(recording)
    odd = [one for one in said if issubclass(one.category, RecordingWarning)]
    for other in said:
        if other not in odd:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return raw, tuple(str(one.message) for one in odd)


def _known_channels(rows: Mapping[str, list[int]], opened: OpenRecording, name: str) -> list[str]:
    """Names of the table among those of a recording, in its order."""
    sentence = numbered_system(tuple(rows))
    if sentence:
        raise RecordingError(
            f"{name}: {sentence} (--source trujillo does so for BioSemi's 64-channel cap.)"
        )
    known = sorted((channel for channel in rows if is_known(channel)), key=_place)
    if not known:
        raise RecordingError(
            f"{name}: no channel has a name of the table, found {', '.join(opened.names)}; rename "
            "them to electrodes of the 10-20 or 10-10 system (--rename OLD=NEW)."
        )
    if not opened.rate_hz >= LEAST_RATE_HZ:
        raise RecordingError(
            f"{name}: expected {LEAST_RATE_HZ:g} Hz or more, found {opened.rate_hz:g} Hz."
        )
    return known


def _opened(
    raw: Any, recording: UnlabelledRecording, source: Source, name: str
) -> tuple[OpenRecording, list[str]]:
    """The recording with its channels renamed and dropped, and channels that are left out."""
    if not raw.ch_names:
        raise RecordingError(f"{name}: no signal in it, only annotations.")
    dropped_names = [channel for channel in recording.drop if channel in raw.ch_names]
    no_unit = [raw.ch_names[row] for row in channel_units(raw)[0]
               if raw.ch_names[row] not in dropped_names]  # fmt: skip
    try:
        wanted = {clean_name(old): new for old, new in recording.rename.items()}
        renamed = {channel: wanted[clean_name(channel)] for channel in raw.ch_names
                   if clean_name(channel) in wanted}  # fmt: skip
        left_out = [f"{renamed.get(channel, channel)} (no unit of voltage in the header)"
                    for channel, kind in zip(raw.ch_names, raw.get_channel_types(), strict=True)
                    if channel in no_unit and kind == "eeg"]  # fmt: skip
        raw.drop_channels([*dropped_names, *no_unit])
        raw.rename_channels({a: b for a, b in renamed.items() if a in raw.ch_names})
        opened = open_source(raw)
    except ValueError as error:
        raise RecordingError(f"{name}: {error}") from error
    dropped = [f"{channel} (of no use to {source.name})" for channel in dropped_names]
    return opened, [*opened.left_out, *dropped, *left_out]


def _place(name: str) -> tuple[int, ...]:
    return tuple(channel_ids([name])[0].tolist())


def _unusable(blocks: Blocks, names: Sequence[str]) -> dict[str, str]:
    """Channels that hold NaN or infinity, or nothing at all, with the reason."""
    # The extremes of every channel, (channels,), tell NaN, infinity and a flat line in one pass.
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for block in blocks.of(names):
        np.minimum(low, block.min(axis=1), out=low)  # NaN stays NaN
        np.maximum(high, block.max(axis=1), out=high)
    finite = np.isfinite(low) & np.isfinite(high)
    rest = [channel for channel, right in zip(names, finite, strict=True) if right]
    reasons = dict.fromkeys(
        [channel for channel in names if channel not in rest], "NaN or infinite"
    )
    if rest:
        reasons |= dict.fromkeys(flat_by_span((high - low)[finite], rest), "flat")
    return reasons
