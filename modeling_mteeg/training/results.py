"""What is left of a joint training: the published folder, the results, the table."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cards import RECORD_FILE, write_cards
from ..evaluation.metrics import BESIDE, in_order, title_of
from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import TaskCard

Results = Mapping[str, Mapping[str, float]]


def save_model(
    model: MteegModel,
    folder: str | Path,
    results: Mapping[str, Mapping[str, Any]],
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write base, feature extractor, every task's adapter with its results, and model cards.

    The folder is written aside and then put in the place of an earlier one, so that it is whole
    whenever it is there: ``<folder>`` is the base, ``<folder>/adapters/<task>`` an adapter.

    Parameters
    ----------
    model : MteegModel
    folder : str or Path
    results : mapping of str to mapping
        For the card of each task; numbers that are NaN become null.
    record : mapping, optional
        How the training came about (:mod:`modeling_mteeg.training.record`).
    """
    folder = Path(folder)
    temporary, old = (folder.with_name(f".{folder.name}-{end}") for end in ("writing", "old"))
    for path in (temporary, old):
        shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(temporary)
    MteegFeatureExtractor().save_pretrained(temporary)
    for task in model.tasks:
        place = temporary / "adapters" / task
        model.save_adapter(task, place, model_card=False, results=plain(results[task]))
    if record is not None:
        write_json(temporary / RECORD_FILE, record)
    write_cards(temporary)
    if folder.exists():
        os.rename(folder, old)
    os.rename(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def summarize(by_seed: Mapping[int, Results]) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean and standard deviation over seeds of every task's metrics.

    Returns
    -------
    dict
        Task to metric to ``mean``, ``std`` (of a sample, n - 1; None for one seed,
        NaN where a value is) and ``values`` in the order of the seeds.
    """
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    first = next(iter(by_seed.values()))
    for task, metrics in first.items():
        summary[task] = {}
        for metric in metrics:
            values = [results[task][metric] for results in by_seed.values()]
            spread = None
            if len(values) > 1:
                spread = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
            summary[task][metric] = {
                "mean": statistics.fmean(values), "std": spread, "values": values
            }  # fmt: skip
    return summary


def results_table(
    summary: Mapping[str, Mapping[str, Mapping[str, Any]]], cards: Mapping[str, TaskCard]
) -> str:
    """The summary as text, a row a task; says which data were simulated."""
    names = {name for metrics in summary.values() for name in metrics}
    shown = in_order(names.difference(BESIDE))
    rows = [["task", "data", "windows", *map(title_of, shown)]]
    for task, metrics in summary.items():
        data = "simulated" if cards[task].simulated else (cards[task].corpus or "-")
        windows = metrics.get("num_samples", {}).get("mean", 0)
        cells = [_cell(metrics.get(metric)) for metric in shown]
        rows.append([task, data, f"{windows:.0f}", *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if column < 2 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    if any(cards[task].simulated for task in summary):
        lines.append("simulated: the recordings were made by a program; the figures show that "
                     "training works,\nnot how well it does on people.")  # fmt: skip
    return "\n".join(lines)


def _cell(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return ""
    if math.isnan(value["mean"]):
        return "undefined"
    spread = "" if value["std"] is None else f" ± {value['std']:.3f}"
    return f"{value['mean']:.3f}{spread}"


def plain(value: Any) -> Any:
    """``value`` with NaN and infinity as None, which JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` so that the file is whole or not there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(part, path)
    return path
