"""A round head: where electrodes lie, and how sources reach them.

Activity arises in sources below the scalp and reaches the electrodes through weights that fall off
smoothly with the angle between source and electrode, so that neighbouring electrodes are
correlated as in a recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

FloatArray = np.ndarray

# The 10-10 system on a sphere: 10 % of the way round the head are 18 degrees. Every row runs from
# the ring of Fpz, T7, Oz and T8 over the midline; the angles are those of its midline electrode
# (degrees in front of Cz) and of its end on the ring (degrees from the nose).
_ROWS = {
    "AF": (54, 36, "7"),
    "F": (36, 54, "7"),
    "FC": (18, 72, "FT7"),
    "C": (0, 90, "T7"),
    "CP": (-18, 108, "TP7"),
    "P": (-36, 126, "7"),
    "PO": (-54, 144, "7"),
}
# Left electrodes outside that grid: degrees from Cz, degrees from the nose.
_OTHERS = {
    "FP1": (72, 18),
    "O1": (72, 162),
    "F9": (90, 54),
    "FT9": (90, 72),
    "T9": (90, 90),
    "TP9": (90, 108),
    "P9": (90, 126),
    "PO9": (90, 144),
    "CB1": (88, 155),
    "A1": (105, 95),
    "M1": (105, 108),
    "T1": (84, 66),
}
_MIDLINE = {"FPZ": 72, "OZ": -72, "IZ": -90, "VEO": 95}
_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}


def _direction(from_cz: float, from_nose: float) -> FloatArray:
    """Unit vector (3,) of a place left of the midline; angles in degrees."""
    polar, azimuth = np.radians(from_cz), np.radians(from_nose)
    return np.array(
        [-np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth), np.cos(polar)]
    )


def _between(first: FloatArray, last: FloatArray, share: float) -> FloatArray:
    """Unit vector at ``share`` of the way along the great circle from first to last."""
    angle = np.arccos(np.clip(first @ last, -1.0, 1.0))
    # Spherical interpolation: both weights are 1 at their own end and 0 at the other.
    return (np.sin((1.0 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)


@cache
def _known_positions() -> dict[str, FloatArray]:
    """Unit vectors (3,) by upper-case name."""
    left = {name: _direction(*angles) for name, angles in _OTHERS.items()}
    positions = {name: _direction(angle, 0.0) for name, angle in _MIDLINE.items()}
    for row, (front, azimuth, end) in _ROWS.items():
        middle, ring = _direction(front, 0.0), _direction(72.0, azimuth)
        positions[f"{row}Z"] = middle
        left[row + end if end == "7" else end] = ring
        for column, share in (("1", 0.25), ("3", 0.5), ("5", 0.75)):
            left[row + column] = _between(middle, ring, share)
    for name, place in left.items():
        positions[name] = place
        # F3 lies left, F4 right: the next number, mirrored.
        positions[name[:-1] + str(int(name[-1]) + 1)] = place * np.array([-1.0, 1.0, 1.0])
    positions["HEO"] = _direction(95.0, 50.0)
    return positions | {old: positions[new] for old, new in _OLD_NAMES.items()}


def electrode_positions(names: Sequence[str]) -> FloatArray:
    """Unit vectors of electrodes.

    Parameters
    ----------
    names : sequence of str
        Names without prefix or reference, any case.

    Returns
    -------
    numpy.ndarray
        float64 (channels, 3); x right, y front, z up.

    Raises
    ------
    ValueError
        Names are unknown.
    """
    known = _known_positions()
    unknown = [name for name in names if name.upper() not in known]
    if unknown:
        raise ValueError(f"Electrodes without a place on the head: {', '.join(unknown)}.")
    return np.stack([known[name.upper()] for name in names])


class Head:
    """Electrodes on a sphere, and the weights with which a source reaches them.

    Parameters
    ----------
    names : sequence of str
        Electrode names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(name.upper() for name in names)
        self.positions = electrode_positions(names)

    def weights(self, at: str | FloatArray, width: float = 0.45) -> FloatArray:
        """Weights (channels,) of a source.

        Parameters
        ----------
        at : str or numpy.ndarray
            Electrode above the source, or positions (sources, 3); then the result is
            (channels, sources).
        width : float
            Angle in radians at which the weight has fallen to 0.61.
        """
        places = electrode_positions([at])[0] if isinstance(at, str) else at
        # Cosines (channels, sources), or (channels,) of one place; rounding may take them past 1.
        angle = np.arccos(np.clip(self.positions @ places.T, -1.0, 1.0))
        return np.exp(-0.5 * (angle / width) ** 2).astype(np.float32)

    def place(self, uv: FloatArray, at: str, wave: FloatArray, width: float = 0.45) -> None:
        """Add a source's time course ``wave`` (samples,) to ``uv`` (channels, samples)."""
        uv += self.weights(at, width)[:, None] * wave.astype(np.float32)

    def place_region(
        self,
        uv: FloatArray,
        at: str,
        waves: FloatArray,
        rng: np.random.Generator,
        radius: float,
        width: float = 0.22,
    ) -> None:
        """Add ``waves`` (sources, samples), each from its own place around ``at``.

        Parameters
        ----------
        uv : numpy.ndarray
            (channels, samples), changed in place.
        at : str
            Electrode above the middle of the region.
        waves : numpy.ndarray
            Time courses of independent sources; near the middle their sum keeps about the power
            of one of them.
        rng : numpy.random.Generator
            Draws the places.
        radius, width : float
            Size of the region and of one source's field, in radians.
        """
        middle = electrode_positions([at])[0]
        # Over three axes the scatter adds up to ``radius``; then back on the sphere.
        places = middle + rng.standard_normal((len(waves), 3)) * radius / np.sqrt(3.0)
        places /= np.linalg.norm(places, axis=1, keepdims=True)
        mixing = self.weights(places, width)  # (channels, sources)
        near = self.weights(middle[None], radius)[:, 0]  # (channels,): how much each counts
        # Independent waves add their powers; the mean over the channels near by becomes 1.
        power = np.average(np.sum(mixing**2, axis=1), weights=near)
        uv += (mixing / np.sqrt(power)).astype(np.float32) @ waves.astype(np.float32)

    def place_event(
        self, uv: FloatArray, at: str, wave: FloatArray, start: int, width: float = 0.45
    ) -> None:
        """Like :meth:`place` from sample ``start``; what lies outside the recording is cut."""
        first, last = max(start, 0), min(start + len(wave), uv.shape[1])
        if first < last:
            self.place(uv[:, first:last], at, wave[first - start : last - start], width)
