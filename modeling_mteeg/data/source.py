"""What every source of windows has in common, wherever the bytes lie: reading by row number."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..model.visible_text import PlainError

if TYPE_CHECKING:
    from datasets import Dataset

MOST_SCALE = float(np.finfo(np.float32).max) / 32767
"""Microvolt per count; a larger one makes infinity of the largest count."""
DTYPES = {"int16": np.dtype("<i2"), "float32": np.dtype("<f4")}


class WindowFormatError(PlainError):
    """A dataset whose rows are not windows of one shape, one montage and one number type."""


def memory_for(
    out: np.ndarray | None, shape: tuple[int, ...], unit_uv: float, contiguous: bool = False
) -> np.ndarray:
    """``out``, or new memory where it is None; ``ValueError`` where windows do not fit into it."""
    if not unit_uv > 0:
        raise ValueError(f"unit_uv: expected a number above 0, found {unit_uv!r}.")
    if out is None:
        return np.empty(shape, np.float32)
    scattered = contiguous and not out.flags.c_contiguous
    if out.shape != shape or out.dtype != np.float32 or scattered:
        raise ValueError(
            f"out: expected {'contiguous ' if contiguous else ''}float32 of shape {shape}, found "
            f"{out.dtype} of shape {out.shape}."
        )
    return out


def check_scales(scales: np.ndarray) -> None:
    """Raise ``WindowFormatError`` unless scales are numbers by which a signal can be multiplied."""
    wrong = np.flatnonzero(~((scales > 0) & (scales <= MOST_SCALE)))  # NaN is none of both
    if wrong.size:
        raise WindowFormatError(
            f"scale: expected numbers above 0, up to {MOST_SCALE:g} microvolt per count, found "
            f"{scales[wrong[0]]:g} in row {int(wrong[0])} and {wrong.size} in all: the folder is "
            "damaged; prepare it again."
        )


def check_window(window: np.ndarray, where: str) -> None:
    """Raise ``WindowFormatError`` where a window that was read has NaN or infinity.

    Only float32 can hold them; the sum of a window just read costs next to nothing.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = window.sum()
    if not np.isfinite(total) and not np.isfinite(window).all():
        raise WindowFormatError(
            f"{where}: NaN or infinite values in its signal: the folder is damaged; prepare it "
            "again."
        )


def check_table(table: pa.Table) -> None:
    """Raise ``WindowFormatError`` where a table would lead out of the memory of its file.

    Arrow's files have no sums; places within columns are looked at, the numbers of signals are not.
    """
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        text = " ".join(str(error).split())
        raise WindowFormatError(f"a damaged table ({text}); prepare it again.") from error


def folder_of(dataset: Dataset) -> str:
    """Where the rows of a dataset lie on the disk."""
    files = dataset.cache_files
    return str(Path(files[0]["filename"]).parent) if files else WindowSource.place


@contextlib.contextmanager
def naming(where: str | Path) -> Iterator[None]:
    """Put ``where`` in front of the message of a ``WindowFormatError`` that is raised inside."""
    try:
        yield
    except WindowFormatError as error:
        raise WindowFormatError(f"{where}: {error}") from error


class WindowSource(ABC):
    """The windows of one split, by row number.

    Attributes
    ----------
    channels : tuple of str
        Channel names, the same in all rows.
    shape : tuple of int
        (channels, samples) of every window.
    dtype : str
        "int16" or "float32", as stored.
    labels : np.ndarray, (n,), int64
        Class of every row.
    label_names : tuple of str
        Class names.
    remote : bool
        Whether reading waits for a network, so that several batches should be on their way at
        once.
    place : str
        The folder that they are read from.
    """

    remote = False
    place = "windows in memory"
    channels: tuple[str, ...]
    shape: tuple[int, int]
    dtype: str
    labels: np.ndarray
    label_names: tuple[str, ...]
    _scales: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} windows of {self.shape}, {self.dtype})"

    @property
    def subjects(self) -> np.ndarray:
        """Subject of every row, (n,) array of str."""
        return self._column("subject")

    @property
    def recordings(self) -> np.ndarray:
        """Recording of every row, (n,) array of str."""
        return self._column("recording")

    @property
    def onsets_s(self) -> np.ndarray:
        """Onset of every row in seconds from the start of its recording, (n,) float64."""
        return self._column("onset_s")

    @abstractmethod
    def _column(self, name: str) -> np.ndarray:
        """One of the small columns, a value a row; called whenever it is asked for."""

    @abstractmethod
    def _signals(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The stored bytes of each of ``rows`` in turn, (:attr:`window_bytes`,) uint8."""

    @property
    def window_bytes(self) -> int:
        """Bytes of a stored signal."""
        return DTYPES[self.dtype].itemsize * self.shape[0] * self.shape[1]

    def read(
        self,
        indices: Sequence[int] | np.ndarray,
        out: np.ndarray | None = None,
        unit_uv: float = 1.0,
    ) -> np.ndarray:
        """Windows by index.

        Parameters
        ----------
        indices : sequence of int, (n,)
            Rows, in any order, repeats allowed; each in [0, len(self)).
        out : np.ndarray, (n, channels, samples), float32, optional
            Array to write into, such as the memory of a torch tensor.
        unit_uv : float
            Microvolt per unit of the result (100 for the model's input).

        Returns
        -------
        np.ndarray, (n, channels, samples), float32
            ``out``, in microvolt / ``unit_uv``.

        Raises
        ------
        IndexError
            An index is outside the dataset.
        ValueError
            ``indices`` or ``out`` has the wrong shape or type, or ``unit_uv`` is not above 0.
        """
        indices = self._checked_indices(indices)
        out = memory_for(out, (len(indices), *self.shape), unit_uv)
        number = DTYPES[self.dtype]
        scales = self._scales[indices] / np.float32(unit_uv)
        for row, (signal, scale) in enumerate(zip(self._signals(indices), scales, strict=True)):
            view = signal.view(number).reshape(self.shape)
            if number == np.float32:
                np.multiply(view, scale, out=out[row])
                check_window(out[row], f"{self.place}, row {indices[row]}")
            else:  # converted, then scaled in the cache: faster than one product of both types
                np.copyto(out[row], view)
                out[row] *= scale
        return out

    def _checked_indices(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        array = np.asarray(indices)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(
                f"indices: expected whole numbers (n,), found {array.dtype} of shape {array.shape}."
            )
        if array.size and (array.min() < 0 or array.max() >= len(self)):
            raise IndexError(
                f"indices: expected 0 to {len(self) - 1}, found {array.min()} to {array.max()}."
            )
        return array.astype(np.int64, copy=False)
