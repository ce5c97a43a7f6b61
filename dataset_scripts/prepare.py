"""All corpora by one command: ``python -m dataset_scripts.prepare --raw ROOT --out ROOT``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from .command import add_writer_options
from .corpus import Corpus
from .settings import Settings
from .writer import PreparationError, prepare

CORPORA = {
    "tuab": ("tuab", "Tuab"),
    "tuev": ("tuev", "Tuev"),
    "seed-v": ("seed_v", "SeedV"),
    "chb-mit": ("chb_mit", "ChbMit"),
    "sleep-edf": ("sleep_edf", "SleepEdf"),
    "physionet-mi": ("physionet_mi", "PhysionetMi"),
}
"""Task to module and class."""
TASKS = tuple(CORPORA)


def corpus_class(task: str) -> type[Corpus]:
    """The reader of a task's corpus; an unknown task is a ``ValueError``."""
    if task not in CORPORA:
        raise ValueError(f"Unknown task {task!r}; known tasks: {', '.join(TASKS)}.")
    module, name = CORPORA[task]
    return getattr(importlib.import_module(f"dataset_scripts.{module}"), name)


def prepare_corpora(
    raw_root: str | Path,
    out_root: str | Path,
    tasks: Sequence[str] = TASKS,
    num_proc: int = 1,
    simulated: bool = False,
    settings: Settings | None = None,
) -> dict[str, Path]:
    """Prepare several corpora.

    Parameters
    ----------
    raw_root : str or Path
        Holds a folder ``<task>`` per corpus.
    out_root : str or Path
        Gets a folder ``<task>`` per corpus; those that are already there are kept.
    tasks : sequence of str
    num_proc : int
        Processes, a recording each (unless ``settings`` is given).
    simulated : bool
        Mark the results as simulated even without ``SIMULATED`` files.
    settings : Settings, optional
        Everything else about writing.

    Returns
    -------
    dict
        Task to folder.

    Raises
    ------
    FileNotFoundError
        Folders of tasks are missing; all of them are named, before any work.
    """
    raw_root = Path(raw_root)
    classes = {task: corpus_class(task) for task in tasks}
    missing = [task for task in classes if not (raw_root / task).is_dir()]
    if missing:
        there = sorted(one.name for one in raw_root.iterdir()) if raw_root.is_dir() else []
        raise FileNotFoundError(
            f"{raw_root}: expected a folder for each of {', '.join(missing)}; found "
            f"{', '.join(there) or 'nothing'}. Add them, or name fewer --tasks."
        )
    settings = settings or Settings(num_proc=num_proc)
    return {
        task: prepare(reader(raw_root / task, simulated=simulated), out_root, settings)
        for task, reader in classes.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dataset_scripts.prepare",
        description="Prepare several corpora: RAW/<task> becomes OUT/<task>.",
    )
    add_writer_options(parser)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    options = parser.parse_args(arguments)
    try:
        settings = Settings(
            num_proc=options.num_proc,
            dtype=options.dtype,
            max_skipped=options.max_skipped,
            overwrite=options.overwrite,
        )
        folders = prepare_corpora(options.raw, options.out, options.tasks, settings=settings)
    except (ValueError, OSError, PreparationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for task, folder in folders.items():
        print(f"{task}: {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
