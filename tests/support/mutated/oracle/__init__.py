"""Does a file contradict itself? Read by bytes and lines, without the package and without MNE.

Every reader gives sentences, none where nothing contradicts. They know what the formats' own rules
say of sizes, ranges, rates, times and labels; what nobody can know from the files (another sample
within the range, another name) is no contradiction.
"""

from __future__ import annotations

import stat
from pathlib import Path

from .brainvision import brainvision
from .edf import edf
from .eeglab import eeglab
from .fif import fif
from .labels import channels_table, labels
from .neuroscan import neuroscan
from .weights import weights

OPTIONAL = ("dataset_description.json", "index.parquet")
"""Files that are looked at where they are there; the index serves streams alone."""
READERS = {
    ".edf": edf, ".bdf": edf, ".cnt": neuroscan, ".vhdr": brainvision, ".set": eeglab, ".fif": fif,
}  # fmt: skip
"""Suffix of a recording to what reads it; beside it lie what belongs to it."""


def contradictions(
    folder: Path, layout: str, group: str, target: str, opened: str
) -> dict[str, list[str]]:
    """What contradicts in a folder after one of its files was changed.

    Parameters
    ----------
    folder : Path
    layout, group : str
        Of the original.
    target : str
        The file that was changed, below the folder.
    opened : str
        The recording that it is of, below the folder; empty: none.

    Returns
    -------
    dict
        ``signal``: whoever opens the file meets them; ``labels``: only who wants labels does.
    """
    path = folder / target
    kind = special(path)
    if kind.endswith(" is gone") and path.name.endswith("_channels.tsv"):
        return {"signal": [], "labels": []}  # BIDS recommends it, nothing names it
    if kind and path.name in OPTIONAL:
        return {"signal": [], "labels": []}
    if kind:
        return {"signal": [], "labels": [], "labels" if is_label(path) else "signal": [kind]}
    if group != "recordings":
        return {"signal": weights(folder, path, layout), "labels": []}
    recording = folder / opened
    suffix = recording.suffix.lower()
    found = READERS[suffix](recording) if suffix in READERS else []
    if layout == "bids":
        found += channels_table(folder / "task-press_channels.tsv", recording)
    return {"signal": found, "labels": labels(folder, layout, recording)}


def is_label(path: Path) -> bool:
    """Whether a file has labels alone."""
    names = ("trial_times.json", "labels.csv")
    ends = (".rec", "-summary.txt", "_events.tsv", "-Hypnogram.edf")
    return path.name in names or path.name.endswith(ends)


def special(path: Path) -> str:
    """Why a path is no file to be read; empty: it is one."""
    if path.is_symlink() and not path.exists():
        return f"{path.name} is a link that leads nowhere"
    if not path.exists():
        return f"{path.name} is gone"
    if not stat.S_ISREG(path.stat().st_mode):
        return f"{path.name} is no regular file"
    return ""
