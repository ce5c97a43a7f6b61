"""Simulated Sleep-EDF: nights of about 17 minutes in 30 s epochs.

Wake has alpha, blinks and muscle tone; N1 theta and slow eye movements; N2 spindles and
K-complexes; N3 slow waves of 0.5 to 2 Hz; REM mixed low activity with rapid eye movements.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.simulator.edf import Extra, write_annotations, write_edf
from modeling_mteeg.dataset_scripts.simulator.head import FloatArray
from modeling_mteeg.dataset_scripts.simulator.jobs import Job
from modeling_mteeg.dataset_scripts.simulator.people import Person
from modeling_mteeg.dataset_scripts.simulator.signals import (
    Subject,
    band_noise,
    blink,
    coloured_noise,
    generator,
    k_complex,
    spindle,
)

RATE_HZ = 100
EPOCH_S = 30
LABELS = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")
# Stages in order with the number of epochs; 3 and 4 are both deep sleep.
NIGHTS = {
    "small": "W2 12 23 31 41 R2 M1 W1 ?1",
    "demo": "W4 13 26 32 42 23 R5 M1 12 23 32 R2 W2 ?1",
    "people": "W2 12 23 31 41 R3 ?1",
}
RECORDINGS = {"small": 5, "demo": 10, "people": 30}
NIGHTS_EACH = {"small": 2, "demo": 2, "people": 1}
SCORERS = "CHJV"
TEXTS = {"M": "Movement time"}


def plan(root: Path, seed: int, size: str, subjects: int | None = None) -> list[Job]:
    """One job per night, two nights a subject, or one at size ``people``."""
    each = NIGHTS_EACH[size]
    count = each * subjects if subjects else RECORDINGS[size]
    jobs = []
    for index in range(count):
        night = f"SC4{index // each:02d}{index % each + 1}"
        jobs.append(Job(night, partial(write_night, root / "sleep-cassette", night, seed, size)))
    return jobs


def stage_epochs(rng: np.random.Generator, size: str) -> list[str]:
    """Stage of every epoch: the night's pattern with runs one shorter or longer at random."""
    epochs: list[str] = []
    for run in NIGHTS[size].split():
        stage, count = run[0], int(run[1])
        if size == "demo" and count > 2:
            count += int(rng.integers(-1, 2))
        epochs += [stage] * count
    return epochs


def write_night(folder: Path, night: str, seed: int, size: str) -> float:
    """Write ``<night>E0-PSG.edf`` and its hypnogram."""
    rng = generator(seed, "sleep-edf", night)
    subject = Subject.draw(generator(seed, "sleep-edf", night[:5]))
    epochs = stage_epochs(rng, size)
    person = Person.of(size, seed, "sleep-edf", night[:5])
    uv = simulate_signal(rng, subject, epochs, person.effect)
    uv = person.recorded(uv, RATE_HZ, seed, "sleep-edf", night)
    slow = _slow_channels(rng, epochs)
    write_edf(folder / f"{night}E0-PSG.edf", uv, LABELS, RATE_HZ, extras=slow)
    scorer = SCORERS[int(rng.integers(len(SCORERS)))]
    write_annotations(folder / f"{night}E{scorer}-Hypnogram.edf", _hypnogram(epochs))
    return float(len(epochs) * EPOCH_S)


def _hypnogram(epochs: list[str]) -> list[tuple[float, float, str]]:
    """One annotation for every run of equal stages."""
    runs: list[tuple[float, float, str]] = []
    for index, stage in enumerate(epochs):
        text = TEXTS.get(stage, f"Sleep stage {stage}")
        if runs and runs[-1][2] == text:
            onset, duration, _ = runs[-1]
            runs[-1] = (onset, duration + EPOCH_S, text)
        else:
            runs.append((float(index * EPOCH_S), float(EPOCH_S), text))
    return runs


def simulate_signal(
    rng: np.random.Generator, subject: Subject, epochs: list[str], effect: float = 1.0
) -> FloatArray:
    """Fpz-Cz, Pz-Oz and horizontal EOG, (3, samples) in microvolt.

    ``effect`` is a factor on what is typical of a stage.
    """
    length = EPOCH_S * RATE_HZ
    samples = length * len(epochs)
    common = coloured_noise(rng, 3, samples, RATE_HZ, subject.slope)
    uv = common * np.array([[9.0], [7.0], [9.0]], np.float32)
    uv += rng.standard_normal(uv.shape, dtype=np.float32) * subject.noise_uv
    for index, stage in enumerate(epochs):
        part = uv[:, index * length : (index + 1) * length]
        _add_stage(part, rng, subject, stage, effect)
    return uv * subject.amplitude


def _add_stage(
    uv: FloatArray, rng: np.random.Generator, subject: Subject, stage: str, effect: float
) -> None:
    """Add what is typical of a stage to one epoch (3, samples)."""
    samples = uv.shape[1]

    def rhythm(row: int, centre_hz: float, width_hz: float, size_uv: float) -> None:
        uv[row] += effect * size_uv * band_noise(rng, 1, samples, RATE_HZ, centre_hz, width_hz)[0]

    def scatter(row: int, wave: FloatArray, factor: float = 1.0) -> None:
        start = int(rng.integers(0, samples - len(wave)))
        uv[row, start : start + len(wave)] += effect * factor * wave
        uv[2, start : start + len(wave)] += effect * 0.3 * wave

    if stage in "W?M":
        rhythm(1, subject.alpha_hz, 0.6, rng.uniform(0.25, 1.1) * subject.alpha_uv)
        rhythm(0, 22.0, 4.0, rng.uniform(1.0, 4.0))
        for _ in range(int(rng.integers(1, 7))):
            scatter(0, blink(RATE_HZ, rng.uniform(60.0, 130.0)))
        if stage == "M":
            uv += rng.standard_normal(uv.shape, dtype=np.float32) * 60.0
    elif stage == "1":
        rhythm(0, 5.5, 0.9, rng.uniform(3.0, 8.0))
        rhythm(1, 5.5, 0.9, rng.uniform(3.0, 7.0))
        rhythm(1, subject.alpha_hz, 0.6, rng.uniform(0.1, 0.6) * subject.alpha_uv)
        rhythm(2, 0.4, 0.15, 40.0)
    elif stage == "2":
        rhythm(0, 3.5, 1.2, rng.uniform(5.0, 15.0))
        for _ in range(int(rng.integers(2, 6))):
            scatter(0, spindle(rng, RATE_HZ, rng.uniform(18.0, 36.0)))
        for _ in range(int(rng.integers(1, 4))):
            scatter(0, k_complex(RATE_HZ, rng.uniform(70.0, 120.0)))
        for _ in range(int(rng.integers(1, 4))):
            scatter(1, spindle(rng, RATE_HZ, rng.uniform(12.0, 25.0)))
    elif stage in "34":
        size_uv = rng.uniform(14.0, 32.0) * (1.25 if stage == "4" else 1.0)
        rhythm(0, 1.0, 0.4, size_uv)
        rhythm(1, 1.0, 0.4, 0.6 * size_uv)
    elif stage == "R":
        rhythm(0, 5.0, 1.5, rng.uniform(3.0, 8.0))
        rhythm(0, 20.0, 5.0, rng.uniform(0.5, 3.0))
        for _ in range(int(rng.integers(3, 10))):
            wave = blink(RATE_HZ, rng.uniform(30.0, 70.0) * rng.choice((-1.0, 1.0)), 0.7)
            scatter(0, wave)


def _slow_channels(rng: np.random.Generator, epochs: list[str]) -> list[Extra]:
    """The four channels that the corpus records at 1 Hz."""
    seconds = len(epochs) * EPOCH_S
    time = np.arange(seconds)
    tone = np.repeat([4.0 if stage in "WM" else 0.7 if stage == "R" else 1.8 for stage in epochs],
                     EPOCH_S)  # fmt: skip
    return [
        Extra("Resp oro-nasal", "", 300.0 * np.sin(0.5 * np.pi * time + 0.3), 1, (-2048.0, 2047.0)),
        Extra("EMG submental", "uV", tone * rng.uniform(0.7, 1.3, seconds), 1, (-5.0, 5.0)),
        Extra("Temp rectal", "DegC", np.full(seconds, 37.1), 1, (34.0, 40.0)),
        Extra("Event marker", "", np.zeros(seconds), 1, (-2047.0, 2048.0)),
    ]
