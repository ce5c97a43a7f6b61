"""Four corpora of the Temple University Hospital archive: TUSZ, TUEP, TUAR, TUSL.

All are EDF files ``<patient>_s<session>_t<part>.edf`` with referential channels ``EEG FP1-REF`` or
``-LE`` at mostly 250 or 256 Hz; 19 to 23 of them have a place in the table. ``EKG1``,
``PHOTIC-REF``, ``IBI`` and the like have none and are left out by name. Hours are those that the
paper's sources give for them.
"""

from __future__ import annotations

import re

from modeling_mteeg.dataset_scripts.unlabelled.layouts import TUH_NAME
from modeling_mteeg.dataset_scripts.unlabelled.named import NamedSource


class TuhSource(NamedSource):
    """What the four have in common."""

    homepage = "https://isip.piconepress.com/projects/tuh_eeg/"
    layout = "TUH recordings <patient>_s<session>_t<part>.edf, at any depth"
    file_name = re.compile(TUH_NAME.pattern + r"\.edf", re.IGNORECASE)


class Tusz(TuhSource):
    """TUH EEG Seizure Corpus: train, dev and eval are all taken, none is a downstream test set."""

    name = "tusz"
    known_hours = 1138.53


class Tuep(TuhSource):
    """TUH EEG Epilepsy Corpus: recordings of patients with and without epilepsy."""

    name = "tuep"
    known_hours = 591.22


class Tuar(TuhSource):
    """TUH EEG Artifact Corpus."""

    name = "tuar"
    known_hours = 92.22


class Tusl(TuhSource):
    """TUH EEG Slowing Corpus."""

    name = "tusl"
    known_hours = 20.59
