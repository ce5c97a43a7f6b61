"""Where the electrodes of a recording lie: by its file, or by a standard montage of MNE."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..model.channels import ELECTRODES, amplifier_numbers, clean_name, montage_of_numbers
from ..model.recording_sources import Source
from ..model.signal_checks import SignalError
from .bids_electrodes import read_electrodes
from .cap_geometry import montage_places

_SIBLINGS = {"biosemi": "biosemi64", "easycap": "easycap-M1"}
"""Caps of one maker lie on one sphere: the montage that has the names of the 10-10 system."""
_IN_ORDER = ("biosemi16", "biosemi32", "biosemi64")
"""Montages with names of the 10-10 system in the order of BioSemi's own numbers."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Positions of a recording's channels, and of electrodes of known name in the same frame.

    Parameters
    ----------
    channels : mapping of str to numpy.ndarray
        (3,), by the recording's cleaned names.
    named : mapping of str to numpy.ndarray
        (3,), by names of the 10-10 system, also of electrodes that were not recorded.
    origin : str
        Where they are from, in words.
    numbers : frozenset of str
        Names of the recording that are an amplifier's own numbers, whatever place they remind of.
    oriented : bool
        Whether the axes are known to point to the right ear, to the nose and up.
    """

    channels: Mapping[str, np.ndarray]
    named: Mapping[str, np.ndarray]
    origin: str
    numbers: frozenset[str] = frozenset()
    oriented: bool = True

    def renamed(self, rename: Mapping[str, str]) -> Places:
        """The same after channels were renamed."""
        new = {clean_name(old): clean_name(name) for old, name in rename.items()}
        channels = {new.get(name, name): place for name, place in self.channels.items()}
        told = {name: channels[name] for name in new.values() if name in channels}
        named, numbers = {**self.named, **told}, self.numbers.difference(new)
        return dataclasses.replace(self, channels=channels, named=named, numbers=numbers)


def find_places(source: Source, montage: bool | str, path: Path | None = None) -> Places:
    """Positions of a recording's electrodes.

    Parameters
    ----------
    source : Source
        Before channels are renamed.
    montage : True or str
        True: those of its ``electrodes.tsv``, else those in the file. Or the name of one of MNE's
        standard montages.
    path : pathlib.Path or None
        Its file, if it is one.

    Raises
    ------
    SignalError
        There are none, or MNE has no such montage.
    """
    names = (*source.names, *source.unfit)
    if isinstance(montage, str):
        return _standard(names, montage)
    table, file, oriented = read_electrodes(path) if path else ({}, "", True)
    if set(table).intersection(names):
        return dataclasses.replace(_named_by_themselves(table, names, file), oriented=oriented)
    if not source.places:
        raise SignalError(
            "Expected positions of the electrodes, found none with the recording (in its file, or "
            "in a BIDS electrodes.tsv that names its channels). Name its standard montage "
            f"({_ask(montage_of_numbers(names) or 'standard_1005')})."
        )
    return _named_by_themselves(source.places, names, "positions in its file")


def _ask(montage: str) -> str:
    return f"interpolate={montage!r}; on the command line --interpolate {montage}"


def _named_by_themselves(
    channels: Mapping[str, np.ndarray], names: Sequence[str], origin: str
) -> Places:
    numbers = amplifier_numbers(names)
    arrays = {name: np.asarray(place, dtype=float) for name, place in channels.items()}
    named = {name: place for name, place in arrays.items()
             if name in ELECTRODES and name not in numbers}  # fmt: skip
    return Places(arrays, named, origin, numbers)


def _standard(names: Sequence[str], montage: str) -> Places:
    places, own = _places_and_numbers(montage)
    named = {name: place for name, place in places.items()
             if name in ELECTRODES and name not in own}  # fmt: skip
    sibling = next((cap for maker, cap in _SIBLINGS.items() if montage.startswith(maker)), montage)
    if sibling != montage:
        others = montage_places(sibling)
        named = {name: place for name, place in others.items() if name in ELECTRODES} | named
    numbers = amplifier_numbers(names)
    if numbers and montage in _IN_ORDER:
        banked = [f"{'AB'[at // 32]}{at % 32 + 1}" for at in range(len(places))]
        places = dict(zip(banked, places.values(), strict=True))
    elif not own:  # then A1 is an earlobe
        places = {name: place for name, place in places.items() if name not in numbers}
    channels = {name: places[name] for name in names if name in places}
    shown = [*names[:6], *(["..."] if len(names) > 6 else [])]
    if not channels or len(numbers.difference(places)) > 1:  # one: E129, the vertex
        raise SignalError(
            f"Expected channels of the montage {montage} ({', '.join(list(places)[:6])} ...), "
            f"found {len(channels)} among {', '.join(shown)}. Rename them, or name another "
            "montage" + (f" ({_ask(fitting)})." if (fitting := montage_of_numbers(names)) else ".")
        )
    return Places(channels, named, f"the montage {montage}", numbers)


def _places_and_numbers(montage: str) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """Positions of a standard montage, and those of its names that are an amplifier's numbers."""
    import mne

    known = [name for name in mne.channels.get_builtin_montages() if "artinis" not in name]
    older = {new.replace("colin27", "standard"): new for new in known if "colin27" in new}
    if montage not in known and montage not in older:
        close = difflib.get_close_matches(montage, [*known, *older], n=3, cutoff=0.4)
        raise SignalError(
            f"Expected a standard montage of MNE, found {montage!r} (nearest: "
            f"{', '.join(close) or 'none'}). All of them: {', '.join([*known, *older])}."
        )
    places = montage_places(older.get(montage, montage))
    return places, amplifier_numbers(tuple(places))
