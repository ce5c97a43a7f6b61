"""Files that hold the signals: read into microvolt by channel name."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modeling_mteeg.dataset_scripts.opening import EDF, check_header, refused_or_given
from modeling_mteeg.dataset_scripts.recording import Recorded
from modeling_mteeg.dataset_scripts.renaming import rename_hint, taken_names
from modeling_mteeg.model.bids_sidecars import find_sidecars
from modeling_mteeg.model.channels import ELECTRODES, clean_name
from modeling_mteeg.model.cnt_header import read_cnt_header
from modeling_mteeg.model.edf_annotations import read_edf_marks
from modeling_mteeg.model.file_faults import blamed_on
from modeling_mteeg.model.findings import Finding
from modeling_mteeg.model.recording_headers import (
    RecordingError,
    RecordingWarning,
    read_edf_header,
)
from modeling_mteeg.model.recording_sources import Source, grouped_reasons, unfit_remedy
from modeling_mteeg.model.signal_checks import unit_factor
from modeling_mteeg.model.visible_text import MOST_NAMES, MOST_REASONS, listed

if TYPE_CHECKING:
    from mne import Annotations

MISSPELT = {"01": "O1", "02": "O2"}
"""Digits for letters, in two files of CHB-MIT (``chb12_28.edf``, ``chb12_29.edf``)."""


def load_edf(
    path: str | Path,
    channels: Sequence[str],
    repeated: Sequence[str] = (),
    derive: bool = False,
    keep_bad: bool = True,
) -> Recorded:
    """Signal of an EDF or BDF file, its parts and its marks.

    Parameters
    ----------
    path : str or Path
        The file.
    channels : sequence of str
        Clean names, in the order in which they are wanted.
    repeated : sequence of str
        Names that may occur more than once; the first is taken without a look at the others.
    derive : bool
        Take a bipolar channel that is not there as the difference of its two electrodes where both
        are recorded against one reference: (A - R) - (B - R) is A - B.
    keep_bad : bool
        Use channels that are marked bad, as published scripts do, and warn of it.

    Raises
    ------
    RecordingError
        The header contradicts the file (:mod:`modeling_mteeg.model.recording_headers`), the file
        cannot be read, a channel is missing or stands for several signals, or its unit or range is
        unknown.

    Notes
    -----
    Only the channels that are wanted are read: MNE brings all that it reads to the highest rate.
    """
    path = Path(path)
    header = read_edf_header(path)
    if not header.has_signal:
        raise RecordingError(f"{path.name}: no signal in it, only annotations.")
    rows = find_rows(header.labels, path.name, channels, derive)
    taken = [clean_name(name) for name in taken_names(header.labels)]
    first = {index for pair in rows for index in pair if index >= 0}
    names = {taken[index] for index in first}
    # All that bear a name, for they have to be equal, but not those of which the first is taken.
    used = [index for index, name in enumerate(taken)
            if name in names and (index in first or name not in repeated)]  # fmt: skip
    wanted = {clean_name(header.labels[index]) for index in used}
    header.check_signals(path, used)
    source = refused_or_given(path, "labelled", wanted, keep_bad=keep_bad)
    # What the table says of channels that were not opened is no contradiction.
    own = tuple(finding for finding in source.findings if finding.code != "sidecar")
    source = dataclasses.replace(source, findings=own)
    _warn_of_sidecars(path)
    return pick_channels(source, path, channels, repeated, derive)


def load_cnt(path: str | Path, channels: Sequence[str]) -> Recorded:
    """Signal of a Neuroscan ``.cnt`` file; see :func:`load_edf`."""
    path = Path(path)
    header = read_cnt_header(path)
    rows = find_rows(header.labels, path.name, channels)
    header.check_signals(path, [index for index, _ in rows])
    return pick_channels(refused_or_given(path, "labelled", keep_bad=True), path, channels)


def load_any(path: str | Path, channels: Sequence[str], keep_bad: bool = False) -> Recorded:
    """Signal of a recording of any format that the package opens; see :func:`load_edf`."""
    path = Path(path)
    if path.suffix.lower() in EDF:
        return load_edf(path, channels, keep_bad=keep_bad)
    check_header(path, "labelled")
    return pick_channels(refused_or_given(path, "labelled", keep_bad=keep_bad), path, channels)


def read_edf(
    path: str | Path, channels: Sequence[str], repeated: Sequence[str] = (), derive: bool = False
) -> tuple[np.ndarray, float]:
    """:func:`load_edf` of a file without a gap: float64 (channels, samples) in microvolt; Hz."""
    return _in_one_part(load_edf(path, channels, repeated, derive), path)


def read_cnt(path: str | Path, channels: Sequence[str]) -> tuple[np.ndarray, float]:
    """:func:`load_cnt` likewise."""
    return _in_one_part(load_cnt(path, channels), path)


def _warn_of_sidecars(path: Path) -> None:
    """Warn where an EDF header contradicts its BIDS ``channels.tsv``, of whatever channel."""
    if not find_sidecars(path, "channels"):
        return
    for finding in refused_or_given(path, "labelled", keep_bad=True).findings:
        if finding.code == "sidecar":
            warnings.warn(str(finding), RecordingWarning, stacklevel=2)


def _in_one_part(recorded: Recorded, path: str | Path) -> tuple[np.ndarray, float]:
    if len(recorded.parts) > 1:
        found = " ".join(str(finding) for finding in recorded.findings)
        raise RecordingError(
            f"{Path(path).name}: expected one continuous signal. {found} load_edf gives the parts."
        )
    return recorded.signal_uv, recorded.rate_hz


def find_rows(
    names: Sequence[str], file: str, channels: Sequence[str], derive: bool = False
) -> list[tuple[int, int]]:
    """Which of a file's channels make up those that are wanted.

    Parameters
    ----------
    names : sequence of str
        Names in the file.
    file : str
        Name of the file, for messages.
    channels, derive
        As for :func:`load_edf`.

    Returns
    -------
    list of (int, int)
        For every wanted channel its first place in the file; where it is derived, the places of the
        electrode and of the one to subtract, else -1 for the latter.
    """
    places = _places(names)
    lacking = [channel for channel in channels if channel not in places]
    derived = _differences(places, lacking) if derive else {}
    missing = [channel for channel in lacking if channel not in derived]
    if missing:
        raise RecordingError(
            f"{file}: channels missing: {listed(missing, MOST_NAMES)}; found "
            f"{listed(list(places), MOST_NAMES)}. The task "
            f"needs all of its {len(channels)} channels.{rename_hint(missing, places)}"
        )
    recorded = {name: (indices[0], -1) for name, indices in places.items()}
    return [(derived | recorded)[channel] for channel in channels]


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Places of every clean name, those that the user gave (``--rename``) for those of the file."""
    places: dict[str, list[int]] = {}
    for index, original in enumerate(taken_names(names)):
        places.setdefault(clean_name(original), []).append(index)
    return places


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
    source: Source,
    path: str | Path,
    channels: Sequence[str],
    repeated: Sequence[str] = (),
    derive: bool = False,
) -> Recorded:
    """Channels of an open recording by name; see :func:`load_edf`.

    Warns
    -----
    RecordingWarning
        What is odd about the file, channels that were derived, names that stand for one signal
        twice.
    """
    name = Path(path).name
    _check_usable(source, name, channels)
    rows = find_rows(source.names, name, channels, derive)
    picks = np.array([index for index, _ in rows])
    ordered = np.unique([index for pair in rows for index in pair if index >= 0])
    data = _read(source, ordered, Path(path))
    used = {source.names[at] for at in ordered}
    findings = [finding for finding in source.findings
                if finding.code != "not-usable" or used.intersection(finding.channels)]  # fmt: skip
    findings += _check_repeated(source, data, ordered, repeated, Path(path))
    if not np.array_equal(ordered, picks):  # a copy, of what may be gigabytes
        recorded, data = data, data[np.searchsorted(ordered, picks)]
        for row, (_, second) in enumerate(rows):
            if second >= 0:
                data[row] -= recorded[np.searchsorted(ordered, second)]
    derived = [channel for channel, (_, second) in zip(channels, rows, strict=True) if second >= 0]
    if derived:
        findings.append(
            Finding(
                "derived",
                f"{len(derived)} of {len(channels)}, differences of two electrodes against one "
                f"reference ({', '.join(derived)})",
                channels=tuple(derived),
            )
        )
    data *= unit_factor(source.unit)
    for finding in findings:
        warnings.warn(warning_of(finding), RecordingWarning, stacklevel=2)
    return Recorded(data, source.rate_hz, source.parts, source.marks, tuple(findings))


_KINDS = {
    "parts": "it is in parts",
    "not-usable": "used all the same",
    "derived": "derived",
    "repeated-label": "repeated",
}


def warning_of(finding: Finding) -> str:
    """A finding as ``kind: details``, for the report."""
    if finding.code == "sidecar":
        return str(finding)
    return f"{_KINDS.get(finding.code, 'its file is odd')}: {finding}"


def _check_usable(source: Source, file: str, channels: Sequence[str]) -> None:
    """Raise where wanted channels are there and may not be used."""
    there = set(taken_names(source.names))
    unfit = zip(taken_names(list(source.unfit)), source.unfit.values(), strict=True)
    reasons = {name: why for name, why in unfit if name in channels and name not in there}
    if reasons:
        raise RecordingError(
            f"{file}: {listed(grouped_reasons(reasons), MOST_REASONS)}. {unfit_remedy(reasons)}"
        )
    others = taken_names([clean_name(text.split(" (")[0]) for text in source.left_out])
    marked = [text for text, name in zip(source.left_out, others, strict=True)
              if name in channels and name not in there]  # fmt: skip
    if marked:
        raise RecordingError(
            f"{file}: channels missing, for they may not be used: "
            f"{listed(marked, MOST_REASONS)}. Set their type, or unmark them, or leave "
            "them out of the task (--channels)."
        )


def _read(source: Source, rows: Iterable[int], file: Path) -> np.ndarray:
    """(rows, samples) float64 in the source's unit."""
    with blamed_on(file):
        return source.read([int(row) for row in rows])[0]


def _check_repeated(
    source: Source, data: np.ndarray, ordered: np.ndarray, repeated: Sequence[str], file: Path
) -> list[Finding]:
    """A finding on names that stand for one signal several times; raises where it is not one."""
    places, names = _places(source.names), taken_names(source.names)
    twice = []
    for row, first in enumerate(ordered):
        name = names[first]
        copies = [other for other in places[name] if other != first]
        if not copies or name in repeated:
            continue
        if any(not np.array_equal(data[row], one, equal_nan=True)
               for other in copies for one in _read(source, [other], file)):  # fmt: skip
            raise RecordingError(
                f"{file.name}: channels that occur more than once, with different signals: {name}; "
                "keep one of each."
            )
        twice.append(name)
    text = f"{len(twice)} labels ({listed(twice, MOST_NAMES)}), whose signals are equal: taken once"
    return [Finding("repeated-label", text, channels=tuple(twice))] if twice else []


def read_annotations(path: str | Path) -> Annotations:
    """Annotations of an EDF+ file: onsets and durations in seconds, descriptions.

    See ``modeling_mteeg.model.edf_annotations.read_edf_marks``.
    """
    import mne

    header = read_edf_header(path)
    marks = guarded(lambda file: read_edf_marks(file, header), path)
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


def guarded(reader: Callable[..., Any], path: str | Path) -> Any:
    """Call a reader of foreign files; whatever it raises becomes a ``RecordingError``.

    A damaged file can make a reader fail in any way, and one file must not end the preparation of
    thousands (:func:`~modeling_mteeg.model.file_faults.blamed_on`).
    """
    if not Path(path).is_file():
        raise RecordingError(f"{path}: the file does not exist; download it again.")
    with blamed_on(path):
        return reader(path)
