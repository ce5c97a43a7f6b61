"""TUAB: normal and abnormal recordings of the TUH Abnormal EEG Corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.completeness import number_differs
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording, Segment, windows_in_order
from modeling_mteeg.dataset_scripts.splits import train_or_validation
from modeling_mteeg.model.task_card import TaskCard

TUH_CHANNELS = tuple(
    "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ T1 T2".split()
)
"""The 23 referential channels of TUAB and TUEV, in the published order."""
TUH_RECORDED = (
    "Patients of the Temple University Hospital in Philadelphia, in clinical routine: electrodes "
    "of the 10-20 system against a common reference, at 250 Hz and more."
)
TUH_REFERENCE = (
    "Obeid and Picone 2016. The Temple University Hospital EEG Data Corpus. Frontiers in "
    "Neuroscience 10, 196."
)

CARD = TaskCard(
    name="tuab",
    labels=("normal", "abnormal"),
    channels=TUH_CHANNELS,
    window_s=10.0,
    corpus="TUH Abnormal EEG Corpus (TUAB)",
    license="TUH EEG terms of use: redistribution is not allowed",
    description="Is the recording normal or abnormal? Every window has its recording's label.",
    label_of="recording",
)
RECORDINGS = {
    "train/normal": 1371,
    "train/abnormal": 1346,
    "eval/normal": 150,
    "eval/abnormal": 126,
}
"""Files of v3.0.1 (2,993)."""


class Tuab(Corpus):
    """TUAB, from ``edf/{train,eval}/{normal,abnormal}/01_tcp_ar/*.edf``.

    Windows of 10 s without overlap. The published evaluation set is the test set. Of the published
    training set, 80 % of the subjects train and the others validate (paper, appendix B.1).

    Notes
    -----
    The rule is the fixed one of the study whose window counts are known: within the normal and
    the abnormal recordings apart, the first ``floor(0.8 n)`` of the sorted subjects train. A
    subject with recordings of both kinds may so occur in train and in validation; that is printed
    and written to the card. ``--protocol disjoint`` sorts all subjects together instead, so that
    no subject is in both, at the price of other counts. ``--protocol labram`` is that of LaBraM's
    published script (dataset_maker/make_TUAB.py): the same shares within normal and abnormal apart,
    of the subjects in random order. The script sets no seed, so its split is another on every run;
    here ``--split-seed`` decides it and is written down.
    """

    card = CARD
    homepage = "https://isip.piconepress.com/projects/nedc/html/tuh_eeg/"
    layout = "edf/{train,eval}/{normal,abnormal}/01_tcp_ar/*.edf"
    recorded = TUH_RECORDED
    references = (
        "Lopez 2017. Automated Identification of Abnormal EEGs. Master's thesis, Temple "
        "University.",
        TUH_REFERENCE,
    )
    tags = ("abnormality-detection", "clinical")
    in_order = True
    protocols: ClassVar[dict[str, str]] = {
        "paper": "the published evaluation set tests; of the published training set 80/20 of "
        "the sorted subjects train and validate, within normal and abnormal apart",
        "disjoint": "80/20 of all sorted subjects: none in both train and validation",
        "labram": "as paper, with the subjects in random order (LaBraM's script, with a seed)",
    }
    seeded_protocols = ("labram",)
    known_counts: ClassVar[dict[str, tuple[int, int, int]]] = {"v3.0.1": (297_103, 75_407, 36_945)}

    def describe(self, path: Path) -> Recording:
        """A file whose folders name set and label; subject is the name's first part."""
        part, label, montage = ("", "", "", *path.parts)[-4:-1]
        left_out = ""
        if part not in ("train", "eval") or label not in CARD.labels:
            left_out = f"not in a folder of {self.layout}"
        elif montage != "01_tcp_ar":
            left_out = f"montage {montage}; the task is on 01_tcp_ar"
        subject = path.stem.split("_")[0]
        group = f"{part}/{label}"
        return Recording(path.stem, subject, path, group=group, left_out=left_out)

    def assign(self, recordings: Sequence[Recording]) -> dict[str, str]:
        """Published evaluation set for the test, 80/20 of the training subjects by name."""
        result = {
            recording.key: "test" for recording in recordings if recording.group.startswith("eval/")
        }
        training = [recording for recording in recordings if recording.group.startswith("train/")]
        if self.protocol == "disjoint":
            groups = [training]
        else:
            groups = [[recording for recording in training if recording.group.endswith(f"/{label}")]
                      for label in CARD.labels]  # fmt: skip
        for group in groups:
            by_subject = train_or_validation(
                [recording.subject for recording in group], seed=self.split_seed
            )
            result |= {recording.key: by_subject[recording.subject] for recording in group}
        return result

    def missing(self, recordings: Sequence[Recording]) -> list[str]:
        """Parts whose number of recordings differs from that of v3.0.1.

        The names are not known without the corpus, so it is numbers only.
        """
        counts = Counter(recording.group for recording in recordings if not recording.left_out)
        return [
            line
            for group, expected in RECORDINGS.items()
            for line in number_differs(f"recordings in {group} (v3.0.1)", expected, counts[group])
        ]

    def segments(self, recording: Recording, samples: int) -> tuple[list[Segment], Counter[str]]:
        """Every 10 s with the label of the recording's folder."""
        label = recording.group.split("/")[1]
        return windows_in_order(0, samples, self.window_samples, label), Counter()


if __name__ == "__main__":
    raise SystemExit(run_command(Tuab))
