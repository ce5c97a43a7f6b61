"""What a finished training of a comparison says of itself: ``unit.json``, written last."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.loading import Corpus
from ..methods import METHODS
from ..model.task_card import TaskCard
from ..settings.plain_json import plain, write_json
from ..training.final_report import PREDICTIONS
from ..training.joint_config import JointConfig
from ..training.search import SEARCH
from .units import DONE, HISTORY, TUNED, TUNED_TABLE, Part

FORMAT = 1
MODEL, CONFLICTS = "model", "conflicts.json"
_OF_RECORD = ("packages", "device", "processes", "precision", "command", "start", "epochs")


def finish(
    part: Part,
    config: JointConfig,
    corpora: Mapping[str, Corpus],
    measured: Mapping[str, Any],
    tuning: Mapping[str, Any] | None,
    start: str | None,
    keep_model: bool,
) -> dict[str, Any]:
    """Write ``unit.json`` and remove what nothing goes on from any more.

    Parameters
    ----------
    part : Part
    config : JointConfig
        Of the unit, trained and saved in ``config.output``.
    corpora : mapping of str to Corpus
        Of its tasks.
    measured : mapping
        Of :meth:`~modeling_mteeg.comparison.measuring.Measured.result`.
    tuning : mapping or None
        What its tries said.
    start : str or None
        Fingerprint of the weights it began from; None: random ones.
    keep_model : bool
        False: ``model/`` is removed; its facts are in ``unit.json``.
    """
    folder, method = Path(config.output), METHODS[config.method]
    cards = {task: TaskCard.load(method.task_folder(folder / MODEL, task)) for task in part.tasks}
    records = {task: card.results["training"] for task, card in cards.items()}
    record = records[part.tasks[0]]
    said = {
        "format": FORMAT,
        "row": part.row.name,
        "group": part.row.options.group,
        "method": config.method,
        "part": part.name,
        "tasks": list(part.tasks),
        "fold": part.fold,
        "folds": part.folds,
        "seed": config.seeds[0],
        "split_hash": {task: corpora[task].card.split_hash for task in part.tasks},
        "splits": {task: corpora[task].split.facts() for task in part.tasks},
        "start_fingerprint": start,
        **{key: record.get(key) for key in _OF_RECORD},
        "chosen_epoch": {task: results["epoch"] for task, results in records.items()},
        "parameters": {task: results["parameters"] for task, results in records.items()},
        **measured,
        "tuning": tuning,
        "settings": config.to_dict(),
        "identity": config.identity(),
    }
    if (folder / CONFLICTS).is_file():
        said["conflicts"] = json.loads((folder / CONFLICTS).read_text("utf-8"))
    said["files"] = {path.relative_to(folder).as_posix(): _seen(path)
                     for path in [*sorted((folder / PREDICTIONS).glob("*.parquet")),
                                  folder / HISTORY]}  # fmt: skip
    write_json(folder / DONE, plain(said))
    for place in ("checkpoints", *([] if keep_model else [MODEL])):
        shutil.rmtree(folder / place, ignore_errors=True)
    return said


def note_tuned(
    folder: Path,
    config: JointConfig,
    told: Mapping[str, Any],
    corpora: Mapping[str, Corpus],
    start: str | None,
) -> None:
    """Write ``tuning.json`` of finished tries, and remove what nothing goes on from.

    Parameters
    ----------
    folder : Path
        Of the tries; ``tuning.tsv`` in it is their table.
    config : JointConfig
        Of the tries.
    told : mapping
        Of :func:`~modeling_mteeg.training.search.run_search`.
    corpora : mapping of str to Corpus
    start : str or None
        Fingerprint of the weights that they began from.
    """
    os.replace(folder / f"{SEARCH}.tsv", folder / TUNED_TABLE)
    for checkpoints in [folder / "checkpoints", *folder.glob(f"{SEARCH}/*/checkpoints")]:
        shutil.rmtree(checkpoints, ignore_errors=True)
    identity = {**config.identity(), "seed": config.seeds[0]}
    hashes = {task: corpus.card.split_hash for task, corpus in corpora.items()}
    write_json(folder / TUNED, {
        **told, "split_hash": hashes, "start_fingerprint": start, "identity": identity,
    })  # fmt: skip


def _seen(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
