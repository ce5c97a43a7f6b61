"""Units that a recording's header states for its channels, against those that MNE's reader knew.

MNE-Python takes every unit of an EDF or BDF header that it does not know (none, ``UV``, ``nV``, a
micro sign in UTF-8) for volt, without a word. Here such a unit is known after all, or named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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

_FIXED, _PER_SIGNAL, _UNITS_AT = 256, 256, 96  # bytes of an EDF header


def channel_units(raw: Any) -> tuple[dict[int, str], dict[int, float]]:
    """What the unit of every channel of an MNE Raw is, where the reader did not know it.

    Parameters
    ----------
    raw : mne.io.BaseRaw

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
    return unknown, {row: factor for row, factor in factors.items() if row not in unknown}


def edf_units(path: Any) -> list[str] | None:
    """Physical dimension of every signal of an EDF or BDF file, by its header.

    Returns
    -------
    list of str or None
        Decoded as Latin-1, which takes any byte; None where no such header can be read.
    """
    try:
        with open(Path(path), "rb") as file:
            signals = int(file.read(_FIXED)[252:256])
            table = file.read(signals * _PER_SIGNAL)
    except (OSError, TypeError, ValueError):
        return None
    if len(table) < signals * _PER_SIGNAL:
        return None
    start = _UNITS_AT * signals  # the fields lie one kind after the other
    texts = (table[start + 8 * row : start + 8 * row + 8] for row in range(signals))
    return [text.decode("latin-1").strip() for text in texts]


def unit_reason(stated: str) -> str:
    """Why a channel without a unit of voltage cannot be used."""
    return f"{NO_UNIT}, but {stated!r}" if stated else NO_UNIT
