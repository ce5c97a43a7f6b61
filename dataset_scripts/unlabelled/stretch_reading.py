"""One unlabelled recording: its known channels, filtered and at 200 Hz, in the table's order.

A recording is read block by block and twice: first to see which channels can be used, then through
the filters. It is never in memory as a whole unless it is small.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from modeling_mteeg.dataset_scripts.soundness import check_amplitude, check_filtered
from modeling_mteeg.dataset_scripts.unlabelled.layouts import Source, UnlabelledRecording
from modeling_mteeg.dataset_scripts.unlabelled.sound_time import SoundPart, SoundTime, rows_of
from modeling_mteeg.model.channel_choice import check_equal, rows_by_name
from modeling_mteeg.model.channel_units import NO_UNIT
from modeling_mteeg.model.channels import channel_ids, clean_name, is_known, numbered_system
from modeling_mteeg.model.constant_stretches import ConstantStretches
from modeling_mteeg.model.findings import sentences
from modeling_mteeg.model.mains_line import MainsCheck
from modeling_mteeg.model.mains_notch import NotchHz
from modeling_mteeg.model.preprocessing import PreprocessingInfo, preprocessing_info
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.recording_sources import Source as OpenRecording
from modeling_mteeg.model.signal_checks import (
    MOST_SAMPLES,
    flat_by_span,
    foreign_channels,
    unit_factor,
)
from modeling_mteeg.model.visible_text import MOST_NAMES, listed
from modeling_mteeg.recordings.montage import rename_channels
from modeling_mteeg.recordings.whole_filter import recording_filter

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
        self._factor = unit_factor(opened.unit)
        self._held: np.ndarray | None = None
        self._held_names: tuple[str, ...] = ()

    def of(
        self, names: Sequence[str], start: int = 0, stop: int | None = None
    ) -> Iterator[np.ndarray]:
        """(channels, n) float64 of every block from sample ``start`` up to ``stop``.

        Raises
        ------
        RecordingError
            The signal cannot be read, or one name stands for different signals.
        """
        total, names = self._opened.samples, tuple(names)
        stop = total if stop is None else stop
        places = [place for name in names for place in self._rows[name]]
        # MNE brings channels of a lower rate to the highest one; a part is no part of the whole.
        whole = len(places) * total <= _HELD_VALUES or self._opened.upsampled(places)
        if self._held is None and whole:
            self._held, self._held_names = self._read(names, places, 0, total), names
        if self._held is not None:
            yield self._held[[self._held_names.index(name) for name in names], start:stop]
            return
        size = max(round(self._opened.rate_hz), _BLOCK_VALUES // len(places))
        for first in range(start, stop, size):
            yield self._read(names, places, first, min(first + size, stop))

    def _read(self, names: Sequence[str], places: list[int], start: int, stop: int) -> np.ndarray:
        try:
            # (rows, stop - start): every name's rows lie together, in the order of the names.
            signal = self._opened.read(places, start, stop)[0] * self._factor
            if signal.shape[1] != stop - start:
                raise ValueError(f"expected {stop - start} samples, found {signal.shape[1]}")
            first, first_rows = 0, []
            for name in names:
                count = len(self._rows[name])
                if count > 1:
                    check_equal(name, signal[first : first + count])
                first_rows.append(first)
                first += count
        except MemoryError:
            raise
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
    parts : tuple of SoundPart
        What of it was recorded without a joint, and which samples of that can be used.
    samples_in : int
        Length as recorded, without pauses.
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
    parts: tuple[SoundPart, ...]
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
        """Samples at 200 Hz of the longest run of samples that can be used."""
        return max((stop - start for part in self.parts for start, stop in part.runs), default=0)

    def filtered(self, part: SoundPart, check: AmplitudeCheck) -> Iterator[np.ndarray]:
        """(channels, n) float32 in microvolt at 200 Hz of one part, which ``check`` sees.

        All of the part comes, also what cannot be used; n may be 0.

        Raises
        ------
        RecordingError
            It cannot be read.
        """
        samples = part.stop - part.start
        steps = recording_filter(self.info, len(self.channels), samples)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A recording is shorter than")
            for block in self.blocks.of(self.channels, part.start, part.stop):
                done = steps.push(block)
                check.see(done)
                self.mains.see(done)
                yield done
            done = steps.finish()
            check.see(done)
            self.mains.see(done)
            yield done

    def amplitude_check(self) -> AmplitudeCheck:
        """For the filtered signal of all parts."""
        samples = sum(part.samples for part in self.parts)
        return AmplitudeCheck(self.channels, samples, self.file)


class AmplitudeCheck:
    """Whether a filtered signal that passes by in blocks is EEG in microvolt.

    Parameters
    ----------
    channels : tuple of str
    samples : int
        How many will be seen.
    file : str
        Name of the file, for messages.
    """

    def __init__(self, channels: tuple[str, ...], samples: int, file: str) -> None:
        self._channels, self._file = channels, file
        self._every, self._place = max(1, samples // MOST_SAMPLES), 0
        self._sampled: list[np.ndarray] = []

    def see(self, signal: np.ndarray) -> None:
        """Take the next samples (channels, n); an error where any is not finite."""
        check_filtered(signal, self._channels, self._file)
        # Every so-many-th sample of the whole, wherever a block begins.
        self._sampled.append(signal[:, -self._place % self._every :: self._every].copy())
        self._place += signal.shape[1]

    def finish(self) -> None:
        """Judge.

        Raises
        ------
        RecordingError
            The amplitude is none of EEG.
        UnlikeChannels
            The amplitudes of some channels differ from the others' as units do.
        """
        seen = np.concatenate(self._sampled, axis=1)  # (channels, about MOST_SAMPLES)
        check_amplitude(seen, self._channels, self._file)
        unlike = foreign_channels(seen, self._channels)
        if unlike:
            raise UnlikeChannels(unlike)


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
    name, unlike = recording.path.name, unlike or {}
    opened, left_out = _opened(source.open(recording), recording, source, name)
    rows = rows_by_name(opened)
    known = _known_channels(rows, opened, name)
    left_out += [f"{channel} (no place in the table)" for channel in rows if channel not in known]
    blocks = Blocks(opened, rows, name)
    unusable, stretches = _looked_through(blocks, known, opened)
    unusable |= {channel: f"its amplitude is {unlike[channel]:.2g} times that of the others"
                 for channel in unlike}  # fmt: skip
    sound = SoundTime(opened, {channel: spans for channel, spans in stretches.items()
                               if channel not in unusable},
                      [channel for channel in known if channel not in unusable])  # fmt: skip
    unusable |= sound.mostly_constant
    reasons = [f"{channel} ({why})" for channel, why in unusable.items()]
    kept = tuple(channel for channel in known if channel not in unusable)
    if not kept:
        raise RecordingError(f"{name}: no channel can be used: {', '.join(reasons)}.")
    info = preprocessing_info(opened.rate_hz, notch_hz=notch_hz)
    notes = (*sentences(opened.findings), *sound.notes, *info.left_out,
             *_more_notes(opened, rows, recording, info))  # fmt: skip
    samples = sum(part.samples for part in opened.parts)
    parts = sound.parts(info)
    return Signal(
        blocks, kept, info, parts, samples, (*left_out, *reasons), notes, name,
        MainsCheck(info, sum(part.samples for part in parts)),
    )  # fmt: skip


def _more_notes(
    opened: OpenRecording,
    rows: Mapping[str, list[int]],
    recording: UnlabelledRecording,
    info: PreprocessingInfo,
) -> list[str]:
    """Names that were given or repeated, and parts that are short beside the filters."""
    notes = []
    twice = [name for name, places in rows.items() if len(places) > 1 and is_known(name)]
    if twice:
        notes.append(f"Labels that stand for one signal several times, taken once: "
                     f"{', '.join(twice)}.")  # fmt: skip
    given = {clean_name(new) for new in recording.rename.values()}
    renamed = [name for name in opened.names if name in given]
    if renamed:
        notes.append(f"Channels were taken under other names: {', '.join(renamed)}.")
    shortest_s = min(part.samples for part in opened.parts) / opened.rate_hz
    if shortest_s < info.filter_s:
        notes.append(
            f"{shortest_s:.6g} s in one part are shorter than the filters of {info.filter_s:.1f} "
            "s: activity below about 1 Hz is not reliable."
        )
    return notes


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
            f"{name}: no channel has a name of the table, found "
            f"{listed(opened.names, MOST_NAMES)}; rename them to electrodes of the "
            "10-20 or 10-10 system (--rename OLD=NEW)."
        )
    if not opened.rate_hz >= LEAST_RATE_HZ:
        raise RecordingError(
            f"{name}: expected {LEAST_RATE_HZ:g} Hz or more, found {opened.rate_hz:g} Hz."
        )
    return known


def _opened(
    opened: OpenRecording, recording: UnlabelledRecording, source: Source, name: str
) -> tuple[OpenRecording, list[str]]:
    """The recording with its channels renamed and dropped, and channels that are left out."""
    dropped = {clean_name(channel) for channel in recording.drop}
    there = {*opened.names, *opened.unfit}
    wanted = {clean_name(old): new for old, new in recording.rename.items()}
    wanted = {old: new for old, new in wanted.items() if old in there and old not in dropped}
    kept = [row for row, channel in enumerate(opened.names) if channel not in dropped]
    of_no_use = [channel for channel in opened.names if channel in dropped]
    try:
        opened = rename_channels(rows_of(opened, kept), wanted)
    except ValueError as error:
        raise RecordingError(f"{name}: {error}") from error
    left_out = [f"{channel} (of no use to {source.name})" for channel in of_no_use]
    left_out += [f"{channel} (no unit of voltage in the header)" if why.startswith(NO_UNIT)
                 else f"{channel} ({why})" for channel, why in opened.unfit.items()]  # fmt: skip
    return opened, [*opened.left_out, *left_out]


def _place(name: str) -> tuple[int, ...]:
    return tuple(channel_ids([name])[0].tolist())


def _looked_through(
    blocks: Blocks, names: Sequence[str], opened: OpenRecording
) -> tuple[dict[str, str], dict[str, list[tuple[int, int]]]]:
    """What one pass over a recording shows.

    Returns
    -------
    reasons : dict of str to str
        Of channels that hold NaN or infinity, or nothing at all.
    stretches : dict of str to list of (int, int)
        Of the others: first and last sample (exclusive) of where they stay at one value.
    """
    # The extremes of every channel, (channels,), tell NaN, infinity and a flat line in one pass.
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    stretches: dict[str, list[tuple[int, int]]] = {}
    for part in opened.parts:
        constant = ConstantStretches(len(names), opened.rate_hz)
        for block in blocks.of(names, part.start, part.stop):
            np.minimum(low, block.min(axis=1), out=low)  # NaN stays NaN
            np.maximum(high, block.max(axis=1), out=high)
            constant.push(block)
        for row, start, stop in constant.finish():
            span = part.start + start, part.start + stop
            stretches.setdefault(names[row], []).append(span)
    finite = np.isfinite(low) & np.isfinite(high)
    rest = [channel for channel, right in zip(names, finite, strict=True) if right]
    reasons = dict.fromkeys(
        [channel for channel in names if channel not in rest], "NaN or infinite"
    )
    if rest:
        reasons |= dict.fromkeys(flat_by_span((high - low)[finite], rest), "flat")
    return reasons, stretches
