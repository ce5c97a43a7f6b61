"""A small Sleep-EDF of short nights as EDF files of noise, and bytes put into files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np

NIGHT_S = 180
STAGES = ("Sleep stage W", "Sleep stage 1", "Sleep stage 2", "Sleep stage 3", "Sleep stage R",
          "Sleep stage W")  # fmt: skip
"""One for every 30 s of a night."""
NIGHT_LABELS = ("EEG Fpz-Cz", "EEG Pz-Oz")


def noise(seed: int, label: str, samples: int) -> np.ndarray:
    """(samples,) of 20 microvolt; depends on seed and channel name, not on the channel's place."""
    return np.random.default_rng([seed, *label.upper().encode()]).normal(0, 20, samples)


def write_night(
    path: Path,
    seed: int,
    labels: Sequence[str] = NIGHT_LABELS,
    rate_hz: int | Sequence[int] = 100,
    unit: str = "uV",
    change=lambda label, signal: signal,
    range_uv: float = 200.0,
) -> None:
    """A night of noise; ``change`` makes a channel's samples into others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rates = [rate_hz] * len(labels) if isinstance(rate_hz, int) else rate_hz
    signals = []
    for label, rate in zip(labels, rates, strict=True):
        values = change(label, noise(seed, label, NIGHT_S * rate))
        limits = (-range_uv, range_uv)
        signals.append(
            edfio.EdfSignal(
                np.clip(values, *limits), rate, label=label, physical_dimension=unit,
                physical_range=limits,
            )
        )  # fmt: skip
    edfio.Edf(signals, data_record_duration=1).write(path)


def write_hypnogram(path: Path, stages: Sequence[str] = STAGES) -> None:
    """A stage for every 30 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [edfio.EdfAnnotation(30.0 * i, 30.0, text) for i, text in enumerate(stages)]
    edfio.Edf([], annotations=entries).write(path)


def write_nights(raw: Path, count: int = 5) -> list[Path]:
    """Nights of as many subjects; the paths of the signals."""
    paths = []
    for number in range(count):
        path = raw / "sleep-cassette" / f"SC4{number:02d}1E0-PSG.edf"
        write_night(path, number)
        write_hypnogram(path.with_name(f"SC4{number:02d}1EC-Hypnogram.edf"))
        paths.append(path)
    return paths


def put(path: Path, at: int, text: str | bytes) -> None:
    """Overwrite bytes of a file."""
    content = bytearray(path.read_bytes())
    new = text.encode("latin-1") if isinstance(text, str) else text
    content[at : at + len(new)] = new
    path.write_bytes(content)
