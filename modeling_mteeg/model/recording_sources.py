"""One view of whatever a recording comes as: MNE Raw or Epochs, a file, or an array with names.

MNE-Python is never imported here unless a file has to be read: its objects are recognised through
the module that made them.
"""

from __future__ import annotations

import dataclasses
import datetime
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .bids_channels import MARKED_BAD, table_of_raw
from .channel_units import UNIT_REMEDY, channel_units, file_rows, unit_reason
from .channels import clean_name
from .edf_annotations import Mark
from .file_choice import plain_path
from .file_faults import blamed_on
from .findings import Finding, sentences
from .preprocessing import is_positive
from .record_parts import Part, Timeline, timeline_of
from .recording_files import open_file
from .signal_checks import SignalError, unit_factor
from .signal_ranges import NO_SCALE, RANGE_REMEDY, check_samples, range_faults, sample_limits
from .stated_channels import Channel, stated_channels
from .visible_text import MOST_NAMES, MOST_REASONS, listed, visible

_HEAD = 4  # FIFF's number of the head frame


@dataclasses.dataclass(frozen=True)
class Source:
    """A recording whose channels can be read by position.

    Parameters
    ----------
    kind : {"Raw", "Epochs", "array"}
    names : tuple of str
        Cleaned names of the channels that may be used.
    rate_hz : float
    read : callable
        From channel positions to their signal, (windows, len(positions), samples), in ``unit``. Of
        a continuous recording a part can be asked for: ``read(positions, start, stop)`` in samples.
    cut : bool
        Whether the windows are already cut (epochs), or it is one continuous signal.
    unit : str
        Unit of the numbers: volt in MNE's objects, microvolt in arrays, if nobody says otherwise.
    band_hz : tuple of float or None
        High-pass and low-pass that MNE notes for the data; None for arrays.
    left_out : tuple of str
        Channels that may not be used, each with the reason.
    samples : int
        Length of the recording, or of a window where cut.
    upsampled : callable
        Whether reading would interpolate any of the channels at these positions, so that a part
        read alone is not a part of the whole.
    findings : tuple of Finding
        What is odd about it: a file that was read in another way than its header says, parts.
    parts : tuple of Part
        Continuous stretches; samples between them are no signal. Empty where cut.
    marks : tuple of Mark
        Annotations, in seconds from the recording's start.
    start : datetime.datetime or None
        When it was recorded, if that is known.
    unfit : mapping of str to str
        Cleaned names of channels that are there and cannot be used for their unit or range, with
        the reason.
    channels : tuple of Channel
        All that the recording has, usable or not, with names and units as stored and as taken.
    places : mapping of str to tuple of float
        Where the file says that electrodes are, by cleaned name, in metres; the first axis points
        to the right ear, the second to the nose. Those of bad channels, too.
    """

    kind: str
    names: tuple[str, ...]
    rate_hz: float
    read: Callable[..., np.ndarray]
    cut: bool
    unit: str
    band_hz: tuple[float, float] | None = None
    left_out: tuple[str, ...] = ()
    samples: int = 0
    upsampled: Callable[[list[int]], bool] = lambda positions: False
    findings: tuple[Finding, ...] = ()
    parts: tuple[Part, ...] = ()
    marks: tuple[Mark, ...] = ()
    start: datetime.datetime | None = None
    unfit: Mapping[str, str] = dataclasses.field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    places: Mapping[str, tuple[float, float, float]] = dataclasses.field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Findings as sentences."""
        return sentences(self.findings)

    @property
    def end_s(self) -> float:
        """When the recording ends, in seconds from its start: pauses count."""
        ends = (part.onset_s + part.samples / self.rate_hz for part in self.parts)
        return max(ends, default=self.samples / self.rate_hz)

    def read_span(self, positions: list[int], start: int, stop: int) -> np.ndarray:
        """Samples from ``start`` to before ``stop``, (1, len(positions), stop - start).

        Raises
        ------
        ValueError
            The file ends before its header says, or is damaged.
        """
        part = next((part for part in self.parts if part.start <= start < part.stop), None)
        before = Part(0, 0, 0.0) if part is None else part
        second = before.onset_s + (start - before.start) / self.rate_hz
        try:
            signal = self.read(positions, start, stop)
        except (SignalError, MemoryError):  # of channels that others are made of; of the machine
            raise
        except Exception as error:  # MNE's readers raise whatever their format meets
            raise ValueError(
                f"The recording cannot be read from {second:.6g} s on "
                f"({type(error).__name__}: {error}). Check that the file is complete."
            ) from error
        if signal.shape[-1] != stop - start:
            raise ValueError(
                f"Expected {stop - start} samples from {second:.6g} s on, found "
                f"{signal.shape[-1]}. Check that the file is complete."
            )
        return signal

    def without(self, unfit: Mapping[str, str]) -> Source:
        """The same recording without the channels of some cleaned names, each with the reason."""
        kept = [row for row, name in enumerate(self.names) if name not in unfit]
        return dataclasses.replace(
            self,
            names=tuple(self.names[row] for row in kept),
            read=lambda positions, *part: self.read([kept[p] for p in positions], *part),
            upsampled=lambda positions: self.upsampled([kept[p] for p in positions]),
            unfit={**self.unfit, **unfit},
        )


def open_source(
    recording: Any,
    unit: str | None = None,
    preload: bool = True,
    wanted: Collection[str] | None = None,
) -> Source:
    """Recognise a recording.

    Parameters
    ----------
    recording : mne.io.BaseRaw, mne.BaseEpochs, (array, names, rate_hz), str or pathlib.Path
        Arrays are (channels, samples), or (windows, channels, samples) where already cut. A
        ``mne_bids.BIDSPath`` is the path of its file.
    unit : str or None
        Unit of the numbers; None: volt for MNE's objects and files, microvolt for arrays. Where
        channels whose header states a unit are read together with such that state none, it is that
        of the latter.
    preload : bool
        Whether a file is read into memory at once, or piece by piece as it is asked for.
    wanted : collection of str or None
        Of a file: see :func:`recording_files.open_file`.

    Returns
    -------
    Source

    Raises
    ------
    TypeError
        Something else was given.
    ValueError
        Names, shape and rate of an array do not fit, there is no EEG channel, or all of a
        continuous recording was skipped.
    """
    recording = plain_path(recording)
    if isinstance(recording, (str, Path)):
        opened, findings = open_file(recording, preload, wanted)
        with blamed_on(recording, ValueError, OSError):  # a header's odd kinds
            source = _from_mne(opened, unit)
        return dataclasses.replace(source, findings=findings + source.findings)
    mne = sys.modules.get("mne")
    if mne is not None and isinstance(recording, (mne.io.BaseRaw, mne.BaseEpochs)):
        return _from_mne(recording, unit)
    if isinstance(recording, (tuple, list)) and len(recording) == 3:
        return _from_array(*recording, unit or "uV")
    raise TypeError(
        "Expected an mne Raw or Epochs, a file's path, or (array, channel names, rate in Hz), "
        f"found {type(recording).__name__}."
    )


def _from_mne(recording: Any, unit: str | None) -> Source:
    cut = isinstance(recording, sys.modules["mne"].BaseEpochs)
    unknown, factors = ({}, {}) if cut else channel_units(recording, tables=unit is None)
    reasons = {row: unit_reason(text) for row, text in unknown.items() if unit is None}
    reasons |= {} if cut else range_faults(recording)
    usable, left_out, unfit = _usable(recording, reasons)
    stated = set(usable).difference(unknown)
    to_unit = unit_factor("V") / unit_factor(unit or "V")
    timeline = None if cut else _timeline(recording)
    limits = None if cut else sample_limits(recording)

    def read(positions: list[int], start: int = 0, stop: int | None = None) -> np.ndarray:
        rows = [usable[position] for position in positions]
        unique = sorted(set(rows))
        part = {} if cut else {"start": start, "stop": stop}
        data = recording.get_data(picks=unique, verbose="error", **part)
        if limits is not None:
            check_samples(data, limits[unique], [recording.ch_names[row] for row in unique])
        for place, row in enumerate(unique):
            if row in factors:  # volt per unit, which the reader did not know
                data[..., place, :] *= factors[row]
            if row in stated and not stated.issuperset(unique):
                # The unit was told for those that state none; these were made volt by the reader.
                data[..., place, :] *= to_unit
        if rows != unique:  # else it would be a copy of what may be gigabytes
            data = data[..., [unique.index(row) for row in rows], :]
        return data if cut else data[None]

    info = recording.info
    return Source(
        kind="Epochs" if cut else "Raw",
        names=tuple(clean_name(recording.ch_names[row]) for row in usable),
        rate_hz=float(info["sfreq"]),
        read=read,
        cut=cut,
        unit=unit or "V",
        band_hz=(float(info["highpass"]), float(info["lowpass"])),
        left_out=tuple(left_out),
        samples=len(recording.times),
        upsampled=lambda positions: _upsampled(recording, [usable[p] for p in positions]),
        unfit=unfit,
        channels=stated_channels(recording, unknown, unit),
        places=_places(recording),
        **_times(timeline),
    )


def _places(recording: Any) -> dict[str, tuple[float, float, float]]:
    """Positions of the EEG channels of an MNE object that has any, in MNE's head frame."""
    if type(recording).__name__ == "RawCNT":  # Neuroscan's are those of a drawing on the screen
        return {}
    kinds = recording.get_channel_types()
    places = {
        clean_name(channel["ch_name"]): tuple(map(float, channel["loc"][:3]))
        for channel, kind in zip(recording.info["chs"], kinds, strict=True)
        if kind == "eeg" and channel["coord_frame"] == _HEAD
    }
    # Without a position they are NaN, or in older files 0.
    return {name: at for name, at in places.items() if np.isfinite(at).all() and any(at)}


def _timeline(recording: Any) -> Timeline:
    timeline = timeline_of(recording)
    if not timeline.parts:
        raise SignalError(
            "Expected a recording with samples, found that all of it was skipped (BAD_ACQ_SKIP). "
            "Remove those annotations where there is a signal."
        )
    return timeline


def _times(timeline: Timeline | None) -> dict[str, Any]:
    """What a source takes from a timeline."""
    if timeline is None:
        return {}
    return {field.name: getattr(timeline, field.name) for field in dataclasses.fields(timeline)}


def _usable(
    recording: Any, reasons: Mapping[int, str]
) -> tuple[list[int], list[str], dict[str, str]]:
    """Positions of the channels of an MNE object that can be used; the others, with reasons.

    ``reasons`` are those of channels whose header gives no unit, or no scale.
    """
    bads = set(recording.info["bads"])
    table = table_of_raw(recording) if bads else None
    in_table = set() if table is None else set(table.bad(recording.ch_names))
    usable, left_out, unfit = [], [], {}
    for row, (name, kind) in enumerate(
        zip(recording.ch_names, recording.get_channel_types(), strict=True)
    ):
        if kind != "eeg":
            left_out.append(f"{name} (type {kind})")
        elif name in bads:
            left_out.append(f"{name} ({MARKED_BAD if name in in_table else 'marked bad'})")
        elif row in reasons:
            unfit[clean_name(name)] = reasons[row]
        else:
            usable.append(row)
    if not usable:
        found = visible(listed([*left_out, *grouped_reasons(unfit)], MOST_REASONS))
        types = (
            "Set the types (set_channel_types) or clear info['bads']; in a BIDS dataset they are "
            "those of channels.tsv."
        )
        raise ValueError(
            f"Expected at least one good channel of type eeg, found {found}. "
            f"{unfit_remedy(unfit) if unfit else types}"
        )
    return usable, left_out, unfit


def unfit_remedy(unfit: Mapping[str, str]) -> str:
    """What to do about channels that cannot be used for what the header says of their scale."""
    scale = [reason.startswith(NO_SCALE) for reason in unfit.values()]
    return " ".join([UNIT_REMEDY] * (not all(scale)) + [RANGE_REMEDY] * any(scale))


def _upsampled(recording: Any, rows: list[int]) -> bool:
    """Whether an EDF or BDF file on disk stores any of these channels at less than the top rate."""
    if getattr(recording, "preload", True):
        return False
    for number, extras in enumerate(getattr(recording, "_raw_extras", ())):
        counts = extras.get("n_samps") if isinstance(extras, dict) else None
        if counts is None or "sel" not in extras:
            continue
        signals = file_rows(recording, number)
        chosen = [signals[row] for row in rows if row in signals]
        if np.any(np.asarray(counts)[chosen] != extras.get("max_samp", np.max(counts))):
            return True
    return False


def _from_array(array: Any, names: Any, rate_hz: Any, unit: str) -> Source:
    data = array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
    if data.ndim not in (2, 3) or 0 in data.shape:
        raise ValueError(
            "Expected an array (channels, samples) or (windows, channels, samples) that is not "
            f"empty, found shape {data.shape}."
        )
    if not (np.issubdtype(data.dtype, np.floating) or np.issubdtype(data.dtype, np.integer)):
        raise ValueError(f"Expected an array of real numbers, found dtype {data.dtype}.")
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"Expected a list of channel names, found {names!r}.")
    if len(names) != data.shape[-2]:
        hint = " The array may be transposed." if len(names) == data.shape[-1] else ""
        raise ValueError(
            f"Expected one name per channel, found {len(names)} names for shape {data.shape}, "
            f"which has {data.shape[-2]} channels.{hint}"
        )
    if not is_positive(rate_hz):
        raise ValueError(f"Expected a rate in Hz above 0, found {rate_hz!r}.")
    if np.issubdtype(data.dtype, np.integer):
        data = data.astype(np.float64)
    cut = data.ndim == 3

    def read(positions: list[int], start: int = 0, stop: int | None = None) -> np.ndarray:
        return data[..., positions, :] if cut else data[None, positions, start:stop]

    return Source(
        kind="array",
        names=tuple(clean_name(name) for name in names),
        rate_hz=float(rate_hz),
        read=read,
        cut=cut,
        unit=unit,
        samples=data.shape[-1],
        parts=() if cut else (Part(0, data.shape[-1], 0.0),),
        channels=tuple(Channel(name, clean_name(name), "eeg", None, unit) for name in names),
    )


def grouped_reasons(reasons: Mapping[str, str]) -> list[str]:
    """Channels with one reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return [f"{listed(some, MOST_NAMES)} ({reason})" for reason, some in names.items()]
