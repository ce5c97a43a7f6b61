"""Channel names: cleaned, looked up, and turned into rows of the spatial table.

The order of the names is the published one of LaBraM: name ``i`` of the list owns row ``i + 1`` of
the spatial table, row 0 is the cls token's. Old and new temporal names (T3 and T7, T5 and P7, M1
and A1 ...) own different rows, so they are never translated into one another.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ELECTRODES: tuple[str, ...] = tuple(
    (
        "FP1 FPZ FP2 AF9 AF7 AF5 AF3 AF1 AFZ AF2 AF4 AF6 AF8 AF10 "
        "F9 F7 F5 F3 F1 FZ F2 F4 F6 F8 F10 FT9 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 FT10 "
        "T9 T7 C5 C3 C1 CZ C2 C4 C6 T8 T10 TP9 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 TP10 "
        "P9 P7 P5 P3 P1 PZ P2 P4 P6 P8 P10 PO9 PO7 PO5 PO3 PO1 POZ PO2 PO4 PO6 PO8 PO10 "
        "O1 OZ O2 O9 CB1 CB2 IZ O10 T3 T5 T4 T6 M1 M2 A1 A2 "
        "CFC1 CFC2 CFC3 CFC4 CFC5 CFC6 CFC7 CFC8 CCP1 CCP2 CCP3 CCP4 CCP5 CCP6 CCP7 CCP8 "
        "T1 T2 FTT9h TTP7h TPP9h FTT10h TPP8h TPP10h"
    ).split()
)
"""Single electrodes of the published table, in order; electrode ``i`` owns row ``i + 1``."""

BIPOLAR_TABLE: tuple[str, ...] = tuple("FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2".split())
"""Bipolar derivations that own a published row, directly after the electrodes. The published list
names eight more (FP1-F3 to P4-O2), for which its table has no row."""

CHANNEL_NAMES: tuple[str, ...] = ELECTRODES + BIPOLAR_TABLE
BIPOLAR_RULES = ("mean", "table")

_CANONICAL = {name.upper(): name for name in CHANNEL_NAMES}
_ROW = {name: row for row, name in enumerate(CHANNEL_NAMES, start=1)}
_PREFIX = re.compile(r"^(EEG|POL)[ ._:-]+(?=.)", re.IGNORECASE)
_REFERENCE = re.compile(r"(?<=.)[-_](REF|LE|AVG|AR)$", re.IGNORECASE)
_COPY = re.compile(r"(?<=.)-\d+$")

OTHER_SYSTEM = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "A1": "M1", "A2": "M2"}
"""Old and new names of the same place. Both have rows of their own, so they are only hinted at."""
_BIOSEMI = frozenset({"A1", "A2", "A3", "A4"})  # no 10-20 system has an A3
_HYDROCEL = frozenset(f"E{number}" for number in range(1, 9))
_BANKS = {bank: tuple(f"{bank}{number}" for number in range(1, 33)) for bank in "ABCDEFGH"}
"""BioSemi's numbers of every box of 32 electrodes."""
_CAPS = {count: f"biosemi{count}" for count in (16, 32, 64, 128, 160, 256)}
_NETS = {
    32: "GSN-HydroCel-32", 33: "GSN-HydroCel-32", 64: "GSN-HydroCel-64_1.0",
    65: "GSN-HydroCel-65_1.0", 128: "GSN-HydroCel-128", 129: "GSN-HydroCel-129",
    256: "GSN-HydroCel-256", 257: "GSN-HydroCel-257",
}  # fmt: skip
"""Standard montages of MNE by the number of electrodes."""
_OTHER_NAME = OTHER_SYSTEM | {new: old for old, new in OTHER_SYSTEM.items()}


class UnknownChannelError(ValueError):
    """A channel name that the spatial table does not know."""


def clean_name(name: str) -> str:
    """Strip what recording systems add to an electrode's name.

    A leading ``EEG`` or ``POL``, a common reference (``-REF``, ``-LE``, ``-AVG``, ``-AR``, also
    after ``_``), dots, blanks and the number that readers append to a repeated name are removed, in
    any order and as often as they are there; the case becomes the table's.

    Parameters
    ----------
    name : str
        For example ``"EEG FP1-REF"``, ``"Fc5."``, ``"EEG Fpz-Cz"`` or ``"T8-P8-0"``.

    Returns
    -------
    str
        For example ``"FP1"``, ``"FC5"``, ``"FPZ-CZ"`` or ``"T8-P8"``. Unknown names come back
        cleaned and in capitals; nothing is guessed. A cleaned name is its own cleaned name.
    """
    text, before = str(name).strip(), None
    while text != before:  # what is taken away may lay bare the next: ends, it gets shorter
        before = text
        text = _PREFIX.sub("", text)
        text = re.sub(r"\s*([-_])\s*", r"\1", text)  # blanks round a dash
        text = _COPY.sub("", _REFERENCE.sub("", text)).strip(" .")
    text = re.sub(r"[.\s]", "", text)
    parts = [_CANONICAL.get(part.upper(), part.upper()) for part in text.split("-")]
    clean = "-".join(parts)
    return clean if clean == name else clean_name(clean)


def other_names(missing: Sequence[str], present: Sequence[str]) -> dict[str, str]:
    """Names to change so that missing channels are found under the other naming system's names.

    Parameters
    ----------
    missing, present : sequence of str
        Cleaned: the wanted channels that a recording lacks, and those that it has.

    Returns
    -------
    dict of str to str
        From the recording's name to the wanted one, such as ``{"T7": "T3"}``; for bipolar
        channels (``T3-T5``) the derivation's where the recording has it, else its electrodes'.
    """
    found: dict[str, str] = {}
    for name in missing:
        halves = name.split("-")
        # Every mixture of the two systems: of F7-T3 also F7-T7, of T3-T5 also T7-T5 and T3-P7.
        choices = product(*([half, _OTHER_NAME.get(half, half)] for half in halves))
        there = [other for choice in choices if (other := "-".join(choice)) in present]
        electrodes = {half: _OTHER_NAME.get(half, half) for half in halves if half not in present}
        if there:
            found[there[0]] = name
        elif all(other in present for other in electrodes.values()):
            found |= {other: half for half, other in electrodes.items()}
    return found


def numbered_system(names: Sequence[str]) -> str:
    """A sentence where channels bear an amplifier's own numbers, which are no places of 10-20.

    Parameters
    ----------
    names : sequence of str
        Cleaned names of a recording's channels.

    Returns
    -------
    str
        About BioSemi's names (A1 to A32, B1 ...) or those of HydroCel nets (E1 to E257); empty
        where there are none.
    """
    if set(names) >= _BIOSEMI:
        return (
            "Channels have BioSemi's own names (A1, A2, A3 ... B1 ...), which number the places of "
            "its caps; A1 and A2 are not the earlobes of the 10-20 system. Rename them to the "
            "electrodes that your cap's layout gives."
        )
    if set(names) >= _HYDROCEL:
        return (
            "Channels have the HydroCel net's own names (E1, E2, E3 ...), which number its places. "
            "Rename them to the electrodes of the 10-10 system that your net's layout gives."
        )
    return ""


def amplifier_numbers(names: Sequence[str]) -> frozenset[str]:
    """Those of some names that are an amplifier's own numbers, see :func:`numbered_system`.

    BioSemi's numbers go from 1 to 32 in every box (A, B, C ...). C1 to C6 and F1 to F10 are names
    of the 10-10 system, too; they are numbers where the box has a number that it has not (C7, F11).
    """
    there = set(names)
    if there >= _BIOSEMI:
        boxes = [box for bank, box in _BANKS.items()
                 if bank not in "CF" or there.intersection(box).difference(ELECTRODES)]  # fmt: skip
        return frozenset(name for box in boxes for name in box if name in there)
    if there >= _HYDROCEL:
        return frozenset(name for name in there if re.fullmatch(r"E[1-9]\d*", name))
    return frozenset()


def montage_of_numbers(names: Sequence[str]) -> str:
    """The standard montage of MNE that an amplifier's own numbers fit by their count, or empty."""
    numbers = amplifier_numbers(names)
    if "A1" in numbers:
        return _CAPS.get(len(numbers), "")
    return _NETS.get(len(numbers) + ("CZ" in names), "")


def is_known(name: str) -> bool:
    """Whether ``name``, once cleaned, is an electrode or a derivation of two known electrodes."""
    return _rows(clean_name(name), "mean") is not None


def _rows(clean: str, bipolar: str) -> tuple[int, int] | None:
    """Rows of one cleaned name, or None where it is unknown."""
    if clean in _ROW and (bipolar == "table" or "-" not in clean):
        return _ROW[clean], _ROW[clean]
    anode, dash, cathode = clean.partition("-")
    if dash and anode != cathode and anode in _ROW and cathode in _ROW:
        return _ROW[anode], _ROW[cathode]
    return None


def nearest_names(name: str, count: int = 3) -> list[str]:
    """Known names most like ``name``, best first."""
    return difflib.get_close_matches(clean_name(name), CHANNEL_NAMES, n=count, cutoff=0.3)


def channel_ids(names: Sequence[str], bipolar: str = "mean") -> np.ndarray:
    """Rows of the spatial table for channels given by name.

    Parameters
    ----------
    names : sequence of str
        Channel names in the order of the signal's rows; cleaned by :func:`clean_name`.
    bipolar : {"mean", "table"}
        ``mean``: a bipolar derivation takes the mean of its two electrodes' rows. ``table``: it
        takes its own published row where there is one, as the published code does, else the mean.

    Returns
    -------
    numpy.ndarray
        int64, (channels, 2). A channel's spatial embedding is the mean of the two rows; a single
        electrode has the same row twice.

    Raises
    ------
    UnknownChannelError
        One or more names are not known; all of them are listed with the nearest known ones.
    ValueError
        A channel occurs twice, or the rule's name is unknown.

    Notes
    -----
    The paper does not say how bipolar channels enter LaBraM's table. The published code has rows
    for eight derivations only and fails on the other names of the 16-channel montage.
    """
    if bipolar not in BIPOLAR_RULES:
        raise ValueError(f"bipolar: expected one of {BIPOLAR_RULES}, found {bipolar!r}.")
    cleaned = [clean_name(name) for name in names]
    rows = [_rows(clean, bipolar) for clean in cleaned]
    unknown = [name for name, pair in zip(names, rows, strict=True) if pair is None]
    if unknown:
        hints = "; ".join(
            f"{name!r} (nearest: {', '.join(nearest_names(name)) or 'none'})" for name in unknown
        )
        raise UnknownChannelError(
            f"{len(unknown)} of {len(cleaned)} channel names are not in the table of "
            f"{len(ELECTRODES)} electrodes: {hints}. Rename them, or leave them out."
        )
    repeated = sorted({clean for clean in cleaned if cleaned.count(clean) > 1})
    if repeated:
        raise ValueError(
            f"Every channel may occur once; found more than once: {', '.join(repeated)}. "
            "Keep one of each."
        )
    import numpy as np  # names alone, as a command line needs them, do without

    return np.array(rows, dtype=np.int64).reshape(len(cleaned), 2)
