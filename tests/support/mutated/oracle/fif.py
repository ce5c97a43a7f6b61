"""FIF: the chain of tags, the number of channels, their calibrations, the sizes of buffers."""

from __future__ import annotations

import math
import struct
from pathlib import Path

_WIDTHS = {2: 2, 3: 4, 4: 4, 5: 8, 16: 2, 20: 8, 21: 16}
"""Bytes of a number by type of a tag: of shorts, ints, floats, doubles, packed shorts, complex."""


def fif(path: Path) -> list[str]:
    """What contradicts in one file."""
    content = path.read_bytes()
    tags, faults = _chain(content)
    counts, channels, buffers = [], [], []
    for at, kind, type_, size in tags:
        data = at + 16
        if kind == 200 and size == 4:
            counts.append(struct.unpack_from(">i", content, data)[0])
        elif kind == 201 and size == 4:
            rate = struct.unpack_from(">f", content, data)[0]
            if not (math.isfinite(rate) and rate > 0):
                faults.append(f"a rate of {rate:g} Hz")
        elif kind == 203:
            channels.append(at)
            faults += _channel(content, data, size)
        elif kind == 300:
            buffers.append((type_ & 0xFFFF, size))
    if not counts or len(set(counts)) > 1 or counts[0] != len(channels):
        faults.append(f"{counts} channels stated, {len(channels)} described")
    elif buffers:
        for type_, size in buffers:
            row = counts[0] * _WIDTHS.get(type_, 0)
            if not row or size % row:
                faults.append(f"a buffer of {size} bytes of type {type_} for {counts[0]} channels")
    if any(size != buffers[0][1] for _, size in buffers[:-1]):
        faults.append("buffers of several sizes")
    return faults


def _chain(content: bytes) -> tuple[list[tuple[int, int, int, int]], list[str]]:
    """(place, kind, type, size) of all tags, and what breaks the chain.

    Tags follow each other; where a tag says that the next one is (readers have the directory for
    that) is not looked at.
    """
    tags, at, depth = [], 0, 0
    while at + 16 <= len(content):
        kind, type_, size = struct.unpack_from(">iii", content, at)
        if size < 0 or at + 16 + size > len(content):
            return tags, [f"the tag {kind} at {at} has {size} bytes, the file {len(content)}"]
        tags.append((at, kind, type_, size))
        depth += {104: 1, 105: -1}.get(kind, 0)
        if depth < 0:
            return tags, [f"a block ends at {at} that did not begin"]
        at += 16 + size
    faults = [f"{len(content) - at} bytes behind the last tag"] if at < len(content) else []
    return tags, faults + (["a block does not end"] if depth else [])


def _channel(content: bytes, data: int, size: int) -> list[str]:
    if size < 80:
        return [f"a channel of {size} bytes"]
    kind, range_, cal = struct.unpack_from(">iff", content, data + 8)
    if not math.isfinite(range_ * cal) or (kind == 2 and not range_ * cal):  # 0 matters of EEG
        return [f"a channel's range {range_:g} and calibration {cal:g}"]
    return []
