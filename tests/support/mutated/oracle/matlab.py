"""MATLAB 5 files, as far as EEGLAB sets go: numbers, texts, cells and structs.

Source: MathWorks, MAT-File Format (level 5). Sizes are checked before anything is made of them.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
          13: "u8", 16: "u1", 17: "u2", 18: "u4"}  # fmt: skip
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)
MOST_BYTES = 2**28


class NoMatlab(ValueError):
    """Bytes that are no MATLAB file."""


def read(content: bytes) -> dict[str, object]:
    """Variables by name; structs are dicts of lists, one value an element."""
    if len(content) < 136 or content[126:128] not in (b"IM", b"MI"):
        raise NoMatlab("no head of a MATLAB file")
    order = "<" if content[126:128] == b"IM" else ">"
    found, at = {}, 128
    while at < len(content):
        kind, data, at = _element(content, at, order)
        if kind == 15:
            unpack = zlib.decompressobj()
            try:
                data = unpack.decompress(data, MOST_BYTES)
            except zlib.error as error:
                raise NoMatlab(f"a packed part is damaged ({error})") from error
            if not unpack.eof or unpack.unconsumed_tail:
                raise NoMatlab("a packed part does not end")
            kind, data, _ = _element(data, 0, order)
        if kind != 14:
            raise NoMatlab(f"an element of type {kind}")
        name, value = _matrix(data, order, 0)
        found[name] = value
    return found


def _element(content: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """Type, data, and where the next one begins."""
    if at + 8 > len(content):
        raise NoMatlab("it ends in the head of an element")
    kind, size = struct.unpack_from(f"{order}II", content, at)
    if kind >> 16:  # small: both in four bytes
        kind, size, begin, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if size > 4:
            raise NoMatlab(f"a small element of {size} bytes")
    else:
        begin = at + 8
        end = begin + size if kind == 15 else begin + (size + 7) // 8 * 8
    if begin + size > len(content):
        raise NoMatlab(f"an element of {size} bytes, {len(content) - begin} are left")
    return kind, content[begin : begin + size], end


def _numbers(kind: int, data: bytes, order: str) -> np.ndarray:
    if kind not in _TYPES:
        raise NoMatlab(f"numbers of type {kind}")
    dtype = np.dtype(f"{order}{_TYPES[kind]}")
    if len(data) % dtype.itemsize:
        raise NoMatlab(f"{len(data)} bytes of {dtype}")
    return np.frombuffer(data, dtype)


def _matrix(data: bytes, order: str, depth: int) -> tuple[str, object]:
    if not data:
        return "", []
    if depth > 8:
        raise NoMatlab("too deep")
    kind, flags, at = _element(data, 0, order)
    if kind != 6 or len(flags) != 8:
        raise NoMatlab("an array without flags")
    flag = struct.unpack(f"{order}I", flags[:4])[0]
    class_, is_complex = flag & 0xFF, bool(flag & 0x800)
    kind, raw, at = _element(data, at, order)
    shape = tuple(int(size) for size in _numbers(kind, raw, order))
    if kind != 5 or min(shape, default=-1) < 0:
        raise NoMatlab(f"dimensions {shape}")
    kind, raw, at = _element(data, at, order)
    name = raw.decode("latin-1")
    count = math.prod(shape)
    if class_ in (_CELL, _STRUCT):
        return name, _many(data, at, order, class_, count, depth)
    if class_ != _CHAR and class_ not in _NUMBERS:
        raise NoMatlab(f"an array of class {class_}")
    kind, raw, at = _element(data, at, order)
    values = _numbers(kind, raw, order)
    if class_ == _CHAR:
        return name, "".join(chr(value) for value in values)
    if len(values) != count:
        raise NoMatlab(f"{len(values)} numbers for the dimensions {shape}")
    if is_complex:
        return name, values.reshape(shape, order="F") * (1 + 0j)
    return name, values.reshape(shape, order="F")


def _many(data: bytes, at: int, order: str, class_: int, count: int, depth: int) -> object:
    """The elements of a cell or a struct."""
    fields = [""]
    if class_ == _STRUCT:
        kind, raw, at = _element(data, at, order)
        width = int(_numbers(kind, raw, order)[0])
        kind, raw, at = _element(data, at, order)
        if width < 1 or len(raw) % width:
            raise NoMatlab(f"names of {width} bytes in {len(raw)}")
        fields = [raw[i : i + width].split(b"\0")[0].decode("latin-1")
                  for i in range(0, len(raw), width)]  # fmt: skip
    if count * len(fields) > len(data):
        raise NoMatlab(f"{count} elements in {len(data)} bytes")
    found: dict[str, list] = {field: [] for field in fields}
    for _ in range(count):
        for field in fields:
            kind, raw, at = _element(data, at, order)
            if kind != 14:
                raise NoMatlab(f"an element of type {kind} in a struct")
            found[field].append(_matrix(raw, order, depth + 1)[1])
    return found if class_ == _STRUCT else found[""]
