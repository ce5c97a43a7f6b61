"""What is left of a joint training: the folder, the results over seeds, the table."""

from __future__ import annotations

import math
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.loading import model_inputs
from ..evaluation.judgement import range_text
from ..evaluation.metrics import BESIDE, in_order, title_of
from ..methods.method import TrainingError
from ..model.task_card import TaskCard
from ..settings.disk_faults import writing
from ..settings.plain_json import write_json
from .conflict_record import save_conflicts
from .joint_config import JointConfig
from .record import task_results
from .selected_training import SelectedTraining

Results = Mapping[str, Mapping[str, float]]


@contextmanager
def replaced(folder: str | Path) -> Iterator[Path]:
    """A folder to write into, which then takes the place of ``folder``, whole or not at all."""
    folder = Path(folder)
    temporary, old = (folder.with_name(f".{folder.name}-{end}") for end in ("writing", "old"))
    for path in (temporary, old):
        shutil.rmtree(path, ignore_errors=True)
    try:
        with writing(folder):
            yield temporary
            if folder.exists():
                os.rename(folder, old)
            os.rename(temporary, folder)
    except OSError:  # what is half written takes room on a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def save_training(
    trainer: SelectedTraining,
    folder: Path,
    record: Mapping[str, Any],
    test: Mapping[str, Mapping[str, float]],
) -> Path:
    """Save what was selected, with its results and how it came about, and the history.

    Parameters
    ----------
    trainer : SelectedTraining
        Finished, with the selected weights in it.
    folder : Path
        What the method saves replaces an earlier one; ``history.json`` goes beside it, and where
        gradients were compared ``conflicts.json`` with its picture.
    record : mapping
        Of :func:`modeling_mteeg.training.record.start_record`.
    test : mapping
        Every task's metrics on the test split.

    Returns
    -------
    Path
        The folder.
    """
    history, chosen = trainer.progress.history, trainer.chosen_epochs()
    together = trainer.method.selection == "mean"
    record = {
        **record,
        **trainer.method.facts(),
        **({"settings": settings} if (settings := trainer.settings()) else {}),
        "seed": trainer.seed,
        "epochs": trainer.epochs,
        "epoch": trainer.progress.best_epoch if together else chosen,
        "history": history,
        "test": summarize({trainer.seed: test}),
    }
    results = {
        task: task_results(record, task, chosen[task], test[task], card.simulated)
        for task, card in trainer.cards.items()
    }
    with replaced(folder) as place:
        trainer.method.save(place, results, record)
    write_json(folder.parent / "history.json", history)
    simulated = any(card.simulated for card in trainer.cards.values())
    title = f"{record['method']}, seed {trainer.seed}{', simulated data' if simulated else ''}: "
    save_conflicts(folder.parent, trainer.conflicts, title)
    epochs = ", ".join(f"{epoch + 1} for {task}" for task, epoch in chosen.items())
    print(f"saved {folder}, selected epoch {record['epoch'] + 1 if together else epochs}")
    return folder


def check_saved(folder: Path, trainer: SelectedTraining) -> None:
    """Load the saved folder as a user would, and predict some windows of the last task.

    Raises
    ------
    TrainingError
        What was loaded answers otherwise than what was trained.
    """
    task = trainer.tasks[-1]
    card, reader = trainer.cards[task], trainer.corpora[task].splits["test"]
    rows = np.linspace(0, len(reader) - 1, min(5, len(reader))).astype(np.int64)
    batch = model_inputs(reader, card, rows)
    truth = batch.pop("labels")
    loaded, here = (
        method.predict_logits(task, batch).cpu().float()
        for method in (trainer.method.load(folder, task), trainer.method)
    )
    if not torch.allclose(loaded, here, rtol=1e-3, atol=1e-4):
        raise TrainingError(f"{folder}: the loaded model differs from the trained one by "
                            f"{(loaded - here).abs().max():.2g}.")  # fmt: skip
    data = "simulated windows" if card.simulated else "windows"
    print(f"loaded back; {task} on {len(rows)} {data} of the test split:")
    for label, row in zip(truth.tolist(), card.probabilities(loaded), strict=True):
        guess = int(card.decide(row[None].numpy())[0])
        print(
            f"  true {card.labels[label]:<12} predicted {card.labels[guess]:<12} {row[guess]:.2f}"
        )


def write_results(
    config: JointConfig,
    summary: Mapping[str, Any],
    cards: Mapping[str, TaskCard],
    judgements: Mapping[str, Any],
    splits: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``results.json`` of the output folder; returns its path.

    ``splits`` says of every task how train, validation and test came about.
    """
    return write_json(
        Path(config.output) / "results.json",
        {
            "simulated": {task: card.simulated for task, card in cards.items()},
            "test": summary,
            "judgement": judgements,
            "splits": splits or {},
            "seeds": list(config.seeds),
            "config": config.to_dict(),
        },
    )


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
    summary: Mapping[str, Mapping[str, Mapping[str, Any]]],
    cards: Mapping[str, TaskCard],
    judgements: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The summary as text, a row a task; says which data were simulated.

    With ``judgements`` (of :func:`~modeling_mteeg.training.final_report.judge_tested`) also the
    people, and below every task its intervals over people and the floors.
    """
    judgements = judgements or {}
    names = {name for metrics in summary.values() for name in metrics}
    shown = in_order(names.difference(BESIDE))
    people = ["people"] if judgements else []
    rows = [["task", "data", "windows", *people, *map(title_of, shown)]]
    for task, metrics in summary.items():
        data = "simulated" if cards[task].simulated else (cards[task].corpus or "-")
        windows = metrics.get("num_samples", {}).get("mean", 0)
        people = [f"{judgements[task]['people']:,}"] if judgements else []
        cells = [_cell(metrics.get(metric)) for metric in shown]
        rows.append([task, data, f"{windows:.0f}", *people, *cells])
        for name, below in _rows_below(judgements.get(task, {}), shown):
            rows.append([f"  {name}", "", "", "", *below])
    lines = aligned(rows, text_columns=2)
    lines.insert(1, "-" * len(lines[0]))
    if any(cards[task].simulated for task in summary):
        lines.append("simulated: the recordings were made by a program; the figures show that "
                     "training works,\nnot how well it does on people.")  # fmt: skip
    return "\n".join(lines)


def _rows_below(
    judgement: Mapping[str, Any], metrics: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Name and cells of the rows that stand below a task's."""
    intervals = judgement.get("intervals", {})
    cells = [
        range_text(each["low"], each["high"]) if "low" in each else ""
        for each in (intervals.get(metric, {}) for metric in metrics)
    ]
    if any(cells):
        yield "95 % over people", cells
    for name, floor in judgement.get("floors", {}).items():
        scores = floor["scores"]
        yield name, [_number(scores[metric]) if metric in scores else "" for metric in metrics]


def aligned(rows: Sequence[Sequence[str]], text_columns: int) -> list[str]:
    """Rows with columns of one width, the first ``text_columns`` set to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if column < text_columns else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return lines


def _cell(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return ""
    spread = "" if value["std"] is None or math.isnan(value["mean"]) else f" ± {value['std']:.3f}"
    return _number(value["mean"]) + spread


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"
