"""What a test leaves: predictions, metrics by subject, pictures, and a sentence on every task."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..cards import RECORD_FILE
from ..data.loading import Corpus
from ..evaluation import (
    WindowPredictions,
    confusion_counts,
    judge,
    read_predictions,
    save_predictions,
    score,
    scores_by_subject,
)
from ..evaluation.judgement import people_text
from ..model.task_card import TaskCard
from ..pictures.confusion import draw_confusion
from ..pictures.learning_curves import draw_learning_curves
from ..pictures.style import MissingMatplotlibError, save_figure
from ..settings.plain_json import write_text
from .floors import FLOOR_NAMES
from .results import aligned, replaced

PREDICTIONS, FLOORS, SPLIT_FILES = "predictions", "floors", "splits"
CURVES = "learning_curves.png"
ByTask = Mapping[str, WindowPredictions]


def scores_of(predictions: ByTask) -> dict[str, dict[str, float]]:
    """Every task's metrics; see :func:`modeling_mteeg.evaluation.score`."""
    return {task: score(said, said.card) for task, said in predictions.items()}


def save_tested(folder: Path, predictions: ByTask) -> Path:
    """Write what was said of every test window, as ``predictions`` in ``folder``.

    Of every task ``<task>.parquet`` (see :mod:`modeling_mteeg.evaluation.saved_predictions`),
    ``<task>_subjects.tsv`` with the metrics by subject (``n/a``: undefined), and, where matplotlib
    is installed, ``<task>_confusion.png``. An earlier folder is replaced.
    """
    with replaced(folder / PREDICTIONS) as place:
        for task, said in predictions.items():
            save_predictions(place / f"{task}.parquet", said)
            text = _tsv(scores_by_subject(said))
            write_text(place / f"{task}_subjects.tsv", text)
            title = f"{task}: {len(said.labels):,} test windows of {people_text(said.people)}"
            with suppress(MissingMatplotlibError):
                counts = confusion_counts(said, said.card)
                data = ", simulated data" if said.card.simulated else ""
                figure = draw_confusion(counts, said.card.labels, title + data)
                save_figure(figure, place / f"{task}_confusion.png")
    return folder / PREDICTIONS


def save_splits(folder: Path, corpora: Mapping[str, Corpus]) -> None:
    """Write ``splits/<task>.parquet``: which stored window is in which part.

    Of tasks whose split or classes were chosen at training; the others have their prepared data's.
    """
    for task, corpus in corpora.items():
        if corpus.split and corpus.split.is_view:
            corpus.split.save(folder / SPLIT_FILES / f"{task}.parquet")


def save_floors(folder: Path, floors: Mapping[str, ByTask]) -> None:
    """Write what the floors said, ``<floor>/<task>.parquet``; an earlier folder is replaced."""
    with replaced(folder) as place:
        place.mkdir(parents=True)
        for task, by_floor in floors.items():
            for floor, said in by_floor.items():
                save_predictions(place / _floor_folder(floor) / f"{task}.parquet", said)
    if not floors:
        folder.rmdir()


def read_floors(folder: Path, task: str) -> dict[str, WindowPredictions]:
    """What :func:`save_floors` wrote of a task, by the floors' names in words."""
    places = {floor: folder / _floor_folder(floor) / f"{task}.parquet" for floor in FLOOR_NAMES}
    return {floor: read_predictions(path) for floor, path in places.items() if path.is_file()}


def _floor_folder(floor: str) -> str:
    return floor.removeprefix("the ").replace(" ", "_")


def judge_tested(
    folder: Path, by_seed: Sequence[ByTask], floors: Mapping[str, ByTask]
) -> dict[str, dict[str, Any]]:
    """:func:`~modeling_mteeg.evaluation.judge` of every task; saves what the floors said.

    Parameters
    ----------
    folder : Path
        ``floors/<floor>/<task>.parquet`` is written in it.
    by_seed : sequence of mapping
        What every seed's model said, by task.
    floors : mapping
        Of :func:`~modeling_mteeg.training.floors.fit_floors`, by task.
    """
    save_floors(folder / FLOORS, floors)
    return {task: judge([said[task] for said in by_seed], floors.get(task)) for task in by_seed[0]}


def save_learning_curves(
    folder: Path, models: Mapping[int, Path], cards: Mapping[str, TaskCard]
) -> Path | None:
    """Draw ``learning_curves.png`` of trainings from what they left on the disk.

    Parameters
    ----------
    folder : Path
        Gets the picture; an earlier one is replaced.
    models : mapping of int to Path
        Seed to the folder of its model, with ``history.json`` beside it.
    cards : mapping of str to TaskCard

    Returns
    -------
    Path or None
        The picture; None where matplotlib is not installed, or no training has two epochs.
    """
    histories = {
        seed: json.loads((model.parent / "history.json").read_text("utf-8"))
        for seed, model in models.items()
    }
    path = folder / CURVES
    path.unlink(missing_ok=True)
    if max(map(len, histories.values())) < 2:
        return None
    chosen = {}
    for seed, model in models.items():
        epoch = json.loads((model / RECORD_FILE).read_text("utf-8"))["epoch"]
        chosen[seed] = epoch if isinstance(epoch, dict) else dict.fromkeys(cards, epoch)
    with suppress(MissingMatplotlibError):
        return save_figure(draw_learning_curves(histories, chosen, cards), path)
    return None


def judgements_text(
    judgements: Mapping[str, Mapping[str, Any]], cards: Mapping[str, TaskCard]
) -> str:
    """A sentence a task, and below them the confusion matrices."""
    sentences = [
        textwrap.fill(f"{task}: {judgement['sentence']}", 100, subsequent_indent="  ",
                      break_long_words=False, break_on_hyphens=False)
        for task, judgement in judgements.items()
    ]  # fmt: skip
    matrices = [
        confusion_text(f"{task}, true \\ predicted", judgement["confusion"], cards[task].labels)
        for task, judgement in judgements.items()
    ]
    return "\n\n".join(["\n".join(sentences), *matrices])


def confusion_text(head: str, counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Windows by true class (rows) and predicted class (columns)."""
    rows = [[head, *labels]]
    for label, numbers in zip(labels, counts, strict=True):
        rows.append([f"  {label}", *(f"{number:,}" for number in numbers)])
    return "\n".join(aligned(rows, text_columns=1))


def _tsv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table with tabs; NaN as ``n/a``, as BIDS has it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(
            f"{value:.6g}".replace("nan", "n/a")
            if isinstance(value, float)
            else " ".join(str(value).split())
            for value in row.values()
        )
    return text.getvalue()
