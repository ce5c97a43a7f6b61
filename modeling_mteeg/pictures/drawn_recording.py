"""A recording as pictures need it: parts of named channels, read from disk when they are drawn.

Nothing here prepares input for the model; see :mod:`modeling_mteeg.model.preprocessing` for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..model.channel_choice import choose_channels
from ..model.file_choice import plain_path
from ..model.mains_notch import NotchHz, notches
from ..model.recording_files import read_recording
from ..model.recording_sources import Source
from ..model.signal_checks import unit_factor
from ..recordings.block_reader import open_recording

_MARGIN_S = 5.0
_HIGHPASS_HZ = 0.5
_LOWPASS_HZ = 70.0


class ShownRecording:
    """Parts of a recording by channel name and seconds.

    Parameters
    ----------
    recording : str, pathlib.Path, mne.io.BaseRaw, (array, names, rate_hz) or Source
        A file stays on disk and only the parts that are asked for are read.
    unit : {"uV", "mV", "V"} or None
        Unit of the numbers; None: microvolt for arrays, volt for MNE's objects and files.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        See :func:`modeling_mteeg.recordings.block_reader.open_recording`.

    Attributes
    ----------
    names : tuple of str
        Cleaned names of the EEG channels that are not marked bad, in the recording's order.
    rate_hz : float
    length_s : float
        When it ends, in seconds from its start: pauses between its parts count.
    started : datetime.datetime or None
        When the recording began, as its header says (clock of the place, where the format has no
        time zone); None where it does not say.
    """

    def __init__(self, recording: Any, unit: str | None = None) -> None:
        recording = plain_path(recording)
        if isinstance(recording, (str, Path)):
            recording = read_recording(recording, preload=False)
        opened = isinstance(recording, Source)
        self._source = recording if opened else open_recording(recording, unit)
        self._factor = unit_factor(self._source.unit)
        self.names = self._source.names
        self.rate_hz = self._source.rate_hz
        self.length_s = self._source.end_s
        self.started = self._source.start

    def read(self, channels: Sequence[str], start_s: float, stop_s: float) -> np.ndarray:
        """A part of some channels.

        Parameters
        ----------
        channels : sequence of str
            A bipolar name that the recording lacks is derived from its two electrodes.
        start_s, stop_s : float
            Seconds from the recording's start; cut to its length.

        Returns
        -------
        numpy.ndarray
            float64, (channels, samples), microvolt; NaN between the recording's parts.

        Raises
        ------
        SignalError
            The recording has neither a channel nor its two electrodes.
        """
        start, stop = self._samples(start_s, stop_s)
        choice = choose_channels(self._source, channels)
        positions = [self.names.index(name) for name in choice.needed]
        signal = np.full((len(positions), stop - start), np.nan)
        for place, first, last in self._pieces(start, stop):
            piece = self._source.read(positions, first, last)[0]
            signal[:, place - start : place - start + last - first] = piece
        return self._factor * choice.derive(signal, choice.needed)

    def _samples(self, start_s: float, stop_s: float) -> tuple[int, int]:
        """First sample and the one behind the last of some seconds, pauses counted."""
        total = round(self.length_s * self.rate_hz)
        start = min(max(round(start_s * self.rate_hz), 0), total - 1)
        return start, min(max(round(stop_s * self.rate_hz), start + 1), total)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """What of every part lies there: its place, and first and last sample in the signal."""
        for part in self._source.parts:
            begin = round(part.onset_s * self.rate_hz)
            first, last = max(start, begin), min(stop, begin + part.samples)
            if first < last:
                yield first, first - begin + part.start, last - begin + part.start

    def read_filtered(
        self, channels: Sequence[str], start_s: float, stop_s: float, notch_hz: NotchHz = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`read`, band-passed for the eye with a margin at either side.

        Returns
        -------
        times_s : numpy.ndarray
            (samples,), from the recording's start.
        signal_uv : numpy.ndarray
            (channels, samples).

        Notes
        -----
        A zero-phase Butterworth band-pass of order 2 from 0.5 Hz to 70 Hz, or to the Nyquist
        frequency where that is lower, and the notches: what a reader of EEG has on the screen. The
        model sees its task's own filters.
        """
        from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos

        begin = max(0.0, start_s - _MARGIN_S)
        data = self.read(channels, begin, stop_s + _MARGIN_S)
        band = (_HIGHPASS_HZ, _highest_hz(self.rate_hz))
        sections = [butter(2, band, "band", fs=self.rate_hz, output="sos")]
        for mains_hz in notches(notch_hz):
            if mains_hz < 0.45 * self.rate_hz:
                sections.append(tf2sos(*iirnotch(mains_hz, 30.0, self.rate_hz)))
        sos = np.concatenate(sections)
        first, stop = self._samples(begin, stop_s + _MARGIN_S)
        for place, begin_in, end_in in self._pieces(first, stop):  # every part alone
            piece = data[:, place - first : place - first + end_in - begin_in]
            longest = piece.shape[1] - 1
            piece[:] = sosfiltfilt(sos, piece - np.median(piece, axis=1, keepdims=True), axis=1,
                                   padlen=min(longest, round(self.rate_hz)))  # fmt: skip
        times = (first + np.arange(data.shape[1])) / self.rate_hz
        shown = (times >= start_s - 1e-9) & (times <= stop_s + 1e-9)
        return times[shown], data[:, shown]


def band_text(rate_hz: float) -> str:
    """The band of :meth:`ShownRecording.read_filtered` in words."""
    return f"{_HIGHPASS_HZ:g} to {_highest_hz(rate_hz):g} Hz"


def _highest_hz(rate_hz: float) -> float:
    return min(_LOWPASS_HZ, 0.45 * rate_hz)
