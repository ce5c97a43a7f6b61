"""Neuroscan ``.cnt``: sizes, rate, calibrations, places of events."""

from __future__ import annotations

import math
import struct
from pathlib import Path


def neuroscan(path: Path) -> list[str]:
    """What contradicts in one file."""
    content = path.read_bytes()
    if len(content) < 900:
        return [f"{len(content)} bytes are no header"]
    (channels,) = struct.unpack_from("<H", content, 370)
    (rate,) = struct.unpack_from("<H", content, 376)
    (samples,) = struct.unpack_from("<i", content, 864)
    (table,) = struct.unpack_from("<I", content, 886)
    found = []
    if not content.startswith(b"Version"):
        found.append("it does not begin with Version")
    if not channels or not rate:
        return [*found, f"{channels} channels, {rate} Hz"]
    begin = 900 + 75 * channels
    if begin > len(content):
        return [*found, f"{channels} channels need {begin} bytes of {len(content)}"]
    scales = [struct.unpack_from("<f", content, 900 + 75 * c + at)[0]
              for c in range(channels) for at in (59, 71)]  # fmt: skip
    if not all(math.isfinite(scale) and scale for scale in scales):
        found.append("a calibration is 0 or not finite")
    if not begin <= table <= len(content):
        found.append(f"the table of events at {table}, signal from {begin}, {len(content)} bytes")
    else:
        size = table - begin
        if samples * channels not in (size // 2, size // 4) or size % (2 * channels):
            found.append(f"{samples} samples of {channels} channels in {size} bytes")
        found += _events(content, table, begin)
    return found


def _events(content: bytes, table: int, begin: int) -> list[str]:
    if table + 9 > len(content):
        return ["the table of events has no head"]
    kind, size, _ = struct.unpack_from("<Bii", content, table)
    width = {1: 8, 2: 19, 3: 19}.get(kind)
    if width is None or size < 0 or size % width or table + 9 + size > len(content):
        return [f"a table of events of kind {kind} and {size} bytes, "
                f"{len(content) - table - 9} are there"]  # fmt: skip
    places = [struct.unpack_from("<i", content, table + 9 + at + 4)[0]
              for at in range(0, size, width)]  # fmt: skip
    return [f"an event at byte {at}" for at in places if not begin <= at <= table][:1]
