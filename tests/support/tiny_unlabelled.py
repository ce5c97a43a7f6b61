"""Small prepared folders of unlabelled noise, for tests of reading and of pre-training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from modeling_mteeg.data import (
    MANIFEST_FILE,
    MANIFEST_VERSION,
    cut_stretches,
    encode_stretch,
    stretch_features,
    window_patches,
)

MONTAGES = {
    "motor": ("C3", "CZ", "C4"),
    "front": ("FP1", "FP2"),
    "sleep": ("FPZ-CZ", "PZ-OZ"),
}
Recordings = Mapping[str, tuple[str, str, int]]
RECORDINGS: Recordings = {  # name: subject, montage, samples at 200 Hz
    "a1": ("a", "motor", 4100),
    "a2": ("a", "front", 3000),
    "b1": ("b", "motor", 2500),
    "c1": ("c", "sleep", 6001),
    "d1": ("", "motor", 1999),
}


def signal_of(name: str, channels: int, samples: int) -> np.ndarray:
    """Noise with a loud first channel, a function of the recording's name."""
    rng = np.random.default_rng([ord(letter) for letter in name])
    noise = rng.normal(0, 20, (channels, samples)).astype(np.float32)
    noise[0] *= 30
    return noise


def save_unlabelled(
    folder: Path,
    recordings: Recordings = RECORDINGS,
    dtype: str = "float32",
    own_s: int = 5,
    max_patches: int = 24,
    max_seconds: int = 4,
) -> Path:
    """Write a prepared folder, in stretches that own ``own_s`` seconds."""
    rows = []
    for name, (subject, montage, samples) in recordings.items():
        channels: Sequence[str] = MONTAGES[montage]
        signal = signal_of(name, len(channels), samples)
        window = window_patches(len(channels), max_patches, max_seconds)
        for start, stop, own in cut_stretches(samples, window, own_s):
            part = signal[:, start:stop]
            rows.append(encode_stretch(part, channels, name, subject, start // 200, own, dtype))
    Dataset.from_list(rows, features=stretch_features()).save_to_disk(str(folder))
    manifest = {"version": MANIFEST_VERSION, "max_patches": max_patches,
                "max_seconds": max_seconds, "simulated": True}  # fmt: skip
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    return folder
