"""What the sidecars of a BIDS dataset say of a recording that was opened from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .bids_channels import ChannelsTable, is_bad, kind_of, read_channels_table
from .channel_units import TABLE_UNITS, VOLT_UNITS, channel_units, stated_units, units_of_table
from .findings import Finding
from .record_times import ANNOTATIONS
from .visible_text import listed

_SHOWN = 8
_OF_BODIES = ("", "eeg", "eog", "ecg", "emg")
"""Types whose channels a file has where its table has them; triggers are often no channel."""
_MEND = "Mend the table where it is wrong."


def apply_sidecars(raw: Any, path: str | Path) -> tuple[Finding, ...]:
    """Give an MNE Raw the types and bad channels that its ``channels.tsv`` states.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        As it was read; changed in place: channels whose type is not EEG, channels marked bad.
    path : str or pathlib.Path
        Its file. One without a name of BIDS has no sidecars.

    Returns
    -------
    tuple of Finding
        Where table and header contradict each other, or the table cannot be used: then the header
        counts. Units that only the table states are taken by :func:`channel_units.channel_units`.
    """
    try:
        table = read_channels_table(path)
    except ValueError as error:
        text = f"{error} It is not used: types and units are those of the recording's own header."
        return (Finding("sidecar", text),)
    if table is None:
        return ()
    rows = table.of(raw.ch_names)
    findings = [*_about_names(raw, table, rows), *_about_units(raw, table, rows)]
    findings += _apply_types(raw, table, rows)
    bad = [raw.ch_names[at] for at, row in sorted(rows.items()) if is_bad(row)]
    raw.info["bads"] = list(dict.fromkeys([*raw.info["bads"], *bad]))
    return tuple(findings)


def _about_names(raw: Any, table: ChannelsTable, rows: Mapping[int, Any]) -> list[Finding]:
    """Channels that only one of table and file has."""
    known = {row.get("name") for row in rows.values()}
    known |= {*ANNOTATIONS}
    only_table = [name for name, row in table.rows.items()
                  if name not in known and kind_of(row) in _OF_BODIES]  # fmt: skip
    kinds = raw.get_channel_types()
    only_file = [name for at, name in enumerate(raw.ch_names)
                 if at not in rows and kinds[at] == "eeg"]  # fmt: skip
    findings = []
    if table.latin1:
        text = f"{table.path.name} is no UTF-8 and is read as Latin-1."
        findings.append(Finding("text-encoding", text))
    if table.repeated:
        text = f"{table.path.name} has several rows of {_list(table.repeated)}, which are equal."
        findings.append(Finding("sidecar", text, channels=table.repeated))
    if only_table:
        text = f"{table.path.name}: the recording has no {_list(only_table)}; it has " \
               f"{_list(raw.ch_names)}."  # fmt: skip
        findings.append(Finding("sidecar", text, _MEND))
    if only_file:
        text = f"{table.path.name} has no row of {_list(only_file)}, which stay EEG."
        findings.append(Finding("sidecar", text, channels=tuple(only_file)))
    return findings


def _about_units(raw: Any, table: ChannelsTable, rows: Mapping[int, Any]) -> list[Finding]:
    """Units that only the table states, and those that header and table state differently."""
    names, findings = raw.ch_names, []
    told = units_of_table(raw, channel_units(raw, tables=False)[0])
    for unit, channels in _groups(told, names).items():
        text = f"{table.path.name} states the unit of {_list(channels)} ({unit}), the header none."
        findings.append(Finding("sidecar", text, channels=tuple(channels)))
    stated = {at: unit for at, unit in stated_units(raw).items() if unit in VOLT_UNITS}
    differ = {
        at: f"{row['units']}, the header {stated[at]}"
        for at, row in rows.items()
        if at in stated and row.get("units", "") in TABLE_UNITS
        and TABLE_UNITS[row["units"]] != VOLT_UNITS[stated[at]]
    }  # fmt: skip
    for units, channels in _groups(differ, names).items():
        text = f"{table.path.name} says {units} of {_list(channels)}: the header is used."
        findings.append(Finding("sidecar", text, _MEND, channels=tuple(channels)))
    return findings


def _apply_types(raw: Any, table: ChannelsTable, rows: Mapping[int, Any]) -> list[Finding]:
    """Take from EEG what the table says is none; return what it says otherwise."""
    kinds, names = raw.get_channel_types(), raw.ch_names
    changed = {names[at]: kind_of(row) for at, row in rows.items()
               if kinds[at] == "eeg" and kind_of(row) not in ("", "eeg")}  # fmt: skip
    raw.set_channel_types(changed, on_unit_change="ignore", verbose="error")
    findings = []
    other = {at: kinds[at] for at, row in rows.items()
             if kind_of(row) == "eeg" and kinds[at] != "eeg"}  # fmt: skip
    for kind, channels in _groups(other, names).items():
        text = f"{table.path.name} says EEG of {_list(channels)}, the file {kind}: the file counts."
        findings.append(Finding("sidecar", text, _MEND, channels=tuple(channels)))
    strange = {at: row["type"] for at, row in rows.items()
               if not kind_of(row) and row.get("type", "n/a") not in ("", "n/a")}  # fmt: skip
    for kind, channels in _groups(strange, names).items():
        text = f"{table.path.name}: {kind!r} of {_list(channels)} is no type of BIDS; not used."
        findings.append(Finding("sidecar", text, _MEND, channels=tuple(channels)))
    return findings


def _groups(values: Mapping[int, str], names: Sequence[str]) -> dict[str, list[str]]:
    """Names by the value at their positions."""
    groups: dict[str, list[str]] = {}
    for at, value in sorted(values.items()):
        groups.setdefault(value, []).append(names[at])
    return groups


def _list(names: Sequence[str]) -> str:
    return listed(names, _SHOWN)
