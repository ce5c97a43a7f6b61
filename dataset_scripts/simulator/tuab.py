"""Simulated TUAB: resting recordings, normal or with slowing.

Abnormal recordings have a slower, weaker posterior rhythm and more theta and delta, all over the
head or over one focus (the two commonest abnormal findings in routine recordings).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.simulator.edf import write_edf
from modeling_mteeg.dataset_scripts.simulator.head import Head
from modeling_mteeg.dataset_scripts.simulator.jobs import Job, tuh_subject
from modeling_mteeg.dataset_scripts.simulator.people import Person
from modeling_mteeg.dataset_scripts.simulator.signals import (
    Subject,
    background,
    band_noise,
    blink,
    generator,
)

CHANNELS = tuple("FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ T1 T2".split())
LENGTH_S = {"small": 20, "demo": 50, "people": 30}
TRAIN_SUBJECTS = {"small": 5, "demo": 9, "people": 12}
"""Per class."""
EVAL_SUBJECTS = {"small": 1, "demo": 3, "people": 6}
FOCI = ("T3", "T4", "F7", "F8", "T5", "T6")


def plan(root: Path, seed: int, size: str, subjects: int | None = None) -> list[Job]:
    """One job per recording; ``subjects`` is the number of training subjects per class."""
    train = subjects or TRAIN_SUBJECTS[size]
    evaluation = max(EVAL_SUBJECTS[size], round(0.3 * train)) if subjects else EVAL_SUBJECTS[size]
    jobs = []
    for part, count, first in (("train", train, 0), ("eval", evaluation, 10_000)):
        for index in range(2 * count):
            label = ("normal", "abnormal")[index % 2]
            name = tuh_subject(first + index)
            folder = root / "edf" / part / label / "01_tcp_ar"
            write = partial(write_recording, folder, name, label, seed, size)
            jobs.append(Job(name, write))
    return jobs


def write_recording(folder: Path, name: str, label: str, seed: int, size: str) -> float:
    """Write ``<name>_s001_t000.edf``; half of the subjects at 250, half at 256 Hz."""
    rng, length_s = generator(seed, "tuab", name), LENGTH_S[size]
    person = Person.of(size, seed, "tuab", name)
    rate_hz = float(rng.choice((250, 256)))
    reference = "LE" if rng.random() < 0.25 else "REF"
    samples = round(length_s * rate_hz)
    uv = simulate_signal(rng, label == "abnormal", samples, rate_hz, person.effect)
    uv = person.recorded(uv, rate_hz, seed, "tuab", name)
    labels = [f"EEG {channel}-{reference}" for channel in CHANNELS]
    write_edf(folder / f"{name}_s001_t000.edf", uv, labels, rate_hz)
    return float(length_s)


def simulate_signal(
    rng: np.random.Generator, abnormal: bool, samples: int, rate_hz: float, effect: float = 1.0
) -> np.ndarray:
    """EEG (23, samples) in microvolt; ``effect`` is a factor on the slowing."""
    head = Head(CHANNELS)
    subject = Subject.draw(rng)
    if abnormal:
        subject = replace(
            subject,
            alpha_hz=rng.uniform(7.0, 9.0),
            alpha_uv=subject.alpha_uv * rng.uniform(0.5, 1.0),
        )
    uv = background(rng, head, subject, samples, rate_hz)
    if abnormal:
        _add_slowing(uv, rng, head, rate_hz, effect)
    else:  # drowsiness: a little theta is normal
        theta = band_noise(rng, 1, samples, rate_hz, rng.uniform(4.5, 6.2), 0.7)[0]
        head.place(uv, "Cz", rng.uniform(0.0, 8.0) * theta, 0.8)
    for _ in range(int(samples / rate_hz / rng.uniform(4.0, 12.0))):
        wave = blink(rate_hz, rng.uniform(60.0, 140.0))
        head.place_event(uv, "Fpz", wave, int(rng.integers(samples)), 0.5)
    return uv * subject.amplitude


def _add_slowing(
    uv: np.ndarray, rng: np.random.Generator, head: Head, rate_hz: float, effect: float
) -> None:
    """Theta and delta, generalised or focal."""
    samples = uv.shape[1]
    delta = band_noise(rng, 3, samples, rate_hz, rng.uniform(1.6, 2.8), 0.7)
    theta = band_noise(rng, 3, samples, rate_hz, rng.uniform(4.5, 6.2), 0.7)
    severity = effect * rng.uniform(0.65, 1.3)
    if rng.random() < 0.6:
        for site, slow, faster in zip(("Fz", "C3", "C4"), delta, theta, strict=True):
            head.place(uv, site, severity * (12.0 * slow + 9.0 * faster), 0.8)
    else:
        focus = str(rng.choice(FOCI))
        head.place(uv, focus, severity * (30.0 * delta[0] + 17.0 * theta[0]), 0.55)
        head.place(uv, "Cz", severity * 7.0 * theta[1], 0.9)
