"""A recording as pictures need it: parts of named channels, read from disk when they are drawn.

Nothing here prepares input for the model; see :mod:`modeling_mteeg.preprocessing` for that.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..channels import clean_name
from ..signal_checks import SignalError

_MARGIN_S = 5.0
_HIGHPASS_HZ = 0.5
_LOWPASS_HZ = 70.0


class ShownRecording:
    """Parts of a recording by channel name and seconds.

    Parameters
    ----------
    recording : str, pathlib.Path, mne.io.BaseRaw or (array, names, rate_hz)
        A file stays on disk and only the parts that are asked for are read. Arrays are (channels,
        samples) in microvolt.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or MNE cannot read it.
    TypeError
        Something else was given.

    Attributes
    ----------
    names : tuple of str
        Cleaned names of all channels, in the recording's order.
    rate_hz, length_s : float
    started : datetime.datetime or None
        When the recording began, as its header says (clock of the place, where the format has no
        time zone); None where it does not say.
    """

    def __init__(self, recording: Any) -> None:
        self._raw = _open(recording)
        self.names = tuple(clean_name(name) for name in self._raw.ch_names)
        self.rate_hz = float(self._raw.info["sfreq"])
        self.length_s = self._raw.n_times / self.rate_hz
        self.started: datetime.datetime | None = self._raw.info["meas_date"]
        if self.started is not None and self._raw.first_samp:
            self.started += datetime.timedelta(seconds=self._raw.first_samp / self.rate_hz)

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
            float64, (channels, samples), microvolt.

        Raises
        ------
        SignalError
            The recording has neither a channel nor its two electrodes.
        """
        start = min(max(round(start_s * self.rate_hz), 0), self._raw.n_times - 1)
        stop = min(max(round(stop_s * self.rate_hz), start + 1), self._raw.n_times)
        rows = [self._rows(name) for name in channels]
        needed = sorted({row for pair in rows for row in pair})
        data = 1e6 * self._raw.get_data(picks=needed, start=start, stop=stop, verbose="error")
        place = {row: index for index, row in enumerate(needed)}
        out = np.empty((len(rows), data.shape[1]))
        for index, pair in enumerate(rows):
            out[index] = data[place[pair[0]]]
            if len(pair) == 2:
                out[index] -= data[place[pair[1]]]
        return out

    def read_filtered(
        self, channels: Sequence[str], start_s: float, stop_s: float, notch_hz: float | None = None
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
        frequency where that is lower, and a notch: what a reader of EEG has on the screen. The
        model sees its task's own filters.
        """
        from scipy.signal import iirnotch, sosfiltfilt, tf2sos

        begin = max(0.0, start_s - _MARGIN_S)
        data = self.read(channels, begin, stop_s + _MARGIN_S)
        sections = [_bandpass(self.rate_hz)]
        if notch_hz is not None and notch_hz < 0.45 * self.rate_hz:
            sections.append(tf2sos(*iirnotch(notch_hz, 30.0, self.rate_hz)))
        sos = np.concatenate(sections)
        longest = data.shape[1] - 1
        data = sosfiltfilt(sos, data - np.median(data, axis=1, keepdims=True), axis=1,
                           padlen=min(longest, round(self.rate_hz)))  # fmt: skip
        first = round(begin * self.rate_hz)
        times = (first + np.arange(data.shape[1])) / self.rate_hz
        shown = (times >= start_s - 1e-9) & (times <= stop_s + 1e-9)
        return times[shown], data[:, shown]

    def _rows(self, name: str) -> tuple[int, ...]:
        """Row of a channel, or of its two electrodes."""
        clean = clean_name(name)
        if clean in self.names:
            return (self.names.index(clean),)
        halves = clean.split("-")
        if len(halves) == 2 and all(half in self.names for half in halves):
            return tuple(self.names.index(half) for half in halves)
        raise SignalError(
            f"Expected the channel {name} of the prediction in the recording to draw, found "
            f"{', '.join(self.names)}. Give the recording that was predicted."
        )


def band_text(rate_hz: float) -> str:
    """The band of :meth:`ShownRecording.read_filtered` in words."""
    return f"{_HIGHPASS_HZ:g} to {min(_LOWPASS_HZ, 0.45 * rate_hz):g} Hz"


def _bandpass(rate_hz: float) -> np.ndarray:
    from scipy.signal import butter

    return butter(2, (_HIGHPASS_HZ, min(_LOWPASS_HZ, 0.45 * rate_hz)), "band", fs=rate_hz,
                  output="sos")  # fmt: skip


def _open(recording: Any) -> Any:
    """An MNE Raw that reads from disk where the recording lies there."""
    import mne

    if isinstance(recording, mne.io.BaseRaw):
        return recording
    if isinstance(recording, (str, Path)):
        path = Path(recording)
        if not path.exists():
            raise FileNotFoundError(f"No recording: expected a file {path}.")
        try:
            return mne.io.read_raw(path, preload=False, verbose="error")
        except Exception as error:  # MNE's readers raise whatever their format meets
            raise ValueError(
                f"{path}: not a recording that MNE can read ({type(error).__name__}: {error}). "
                "Check that the file is complete and its suffix names its format."
            ) from error
    if isinstance(recording, (tuple, list)) and len(recording) == 3:
        array, names, rate_hz = recording
        info = mne.create_info(list(names), float(rate_hz), "eeg")
        return mne.io.RawArray(1e-6 * np.asarray(array, dtype=float), info, verbose="error")
    raise TypeError(
        "Expected a file's path, an mne Raw, or (array in microvolt, channel names, rate in Hz), "
        f"found {type(recording).__name__}."
    )
