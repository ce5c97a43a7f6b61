"""Units that a recording's header states for its channels, against those that MNE's reader knew.

MNE-Python takes every unit of an EDF or BDF header that it does not know (none, ``UV``, ``nV``, a
micro sign in UTF-8) for volt, without a word. Here such a unit is known after all, or named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .bids_channels import read_channels_table, table_of_raw

VOLT_UNITS: dict[str, float] = {
    spelling: volt
    for volt, spellings in {
        1e-6: ("uV", "\u00b5V", "\u03bcV", "\x83\xcaV", "\u00c2\u00b5V", "\u00ce\u00bcV"),
        1e-3: ("mV",),
        1.0: ("V",),
    }.items()
    for spelling in spellings
}
"""Volt per unit, by the header's text decoded as Latin-1: the micro sign in Latin-1, as a Greek
letter, in Shift-JIS, and either of the two in UTF-8. Any other text is no unit of voltage here: a
guess would be off by 1000 or more."""

NO_UNIT = "the header gives no unit of voltage"
UNIT_REMEDY = (
    "Write the physical dimension (uV) into the header, or say in which unit the channels without "
    "one are (unit='uV', on the command line --unit uV)."
)

TABLE_UNITS = {**VOLT_UNITS, "microV": 1e-6, "nV": 1e-9}
"""Volt per unit, by the text of a BIDS ``channels.tsv``."""

_FIXED, _PER_SIGNAL, _UNITS_AT = 256, 256, 96  # bytes of an EDF header


def channel_units(raw: Any, tables: bool = True) -> tuple[dict[int, str], dict[int, float]]:
    """What the unit of every channel of an MNE Raw is, where the reader did not know it.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    tables : bool
        Whether a BIDS ``channels.tsv`` is asked for the units that an EDF or BDF header does not
        state.

    Returns
    -------
    unknown : dict of int to str
        Position of every channel whose header states no unit of voltage, with the text it states.
    factors : dict of int to float
        Position of every channel whose unit only the reader did not know, with what makes its
        numbers volt.
    """
    names = raw.ch_names
    stated = getattr(raw, "_orig_units", None) or {}
    # MNE knows these texts for units of anything, in any case of letters; the reader of EDF does
    # not scale by all of them, so a header at hand is asked itself.
    unknown = {row: "" for row, name in enumerate(names) if stated.get(name) == "n/a"}
    factors: dict[int, float] = {}
    if type(raw).__name__ not in ("RawEDF", "RawBDF"):
        return unknown, factors
    parts = zip(raw.filenames, raw._raw_extras, raw._read_picks, strict=True)
    for number, (path, extras, picks) in enumerate(parts):
        texts = edf_units(path)
        if texts is None:
            continue
        if number == 0:
            unknown.clear()
        for row, pick in enumerate(picks):
            if pick >= len(extras["sel"]):  # somebody added it, in volt
                continue
            text = texts[int(extras["sel"][pick])]
            taken = float(extras["units"][pick])  # volt per unit, as the reader has it
            if text not in VOLT_UNITS:
                if taken == 1.0:  # else the user told the reader
                    unknown[row] = text
                continue
            factor = VOLT_UNITS[text] / taken
            if factor != factors.get(row, 1.0) and number > 0:
                unknown[row] = text  # files that were joined disagree
            elif factor != 1.0:
                factors[row] = factor
    if tables and unknown:
        told = units_of_table(raw, unknown)
        factors |= {row: TABLE_UNITS[text] for row, text in told.items()}
        unknown = {row: text for row, text in unknown.items() if row not in told}
    return unknown, {row: factor for row, factor in factors.items() if row not in unknown}


def units_of_table(raw: Any, rows: Iterable[int]) -> dict[int, str]:
    """Units of voltage that the BIDS ``channels.tsv`` of a Raw states for some of its channels."""
    table = table_of_raw(raw)
    if table is None:
        return {}
    # By the file's own label where somebody renamed the channel.
    found = table.of(labels_of(raw)) | table.of(raw.ch_names)
    texts = {row: cells.get("units", "") for row, cells in found.items()}
    return {row: texts[row] for row in rows if texts.get(row) in TABLE_UNITS}


def labels_of(raw: Any) -> list[str]:
    """Labels in the EDF or BDF file of a Raw; of others its channel names."""
    labels = None
    if type(raw).__name__ in ("RawEDF", "RawBDF"):
        labels = _edf_fields(raw.filenames[0], 0, 16)
    own = {} if labels is None else {row: labels[at] for row, at in file_rows(raw).items()}
    return [own.get(row, name) for row, name in enumerate(raw.ch_names)]


def file_rows(raw: Any, number: int = 0) -> dict[int, int]:
    """Signal of an EDF or BDF file by position in its Raw; channels that were added have none.

    ``number`` is the file's, of a Raw of several.
    """
    signals = raw._raw_extras[number]["sel"]
    picks = enumerate(raw._read_picks[number])
    return {row: int(signals[pick]) for row, pick in picks if pick < len(signals)}


def stated_units(raw: Any) -> dict[int, str]:
    """Texts of units by position, where the format's header states one for every channel."""
    kind = type(raw).__name__
    if kind in ("RawEDF", "RawBDF") and len(raw.filenames) == 1:
        texts = edf_units(raw.filenames[0]) or []
        return {row: texts[at] for row, at in file_rows(raw).items() if at < len(texts)}
    if kind == "RawBrainVision":
        stated = getattr(raw, "_orig_units", None) or {}
        return {row: stated.get(name, "") for row, name in enumerate(raw.ch_names)}
    return {}  # EEGLAB, FIF and others have one unit, whatever a table says


def labels_with_unit(path: str | Path, labels: Sequence[str]) -> set[str]:
    """Those of the labels of a file that its BIDS ``channels.tsv`` states a unit of voltage for."""
    try:
        table = read_channels_table(path)
    except ValueError:  # said where the file is opened
        table = None
    rows = {} if table is None else table.of(labels)
    return {labels[at] for at, cells in rows.items() if cells.get("units", "") in TABLE_UNITS}


def edf_units(path: Any) -> list[str] | None:
    """Physical dimension of every signal of an EDF or BDF file, by its header.

    Returns
    -------
    list of str or None
        Decoded as Latin-1, which takes any byte; None where no such header can be read.
    """
    return _edf_fields(path, _UNITS_AT, 8)


def _edf_fields(path: Any, at: int, width: int) -> list[str] | None:
    """A field of every signal: ``at`` bytes of other fields come before it, of each signal."""
    try:
        with open(Path(path), "rb") as file:
            signals = int(file.read(_FIXED)[252:256])
            table = file.read(signals * _PER_SIGNAL)
    except (OSError, TypeError, ValueError):
        return None
    if len(table) < signals * _PER_SIGNAL:
        return None
    start = at * signals  # the fields lie one kind after the other
    texts = (table[start + width * row : start + width * (row + 1)] for row in range(signals))
    return [text.decode("latin-1").strip() for text in texts]


def unit_reason(stated: str) -> str:
    """Why a channel without a unit of voltage cannot be used."""
    return f"{NO_UNIT}, but {stated!r}" if stated else NO_UNIT
