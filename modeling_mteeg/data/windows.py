"""One window per row: how EEG windows lie on disk, and how they are read without copies.

A prepared corpus is an HF ``Dataset`` per split. A row holds one window: the signal as bytes
(row-major, little-endian) with its shape, because nested lists cost many times the space and the
time. ``int16`` counts with a scale per window halve the disk and the reading; ``float32`` is exact.
Reading skips the ``datasets`` formatting: the signal column of the memory-mapped Arrow table is
seen through numpy views, and the only copy is the conversion into the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .source import (
    DTYPES,
    WindowFormatError,
    WindowSource,
    check_scales,
    check_table,
    check_window,
    folder_of,
)

if TYPE_CHECKING:
    from datasets import Dataset, Features

INT16_PEAK = 32767


def window_features(labels: Sequence[str]) -> Features:
    """The columns of a prepared corpus.

    Parameters
    ----------
    labels : sequence of str
        Class names of the task, in the order of its task card.

    Returns
    -------
    datasets.Features
        ``signal`` bytes of a (channels, samples) array, ``dtype`` "int16" or "float32", ``scale``
        microvolt per count, ``shape`` (channels, samples), ``channels`` names, ``label`` class,
        ``recording``, ``subject``, ``onset_s`` seconds from the start of the recording.
    """
    from datasets import ClassLabel, Features, List, Value

    return Features(
        {
            "signal": Value("binary"),
            "dtype": Value("string"),
            "scale": Value("float32"),
            "shape": List(Value("int32"), length=2),
            "channels": List(Value("string")),
            "label": ClassLabel(names=list(labels)),
            "recording": Value("string"),
            "subject": Value("string"),
            "onset_s": Value("float64"),
        }
    )


def encode_window(
    signal_uv: np.ndarray,
    channels: Sequence[str],
    label: str | int,
    recording: str,
    subject: str,
    onset_s: float,
    dtype: str = "int16",
) -> dict[str, Any]:
    """One window as a row of :func:`window_features`.

    Parameters
    ----------
    signal_uv : np.ndarray, (channels, samples), float
        The signal in microvolt.
    channels : sequence of str
        A name for every row of ``signal_uv``.
    label : str or int
        Class name or its index.
    recording, subject : str
        Where the window comes from.
    onset_s : float
        Start of the window in seconds from the start of the recording.
    dtype : {"int16", "float32"}
        ``int16``: counts of max|signal| / 32767 microvolt, so the error is at most half of that;
        ``float32``: exact, twice the space.

    Returns
    -------
    dict
        The row.

    Raises
    ------
    ValueError
        The signal is not a finite real (channels, samples) array, the names do not fit it, or the
        dtype is unknown.
    """
    where = f"{recording} at {onset_s} s"
    signal = checked_signal(signal_uv, channels, dtype, where)
    peak = float(np.abs(signal).max())
    if not np.isfinite(peak):
        raise ValueError(
            f"{where}: the signal has NaN or infinite values; repair or leave out the window "
            "before it is written."
        )
    scale = np.float32(1.0)
    if dtype == "int16":
        if peak > 0:
            scale = np.float32(max(peak / INT16_PEAK, float(np.finfo(np.float32).tiny)))
        signal = np.rint(signal / scale)
    return {
        "signal": signal.astype(DTYPES[dtype]).tobytes(),
        "dtype": dtype,
        "scale": float(scale),
        "shape": list(signal.shape),
        "channels": [str(name) for name in channels],
        "label": label,
        "recording": recording,
        "subject": subject,
        "onset_s": float(onset_s),
    }


def checked_signal(
    signal_uv: np.ndarray, channels: Sequence[str], dtype: str, where: str
) -> np.ndarray:
    """A signal to be stored as float32 (channels, samples); ``where`` names it in messages.

    Raises
    ------
    ValueError
        It is no real (channels, samples) array, names do not fit it, or the dtype is unknown.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype: expected one of {sorted(DTYPES)}, found {dtype!r}.")
    signal = np.asarray(signal_uv)
    if signal.ndim != 2 or signal.size == 0 or signal.dtype.kind not in "fiu":
        raise ValueError(
            f"{where}: expected a real array (channels, samples) in microvolt, found shape "
            f"{signal.shape}, dtype {signal.dtype}."
        )
    if isinstance(channels, str) or len(channels) != len(signal):
        raise ValueError(
            f"{where}: expected a name for each of the {len(signal)} channels, found {channels!r}."
        )
    return signal.astype(np.float32, copy=False)


def decode_window(row: Mapping[str, Any], unit_uv: float = 1.0) -> np.ndarray:
    """The inverse of :func:`encode_window`, for rows that plain ``datasets`` gives.

    Parameters
    ----------
    row : mapping
        One row, from ``load_from_disk``, ``load_dataset`` or a streamed ``IterableDataset``.
    unit_uv : float
        Microvolt per unit of the result (100 for the model's input).

    Returns
    -------
    np.ndarray, (channels, samples), float32
        In microvolt / ``unit_uv``; the same numbers to the bit as :meth:`WindowReader.read`.

    Raises
    ------
    WindowFormatError
        Fields are missing, or the bytes do not fit the shape.

    Examples
    --------
    >>> data = load_dataset("data/tuab", split="train", streaming=True)  # doctest: +SKIP
    >>> data.map(lambda row: {"signal": decode_window(row)})  # doctest: +SKIP
    """
    missing = [name for name in ("signal", "dtype", "scale", "shape") if row.get(name) is None]
    if missing:
        raise WindowFormatError(f"Expected a row with a signal, missing: {missing}.")
    if row["dtype"] not in DTYPES:
        raise WindowFormatError(f"dtype: expected one of {sorted(DTYPES)}, found {row['dtype']!r}.")
    number, shape = DTYPES[row["dtype"]], tuple(int(size) for size in row["shape"])
    expected = number.itemsize * int(np.prod(shape))
    if len(row["signal"]) != expected:
        raise WindowFormatError(
            f"signal: expected {expected} bytes ({row['dtype']} of shape {shape}), found "
            f"{len(row['signal'])}."
        )
    signal = np.frombuffer(row["signal"], number).reshape(shape).astype(np.float32)
    check_scales(np.array([row["scale"]]))
    signal *= np.float32(row["scale"]) / np.float32(unit_uv)
    check_window(signal, f"{row.get('recording', 'a row')} at {row.get('onset_s', '?')} s")
    return signal


class WindowReader(WindowSource):
    """Batches of windows from a dataset of :func:`window_features`, without copies on the way.

    Parameters
    ----------
    dataset : datasets.Dataset
        Rows as written by :func:`encode_window`; ``select``, ``shuffle`` and ``filter`` are
        honoured.

    Raises
    ------
    WindowFormatError
        Columns are missing or empty, rows differ in shape, channels or number type, or a signal's
        bytes do not fit its shape.

    Notes
    -----
    Only the signal column stays on disk; the checks at construction read the small columns once,
    column-wise. The views keep the memory map open for as long as the reader lives.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self.place = dataset, folder_of(dataset)
        self._table: pa.Table = dataset.data.table
        check_table(self._table)
        columns = list(window_features(()))
        missing = [name for name in columns if name not in self._table.column_names]
        if missing:
            raise WindowFormatError(
                f"Expected the columns {columns}, found {self._table.column_names}; missing: "
                f"{missing}. Write the corpus with modeling_mteeg.data.encode_window."
            )
        if len(dataset) == 0:
            raise WindowFormatError("Expected at least one window, found an empty dataset.")
        indices = dataset._indices
        # Rows of the table behind `select` or `shuffle`; None: all in their order.
        self._rows = None if indices is None else indices.column(0).to_numpy().astype(np.int64)
        self._columns: dict[str, np.ndarray] = {}
        self.dtype: str = self._uniform("dtype")
        if self.dtype not in DTYPES:
            raise WindowFormatError(
                f"dtype: expected one of {sorted(DTYPES)}, found {self.dtype!r}."
            )
        self.channels = self._uniform_channels()
        self.shape = self._uniform_shape()
        self.labels = self._cells("label").to_numpy().astype(np.int64)
        self.label_names = tuple(getattr(dataset.features["label"], "names", None) or ())
        self._check_labels()
        self._scales = self._cells("scale").to_numpy().astype(np.float32, copy=False)
        check_scales(self._scales)
        self._bytes, self._chunk, self._start = self._locate_signals()

    def __reduce__(self) -> tuple[Any, ...]:
        return WindowReader, (self._dataset,)

    def _column(self, name: str) -> np.ndarray:
        if name not in self._columns:  # names are objects of Python, made once
            self._columns[name] = self._cells(name).to_numpy()
        return self._columns[name]

    def _signals(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        size = self.window_bytes
        chunks, starts = self._chunk[rows].tolist(), self._start[rows].tolist()
        for chunk, start in zip(chunks, starts, strict=True):
            yield self._bytes[chunk][start : start + size]

    def _cells(self, name: str) -> pa.ChunkedArray:
        """The selected rows of a column; an empty cell is an error."""
        column = self._table.column(name)
        if self._rows is not None:
            column = column.take(pa.array(self._rows))
        if column.null_count:
            raise WindowFormatError(
                f"Column {name!r}: expected a value in every row, found {column.null_count} empty "
                "ones; write the corpus again."
            )
        return column

    def _uniform(self, name: str) -> Any:
        values = pc.unique(self._cells(name)).to_pylist()
        if len(values) > 1:
            raise WindowFormatError(
                f"Column {name!r}: expected one value in all rows, found {values[:5]}; put windows "
                "of different kinds into different datasets."
            )
        return values[0]

    def _uniform_shape(self) -> tuple[int, int]:
        column = self._cells("shape")
        shapes = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
        shapes = shapes.reshape(len(column), -1)
        if shapes.shape[1] != 2 or (shapes != shapes[0]).any():
            raise WindowFormatError(
                "Column 'shape': expected the same (channels, samples) in all rows, found "
                f"{np.unique(shapes, axis=0)[:5].tolist()}; windows are never padded: put "
                "different shapes into different datasets."
            )
        channels, samples = (int(number) for number in shapes[0])
        if channels != len(self.channels) or samples < 1:
            raise WindowFormatError(
                f"Expected a shape for {len(self.channels)} channel names, found "
                f"{(channels, samples)}."
            )
        return channels, samples

    def _uniform_channels(self) -> tuple[str, ...]:
        column = self._cells("channels")
        joined = pc.binary_join(column, "\0")  # a row's names as one string, null with an empty one
        other = pc.index(pc.fill_null(pc.equal(joined, joined[0]), False), False).as_py()
        if other >= 0:
            raise WindowFormatError(
                "Column 'channels': expected the same names in all rows, found "
                f"{column[0].as_py()} and, in row {other}, {column[other].as_py()}."
            )
        return tuple(column[0].as_py())

    def _check_labels(self) -> None:
        low, high = int(self.labels.min()), int(self.labels.max())
        if not self.label_names or low < 0 or high >= len(self.label_names):
            raise WindowFormatError(
                f"Column 'label': expected classes of {list(self.label_names)}, found numbers "
                f"{low} to {high}."
            )

    def _locate_signals(self) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Byte views of the chunks; chunk and first byte of every selected row."""
        views, chunk_of, starts, sizes = locate_bytes(self._table.column("signal"))
        if self._rows is not None:
            chunk_of, starts, sizes = (part[self._rows] for part in (chunk_of, starts, sizes))
        expected = self.window_bytes
        wrong = np.flatnonzero(sizes != expected)
        if wrong.size:
            raise WindowFormatError(
                f"Column 'signal': expected {expected} bytes ({self.dtype} of shape {self.shape}), "
                f"found {int(sizes[wrong[0]])} in row {int(wrong[0])} and {wrong.size} rows in all."
            )
        return views, chunk_of, starts


def locate_bytes(
    column: pa.ChunkedArray,
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Where the cells of a binary column lie in memory, without copying them.

    Returns
    -------
    tuple
        The bytes of every chunk (uint8 views); and for every cell the number of its chunk, its
        first byte there, and its length.
    """
    views, chunk_of, starts, sizes = [], [], [], []
    for chunk in column.chunks:
        if not (pa.types.is_large_binary(chunk.type) or pa.types.is_binary(chunk.type)):
            raise WindowFormatError(f"Column 'signal': expected binary, found {chunk.type}.")
        if len(chunk) == 0:
            continue
        edges, data = cell_edges(chunk)
        chunk_of.append(np.full(len(chunk), len(views), np.int32))
        views.append(np.frombuffer(data if data is not None else b"", np.uint8))
        starts.append(edges[:-1])
        sizes.append(np.diff(edges))
    return views, *(np.concatenate(part) for part in (chunk_of, starts, sizes))


def cell_edges(chunk: pa.Array) -> tuple[np.ndarray, pa.Buffer]:
    """Where the cells of a binary array begin and the last one ends, (n + 1,); the bytes of all."""
    large = pa.types.is_large_binary(chunk.type)
    _, offsets, data = chunk.buffers()  # the first says which cells are empty
    edges = np.frombuffer(offsets, np.int64 if large else np.int32)
    return edges[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64), data
