"""Simulated recordings of caps: smooth fields on a head, sampled where electrodes lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from modeling_mteeg.recordings.cap_geometry import montage_places


def field_uv(places: np.ndarray, seconds: float = 3.0, rate_hz: float = 250.0) -> np.ndarray:
    """EEG (n, samples) in microvolt at places (n, 3): 40 sources of noise, felt 30 degrees wide."""
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((40, 3)) + [0, 0, 0.5]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rays = places - [0, 0.015, 0.04]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    weights = np.exp(8 * (rays @ directions.T - 1))  # (n, 40)
    return 20 * weights @ rng.standard_normal((40, round(seconds * rate_hz)))


def cap_raw(places: Mapping[str, np.ndarray], signal_uv: np.ndarray | None = None, **field):
    """An MNE Raw with electrodes at places in metres in the head frame."""
    mne = pytest.importorskip("mne")
    signal_uv = (
        field_uv(np.array(list(places.values())), **field) if signal_uv is None else signal_uv
    )
    info = mne.create_info(list(places), 250.0, "eeg", verbose="error")
    raw = mne.io.RawArray(signal_uv * 1e-6, info, verbose="error")
    return raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))


def places_of(montage: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Places of a standard montage by cleaned name, all or some."""
    places = montage_places(montage)
    return {name: places[name] for name in names or places}


SIXTY_FOUR = (
    "FP1 FPZ FP2 AF7 AF3 AFZ AF4 AF8 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 "
    "FT8 T7 C5 C3 C1 CZ C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P9 P7 P5 P3 P1 PZ P2 P4 "
    "P6 P8 P10 PO7 PO3 POZ PO4 PO8 O1 OZ O2 IZ"
).split()
