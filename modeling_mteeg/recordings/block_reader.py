"""Read a recording from disk block by block, with the checks that a whole one would get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..model.channel_choice import ChannelChoice, check_equal, rows_by_name
from ..model.channels import clean_name
from ..model.findings import Finding
from ..model.mains_line import MainsCheck
from ..model.preprocessing import PreprocessingInfo
from ..model.record_parts import Part
from ..model.recording_files import read_recording
from ..model.recording_sources import Source, open_source
from ..model.signal_checks import (
    MOST_SAMPLES,
    MOST_UV,
    SignalError,
    check_finite,
    flat_by_span,
    flat_finding,
    quiet_finding,
    unit_factor,
)
from .montage import rename_channels

_BLOCK_S = 30.0
_BLOCK_VALUES = 2**21  # of float64: 16 MiB


def open_recording(
    recording: Any, unit: str | None = None, rename: Mapping[str, str] | None = None
) -> Source:
    """Open a continuous recording without reading its signal.

    Parameters
    ----------
    recording : str, pathlib.Path, mne.io.BaseRaw or (array, names, rate_hz)
    unit : {"uV", "mV", "V"} or None
        Unit of the numbers; None: microvolt for arrays, volt for MNE's objects and files.
    rename : mapping or None
        See :func:`montage.rename_channels`.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        Windows that are cut already, which have no place in time; or it cannot be read.
    """
    unit_factor(unit or "uV")
    source = open_source(recording, unit, preload=False)
    if source.cut:
        raise ValueError(
            f"Expected a continuous recording, found {source.kind} cut already. Predict the "
            "recording, or pass the windows to the feature extractor and the model."
        )
    return rename_channels(source, rename or {})


class BlockReader:
    """Blocks of some channels of a recording, in microvolt, read one after the other.

    Parameters
    ----------
    source : Source
    names : sequence of str
        Channels to read.
    block : int or None
        Samples of a block; None: 30 s, less where there are many channels at a high rate.
    part : Part or None
        The part to read; None: all samples, which only of a recording of one part is one signal.

    Notes
    -----
    MNE upsamples channels that an EDF file stores at a lower rate than another one. Piece by piece
    that would not be what it gives for the whole, so such channels are read at once.
    """

    def __init__(
        self,
        source: Source,
        names: Sequence[str],
        block: int | None = None,
        part: Part | None = None,
    ) -> None:
        self.part = Part(0, source.samples, 0.0) if part is None else part
        self.source, self.names = source, tuple(names)
        rows = rows_by_name(source)
        self._rows = [rows[name] for name in self.names]
        fits = max(round(source.rate_hz), _BLOCK_VALUES // max(1, len(self.names)))
        self.block = block or min(round(_BLOCK_S * source.rate_hz), fits)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first sample in the recording, (channels, n) float64 in microvolt) of every block.

        Raises
        ------
        SignalError
            NaN or infinity, with channels and time; channels of one name that differ.
        ValueError
            The file ends before its header says, or is damaged.
        """
        factor = unit_factor(self.source.unit)
        positions = [row for rows in self._rows for row in rows]
        firsts = np.cumsum([0] + [len(rows) for rows in self._rows[:-1]]).tolist()
        begin, end = self.part.start, self.part.stop
        whole = self._read(positions, begin, end) if self.source.upsampled(positions) else None
        for start in range(begin, end, self.block):
            stop = min(start + self.block, end)
            read = whole is None
            signal = (
                self._read(positions, start, stop)
                if read
                else whole[:, start - begin : stop - begin]
            )
            for name, first, rows in zip(self.names, firsts, self._rows, strict=True):
                if len(rows) > 1:
                    check_equal(name, signal[first : first + len(rows)])
            signal = signal[firsts] * factor
            self._check_finite(signal, start)
            yield start, signal

    def _read(self, positions: list[int], start: int, stop: int) -> np.ndarray:
        return self.source.read_span(positions, start, stop)[0]

    def _second(self, sample: Any) -> Any:
        """When samples were recorded, in seconds from the recording's start."""
        return (sample - self.part.start) / self.source.rate_hz + self.part.onset_s

    def _check_finite(self, signal: np.ndarray, start: int) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            suspect = np.flatnonzero(~np.isfinite(signal.sum(axis=1)))
        faults = []
        for row in suspect:
            bad = np.flatnonzero(~np.isfinite(signal[row]))
            if not len(bad):  # the sum alone is too large
                continue
            first, last = self._second(start + bad[[0, -1]])
            faults.append(f"{self.names[row]} ({len(bad)} samples, {first:.6g} to {last:.6g} s)")
        if faults:
            raise SignalError(
                f"Expected finite numbers, found NaN or infinity in {', '.join(faults)}. Cut or "
                "interpolate those samples, or leave the channels out."
            )


class RunningChecks:
    """What a recording must be as a whole, gathered while it passes by in blocks.

    Parameters
    ----------
    choice : ChannelChoice
        The task's channels.
    samples_out : int
        Length of the filtered signal, of all parts together.
    unit : str
        Unit that the numbers were taken for.
    info : PreprocessingInfo
        Filters of the filtered signal.

    Notes
    -----
    The same samples are looked at as by :func:`signal_checks.check_channels` on the whole
    recording, so both say the same.
    """

    def __init__(
        self, choice: ChannelChoice, samples_out: int, unit: str, info: PreprocessingInfo
    ) -> None:
        self.names, self.unit = choice.names, unit
        self._mains = MainsCheck(info, samples_out)
        self._spans = np.zeros(len(self.names))
        self._begin_part()
        self._step = max(1, samples_out // MOST_SAMPLES)
        self._sampled: list[np.ndarray] = []
        self._place = 0

    def see_recorded(self, signal: np.ndarray) -> None:
        """Take the next samples (channels, n) as recorded."""
        np.minimum(self._low, signal.min(axis=1), out=self._low)
        np.maximum(self._high, signal.max(axis=1), out=self._high)

    def _begin_part(self) -> None:
        self._low = np.full(len(self.names), np.inf)
        self._high = np.full(len(self.names), -np.inf)

    def end_part(self) -> None:
        """What comes is another part: its offset says nothing about a channel's range."""
        np.maximum(self._spans, self._high - self._low, out=self._spans)
        self._begin_part()

    def see_filtered(self, signal: np.ndarray) -> None:
        """Take the next samples (channels, n) after filtering.

        Raises
        ------
        SignalError
            Numbers that are not finite: those recorded were too large to compute with.
        """
        check_finite(signal[None], self.names, MOST_UV)
        first = -self._place % self._step
        self._sampled.append(signal[:, first :: self._step].copy())
        self._place += signal.shape[1]
        self._mains.see(signal)

    def finish(self) -> list[Finding]:
        """Judge, behind the last part; findings of flat and small channels, a mains line left.

        Raises
        ------
        OtherUnitError
            Channels are in another unit than the others.
        SignalError
            All channels are flat, or the numbers are not EEG in their unit.
        """
        flat = flat_by_span(self._spans, self.names)
        flat_ones = flat_finding(flat, len(self.names))
        seen = np.concatenate(self._sampled, axis=1)[None]  # (1, channels, samples)
        quiet_ones = quiet_finding(seen, self.names, self.unit, flat)
        found = [flat_ones, quiet_ones, *self._mains.findings()]
        return [finding for finding in found if finding]


def renamed_raw(path: Any, rename: Mapping[str, str]) -> Any:
    """A recording's Raw with its channels renamed, its signal on disk; ``path`` if none is."""
    if not rename:
        return path
    new = {clean_name(old): clean_name(name) for old, name in rename.items()}
    raw = read_recording(path, preload=False)
    renamed = {name: new[clean_name(name)] for name in raw.ch_names if clean_name(name) in new}
    raw.rename_channels(renamed, verbose="error")
    return raw
