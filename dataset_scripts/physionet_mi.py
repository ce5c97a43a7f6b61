"""PhysioNet MI: imagined movements and rest of the EEG Motor Movement/Imagery Dataset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.completeness import names_missing
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording, Segment
from modeling_mteeg.dataset_scripts.downloads.database import Database
from modeling_mteeg.dataset_scripts.reading import RecordingError, read_annotations
from modeling_mteeg.dataset_scripts.splits import assign_in_order
from modeling_mteeg.model.task_card import TaskCard

CARD = TaskCard(
    name="physionet-mi",
    labels=("left", "right", "both fists", "feet", "rest"),
    channels=tuple(
        (
            "FC5 FC3 FC1 FCZ FC2 FC4 FC6 C5 C3 C1 CZ C2 C4 C6 CP5 CP3 CP1 CPZ CP2 CP4 CP6 "
            "FP1 FPZ FP2 AF7 AF3 AFZ AF4 AF8 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FT8 T7 T8 T9 T10 "
            "TP7 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 PO7 PO3 POZ PO4 PO8 O1 OZ O2 IZ"
        ).split()
    ),
    window_s=4.0,
    corpus="EEG Motor Movement/Imagery Dataset 1.0.0 (PhysioNet)",
    license="Open Data Commons Attribution License 1.0 (ODC-BY)",
    description="Which movement is imagined in the 4 s after the cue: left or right fist, both "
    "fists, both feet, or none (rest)?",
)
RUN_LABELS = {run: {"T0": "rest", "T1": "left", "T2": "right"} for run in (4, 8, 12)} | {
    run: {"T0": "rest", "T1": "both fists", "T2": "feet"} for run in (6, 10, 14)
}
"""What a cue means, by run of imagery."""
DROPPED_SUBJECTS = ("S088", "S090", "S092", "S100", "S104", "S106")
"""Left out by the paper, section 4.1: other sampling rates or lengths of trials."""
SUBJECTS = tuple(
    name for name in (f"S{number:03d}" for number in range(1, 110)) if name not in DROPPED_SUBJECTS
)
"""The 103 that the protocol uses."""
FOUR_CLASS_CARD = CARD.replace(
    labels=CARD.labels[:4],
    description="Which movement is imagined in the 4 s after the cue: left or right fist, both "
    "fists, or both feet?",
)
FOUR_CLASS_BORDERS = (70, 89)
"""Last subject of train and of validation."""
_NAME = re.compile(r"(S\d{3})R(\d{2})")


class PhysionetMi(Corpus):
    """PhysioNet MI, from ``S001/S001R04.edf``.

    A window is [0, 4) s after a cue of the imagery runs 4, 6, 8, 10, 12 and 14. Recordings in
    order, 64 % train, 16 % validate, 20 % test (paper, appendix B.1); a recording is a run, so a
    subject may be shared at a border: that is printed and written to the card.

    Notes
    -----
    With too few recordings for that, ``--split within-subject`` cuts every subject's windows of
    every class 64/16/20 in order: a single-subject run.

    ``--protocol four-class`` has the labels, windows and split of CBraMod's published script
    (preprocessing/preprocessing_physio.py), and of most published figures: the four movements
    without rest, all 109 subjects, of which 1 to 70 train, 71 to 89 validate and 90 to 109 test.
    The task card then has four labels. Filters and reference stay the paper's: the script has an
    average reference, a high-pass of 0.3 Hz and a notch of 60 Hz.
    """

    card = CARD
    homepage = "https://physionet.org/content/eegmmidb/1.0.0/"
    database = Database(
        "eegmmidb",
        "1.0.0",
        owner=r"(S\d{3})/",
        wanted=r"(S\d{3})/\1R(04|06|08|10|12|14)\.edf",
        subject="S{:03d}",
    )
    layout = "S001/S001R04.edf ... S109/S109R14.edf"
    license_id = "odc-by"
    license_link = "https://opendatacommons.org/licenses/by/1-0/"
    redistributable = True
    recorded = (
        "109 volunteers who moved their hands and feet, or imagined it, on a cue on a screen, with "
        "the BCI2000 system: 64 electrodes of the 10-10 system, 160 Hz."
    )
    references = (
        "Schalk et al. 2004. BCI2000: a general-purpose brain-computer interface (BCI) system. "
        "IEEE Trans. Biomedical Engineering 51(6), 1034-1043.",
        "EEG Motor Movement/Imagery Dataset 1.0.0. PhysioNet, doi:10.13026/C28G6P.",
        "Goldberger et al. 2000. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23), "
        "e215-e220.",
    )
    tags = ("motor-imagery", "brain-computer-interface")
    protocols: ClassVar[dict[str, str]] = {
        "paper": "runs in order of their names, 64 % train, 16 % validate, 20 % test; windows of "
        "[0, 4) s after each cue",
        "four-class": "without rest, all 109 subjects: 1 to 70 train, 71 to 89 validate, 90 to 109 "
        "test (CBraMod's script)",
    }
    protocol_cards: ClassVar[dict[str, TaskCard]] = {"four-class": FOUR_CLASS_CARD}
    splits = ("protocol", "within-subject")

    @property
    def four_class(self) -> bool:
        return self.protocol == "four-class"

    def describe(self, path: Path) -> Recording:
        """A run by its name; those that are not of imagery and six subjects are left out."""
        match = _NAME.fullmatch(path.stem)
        subject, run = (match[1], int(match[2])) if match else ("", 0)
        if not match:
            left_out = "its name is not like S001R04.edf"
        elif subject in DROPPED_SUBJECTS and not self.four_class:
            left_out = (
                f"subject {subject} is dropped by the protocol (sampling rate or trial length "
                "differs from the others')"
            )
        elif run not in RUN_LABELS:
            kind = "baseline" if run <= 2 else "execution"
            left_out = f"run {run} is a run of {kind}, the task is imagery"
        else:
            left_out = ""
        return Recording(path.stem, subject, path, left_out=left_out)

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """Runs in order of their names, or subjects by number."""
        if self.four_class:
            numbers = {recording.key: int(recording.subject[1:]) for recording in recordings}
            return {key: _split_of_subject(number) for key, number in numbers.items()}
        return assign_in_order(recording.key for recording in recordings)

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """Subjects without any run of imagery, and single runs of the others."""
        present = {recording.path.stem for recording in recordings if not recording.left_out}
        subjects = {name[:4] for name in present}
        wanted = sorted({*SUBJECTS, *DROPPED_SUBJECTS}) if self.four_class else SUBJECTS
        of_these = [subject for subject in wanted if subject in subjects]
        runs = [f"{subject}R{run:02d}" for subject in of_these for run in sorted(RUN_LABELS)]
        whose = f"imagery runs of {len(of_these)} subject(s)"
        return [*names_missing("subjects", wanted, subjects), *names_missing(whose, runs, present)]

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """One window per cue, in order of the cues."""
        meaning = RUN_LABELS[int(recording.key[-2:])]
        result, left_out, cues = [], Counter(), {}
        for cue in read_annotations(recording.path):
            code, start = str(cue["description"]), round(float(cue["onset"]) * CARD.rate_hz)
            if code.lower().startswith("bad"):
                continue  # a mark: windows under it are left out
            if code not in meaning:
                raise RecordingError(
                    f"{recording.path.name}: unknown cue {code!r} at {cue['onset']:g} s; expected "
                    f"{', '.join(meaning)}."
                )
            other = cues.setdefault(start, code)
            if start < 0 or other != code:
                found = "it before the start" if start < 0 else f"{other} at the same time"
                raise RecordingError(
                    f"{recording.path.name}: cue {code} at {cue['onset']:g} s: expected one cue at "
                    f"a time, from 0 s on, found {found}; download it again."
                )
            if meaning[code] not in self.card.labels:
                left_out["a cue of rest"] += 1
            elif start + self.window_samples > samples:
                left_out["beyond the end of the recording"] += 1
            else:
                result.append(Segment(start, meaning[code]))
        if not result:
            raise RecordingError(
                f"{recording.path.name}: no cues T0, T1, T2; download the EDF+ file with its "
                "annotations."
            )
        result.sort(key=lambda segment: segment.start)
        return result, left_out


def _split_of_subject(number: int) -> str:
    train, validation = FOUR_CLASS_BORDERS
    return "train" if number <= train else "validation" if number <= validation else "test"


if __name__ == "__main__":
    raise SystemExit(run_command(PhysionetMi))
