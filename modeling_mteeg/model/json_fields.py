"""What a value of JSON should be, compared with what it is: types, keys and ranges of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from .checked_files import MAX_JSON_BYTES, UnsafeFileError, read_json, shortened

NUMBER = int | float
_WORDS = {
    **{int: "a whole number", float: "a number with a point", str: "text"},
    **{bool: "true or false", NoneType: "null"},
}


def read_checked(path: Path, kind: Any, most: int = MAX_JSON_BYTES) -> Any:
    """Content of a JSON file, as :func:`checked`.

    Raises
    ------
    UnsafeFileError
        It is not of that kind, or as of :func:`~modeling_mteeg.model.checked_files.read_json`; the
        message begins with the path.
    OSError
        It cannot be read.
    """
    return checked(read_json(path, most), kind, str(path))


def checked(value: Any, kind: Any, where: str) -> Any:
    """``value``, if it is what it should be.

    Parameters
    ----------
    value : object
        Of JSON.
    kind : object
        A type (a bool is no number); ``int | None``; ``list[str]``; ``dict[str, int]``; a
        ``range`` of whole numbers; or a mapping of keys to such kinds: those must be there, unless
        their kind has None, and there may be others.
    where : str
        What messages begin with, such as the file.

    Raises
    ------
    UnsafeFileError
        It is something else; with the key, what was expected and what was found.
    """
    inner = get_args(kind)
    if isinstance(kind, Mapping) and isinstance(value, dict):
        for key, each in kind.items():
            checked(value.get(key), each, f"{where}: {key}")
    elif get_origin(kind) is dict and isinstance(value, dict):
        for key, part in value.items():
            checked(part, inner[1], f"{where}: {shortened(repr(key), 80)}")
    elif get_origin(kind) is list and isinstance(value, list):
        for number, part in enumerate(value):
            checked(part, inner[0], f"{where}: {number}")
    elif not fits(value, kind):
        raise UnsafeFileError(f"{where}: expected {words(kind)}, found {shown_value(value)}.")
    return value


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is of a kind; a bool is no number, and neither is NaN."""
    inner = get_args(kind)
    if isinstance(kind, str):  # of a class elsewhere, with annotations that are not evaluated
        return True
    if isinstance(kind, range):
        return type(value) is int and value in kind
    if isinstance(kind, Mapping):
        return isinstance(value, dict) and all(fits(value.get(k), v) for k, v in kind.items())
    if get_origin(kind) in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(fits(each, inner[0]) for each in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(fits(each, inner[1]) for each in value.values())
    return type(value) is kind and (kind is not float or math.isfinite(value))


def words(kind: Any) -> str:
    """A kind in words, for messages."""
    inner = get_args(kind)
    if isinstance(kind, range):
        return f"a whole number from {kind.start:,} to {kind.stop - 1:,}"
    if isinstance(kind, Mapping):
        return f"a mapping with {', '.join(kind)}"
    if get_origin(kind) in (Union, UnionType):
        if int in inner and float in inner:
            inner = ("a number", *(each for each in inner if each not in (int, float)))
        return " or ".join(each if isinstance(each, str) else words(each) for each in inner)
    if get_origin(kind) is list:
        return f"a list of which each is {words(inner[0])}"
    if get_origin(kind) is dict:
        return f"a mapping to {words(inner[1])}"
    return _WORDS.get(kind, "a mapping")


def shown_value(value: Any) -> str:
    """A value on one line of bounded length, for messages."""
    return shortened(repr(value), 80)
