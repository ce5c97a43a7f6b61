"""Which mutation a number is, and how it is made: a function of (seed, number) alone."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import header_changes, text_changes, weight_changes
from .changes import GENERAL, KINDS, Changed, Rng, in_place, pick
from .originals import Original
from .set_changes import eeglab

_TARGETED = 0.6
_OTHER_TYPE = 0.08
GROUPS = {"recordings": 1, "weights": 2, "prepared": 3}
"""Groups to the numbers that seed them."""


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One change of one file of one original.

    Parameters
    ----------
    group : str
        One of :data:`GROUPS`.
    seed, number : int
    layout : str
        Name of the original.
    target : str
        The file, below the folder.
    note : str
        What was changed.
    declares : str
        See :class:`~changes.Changed`.
    """

    group: str
    seed: int
    number: int
    layout: str
    target: str
    note: str
    declares: str = ""


def _targeted(path: Path, layout: str) -> Callable[[bytes, Rng], Changed] | None:
    """Changes of single fields of a file, where there are any."""
    suffix = path.suffix.lower()
    if suffix == ".set":
        return lambda content, rng: eeglab(content, rng, path)
    if suffix in (".tsv", ".csv", ".rec"):
        mark = "\t" if suffix == ".tsv" else ","
        return lambda content, rng: text_changes.cells(content, rng, mark)
    return {
        ".edf": header_changes.edf, ".bdf": header_changes.edf, ".cnt": header_changes.cnt,
        ".fif": header_changes.fif, ".eeg": header_changes.samples,
        ".fdt": header_changes.samples, ".arrow": header_changes.samples,
        ".vhdr": text_changes.lines, ".vmrk": text_changes.lines, ".txt": text_changes.lines,
        ".json": text_changes.json_text, ".safetensors": weight_changes.safetensors,
        ".pth": weight_changes.torch_file,
    }.get(suffix)  # fmt: skip


def mutate(
    group: str, seed: int, number: int, originals: dict[str, Original], place: Path, folder: Path
) -> Mutation:
    """Make one mutation.

    Parameters
    ----------
    group, seed, number
        Which; see :class:`Mutation`.
    originals : dict
        Those to choose from.
    place : Path
        Where they lie.
    folder : Path
        Becomes the mutated copy. Files that are not changed are links to the same bytes.
    """
    rng = np.random.default_rng([seed, GROUPS[group], number])
    names = [name for name, one in originals.items() if one.group == group]
    original = originals[pick(rng, names)]
    shutil.copytree(place / original.name, folder, copy_function=os.link)
    path = sorted(folder.glob(pick(rng, original.targets)))[0]
    told = (group, seed, number, original.name, path.relative_to(folder).as_posix())
    kind, change = rng.random(), _targeted(path, original.name)
    if kind < _OTHER_TYPE:
        other = pick(rng, KINDS)
        outside = folder.with_name(f"{folder.name}-outside")
        _own(path)
        in_place(path, other, outside)
        return Mutation(*told, other)
    content = path.read_bytes()
    if change is None or kind > _OTHER_TYPE + _TARGETED:
        change = pick(rng, GENERAL)
    changed = change(content, rng)
    path.unlink()
    path.write_bytes(changed.content)
    return Mutation(*told, changed.note.replace("\t", " ").replace("\n", " "), changed.declares)


def _own(path: Path) -> None:
    """A copy of its own instead of a second name of the original."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
