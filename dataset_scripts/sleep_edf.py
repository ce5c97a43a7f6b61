"""Sleep-EDF: five sleep stages on two bipolar channels."""

from __future__ import annotations

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
    mark_repeated,
    visible_files,
)
from modeling_mteeg.dataset_scripts.downloads.database import Database
from modeling_mteeg.dataset_scripts.reading import RecordingError, read_annotations
from modeling_mteeg.dataset_scripts.splits import assign_in_order
from modeling_mteeg.model.recording_headers import read_edf_header
from modeling_mteeg.model.task_card import TaskCard

CARD = TaskCard(
    name="sleep-edf",
    labels=("W", "N1", "N2", "N3", "REM"),
    channels=("FPZ-CZ", "PZ-OZ"),
    window_s=30.0,
    corpus="Sleep-EDF Database Expanded 1.0.0, sleep cassette",
    license="Open Data Commons Attribution License 1.0 (ODC-BY)",
    description=(
        "Which stage of sleep? Stages 3 and 4 are merged into N3; movement time and unknown stages "
        "are left out. At 100 Hz neither the 75 Hz low-pass nor the 50 Hz notch can be applied."
    ),
)
STAGES = {
    "Sleep stage W": "W",
    "Sleep stage 1": "N1",
    "Sleep stage 2": "N2",
    "Sleep stage 3": "N3",
    "Sleep stage 4": "N3",
    "Sleep stage R": "REM",
}
NO_STAGE = {"Movement time": "MOVEMENT", "Sleep stage ?": "UNKNOWN"}
HOLE = "no stage in the hypnogram"
"""Of a hole, or of what comes behind the last stage."""
TOLERANCE_S = 0.01
FAR_S = 1800.0
"""A stage that begins so long after the end is of another night; nearer ones are cut."""
WAKE_EPOCHS = 60
"""Wake that DeepSleepNet keeps on either side of sleep: 30 minutes."""
SUBJECTS = tuple(number for number in range(83) if number not in (39, 68, 69, 78, 79))
"""Numbers of the sleep-cassette study's subjects."""
LOST_NIGHTS = ("SC4132", "SC4361", "SC4521")
"""Nights that never were published: the cassette or the laser disk failed."""
NIGHTS = tuple(
    night
    for night in (f"SC4{subject:02d}{number}" for subject in SUBJECTS for number in (1, 2))
    if night not in LOST_NIGHTS
)
"""All 153 of them, as the file names begin."""
_NAME = re.compile(r"(SC4\d{2})(\d)[A-Z]\d-PSG")


class SleepEdf(Corpus):
    """Sleep-EDF, from ``SC4ssNE0-PSG.edf`` with ``SC4ssNE?-Hypnogram.edf``.

    Every 30 s epoch of the hypnogram with one of the five stages. Recordings in order, 64 % train,
    16 % validate, 20 % test (paper, appendix B.1): two nights of a subject may fall into two
    splits; that is printed and written to the card.

    Notes
    -----
    ``--protocol deepsleepnet`` keeps only 30 minutes of wake before the first and after the last
    epoch of sleep, as DeepSleepNet's published script (prepare_physionet.py); the paper does not
    mention it. They are 60 epochs, counted without movement time and unknown stages, which have
    left before. TinySleepNet's script counts those as sleep and removes them afterwards, so that it
    may keep more wake. The split is the same; those studies cross-validate over subjects.
    """

    card = CARD
    homepage = "https://physionet.org/content/sleep-edfx/1.0.0/"
    database = Database(
        "sleep-edfx",
        "1.0.0",
        owner=r"sleep-cassette/(SC4\d{2})",
        wanted=r"sleep-cassette/SC4\d{3}\w{2}-(PSG|Hypnogram)\.edf",
        subject="SC4{:02d}",
    )
    layout = "sleep-cassette/SC4ssNE0-PSG.edf with its SC4ssNE?-Hypnogram.edf"
    license_id = "odc-by"
    license_link = "https://opendatacommons.org/licenses/by/1-0/"
    redistributable = True
    recorded = (
        "Healthy adults without sleep medication, two nights each at home (the study of age "
        "effects on sleep), with a cassette recorder: 100 Hz, Fpz-Cz and Pz-Oz, hypnograms "
        "scored by hand."
    )
    references = (
        "Kemp et al. 2000. Analysis of a sleep-dependent neuronal feedback loop: the slow-wave "
        "microcontinuity of the EEG. IEEE Trans. Biomedical Engineering 47(9), 1185-1194.",
        "Sleep-EDF Database Expanded 1.0.0. PhysioNet, doi:10.13026/C2X676.",
        "Goldberger et al. 2000. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23), "
        "e215-e220.",
    )
    tags = ("sleep-staging",)
    protocols: ClassVar[dict[str, str]] = {
        "paper": "all epochs with one of the five stages; recordings in order of their names, "
        "64 % train, 16 % validate, 20 % test",
        "deepsleepnet": "only 30 min of wake before the first and after the last epoch of sleep "
        "(DeepSleepNet's script); the split of paper",
    }
    splits = ("protocol", "within-subject")

    def find_recordings(self) -> list[Recording]:
        """Sleep-cassette recordings with the hypnogram of the same night."""
        hypnograms: dict[str, list[Path]] = {}
        for path in sorted(self.raw.rglob("SC4*-Hypnogram.edf")):
            hypnograms.setdefault(path.name[:7], []).append(path)
        recordings = []
        for path in visible_files(self.raw, "*-PSG.edf"):
            match = _NAME.fullmatch(path.stem)
            subject = match[1] if match else ""
            left_out = "" if match else "not a sleep-cassette recording (SC4ssNE0-PSG.edf)"
            pair = hypnograms.get(path.name[:7], [])
            fault = ""
            if match and len(pair) != 1:
                fault = (
                    f"{path.name}: expected one hypnogram {path.name[:7]}?-Hypnogram.edf, found "
                    f"{[file.name for file in pair] or 'none'}."
                )
            key = path.stem.removesuffix("-PSG")
            recordings.append(
                Recording(key, subject, path, tuple(pair), left_out=left_out, fault=fault)
            )
        return mark_repeated(recordings)

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """Recordings in order of their names."""
        return assign_in_order(recording.key for recording in recordings)

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """Nights of the sleep-cassette study that are not there."""
        present = {recording.path.name[:6] for recording in recordings if not recording.left_out}
        return names_missing("nights (SC4<subject><night>)", NIGHTS, present)

    def load(self, recording: Recording) -> Recorded:
        """Both channels in microvolt; the hypnogram must start when the recording does."""
        psg, hypnogram = (read_edf_header(path) for path in recording.files)
        if psg.start != hypnogram.start:
            raise RecordingError(
                f"{recording.companions[0].name}: starts at {hypnogram.start}, but "
                f"{recording.path.name} at {psg.start}; they are not of one night. Download both "
                "again."
            )
        return super().load(recording)

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """The epochs of the hypnogram, in order."""
        path, rate, length = recording.companions[0], CARD.rate_hz, self.window_samples
        result: list[Segment] = []
        left_out: Counter[str] = Counter()
        for onset_s, duration_s, stage in read_stages(path, samples / rate):
            epochs = int(duration_s // CARD.window_s)
            first = round(onset_s * rate)
            inside = min(epochs, max(0, (samples - first) // length))
            if stage in STAGES:
                result += [Segment(first + epoch * length, STAGES[stage])
                           for epoch in range(inside)]  # fmt: skip
            else:
                left_out[NO_STAGE.get(stage, stage)] += inside
            left_out["beyond the end of the recording"] += epochs - inside
        left_out = +left_out  # without those that are 0
        result.sort(key=lambda segment: segment.start)
        if self.protocol == "deepsleepnet":
            kept = trim_wake(result, WAKE_EPOCHS)
            left_out["wake far from sleep"] = len(result) - len(kept)
            result = kept
        return result, left_out


def read_stages(path: Path, recorded_s: float | None = None) -> list[tuple[float, float, str]]:
    """Onset and duration in seconds and description of the stages of a hypnogram, in order.

    Seconds of the recording between two stages, or behind the last one, are stages :data:`HOLE`.

    Raises
    ------
    RecordingError
        A stage is unknown or none of whole epochs, two overlap, or one of sleep or wake begins more
        than :data:`FAR_S` after the recording of ``recorded_s`` seconds (None: unknown) has ended.
    """
    stages: list[tuple[float, float, str]] = []
    end_s = 0.0
    annotations = sorted(read_annotations(path), key=lambda annotation: float(annotation["onset"]))
    for annotation in annotations:
        onset_s, duration_s = float(annotation["onset"]), float(annotation["duration"])
        description = str(annotation["description"])
        what = f"{path.name}: {description!r} at {onset_s:g} s"
        if description not in STAGES and description not in NO_STAGE:
            raise RecordingError(
                f"{path.name}: unknown stage {description!r} at {onset_s:g} s; expected "
                f"{', '.join([*STAGES, *NO_STAGE])}."
            )
        if onset_s < 0 or (duration_s % CARD.window_s and description in STAGES):
            raise RecordingError(
                f"{what} lasts {duration_s:g} s; expected whole epochs of {CARD.window_s:g} s from "
                "0 s on."
            )
        if onset_s < end_s - TOLERANCE_S:
            raise RecordingError(
                f"{what} overlaps {stages[-1][2]!r} before it, which lasts until {end_s:g} s; "
                "download it again."
            )
        if recorded_s is not None and onset_s > recorded_s + FAR_S and description in STAGES:
            raise RecordingError(
                f"{what} lies far outside the recording of {recorded_s:g} s; they are not of one "
                "night. Download both again."
            )
        if onset_s > end_s + TOLERANCE_S:
            stages.append((end_s, onset_s - end_s, HOLE))
        stages.append((onset_s, duration_s, description))
        end_s = onset_s + duration_s
    if recorded_s is not None and recorded_s > end_s:
        stages.append((end_s, recorded_s - end_s, HOLE))
    return stages


def trim_wake(segments: Sequence[Segment], epochs: int) -> list[Segment]:
    """Segments in order, without those more than ``epochs`` before or after all sleep."""
    asleep = [index for index, segment in enumerate(segments) if segment.label != "W"]
    if not asleep:
        return list(segments)
    return list(segments[max(0, asleep[0] - epochs) : asleep[-1] + epochs + 1])


if __name__ == "__main__":
    raise SystemExit(run_command(SleepEdf))
