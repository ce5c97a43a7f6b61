"""Names of a BIDS dataset, and the sidecars that belong to a recording by inheritance.

A sidecar applies to every recording whose name has all of the sidecar's entities, in its own folder
and below. Where several apply, the deepest one counts (BIDS specification, inheritance principle).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .label_numbers import shown
from .text_files import read_text_file
from .visible_text import listed

_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)")
_OF_PLACES = {"electrodes": ("space",), "coordsystem": ("space",)}
"""By suffix, entities that a sidecar has and the recording's name has not."""
DESCRIPTION = "dataset_description.json"


def entities_of(path: str | Path) -> dict[str, str]:
    """Entities in the name of a BIDS file.

    Parameters
    ----------
    path : str or pathlib.Path
        Such as ``sub-01_ses-a_task-rest_run-1_eeg.edf``.

    Returns
    -------
    dict of str to str
        Such as ``{"sub": "01", "ses": "a", "task": "rest", "run": "1"}``; empty where the name is
        not one of BIDS.
    """
    *pairs, suffix = Path(path).name.partition(".")[0].split("_")
    found = [_ENTITY.fullmatch(pair) for pair in pairs]
    if not suffix or not all(found):
        return {}
    return {match[1]: match[2] for match in found}


def suffix_of(path: str | Path) -> str:
    """What a BIDS file is of, by the end of its name, such as ``eeg`` or ``events``."""
    return Path(path).name.partition(".")[0].rpartition("_")[2]


def is_bids_eeg(path: str | Path) -> bool:
    """Whether a file has the name of an EEG recording of a BIDS dataset."""
    return "sub" in entities_of(path) and suffix_of(path) == "eeg"


def has_entities(path: str | Path, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Whether a name has, of every entity that is asked for, one of the values.

    Parameters
    ----------
    path : str or pathlib.Path
    wanted : mapping of str to sequence of str
        Such as ``{"ses": ("1", "2")}``; ``1`` is ``01``, too, and ``ses-1`` is ``1``.
    """
    named = entities_of(path)
    return all(
        any(_bare_value(named.get(key, "")) == _bare_value(value.removeprefix(f"{key}-"))
            for value in values)
        for key, values in wanted.items()
    )  # fmt: skip


def _bare_value(value: str) -> str:
    return value.lstrip("0") or "0" if value.isdecimal() else value


def values_of(paths: Iterable[Path], keys: Iterable[str]) -> dict[str, list[str]]:
    """Values of some entities in names, sorted, by entity; ``none``: names without it."""
    named = [entities_of(path) for path in paths]
    return {key: sorted({one.get(key, "none") for one in named}) for key in keys}


def dataset_root(path: str | Path) -> Path:
    """The BIDS dataset that a file lies in.

    Returns
    -------
    pathlib.Path
        The nearest folder above that has a ``dataset_description.json``, else the one that holds
        the subject's folder, else the file's own.
    """
    folder = Path(path).absolute().parent
    above = [folder, *folder.parents]
    for place in above:
        if (place / DESCRIPTION).is_file():
            return place
    of_subject = [place for place in above if re.fullmatch(r"sub-[a-zA-Z0-9+]+", place.name)]
    return of_subject[-1].parent if of_subject else folder


def find_sidecars(path: str | Path, suffix: str, extension: str = ".tsv") -> list[Path]:
    """All sidecars of one kind that apply to a recording.

    Parameters
    ----------
    path : str or pathlib.Path
        The recording, with a name of BIDS; others have no sidecars.
    suffix : str
        Such as ``channels``, ``events``, ``electrodes`` or ``eeg``.
    extension : str
        Such as ``.tsv`` or ``.json``.

    Returns
    -------
    list of pathlib.Path
        The most specific first: by folder, then by number of entities, then by name. Of places on
        the head (``electrodes``, ``coordsystem``) one for every ``space-`` may be there.
    """
    path = Path(path)
    wanted = entities_of(path)
    if "sub" not in wanted:
        return []
    root = dataset_root(path)
    folders = [path.absolute().parent]
    while folders[-1] != root and folders[-1] != folders[-1].parent:
        folders.append(folders[-1].parent)
    more = _OF_PLACES.get(suffix, ())
    result = []
    for folder in folders:
        fitting = []
        for file in sorted(folder.glob(f"*{suffix}{extension}")):
            named = entities_of(file)
            if file.name.startswith(".") or suffix_of(file) != suffix:
                continue
            if not named and file.name != f"{suffix}{extension}":
                continue
            if all(wanted.get(key) == value or key in more for key, value in named.items()):
                fitting.append(file)
        result += sorted(fitting, key=lambda file: -len(entities_of(file)))
    return result


def find_sidecar(path: str | Path, suffix: str, extension: str = ".tsv") -> Path | None:
    """The sidecar of one kind that counts for a recording, or None; see :func:`find_sidecars`.

    Raises
    ------
    ValueError
        Two apply and neither is more specific.
    """
    found = find_sidecars(path, suffix, extension)
    if len(found) < 2:
        return found[0] if found else None
    first, second = found[:2]
    equal = len(entities_of(first)) == len(entities_of(second))
    if first.parent == second.parent and equal:
        raise ValueError(
            f"{Path(path).name}: two sidecars apply to it, and neither is more specific: "
            f"{first.name}, {second.name} in {first.parent}. Keep one of them."
        )
    return first


def read_table(path: str | Path, any_text: bool = False) -> list[dict[str, str]]:
    """Rows of a ``.tsv`` or ``.csv`` file by column.

    Parameters
    ----------
    path : str or pathlib.Path
    any_text : bool
        Whether a file that is no UTF-8 is read as Latin-1.

    Raises
    ------
    ValueError
        It is no table of text, cannot be read or is too large (:func:`read_text_file`); two
        columns have one name, or a row has more or fewer cells than there are columns.
    """
    path = Path(path)
    delimiter = "," if path.suffix.lower() == ".csv" else "\t"
    content = read_text_file(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not any_text:
            raise ValueError(f"{path.name}: expected a table as UTF-8 text: {error}.") from error
        text = content.decode("latin-1")
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    try:
        return list(_rows(path, lines))
    except csv.Error as error:
        raise ValueError(f"{path.name}: expected a table as text: {error}.") from error


def _rows(path: Path, lines: Any) -> Iterator[dict[str, str]]:
    """Rows of a table whose first line that is not empty names the columns."""
    columns: list[str] = []
    for cells in filter(None, lines):
        cells = [_bare(cell) for cell in cells]
        if not columns:
            columns = cells
            repeated = sorted({name for name in columns if name and columns.count(name) > 1})
            if repeated:
                raise ValueError(f"{path.name}: expected every column once, found several of "
                                 f"{listed([shown(name) for name in repeated])}.")  # fmt: skip
        elif len(cells) != len(columns):
            raise ValueError(
                f"{path.name}, line {lines.line_num}: expected {len(columns)} cells, one a column, "
                f"found {len(cells)}: {listed([shown(cell) for cell in cells], 12)}."
            )
        else:
            yield dict(zip(columns, cells, strict=True))


def _bare(cell: str) -> str:
    """A cell without blanks and quotes around it. BIDS has no quotes: a lone one is text."""
    cell = cell.strip()
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"').strip() if quoted else cell
