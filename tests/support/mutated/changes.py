"""Changes of any file: bits, cuts, doubled blocks, appended bytes, sizes, links, other types."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

Rng = np.random.Generator
MOST_BYTES = 64 * 2**20
"""To which a file is enlarged: more than a text may have; a signal of that size fits in memory."""
TEXT_NUMBERS = (
    "0", "-1", "1", "2", "5.9", "199", "-32768", "32767", "65536", "99999999", "-9999999", "1e30",
    "1.7e38", "-1.7e38", "1e-30", "1e400", "nan", "inf", "-inf", "abc", "", " ", "--", "0x10",
    "1,5", "9" * 5000, "\x1b[31mred", "1e5", "2147483648", "-2147483649", "0.5", "1.0", "12 34",
)  # fmt: skip
"""What a number in a text is replaced by."""


@dataclasses.dataclass(frozen=True)
class Changed:
    """A file's new content, and what the change was.

    Parameters
    ----------
    content : bytes
    note : str
        One line, the same for equal (seed, number).
    declares : str
        A contradiction that the change makes, where no oracle reads the format; else empty.
    """

    content: bytes
    note: str
    declares: str = ""


def pick(rng: Rng, values):
    """One of them."""
    return values[int(rng.integers(len(values)))]


def shown(value: object, most: int = 40) -> str:
    """A value on one line, for notes."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)})"


def _bits(content: bytes, rng: Rng) -> Changed:
    """1 to 8 bits, half of the time in the first kilobytes, where headers are."""
    data, places = bytearray(content), []
    for _ in range(int(pick(rng, (1, 1, 1, 2, 8)))):
        end = min(len(data), 2048) if rng.random() < 0.5 else len(data)
        if end:
            at, bit = int(rng.integers(end)), int(rng.integers(8))
            data[at] ^= 1 << bit
            places.append(f"{at}.{bit}")
    return Changed(bytes(data), f"bits {' '.join(places)}")


def _bytes(content: bytes, rng: Rng) -> Changed:
    """A run of bytes that are zero, 255 or anything."""
    data, length = bytearray(content), int(pick(rng, (1, 2, 4, 8, 64, 1000)))
    at = int(rng.integers(max(1, len(data) - length)))
    kind = pick(rng, ("zero", "ones", "random"))
    new = {"zero": bytes(length), "ones": b"\xff" * length, "random": rng.bytes(length)}[kind]
    data[at : at + length] = new
    return Changed(bytes(data), f"{length} bytes at {at} {kind}")


def _cut(content: bytes, rng: Rng) -> Changed:
    """Cut off, mostly near the end or the beginning."""
    size, kind = len(content), rng.random()
    if kind < 0.3:
        keep = max(0, size - int(rng.integers(1, 64)))
    elif kind < 0.5:
        keep = min(size, int(rng.integers(0, 600)))
    else:
        keep = int(rng.integers(0, max(1, size)))
    return Changed(content[:keep], f"cut to {keep} of {size} bytes")


def _cut_inside(content: bytes, rng: Rng) -> Changed:
    length = int(pick(rng, (1, 2, 3, 4, 100, 512, 4096)))
    at = int(rng.integers(max(1, len(content) - length)))
    return Changed(content[:at] + content[at + length :], f"{length} bytes at {at} left out")


def _doubled(content: bytes, rng: Rng) -> Changed:
    length = int(pick(rng, (1, 16, 256, 512, 4096, len(content))))
    at = int(rng.integers(max(1, len(content) - length + 1)))
    block = content[at : at + length]
    return Changed(content[: at + length] + block + content[at + length :],
                   f"{length} bytes at {at} doubled")  # fmt: skip


def _appended(content: bytes, rng: Rng) -> Changed:
    length = int(pick(rng, (1, 2, 3, 7, 100, 512, 100_000)))
    more = bytes(length) if rng.random() < 0.5 else rng.bytes(length)
    return Changed(content + more, f"{length} bytes appended")


def _swapped(content: bytes, rng: Rng) -> Changed:
    length = int(pick(rng, (1, 4, 8, 256)))
    one, two = sorted(int(at) for at in rng.integers(max(1, len(content) - length), size=2))
    data = bytearray(content)
    data[one : one + length], data[two : two + length] = (
        data[two : two + length], data[one : one + length],
    )  # fmt: skip
    return Changed(bytes(data), f"{length} bytes at {one} and {two} swapped")


GENERAL: tuple[Callable[[bytes, Rng], Changed], ...] = (
    _bits, _bits, _bits, _bytes, _cut, _cut, _cut_inside, _doubled, _appended, _swapped,
)  # fmt: skip
"""Changes of content, of any format."""


def in_place(path: Path, kind: str, outside: Path) -> None:
    """Make of a file something else: one of :data:`KINDS`; links lead to ``outside``."""
    content = path.read_bytes()
    path.unlink()
    if kind == "link out of the folder":
        outside.mkdir(parents=True, exist_ok=True)
        (outside / path.name).write_bytes(content)
        path.symlink_to(outside / path.name)
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "dangling link":
        path.symlink_to(path.with_name("nothing-there"))
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "enlarged":
        path.write_bytes(content)
        os.truncate(path, MOST_BYTES)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "gone":
        raise ValueError(f"kind: expected one of {KINDS}, found {kind!r}.")


KINDS = ("link out of the folder", "link to itself", "dangling link", "folder", "empty file",
         "enlarged", "pipe", "gone")  # fmt: skip
"""What a file can become that is no change of its content."""
