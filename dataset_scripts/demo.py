"""Demo corpora: simulated recordings in the layouts of the six corpora.

``python -m dataset_scripts.demo --out FOLDER`` writes ``FOLDER/<task>/...`` for the readers of the
real corpora. Results on these recordings say nothing about performance on real EEG.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg._ending import command, hush
from modeling_mteeg.dataset_scripts.bars import Bar
from modeling_mteeg.dataset_scripts.corpus import SIMULATED_FILE
from modeling_mteeg.dataset_scripts.provenance import file_times, write_checksums
from modeling_mteeg.dataset_scripts.simulator import PLANS, SIZES, VERSION
from modeling_mteeg.settings.command_line import ALL, CommandParser, Place
from modeling_mteeg.settings.disk_faults import of_the_disk
from modeling_mteeg.settings.vocabulary import add_option

TASKS = tuple(PLANS)
MARKER = SIMULATED_FILE
"""File in the folder of a simulated corpus: JSON with seed, version, size, subjects, complete."""


def simulate(
    out: str | Path,
    seed: int = 0,
    tasks: Sequence[str] = TASKS,
    size: str = "demo",
    subjects: int | None = None,
    progress: bool = True,
) -> None:
    """Write simulated corpora.

    Parameters
    ----------
    out : str or Path
        Gets a folder per task, marked by a file ``SIMULATED``, with the hash of every file.
    seed : int
        Equal seeds give byte-identical files.
    tasks : sequence of str
    size : str
        ``demo``: below 100 MB for the six, enough to train a small model; ``small``: a few seconds
        a recording, for tests; ``people``: more people, in whom classes show more or less, with
        imperfect electrodes and shorter recordings.
    subjects : int, optional
        Number of subjects (TUAB: per class; TUAB, TUEV, CHB-MIT: for training; SEED-V: sessions)
        instead of the size's own.
    progress : bool
        Show a bar.

    Raises
    ------
    ValueError
        A task or size is unknown, ``seed`` is negative, or ``subjects`` is below what the splits
        need.
    FileExistsError
        A folder holds something else: recordings that are not simulated, or of other settings.

    Notes
    -----
    A corpus that is complete already is kept; one whose writing was interrupted is written again.
    """
    _check(tasks, seed, size, subjects)
    out = Path(out)
    settings = {"seed": seed, "version": VERSION, "size": size, "subjects": subjects}
    pending = [task for task in dict.fromkeys(tasks) if not _is_complete(out / task, settings)]
    plans = {task: PLANS[task](out / task, seed, size, subjects) for task in pending}
    count, seconds = sum(map(len, plans.values())), 0.0
    with Bar(total=count, desc="simulating", unit="recording", progress=progress) as bar:
        for task, jobs in plans.items():
            before = file_times(out / task)
            _write_marker(out / task, settings, complete=False)
            for job in jobs:
                bar.set_description(f"simulated {task}")
                seconds += job.write()
                elapsed = bar.format_dict["elapsed"] or 1e-9
                bar.set_postfix_str(f"{seconds / 60:.0f} min of EEG, {seconds / elapsed:.0f} s/s")
                bar.update()
            write_checksums(out / task, before)
            _write_marker(out / task, settings, complete=True)


def folder_bytes(folder: str | Path) -> int:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _check(tasks: Sequence[str], seed: int, size: str, subjects: int | None) -> None:
    """Raise ``ValueError`` for settings that cannot work, all of them at once."""
    faults = []
    unknown = [task for task in tasks if task not in PLANS]
    if unknown:
        faults.append(f"tasks: unknown {', '.join(unknown)}; known are {', '.join(TASKS)}")
    if size not in SIZES:
        faults.append(f"size: expected one of {', '.join(SIZES)}, found {size!r}")
    if seed < 0:
        faults.append(f"seed: expected 0 or more, found {seed}")
    if subjects is not None and subjects < 5:
        faults.append(f"subjects: expected at least 5, so that no split is empty, found {subjects}")
    if faults:
        raise ValueError("; ".join(faults) + ".")


def _is_complete(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds this very simulation already."""
    marker = folder / MARKER
    if not marker.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise FileExistsError(
                f"{folder}: holds files but no {MARKER} file; simulated recordings are not mixed "
                "with others. Choose another folder."
            )
        return False
    try:
        written = json.loads(marker.read_text("ascii"))
        complete = bool(written.pop("complete"))
    except (ValueError, KeyError, AttributeError) as error:
        raise FileExistsError(f"{marker}: cannot be read ({error}); delete {folder}.") from error
    if written != settings:
        raise FileExistsError(
            f"{folder}: simulated with {written}, wanted {settings}. Delete it or choose another "
            "folder."
        )
    return complete


def _write_marker(folder: Path, settings: dict[str, Any], complete: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**settings, "complete": complete}) + "\n"
    (folder / MARKER).write_text(text, "ascii", newline="\n")


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m dataset_scripts.demo",
        description=__doc__.partition("\n\n")[0],
        examples=("python -m dataset_scripts.demo --out raw --task tuab,sleep-edf --size small",),
    )
    add_option(parser, "--out", "simulated recordings, OUT/<task>: a folder", required=True,
        type=Place(folder=True, kind=Path))  # fmt: skip
    add_option(parser, "--seeds", "one; equal seeds give equal files (default: 0)", default=[0])
    add_option(parser, "--task", "to simulate; several with commas, spaces or again (default: "
        "all six)", nargs="+", default=[ALL])  # fmt: skip
    parser.add_argument("--subjects-each", dest="subjects", type=int, metavar="N",
        help="how many subjects a corpus has (default: by size)")  # fmt: skip
    parser.old_spelling("--subjects", "--subjects-each")
    parser.add_argument("--size", choices=SIZES, default="demo", help="of the corpora (demo)")
    add_option(parser, "--quiet")
    return parser


@command("the same command writes again what is not complete")
def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m dataset_scripts.demo --out FOLDER``."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    hush(options.quiet)
    seed = options.seeds[0]
    if len(options.seeds) != 1 or isinstance(seed, str):
        parser.error(f"--seeds: expected one whole number, found {options.seeds}")
    tasks = list(TASKS) if options.task == [ALL] else options.task
    try:
        simulate(options.out, seed, tasks, options.size, options.subjects)
    except (ValueError, FileExistsError) as error:
        if of_the_disk(error):
            raise
        parser.error(str(error))
    for task in tasks:
        print(f"{task:13s} {folder_bytes(options.out / task) / 1e6:6.1f} MB  {options.out / task}")
    print("These recordings are simulated: results on them say nothing about real EEG.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
