"""The two formats of ``torch.save``: a zip archive, and the legacy one of pickles and numbers.

Both give what the pickle says and where the numbers lie; no number is read yet.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..model.checked_files import shortened
from .claimed_tensors import Storages, storage_bytes
from .pickle_values import MAX_PICKLE_BYTES, PickleReader

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""A legacy file starts with this number, pickled."""
MAX_DIRECTORY_BYTES = 4 * 2**20
"""The list of members of an archive; that of LaBraM-Huge with its optimizer has about 0.2 MB."""
_PIECE = 2**20


class _Pieces(io.FileIO):
    """A file of which nothing long is read at once, so that no list of members is long."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size > MAX_DIRECTORY_BYTES:
            raise ValueError(f"its list of members has more than {MAX_DIRECTORY_BYTES:,} bytes")
        return super().read(size)


@contextmanager
def open_archive(path: Path, reader: PickleReader) -> Iterator[tuple[Any, Storages]]:
    """What an archive's pickle says, and where its numbers lie.

    Raises
    ------
    Exception
        Damaged, or not as ``torch.save`` makes it; the text says why.
    """
    with _Pieces(path) as file, zipfile.ZipFile(file) as archive:
        members = _members(archive, os.fstat(file.fileno()).st_size)
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in members):
            raise ValueError("a TorchScript program, which is code; expected a state dict")
        pickles = [n for n in members if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive, not one written by torch.save (no single data.pkl)")
        root = pickles[0].removesuffix("data.pkl")
        size = members[pickles[0]].file_size
        if size > MAX_PICKLE_BYTES:
            raise ValueError(f"its data.pkl has {size:,} bytes; expected {MAX_PICKLE_BYTES:,}")
        order = members.get(f"{root}byteorder")
        if order is not None and _bytes_of(archive, order).tobytes() != b"little":
            raise ValueError("numbers in another order of bytes than little-endian")
        content = reader.read(io.BytesIO(_bytes_of(archive, members[pickles[0]]).tobytes()))
        place = f"{root}data/"
        sizes = {
            name.removeprefix(place): member.file_size
            for name, member in members.items()
            if name.startswith(place)
        }
        yield content, Storages(sizes, lambda key: _bytes_of(archive, members[place + key]))


@contextmanager
def open_legacy(path: Path, reader: PickleReader) -> Iterator[tuple[Any, Storages]]:
    """The same of a file in the legacy format; errors as of :func:`open_archive`."""
    length = path.stat().st_size
    with path.open("rb") as file:
        pickles = io.BytesIO(file.read(MAX_PICKLE_BYTES))
        _magic, _protocol, _machine = (reader.read(pickles) for _ in range(3))
        content, keys = reader.read(pickles), reader.read(pickles)
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise ValueError("no list of storages behind its pickles")
        sizes, starts, start = {}, {}, pickles.tell()
        for key in keys:
            if key not in reader.storages or key in sizes:
                raise ValueError(f"the storage {shortened(key)} is not used, or there twice")
            claim = reader.storages[key]
            sizes[key], starts[key] = storage_bytes(claim), start + 8
            file.seek(start)
            (numel,) = struct.unpack("<q", file.read(8))
            start += 8 + sizes[key]
            if numel != claim.numel or start > length:
                raise ValueError(
                    f"the storage {shortened(key)} claims {sizes[key]:,} bytes, the file has "
                    f"{numel:,} numbers there and {length:,} bytes in all"
                )
        if start != length:
            raise ValueError(f"{length - start:,} bytes lie behind its last storage")
    yield (
        content,
        Storages(sizes, lambda key: np.fromfile(path, np.uint8, sizes[key], offset=starts[key])),
    )


def _members(archive: zipfile.ZipFile, length: int) -> dict[str, zipfile.ZipInfo]:
    """Members of an archive by name: each once, none packed, together not longer than the file."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if name in members:
            raise ValueError(f"its member {shortened(name)} is there twice")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(
                f"its member {shortened(name)} is compressed, {member.compress_size:,} bytes for "
                f"{member.file_size:,}; torch.save does not compress"
            )
        members[name] = member
    total = sum(member.file_size for member in members.values())
    if total > length:
        raise ValueError(f"its members claim {total:,} bytes, the file has {length:,}")
    return members


def _bytes_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Content of a member, uint8 (bytes,); its checksum is compared."""
    content, done = np.empty(member.file_size, np.uint8), 0
    with archive.open(member) as file:
        while piece := file.read(_PIECE):
            content[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            done += len(piece)
    if done != member.file_size:
        raise ValueError(f"its member {shortened(member.filename)} is cut short")
    return content
