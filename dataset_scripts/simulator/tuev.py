"""Simulated TUEV: six kinds of events, each in a stretch of its own.

A ``.rec`` row is ``channel,start_s,end_s,label``; the channel counts the 22 derivations of the
TCP montage, the labels are 1 SPSW, 2 GPED, 3 PLED, 4 EYEM, 5 ARTF, 6 BCKG.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.simulator.edf import write_edf
from modeling_mteeg.dataset_scripts.simulator.head import FloatArray, Head
from modeling_mteeg.dataset_scripts.simulator.jobs import Job, tuh_subject
from modeling_mteeg.dataset_scripts.simulator.people import Person
from modeling_mteeg.dataset_scripts.simulator.signals import (
    Subject,
    background,
    blink,
    generator,
    muscle_burst,
    periodic_discharge,
    spike_and_wave,
)
from modeling_mteeg.dataset_scripts.simulator.tuab import CHANNELS

LABELS = ("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG")
TRAIN_SUBJECTS = {"small": 5, "demo": 12, "people": 14}
EVAL_SUBJECTS = {"small": 1, "demo": 3, "people": 6}
BLOCK_S = {"small": 6, "demo": 9, "people": 6}
"""Length of the stretch of one kind of event."""
EVENT_S = 1.0
INTERVAL_S = 1.4
"""From the start of one event to the next."""
SIDES = {"left": ("T3", "F7", "C3", "P3"), "right": ("T4", "F8", "C4", "P4")}
# Derivations of the TCP montage in which an event at these electrodes is marked.
DERIVATIONS = {
    "left": (0, 1, 2, 14, 15),
    "right": (4, 5, 6, 18, 19),
    "front": (0, 4, 14, 18),
    "all": tuple(range(22)),
}


def plan(root: Path, seed: int, size: str, subjects: int | None = None) -> list[Job]:
    """One job per recording; ``subjects`` is the number of training subjects."""
    train = subjects or TRAIN_SUBJECTS[size]
    evaluation = max(EVAL_SUBJECTS[size], round(0.35 * train)) if subjects else EVAL_SUBJECTS[size]
    paths = []
    for index in range(train):
        name = tuh_subject(20_000 + index)
        paths.append(root / "edf" / "train" / name / f"{name}_00000001.edf")
    for index in range(evaluation):
        paths.append(root / "edf" / "eval" / f"{index:03d}" / f"bckg_{index:03d}_a_.edf")
    return [Job(path.stem, partial(write_recording, path, seed, size)) for path in paths]


def write_recording(path: Path, seed: int, size: str) -> float:
    """Write one EDF file and its ``.rec``."""
    rng = generator(seed, "tuev", path.stem)
    rate_hz = float(rng.choice((250, 256)))
    person = Person.of(size, seed, "tuev", path.stem)
    uv, rows = simulate_signal(rng, BLOCK_S[size], rate_hz, person.effect)
    uv = person.recorded(uv, rate_hz, seed, "tuev", path.stem)
    write_edf(path, uv, [f"EEG {channel}-REF" for channel in CHANNELS], rate_hz)
    lines = [f"{channel},{start:.1f},{end:.1f},{code}\n" for channel, start, end, code in rows]
    path.with_suffix(".rec").write_text("".join(lines), "ascii", newline="\n")
    return uv.shape[1] / rate_hz


def simulate_signal(
    rng: np.random.Generator, block_s: int, rate_hz: float, effect: float = 1.0
) -> tuple[FloatArray, list[tuple[int, float, float, int]]]:
    """EEG (23, samples) in microvolt, and the rows of the ``.rec`` file in order of time.

    ``effect`` is a factor on the events.
    """
    head = Head(CHANNELS)
    subject = Subject.draw(rng)
    uv = background(rng, head, subject, round(len(LABELS) * block_s * rate_hz), rate_hz)
    rows = []
    for block, kind in enumerate(rng.permutation(len(LABELS))):
        label, start_s = LABELS[kind], float(block * block_s)
        side = str(rng.choice(("left", "right")))
        site = str(rng.choice(SIDES[side]))
        if label in ("GPED", "PLED"):
            span_s = (start_s, start_s + block_s)
            _add_periodic(uv, rng, head, rate_hz, span_s, label, site, effect)
        where = {"GPED": "all", "EYEM": "front"}.get(label, side)
        at = start_s + 0.5
        while at + EVENT_S <= start_s + block_s:
            _add_event(uv, rng, head, rate_hz, at, label, site, effect)
            # Some events are marked on two derivations: two rows, two samples.
            marked = rng.choice(DERIVATIONS[where], 1 + int(rng.random() < 0.15), replace=False)
            rows += [(int(c), at, at + EVENT_S, int(kind) + 1) for c in sorted(marked)]
            at = round(at + INTERVAL_S, 1)
    return uv * subject.amplitude, rows


def _add_periodic(
    uv: FloatArray,
    rng: np.random.Generator,
    head: Head,
    rate_hz: float,
    span_s: tuple[float, float],
    label: str,
    site: str,
    effect: float,
) -> None:
    """Discharges at about 1 Hz through a stretch: everywhere (GPED) or on one side (PLED)."""
    period_s = rng.uniform(0.8, 1.2)
    size_uv = effect * rng.uniform(80.0, 140.0)
    at = span_s[0] + rng.uniform(0.0, 0.4)
    while at + 0.4 < span_s[1]:
        wave = periodic_discharge(rate_hz, size_uv * rng.uniform(0.8, 1.2), rng)
        start = round(at * rate_hz)
        if label == "GPED":
            head.place_event(uv, "Cz", wave, start, 1.3)
        else:
            head.place_event(uv, site, wave, start, 0.6)
        at += period_s * rng.uniform(0.93, 1.07)


def _add_event(
    uv: FloatArray,
    rng: np.random.Generator,
    head: Head,
    rate_hz: float,
    at_s: float,
    label: str,
    site: str,
    effect: float,
) -> None:
    """One event of a second; background and periodic discharges add nothing here."""
    start = round((at_s + rng.uniform(0.05, 0.3)) * rate_hz)
    if label == "SPSW":
        wave = spike_and_wave(rate_hz, effect * rng.uniform(140.0, 240.0), rng)
        head.place_event(uv, site, wave, start, 0.55)
    elif label == "EYEM":
        if rng.random() < 0.7:
            wave = blink(rate_hz, effect * rng.uniform(110.0, 220.0), rng.uniform(0.3, 0.5))
            head.place_event(uv, "Fpz", wave, start, 0.5)
        else:  # a glance to one side: opposite signs at F7 and F8
            wave = effect * blink(rate_hz, rng.uniform(60.0, 120.0), 0.6) * rng.choice((-1.0, 1.0))
            head.place_event(uv, "F7", wave, start, 0.4)
            head.place_event(uv, "F8", -wave, start, 0.4)
    elif label == "ARTF":
        for name in rng.choice(("T3", "T4", "F7", "F8", "FP1", "FP2"), 3, replace=False):
            wave = effect * muscle_burst(rng, rate_hz, 0.8, rng.uniform(25.0, 60.0))
            head.place_event(uv, str(name), wave, start, 0.3)
