"""Files from elsewhere, checked before anything is made of them.

A base or a task may come from anybody. Only JSON and safetensors are read, JSON up to a size, and
nothing is allocated by a number that a file merely claims. docs/safety.md says what is covered.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .visible_text import PlainError

MAX_JSON_BYTES = 4 * 2**20
"""A task card with the curves of a thousand epochs has about 0.3 MB."""
MAX_RESULT_BYTES = 64 * 2**20
"""Records of trainings and of corpora grow with their epochs and recordings."""
MAX_JSON_DEPTH = 32
"""A card with the record of a training is six levels deep."""
MAX_HEADER_BYTES = 4 * 2**20
"""The header of a Huge base, 48 layers, has about 0.1 MB."""
FLOATS = ("F64", "F32", "F16", "BF16")
"""Types of numbers that weights may have."""
COUNTS = ("BOOL", "I64")
"""Types of what a codebook counts; no weights."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
"""Endings of files that can run code when they are read; none is ever opened."""
_LARGEST = sys.float_info.max
_SCRIPTS = (".py", ".pyc", ".so", ".pyd", ".dll", ".sh")


class UnsafeFileError(PlainError):
    """A file that does not hold what it should, or that would lead out of its folder."""


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> Any:
    """Content of a JSON file of at most ``most`` bytes.

    Raises
    ------
    UnsafeFileError
        Longer than that, deeper than :data:`MAX_JSON_DEPTH`, not JSON, a key
        twice in one mapping, NaN and infinity, which JSON does not have, or a whole number that no
        other number can be compared with.
    OSError
        It cannot be read.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Opening a pipe would wait for its other end.
        raise UnsafeFileError(f"{path}: expected a file, found a pipe or a device.")
    with open(path, "rb") as file:
        content = file.read(most + 1)
    return parse_json(content, str(path), most)


def parse_json(content: bytes, path: str, most: int = MAX_JSON_BYTES) -> Any:
    """The same of bytes that are there already; ``path`` names them in errors."""
    if len(content) > most:
        raise UnsafeFileError(f"{path}: expected at most {most:,} bytes, found more.")
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UnsafeFileError(f"{path} is not valid JSON: {shortened(error)}.") from error
    level = [("", value)]
    for _ in range(MAX_JSON_DEPTH):
        for key, number in level:
            if type(number) is float and not math.isfinite(number):
                raise UnsafeFileError(
                    f"{path}: {shortened(key)}: expected a number, found {number}, which JSON does "
                    "not have."
                )
            if type(number) is int and not -_LARGEST <= number <= _LARGEST:
                raise UnsafeFileError(
                    f"{path}: {shortened(key)}: expected a number of at most {_LARGEST:g}, found "
                    f"{shortened(number, 20)}."
                )
        level = [part for key, value in level for part in _parts(key, value)]
    if level:
        raise UnsafeFileError(f"{path}: expected at most {MAX_JSON_DEPTH} levels, found more.")
    return value


def check_place(path: Path) -> Path:
    """``path``, if it does not lead out of its folder.

    Links inside the folder are fine, and so are those by which the Hub's cache keeps its files.

    Raises
    ------
    UnsafeFileError
        A link to somewhere else, or to itself.
    """
    if path.is_symlink():
        try:
            target, folder = path.resolve(), path.parent.resolve()
        except (RuntimeError, OSError) as error:  # which of them is a matter of Python's version
            raise UnsafeFileError(
                f"{path} is a link that leads back to itself. Put the file itself there."
            ) from error
        allowed = [folder]
        for parent in (folder, *folder.parents):
            if parent.name == "snapshots":  # .../models--owner--repo/{snapshots/<commit>,blobs}
                allowed.append(parent.parent / "blobs")
        if not any(target.is_relative_to(place) for place in allowed):
            raise UnsafeFileError(
                f"{path} is a link to {target}, outside its folder; it is not followed. Put the "
                "file itself there."
            )
    return path


def tensor_shapes(path: Path, kinds_allowed: Sequence[str] = FLOATS) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, from its header alone.

    Parameters
    ----------
    path : Path
    kinds_allowed : sequence of str
        Types of numbers, as safetensors names them.

    Raises
    ------
    UnsafeFileError
        A link to somewhere else, a header that is too long or does not describe the file to the
        byte, or numbers of another type.
    OSError
        It cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    size = os.stat(check_place(path)).st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise UnsafeFileError(
            f"{path} is damaged: its header claims {length:,} bytes, the file has {size:,}."
        )
    if length > MAX_HEADER_BYTES:
        raise UnsafeFileError(
            f"{path}: expected a header of at most {MAX_HEADER_BYTES:,} bytes, found {length:,}."
        )
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in list(file.keys())}
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, ValueError) as error:
        raise UnsafeFileError(f"{path} is damaged ({shortened(error)}).") from error
    wrong = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in kinds_allowed]
    if wrong:
        raise UnsafeFileError(
            f"{path}: expected tensors of type {', '.join(kinds_allowed)}, found {wrong[:3]}."
        )
    return shapes


def check_no_scripts(folder: Path) -> None:
    """Raise :class:`UnsafeFileError` if a folder of weights holds a script.

    Nothing would run it; but a task needs no code, so somebody wants it to be run.
    """
    scripts = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _SCRIPTS)
    if scripts:
        raise UnsafeFileError(
            f"{folder}: a task needs no code, found {scripts[:3]}. Nothing of it was run. Remove "
            "it, or keep your own scripts elsewhere."
        )


def pickled_beside(folder: Path) -> str:
    """Sentence on pickled files in a folder that lacks a safetensors file; empty: none."""
    if not folder.is_dir():
        return ""
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLED)
    if not pickled:
        return ""
    return (
        f" There is {pickled[0]}: pickled weights can run code and are never loaded. Ask for "
        "safetensors; published LaBraM weights become a base by `mteeg convert`."
    )


def shortened(value: Any, limit: int = 200) -> str:
    """``value`` as text of bounded length, for messages."""
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shortened(twice)!r} stands there twice")
    return mapping


def _parts(key: str, value: Any) -> list[tuple[str, Any]]:
    """What a mapping or a list holds, under the name of the key that it stands at."""
    if isinstance(value, Mapping):
        return list(value.items())
    return [(key, part) for part in value] if isinstance(value, list) else []
