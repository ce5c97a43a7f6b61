"""Folders of a tiny base with tasks beside it, and recordings for them."""

from __future__ import annotations

from pathlib import Path

from recording_files import write_recording
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg

from modeling_mteeg import MteegFeatureExtractor

TASKS = {
    "fists": card(name="fists", labels=("left", "both fists", "rest"), channels=NAMES, window_s=2),
    "two-d": card(name="two-d", channels=("FP1-C3", "O1"), window_s=3),
}


def save_base(folder: Path) -> Path:
    """A base with its feature extractor and the tasks of :data:`TASKS` in ``adapters``."""
    model = tiny_model()
    for name, own in TASKS.items():
        model.add_adapter(name, card=own)
    randomize(model)
    model.save_pretrained(folder)
    MteegFeatureExtractor(window_s=4).save_pretrained(folder)
    for name in TASKS:
        model.save_adapter(name, folder / "adapters" / name)
    return folder


def save_recordings(folder: Path) -> list[Path]:
    """31 s as EDF and 13 s as BrainVision, six channels at 250 Hz, simulated."""
    return [
        write_recording(folder, "sub-01_eeg.edf", eeg(31.0), NAMES, 250.0),
        write_recording(folder, "second.vhdr", 1.5 * eeg(13.0), NAMES, 250.0),
    ]
