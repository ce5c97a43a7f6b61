"""Positions of electrodes in a BIDS dataset: ``electrodes.tsv`` and ``coordsystem.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..model.bids_sidecars import entities_of, find_sidecars, read_table
from ..model.channels import clean_name
from ..model.signal_checks import SignalError
from ..model.text_files import read_text_file

_FRONT_LEFT_UP = ("CTF", "4DBti", "KitYokogawa", "EEGLAB", "EEGLAB-HJ")
"""Coordinate systems of BIDS whose first axis points to the nose and second to the left ear; those
of the other ones point to the right ear and to the nose (BIDS specification, appendix)."""
_UNKNOWN = ("", "Other", "n/a", "Pixels")
_METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
_LANDMARKS = ("NAS", "LPA", "RPA")


def electrode_files(path: str | Path) -> list[Path]:
    """The table of electrodes that counts for a recording and its coordinate system, if there.

    Parameters
    ----------
    path : str or pathlib.Path
        The recording. Beside one without a name of BIDS, ``electrodes.tsv`` is looked for.
    """
    tables = find_sidecars(path, "electrodes")
    if not tables:
        tables = [Path(path).parent / "electrodes.tsv"]
    if not tables[0].is_file():
        return []
    systems = find_sidecars(path, "coordsystem", ".json")
    if not systems and (Path(path).parent / "coordsystem.json").is_file():
        systems = [Path(path).parent / "coordsystem.json"]
    space = entities_of(tables[0]).get("space")
    return [tables[0], *[file for file in systems if entities_of(file).get("space") == space][:1]]


def read_electrodes(path: str | Path) -> tuple[dict[str, np.ndarray], str, bool]:
    """Positions of a recording's electrodes by its ``electrodes.tsv``.

    Parameters
    ----------
    path : str or pathlib.Path
        The recording.

    Returns
    -------
    places : dict of str to numpy.ndarray
        (3,) by cleaned name, the first axis to the right ear, the second to the nose; empty where
        there is no table. In metres where the unit is told.
    origin : str
        Name of the table.
    oriented : bool
        Whether it is known where the axes point.

    Raises
    ------
    SignalError
        A table that cannot be used.

    Notes
    -----
    Where ``coordsystem.json`` tells nasion and ears, positions are in the frame that these make.
    """
    files = electrode_files(path)
    if not files:
        return {}, "", True
    table, *systems = files
    try:
        rows = read_table(table)
        system = json.loads(read_text_file(systems[0]).decode("utf-8-sig")) if systems else {}
    except (OSError, ValueError) as error:
        raise SignalError(
            f"{table.name}, or its coordsystem.json, is not usable: {error}"
        ) from error
    lacking = [column for column in ("name", "x", "y", "z") if rows and column not in rows[0]]
    if not rows or lacking or not isinstance(system, Mapping):
        raise SignalError(
            f"{table.name}: expected columns name, x, y and z and a row for every electrode, found "
            f"{', '.join(rows[0]) if rows else 'no row'}."
        )
    places = {}
    for row in rows:
        cells = [row[axis] for axis in "xyz"]
        if any(cell in ("", "n/a") for cell in cells):
            continue  # not measured
        try:
            places[clean_name(row["name"])] = np.array([float(cell) for cell in cells])
        except ValueError as error:
            raise SignalError(
                f"{table.name}: expected numbers or n/a as position of {row['name']}, found "
                f"{', '.join(cells)}."
            ) from error
    places, oriented = _to_right_front_up(places, system)
    return places, table.name, oriented


def _to_right_front_up(
    places: Mapping[str, np.ndarray], system: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], bool]:
    """Positions in metres with their axes to the right ear and the nose, if that is known."""
    name = str(system.get("EEGCoordinateSystem") or "")
    scale = _METRES.get(str(system.get("EEGCoordinateUnits")), 1.0)
    scaled = {electrode: scale * place for electrode, place in places.items()}
    landmarks = _landmarks(system, name, scale)
    if landmarks is not None and scaled:
        return _by_landmarks(scaled, landmarks), True
    if name in _FRONT_LEFT_UP:
        return {key: np.array([-y, x, z]) for key, (x, y, z) in scaled.items()}, True
    return scaled, name not in _UNKNOWN


def _landmarks(system: Mapping[str, Any], name: str, scale: float) -> list[np.ndarray] | None:
    """Nasion, left and right ear (3,) in metres, if they are told in the electrodes' system."""
    told = system.get("AnatomicalLandmarkCoordinates") or {}
    if (system.get("AnatomicalLandmarkCoordinateSystem") or name) != name:
        return None
    own = _METRES.get(str(system.get("AnatomicalLandmarkCoordinateUnits")), scale)
    try:
        points = [own * np.array(told[key], dtype=float) for key in _LANDMARKS]
    except (KeyError, TypeError, ValueError):
        return None
    fine = all(point.shape == (3,) and np.isfinite(point).all() for point in points)
    return points if fine else None


def _by_landmarks(
    places: Mapping[str, np.ndarray], landmarks: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Positions in the head frame that nasion and ears make, as MNE has it."""
    import mne

    nasion, left, right = landmarks
    montage = mne.channels.make_dig_montage(
        dict(places), nasion=nasion, lpa=left, rpa=right, coord_frame="unknown"
    )
    move = mne.channels.compute_native_head_t(montage)["trans"]  # (4, 4)
    return {name: move[:3, :3] @ place + move[:3, 3] for name, place in places.items()}
