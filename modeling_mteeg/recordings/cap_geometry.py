"""Electrodes on the head: the sphere that a cap lies on, electrodes of the 10-10 system on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from ..model.channels import ELECTRODES, OTHER_SYSTEM, clean_name
from ..model.signal_checks import SignalError

HEAD_CM = 9.5
"""Radius by which angles are told as distances on the scalp."""
TEMPLATE = "colin27_1005"
"""Where MNE has the electrodes of the 10-10 system on a real head (``standard_1005`` before)."""
SAME_PLACE_DEG = 0.6
"""Electrodes that are closer, 1 mm on the scalp, lie at one place."""
REACH_DEG: tuple[tuple[float, float], ...] = ((150.0, 40.0), (180.0, 30.0), (360.0, 25.0))
"""How far an electrode may lie from the nearest one, by the widest sector in which it has no
neighbour: 6.6 cm where they lie all round, 5.0 cm at the cap's edge, 4.1 cm beyond it. Farther
away, more than half of the variance is lost; docs/recordings.md has the experiment."""

_LEAST_NAMED = 6  # electrodes of known name by which a cap is turned: a similarity has 7 freedoms
_MOST_OFF_DEG = 20.0  # real caps, after turning: up to 11
_MOST_OFF_UNTURNED_DEG = 35.0  # the same before turning: up to 18
_TURNED_DEG = 20.0  # beyond what frames of one head differ by: worth a word
_AROUND_DEG = 90.0  # electrodes farther away are no neighbours


def fit_centre(points: np.ndarray) -> np.ndarray:
    """Centre (3,) of the sphere that fits points (n, 3) best, by least squares.

    As :func:`mne.bem.fit_sphere_to_headshape` does, without those below and in front of the origin:
    they lie on the face.
    """
    face = (points[:, 2] < -1e-6) & (points[:, 1] > 1e-6)
    scalp = points[~face] if np.count_nonzero(~face) >= 4 else points
    # |p|^2 = 2 p.c + (r^2 - |c|^2): linear in the centre and a constant
    design = np.column_stack([2 * scalp, np.ones(len(scalp))])
    solution, *_ = np.linalg.lstsq(design, (scalp**2).sum(1), rcond=1e-6)
    return solution[:3]


def directions(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) from a centre to points (n, 3)."""
    rays = points - centre
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def angles_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles (n, m) between unit vectors (n, 3) and (m, 3)."""
    return np.degrees(np.arccos(np.clip(first @ second.T, -1.0, 1.0)))


def on_scalp_cm(angle_deg: float) -> float:
    """Length of the arc of an angle on a head of usual size."""
    return float(np.radians(angle_deg) * HEAD_CM)


@dataclasses.dataclass(frozen=True)
class Cap:
    """The electrodes of the 10-10 system where they lie on the head that a cap was on.

    Parameters
    ----------
    centre : numpy.ndarray
        (3,), of the sphere, in the frame of the cap's positions.
    electrodes : mapping of str to numpy.ndarray
        Unit vectors (3,) from there by cleaned name.
    turned_deg : float
        By how much the frame is turned against that of the template, where electrodes of known name
        tell it.
    """

    centre: np.ndarray
    electrodes: Mapping[str, np.ndarray]
    turned_deg: float = 0.0

    @property
    def note(self) -> str:
        """A sentence where the frame was turned a good deal; else empty."""
        if self.turned_deg <= _TURNED_DEG:
            return ""
        return (
            f"Their positions were turned by {self.turned_deg:.0f} degrees, so that electrodes lie "
            "where their names say."
        )


def fit_cap(points: np.ndarray, named: Mapping[str, np.ndarray], oriented: bool = True) -> Cap:
    """Find where the electrodes of the 10-10 system lie on the head of a cap.

    Parameters
    ----------
    points : numpy.ndarray
        (n, 3), all positions that are known, in any unit, in a frame whose axes point to the right,
        to the front and up, at least roughly.
    named : mapping of str to numpy.ndarray
        Positions (3,) of electrodes of the 10-10 system in the same frame, by cleaned name.
    oriented : bool
        False: nobody says where the axes point, so that six electrodes have to be named.

    Returns
    -------
    Cap
        Electrodes that are named lie where ``named`` has them, the others where the template's are
        after it was moved, turned and scaled to fit those; with fewer than six in common, where
        they are after its sphere was laid over the cap's.

    Raises
    ------
    SignalError
        Electrodes lie elsewhere than their names say; or, without names, the frame is not known, or
        the cap is symmetric from front to back and not from left to right.
    """
    centre = fit_centre(points)
    template = template_places()
    if not set(named).intersection(template):
        named = {**named, **_at_the_template(points)}
    names = [name for name in named if name in template]
    there = np.array([template[name] for name in names]).reshape(-1, 3)
    here = np.array([named[name] for name in names]).reshape(-1, 3)
    turned_deg = 0.0
    if len(names) >= _LEAST_NAMED:
        scale, rotation, shift = fit_similarity(there, here)
        turned_deg = float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
        most_deg = _MOST_OFF_DEG
    else:
        _check_orientation(directions(points, centre), oriented)
        middle = fit_centre(np.array(list(template.values())))
        scale, rotation, shift = 1.0, np.eye(3), centre - middle
        most_deg = _MOST_OFF_UNTURNED_DEG
    moved = {name: scale * rotation @ place + shift for name, place in template.items()}
    if names:
        fitted = np.array([moved[name] for name in names])
        off = np.diag(angles_deg(directions(fitted, centre), directions(here, centre)))
        _check_places(names, off, most_deg)
    places = moved | _with_other_names(named)
    rays = directions(np.array(list(places.values())), centre)
    return Cap(centre, dict(zip(places, rays, strict=True)), turned_deg)


def _at_the_template(points: np.ndarray) -> dict[str, np.ndarray]:
    """Positions that are those of the template's electrodes to the millimetre, if they are many."""
    template = template_places()
    away = np.linalg.norm(np.array(list(template.values()))[:, None] - points, axis=2)
    found = {name: points[row.argmin()] for name, row in zip(template, away, strict=True)
             if row.min() < 1e-3}  # fmt: skip
    return found if len(found) > len(points) / 2 else {}


def _with_other_names(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Old and new temporal names (T3 and T7 ...) are of one place; A1 and M1 are not."""
    pairs = [(old, new) for old, new in OTHER_SYSTEM.items() if not old.startswith("A")]
    known = dict(named)
    for one, other in [*pairs, *[(new, old) for old, new in pairs]]:
        if other in named:
            known.setdefault(one, named[other])
    return known


def fit_similarity(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation (3, 3) and shift (3,) that bring points (n, 3) closest to others (n, 3).

    Notes
    -----
    Umeyama, IEEE Trans. PAMI 13(4), 1991; mirrored points are not mirrored back.
    """
    middle, other = first.mean(0), second.mean(0)
    left, sizes, right = np.linalg.svd((second - other).T @ (first - middle))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])  # no reflection
    rotation = left @ np.diag(signs) @ right
    scale = float(sizes @ signs / ((first - middle) ** 2).sum())
    return scale, rotation, other - scale * rotation @ middle


def empty_sector_deg(target: np.ndarray, sources: np.ndarray) -> float:
    """The widest sector round a place in which it has no neighbour; 180 and more is an edge.

    Parameters
    ----------
    target : numpy.ndarray
        (3,), unit vector.
    sources : numpy.ndarray
        (n, 3), unit vectors.
    """
    near = sources[angles_deg(target[None], sources)[0] < _AROUND_DEG]
    if not len(near):
        return 360.0
    axis = np.eye(3)[np.argmin(np.abs(target))]
    east = np.cross(target, axis)
    east /= np.linalg.norm(east)
    bearings = np.sort(np.arctan2(near @ np.cross(target, east), near @ east))  # (k,)
    return float(np.degrees(np.diff([*bearings, bearings[0] + 2 * np.pi]).max()))


def reach_deg(sector_deg: float) -> float:
    """How far the nearest electrode may be, by the widest empty sector: :data:`REACH_DEG`."""
    return next(most for widest, most in REACH_DEG if sector_deg <= widest)


@lru_cache(maxsize=1)
def template_places() -> dict[str, np.ndarray]:
    """Positions (3,) of the spatial table's electrodes in the template, in metres, head frame."""
    places = montage_places(TEMPLATE)
    return {name: places[name] for name in ELECTRODES if name in places}


def montage_places(montage: str) -> dict[str, np.ndarray]:
    """Positions (3,) of a standard montage of MNE by cleaned name, in metres, head frame."""
    import mne

    found = mne.channels.make_standard_montage(montage)
    info = mne.create_info(found.ch_names, 1.0, "eeg", verbose="error")
    info.set_montage(found, verbose="error")
    return {clean_name(one["ch_name"]): one["loc"][:3].copy() for one in info["chs"]}


def _check_places(names: Sequence[str], off_deg: np.ndarray, most_deg: float) -> None:
    wrong = [f"{name} ({on_scalp_cm(angle):.1f} cm)"
             for name, angle in zip(names, off_deg, strict=True) if angle > most_deg]  # fmt: skip
    if wrong:
        raise SignalError(
            f"Expected electrodes where their names say, found {len(wrong)} of {len(names)} "
            f"elsewhere: {', '.join(wrong)}. Correct the positions or the names; a standard "
            "montage can be named instead (interpolate='standard_1005'; on the command line "
            "--interpolate standard_1005)."
        )


def _check_orientation(rays: np.ndarray, oriented: bool) -> None:
    """Raise where nobody says how a cap without names lies, or an ear of it points to the front."""
    if not oriented:
        raise SignalError(
            "Expected positions in a frame that is known, found none (no usable coordsystem.json), "
            f"and fewer than {_LEAST_NAMED} electrodes of the 10-10 system that would tell it. "
            "Write the coordinate system, or name a standard montage."
        )

    def off(axis: int) -> float:
        mirrored = rays * np.where(np.arange(3) == axis, -1.0, 1.0)
        return float(np.median(np.linalg.norm(rays[:, None] - mirrored, axis=2).min(1)))

    if off(0) > max(0.1, 2 * off(1)):
        raise SignalError(
            "Expected positions whose first axis points to the right ear and second to the nose, "
            "found a cap that is symmetric from front to back, not from left to right. Turn the "
            "positions, or name a standard montage."
        )
