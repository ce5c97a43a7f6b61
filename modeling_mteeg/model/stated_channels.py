"""Channels of a recording as it states them, and as they are taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .channel_units import TABLE_UNITS, VOLT_UNITS, labels_of, stated_units, units_of_table
from .channels import clean_name

_SPELLED = {1e-9: "nV", 1e-6: "uV", 1e-3: "mV", 1.0: "V"}


@dataclasses.dataclass(frozen=True)
class Channel:
    """One channel of a recording, usable or not.

    Parameters
    ----------
    stored : str
        Name in the file or object.
    name : str
        Cleaned, as it is looked up.
    kind : str
        MNE's type: ``eeg``, ``eog``, ``stim`` ...
    stated_unit : str or None
        Text of its unit in the header; None where a format has one unit for all.
    unit : {"nV", "uV", "mV", "V"} or None
        What its numbers in the file are taken for; None where nobody says.
    """

    stored: str
    name: str
    kind: str
    stated_unit: str | None
    unit: str | None


def stated_channels(raw: Any, unknown: Mapping[int, str], unit: str | None) -> tuple[Channel, ...]:
    """All channels of an MNE object, in its order.

    Parameters
    ----------
    raw : mne.io.BaseRaw or mne.BaseEpochs
    unknown : mapping
        Positions of channels that state no unit of voltage (:func:`channel_units.channel_units`).
    unit : str or None
        The unit that the user told for those that state none.
    """
    stated = stated_units(raw)
    open_ones = [row for row, text in stated.items() if text not in VOLT_UNITS]
    by_table = units_of_table(raw, open_ones) if unit is None and open_ones else {}

    def taken(row: int) -> str | None:
        text = stated.get(row)
        if row in unknown:
            return unit
        if text in VOLT_UNITS:
            return _SPELLED[VOLT_UNITS[text]]
        if row in by_table:
            return _SPELLED[TABLE_UNITS[by_table[row]]]
        return "V" if text is None else unit

    rows = zip(labels_of(raw), raw.ch_names, raw.get_channel_types(), strict=True)
    return tuple(
        Channel(stored, clean_name(name), kind, stated.get(row), taken(row))
        for row, (stored, name, kind) in enumerate(rows)
    )
