"""The data of the demos: simulated and prepared where they are not there yet, else kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg.data import load_corpus, read_manifest
from modeling_mteeg.dataset_scripts.demo import simulate
from modeling_mteeg.dataset_scripts.prepare import prepare_corpora
from modeling_mteeg.dataset_scripts.simulator.unlabelled import simulate_unlabelled
from modeling_mteeg.dataset_scripts.unlabelled import prepare_unlabelled


def simulated_corpora(raw: Path, data: Path, tasks: Sequence[str], size: str = "demo") -> None:
    """Simulate corpora in their own file layouts and prepare them; whole ones are kept.

    Parameters
    ----------
    raw : Path
        Gets the recordings, ``<raw>/<task>``.
    data : Path
        Gets the prepared corpora, ``<data>/<task>``.
    tasks : sequence of str
        Those of the paper.
    size : str
        Of the simulation, see ``dataset_scripts.demo.simulate``.
    """
    missing = [task for task in tasks if not _is_whole(data / task)]
    if missing:
        print(f"Simulating recordings of {', '.join(missing)} in {raw}", flush=True)
        simulate(raw, tasks=missing, size=size)
        prepare_corpora(raw, data, missing)


def _is_whole(folder: Path) -> bool:
    try:
        load_corpus(folder)
    except (OSError, ValueError):
        return False
    return True


def simulated_recordings(folder: Path) -> Path:
    """Simulate unlabelled recordings and prepare them; returns the prepared folder.

    Parameters
    ----------
    folder : Path
        Gets ``raw`` and ``data``; whole ones are kept.
    """
    raw, data = folder / "raw", folder / "data"
    try:
        read_manifest(data)
    except (FileNotFoundError, ValueError):
        print(f"Simulating unlabelled recordings in {raw}", flush=True)
        simulate_unlabelled(raw)
        prepare_unlabelled(raw, data)
    return data
