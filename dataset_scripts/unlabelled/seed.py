"""Four corpora of emotion from one laboratory: SEED, SEED-IV, SEED-GER, SEED-FRA.

62 channels at 1000 Hz as Neuroscan ``.cnt`` files, whose names begin with the number of the subject
(``1_1.cnt``, ``3_2_20150101.cnt``). The mastoids and eye channels are left out, as the published
script for SEED-V does. Together they are 166.75 h by the paper's sources, which do not give the
parts.

SEED-IV is distributed as MATLAB files: ``eeg_raw_data/<session>/<subject>_<date>.mat`` with a
signal for each of 24 trials, ``<initials>_eeg1`` to ``_eeg24``
(https://bcmi.sjtu.edu.cn/~seed/seed-iv.html).
Each trial is a recording; trials are not joined, for the signal jumps between them.

Notes
-----
Not confirmed without the corpora: the exact names of the ``.cnt`` files; of SEED-IV's MATLAB files
the rate (200 Hz, by their use in published code), the order of the channels (that of the 62-channel
cap, as in SEED-V), and the unit (taken as microvolt; a recording whose amplitude is none of EEG is
skipped). SEED's ``.mat`` files, filtered copies of its ``.cnt`` files, are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.opening import refused_or_given
from modeling_mteeg.dataset_scripts.seed_v import SEED_CHANNELS
from modeling_mteeg.dataset_scripts.unlabelled.layouts import UnlabelledRecording
from modeling_mteeg.dataset_scripts.unlabelled.named import NamedSource
from modeling_mteeg.model.file_faults import blamed_on
from modeling_mteeg.model.mat_files import mat_shapes, mat_variable
from modeling_mteeg.model.recording_sources import Source as OpenRecording
from modeling_mteeg.recordings.recording_folders import walk

MAT_RATE_HZ = 200.0
_MAT_NAME = re.compile(r"(\d{1,2})_\d{8}\.mat", re.IGNORECASE)
_TRIAL = re.compile(r"\w+_eeg(\d+)")


class SeedSource(NamedSource):
    """What the four have in common."""

    homepage = "https://bcmi.sjtu.edu.cn/home/seed/"
    layout = "raw Neuroscan files <subject>_<session>....cnt, at any depth"
    file_name = re.compile(r"(\d{1,2})_[^/]*\.cnt", re.IGNORECASE)
    drop = ("M1", "M2", "VEO", "HEO", "VEOG", "HEOG")


class Seed(SeedSource):
    """SEED: three emotions, Chinese films."""

    name = "seed"


class SeedIv(SeedSource):
    """SEED-IV: four emotions; the trials of its MATLAB files, or raw ``.cnt`` files."""

    name = "seed-iv"
    layout = "eeg_raw_data/<session>/<subject>_<date>.mat, or raw Neuroscan files, at any depth"

    def find(self, raw: Path) -> list[UnlabelledRecording]:
        recordings = super().find(raw)
        for path in walk(raw, (".mat",)):
            name = _MAT_NAME.fullmatch(path.name)
            if name is not None:
                recordings += self._trials(path, path.relative_to(raw).as_posix(), name[1])
        return sorted(recordings, key=lambda recording: recording.key)

    def open(self, recording: UnlabelledRecording) -> OpenRecording:
        if not recording.part:
            return super().open(recording)
        with blamed_on(recording.path):
            signal = mat_variable(recording.path, recording.part).astype(np.float64)
        signal_and_names = (signal * 1e-6, SEED_CHANNELS, MAT_RATE_HZ)
        return refused_or_given(signal_and_names, "unlabelled", unit="V")

    def _trials(self, path: Path, key: str, number: str) -> list[UnlabelledRecording]:
        """The trials of a MATLAB file; one that is left out where it has none."""
        subject = f"{self.name}-{number}"
        try:
            shapes = {n: shape for n, shape in mat_shapes(path).items() if _TRIAL.fullmatch(n)}
        except (ValueError, OSError) as error:
            reason = f"cannot be read as a MATLAB file: {error}"
            return [UnlabelledRecording(key, path, subject, left_out=reason)]
        if not shapes:
            reason = "no trial in it: expected variables such as cz_eeg1"
            return [UnlabelledRecording(key, path, subject, left_out=reason)]
        channels, trials = len(SEED_CHANNELS), []
        for name, shape in shapes.items():
            good = len(shape) == 2 and shape[0] == channels
            reason = "" if good else f"expected ({channels}, samples), found {shape}"
            trials.append(
                UnlabelledRecording(f"{key}/{name}", path, subject, left_out=reason, part=name)
            )
        return trials


class SeedGer(SeedSource):
    """SEED-GER: German subjects."""

    name = "seed-ger"


class SeedFra(SeedSource):
    """SEED-FRA: French subjects."""

    name = "seed-fra"
