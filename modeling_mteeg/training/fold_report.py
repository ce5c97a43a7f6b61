"""The end of a cross-validation: a table over methods, files of the pooled test windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluation import judge_folds, pooled
from ..evaluation.judgement import number_text, range_text
from ..evaluation.metrics import in_order, title_of
from ..settings.plain_json import write_json, write_text
from .cross_validation import MethodFolds
from .final_report import confusion_text, people_text, save_tested
from .results import aligned

TABLE = "table.txt"


def judge_methods(methods: Sequence[MethodFolds]) -> dict[str, dict[str, dict[str, Any]]]:
    """Task to method to :func:`~modeling_mteeg.evaluation.judge_folds` of its finished folds.

    Each also has ``labels``, ``of_folds`` (how many there are to be), ``split``, ``splits`` (rule,
    hash and leaks of every fold), ``simulated`` and ``seeds``. Methods without a finished fold are
    left out.
    """
    judged: dict[str, dict[str, dict[str, Any]]] = {}
    for method in methods:
        data = method.config.data
        for task in data.tasks if method.finished else ():
            said = method.tested(task)
            card = said[0][0].card
            judged.setdefault(task, {})[method.config.method] = {
                **judge_folds(said, method.floors(task)),
                "labels": list(card.labels),
                "monitor": card.monitor,
                "simulated": card.simulated,
                "of_folds": method.folds,
                "split": f"{data.split}, split seed {data.split_seed}",
                "seeds": list(method.config.seeds),
                "splits": method.splits(task),
            }
    return judged


def folds_table(judged: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A table, a sentence a method, and confusion matrices of every task."""
    return "\n\n".join(_task_text(task, by_method) for task, by_method in judged.items())


def _task_text(task: str, by_method: Mapping[str, Mapping[str, Any]]) -> str:
    first = next(iter(by_method.values()))
    head = (f"{task}: {first['split']}; {people_text(first['people'])}, {first['windows']:,} test "
            f"windows" + (", simulated data" if first["simulated"] else ""))  # fmt: skip
    metrics = in_order(metric for judged in by_method.values() for metric in judged["metrics"])
    titles = [text for metric in metrics for text in (title_of(metric), "pooled")]
    rows = [["", "folds", "seeds", *titles]]
    floors: dict[str, Mapping[str, Any]] = {}
    for name, judged in by_method.items():
        folds = f"{judged['folds']} of {judged['of_folds']}"
        seeds = ", ".join(map(str, judged["seeds"]))
        rows.append([name, folds, seeds, *_cells(judged["metrics"], metrics)])
        rows.append(["  95 % over people", "", "", *_intervals(judged, metrics)])
        floors = {**judged["floors"], **floors}
    for name, floor in floors.items():
        rows.append([f"  {name}", "", "", *_cells(floor["metrics"], metrics)])
    lines = aligned(rows, text_columns=1)
    lines.insert(1, "-" * len(lines[0]))
    lines.append(
        "Mean ± standard deviation over folds; pooled: the test windows of all folds as one."
    )
    lines += _leaks(first["splits"])
    sentences = [f"{name}: {judged['sentence']}" for name, judged in by_method.items()]
    matrices = [
        confusion_text(f"{name}, true \\ predicted", judged["confusion"], judged["labels"])
        for name, judged in by_method.items()
    ]
    return "\n\n".join([f"{head}\n" + "\n".join(lines), "\n".join(sentences), *matrices])


def _leaks(splits: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line where the parts of some folds share people, recordings or time."""
    leaking = [split["leaks"] for split in splits if split["leaks"]]
    if not leaking:
        return []
    return [f"leaks of the split in {len(leaking)} of {len(splits)} folds, such as: {leak}"
            for leak in leaking[0]]  # fmt: skip


def _cells(values: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> list[str]:
    cells = []
    for metric in metrics:
        value = values.get(metric)
        if value is None:
            cells += ["", ""]
            continue
        defined = value["std"] is not None and not math.isnan(value["mean"])
        spread = f" ± {value['std']:.3f}" if defined else ""
        cells += [number_text(value["mean"]) + spread, number_text(value["pooled"])]
    return cells


def _intervals(judged: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """Of the mean over folds where it is the statistic of the sentence, and of the pooled."""
    cells = []
    for metric in metrics:
        of_folds = judged["interval"] if judged["statistic"] != "pooled" else {}
        own = of_folds if metric == judged["monitor"] else {}
        for each in (own, judged["intervals"].get(metric, {})):
            cells.append(range_text(each["low"], each["high"]) if "low" in each else "")
    return cells


def write_folds(
    folder: Path,
    methods: Sequence[MethodFolds],
    judged: Mapping[str, Mapping[str, Mapping[str, Any]]],
    table: str,
) -> None:
    """Write ``table.txt``, and of every method ``results.json`` and ``pooled/seed-0/predictions``.

    These are what :func:`~modeling_mteeg.training.final_report.save_tested` writes, of the test
    windows of all folds.
    """
    for method in methods:
        place, config = Path(method.config.output), method.config
        said = {task: method.tested(task) for task in config.data.tasks}
        for number, seed in enumerate(config.seeds):
            save_tested(
                place / "pooled" / f"seed-{seed}",
                {task: pooled(by_seed[number]) for task, by_seed in said.items()},
            )
        own = {task: by_method[config.method] for task, by_method in judged.items()}
        write_json(place / "results.json", {"judgement": own, "config": config.to_dict()})
    write_text(folder / TABLE, table + "\n")


def missing_text(methods: Sequence[MethodFolds]) -> str:
    """What is not there yet; empty where all is."""
    missing = [name for method in methods for name in method.missing]
    if not missing:
        return ""
    shown = "; ".join(missing[:6]) + (" ..." if len(missing) > 6 else "")
    return f"not there yet, {len(missing)}: {shown}"
