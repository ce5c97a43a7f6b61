"""The chain of tags in a FIF file, looked at before MNE reads it.

A FIF file is a row of tags: kind, type, size and place of the next one, 16 bytes, then the data.
MNE reads as far as the chain goes, or by a directory of all tags; what lies behind a break is lost
without a word. The numbers are those of MNE-Python's ``FIFF`` constants.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from .header_fields import RecordingError, expect

_BLOCK_START, _BLOCK_END, _CHANNELS, _CHANNEL, _BUFFER, _SKIP = 104, 105, 200, 203, 300, 301
_WIDTHS = {2: 2, 3: 4, 4: 4, 5: 8, 16: 2, 20: 8, 21: 16}
"""Bytes of a number by the type of a buffer."""
_NEXT, _LAST = 0, -1
_EEG = 2
_MOST_TAGS = 2_000_000


class _Tag(NamedTuple):
    at: int
    kind: int
    type: int
    size: int
    next: int

    @property
    def end(self) -> int:
        """Byte behind its data."""
        return self.at + 16 + self.size


@dataclass(frozen=True)
class ChainEnd:
    """How the tags of a file end.

    Parameters
    ----------
    cut_off : bool
        The last tag ends behind the file, or a block does not end in it.
    samples : int or None
        Of all whole buffers, where the last tag is a buffer that is not whole; else None.
    behind : int
        Bytes that follow the last tag.
    """

    cut_off: bool = False
    samples: int | None = None
    behind: int = 0


def check_chain(path: Path) -> ChainEnd:
    """Follow the tags of a FIF file to its end.

    Parameters
    ----------
    path : pathlib.Path
        Not compressed (gzip has checks of its own).

    Returns
    -------
    ChainEnd

    Raises
    ------
    RecordingError
        The chain breaks within the file, blocks do not nest, or buffers of signal do not fit the
        number of channels: bytes were lost or changed in the middle.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        tags, last = _tags(file, path, size)
        depth = _depth(path, tags)
        signal = [tag for tag in tags if tag.kind == _BUFFER]
        rows = _check_channels(file, path, tags, signal)
    if last is None:
        return ChainEnd(depth > 0, behind=0 if depth else size - tags[-1].end)
    largest = max((tag.size for tag in signal), default=0)
    expect(
        last.size <= max(largest, 2**16),
        path,
        f"the chain of its tags breaks at byte {last.at}: it is damaged there",
    )
    if last.kind != _BUFFER:
        return ChainEnd(cut_off=True)
    gaps = any(tag.kind == _SKIP for tag in tags)  # which stand for as many buffers
    expect(not gaps and rows > 0, path, "it is cut off within its signal")
    return ChainEnd(cut_off=True, samples=rows)


def _depth(path: Path, tags: list[_Tag]) -> int:
    """How many blocks have not ended."""
    depth = 0
    for tag in tags:
        depth += {_BLOCK_START: 1, _BLOCK_END: -1}.get(tag.kind, 0)
        expect(depth >= 0, path, f"a block ends at byte {tag.at} that did not begin")
    return depth


def _read(file: IO[bytes], count: int, at: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _check_channels(file: IO[bytes], path: Path, tags: list[_Tag], signal: list[_Tag]) -> int:
    """Number and scales of the channels against their buffers; returns the samples of these."""
    stated = [tag for tag in tags if tag.kind == _CHANNELS and tag.size == 4]
    if not stated:
        return 0
    channels = struct.unpack(">i", _read(file, 4, stated[0].at + 16))[0]
    described = [tag for tag in tags if tag.kind == _CHANNEL]
    numbers = f"{channels} channels stated, {len(described)} described"
    expect(len(described) == channels, path, numbers)
    for number, tag in enumerate(described, 1):
        _check_scale(path, number, _read(file, 20, tag.at + 16))
    rows = 0
    for tag in signal:
        row = channels * _WIDTHS.get(tag.type & 0xFFFF, 0)
        fault = f"{tag.size} bytes of signal at byte {tag.at} are no rows of {channels} channels"
        expect(row > 0 and tag.size % row == 0, path, fault)
        rows += tag.size // row
    return rows


def _check_scale(path: Path, number: int, info: bytes) -> None:
    """Range and calibration of a channel, which multiply what is stored; 0 matters of EEG alone."""
    fault = f"channel {number} is described by {len(info)} bytes"
    expect(len(info) == 20, path, fault)
    kind, range_, calibration = struct.unpack_from(">iff", info, 8)
    fault = f"range {range_:g} and calibration {calibration:g} of channel {number} make no scale"
    scale = range_ * calibration
    right = math.isfinite(scale) and (scale != 0 or kind != _EEG)
    expect(right, path, fault)


def _tags(file: IO[bytes], path: Path, size: int) -> tuple[list[_Tag], _Tag | None]:
    """All whole tags, and the last one where it is not whole; of kind 0 where nothing is there."""
    tags, at = [], 0
    while len(tags) < _MOST_TAGS:
        head = _read(file, 16, at)
        tag = _Tag(at, *struct.unpack(">iiii", head)) if len(head) == 16 else _Tag(at, 0, 0, 0, 0)
        right = tag.size >= 0 and tag.next >= _LAST and tag.kind >= 0
        right &= tag.next in (_NEXT, _LAST) or tag.next >= tag.end
        expect(right, path, f"the chain of its tags breaks at byte {at}: it is damaged there")
        if len(head) < 16 or tag.end > size:
            return tags, tag
        tags.append(tag)
        if tag.next == _LAST:
            return tags, None
        at = tag.next or tag.end
    raise RecordingError(f"{path.name}: expected at most {_MOST_TAGS:,} tags, found more.")
