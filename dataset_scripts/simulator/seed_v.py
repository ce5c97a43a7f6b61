"""Simulated SEED-V: five emotions told apart by band power.

The pattern follows what studies of film-induced emotion report: beta and gamma over the temporal
sites rise with positive emotion, the frontal alpha asymmetry follows its sign, frontal midline
theta rises with fear, and calm states have most posterior alpha.

Sessions are shorter than the real ones; the times of their trials are in ``trial_times.json``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.simulator.cnt import write_cnt
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

RATE_HZ = 1000
CHANNELS = tuple(
    (
        "FP1 FPZ FP2 AF3 AF4 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 "
        "T7 C5 C3 C1 CZ C2 C4 C6 T8 M1 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 M2 "
        "P7 P5 P3 P1 PZ P2 P4 P6 P8 PO7 PO5 PO3 POZ PO4 PO6 PO8 CB1 O1 OZ O2 CB2 VEO HEO"
    ).split()
)
EMOTIONS = ("disgust", "fear", "sad", "neutral", "happy")
_LATER = (2, 1, 3, 0, 4, 4, 0, 3, 2, 1, 3, 4, 1, 2, 0)
LABELS = {1: (4, 1, 3, 2, 0) * 3, 2: _LATER, 3: _LATER}
"""Emotion of every trial by session (facts of the corpus)."""
DATES = {1: "20180804", 2: "20180811", 3: "20180818"}
SESSIONS = {
    "small": ((1, 1),),
    "demo": ((1, 1), (2, 2), (3, 3), (4, 1)),
    "people": tuple((number, 1 + (number - 1) % 3) for number in range(1, 9)),
}
"""(subject, session) pairs that are written."""
TRIAL_S = {"small": 1.0, "demo": 4.0, "people": 2.0}
GAP_S = 0.1
LEAD_S = 0.5
LOCAL_SOURCES = 40
"""Independent generators of one rhythm in its region."""
# Rhythm: site, size of its region, centre and width of its band in Hz, microvolt (rms) at rest.
SOURCES = {
    "temporal gamma left": ("T7", 0.7, 36.0, 5.0, 9.0),
    "temporal gamma right": ("T8", 0.7, 36.0, 5.0, 9.0),
    "temporal beta left": ("FT7", 0.7, 22.0, 3.0, 9.0),
    "temporal beta right": ("FT8", 0.7, 22.0, 3.0, 9.0),
    "frontal alpha left": ("F3", 0.5, 10.0, 1.0, 9.0),
    "frontal alpha right": ("F4", 0.5, 10.0, 1.0, 9.0),
    "midline theta": ("FZ", 0.8, 6.0, 0.8, 11.0),
    "posterior alpha": ("PZ", 0.8, 10.0, 1.0, 11.0),
}
# Factor on each source's amplitude, in the order of SOURCES.
GAINS = {
    "disgust": (0.7, 1.1, 1.6, 2.4, 1.4, 0.6, 0.8, 0.5),
    "fear": (0.8, 0.8, 0.8, 0.8, 1.2, 0.5, 2.4, 0.4),
    "sad": (0.4, 0.4, 0.5, 0.5, 1.8, 0.9, 1.6, 1.3),
    "neutral": (0.5, 0.5, 0.6, 0.6, 1.0, 1.0, 0.4, 1.9),
    "happy": (2.3, 1.7, 1.0, 0.8, 0.5, 1.3, 0.5, 0.6),
}


def plan(root: Path, seed: int, size: str, subjects: int | None = None) -> list[Job]:
    """One job per session, and the file of trial times; with ``subjects``, a session each."""
    pairs = SESSIONS[size]
    if subjects:
        pairs = tuple((number, 1 + (number - 1) % 3) for number in range(1, subjects + 1))
    times = trial_times(TRIAL_S[size])
    jobs = [Job("trial times", partial(_write_times, root, times))]
    for subject, session in pairs:
        path = root / f"{subject}_{session}_{DATES[session]}.cnt"
        jobs.append(
            Job(path.stem, partial(write_recording, path, subject, session, seed, times, size))
        )
    return jobs


def trial_times(trial_s: float) -> dict[str, list[float]]:
    """Start and end of the 15 trials in seconds, the same for all sessions."""
    starts = [round(LEAD_S + trial * (trial_s + GAP_S), 3) for trial in range(15)]
    return {"start": starts, "end": [round(start + trial_s, 3) for start in starts]}


def _write_times(root: Path, times: dict[str, list[float]]) -> float:
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps({str(session): times for session in LABELS}, indent=1) + "\n"
    (root / "trial_times.json").write_text(text, "ascii", newline="\n")
    return 0.0


def write_recording(
    path: Path, subject: int, session: int, seed: int, times: dict[str, list[float]], size: str
) -> float:
    """Write one session as a Neuroscan file."""
    person = Person.of(size, seed, "seed-v", subject)
    uv = simulate_signal(seed, subject, session, times, person.effect)
    uv = person.recorded(uv, RATE_HZ, seed, "seed-v", path.stem)
    events = [(round(start * RATE_HZ), 1 + trial) for trial, start in enumerate(times["start"])]
    write_cnt(path, uv, CHANNELS, RATE_HZ, events, Head(CHANNELS).positions)
    return uv.shape[1] / RATE_HZ


def simulate_signal(
    seed: int, subject: int, session: int, times: dict[str, list[float]], effect: float = 1.0
) -> FloatArray:
    """EEG and the four further channels (66, samples) in microvolt.

    ``effect`` is a factor on the logarithm of what an emotion changes.
    """
    head = Head(CHANNELS)
    person = Subject.draw(generator(seed, "seed-v", subject))
    rng = generator(seed, "seed-v", subject, session)
    samples = round((times["end"][-1] + LEAD_S) * RATE_HZ)
    # Wide awake: little slow background, so that the rhythms carry most of the power.
    awake = replace(person, background_uv=0.25 * person.background_uv, slope=person.slope - 0.5,
                    alpha_uv=0.5 * person.alpha_uv)  # fmt: skip
    uv = background(rng, head, awake, samples, RATE_HZ, line_hz=50.0)
    gains = np.ones((len(SOURCES), samples))
    for trial, (start, end) in enumerate(zip(times["start"], times["end"], strict=True)):
        factors = np.array(GAINS[EMOTIONS[LABELS[session][trial]]]) ** effect
        factors *= np.exp(rng.normal(0.0, 0.12, len(factors)))
        first, last = round((start - GAP_S / 2) * RATE_HZ), round((end + GAP_S / 2) * RATE_HZ)
        gains[:, first:last] = factors[:, None]
    for (site, width, centre, spread, rms), gain in zip(SOURCES.values(), gains, strict=True):
        waves = band_noise(rng, LOCAL_SOURCES, samples, RATE_HZ, centre, spread)
        waves *= rms * smooth(gain, RATE_HZ, 0.08)
        head.place_region(uv, site, waves, rng, width, 0.12)
    _add_eyes(uv, rng, head)
    return uv * person.amplitude


def _add_eyes(uv: FloatArray, rng: np.random.Generator, head: Head) -> None:
    """Blinks at the front, and the two channels beside the eyes."""
    samples = uv.shape[1]
    veo, heo = CHANNELS.index("VEO"), CHANNELS.index("HEO")
    for _ in range(samples // (6 * RATE_HZ)):
        wave, start = blink(RATE_HZ, rng.uniform(50.0, 110.0)), int(rng.integers(samples))
        head.place_event(uv, "Fpz", wave, start, 0.4)
        end = min(start + len(wave), samples)
        uv[veo, start:end] += 2.0 * wave[: end - start]
    uv[heo] += band_noise(rng, 1, samples, RATE_HZ, 0.8, 0.4)[0] * 20.0
