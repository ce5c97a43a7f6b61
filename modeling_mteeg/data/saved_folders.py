"""Folders that ``datasets`` saved, their JSON files checked before it reads them.

``datasets`` takes these files for what it wrote: it opens whatever file they name, and trips over
whatever else has another type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..model.checked_files import MAX_RESULT_BYTES, UnsafeFileError, shortened
from ..model.json_fields import read_checked
from .source import WindowFormatError

DICT_FILE, STATE_FILE, INFO_FILE = "dataset_dict.json", "state.json", "dataset_info.json"
_DICT = {"splits": list[str]}
_FILE = {"filename": str}
_FILES = list[_FILE]
_STATE = {
    "_data_files": _FILES, "_indices_data_files": _FILES | None, "_fingerprint": str,
    "_format_columns": list[str] | None, "_format_kwargs": dict, "_format_type": str | None,
    "_output_all_columns": bool, "_split": str | None,
}  # fmt: skip
_INFO = {"features": dict[str, dict | list]}
_AGAIN = "Prepare the folder again."


def open_saved(folder: str | Path) -> Any:
    """The ``Dataset`` or ``DatasetDict`` that a folder holds; the signals stay on disk.

    Raises
    ------
    FileNotFoundError
        The folder or a file is missing.
    WindowFormatError
        A file is damaged, or names one that lies elsewhere; the message names it.
    """
    from datasets import load_from_disk

    folder = Path(folder)
    if (folder / DICT_FILE).is_file():
        parts = [folder / split for split in _splits(folder / DICT_FILE)]
    else:
        parts = [folder]
    for part in parts:
        read_state(part)
        if (part / INFO_FILE).is_file():
            _check_info(part / INFO_FILE)
    try:
        return load_from_disk(str(folder))
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
        raise WindowFormatError(
            f"{folder}: a file of the saved dataset is damaged "
            f"({type(error).__name__}: {shortened(repr(str(error)))}). {_AGAIN}"
        ) from error


def read_state(folder: Path) -> dict[str, Any]:
    """What ``state.json`` says of one saved split.

    Raises
    ------
    FileNotFoundError
        There is none.
    WindowFormatError
        It is damaged, or names files that lie elsewhere.
    """
    path = folder / STATE_FILE
    state = _read(path, _STATE)
    files = state["_data_files"]
    for name in (each["filename"] for each in files):
        if Path(name).name != name or "\\" in name or "\0" in name:
            raise WindowFormatError(
                f"{path}: _data_files: expected names of files beside it, found "
                f"{shortened(repr(name))}. {_AGAIN}"
            )
    if not files:
        raise WindowFormatError(f"{path}: _data_files: expected one or more, found none. {_AGAIN}")
    return state


def _splits(path: Path) -> list[str]:
    splits = _read(path, _DICT)["splits"]
    for name in splits:
        if Path(name).name != name or "\0" in name or not (path.parent / name).is_dir():
            raise WindowFormatError(
                f"{path}: splits: expected names of folders beside it, found "
                f"{shortened(repr(name))}. {_AGAIN}"
            )
    return splits


def _check_info(path: Path) -> None:
    from datasets import DatasetInfo

    said = _read(path, _INFO)
    try:
        DatasetInfo.from_dict(said).features.arrow_schema  # noqa: B018 (made when it is asked for)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise WindowFormatError(
            f"{path}: expected what `datasets` writes of columns, found what it cannot read "
            f"({type(error).__name__}: {shortened(repr(str(error)))}). {_AGAIN}"
        ) from error


def _read(path: Path, kind: Any) -> Any:
    try:
        return read_checked(path, kind, MAX_RESULT_BYTES)
    except UnsafeFileError as error:
        raise WindowFormatError(f"{error} {_AGAIN}") from error
