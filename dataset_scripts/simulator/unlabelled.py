"""Simulated unlabelled recordings: the signals of all six simulated corpora, under neutral names.

For pre-training: mixed montages (2 to 64 channels, referential and bipolar), rates (100 to 1000 Hz)
and formats (EDF, Neuroscan). The subjects are others than those of the demo corpora, since their
seed is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg.dataset_scripts.corpus import SIMULATED_FILE
from modeling_mteeg.dataset_scripts.demo import simulate
from modeling_mteeg.dataset_scripts.registry import corpus_class
from modeling_mteeg.dataset_scripts.simulator import PLANS, VERSION

SEED = 1000
"""Far from the seeds that a demo is run with."""
KINDS = {
    "tuab": "clinical",
    "tuev": "events",
    "seed-v": "films",
    "chb-mit": "epilepsy",
    "sleep-edf": "night",
    "physionet-mi": "motor",
}
"""What a corpus's recordings are called here."""


def simulate_unlabelled(
    folder: str | Path,
    seed: int = SEED,
    size: str = "demo",
    tasks: Sequence[str] = tuple(PLANS),
    progress: bool = True,
) -> Path:
    """Write simulated recordings without labels.

    Parameters
    ----------
    folder : str or Path
        Gets ``sub-<kind><number>_run-<number>_eeg.edf`` or ``.cnt``, and a file ``SIMULATED``.
    seed : int
        Equal seeds give equal recordings; no demo corpus of another seed shares a subject.
    size : {"demo", "small"}
        See ``dataset_scripts.demo.simulate``.
    tasks : sequence of str
        Whose kinds of signals.
    progress : bool

    Returns
    -------
    Path
        ``folder``; a complete one of the same settings is kept.

    Raises
    ------
    FileExistsError
        The folder holds something else.
    """
    folder = Path(folder)
    settings = {"seed": seed, "version": VERSION, "size": size, "tasks": list(tasks),
                "unlabelled": True}  # fmt: skip
    marker = folder / SIMULATED_FILE
    if marker.is_file() and json.loads(marker.read_text("utf-8")) == settings:
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds something else than these simulated recordings; choose another folder."
        )
    work = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    simulate(work / "corpora", seed, tasks, size, progress=progress)
    target = work / "recordings"
    target.mkdir()
    _move_recordings(work / "corpora", tasks, target)
    (target / SIMULATED_FILE).write_text(json.dumps(settings), "utf-8")
    if folder.exists():
        folder.rmdir()
    target.rename(folder)
    shutil.rmtree(work)
    return folder


def _move_recordings(corpora: Path, tasks: Sequence[str], target: Path) -> None:
    """Move the signals' files of simulated corpora, under names that say no label."""
    for task in tasks:
        recordings = corpus_class(task)(corpora / task).find_recordings()
        subjects = sorted({recording.subject for recording in recordings})
        runs = dict.fromkeys(subjects, 0)
        for recording in recordings:
            runs[recording.subject] += 1
            name = f"sub-{KINDS[task]}{subjects.index(recording.subject) + 1:02d}"
            name += f"_run-{runs[recording.subject]:02d}_eeg{recording.path.suffix}"
            shutil.move(recording.path, target / name)
