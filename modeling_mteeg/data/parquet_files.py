"""Parquet files that may come from elsewhere, read within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .._shown_text import shown
from ..model.checked_files import parse_json

MAX_ROWS = 20_000_000
"""A year of one-second windows has thirty million; the largest published corpus has one million."""


def read_parquet(
    source: str | Path | BinaryIO, key: bytes, columns: Sequence[str] | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """A table of bounded length, and the mapping that its file keeps under a name.

    Parameters
    ----------
    source : str, Path or binary file
    key : bytes
        Name, in the schema, of a mapping in JSON.
    columns : sequence of str, optional
        By default all.

    Raises
    ------
    ValueError
        No such table or mapping, or more than :data:`MAX_ROWS` rows: a short file can claim any
        number.
    OSError
        It cannot be read.
    """
    try:
        with pq.ParquetFile(source) as file:
            rows = file.metadata.num_rows
            if rows > MAX_ROWS:
                raise ValueError(f"expected at most {MAX_ROWS:,} rows, found {rows:,}")
            table = file.read(columns=None if columns is None else list(columns))
        table.validate(full=True)  # texts that are none, places outside of a column
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system
            raise
        raise ValueError(shown(" ".join(str(error).split()))) from error  # with bytes of the file
    said = (table.schema.metadata or {}).get(key)
    if said is None:
        raise ValueError(f"no {key.decode()} in it")
    content = parse_json(said, key.decode())
    if not isinstance(content, dict):
        raise ValueError(f"{key.decode()}: expected keys and values")
    return table, content
