"""What the files of a comparison say: rows as results, what is missing, the table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluation import PredictionFileError, WindowPredictions, read_predictions
from ..training.final_report import PREDICTIONS
from .comparison_config import folder_name
from .comparison_plan import Plan
from .row_results import RowResults
from .units import (
    DONE,
    HISTORY,
    JOINT,
    MISSING,
    ROW_FILE,
    ResultError,
    finished,
    part_folder,
    read_result,
)

NOT_YET = "not finished"


def read_rows(
    folder: Path, plan: Plan | None = None, damaged: list[str] | None = None
) -> list[RowResults]:
    """The rows of a comparison's output folder; nothing is trained or changed.

    Parameters
    ----------
    folder : Path
    plan : Plan, optional
        Whose rows, tasks and seeds are wanted, in its order. Otherwise all that lie there.
    damaged : list of str, optional
        Gets a sentence for every damaged file; without it the first is an error.

    Returns
    -------
    list of RowResults
        A seed of a task stands in ``tested`` where all its folds are finished. ``missing`` has a
        sentence for every task that lacks some or all, one that has results of other seeds too.

    Raises
    ------
    FileNotFoundError
        ``folder`` is no comparison's.
    ResultError
        A file is damaged.
    """
    notes = [read_result(path) for path in sorted(Path(folder).glob(f"rows/*/{ROW_FILE}"))]
    by_name = {note["name"]: note for note in notes}
    if plan is None and not notes:
        raise FileNotFoundError(f"{folder}: no comparison there; expected rows/*/{ROW_FILE}.")
    if plan is None:
        notes.sort(key=lambda note: (note["place"], note["name"]))
        return [_read_row(Path(folder), note, damaged) for note in notes]
    planned, rows = {row.name: row for row in plan.rows}, []
    for options in plan.config.rows:
        if options.name in plan.left_out and options.name in by_name:  # done elsewhere
            rows.append(_read_row(Path(folder), by_name[options.name], damaged))
        elif options.name in plan.left_out:
            missing = dict.fromkeys(plan.first.data.tasks, plan.left_out[options.name])
            rows.append(RowResults(options.name, options.group, {}, {}, missing, {}))
        else:
            note = _planned(planned[options.name], by_name.get(options.name))
            rows.append(_read_row(Path(folder), note, damaged))
    return rows


def _planned(row: Any, note: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "name": row.name, "group": row.options.group, "place": row.place, "row": row.to_dict(),
        "separate": row.options.separate, "tasks": list(row.tasks), "folder": row.folder.name,
        "seeds": list(row.config.seeds), "folds": note["folds"] if note else 1,
    }  # fmt: skip


def _read_row(folder: Path, note: Mapping[str, Any], damaged: list[str] | None) -> RowResults:
    place = folder / "rows" / folder_name(note["name"])
    tested: dict[str, dict[int, list[WindowPredictions]]] = {}
    facts: dict[str, dict[int, dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    for task in note["tasks"]:
        lacking: dict[str, list[str]] = {}
        for seed in note["seeds"]:
            said, own = [], []
            for fold in range(note["folds"]):
                part = task if note["separate"] else JOINT
                unit = part_folder(place, part, fold) / f"seed-{seed}"
                try:
                    predictions, fact = _read_unit(unit, task)
                except (ResultError, PredictionFileError) as error:
                    if damaged is None:
                        raise
                    damaged.append(str(error))
                    predictions, fact = None, "a file is damaged"
                if predictions is None:
                    where = f"seed {seed}" + (f" fold {fold}" if note["folds"] > 1 else "")
                    lacking.setdefault(fact, []).append(where)
                else:
                    said.append(predictions)
                    own.append(fact)
            if len(said) == note["folds"]:
                tested.setdefault(task, {})[seed] = said
                facts.setdefault(task, {})[seed] = _over_folds(own)
        if lacking:
            everywhere = len(note["seeds"]) * note["folds"]
            missing[task] = "; ".join(
                why if len(where) == everywhere else f"{', '.join(where)}: {why}"
                for why, where in lacking.items()
            )
    return RowResults(note["name"], note["group"], tested, facts, missing, note["row"])


def _read_unit(
    folder: Path, task: str
) -> tuple[WindowPredictions, dict[str, Any]] | tuple[None, str]:
    """Predictions and facts of a unit, or None and why there are none."""
    said = finished(folder)
    if said is None or task not in said["tasks"]:
        reasons = read_result(folder / MISSING) if (folder / MISSING).is_file() else {}
        return None, reasons.get(task, NOT_YET)
    for name in (f"{PREDICTIONS}/{task}.parquet", HISTORY):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if name not in said["files"] or digest != said["files"][name]["sha256"]:
            raise ResultError(f"{folder / name} is damaged: it is not what {DONE} was written with")
    predictions = read_predictions(folder / PREDICTIONS / f"{task}.parquet")
    history = read_result(folder / HISTORY)
    return predictions, {
        "parameters": _parameters(said["parameters"][task], task),
        "seconds": said["seconds"],
        "peak_memory_bytes": said["peak_memory_bytes"],
        "peak_memory": said["peak_memory"],
        "epochs": said["epochs"],
        "chosen_epoch": said["chosen_epoch"][task],
        "history": history,
        "settings": said["settings"],
        "versions": said["packages"],
        "device": said["device"],
        "split_hash": said["split_hash"][task],
        "split": said["splits"][task],
        "tuning": said["tuning"],
        "tasks": said["tasks"],
        **({"conflicts": said["conflicts"]} if "conflicts" in said else {}),
    }


def _parameters(told: Mapping[str, Any], task: str) -> dict[str, Any]:
    """``total`` and ``trained`` of the training's tasks together, ``run`` for this one."""
    run = told["run"] if "run" in told else told["run_for_one_task"].get(task)
    return {"total": told["total"], "trained": told["trained"], "run": run}


def _over_folds(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Facts of a seed: of several folds the first's, with the time of all and the most memory."""
    if len(facts) == 1:
        return facts[0]
    return {
        **facts[0],
        "seconds": sum(fact["seconds"] for fact in facts),
        "peak_memory_bytes": max(fact["peak_memory_bytes"] for fact in facts),
        "folds": list(facts),
    }


def unfinished(plan: Plan, rows: Sequence[RowResults]) -> str:
    """Which rows lack what, a line each; empty: nothing."""
    lines = []
    for row in rows:
        by_reason: dict[str, list[str]] = {}
        for task, why in row.missing.items():
            by_reason.setdefault(why, []).append(task)
        for why, tasks in by_reason.items():
            everywhere = len(tasks) == len(plan.first.data.tasks)
            lines.append(": ".join([row.name, *([] if everywhere else [", ".join(tasks)]), why]))
    return "\n".join(lines)


def with_others(rows: Sequence[RowResults], folders: Sequence[Path]) -> list[RowResults]:
    """The rows, and those of other comparisons' folders behind them.

    Raises
    ------
    ValueError
        Two rows have one name, or other test windows of the same task.
    """
    together = list(rows)
    for folder in folders:
        for other in read_rows(folder):
            if other.name in [row.name for row in together]:
                raise ValueError(
                    f"--add {folder}: there is a row {other.name!r} already; rename one of them."
                )
            together.append(other)
    check_same_windows(together)
    return together


def check_same_windows(rows: Sequence[RowResults]) -> None:
    """Raise where rows were tested on other windows of the same task.

    Raises
    ------
    ValueError
        With the rows and the task.
    """
    first: dict[str, tuple[str, str]] = {}
    for row in rows:
        for task, by_seed in row.tested.items():
            for said in by_seed.values():
                name, digest = first.setdefault(task, (row.name, _windows(said)))
                if _windows(said) != digest:
                    raise ValueError(
                        f"{task}: rows {name!r} and {row.name!r} were tested on other windows or "
                        "labels, so nothing can be said of their difference."
                    )


def _windows(folds: Sequence[WindowPredictions]) -> str:
    """Hash of the test windows, in whatever order the folds have them."""
    keys = sorted(
        (str(recording), float(onset), said.card.labels[label])
        for said in folds
        for recording, onset, label in zip(said.recordings, said.onsets_s, said.labels, strict=True)
    )
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()
