"""One view of whatever a recording comes as: MNE Raw or Epochs, a file, or an array with names.

MNE-Python is never imported here unless a file has to be read: its objects are recognised through
the module that made them.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .channels import clean_name
from .preprocessing import read_recording
from .signal_checks import SignalError

logger = logging.getLogger(__name__)

OTHER_SYSTEM = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "A1": "M1", "A2": "M2"}
"""Old and new names of the same place. Both have rows of their own, so they are only hinted at."""


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
        From channel positions to their signal, (windows, len(positions), samples), in ``unit``.
    cut : bool
        Whether the windows are already cut (epochs), or it is one continuous signal.
    unit : str
        Unit of the numbers: volt in MNE's objects, microvolt in arrays, if nobody says otherwise.
    band_hz : tuple of float or None
        High-pass and low-pass that MNE notes for the data; None for arrays.
    left_out : tuple of str
        Channels that may not be used, each with the reason.
    """

    kind: str
    names: tuple[str, ...]
    rate_hz: float
    read: Callable[[list[int]], np.ndarray]
    cut: bool
    unit: str
    band_hz: tuple[float, float] | None = None
    left_out: tuple[str, ...] = ()


def open_source(recording: Any, unit: str | None = None) -> Source:
    """Recognise a recording.

    Parameters
    ----------
    recording : mne.io.BaseRaw, mne.BaseEpochs, (array, names, rate_hz), str or pathlib.Path
        Arrays are (channels, samples), or (windows, channels, samples) where already cut.
    unit : str or None
        Unit of the numbers; None: volt for MNE's objects and files, microvolt for arrays.

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
    if isinstance(recording, (str, Path)):
        recording = read_recording(recording)
    mne = sys.modules.get("mne")
    if mne is not None and isinstance(recording, (mne.io.BaseRaw, mne.BaseEpochs)):
        return _from_mne(recording, isinstance(recording, mne.BaseEpochs), unit or "V")
    if isinstance(recording, (tuple, list)) and len(recording) == 3:
        return _from_array(*recording, unit or "uV")
    raise TypeError(
        "Expected an mne Raw or Epochs, a file's path, or (array, channel names, rate in Hz), "
        f"found {type(recording).__name__}."
    )


def _from_mne(recording: Any, cut: bool, unit: str) -> Source:
    bads = set(recording.info["bads"])
    usable, left_out = [], []
    for row, (name, kind) in enumerate(
        zip(recording.ch_names, recording.get_channel_types(), strict=True)
    ):
        if kind != "eeg":
            left_out.append(f"{name} (type {kind})")
        elif name in bads:
            left_out.append(f"{name} (marked bad)")
        else:
            usable.append(row)
    if not usable:
        raise ValueError(
            f"Expected at least one good channel of type eeg, found {', '.join(left_out)}. "
            "Set the types (set_channel_types) or clear info['bads']."
        )
    if not cut and any(text.endswith(" boundary") for text in recording.annotations.description):
        logger.warning(
            "The recording was joined from parts: filters run across the joints, and windows may "
            "span them. Extract the parts one by one where that matters."
        )

    def read(positions: list[int]) -> np.ndarray:
        rows = [usable[position] for position in positions]
        unique = sorted(set(rows))
        data = recording.get_data(picks=unique, verbose="error")
        data = data[..., [unique.index(row) for row in rows], :]
        return data if cut else data[None]

    info = recording.info
    return Source(
        kind="Epochs" if cut else "Raw",
        names=tuple(clean_name(recording.ch_names[row]) for row in usable),
        rate_hz=float(info["sfreq"]),
        read=read,
        cut=cut,
        unit=unit,
        band_hz=(float(info["highpass"]), float(info["lowpass"])),
        left_out=tuple(left_out),
    )


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
    number = isinstance(rate_hz, (int, float, np.number)) and not isinstance(rate_hz, bool)
    if not number or not 0 < rate_hz < np.inf:
        raise ValueError(f"Expected a rate in Hz above 0, found {rate_hz!r}.")
    if np.issubdtype(data.dtype, np.integer):
        data = data.astype(np.float64)
    cut = data.ndim == 3
    return Source(
        kind="array",
        names=tuple(clean_name(name) for name in names),
        rate_hz=float(rate_hz),
        read=lambda positions: data[..., positions, :] if cut else data[None, positions],
        cut=cut,
        unit=unit,
    )


def read_channels(
    source: Source, wanted: Sequence[str] | None = None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Read a source's channels, all of them or those wanted, in the order wanted.

    Parameters
    ----------
    source : Source
    wanted : sequence of str or None
        Names; None takes every channel in the recording's order.

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
    A bipolar name that the recording does not have, but whose two electrodes it has, is derived as
    their difference; with a common reference this is exact. A name that occurs several times with
    equal signals (``T8-P8`` in CHB-MIT) is taken once.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(source.names):
        rows.setdefault(name, []).append(row)
    names = tuple(rows) if wanted is None else tuple(clean_name(name) for name in wanted)
    parts: list[tuple[str, ...]] = []
    for name in names:
        halves = tuple(name.split("-"))
        derived = name not in rows and len(halves) == 2 and all(half in rows for half in halves)
        parts.append(halves if derived else (name,))
    missing = [part[0] for part in parts if part[0] not in rows]
    if missing:
        raise SignalError(_missing_text(source, missing, len(names)))
    needed = list(dict.fromkeys(half for part in parts for half in part))
    for name in needed:
        _check_copies(source, name, rows[name])
    signal = source.read([rows[name][0] for name in needed])
    if any(len(part) == 2 for part in parts):
        derived_names = [name for name, part in zip(names, parts, strict=True) if len(part) == 2]
        logger.info("Derived as differences of two electrodes: %s.", ", ".join(derived_names))
    if wanted is None and source.left_out:
        logger.warning("Channels left out: %s.", ", ".join(source.left_out))
    if [(name,) for name in needed] == parts:
        return names, signal
    place = {name: row for row, name in enumerate(needed)}
    out = signal[:, [place[part[0]] for part in parts]]
    for row, part in enumerate(parts):
        if len(part) == 2:
            out[:, row] -= signal[:, place[part[1]]]
    return names, out


def _check_copies(source: Source, name: str, rows: list[int]) -> None:
    """Raise where one name stands for channels with different signals."""
    if len(rows) == 1:
        return
    copies = source.read(rows)
    if not np.array_equal(copies, np.broadcast_to(copies[:, :1], copies.shape), equal_nan=True):
        raise SignalError(
            f"Expected every channel once, found {name} {len(rows)} times with different signals. "
            "Rename or drop the wrong one."
        )
    logger.info("%s occurs %d times with equal signals; taken once.", name, len(rows))


def _missing_text(source: Source, missing: Sequence[str], count: int) -> str:
    both = OTHER_SYSTEM | {new: old for old, new in OTHER_SYSTEM.items()}
    hints = [
        f"{name} is {both[name]} in the other naming system"
        for name in missing
        if both.get(name) in source.names
    ]
    text = (
        f"Expected {count} channels, of which {len(missing)} are missing: {', '.join(missing)}. "
        f"Found: {', '.join(source.names)}."
    )
    if source.left_out:
        text += f" Not usable: {', '.join(source.left_out)}."
    if hints:
        text += f" {'; '.join(hints)}: rename them if they are meant."
    return text + " Nothing is filled in; add the channels, or choose a task that fits."
