"""SEED-V: five emotions while watching films."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.completeness import names_missing
from modeling_mteeg.dataset_scripts.corpus import (
    Corpus,
    Recorded,
    Recording,
    Segment,
    windows_in_order,
)
from modeling_mteeg.dataset_scripts.reading import RecordingError, cnt_duration_s, load_cnt
from modeling_mteeg.dataset_scripts.splits import SPLITS
from modeling_mteeg.model.checked_files import shortened
from modeling_mteeg.model.label_numbers import MOST_S
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.model.text_files import read_text_file

SEED_CHANNELS = tuple(
    (
        "FP1 FPZ FP2 AF3 AF4 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 "
        "T7 C5 C3 C1 CZ C2 C4 C6 T8 TP7 CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 "
        "PO7 PO5 PO3 POZ PO4 PO6 PO8 CB1 O1 OZ O2 CB2"
    ).split()
)
"""The 62 scalp channels in the order of the recordings; M1, M2, VEO and HEO are not used."""

CARD = TaskCard(
    name="seed-v",
    labels=("disgust", "fear", "sad", "neutral", "happy"),
    channels=SEED_CHANNELS,
    window_s=1.0,
    corpus="SEED-V",
    license="SEED licence agreement: redistribution is not allowed",
    description="Which emotion does the film arouse? 15 films a session, windows of 1 s.",
)
START_S = {
    1: (30, 132, 287, 555, 773, 982, 1271, 1628, 1730, 2025, 2227, 2435, 2667, 2932, 3204),
    2: (30, 299, 548, 646, 836, 1000, 1091, 1392, 1657, 1809, 1966, 2186, 2333, 2490, 2741),
    3: (30, 353, 478, 674, 825, 908, 1200, 1346, 1451, 1711, 2055, 2307, 2457, 2726, 2888),
}
END_S = {
    1: (102, 228, 524, 742, 920, 1240, 1568, 1697, 1994, 2166, 2401, 2607, 2901, 3172, 3359),
    2: (267, 488, 614, 773, 967, 1059, 1331, 1622, 1777, 1908, 2153, 2302, 2428, 2709, 2817),
    3: (321, 418, 643, 764, 877, 1147, 1284, 1418, 1679, 1996, 2275, 2425, 2664, 2857, 3066),
}
_LATER = (2, 1, 3, 0, 4, 4, 0, 3, 2, 1, 3, 4, 1, 2, 0)
LABELS = {1: (4, 1, 3, 2, 0) * 3, 2: _LATER, 3: _LATER}
"""Class of every trial by session."""
TRIALS = 15
SUBJECTS = 16
TRIAL_TIMES_FILE = "trial_times.json"
_NAME = re.compile(r"(\d+)_([123])_(\d+)")


class SeedV(Corpus):
    """SEED-V, from ``<subject>_<session>_<date>.cnt``.

    Windows of 1 s without overlap within the 15 trials of a session, whose times are fixed. Trials
    1 to 5 of every session train, 6 to 10 validate, 11 to 15 test, so every subject is in every
    split, as the protocol has it.

    Notes
    -----
    Simulated sessions are shorter: their times are in ``trial_times.json`` of the raw folder,
    which is read only beside a ``SIMULATED`` file.
    """

    card = CARD
    homepage = "https://bcmi.sjtu.edu.cn/home/seed/seed-v.html"
    layout = "<subject>_<session>_<date>.cnt"
    recorded = (
        "16 subjects in three sessions each, who watched 15 film clips a session, three for each "
        "of five emotions: 62 electrodes, 1000 Hz, Neuroscan."
    )
    references = (
        "Liu et al. 2021. Comparing recognition performance and robustness of multimodal deep "
        "learning models for multimodal emotion recognition. IEEE Trans. Cognitive and "
        "Developmental Systems.",
    )
    tags = ("emotion-recognition",)
    file_pattern = "*.cnt"
    protocols: ClassVar[dict[str, str]] = {
        "paper": "of every session trials 1 to 5 train, 6 to 10 validate, 11 to 15 test"
    }
    known_counts: ClassVar[dict[str, tuple[int, int, int]]] = {
        "16 subjects": (34_432, 42_960, 40_352)
    }

    def describe(self, path: Path) -> Recording:
        """A Neuroscan file by its name; the subject is the name's first number."""
        match = _NAME.fullmatch(path.stem)
        fault = "" if match else f"{path.name}: expected a name like {self.layout}."
        subject = match[1] if match else ""
        return Recording(path.stem, subject, path, fault=fault)

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """Trials 1 to 5, 6 to 10 and 11 to 15 of every session."""
        return {
            f"{recording.key}/{_unit(trial)}": SPLITS[trial // 5]
            for recording in recordings
            for trial in range(TRIALS)
        }

    def load(self, recording: Recording) -> Recorded:
        """The 62 scalp channels in microvolt."""
        return load_cnt(recording.path, CARD.channels)

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """Every second of the 15 trials."""
        session = _session(recording)
        starts, ends = self.trial_times_s(session)
        if ends[-1] * CARD.rate_hz > samples:
            raise RecordingError(
                f"{recording.path.name}: {samples / CARD.rate_hz:g} s long, but session {session} "
                f"ends at {ends[-1]:g} s; the file is incomplete or of another session."
            )
        result = []
        for trial, (start_s, end_s) in enumerate(zip(starts, ends, strict=True)):
            start, stop = round(start_s * CARD.rate_hz), round(end_s * CARD.rate_hz)
            label = CARD.labels[LABELS[session][trial]]
            result += windows_in_order(start, stop, self.window_samples, label, _unit(trial))
        return result, Counter()

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """Sessions that are not there, of 16 subjects x 3."""
        named = [_NAME.fullmatch(recording.path.stem) for recording in recordings]
        present = {f"{int(match[1])}_{match[2]}" for match in named if match}
        wanted = [f"{subject + 1}_{session}" for subject in range(SUBJECTS) for session in LABELS]
        return names_missing("sessions (<subject>_<session>)", wanted, present)

    def trial_times_s(self, session: int) -> tuple[Sequence[float], Sequence[float]]:
        """Start and end of the 15 trials of a session in seconds."""
        path = self.raw / TRIAL_TIMES_FILE
        if self.simulation is None or not path.is_file():
            return START_S[session], END_S[session]
        return read_trial_times(path, session)

    def duration_s(self, recording: Recording) -> float:
        """Length by the Neuroscan header."""
        return cnt_duration_s(recording.path)

    def expected_windows(self, recording: Recording) -> int:
        """Seconds within the trials."""
        if recording.fault:
            return 0
        starts, ends = self.trial_times_s(_session(recording))
        return int(sum(ends) - sum(starts))


def read_trial_times(path: Path, session: int) -> tuple[list[float], list[float]]:
    """Times of one session of ``{"1": {"start": [15 seconds], "end": [15 seconds]}, ...}``."""
    try:
        times = json.loads(read_text_file(path).decode("utf-8"))[str(session)]
        starts, ends = [float(t) for t in times["start"]], [float(t) for t in times["end"]]
        ordered = [time for pair in zip(starts, ends, strict=True) for time in pair]
        rising = all(0 <= time <= MOST_S for time in ordered) and ordered == sorted(ordered)
        if len(starts) != TRIALS or not rising:
            raise ValueError(f"{len(starts)} starts, times {ordered}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path}, session {session}: expected {TRIALS} starts and ends in rising order in "
            f"seconds ({type(error).__name__}: {shortened(error)})."
        ) from error
    return starts, ends


def _session(recording: Recording) -> int:
    return int(recording.key.split("_")[1])


def _unit(trial: int) -> str:
    return f"trial-{trial + 1:02d}"


if __name__ == "__main__":
    raise SystemExit(run_command(SeedV))
