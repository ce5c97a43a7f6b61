"""EEGMAT: at rest or doing mental arithmetic? A corpus beyond the paper's six, as an example.

docs/new_corpus.md walks through such a file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording, Segment, windows_in_order
from modeling_mteeg.dataset_scripts.downloads.database import Database
from modeling_mteeg.dataset_scripts.splits import assign_in_order
from modeling_mteeg.model.task_card import TaskCard

CARD = TaskCard(
    name="eegmat",
    labels=("rest", "arithmetic"),
    channels=tuple("FP1 FP2 F3 F4 F7 F8 T3 T4 C3 C4 T5 T6 P3 P4 O1 O2 FZ CZ PZ".split()),
    window_s=5.0,
    corpus="EEG During Mental Arithmetic Tasks 1.0.0 (PhysioNet)",
    license="Open Data Commons Attribution License 1.0 (ODC-BY)",
    description="Does the person rest, or subtract two-digit numbers from a four-digit one?",
    label_of="recording",
)
_NAME = re.compile(r"Subject(\d{2})_([12])")


class Eegmat(Corpus):
    """EEGMAT, from ``SubjectNN_1.edf`` (rest) and ``SubjectNN_2.edf`` (arithmetic).

    Windows of 5 s without overlap. Of the 36 subjects in order the first 28 train, 4 validate and
    4 test, as the CBraMod study splits this corpus, so no subject is in two splits.
    """

    card = CARD
    homepage = "https://physionet.org/content/eegmat/1.0.0/"
    database = Database(
        "eegmat",
        "1.0.0",
        owner=r"Subject(\d{2})_[12]\.",
        wanted=r"Subject\d{2}_[12]\.edf",
        subject="{:02d}",
    )
    layout = "Subject00_1.edf, Subject00_2.edf ... Subject35_2.edf"
    license_id, license_link = "odc-by", "https://opendatacommons.org/licenses/by/1-0/"
    redistributable = True
    recorded = "36 students, before and during serial subtraction: 19 electrodes against the ears."
    references = (
        "Zyma et al. 2019. Electroencephalograms during Mental Arithmetic Task Performance. Data "
        "4(1), 14. Data: PhysioNet, doi:10.13026/C2JQ1P.",
    )
    tags = ("mental-workload",)
    in_order = True
    protocols: ClassVar[dict[str, str]] = {"subjects": "28/4/4 of 36 subjects in order"}

    def describe(self, path: Path) -> Recording:
        """A file by its name."""
        match = _NAME.fullmatch(path.stem)
        left_out = "" if match else "its name is not like Subject00_1.edf"
        return Recording(path.stem, match[1] if match else "", path, left_out=left_out)

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """Subjects in order."""
        subjects = {recording.subject for recording in recordings}
        by_subject = assign_in_order(subjects, (28 / 36, 4 / 36, 4 / 36))
        return {recording.key: by_subject[recording.subject] for recording in recordings}

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """Every 5 s with the label of the recording."""
        label = CARD.labels[int(recording.key[-1]) - 1]
        return windows_in_order(0, samples, self.window_samples, label), Counter()


if __name__ == "__main__":
    raise SystemExit(run_command(Eegmat))
