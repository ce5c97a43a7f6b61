"""``channels.tsv`` of a BIDS dataset: type and unit of every channel, and whether it is bad."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .bids_sidecars import find_sidecar, read_table
from .channels import clean_name

MARKED_BAD = "marked bad in channels.tsv"
_KINDS = {
    "EEG": "eeg", "EOG": "eog", "HEOG": "eog", "VEOG": "eog", "ECG": "ecg", "EMG": "emg",
    "TRIG": "stim", "RESP": "resp", "GSR": "gsr", "TEMP": "temperature", "PUPIL": "misc",
    "EYEGAZE": "misc", "SEEG": "seeg", "ECOG": "ecog", "DBS": "dbs", "AUDIO": "misc",
    "MISC": "misc", "OTHER": "misc", "PPG": "misc", "REF": "misc", "SYSCLOCK": "misc",
}  # fmt: skip
"""Types of BIDS, by what MNE calls them."""


@dataclasses.dataclass(frozen=True)
class ChannelsTable:
    """What a ``channels.tsv`` says of the channels of one recording.

    Parameters
    ----------
    path : pathlib.Path
    rows : mapping of str to mapping of str to str
        By name, as written: the cells by column.
    repeated : tuple of str
        Names that have several rows, which say the same.
    latin1 : bool
        Whether it is no UTF-8 and was read as Latin-1.
    """

    path: Path
    rows: Mapping[str, Mapping[str, str]]
    repeated: tuple[str, ...] = ()
    latin1: bool = False

    def of(self, names: Sequence[str]) -> dict[int, Mapping[str, str]]:
        """Rows by position among the names of a recording; those that the table lacks are absent.

        A name is found as it is written, else cleaned where that is the name of one row and of one
        channel alone.
        """
        found = {at: self.rows[name] for at, name in enumerate(names) if name in self.rows}
        rest = [at for at in range(len(names)) if at not in found]
        taken = {names[at] for at in found}
        clean_rows = _once({name: clean_name(name) for name in self.rows if name not in taken})
        clean_names = _once({at: clean_name(names[at]) for at in rest})
        both = [clean for clean in clean_names if clean in clean_rows]
        return found | {clean_names[clean]: self.rows[clean_rows[clean]] for clean in both}

    def bad(self, names: Sequence[str]) -> list[str]:
        """Those of some names that are marked bad."""
        return [names[at] for at, row in self.of(names).items() if is_bad(row)]

    def not_eeg(self, names: Sequence[str]) -> dict[str, str]:
        """Those of some names whose type is known and not EEG, with MNE's word for it."""
        kinds = {at: kind_of(row) for at, row in self.of(names).items()}
        return {names[at]: kind for at, kind in kinds.items() if kind not in ("", "eeg")}


def read_channels_table(path: str | Path) -> ChannelsTable | None:
    """The ``channels.tsv`` of a recording, beside it or above.

    Parameters
    ----------
    path : str or pathlib.Path
        The recording.

    Returns
    -------
    ChannelsTable or None
        None where the recording has no name of BIDS, or no such table.

    Raises
    ------
    ValueError
        The table cannot be used: two apply, it is no table, has no column ``name``, or rows of one
        name that differ.
    """
    file = find_sidecar(path, "channels")
    if file is None:
        return None
    try:
        rows, latin1 = read_table(file), False
    except ValueError as error:
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise
        rows = read_table(file, any_text=True)  # a micro sign in Latin-1 loses not all the rest
        latin1 = True
    if rows and "name" not in rows[0]:
        raise ValueError(
            f"{file.name}: expected a column name, found {', '.join(rows[0])}; its columns are "
            "separated by tabs."
        )
    by_name: dict[str, Mapping[str, str]] = {}
    for row in rows:
        first = by_name.setdefault(row["name"], row)
        if any(first.get(key) != row.get(key) for key in ("type", "units", "status")):
            raise ValueError(
                f"{file.name}: two rows of {row['name']!r} that differ; keep one of them."
            )
    counts = Counter(row["name"] for row in rows)
    repeated = tuple(name for name in by_name if counts[name] > 1)
    return ChannelsTable(file, by_name, repeated, latin1)


def kind_of(row: Mapping[str, str]) -> str:
    """MNE's word for a row's type; empty where it states none that BIDS has."""
    return _KINDS.get(row.get("type", "").upper(), "")


def is_bad(row: Mapping[str, str]) -> bool:
    """Whether a row marks its channel as bad."""
    return row.get("status", "").lower() == "bad"


def reasons_by_table(path: str | Path, names: Sequence[str]) -> dict[str, str]:
    """Channels of a recording that its table takes out, with the reason; none without a table."""
    try:
        table = read_channels_table(path)
    except ValueError:  # said where the file is opened
        table = None
    if table is None:
        return {}
    reasons = dict.fromkeys(table.bad(names), MARKED_BAD)
    return reasons | {name: f"type {kind}" for name, kind in table.not_eeg(names).items()}


def table_of_raw(raw: Any) -> ChannelsTable | None:
    """The table of the file that an MNE object was read from, if it is one file with one."""
    files = [file for file in getattr(raw, "filenames", ()) or () if file]
    if len(files) != 1:
        return None
    try:
        return read_channels_table(files[0])
    except ValueError:  # said where the file is opened
        return None


def _once(names: Mapping[Any, str]) -> dict[str, Any]:
    """Keys by name, for names that one key alone has."""
    counts = Counter(names.values())
    return {name: key for key, name in names.items() if counts[name] == 1}
