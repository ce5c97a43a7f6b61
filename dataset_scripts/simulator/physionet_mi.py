"""Simulated PhysioNet MI: imagined movements that quench the sensorimotor rhythms.

The mu and beta rhythms over the hand area of the other side weaken while a fist is imagined, over
both hand areas for both fists, and over the vertex for the feet. Runs are shorter than the real
ones: fewer cues.
"""

from __future__ import annotations

import math
from dataclasses import replace
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
    blink,
    generator,
)
from modeling_mteeg.dataset_scripts.simulator.signals import smooth_steps as smooth

RATE_HZ = 160
LABELS = tuple(
    (
        "Fc5. Fc3. Fc1. Fcz. Fc2. Fc4. Fc6. C5.. C3.. C1.. Cz.. C2.. C4.. C6.. Cp5. Cp3. Cp1. "
        "Cpz. Cp2. Cp4. Cp6. Fp1. Fpz. Fp2. Af7. Af3. Afz. Af4. Af8. F7.. F5.. F3.. F1.. Fz.. "
        "F2.. F4.. F6.. F8.. Ft7. Ft8. T7.. T8.. T9.. T10. Tp7. Tp8. P7.. P5.. P3.. P1.. Pz.. "
        "P2.. P4.. P6.. P8.. Po7. Po3. Poz. Po4. Po8. O1.. Oz.. O2.. Iz.."
    ).split()
)
"""As in the corpus."""
CHANNELS = tuple(label.replace(".", "").upper() for label in LABELS)
RUNS = {4: "hands", 6: "pairs", 8: "hands", 10: "pairs", 12: "hands", 14: "pairs"}
SUBJECTS = {"small": 2, "demo": 8, "people": 26}
CUES = {"small": 4, "demo": 6, "people": 2}
"""Cues a run, every other one T0 (rest)."""
CUE_S = 4.1
REST = "rest"
MEANINGS = {
    "hands": {"T1": "left", "T2": "right"},
    "pairs": {"T1": "both fists", "T2": "feet"},
}
# Factor on the rhythms over the left hand area (C3), the right one (C4) and the vertex (Cz).
GAINS = {
    REST: (1.0, 1.0, 1.0),
    "left": (1.1, 0.15, 1.0),
    "right": (0.15, 1.1, 1.0),
    "both fists": (0.15, 0.15, 0.9),
    "feet": (1.15, 1.15, 0.12),
}
SITES = ("C3", "C4", "Cz")
LOCAL_SOURCES = 20
"""Independent generators of one rhythm below a site."""


def plan(root: Path, seed: int, size: str, subjects: int | None = None) -> list[Job]:
    """One job per imagery run."""
    jobs = []
    for number in range(1, 1 + (subjects or SUBJECTS[size])):
        for run in RUNS:
            path = root / f"S{number:03d}" / f"S{number:03d}R{run:02d}.edf"
            jobs.append(Job(path.stem, partial(write_run, path, number, run, seed, size)))
    return jobs


def write_run(path: Path, number: int, run: int, seed: int, size: str) -> float:
    """Write one run as EDF+ with its cues."""
    rng = generator(seed, "physionet-mi", number, run)
    codes = draw_cues(rng, CUES[size])
    meanings = {"T0": REST, **MEANINGS[RUNS[run]]}
    subject = Subject.draw(generator(seed, "physionet-mi", number))
    person = Person.of(size, seed, "physionet-mi", number)
    uv = simulate_signal(rng, subject, [meanings[code] for code in codes], person.effect)
    uv = person.recorded(uv, RATE_HZ, seed, "physionet-mi", path.stem)
    annotations = [(round(i * CUE_S, 1), CUE_S, code) for i, code in enumerate(codes)]
    write_edf(path, uv, LABELS, RATE_HZ, annotations=annotations)
    return uv.shape[1] / RATE_HZ


def draw_cues(rng: np.random.Generator, count: int) -> list[str]:
    """T0 and T1 or T2 in turn, T1 and T2 about equally often."""
    active = [("T1", "T2")[index % 2] for index in range(count // 2)]
    if rng.random() < 0.5:
        active = [{"T1": "T2", "T2": "T1"}[code] for code in active]
    shuffled = [active[index] for index in rng.permutation(len(active))]
    return [code for movement in shuffled for code in ("T0", movement)]


def simulate_signal(
    rng: np.random.Generator, subject: Subject, labels: list[str], effect: float = 1.0
) -> FloatArray:
    """EEG (64, samples) in microvolt; whole seconds, ``labels`` one per cue.

    ``effect`` is a factor on the logarithm of what a movement changes.
    """
    head = Head(CHANNELS)
    samples = math.ceil(len(labels) * CUE_S) * RATE_HZ
    # The eyes are open: the posterior rhythm is weak, the sensorimotor ones are not.
    watching = replace(subject, alpha_uv=0.3 * subject.alpha_uv,
                       background_uv=0.5 * subject.background_uv)  # fmt: skip
    uv = background(rng, head, watching, samples, RATE_HZ)
    gains = np.ones((len(SITES), samples))
    for index, label in enumerate(labels):
        # The rhythm gives way about 0.3 s after the cue.
        first, last = ((index + shift) * CUE_S + 0.3 for shift in (0, 1))
        factors = np.array(GAINS[label]) ** effect * np.exp(rng.normal(0.0, 0.1, len(SITES)))
        gains[:, round(first * RATE_HZ) : round(last * RATE_HZ)] = factors[:, None]
    mu_hz = subject.alpha_hz + 1.2
    size_uv = subject.alpha_uv + 18.0
    for site, gain in zip(SITES, gains, strict=True):
        course = smooth(gain, RATE_HZ, 0.3)
        waves = band_noise(rng, LOCAL_SOURCES, samples, RATE_HZ, mu_hz, 0.9)
        waves += 0.5 * band_noise(rng, LOCAL_SOURCES, samples, RATE_HZ, 2.0 * mu_hz, 1.8)
        head.place_region(uv, site, size_uv * course * waves, rng, 0.45, 0.15)
    for _ in range(samples // (8 * RATE_HZ)):
        wave = blink(RATE_HZ, rng.uniform(60.0, 140.0))
        head.place_event(uv, "Fpz", wave, int(rng.integers(samples)), 0.45)
    return uv * subject.amplitude
