"""Prepared corpora that are read by byte range, wherever they lie, and never copied whole."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..model.checked_files import parse_json
from ..model.task_card import CARD_FILE, TaskCard, TaskCardError
from .index import INDEX_FILE, read_index, read_index_column
from .remote import RemoteFolder, StreamError
from .source import WindowSource, check_scales

SPLITS = ("train", "validation", "test")
GAP_BYTES = 32 * 1024
"""Windows that lie closer to each other than this come in one request."""
REQUEST_BYTES = 8 * 1024 * 1024
"""Most bytes of a request for several windows."""


class StreamedReader(WindowSource):
    """The windows of one split, fetched when they are read.

    Gives the same numbers to the bit as :class:`~modeling_mteeg.data.WindowReader` on the same
    files. Only the index stays in memory, about 40 bytes a window.

    Parameters
    ----------
    folder : RemoteFolder
        The corpus.
    split : str
        Its folder in there.

    Raises
    ------
    FileNotFoundError
        The split has no index.
    WindowFormatError
        The index is damaged.
    StreamError
        It cannot be fetched.
    """

    remote = True

    def __init__(self, folder: RemoteFolder, split: str) -> None:
        self._folder, self._split = folder, split
        self.place = f"{folder.url}/{split}"
        content = folder.read(f"{split}/{INDEX_FILE}")
        meta, columns = read_index(content, f"{folder.url}/{split}/{INDEX_FILE}")
        self.dtype, self.shape = meta["dtype"], meta["shape"]
        self.channels, self.label_names = tuple(meta["channels"]), tuple(meta["labels"])
        self.labels, self._scales = columns["label"], columns["scale"]
        check_scales(self._scales)
        self._files = [f"{split}/{name}" for name in meta["files"]]
        self._file, self._offset = columns["file"], columns["offset"]
        self._crc32 = columns["crc32"]

    def __reduce__(self) -> tuple[Any, ...]:
        return StreamedReader, (self._folder, self._split)

    def _column(self, name: str) -> np.ndarray:
        """Fetched anew: names of many windows are not kept in memory."""
        return read_index_column(self._folder.read(f"{self._split}/{INDEX_FILE}"), name)

    def _signals(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Fetch all of ``rows`` at once, check each against the index, give them in turn."""
        files, starts = self._file[rows].tolist(), self._offset[rows].tolist()
        ranges, place = _joined(files, starts, self.window_bytes)
        named = [(self._files[file], start, stop) for file, start, stop in ranges]
        blocks = self._folder.fetch(named) if named else []
        for row, file, start in zip(rows.tolist(), files, starts, strict=True):
            block = place[file, start]
            first = start - ranges[block][1]
            signal = np.frombuffer(blocks[block], np.uint8, self.window_bytes, first)
            if zlib.crc32(signal) != self._crc32[row]:
                raise StreamError(
                    f"{self._folder.url}/{self._files[file]}: the window of row {row} (byte "
                    f"{start}) is not the one that {INDEX_FILE} was written for (CRC-32). The file "
                    "was damaged or replaced; while a corpus changes, pin a revision "
                    "(hf://datasets/owner/repo@revision). Start again to go on from the "
                    "checkpoint."
                )
            yield signal


def _joined(
    files: Sequence[int], starts: Sequence[int], size: int
) -> tuple[list[tuple[int, int, int]], dict[tuple[int, int], int]]:
    """Ranges (file, start, stop) that hold all windows, and which range holds which window."""
    ranges: list[tuple[int, int, int]] = []
    place = {}
    for file, start in sorted(set(zip(files, starts, strict=True))):
        last_file, first, stop = ranges[-1] if ranges else (None, 0, 0)
        near = file == last_file and start - stop <= GAP_BYTES
        if near and start + size - first <= REQUEST_BYTES:
            ranges[-1] = (file, first, start + size)
        else:
            ranges.append((file, start, start + size))
        place[file, start] = len(ranges) - 1
    return ranges, place


def open_streams(url: str | Path, **options: Any) -> tuple[TaskCard, dict[str, StreamedReader]]:
    """Task card and splits of a prepared corpus that lies anywhere.

    Parameters
    ----------
    url : str or Path
        Its folder, as ``fsspec`` names it.
    **options
        For :class:`~modeling_mteeg.data.remote.RemoteFolder`.

    Raises
    ------
    FileNotFoundError
        There is no corpus, or it was prepared without indexes.
    StreamError
        It cannot be fetched.
    WindowFormatError, TaskCardError
        It is damaged.
    """
    folder = RemoteFolder(url, **options)
    try:
        card = TaskCard.from_dict(parse_json(folder.read(CARD_FILE), CARD_FILE))
    except ValueError as error:
        raise TaskCardError(f"{folder.url}/{CARD_FILE}: {error}") from error
    readers = {}
    for split in SPLITS:
        try:
            readers[split] = StreamedReader(folder, split)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{folder.url}/{split}: no {INDEX_FILE}, which streaming needs. Prepare the corpus "
                "again with this version, or write it with modeling_mteeg.data.write_index("
                "folder / split) where the corpus lies on disk, and upload it."
            ) from error
    return card, readers
