"""Simulated CHB-MIT: bipolar recordings of children, some with a seizure.

A seizure starts at a focus as a faint fast rhythm, which slows, grows and spreads until it stops
abruptly. Chewing and bursts of slow waves outside seizures make it less than trivial to find.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.simulator.edf import write_edf
from modeling_mteeg.dataset_scripts.simulator.head import FloatArray, Head
from modeling_mteeg.dataset_scripts.simulator.jobs import Job
from modeling_mteeg.dataset_scripts.simulator.people import Person
from modeling_mteeg.dataset_scripts.simulator.signals import (
    Subject,
    background,
    band_noise,
    generator,
    muscle_burst,
)

RATE_HZ = 256
DERIVATIONS = tuple(
    (
        "FP1-F7 F7-T7 T7-P7 P7-O1 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2 "
        "FP2-F8 F8-T8 T8-P8 P8-O2 FZ-CZ CZ-PZ P7-T7 T7-FT9 FT9-FT10 FT10-T8 T8-P8"
    ).split()
)
"""As in most files of the corpus; T8-P8 occurs twice."""
ELECTRODES = tuple(dict.fromkeys(part for name in DERIVATIONS for part in name.split("-")))
CASES = {
    "small": (1, 2, 20, 22),
    "demo": (1, 2, 3, 4, 5, 20, 21, 22, 23),
    "people": (*range(1, 9), 20, 21, 22, 23),
}
LENGTH_S = {"small": 60, "demo": 90, "people": 80}
SEIZURE_S = {"small": (18, 20), "demo": (22, 34), "people": (18, 22)}
SAME_SUBJECT = {21: 1}
OPPOSITE = {"T7": "T8", "F7": "F8", "P7": "P8", "C3": "C4", "F3": "F4"}
OPPOSITE |= {right: left for left, right in OPPOSITE.items()}
FOCI = tuple(OPPOSITE)


@dataclass(frozen=True)
class File:
    """One recording of a case: its name, length and seizures (start, end) in seconds."""

    name: str
    length_s: int
    seizures: tuple[tuple[int, int], ...]


def plan(root: Path, seed: int, size: str, subjects: int | None = None) -> list[Job]:
    """One job per case; ``subjects`` is the number of training cases (at most 19)."""
    cases: Sequence[int] = CASES[size]
    if subjects:
        cases = (*range(1, 1 + min(subjects, 19)), *(case for case in cases if case >= 20))
    return [Job(f"chb{case:02d}", partial(write_case, root, case, seed, size)) for case in cases]


def plan_files(seed: int, case: int, size: str) -> list[File]:
    """The files of a case: one with a seizure, in case 2 also one without."""
    rng = generator(seed, "chb-mit", "files", case)
    duration = int(rng.integers(*SEIZURE_S[size]))
    length = LENGTH_S[size]
    start = int(rng.integers(length // 4, length - duration - length // 6))
    suffix = "+" if case == 2 else ""
    files = [File(f"chb{case:02d}_16{suffix}.edf", length, ((start, start + duration),))]
    if case == 2:
        files.append(File("chb02_17.edf", length // 2, ()))
    return files


def write_case(root: Path, case: int, seed: int, size: str) -> float:
    """Write the recordings of a case and its summary."""
    folder = root / f"chb{case:02d}"
    files = plan_files(seed, case, size)
    human = Person.of(size, seed, "chb-mit", SAME_SUBJECT.get(case, case))
    for index, file in enumerate(files):
        uv = simulate_signal(seed, case, file, human.effect)
        uv = human.recorded(uv, RATE_HZ, seed, "chb-mit", file.name)
        start = datetime.time(11 + index, 42, 54)
        write_edf(folder / file.name, uv, DERIVATIONS, RATE_HZ, start_time=start)
    text = summary(files, numbered=case % 2 == 0)
    (folder / f"chb{case:02d}-summary.txt").write_text(text, "ascii", newline="\n")
    return float(sum(file.length_s for file in files))


def summary(files: Sequence[File], numbered: bool) -> str:
    """Text of ``chbNN-summary.txt``; ``numbered`` is the spelling "Seizure 1 Start Time:"."""
    lines = [f"Data Sampling Rate: {RATE_HZ} Hz", "*" * 25, "", "Channels in EDF Files:", "*" * 22]
    lines += [f"Channel {index}: {name}" for index, name in enumerate(DERIVATIONS, start=1)]
    for index, file in enumerate(files):
        minutes, seconds = divmod(54 + file.length_s, 60)
        lines += [
            "",
            f"File Name: {file.name}",
            f"File Start Time: {11 + index}:42:54",
            f"File End Time: {11 + index}:{42 + minutes}:{seconds:02d}",
            f"Number of Seizures in File: {len(file.seizures)}",
        ]
        for number, (start, end) in enumerate(file.seizures, start=1):
            which = f"Seizure {number}" if numbered else "Seizure"
            lines.append(f"{which} Start Time: {start} seconds")
            lines.append(f"{which} End Time: {end} seconds")
    return "\n".join(lines) + "\n"


def person(seed: int, case: int) -> tuple[Subject, str]:
    """Who was recorded in a case, and where the seizures start."""
    rng = generator(seed, "chb-mit", SAME_SUBJECT.get(case, case))
    subject = Subject.draw(rng)
    # Children have more slow background than adults.
    subject = replace(subject, background_uv=1.5 * subject.background_uv)
    return subject, str(rng.choice(FOCI))


def simulate_signal(seed: int, case: int, file: File, effect: float = 1.0) -> FloatArray:
    """EEG (23 derivations, samples) in microvolt; ``effect`` is a factor on seizures."""
    subject, focus = person(seed, case)
    rng = generator(seed, "chb-mit", case, file.name)
    head = Head(ELECTRODES)
    samples = file.length_s * RATE_HZ
    uv = background(rng, head, subject, samples, RATE_HZ)
    _add_distractors(uv, rng, head)
    for start, end in file.seizures:
        _add_seizure(uv, rng, head, focus, start * RATE_HZ, end * RATE_HZ, effect)
    index = {name: row for row, name in enumerate(ELECTRODES)}
    pairs = [name.split("-") for name in DERIVATIONS]
    bipolar = uv[[index[a] for a, _ in pairs]] - uv[[index[b] for _, b in pairs]]
    return bipolar * subject.amplitude


def _add_distractors(uv: FloatArray, rng: np.random.Generator, head: Head) -> None:
    """Chewing, and bursts of slow waves as in drowsy children."""
    samples = uv.shape[1]
    for _ in range(max(1, samples // (30 * RATE_HZ))):
        at = int(rng.integers(samples))
        for bite in range(int(rng.integers(3, 7))):
            for site in ("T7", "T8"):
                wave = muscle_burst(rng, RATE_HZ, 0.4, rng.uniform(20.0, 50.0))
                head.place_event(uv, site, wave, at + bite * RATE_HZ * 7 // 10, 0.4)
    for _ in range(max(1, samples // (15 * RATE_HZ))):
        length = round(rng.uniform(2.0, 4.0) * RATE_HZ)
        wave = band_noise(rng, 1, length, RATE_HZ, rng.uniform(2.0, 5.0), 0.5)[0]
        wave *= np.hanning(length).astype(np.float32) * rng.uniform(40.0, 80.0)
        site = str(rng.choice(("Fz", "Cz", "T7", "T8")))
        head.place_event(uv, site, wave, int(rng.integers(samples)), 0.9)


def _add_seizure(
    uv: FloatArray,
    rng: np.random.Generator,
    head: Head,
    focus: str,
    start: int,
    stop: int,
    effect: float,
) -> None:
    """A rhythm that slows from about 8 to 3 Hz, grows, and spreads from its focus."""
    progress = np.linspace(0.0, 1.0, stop - start)
    frequency = rng.uniform(6.5, 9.0) + progress * (rng.uniform(2.5, 3.5) - 7.5)
    frequency = np.maximum(frequency, 2.2)
    phase = 2.0 * np.pi * np.cumsum(frequency) / RATE_HZ
    # A second harmonic makes the waves sharp.
    rhythm = np.sin(phase) + (0.2 + 0.5 * progress) * np.sin(2.0 * phase + 0.7)
    rhythm *= 1.0 + 0.15 * band_noise(rng, 1, stop - start, RATE_HZ, 0.5, 0.3)[0]
    size_uv = 20.0 + rng.uniform(60.0, 120.0) * np.minimum(1.0, 1.4 * progress)
    wave = effect * size_uv * rhythm
    spread = np.minimum(1.0, 1.3 * progress)
    part, delay = uv[:, start:stop], round(0.03 * RATE_HZ)
    head.place(part, focus, wave, 0.5)
    head.place(part, "Cz", 0.6 * spread * np.roll(wave, delay), 0.5)
    head.place(part, OPPOSITE[focus], 0.8 * spread**2 * np.roll(wave, 2 * delay), 0.5)
