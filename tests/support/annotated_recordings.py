"""Self-made recordings with labels, as laboratories have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np

CHANNELS = ("EEG C3", "EEG Cz", "EEG C4", "ECG")
CUES = ((1.0, "rest"), (4.0, "press"), (7.0, "rest"), (10.0, "cough"), (12.0, "press"))


def noise(seconds: int, seed: int, channels: int = len(CHANNELS), rate_hz: int = 200) -> np.ndarray:
    """(channels, samples) in microvolt."""
    return np.random.default_rng(seed).normal(0, 20, (channels, seconds * rate_hz))


def write_annotated(
    path: Path,
    signal_uv: np.ndarray,
    events: Sequence[tuple] = (),
    names: Sequence[str] = CHANNELS,
    rate_hz: int = 200,
) -> Path:
    """An EDF+ file; an event is (onset, text) of 2 s, or (onset, text, duration)."""
    signals = [
        edfio.EdfSignal(
            row, rate_hz, label=name, physical_dimension="uV", physical_range=(-3276.8, 3276.7)
        )
        for row, name in zip(signal_uv, names, strict=True)
    ]
    notes = [edfio.EdfAnnotation(onset, (*rest, 2.0)[0], text) for onset, text, *rest in events]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, annotations=notes).write(path)
    return path


def presses(folder: Path, people: int = 6, seconds: int = 15) -> Path:
    """``p01.edf`` ... with cues ``rest`` and ``press``, and one ``cough``.

    In ``press`` the middle channel has 10 Hz more, so there is something to learn.
    """
    for person in range(1, people + 1):
        signal = noise(seconds, person)
        time_s = np.arange(signal.shape[1]) / 200
        for onset, text in CUES:
            inside = (time_s >= onset) & (time_s < onset + 2) & (text == "press")
            signal[1] += 40 * np.sin(2 * np.pi * 10 * time_s) * inside
        write_annotated(folder / f"p{person:02d}.edf", signal, CUES)
    return folder


def bids(folder: Path, people: int = 4) -> Path:
    """``sub-01/eeg/sub-01_task-press_eeg.edf`` with an events file beside it."""
    for person in range(1, people + 1):
        stem = folder / f"sub-{person:02d}" / "eeg" / f"sub-{person:02d}_task-press"
        write_annotated(stem.with_name(f"{stem.name}_eeg.edf"), noise(15, person))
        rows = "".join(f"{onset}\t{'n/a' if text == 'cough' else 2.0}\t{text}\n"
                       for onset, text in CUES)  # fmt: skip
        table = f"onset\tduration\ttrial_type\n{rows}"
        stem.with_name(f"{stem.name}_events.tsv").write_text(table, "utf-8")
    return folder
