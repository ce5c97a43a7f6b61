"""Raw EEG Data (Trujillo 2020, Texas Data Repository): 64 channels, 256 Hz, 34.35 h.

Recorded with a BioSemi amplifier. Where channels have BioSemi's own names (A1 to A32, B1 to B32)
they become the electrodes of its 64-channel cap; A1 and A2 would else be taken for the earlobes.

Notes
-----
Not confirmed without the corpus: the names of its files. Any BDF or EDF file is taken, and stands
for a subject of its own; ``--subject`` finds subjects in names.
"""

from __future__ import annotations

import re

from modeling_mteeg.dataset_scripts.unlabelled.named import NamedSource

CAP = (
    "FP1 AF7 AF3 F1 F3 F5 F7 FT7 FC5 FC3 FC1 C1 C3 C5 T7 TP7 CP5 CP3 CP1 P1 P3 P5 P7 P9 PO7 PO3 O1 "
    "IZ OZ POZ PZ CPZ FPZ FP2 AF8 AF4 AFZ FZ F2 F4 F6 F8 FT8 FC6 FC4 FC2 FCZ CZ C2 C4 C6 T8 TP8 "
    "CP6 CP4 CP2 P2 P4 P6 P8 P10 PO8 PO4 O2"
).split()
"""Electrodes of BioSemi's 64-channel cap in the order A1 to A32, B1 to B32 (its own chart)."""


class Trujillo(NamedSource):
    """Raw EEG Data; see the module."""

    name = "trujillo"
    homepage = "https://doi.org/10.18738/T8/SS2NHB"
    layout = "BioSemi recordings (.bdf), at any depth"
    known_hours = 34.35
    file_name = re.compile(r"(.+)\.(?:bdf|edf)", re.IGNORECASE)
    rename = {  # noqa: RUF012 - never changed
        **{f"A{number}": name for number, name in enumerate(CAP[:32], 1)},
        **{f"B{number}": name for number, name in enumerate(CAP[32:], 1)},
    }
    drop = tuple(f"EXG{number}" for number in range(1, 9))
