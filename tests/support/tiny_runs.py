"""A small PhysioNet MI of six runs as EDF+ files of noise, and what a prepared folder holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import edfio
import numpy as np

from modeling_mteeg.dataset_scripts.physionet_mi import CARD

SECONDS, RATE = 26, 160
CUES = [(0.0, "T0"), (4.2, "T2"), (8.3, "T0"), (12.5, "T1"), (16.6, "T0"), (20.8, "T2")]


def write_run(
    path: Path,
    seed: int,
    channels: Sequence[str] = CARD.channels,
    unit: str = "uV",
    rate_hz: int = RATE,
    change: Callable[[str, np.ndarray], np.ndarray] = lambda name, signal: signal,
) -> None:
    """An EDF+ file of noise by channel name, with cues, as the original names its channels.

    ``change`` takes a channel's name and its samples in microvolt, and gives others.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = []
    for name in channels:
        random = np.random.default_rng([seed, *name.encode()])
        noise = change(name, random.normal(0, 20, SECONDS * rate_hz))
        label = name.capitalize().ljust(4, ".")
        signals.append(
            edfio.EdfSignal(
                noise, rate_hz, label=label, physical_dimension=unit, physical_range=(-200, 200)
            )
        )
    cues = [edfio.EdfAnnotation(onset, 4.1, text) for onset, text in CUES]
    edfio.Edf(signals, annotations=cues).write(path)


def write_runs(raw: Path) -> Path:
    """Three runs of imagery of two subjects, and one of execution."""
    for subject in (1, 2):
        for run in (4, 6, 8):
            name = f"S00{subject}R{run:02d}.edf"
            write_run(raw / f"S00{subject}" / name, 10 * subject + run)
    write_run(raw / "S001" / "S001R03.edf", 3)
    return raw


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def report(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of a report by recording."""
    header, *rows = (folder / "report.tsv").read_text("utf-8").splitlines()
    columns = header.split("\t")
    table = [dict(zip(columns, row.split("\t"), strict=True)) for row in rows]
    return {row["recording"]: row for row in table}
