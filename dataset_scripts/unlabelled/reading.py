"""One unlabelled recording: its known channels, filtered and at 200 Hz, in the table's order."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modeling_mteeg.channels import channel_ids, is_known
from modeling_mteeg.preprocessing import preprocess, preprocessing_info, read_recording
from modeling_mteeg.recording_sources import Source as OpenRecording
from modeling_mteeg.recording_sources import check_equal, open_source, rows_by_name
from modeling_mteeg.signal_checks import flat_channels

from ..headers import RecordingError, read_cnt_header, read_edf_header
from ..soundness import check_amplitude
from .sources import Source, UnlabelledRecording

_BLOCK_BYTES = 2**28
"""Channels are read so many at a time that their float64 signal is no larger than this."""
LEAST_RATE_HZ = 100.0
"""Below, EEG of the band that the models see cannot be there (its Nyquist frequency is 50 Hz)."""
_BIOSEMI = {"A1", "A2", "A3", "A4", "B1", "B2"}
_HEADERS = {".edf": read_edf_header, ".bdf": read_edf_header, ".cnt": read_cnt_header}


@dataclasses.dataclass(frozen=True)
class Signal:
    """A recording that was read.

    Parameters
    ----------
    channels : tuple of str
        Names of the table, in its order.
    values : numpy.ndarray, (channels, samples), float32
        Microvolt at 200 Hz.
    left_out : tuple of str
        Channels that are not used, each with the reason.
    seconds, rate_hz : float
        Length and rate as recorded.
    notes : tuple of str
        What is odd about it.
    """

    channels: tuple[str, ...]
    values: np.ndarray
    left_out: tuple[str, ...]
    seconds: float
    rate_hz: float
    notes: tuple[str, ...] = ()


def open_raw(path: Path) -> Any:
    """A file as an ``mne.io.Raw``; headers of EDF, BDF and CNT are checked before MNE sees them.

    Raises
    ------
    RecordingError
        The header lies, or MNE cannot read it.
    """
    check = _HEADERS.get(path.suffix.lower())
    if check is not None:
        check(path)
    try:
        return read_recording(path, preload=False)
    except (ValueError, FileNotFoundError) as error:
        raise RecordingError(str(error)) from error


def read_signal(
    source: Source, recording: UnlabelledRecording, notch_hz: float | None = 50.0
) -> Signal:
    """Read the channels that have a place in the table.

    Raises
    ------
    RecordingError
        It cannot be read, no channel is known or has activity, one name stands for different
        signals, its rate is too low, or the amplitude is none of EEG.
    """
    raw = source.open(recording)
    name = recording.path.name
    there = [one for one in recording.drop if one in raw.ch_names]
    raw.drop_channels(there)
    try:
        raw.rename_channels({a: b for a, b in recording.rename.items() if a in raw.ch_names})
        opened = open_source(raw)
    except ValueError as error:
        raise RecordingError(f"{name}: {error}") from error
    left_out = [*opened.left_out, *(f"{one} (of no use to {source.name})" for one in there)]
    rows = rows_by_name(opened)
    if rows.keys() >= _BIOSEMI:
        raise RecordingError(
            f"{name}: channels have BioSemi's own names (A1, A2, ... B1, ...), of which A1 and A2 "
            "would be taken for the earlobes; rename them to electrodes (--source trujillo does so "
            "for the 64-channel cap)."
        )
    known = sorted((one for one in rows if is_known(one)), key=_place)
    left_out += [f"{one} (no place in the table)" for one in rows if not is_known(one)]
    if not known:
        raise RecordingError(
            f"{name}: no channel has a name of the table, found {', '.join(opened.names)}; rename "
            "them to electrodes of the 10-20 or 10-10 system."
        )
    if not opened.rate_hz >= LEAST_RATE_HZ:
        raise RecordingError(
            f"{name}: expected {LEAST_RATE_HZ:g} Hz or more, found {opened.rate_hz:g} Hz."
        )
    kept, values, unusable = _read_channels(opened, rows, known, notch_hz, name)
    if not kept:
        raise RecordingError(f"{name}: no channel can be used: {', '.join(unusable)}.")
    notes = check_amplitude(values, kept, name)
    info = preprocessing_info(opened.rate_hz, notch_hz=notch_hz)
    return Signal(
        tuple(kept),
        values,
        (*left_out, *unusable),
        opened.samples / opened.rate_hz,
        opened.rate_hz,
        (*info.left_out, *notes),
    )


def _place(name: str) -> tuple[int, ...]:
    return tuple(channel_ids([name])[0].tolist())


def _read_channels(
    opened: OpenRecording,
    rows: dict[str, list[int]],
    names: Sequence[str],
    notch_hz: float | None,
    file: str,
) -> tuple[list[str], np.ndarray, list[str]]:
    """Names and filtered signals of usable channels, and the unusable ones with the reason."""
    info = preprocessing_info(opened.rate_hz, notch_hz=notch_hz)
    out = np.empty((len(names), info.samples_out(opened.samples)), np.float32)
    kept, unusable = [], []
    size = max(1, _BLOCK_BYTES // (8 * max(1, opened.samples)))
    for start in range(0, len(names), size):
        block = names[start : start + size]
        signal = _read_block(opened, rows, block, file)
        finite = np.isfinite(signal).all(axis=1)
        unusable += [
            f"{one} (NaN or infinite)" for one, ok in zip(block, finite, strict=True) if not ok
        ]
        block = [one for one, ok in zip(block, finite, strict=True) if ok]
        signal = signal[finite]
        flat = set(flat_channels(signal[None], block)) if block else set()
        unusable += [f"{one} (flat)" for one in block if one in flat]
        rest = [row for row, one in enumerate(block) if one not in flat]
        if rest:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="A recording is shorter than")
                done = preprocess(signal[rest], opened.rate_hz, notch_hz=notch_hz)
            out[len(kept) : len(kept) + len(rest)] = done
            kept += [block[row] for row in rest]
    return kept, out[: len(kept)], unusable


def _read_block(
    opened: OpenRecording, rows: dict[str, list[int]], names: Sequence[str], file: str
) -> np.ndarray:
    """Signals (channels, samples) in microvolt."""
    places = [place for name in names for place in rows[name]]
    try:
        signal = opened.read(places)[0] * 1e6
        first, found = 0, []
        for name in names:
            count = len(rows[name])
            if count > 1:
                check_equal(name, signal[first : first + count])
            found.append(first)
            first += count
    except Exception as error:  # MNE's readers raise whatever a damaged file makes them meet
        raise RecordingError(f"{file}: its signal cannot be read: {error}") from error
    return signal[found]
