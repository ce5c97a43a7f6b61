"""One view of whatever a recording comes as: MNE Raw or Epochs, a file, or an array with names.

MNE-Python is never imported here unless a file has to be read: its objects are recognised through
the module that made them.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .channel_units import NO_UNIT, UNIT_REMEDY, channel_units, unit_reason
from .channels import clean_name, is_known, numbered_system, other_names
from .preprocessing import is_positive
from .recording_files import check_raw_gaps, open_file
from .signal_checks import AMPLITUDE_REMEDY, OtherUnitError, SignalError, unit_factor

logger = logging.getLogger(__name__)


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
    notes : tuple of str
        Sentences about a file that was read in another way than its header says.
    unfit : mapping of str to str
        Cleaned names of channels that are there and cannot be used for their unit, with the reason.
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
    notes: tuple[str, ...] = ()
    unfit: Mapping[str, str] = dataclasses.field(default_factory=dict)

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


@dataclasses.dataclass(frozen=True)
class ChannelChoice:
    """Which channels of a recording serve, and how each is made.

    Parameters
    ----------
    names : tuple of str
        Channels in the order wanted, without the missing ones.
    parts : tuple of tuple of str
        For every channel the recording's channel, or the two whose difference it is.
    missing : tuple of str
        Wanted channels that the recording cannot give.
    reasons : mapping of str to str
        Why, of those that are there and cannot be used.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...] = ()
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def derived(self) -> tuple[str, ...]:
        """Channels that are differences of two others."""
        return tuple(n for n, part in zip(self.names, self.parts, strict=True) if len(part) == 2)

    @property
    def needed(self) -> tuple[str, ...]:
        """Channels of the recording to read, each once."""
        return tuple(dict.fromkeys(half for part in self.parts for half in part))

    def derive(self, signal: np.ndarray, order: Sequence[str]) -> np.ndarray:
        """The chosen channels (..., channels, samples) from those named in ``order``.

        Returns ``signal`` itself where nothing has to be done, else a new array.
        """
        if self.parts == tuple((name,) for name in order):
            return signal
        place = {name: row for row, name in enumerate(order)}
        out = signal[..., [place[part[0]] for part in self.parts], :]
        for row, part in enumerate(self.parts):
            if len(part) == 2:
                out[..., row, :] -= signal[..., place[part[1]], :]
        return out


def open_source(recording: Any, unit: str | None = None, preload: bool = True) -> Source:
    """Recognise a recording.

    Parameters
    ----------
    recording : mne.io.BaseRaw, mne.BaseEpochs, (array, names, rate_hz), str or pathlib.Path
        Arrays are (channels, samples), or (windows, channels, samples) where already cut.
    unit : str or None
        Unit of the numbers; None: volt for MNE's objects and files, microvolt for arrays. Where
        channels whose header states a unit are read together with such that state none, it is that
        of the latter.
    preload : bool
        Whether a file is read into memory at once, or piece by piece as it is asked for.

    Returns
    -------
    Source

    Raises
    ------
    TypeError
        Something else was given.
    ValueError
        Names, shape and rate of an array do not fit, or there is no EEG channel.
    """
    notes: tuple[str, ...] = ()
    is_file = isinstance(recording, (str, Path))
    if is_file:
        recording, notes = open_file(recording, preload)
    mne = sys.modules.get("mne")
    if mne is not None and isinstance(recording, (mne.io.BaseRaw, mne.BaseEpochs)):
        cut = isinstance(recording, mne.BaseEpochs)
        if not cut and not is_file:
            check_raw_gaps(recording)
        return dataclasses.replace(_from_mne(recording, cut, unit), notes=notes)
    if isinstance(recording, (tuple, list)) and len(recording) == 3:
        return _from_array(*recording, unit or "uV")
    raise TypeError(
        "Expected an mne Raw or Epochs, a file's path, or (array, channel names, rate in Hz), "
        f"found {type(recording).__name__}."
    )


def _from_mne(recording: Any, cut: bool, unit: str | None) -> Source:
    unknown, factors = ({}, {}) if cut else channel_units(recording)
    usable, left_out, unfit = _usable(recording, unknown if unit is None else {})
    stated = set(usable).difference(unknown)
    to_unit = unit_factor("V") / unit_factor(unit or "V")
    if not cut and any(text.endswith(" boundary") for text in recording.annotations.description):
        logger.warning(
            "The recording was joined from parts: filters run across the joints, and windows may "
            "span them. Extract the parts one by one where that matters."
        )

    def read(positions: list[int], start: int = 0, stop: int | None = None) -> np.ndarray:
        rows = [usable[position] for position in positions]
        unique = sorted(set(rows))
        part = {} if cut else {"start": start, "stop": stop}
        data = recording.get_data(picks=unique, verbose="error", **part)
        for place, row in enumerate(unique):
            if row in factors:  # volt per unit, which the reader did not know
                data[..., place, :] *= factors[row]
            if row in stated and not stated.issuperset(unique):
                # The unit was told for those that state none; these were made volt by the reader.
                data[..., place, :] *= to_unit
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
    )


def _usable(
    recording: Any, unknown: Mapping[int, str]
) -> tuple[list[int], list[str], dict[str, str]]:
    """Positions of the channels of an MNE object that can be used; the others, with reasons."""
    bads = set(recording.info["bads"])
    usable, left_out, unfit = [], [], {}
    for row, (name, kind) in enumerate(
        zip(recording.ch_names, recording.get_channel_types(), strict=True)
    ):
        if kind != "eeg":
            left_out.append(f"{name} (type {kind})")
        elif name in bads:
            left_out.append(f"{name} (marked bad)")
        elif row in unknown:
            unfit[clean_name(name)] = unit_reason(unknown[row])
        else:
            usable.append(row)
    if not usable:
        found = ", ".join([*left_out, *_grouped(unfit)])
        types = "Set the types (set_channel_types) or clear info['bads']."
        raise ValueError(
            f"Expected at least one good channel of type eeg, found {found}. "
            f"{UNIT_REMEDY if unfit else types}"
        )
    return usable, left_out, unfit


def _upsampled(recording: Any, rows: list[int]) -> bool:
    """Whether an EDF or BDF file on disk stores any of these channels at less than the top rate."""
    if getattr(recording, "preload", True):
        return False
    for extras in getattr(recording, "_raw_extras", ()):
        counts = extras.get("n_samps") if isinstance(extras, dict) else None
        if counts is None:
            continue
        chosen = np.asarray(extras.get("sel", range(len(counts))))[rows]
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
    )


def choose_channels(
    source: Source, wanted: Sequence[str] | None = None, max_missing: int = 0
) -> ChannelChoice:
    """Find the channels that are wanted among those of a recording.

    Parameters
    ----------
    source : Source
    wanted : sequence of str or None
        Names; None takes every channel in the recording's order.
    max_missing : int
        How many of them may be missing.

    Returns
    -------
    ChannelChoice

    Raises
    ------
    SignalError
        More are missing than may be, or all of them; or names are an amplifier's own numbers.

    Notes
    -----
    Channels that are there, but unfit for their unit, count as missing. A bipolar name that the
    recording does not have, but whose two electrodes it has, is derived as their difference; with a
    common reference this is exact.
    """
    present = dict.fromkeys(source.names)
    if wanted is None:
        unfit = (name for name in source.unfit if is_known(name) and name not in present)
        names = (*present, *unfit)
    else:
        names = tuple(clean_name(name) for name in wanted)
    _check_system(source, wanted is None, names)
    kept, parts, missing = [], [], []
    for name in names:
        halves = tuple(name.split("-"))
        if name in present:
            parts.append((name,))
        elif len(halves) == 2 and all(half in present for half in halves):
            parts.append(halves)
        else:
            missing.append(name)
            continue
        kept.append(name)
    if missing and (len(missing) > max_missing or not kept):
        raise SignalError(_missing_text(source, missing, len(names), max_missing))
    reasons = {
        name: source.unfit[half]
        for name in missing
        for half in (name, *name.split("-"))
        if half in source.unfit
    }
    return ChannelChoice(tuple(kept), tuple(parts), tuple(missing), reasons)


def _check_system(source: Source, all_of_them: bool, wanted: Sequence[str]) -> None:
    """Raise where names are an amplifier's numbers, unless all that are wanted are none of them."""
    sentence = numbered_system(source.names)
    if not sentence:
        return
    numbers = {"A1", "A2"} if "A3" in source.names else set()  # else these are the earlobes
    there = {*source.names, *source.unfit} - numbers
    found = [name in there or there.issuperset(name.split("-")) for name in wanted]
    if all_of_them or not all(found):
        raise SignalError(
            f"{sentence} In Python: rename={{{source.names[0]!r}: 'FP1', ...}}; on the command "
            f"line: --rename {source.names[0]}=FP1 ..."
        )


def without_unfit(source: Source, error: OtherUnitError) -> Source:
    """The recording without the channels that turned out to be in another unit.

    Raises
    ------
    OtherUnitError
        The same, where any of them is a difference of two electrodes: which is it?
    """
    if not all(name in source.names for name in error.reasons):
        raise error
    return source.without(error.reasons)


def read_channels(
    source: Source, wanted: Sequence[str] | None = None, max_missing: int = 0
) -> tuple[tuple[str, ...], np.ndarray]:
    """Read a source's channels, all of them or those wanted, in the order wanted.

    Parameters
    ----------
    source, wanted, max_missing
        As for :func:`choose_channels`; a warning names the channels that are missing.

    Returns
    -------
    names : tuple of str
        Cleaned.
    signal : numpy.ndarray
        (windows, channels, samples), in ``source.unit``.

    Raises
    ------
    SignalError
        Wanted channels are missing, or one name stands for channels that differ.

    Notes
    -----
    Bipolar channels are derived as :func:`choose_channels` says. A name that occurs several times
    with equal signals (``T8-P8`` in CHB-MIT) is taken once.
    """
    choice = choose_channels(source, wanted, max_missing)
    rows = rows_by_name(source)
    for name in choice.needed:
        if len(rows[name]) > 1:
            check_equal(name, source.read(rows[name]))
            logger.info("%s occurs %d times with equal signals; taken once.", name, len(rows[name]))
    signal = source.read([rows[name][0] for name in choice.needed])
    if choice.derived:
        logger.info("Derived as differences of two electrodes: %s.", ", ".join(choice.derived))
    if choice.missing:
        warnings.warn(missing_note(choice), stacklevel=4)
    left_out = [*source.left_out, *_grouped(source.unfit)]
    if wanted is None and left_out:
        logger.warning("Channels left out: %s.", ", ".join(left_out))
    return choice.names, choice.derive(signal, choice.needed)


def rows_by_name(source: Source) -> dict[str, list[int]]:
    """Positions of the channels of every name; several where the name is repeated."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(source.names):
        rows.setdefault(name, []).append(row)
    return rows


def missing_note(choice: ChannelChoice) -> str:
    """Sentence about the channels that are missing, where they may be."""
    count = len(choice.names) + len(choice.missing)
    shown = [name for name in choice.missing if name not in choice.reasons]
    shown += _grouped(choice.reasons)
    return (
        f"{len(choice.missing)} of the task's {count} channels are missing and left out: "
        f"{', '.join(shown)}. The task was not trained on such montages."
    )


def _grouped(reasons: Mapping[str, str]) -> list[str]:
    """Channels with one reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(some)} ({reason})" for reason, some in names.items()]


def check_equal(name: str, copies: np.ndarray) -> None:
    """Raise where the channels (..., copies, samples) of one name differ."""
    first = np.broadcast_to(copies[..., :1, :], copies.shape)
    if not np.array_equal(copies, first, equal_nan=True):
        raise SignalError(
            f"Expected every channel once, found {name} {copies.shape[-2]} times with different "
            "signals. Rename or drop the wrong one."
        )


def _missing_text(source: Source, missing: Sequence[str], count: int, max_missing: int) -> str:
    text = (
        f"Expected {count} channels, of which {len(missing)} are missing: {', '.join(missing)}. "
        f"Found: {', '.join(source.names)}."
    )
    unfit = source.unfit
    if source.left_out or unfit:
        text += f" Not usable: {', '.join([*source.left_out, *_grouped(unfit)])}."
    if any(reason.startswith(NO_UNIT) for reason in unfit.values()):
        text += f" {UNIT_REMEDY}"
    elif unfit:
        text += f" {AMPLITUDE_REMEDY}"
    pairs = other_names(missing, source.names)
    if pairs:
        text += (
            f" {', '.join(f'{new} is {old}' for old, new in pairs.items())} in the other naming "
            f"system: rename them if they are meant (rename={pairs}; on the command line "
            f"{' '.join(f'--rename {old}={new}' for old, new in pairs.items())})."
        )
    if max_missing:
        text += f" At most {max_missing} may be missing, and at least one must be there."
    return text + " Nothing is filled in; add the channels, or choose a task that fits."
