"""TUEV: six kinds of events of the TUH EEG Events Corpus."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.completeness import names_missing
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording, Segment
from modeling_mteeg.dataset_scripts.reading import RecordingError
from modeling_mteeg.dataset_scripts.splits import train_or_validation
from modeling_mteeg.dataset_scripts.tuab import TUH_CHANNELS, TUH_RECORDED, TUH_REFERENCE
from modeling_mteeg.model.label_numbers import seconds_of, shown, whole_of
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.model.text_files import read_text_file

CARD = TaskCard(
    name="tuev",
    labels=("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG"),
    channels=TUH_CHANNELS,
    window_s=5.0,
    corpus="TUH EEG Events Corpus (TUEV)",
    license="TUH EEG terms of use: redistribution is not allowed",
    description=(
        "Spike and sharp waves, generalised and lateralised periodic discharges, eye movements, "
        "artifacts, background. One window per annotated row: an event marked on several channels "
        "repeats."
    ),
)
BEFORE_S = 2.0
EVENT_S = 1.0
TOLERANCE_S = 0.01
MOST_CHANNELS = 32
"""Of a row's channel, the place of a derivation: the montages have 20 or 22."""


class Tuev(Corpus):
    """TUEV, from ``edf/{train,eval}/<subject>/*.edf`` with a ``.rec`` beside each.

    A window is [start - 2 s, end + 2 s] of a row of the ``.rec`` file; where it reaches beyond the
    recording it goes on at the other end, as in the published scripts. The published evaluation
    set is the test set; of the training set the first ``floor(0.8 n)`` of the sorted subjects
    train, the others validate.

    Notes
    -----
    ``--protocol labram`` draws ``floor(0.2 n)`` of the training subjects at random for validation,
    as LaBraM's published script (dataset_maker/make_TUEV.py) and BIOT's do. They seed the draw, but
    draw from a set of names, whose order is another in every Python process, so that their split
    cannot be had again; here ``--split-seed`` decides it and is written down. The windows are the
    same.
    """

    card = CARD
    homepage = "https://isip.piconepress.com/projects/nedc/html/tuh_eeg/"
    layout = "edf/{train,eval}/*/*.edf with *.rec"
    recorded = TUH_RECORDED
    references = (
        "Harati et al. 2015. Improved EEG event classification using differential energy. IEEE "
        "Signal Processing in Medicine and Biology Symposium.",
        TUH_REFERENCE,
    )
    tags = ("event-detection", "clinical")
    protocols: ClassVar[dict[str, str]] = {
        "paper": "the published evaluation set tests; of the published training set the first "
        "80 % of the sorted subjects train, the others validate",
        "labram": "as paper, with 20 % of the training subjects drawn at random for validation "
        "(LaBraM's script, with a seed that holds)",
    }
    seeded_protocols = ("labram",)
    known_counts: ClassVar[dict[str, tuple[int, int, int]]] = {
        "v2.0.0": (67_436, 15_634, 29_421),
        "v2.0.1": (68_445, 15_487, 29_421),
    }

    def describe(self, path: Path) -> Recording:
        """A file with its ``.rec``; in train the subject is the name's first part, in eval
        the folder."""
        part, folder = ("", "", *path.parts)[-3:-1]
        subject = path.stem.split("_")[0] if part == "train" else f"eval-{folder}"
        left_out = "" if part in ("train", "eval") else f"not in a folder of {self.layout}"
        events = path.with_suffix(".rec")
        fault = ""
        if not left_out and not events.is_file():
            fault = f"{path.name}: its events {events.name} are missing; download them."
        return Recording(path.stem, subject, path, (events,), part, left_out, fault)

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """Published evaluation set for the test, 80/20 of the training subjects by name."""
        training = [recording.subject for recording in recordings if recording.group != "eval"]
        drawn = self.protocol == "labram"
        by_subject = train_or_validation(training, seed=self.split_seed, round_up=drawn)
        return {
            recording.key: "test" if recording.group == "eval" else by_subject[recording.subject]
            for recording in recordings
        }

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """The two parts, where one has no recording at all."""
        present = {recording.group for recording in recordings if not recording.left_out}
        return names_missing("parts (edf/<part>)", ("train", "eval"), present)

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """One window per row of the ``.rec`` file, in the file's order.

        Notes
        -----
        ``start`` may be negative or end beyond the recording: see :meth:`cut`. The first sample is
        the first at or after ``start - 2 s``, as in the published scripts.
        """
        path, rate = recording.companions[0], CARD.rate_hz
        result = []
        for start_s, end_s, label in read_events(path):
            if not 0 <= start_s < samples / rate:
                raise RecordingError(
                    f"{path.name}: an event starts at {start_s:g} s, the recording is "
                    f"{samples / rate:g} s long; the two files do not belong together."
                )
            if abs(end_s - start_s - EVENT_S) > TOLERANCE_S:
                raise RecordingError(
                    f"{path.name}: the event at {start_s:g} s lasts {end_s - start_s:g} s; "
                    f"expected events of {EVENT_S:g} s."
                )
            start = math.ceil(start_s * rate - 1e-6) - round(BEFORE_S * rate)
            result.append(Segment(start, label))
        return result, Counter()

    def cut(self, signal: np.ndarray, start: int, length: int) -> np.ndarray:
        """Window that wraps round the ends of the recording."""
        return np.take(signal, np.arange(start, start + length), axis=1, mode="wrap")

    def expected_windows(self, recording: Recording) -> int:
        """Rows of the ``.rec`` file."""
        path = recording.companions[0]
        return len(read_text_file(path).split()) if path.is_file() else 0


def read_events(path: Path) -> list[tuple[float, float, str]]:
    """Rows of a ``.rec`` file: start and end in seconds, and label.

    Raises
    ------
    RecordingError
        A row is not ``channel,start_s,end_s,label`` with a label from 1 to 6, a channel that a
        montage of the corpus has, and an end behind its start.
    """
    events = []
    text = read_text_file(path).decode("ascii", "replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            channel, start_s, end_s, code = line.split(",")
            whole_of(channel, 0, MOST_CHANNELS - 1)
            start, end, label = seconds_of(start_s), seconds_of(end_s), whole_of(code, 1, 6)
            if end <= start:
                raise ValueError(f"it ends at {end:g} s and starts at {start:g} s")
        except ValueError as error:
            raise RecordingError(
                f"{path.name}, line {number}: expected channel,start_s,end_s,label with a label "
                f"from 1 to 6, found {shown(line)} ({error})."
            ) from error
        events.append((start, end, CARD.labels[label - 1]))
    return events


if __name__ == "__main__":
    raise SystemExit(run_command(Tuev))
