"""Where every window's signal lies in its file: the index that makes a prepared corpus streamable.

``<split>/index.parquet`` has a row per window with the file, the first byte of the signal in it,
its CRC-32, and the small columns. A reader that holds it fetches the windows of the next steps by
byte range, so training from a bucket sees the same windows in the same order as from local disk.
"""

from __future__ import annotations

import io
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .parquet_files import read_parquet
from .saved_folders import open_saved, read_state
from .source import DTYPES, WindowFormatError
from .windows import WindowReader, cell_edges

INDEX_FILE = "index.parquet"
INDEX_VERSION = 1
_META = b"mteeg"
_SCHEMA = pa.schema(
    [
        ("file", pa.int32()),
        ("offset", pa.int64()),
        ("crc32", pa.uint32()),
        ("scale", pa.float32()),
        ("label", pa.int32()),
        ("recording", pa.string()),
        ("subject", pa.string()),
        ("onset_s", pa.float64()),
    ]
)
_ALWAYS = ("file", "offset", "crc32", "scale", "label")


def write_index(folder: str | Path) -> Path:
    """Write the index of one saved split.

    Parameters
    ----------
    folder : str or Path
        A split as ``datasets`` saves it (``state.json``, Arrow files), such as ``data/tuab/train``.

    Returns
    -------
    Path
        ``<folder>/index.parquet``; its bytes are a function of the split's.

    Raises
    ------
    WindowFormatError
        The rows are not windows, or are a selection that is not what the files hold.
    """
    folder = Path(folder)
    data = open_saved(folder)
    reader = WindowReader(data)
    state = read_state(folder)
    if state.get("_indices_data_files"):
        raise WindowFormatError(f"{folder}: expected all rows in their order, found a selection.")
    names = [entry["filename"] for entry in state["_data_files"]]
    meta = {
        "version": INDEX_VERSION,
        "files": names,
        "dtype": reader.dtype,
        "shape": list(reader.shape),
        "channels": list(reader.channels),
        "labels": list(reader.label_names),
    }
    places = [
        (number, offset, crc32)
        for number, name in enumerate(names)
        for offset, crc32 in _signal_places(folder / name)
    ]
    if len(places) != len(reader):
        raise WindowFormatError(
            f"{folder}: expected {len(reader)} rows in its files, found {len(places)}."
        )
    columns = [
        *zip(*places, strict=True),
        reader._scales, reader.labels, reader.recordings, reader.subjects, reader.onsets_s,
    ]  # fmt: skip
    table = pa.table(columns, schema=_SCHEMA.with_metadata({_META: json.dumps(meta)}))
    pq.write_table(table, folder / INDEX_FILE, compression="zstd")
    return folder / INDEX_FILE


def _signal_places(path: Path) -> Iterator[tuple[int, int]]:
    """First byte and CRC-32 of every signal of an Arrow stream, one record batch at a time."""
    with pa.memory_map(str(path)) as source:
        whole = source.read_buffer(source.size())  # no copy: addresses below are inside of it
        with pa.ipc.open_stream(whole) as batches:
            for batch in batches:
                edges, data = cell_edges(batch.column("signal"))
                start = data.address - whole.address
                if not 0 <= start <= whole.size - data.size:
                    raise WindowFormatError(
                        f"{path}: the signals are stored compressed; save without compression."
                    )
                view = memoryview(data)
                for first, last in itertools.pairwise(edges.tolist()):
                    yield start + first, zlib.crc32(view[first:last])


def read_index(content: bytes, where: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The index from the bytes of its file; ``where`` names it in messages.

    Returns
    -------
    tuple
        What holds for all rows: ``files`` (names of the Arrow files in the order of the rows),
        ``dtype``, ``shape`` (channels, samples), ``channels``, ``labels``; and the columns, (n,)
        each: ``file`` (its number), ``offset`` (first byte) and ``crc32`` of every signal,
        ``scale`` float32, ``label`` int64.

    Raises
    ------
    WindowFormatError
        The file is damaged, of another version, or contradicts itself.
    """
    try:
        table, meta = read_parquet(io.BytesIO(content), _META, _ALWAYS)
        column = {name: table.column(name).to_numpy() for name in _ALWAYS}
    except (OSError, ValueError, KeyError) as error:
        raise WindowFormatError(f"{where}: not an index of windows ({error}).") from error
    if meta.get("version") != INDEX_VERSION:
        raise WindowFormatError(
            f"{where}: expected version {INDEX_VERSION}, found {meta.get('version')!r}; write it "
            "again with modeling_mteeg.data.write_index."
        )
    faults = _wrong_types(meta, column)
    if faults:
        raise WindowFormatError(f"{where}: damaged: {'; '.join(faults)}. Write it again.")
    shape, files = tuple(meta["shape"]), tuple(meta["files"])
    if not len(table):
        faults.append("no rows")
    elif column["file"].min() < 0 or column["file"].max() >= len(files):
        faults.append(f"file numbers outside {len(files)} files")
    elif column["offset"].min() < 0:
        faults.append("negative offsets")
    elif not 0 <= column["label"].min() <= column["label"].max() < len(meta["labels"]):
        faults.append(f"labels outside {len(meta['labels'])} classes")
    if not isinstance(meta.get("dtype"), str) or meta["dtype"] not in DTYPES:
        faults.append(f"unknown number type {meta.get('dtype')!r}")
    if len(shape) != 2 or shape[0] != len(meta["channels"]) or min(shape) < 1:
        faults.append(f"shape {shape} for {len(meta['channels'])} channels")
    if any("/" in name or "\\" in name for name in files):
        faults.append(f"files outside its folder: {files}")
    if faults:
        raise WindowFormatError(f"{where}: damaged: {'; '.join(faults)}. Write it again.")
    for name, kind in (("scale", np.float32), ("label", np.int64)):
        column[name] = column[name].astype(kind, copy=False)
    return meta | {"shape": shape, "files": files}, column


def _wrong_types(meta: Mapping[str, Any], column: Mapping[str, np.ndarray]) -> list[str]:
    """What of an index is of another type than it should be."""
    kinds = {"files": str, "channels": str, "labels": str, "shape": int}
    faults = [
        f"{name} is no list of {kind.__name__}"
        for name, kind in kinds.items()
        if not isinstance(meta.get(name), list) or any(type(v) is not kind for v in meta[name])
    ]
    numbers = {"file": "iu", "offset": "iu", "crc32": "iu", "label": "iu", "scale": "f"}
    return faults + [
        f"{name} holds no numbers, or not everywhere"
        for name, kind in numbers.items()
        if column[name].dtype.kind not in kind
    ]


def read_index_column(content: bytes, name: str) -> np.ndarray:
    """One of the columns that :func:`read_index` leaves out: recording, subject, onset_s."""
    return pq.read_table(io.BytesIO(content), columns=[name]).column(name).to_numpy()
