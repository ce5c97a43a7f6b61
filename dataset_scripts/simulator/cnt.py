"""Neuroscan ``.cnt`` files (continuous, 16 bit).

The layout is Neuroscan's: a SETUP block of 900 bytes, an ELECTLOC block of 75 bytes for every
channel, the samples (all channels of a sample together, little endian), and a table of events.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SETUP_BYTES = 900
ELECTRODE_BYTES = 75
STEP_UV = 0.05
"""Microvolt per count: a range of +-1638 microvolt."""
_SCALE = 204.8
# Microvolt per count = sensitivity * calibration / 204.8.


def write_cnt(
    path: Path,
    uv: np.ndarray,
    labels: Sequence[str],
    rate_hz: int,
    events: Sequence[tuple[int, int]] = (),
    positions: np.ndarray | None = None,
) -> None:
    """Write a recording.

    Parameters
    ----------
    path : Path
        File; its folder is made.
    uv : numpy.ndarray
        (channels, samples) in microvolt; what exceeds the range is clipped.
    labels : sequence of str
        Channel names, at most 9 ASCII characters.
    rate_hz : int
    events : sequence of (sample, code)
        Triggers.
    positions : numpy.ndarray, optional
        Unit vectors (channels, 3); they are written as flat coordinates.

    Raises
    ------
    ValueError
        The labels do not fit the channels, or a label is too long.
    """
    channels, samples = uv.shape
    if len(labels) != channels:
        raise ValueError(f"labels: expected {channels}, one a channel, found {len(labels)}.")
    long = [label for label in labels if len(label.encode("ascii")) > 9]
    if long:
        raise ValueError(f"labels: expected at most 9 characters, found {long}; shorten them.")
    data_start = SETUP_BYTES + ELECTRODE_BYTES * channels
    table_start = data_start + 2 * channels * samples
    counts = np.rint(uv.T / STEP_UV)
    np.clip(counts, -32768, 32767, out=counts)
    flat = np.zeros((channels, 2)) if positions is None else _flattened(positions)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_setup(channels, samples, rate_hz, table_start))
        for label, (x, y) in zip(labels, flat, strict=True):
            file.write(_electrode(label, x, y))
        file.write(counts.astype("<i2").tobytes())
        file.write(_event_table(events, data_start, 2 * channels))


def _setup(channels: int, samples: int, rate_hz: int, table_start: int) -> bytes:
    """The SETUP block; fields not set here stay zero."""
    block = bytearray(SETUP_BYTES)
    fields = (
        (0, "12s", b"Version 3.0"),
        (21, "20s", b"simulated"),
        (205, "20s", b"simulated"),
        (225, "10s", b"01/01/01"),
        (235, "12s", b"08:00:00"),
        (370, "<H", channels),
        (376, "<H", rate_hz),
        (864, "<i", samples),
        (886, "<i", table_start),
        (890, "<f", samples / rate_hz),
        (894, "<i", 0),
    )
    for offset, kind, value in fields:
        struct.pack_into(kind, block, offset, value)
    return bytes(block)


def _electrode(label: str, x: float, y: float) -> bytes:
    """The ELECTLOC block of one channel."""
    block = bytearray(ELECTRODE_BYTES)
    struct.pack_into("10s", block, 0, label.encode("ascii"))
    struct.pack_into("<ff", block, 19, x, y)
    struct.pack_into("<h", block, 47, 0)
    struct.pack_into("<f", block, 59, STEP_UV * _SCALE)
    struct.pack_into("<f", block, 71, 1.0)
    return bytes(block)


def _flattened(positions: np.ndarray) -> np.ndarray:
    """Azimuthal projection (channels, 2) of unit vectors; y grows towards the back."""
    angle = np.arccos(np.clip(positions[:, 2], -1.0, 1.0))
    flat = positions[:, :2] / np.maximum(np.linalg.norm(positions[:, :2], axis=1), 1e-9)[:, None]
    return flat * angle[:, None] * np.array([100.0, -100.0])


def _event_table(events: Sequence[tuple[int, int]], data_start: int, stride: int) -> bytes:
    """The TEEG block and one EVENT1 entry for every trigger."""
    # Readers take an event to lie one sample before the offset that is stored.
    entries = b"".join(
        struct.pack("<HBci", code, 0, b"\0", data_start + (sample + 1) * stride)
        for sample, code in events
    )
    return struct.pack("<Bii", 1, len(entries), 0) + entries
