"""Do the parts of a MATLAB 5 file lie within each other? SciPy's reader does not look.

It follows a structure part by part and passes over most lengths that the parts state: where one is
wrong, what comes behind it may be read from another place.

Source: MathWorks, MAT-File Format (level 5).
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator

_INT32, _UINT32, _MATRIX, _PACKED = 5, 6, 14, 15
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a number by its type."""
_TEXT, _NUMBERS, _OPAQUE = 4, range(6, 16), (16, 17)
"""Classes of arrays."""
_TEXTS = (1, 2, 3, 4, 16, 17, 18)
_HEAD = 128


def check_structure(path: str) -> None:
    """Look at the heads of all parts; numbers and texts are not read.

    Raises
    ------
    ValueError
        A part ends behind the one that it is in, or the file; a packed part is damaged.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        if len(head) < _HEAD or head[126:128] not in (b"IM", b"MI"):
            return  # of MATLAB 4, or no such file: SciPy says
        order = "<" if head[126:128] == b"IM" else ">"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = _HEAD
            while at < size:
                at = _check_variable(content, at, size, order)


def _check_variable(content: mmap.mmap, at: int, size: int, order: str) -> int:
    """A variable of a file; returns where the next one begins."""
    unpack = struct.Struct(f"{order}II").unpack_from
    end = at + 8
    if end <= size:
        kind, length = unpack(content, at)
        end += length
    if end > size:
        raise ValueError(f"cut off: its variables claim {end:,} bytes, it has {size:,}")
    if kind == _PACKED:
        try:
            unpacked = zlib.decompress(content[at + 8 : end])
        except zlib.error as error:
            raise ValueError(f"the packed variable at byte {at} is damaged ({error})") from error
        kind, length = unpack(unpacked.ljust(8, b"\0"), 0)
        _check_parts(unpacked, 8, min(8 + length, len(unpacked)), kind, order)
    else:
        _check_parts(content, at + 8, end, kind, order)
    return end


def _check_parts(content: bytes | mmap.mmap, at: int, end: int, kind: int, order: str) -> None:
    """What is in a matrix: parts of 8 bytes and more, of which matrices have parts of their own."""
    todo = [(at, end)] if kind == _MATRIX else []
    unpack, begin_of = struct.Struct(f"{order}II").unpack_from, struct.Struct(f"{order}12I")
    while todo:
        at, end = todo.pop()
        # Nearly all are small and alike: flags, two dimensions, no name, numbers.
        if end - at >= begin_of.size and _is_plain(begin_of.unpack_from(content, at), end - at):
            continue
        parts = list(_parts(content, at, end, unpack))
        todo += [(begin, begin + length) for kind, begin, length in parts if kind == _MATRIX]
        if parts:  # MATLAB's [] may have none
            _check_array(content, at, parts, unpack)


def _is_plain(begin: tuple[int, ...], length: int) -> bool:
    """Whether the first 48 bytes of an array are all that there is to know, and right."""
    if begin[:2] != (_UINT32, 8) or begin[4:6] != (_INT32, 8) or begin[9]:
        return False
    kind, size = begin[10], begin[11]
    head = 48
    if kind >> 16:
        kind, size, head = kind & 0xFFFF, kind >> 16, 44
        if size > 4:
            return False
    if begin[2] & 0x8FF == _TEXT:
        right = kind in _TEXTS
    else:  # of numbers that are not complex, which have a second part
        right = (begin[2] & 0x8FF) in _NUMBERS and kind in _WIDTHS
        right = right and size == begin[6] * begin[7] * _WIDTHS[kind]
    return right and head + size <= length <= head + size + 7


def _parts(
    content: bytes | mmap.mmap, at: int, end: int, unpack: Callable
) -> Iterator[tuple[int, int, int]]:
    """Type, place and length of the data of every part."""
    while at < end:
        kind, length, begin = 0, 0, at + 8
        if begin <= end:
            kind, length = unpack(content, at)
            if kind >> 16:  # type and length share four bytes, and so do the data
                kind, length, begin = kind & 0xFFFF, kind >> 16, at + 4
        if begin + length > end or (begin == at + 4 and length > 4):
            raise ValueError(f"the part at byte {at} ends behind the one that it is in")
        yield kind, begin, length
        at = at + 8 if begin == at + 4 else begin + length + -length % 8


def _check_array(
    content: bytes | mmap.mmap, at: int, parts: list[tuple[int, int, int]], unpack: Callable
) -> None:
    """Flags and dimensions come first; of numbers there are as many as the dimensions say."""
    (kind, flags, length), *rest = parts
    if (kind, length) != (_UINT32, 8):
        raise ValueError(f"the array at byte {at} has no flags")
    class_ = unpack(content, flags)[0] & 0xFF
    if class_ in _OPAQUE:  # functions and objects, which nobody uses
        return
    if not rest or rest[0][0] != _INT32 or rest[0][2] % 4:
        raise ValueError(f"the array at byte {at} has no dimensions")
    _, begin, length = rest[0]
    count = 1
    for place in range(begin, begin + length, 8):
        pair = unpack(content[place : place + 8].ljust(8, b"\1"), 0)
        count *= pair[0] * (pair[1] if place + 8 <= begin + length else 1)
    width = _WIDTHS.get(rest[2][0]) if class_ in _NUMBERS and len(rest) > 2 else None
    if class_ in _NUMBERS and (width is None or rest[2][2] != count * width):
        raise ValueError(f"the array at byte {at} has not as many numbers as it says")
