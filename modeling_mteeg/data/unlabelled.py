"""Windows of unlabelled recordings: cut at any stride when they are read, grouped by shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .mixing import whole_number
from .saved_folders import open_saved
from .source import (
    DTYPES,
    WindowFormatError,
    check_scales,
    check_table,
    check_window,
    folder_of,
    memory_for,
    naming,
)
from .stretches import (
    MAX_PATCHES,
    MAX_SECONDS,
    RATE_HZ,
    read_manifest,
    stretch_features,
    window_patches,
)
from .windows import locate_bytes


class StretchTable:
    """The rows of one prepared folder; their signals stay in the mapped file.

    Parameters
    ----------
    dataset : datasets.Dataset
        Rows of :func:`~modeling_mteeg.data.stretches.stretch_features`, unselected.
    origin : str
        What the rows were made from, as the folder says; its values are not read to tell it.

    Raises
    ------
    WindowFormatError
        Columns are missing, or rows contradict themselves.
    """

    def __init__(self, dataset: Any, origin: str = "") -> None:
        self.origin = origin
        table: pa.Table = dataset.data.table
        check_table(table)
        names = list(stretch_features())
        missing = [name for name in names if name not in table.column_names]
        if missing:
            raise WindowFormatError(
                f"Expected the columns {names}, missing: {missing}; prepare the folder again."
            )
        if dataset._indices is not None:
            raise WindowFormatError("Expected all rows in their order, found a selection.")
        if not len(table):
            raise WindowFormatError("Expected at least one recording, found none.")
        self._dataset = dataset  # keeps the memory map open
        self.place = folder_of(dataset)
        columns = table.select([name for name in names if name != "signal"]).to_pydict()
        self.dtypes = columns["dtype"]
        self.scales = [np.asarray(scale, np.float32) for scale in columns["scale"]]
        self.shapes = [tuple(shape) for shape in columns["shape"]]
        self.channels = [tuple(names) for names in columns["channels"]]
        self.recordings, self.subjects = columns["recording"], columns["subject"]
        self.onsets_s = np.asarray(columns["onset_s"], np.float64)
        self.own_s = np.asarray(columns["own_s"], np.int64)
        self._views, self._chunk, self._start, sizes = locate_bytes(table.column("signal"))
        for row in range(len(table)):
            self._check(row, int(sizes[row]))
        self.run_onsets_s = self._run_onsets_s()

    def _run_onsets_s(self) -> np.ndarray:
        """Where the signal without a gap that each row is of begins, (rows,) in seconds.

        A row that holds more than it owns goes on in the next one.
        """
        onsets = self.onsets_s.copy()
        for row in range(1, len(onsets)):
            goes_on = self.shapes[row - 1][1] > self.own_s[row - 1] * RATE_HZ
            if goes_on and self.recordings[row] == self.recordings[row - 1]:
                onsets[row] = onsets[row - 1]
        return onsets

    def _check(self, row: int, size: int) -> None:
        if self.dtypes[row] not in DTYPES:
            raise WindowFormatError(
                f"Row {row}: dtype: expected one of {sorted(DTYPES)}, found {self.dtypes[row]!r}."
            )
        shape, names, scale = self.shapes[row], self.channels[row], self.scales[row]
        with naming(f"Row {row} ({self.recordings[row]})"):
            check_scales(scale)
        expected = DTYPES[self.dtypes[row]].itemsize * int(np.prod(shape))
        if min(shape) < 1 or not len(names) == len(scale) == shape[0] or size != expected:
            raise WindowFormatError(
                f"Row {row} ({self.recordings[row]}): {len(names)} channel names, {len(scale)} "
                f"scales and {size} bytes do not make {self.dtypes[row]} of shape {shape}; prepare "
                "the folder again."
            )

    def __len__(self) -> int:
        return len(self.shapes)

    def subject(self, row: int) -> str:
        """Who was recorded; the recording itself where nobody said."""
        return self.subjects[row] or self.recordings[row]

    def signal(self, row: int) -> np.ndarray:
        """View of a row's counts, (channels, samples) int16 or float32."""
        number, shape, start = DTYPES[self.dtypes[row]], self.shapes[row], int(self._start[row])
        stop = start + number.itemsize * shape[0] * shape[1]
        return self._views[self._chunk[row]][start:stop].view(number).reshape(shape)


class UnlabelledWindows:
    """All windows of one montage and one length, by number.

    Parameters
    ----------
    tables : sequence of StretchTable
    rows : np.ndarray, (stretches, 2), int64
        Table and row of the stretches, all of the same channels.
    patches : int
        Seconds of a window.
    stride : int
        Samples from one window's start to the next one's, on a grid from the start of the
        recording, or of a part of it.

    Attributes
    ----------
    channels : tuple of str
    patches : int
    stride_s : float
    """

    def __init__(
        self, tables: Sequence[StretchTable], rows: np.ndarray, patches: int, stride: int
    ) -> None:
        self._tables, self._stretches = tuple(tables), rows
        first = tables[rows[0, 0]]
        self.channels: tuple[str, ...] = first.channels[rows[0, 1]]
        self.patches, self.stride_s = patches, stride / RATE_HZ
        length = patches * RATE_HZ
        stretch_of, starts = [], []
        for number, (table, row) in enumerate(rows.tolist()):
            rows_of = self._tables[table]
            onset = round((rows_of.onsets_s[row] - rows_of.run_onsets_s[row]) * RATE_HZ)
            owned = int(self._tables[table].own_s[row]) * RATE_HZ
            # Windows begin within what the row owns, and end within what it holds; their starts lie
            # on a grid from where the recording, or a part of it, begins, so a stretch goes on
            # where the last one ended.
            last = min(owned, self._tables[table].shapes[row][1] - length + 1)
            firsts = np.arange(-onset % stride, max(0, last), stride, dtype=np.int64)
            stretch_of.append(np.full(len(firsts), number, np.int32))
            starts.append(firsts)
        # (windows,) each: the window's stretch, and its first sample in there.
        self._stretch, self._first = np.concatenate(stretch_of), np.concatenate(starts)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        shape = (len(self.channels), self.patches, RATE_HZ)
        return f"UnlabelledWindows({len(self)} windows of {shape}, every {self.stride_s:g} s)"

    def read(
        self,
        indices: Sequence[int] | np.ndarray,
        out: np.ndarray | None = None,
        unit_uv: float = 100.0,
    ) -> np.ndarray:
        """Windows by number.

        Parameters
        ----------
        indices : sequence of int, (n,)
            In any order, repeats allowed.
        out : np.ndarray, (n, channels, patches, 200), float32, C order, optional
            Array to write into.
        unit_uv : float
            Microvolt per unit of the result; 100 for the models.

        Returns
        -------
        np.ndarray, (n, channels, patches, 200), float32
            ``out``.

        Raises
        ------
        IndexError
            There is no such window.
        ValueError
            ``out`` has the wrong shape or type, or ``unit_uv`` is not above 0.
        """
        indices = self._checked(indices)
        shape = (len(indices), len(self.channels), self.patches, RATE_HZ)
        out = memory_for(out, shape, unit_uv, contiguous=True)
        flat, length = out.reshape(shape[0], shape[1], -1), self.patches * RATE_HZ
        for place, index in enumerate(indices.tolist()):
            number, row = self._stretches[self._stretch[index]].tolist()
            table, start = self._tables[number], int(self._first[index])
            window = table.signal(row)[:, start : start + length]  # (channels, samples), a view
            # From counts to the unit asked for, in one product and straight into the batch.
            np.multiply(window, table.scales[row][:, None] / np.float32(unit_uv), out=flat[place])
            if window.dtype == np.float32:
                check_window(flat[place], f"{table.place}, row {row}")
        return out

    def recordings(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """Recordings of windows."""
        return [table.recordings[row] for table, row in self._places(indices)]

    def subjects(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """Who was recorded in windows."""
        return [table.subject(row) for table, row in self._places(indices)]

    def onsets_s(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Starts of windows in seconds from the start of their recording, (n,) float64."""
        onsets = [table.onsets_s[row] for table, row in self._places(indices)]
        return np.asarray(onsets, np.float64) + self._first[self._checked(indices)] / RATE_HZ

    def digest(self) -> str:
        """Hash of everything but the counts, for a checkpoint to know its data by."""
        digest = hashlib.sha256(repr((self.channels, self.patches, self.stride_s)).encode())
        for table, row in self._stretches.tolist():
            rows = self._tables[table]
            onset_s = float(rows.onsets_s[row])
            onset_s = int(onset_s) if onset_s.is_integer() else onset_s
            place = (rows.recordings[row], onset_s, rows.shapes[row], rows.origin)
            digest.update(repr((*place, rows.dtypes[row])).encode() + rows.scales[row].tobytes())
        return digest.hexdigest()

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        array = np.asarray(indices, np.int64)
        if array.ndim != 1 or (array.size and not 0 <= array.min() <= array.max() < len(self)):
            raise IndexError(
                f"indices: expected numbers (n,) from 0 to {len(self) - 1}, found {indices!r}."
            )
        return array

    def _places(self, indices: Sequence[int] | np.ndarray) -> list[tuple[StretchTable, int]]:
        pairs = self._stretches[self._stretch[self._checked(indices)]].tolist()
        return [(self._tables[table], row) for table, row in pairs]


def load_unlabelled(
    folders: str | Path | Sequence[str | Path],
    stride_s: float,
    max_patches: int = MAX_PATCHES,
    max_seconds: int = MAX_SECONDS,
    validation: float = 0.0,
) -> dict[str, tuple[UnlabelledWindows, ...]]:
    """Open prepared folders of unlabelled recordings; the signals stay on disk.

    Parameters
    ----------
    folders : str, Path or sequence of them
        As ``python -m dataset_scripts.unlabelled`` writes them.
    stride_s : float
        From one window's start to the next one's; published: 1 s for the tokenizer, 4 s for
        pre-training.
    max_patches, max_seconds : int
        A window has ``min(max_patches // channels, max_seconds)`` seconds: no more than the
        folders were prepared for.
    validation : float
        Share of the subjects to hold out, at least one where above 0; chosen by a hash of their
        names, so the same ones every time.

    Returns
    -------
    dict of str to tuple of UnlabelledWindows
        ``train`` and, where asked for, ``validation``: one entry for every montage that has
        windows, in an order that depends on the channels' names alone.

    Raises
    ------
    FileNotFoundError
        A folder is missing or was not prepared.
    WindowFormatError
        Rows are damaged, or longer windows are asked for than the folder was prepared for.
    ValueError
        A number is out of range, there is no window for a split, or a montage has more channels
        than ``max_patches``.
    """
    folders = [folders] if isinstance(folders, (str, Path)) else list(folders)
    stride = round(stride_s * RATE_HZ)
    if not folders or stride < 1 or abs(stride - stride_s * RATE_HZ) > 1e-6:
        raise ValueError(
            "Expected one or more folders and a stride of whole samples (5 ms), found "
            f"{folders} and {stride_s!r} s."
        )
    if not 0 <= validation < 1:
        raise ValueError(f"validation: expected a share in [0, 1), found {validation!r}.")
    limits = (
        whole_number("max_patches", max_patches, 1),
        whole_number("max_seconds", max_seconds, 1),
    )
    tables = [_open_table(Path(folder), *limits) for folder in folders]
    held_out = _held_out_subjects(tables, validation)
    chosen: dict[str, dict[tuple[str, ...], list[tuple[int, int]]]] = {"train": {}}
    if validation:
        chosen["validation"] = {}
    for number, table in enumerate(tables):
        for row in range(len(table)):
            split = "validation" if table.subject(row) in held_out else "train"
            chosen[split].setdefault(table.channels[row], []).append((number, row))
    by_split = {}
    for split, montages in chosen.items():
        groups = []
        for channels in sorted(montages, key=lambda names: (len(names), names)):
            patches = window_patches(len(channels), *limits)
            rows = np.array(montages[channels], np.int64)
            if not patches:
                raise ValueError(
                    f"{', '.join(map(str, folders))}: {len(rows)} stretches of {len(channels)} "
                    f"channels ({' '.join(channels[:3])} ...) do not fit into windows of "
                    f"max_patches {max_patches}; raise it, or leave their folder out."
                )
            groups.append(UnlabelledWindows(tables, rows, patches, stride))
        by_split[split] = tuple(group for group in groups if len(group))
        if not by_split[split]:
            raise ValueError(
                f"{', '.join(map(str, folders))}: no window for {split}: expected recordings as "
                f"long as a window (up to {max_patches} patches, {max_seconds} s) of "
                f"{'two subjects or more' if validation else 'one subject or more'}."
            )
    return by_split


def _open_table(folder: Path, max_patches: int, max_seconds: int) -> StretchTable:
    manifest = read_manifest(folder)
    origin = json.dumps(manifest.get("made_from"), sort_keys=True)
    saved = open_saved(folder)
    with naming(folder):
        table = StretchTable(saved, origin)
    for channels in sorted({shape[0] for shape in table.shapes}):
        asked = window_patches(channels, max_patches, max_seconds)
        prepared = window_patches(channels, manifest["max_patches"], manifest["max_seconds"])
        if asked > prepared:
            raise WindowFormatError(
                f"{folder}: was prepared for windows of {prepared} s of {channels} channels "
                f"(max_patches {manifest['max_patches']}, max_seconds {manifest['max_seconds']}), "
                f"found {asked} s wanted; ask for shorter windows or prepare it again."
            )
    return table


def _held_out_subjects(tables: Sequence[StretchTable], share: float) -> set[str]:
    """The subjects with the lowest hashes."""
    subjects = {table.subject(row) for table in tables for row in range(len(table))}
    ordered = sorted(subjects, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ordered[: max(1, round(share * len(ordered)))]) if share else set()
