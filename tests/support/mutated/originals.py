"""What is mutated: folders as they should be, of every layout that can be written here."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path

MODULES = ("recording_originals", "corpus_originals", "weight_originals", "prepared_originals")
"""Each has a tuple ``ORIGINALS``; they are imported where they are written."""


@dataclasses.dataclass(frozen=True)
class Original:
    """One layout.

    Parameters
    ----------
    name : str
    group : {"recordings", "weights", "prepared"}
    write : callable
        Takes a folder, which it fills.
    targets : tuple of str
        Files below the folder that are mutated; a name that stands there twice comes up twice as
        often.
    ways : tuple of str
        What is tried: names of :data:`trying.WAYS`.
    corpus : str
        Of recordings: how the labelled preparation opens the folder, see
        :mod:`recording_ways`.
    bad : tuple of str
        Of recordings: keys of those that the targets are of. All others must stay as they are.
    opened : str
        The file that ``predict`` and the extractor open; empty: the folder.
    """

    name: str
    group: str
    write: Callable[[Path], None]
    targets: tuple[str, ...]
    ways: tuple[str, ...]
    corpus: str = ""
    bad: tuple[str, ...] = ()
    opened: str = ""


def all_originals() -> dict[str, Original]:
    """By name, in an order that does not change."""
    found: dict[str, Original] = {}
    for module in MODULES:
        package = __name__.rpartition(".")[0]
        for one in importlib.import_module(f"{package}.{module}").ORIGINALS:
            found[one.name] = one
    return found


def write_originals(folder: Path, names: list[str]) -> None:
    """``folder/<name>`` for each, unless it is there."""
    for name in names:
        done = folder / f"{name}.whole"
        if not done.is_file():
            (folder / name).mkdir(parents=True, exist_ok=True)
            all_originals()[name].write(folder / name)
            done.touch()
