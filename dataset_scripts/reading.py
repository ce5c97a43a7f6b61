"""Files that hold the signals: EDF and Neuroscan ``.cnt``, read into microvolt by channel name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_mteeg.model.bids_channels import reasons_by_table
from modeling_mteeg.model.bids_sidecars import find_sidecars
from modeling_mteeg.model.channel_units import channel_units
from modeling_mteeg.model.channels import ELECTRODES, clean_name
from modeling_mteeg.model.edf_annotations import read_edf_marks
from modeling_mteeg.model.record_times import ANNOTATIONS
from modeling_mteeg.model.recording_files import open_cnt, open_edf, open_file
from modeling_mteeg.model.recording_headers import (
    RecordingError,
    RecordingWarning,
    read_cnt_header,
    read_edf_header,
)

from .renaming import rename_hint, taken_names

if TYPE_CHECKING:
    from mne import Annotations
    from mne.io import BaseRaw

UV_PER_V = 1e6
MISSPELT = {"01": "O1", "02": "O2"}
"""Digits for letters, in two files of CHB-MIT (``chb12_28.edf``, ``chb12_29.edf``)."""


def read_edf(
    path: str | Path, channels: Sequence[str], repeated: Sequence[str] = (), derive: bool = False
) -> tuple[np.ndarray, float]:
    """Signal of an EDF or EDF+ file.

    Parameters
    ----------
    path : str or Path
        The file.
    channels : sequence of str
        Clean names, in the order in which they are wanted.
    repeated : sequence of str
        Names that may occur more than once; the first is taken.
    derive : bool
        Take a bipolar channel that is not there as the difference of its two electrodes where both
        are recorded against one reference: (A - R) - (B - R) is A - B.

    Returns
    -------
    signal_uv : numpy.ndarray
        float64 (channels, samples) in microvolt.
    rate_hz : float

    Raises
    ------
    RecordingError
        The header contradicts the file (:mod:`modeling_mteeg.model.recording_headers`), the file
        cannot be read, a channel is missing or repeated, or its unit or range is unknown.

    Notes
    -----
    Only the channels that are wanted are read: MNE brings all that it reads to the highest rate.
    """
    header = read_edf_header(path)
    rows = find_rows(header.labels, Path(path).name, channels, repeated, derive)
    used = sorted({index for pair in rows for index in pair if index is not None})
    header.check_signals(path, used)
    _warn_of_sidecars(Path(path))
    kept = {header.labels[index] for index in used} | set(ANNOTATIONS)
    others = sorted(set(header.labels) - kept)
    raw = _guarded(_noted(open_edf), path, preload=False, exclude=others)
    return pick_channels(raw, path, channels, repeated, derive)


def read_cnt(path: str | Path, channels: Sequence[str]) -> tuple[np.ndarray, float]:
    """Signal of a Neuroscan ``.cnt`` file; see :func:`read_edf`."""
    header = read_cnt_header(path)
    rows = find_rows(header.labels, Path(path).name, channels)
    header.check_signals(path, [index for index, _ in rows])
    raw = _guarded(_noted(open_cnt), path, preload=False)
    return pick_channels(raw, path, channels)


def _warn_of_sidecars(path: Path) -> None:
    """Warn where an EDF header contradicts its BIDS ``channels.tsv``, of whatever channel."""
    if not find_sidecars(path, "channels"):
        return
    for finding in _guarded(lambda file, verbose: open_file(file, preload=False)[1], path):
        if finding.code == "sidecar":
            warnings.warn(str(finding), RecordingWarning, stacklevel=2)


def _warn_of_taken(path: Path, names: Sequence[str], taken: Sequence[int]) -> None:
    """Warn where channels are taken although a BIDS ``channels.tsv`` takes them out."""
    reasons = reasons_by_table(path, names)
    shown = ", ".join(f"{names[at]} ({reasons[names[at]]})" for at in taken if names[at] in reasons)
    if shown:
        warnings.warn(f"used all the same: {shown}", RecordingWarning, stacklevel=2)


def _noted(opener: Callable[..., Any]) -> Callable[..., Any]:
    """An opener whose notes become warnings for the report."""

    def read(path: str | Path, **options: Any) -> BaseRaw:
        raw, notes = opener(path, **options)
        for note in notes:
            warnings.warn(f"its file is odd: {note}", RecordingWarning, stacklevel=2)
        return raw

    return read


def find_rows(
    names: Sequence[str],
    file: str,
    channels: Sequence[str],
    repeated: Sequence[str] = (),
    derive: bool = False,
) -> list[tuple[int, int | None]]:
    """Which of a file's channels make up those that are wanted.

    Parameters
    ----------
    names : sequence of str
        Names in the file.
    file : str
        Name of the file, for messages.
    channels, repeated, derive
        As for :func:`read_edf`.

    Returns
    -------
    list of (int, int or None)
        For every wanted channel its place in the file; where it is derived, the places of the
        electrode and of the one to subtract.
    """
    places: dict[str, list[int]] = {}
    for index, original in enumerate(taken_names(names)):
        places.setdefault(clean_name(original), []).append(index)
    lacking = [channel for channel in channels if channel not in places]
    derived = _differences(places, lacking) if derive else {}
    missing = [channel for channel in lacking if channel not in derived]
    if missing:
        raise RecordingError(
            f"{file}: channels missing: {', '.join(missing)}; found {', '.join(places)}. The task "
            f"needs all of its {len(channels)} channels.{rename_hint(missing, places)}"
        )
    several = {name for name, indices in places.items() if len(indices) > 1}.difference(repeated)
    twice = [channel for channel in channels if channel in several]
    if twice:
        raise RecordingError(
            f"{file}: channels that occur more than once: {', '.join(twice)}; keep one of each."
        )
    recorded = {name: (indices[0], None) for name, indices in places.items()}
    return [(derived | recorded)[channel] for channel in channels]


def _differences(places: dict[str, list[int]], wanted: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Places of the two electrodes of every wanted derivation that one reference makes possible."""
    electrodes: dict[str, dict[str, int]] = {}  # reference -> electrode -> place
    for name, indices in places.items():
        electrode, _, reference = name.partition("-")
        electrode = MISSPELT.get(electrode, electrode)
        if electrode in ELECTRODES:
            electrodes.setdefault(reference, {}).setdefault(electrode, indices[0])
    result = {}
    for channel in wanted:
        anode, _, cathode = channel.partition("-")
        for _, electrode_places in sorted(electrodes.items()):
            if anode in electrode_places and cathode in electrode_places:
                result[channel] = (electrode_places[anode], electrode_places[cathode])
                break
    return result


def pick_channels(
    raw: BaseRaw,
    path: str | Path,
    channels: Sequence[str],
    repeated: Sequence[str] = (),
    derive: bool = False,
) -> tuple[np.ndarray, float]:
    """Channels of an open recording by name, (channels, samples) in microvolt, and the rate."""
    name = Path(path).name
    rows = find_rows(raw.ch_names, name, channels, repeated, derive)
    picks = np.array([index for index, _ in rows])
    no_unit, factors = channel_units(raw)
    unknown = [raw.ch_names[pick] for pick in picks if pick in no_unit]
    if unknown:
        raise RecordingError(
            f"{name}: the header gives no unit of voltage for {', '.join(unknown)}; write the "
            "physical dimension (uV) into the header."
        )
    ordered = np.unique([index for pair in rows for index in pair if index is not None])
    _warn_of_taken(Path(path), raw.ch_names, ordered)
    data = _guarded(lambda _, **kw: raw.get_data(picks=ordered, **kw), path)
    for row, pick in enumerate(ordered):
        data[row] *= factors.get(int(pick), 1.0)  # what makes volt where MNE knew no unit
    if not np.array_equal(ordered, picks):  # a copy, of what may be gigabytes
        recorded, data = data, data[np.searchsorted(ordered, picks)]
        for row, (_, second) in enumerate(rows):
            if second is not None:
                data[row] -= recorded[np.searchsorted(ordered, second)]
    derived = [
        channel
        for channel, (_, subtracted) in zip(channels, rows, strict=True)
        if subtracted is not None
    ]
    if derived:
        warnings.warn(
            f"derived: {len(derived)} of {len(channels)}, differences of two electrodes against "
            f"one reference ({', '.join(derived)})",
            RecordingWarning,
            stacklevel=2,
        )
    data *= UV_PER_V
    return data, float(raw.info["sfreq"])


def read_annotations(path: str | Path) -> Annotations:
    """Annotations of an EDF+ file: onsets and durations in seconds, descriptions.

    See :func:`modeling_mteeg.model.edf_annotations.read_edf_marks`.
    """
    import mne

    header = read_edf_header(path)
    marks = _guarded(lambda file, verbose: read_edf_marks(file, header), path)
    rows = [(mark.onset_s, mark.duration_s, mark.text) for mark in marks]
    onsets, durations, descriptions = zip(*rows, strict=True) if rows else ((), (), ())
    return mne.Annotations(onsets, durations, descriptions)


def edf_duration_s(path: str | Path) -> float:
    """Seconds of signal by an EDF header; 0 where the header is wrong."""
    try:
        return read_edf_header(path).duration_s
    except RecordingError:
        return 0.0


def cnt_duration_s(path: str | Path) -> float:
    """Seconds of signal by a Neuroscan header; 0 where the header is wrong."""
    try:
        return read_cnt_header(path).duration_s
    except RecordingError:
        return 0.0


def _guarded(reader: Callable[..., Any], path: str | Path, **options: Any) -> Any:
    """Call a reader of foreign files; whatever it raises becomes a ``RecordingError``.

    A damaged file can make a reader fail in any way, and one file must not end the preparation of
    thousands; so this one place catches every ``Exception``, and nothing but the reader runs in it.
    """
    if not Path(path).is_file():
        raise RecordingError(f"{path}: the file does not exist; download it again.")
    try:
        return reader(path, verbose="ERROR", **options)
    except RecordingError:
        raise
    except Exception as error:
        raise RecordingError(
            f"{Path(path).name}: cannot be read ({type(error).__name__}: {error}); the file may be "
            "damaged or incomplete, download it again."
        ) from error
