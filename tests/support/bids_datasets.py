"""Hand-made BIDS datasets, so that any sidecar can be odd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from annotated_recordings import noise
from recording_files import write_recording

NAMES = ("C3", "Cz", "C4", "ECG")
EVENTS = ((1.0, 2.0, "rest"), (4.0, 2.0, "press"), (7.0, "n/a", "rest"), (12.0, 2.0, "press"))


def table(path: Path, columns: str, rows: Sequence[Sequence[object]], encoding="utf-8") -> Path:
    """A ``.tsv`` with columns that are separated by blanks here."""
    lines = ["\t".join(columns.split()), *("\t".join(map(str, row)) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def channels_table(path: Path, rows: Sequence[Sequence[object]], encoding="utf-8") -> Path:
    """``channels.tsv``; a row is name, type, units, status."""
    return table(path, "name type units status", rows, encoding)


def events_table(path: Path, events: Sequence[tuple] = EVENTS) -> Path:
    """``events.tsv``; an event is onset, duration, trial_type."""
    return table(path, "onset duration trial_type", events)


def recording(
    root: Path,
    entities: str,
    seed: int = 0,
    suffix: str = ".edf",
    names: Sequence[str] = NAMES,
    signal: np.ndarray | None = None,
) -> Path:
    """A recording of 15 s at 200 Hz by its entities, such as ``sub-01_ses-1_task-press``."""
    folders = [part for part in entities.split("_") if part.startswith(("sub-", "ses-"))]
    signal = noise(15, seed, len(names)) if signal is None else signal
    return write_recording(
        root.joinpath(*folders, "eeg"), f"{entities}_eeg{suffix}", signal, names, 200
    )


def sidecar(path: Path, suffix: str) -> Path:
    """Where a recording's own sidecar lies."""
    return path.with_name(path.name.replace(f"_eeg{path.suffix}", suffix))


def dataset(root: Path, people: int = 3, sessions: Sequence[str] = (), runs: int = 1) -> Path:
    """Recordings with events of their own and one channels.tsv and description at the root."""
    for person in range(1, people + 1):
        for session in sessions or ("",):
            for run in range(1, runs + 1):
                name = f"sub-{person:02d}" + (f"_ses-{session}" if session else "") + "_task-press"
                name += f"_run-{run}" if runs > 1 else ""
                seed = 100 * person + 10 * (len(session) and ord(session[-1])) + run
                path = recording(root, name, seed)
                events_table(sidecar(path, "_events.tsv"))
    channels_table(
        root / "task-press_channels.tsv",
        [(name, "ECG" if name == "ECG" else "EEG", "uV", "good") for name in NAMES],
    )
    (root / "dataset_description.json").write_text('{"Name": "Presses", "BIDSVersion": "1.9.0"}')
    return root
