"""Tensors of a checkpoint, made once what the pickle claims is what the file holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..model.checked_files import shortened
from ..model.visible_text import PlainError
from .pickle_values import StorageClaim, TensorClaim

MOST_AXES = 16
"""More than any weight has."""

_DTYPES = {
    **{"Double": torch.float64, "Float": torch.float32, "Half": torch.float16},
    **{"BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16},
    **{"Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool, "Untyped": torch.uint8},
    **{"ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128},
}
_LARGEST = 2**40


class ClaimError(PlainError):
    """A tensor that the file does not hold as it claims to."""


@dataclass(frozen=True)
class Storages:
    """The runs of numbers in a checkpoint file.

    Parameters
    ----------
    sizes : mapping of str to int
        Bytes of each, as they lie in the file.
    read : callable
        The bytes of one, uint8 (bytes,), by its key.
    """

    sizes: Mapping[str, int]
    read: Callable[[str], np.ndarray]


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies, all checked."""

    key: str
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_tensors(
    claims: Mapping[str, TensorClaim], storages: Storages, most: int
) -> dict[str, torch.Tensor]:
    """The tensors that are claimed, on the CPU; those of one storage share its memory.

    Parameters
    ----------
    claims : mapping of str to TensorClaim
        By the names of the tensors.
    storages : Storages
        What the file has.
    most : int
        Bytes that all of them may have together. Several may lie in one storage.

    Raises
    ------
    ClaimError
        A tensor is larger than its storage, begins or ends outside of it, or is of no known type;
        or all together are larger than ``most``. Nothing is read then.
    """
    places, total = {}, 0
    for name, claim in claims.items():
        try:
            places[name] = _place(claim, storages.sizes)
        except ClaimError as error:
            raise ClaimError(f"the tensor {shortened(name)}: {error}") from None
        total += places[name].bytes
    if total > most:
        raise ClaimError(
            f"its {len(claims)} tensors claim {total:,} bytes together, because several lie in the "
            f"same numbers; expected at most {most:,}"
        )
    flat: dict[str, torch.Tensor] = {}
    for key in {place.key: None for place in places.values()}:
        content = storages.read(key)
        flat[key] = torch.from_numpy(content) if len(content) else torch.empty(0, dtype=torch.uint8)
    return {
        name: torch.as_strided(
            flat[place.key].view(place.dtype), place.shape, place.strides, place.offset
        )
        for name, place in places.items()
    }


def storage_type(claim: StorageClaim) -> torch.dtype:
    """Type of the numbers of a storage; another kind of storage is a :class:`ClaimError`."""
    kind = claim.kind.rpartition(".")[2].removesuffix("Storage")
    if kind not in _DTYPES:
        raise ClaimError(f"numbers of an unknown type, {shortened(claim.kind)}")
    return _DTYPES[kind]


def storage_bytes(claim: StorageClaim) -> int:
    """Bytes that a storage claims to have."""
    return _count(claim.numel, "numbers of the storage") * storage_type(claim).itemsize


def _place(claim: TensorClaim, sizes: Mapping[str, int]) -> _Place:
    """Where a tensor lies; a :class:`ClaimError` if it is not all there."""
    stored, claimed = sizes.get(claim.storage.key), storage_bytes(claim.storage)
    if stored != claimed:
        found = "no such numbers" if stored is None else f"{stored:,} bytes"
        raise ClaimError(f"claims a storage of {claimed:,} bytes, the file has {found}")
    dtype = _own_type(claim)
    if claimed % dtype.itemsize:
        raise ClaimError(f"{claimed:,} bytes are no whole number of {dtype}")
    first, held = _part(claim.storage, claimed // dtype.itemsize)
    shape, strides = _axes(claim.shape, "shape"), _axes(claim.strides, "strides")
    if len(shape) != len(strides):
        raise ClaimError(f"{len(shape)} axes, but {len(strides)} strides")
    offset, numel = _count(claim.offset, "offset"), math.prod(shape)
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if numel > held or (numel and last >= held):
        raise ClaimError(
            f"of shape {'x'.join(map(str, shape))}, strides {'x'.join(map(str, strides))} and "
            f"offset {offset} claims more than the {held:,} numbers that it lies in"
        )
    return _Place(claim.storage.key, dtype, first + (offset if numel else 0), shape, strides)


def _own_type(claim: TensorClaim) -> torch.dtype:
    dtype = storage_type(claim.storage)
    if claim.dtype is not None:
        dtype = getattr(torch, claim.dtype.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise ClaimError(f"numbers of an unknown type, {shortened(claim.dtype)}")
    return dtype


def _part(storage: StorageClaim, held: int) -> tuple[int, int]:
    """First number and number of numbers of the part of a storage that a claim is about."""
    if storage.view is None:
        return 0, held
    if type(storage.view) is not tuple or len(storage.view) != 3:
        raise ClaimError("a part of a storage without its first number and its length")
    first, length = (_count(value, "part of the storage") for value in storage.view[1:])
    if first + length > held:
        raise ClaimError(f"a part of a storage up to number {first + length:,} of {held:,}")
    return first, length


def _axes(values: Any, what: str) -> tuple[int, ...]:
    if type(values) is not tuple or len(values) > MOST_AXES:
        raise ClaimError(f"{what}: expected at most {MOST_AXES} whole numbers")
    return tuple(_count(value, what) for value in values)


def _count(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ClaimError(f"{what}: expected a whole number from 0 to {_LARGEST:,}")
    return value
