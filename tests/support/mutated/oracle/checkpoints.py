"""What ``torch.save`` writes: an archive, or the older form of pickles and storages behind them."""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path

import numpy as np

_KINDS = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8",
          "BoolStorage": "u1", "BFloat16Storage": "<u2", "ComplexFloatStorage": "<c8"}  # fmt: skip
_PICKLES = 5


def checkpoint(path: Path) -> list[str]:
    """What contradicts in one file."""
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return _archive(path)
    return _legacy(path) if start == b"\x80\x02" else []


def _archive(path: Path) -> list[str]:
    """Sums of the members, and their size when they are unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(one.file_size for one in archive.infolist())
            if size > 50 * path.stat().st_size:
                return [f"{size} bytes in a file of {path.stat().st_size}"]
            bad = archive.testzip()
            return [f"the sum of {bad} is wrong"] if bad else []
    except Exception as error:  # whatever zipfile trips over
        return [f"no archive ({type(error).__name__})"]


def _legacy(path: Path) -> list[str]:
    """Storages in the order of their keys, each with its number of elements before it."""
    file = io.BytesIO(path.read_bytes())
    try:
        for _ in range(_PICKLES - 2):
            _opcodes(file)
        kinds = _storages(_opcodes(file))
        keys = [argument for name, argument in _opcodes(file) if "UNICODE" in name]
    except Exception as error:  # whatever a damaged pickle makes pickletools trip over
        return [f"a pickle cannot be read ({type(error).__name__})"]
    content, at = file.getvalue(), file.tell()
    for key in keys:
        kind = kinds.get(key)
        if kind is None:
            return []  # a storage of a kind that is not looked at
        count = int.from_bytes(content[at : at + 8], "little")
        stop = at + 8 + count * np.dtype(kind).itemsize
        if stop > len(content):
            return [f"a storage of {count} elements, {len(content) - at} bytes are left"]
        at = stop
    return [f"{len(content) - at} bytes behind the last storage"] if at < len(content) else []


def _opcodes(file: io.BytesIO) -> list[tuple[str, object]]:
    """Names and arguments of the opcodes of one pickle."""
    return [(code.name, argument) for code, argument, _ in pickletools.genops(file)]


def _storages(opcodes: list[tuple[str, object]]) -> dict[str, str]:
    """Key to number type of every storage that the tensors name.

    They stand as ``("storage", type, key, place, elements)``; a type that came before is fetched
    from the memo.
    """
    found, memo, last, kind = {}, {}, None, None
    for name, argument in opcodes:
        if name == "GLOBAL":
            last = str(argument).split()[-1]
            kind = last if last.endswith("Storage") else None
        elif name.endswith("PUT"):
            memo[argument] = last
        else:
            last = None
            if name.endswith("GET") and str(memo.get(argument)).endswith("Storage"):
                kind = memo[argument]
            elif "UNICODE" in name and kind is not None:
                found[argument] = _KINDS.get(kind)
                kind = None
    return {key: kind for key, kind in found.items() if kind}
