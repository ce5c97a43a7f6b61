"""The manifest of a split: which stored window is in which part, by what rule, with which leaks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..settings.disk_faults import writing
from .leaks import WindowTable
from .parquet_files import read_parquet
from .streaming import SPLITS

VERSION = 1
LEFT_OUT = "left out"
_META = b"mteeg"


@dataclasses.dataclass(frozen=True, eq=False)
class SplitManifest:
    """A split of one task's stored windows.

    Parameters
    ----------
    task : str
    name : str
        As ``data.split`` has it.
    rule : str
        In words.
    seed : int
    fold : int or None
    hash : str or None
        SHA-256 of which window is in which part, with which class; of ``corpus`` the prepared
        data's own.
    counts : dict
        Part to ``windows`` and ``people``; ``left out`` where some windows are in no part.
    leaks : tuple of str or None
        What the parts share, a sentence each; None: not looked for (a streamed corpus in its own
        split).
    notes : tuple of str
        What else is to be known: windows left out, classes a part lacks.
    labels : dict
        New class to the stored ones that it joins; empty: as stored.
    table : pa.Table or None
        A row a window: ``part``, ``stored_split``, ``row`` in it, ``recording``, ``subject``,
        ``onset_s``, ``label``. None: the parts are the stored splits.
    """

    task: str
    name: str
    rule: str
    seed: int
    fold: int | None
    hash: str | None
    counts: Mapping[str, Mapping[str, int]]
    leaks: tuple[str, ...] | None
    notes: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    table: pa.Table | None

    @property
    def is_view(self) -> bool:
        """Whether it is another split, or has other classes, than the prepared corpus."""
        return self.table is not None

    def facts(self) -> dict[str, Any]:
        """All but the rows, in plain types."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["table"]
        return json.loads(json.dumps(fields))

    def lines(self) -> list[str]:
        """What is to be printed: the rule where it is not the corpus's, leaks, notes."""
        people = ", ".join(f"{part} {count['people']}" for part, count in self.counts.items()
                           if part != LEFT_OUT)  # fmt: skip
        lines = [f"{self.name}: {self.rule}; people: {people}"] if self.is_view else []
        lines += [f"leak of the split: {leak}" for leak in self.leaks or ()]
        return [f"{self.task}: {line}" for line in (*lines, *self.notes)]

    def save(self, path: str | Path) -> Path:
        """Write the rows as Parquet with the facts in its metadata; returns the path.

        The same split gives the same bytes.
        """
        path = Path(path)
        meta = json.dumps({"version": VERSION, **self.facts()})
        table = self.table.replace_schema_metadata({_META: meta})
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, part, compression="zstd")
            os.replace(part, path)
        return path


def read_split(path: str | Path) -> SplitManifest:
    """Read what :meth:`SplitManifest.save` wrote.

    Raises
    ------
    ValueError
        It is no such file.
    """
    try:
        table, facts = read_parquet(path, _META)
        if facts.pop("version") != VERSION:
            raise ValueError("another version")
        for name in ("leaks", "notes"):
            facts[name] = None if facts[name] is None else tuple(facts[name])
        facts["labels"] = {new: tuple(olds) for new, olds in facts["labels"].items()}
        return SplitManifest(**facts, table=table.replace_schema_metadata(None))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no manifest of a split: {error}") from error


def manifest_rows(
    windows: WindowTable,
    parts: np.ndarray,
    stored: np.ndarray,
    rows: np.ndarray,
    labels: tuple[str, ...],
) -> pa.Table:
    """The rows of a manifest, in the order of the stored windows.

    Parameters
    ----------
    windows : WindowTable
    parts : np.ndarray, (n,), int
        Place in train, validation, test; -1: left out.
    stored, rows : np.ndarray, (n,), int
        Stored split of every window, and its row there.
    labels : tuple of str
        Names of the classes.
    """
    names = np.array([*SPLITS, LEFT_OUT], object)  # -1 is the last one
    return pa.table({
        "part": pa.array(names[parts], pa.string()),
        "stored_split": pa.array(names[stored], pa.string()),
        "row": pa.array(rows, pa.int64()),
        "recording": pa.array(windows.recordings, pa.string()),
        "subject": pa.array(windows.subjects, pa.string()),
        "onset_s": pa.array(windows.onsets_s, pa.float64()),
        "label": pa.array(np.array(labels, object)[windows.labels], pa.string()),
    })  # fmt: skip


def hash_of(task: str, stored_hash: str | None, table: pa.Table) -> str:
    """SHA-256 of which window is in which part; of the rows, not of the file's bytes."""
    digest = hashlib.sha256(json.dumps([VERSION, task, stored_hash]).encode())
    for batch in table.to_batches(max_chunksize=4096):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(json.dumps(row, ensure_ascii=False).encode())
    return digest.hexdigest()
