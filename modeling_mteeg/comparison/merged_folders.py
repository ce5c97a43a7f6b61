"""Results of other machines taken into a comparison's output folder, checked first."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..training.joint_config import JointConfig
from ..training.results import replaced
from .checking import as_then
from .comparison_plan import Plan, Row
from .units import (
    DONE,
    MISSING,
    ROW_FILE,
    TUNED,
    TUNING,
    Part,
    ResultError,
    claimed,
    differing,
    finished,
    note_row,
    read_result,
)


def merge(plan: Plan, folders: Sequence[str | Path]) -> list[str]:
    """Copy finished trainings and tries of other output folders into the plan's.

    Parameters
    ----------
    plan : Plan
    folders : sequence of str or Path
        Each an output folder of the same comparison.

    Returns
    -------
    list of str
        A line a folder.

    Raises
    ------
    FileNotFoundError
        A folder is no comparison's.
    ResultError
        Something there is damaged, of other data or settings, or differs from what is here; nothing
        of any folder was taken then.
    """
    found, faults, notes = [], [], []
    for folder in map(Path, folders):
        if not list(folder.glob(f"rows/*/{ROW_FILE}")):
            raise FileNotFoundError(f"{folder}: no comparison there; expected rows/*/{ROW_FILE}.")
        found.append((folder, _takable(plan, folder, faults, notes)))
    faults += _other_windows(plan, [source for _, taken in found for source, _ in taken])
    if faults:
        raise ResultError("nothing was merged:" + "".join(f"\n  - {fault}" for fault in faults))
    lines = []
    for row, folds in notes:
        note_row(row, folds)
    for folder, taken in found:
        for source, target in taken:
            with claimed(target) as mine:
                if not mine:
                    raise ResultError(
                        f"{target}: another process is at it; merge when it has ended"
                    )
                with replaced(target) as place:
                    shutil.copytree(source, place)
        units = sum((target / DONE).is_file() for _, target in taken)
        lines.append(f"{folder}: {units} trainings taken in")
    return lines


def _takable(
    plan: Plan, folder: Path, faults: list[str], notes: list[tuple[Row, int]]
) -> list[tuple[Path, Path]]:
    """Folders of finished units and tries there that are not here: (there, here)."""
    taken = []
    for row in plan.rows:
        there = folder / "rows" / row.folder.name
        if not (there / ROW_FILE).is_file():
            continue
        try:
            note = read_result(there / ROW_FILE)
            notes.append((row, note["folds"]))
        except ResultError as error:
            faults.append(str(error))
            continue
        for place in sorted(there.glob("*/fold-*/*")):
            try:
                if _is_new(row, place, there, note["folds"]):
                    taken.append((place, row.folder / place.relative_to(there)))
            except ResultError as error:
                faults.append(str(error))
    return taken


def _is_new(row: Row, place: Path, there: Path, folds: int) -> bool:
    """Whether a unit's or tries' folder is to be copied.

    Raises
    ------
    ResultError
        It is damaged, of another comparison, or not the same as the one here.
    """
    here = row.folder / place.relative_to(there)
    name = DONE if place.name.startswith("seed-") else TUNED
    if place.name.startswith("seed-") and not (place / DONE).is_file():
        return sorted(p.name for p in place.glob("*")) == [MISSING] and not here.exists()
    if not (place / name).is_file():
        return False
    if name == DONE:
        said = finished(place)
        _check_unit(row, place, said)
    else:
        said = read_result(place / TUNED)
        _check_tries(row, place, said, folds)
    if not (here / name).is_file():
        return True
    mine = read_result(here / name)
    keys = ("files", "identity") if name == DONE else ("chosen", "identity")
    if any(mine.get(key) != said.get(key) for key in keys):
        raise ResultError(f"{place} and {here} are both finished, and differ")
    return False


def _check_unit(row: Row, place: Path, said: dict) -> None:
    tasks = (place.parts[-3],) if row.options.separate else row.tasks
    if not set(tasks) <= set(row.tasks) or said["seed"] not in row.config.seeds:
        raise ResultError(f"{place}: no such task or seed in this plan")
    part = Part(row, tasks, said["fold"], said["folds"], (said["seed"],))
    part = as_then(part, [place / MISSING])
    chosen = None
    if row.tries is not None:
        tries = place.parent / TUNING / TUNED
        if not tries.is_file():
            raise ResultError(f"{place}: its tries are not there, expected {tries}")
        chosen = read_result(tries)["chosen"]
    _check_settings(part.training(said["seed"], chosen), place, said)


def _check_tries(row: Row, place: Path, said: dict, folds: int) -> None:
    tasks = (place.parts[-3],) if row.options.separate else row.tasks
    if row.tries is None or not set(tasks) <= set(row.tasks):
        raise ResultError(f"{place}: the plan has no tries there")
    fold = int(place.parts[-2].removeprefix("fold-"))
    part = Part(row, tasks, fold, folds, row.config.seeds)
    part = as_then(part, place.parent.glob(f"seed-*/{MISSING}"))
    _check_settings(part.tries(), place, said)


def _check_settings(config: JointConfig, place: Path, said: dict) -> None:
    keys = differing(config, said)
    if said.get("start_fingerprint"):  # where a base lies differs by machine
        keys.pop("model.base", None)
    if keys:
        told = ", ".join(f"{key} (there {then!r}, in the plan {now!r})"
                         for key, (then, now) in keys.items())  # fmt: skip
        raise ResultError(f"{place} has other settings: {told}")


def _other_windows(plan: Plan, sources: Sequence[Path]) -> list[str]:
    """Units, there and here, that were tested on other windows of a task and fold than the first,
    or began from other weights."""
    first: dict[tuple[str, int], tuple[str, Path]] = {}
    starts: dict[str, tuple[str, Path]] = {}
    faults = []
    here = [path.parent for path in sorted(plan.output.glob(f"rows/*/*/fold-*/seed-*/{DONE}"))]
    for folder in [*here, *(source for source in sources if (source / DONE).is_file())]:
        said = finished(folder)
        for task, digest in said["split_hash"].items():
            then, place = first.setdefault((task, said["fold"]), (digest, folder))
            if then != digest:
                faults.append(f"{folder} was tested on other windows of {task} than {place}")
        if said.get("start_fingerprint"):
            size = said["row"]
            then, place = starts.setdefault(size, (said["start_fingerprint"], folder))
            if then != said["start_fingerprint"]:
                faults.append(f"{folder} began from other weights than {place}")
    return faults
