"""What is checked before any work: data, starts, and what the output folder holds already."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data import (
    SplitError,
    fold_count,
    load_corpora,
    model_inputs,
    training_mixes,
    view_corpora,
)
from ..data.loading import Corpus, task_location
from ..data.remote import is_url
from ..data.split_rules import SplitRule
from ..methods import METHODS, GradientMethod, TrainingError
from ..methods.labram import start_model
from ..training.joint_config import JointConfig
from ..training.selected_training import choose_metrics
from ..training.standing_tasks import settle_encoder
from .comparison_plan import Plan, Row
from .units import (
    MISSING,
    TUNED,
    Part,
    ResultError,
    differing,
    finished,
    read_result,
    tuned,
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The data of a comparison.

    Parameters
    ----------
    corpora : tuple of dict of str to Corpus
        Every fold's; of the tasks that can be tested.
    gaps : dict of str to str
        Task to why it cannot be tested.
    starts : dict of str to str
        Base to the fingerprint of its weights.
    """

    corpora: tuple[dict[str, Corpus], ...]
    gaps: dict[str, str]
    starts: dict[str, str]

    @property
    def folds(self) -> int:
        return len(self.corpora)

    def hashes(self, fold: int) -> dict[str, str]:
        """Of the windows and parts of every task."""
        return {task: corpus.card.split_hash for task, corpus in self.corpora[fold].items()}

    def start(self, config: JointConfig) -> str | None:
        """Fingerprint of the weights that a training begins from; None: random ones, or none."""
        needed = METHODS[config.method].needs_model and config.model.base
        return self.starts.get(config.model.base) if needed else None


def settled(plan: Plan) -> Plan:
    """The plan with every row's temporal encoder trained or not, where the row leaves it open.

    Raises
    ------
    TrainingError
        The base has tasks that a row would leave behind.
    """

    def settle(row: Row) -> Row:
        config, _ = settle_encoder(row.config)
        trained = config.train_temporal_encoder
        tries = row.tries and dataclasses.replace(row.tries, train_temporal_encoder=trained)
        return dataclasses.replace(row, config=config, tries=tries)

    return dataclasses.replace(plan, rows=tuple(map(settle, plan.rows)))


def prepare(plan: Plan, rows: Sequence[Row], data: str | Path) -> Prepared:
    """Open the data and look at every row's start.

    Raises
    ------
    OSError, ValueError, TrainingError
        Data or a base are not there; sampling rules or metrics do not fit.
    """
    stored, gaps = open_tasks(plan.first, data)
    corpora = []
    for fold in range(count_folds(plan.first, stored)):
        view = dict(plan.first.data.view)
        view["labels"] = {t: v for t, v in view["labels"].items() if t in stored}
        view["fold"] = fold if SplitRule.parse(plan.first.data.split).has_folds else None
        viewed = choose_metrics(plan.first, view_corpora(stored, **view))
        for task, corpus in viewed.items():
            for split in ("train", "validation", "test"):
                if not len(corpus.splits[split]):
                    gaps[task] = f"{split} of task {task} has no windows" + (
                        f" in fold {fold}" if view["fold"] is not None else ""
                    )
        corpora.append(viewed)
    corpora = [{t: c for t, c in viewed.items() if t not in gaps} for viewed in corpora]
    if not corpora[0]:
        raise ValueError("no task can be tested: " + "; ".join(gaps.values()))
    for row in rows:  # do their sampling rules fit?
        training_mixes(corpora[0], row.config.sampling_of(corpora[0]))
    bases = {row.config.model.base: row.config.model for row in rows
             if METHODS[row.config.method].needs_model and row.config.model.base}  # fmt: skip
    starts = {base: start_model(options).fingerprint() for base, options in bases.items()}
    return Prepared(tuple(corpora), gaps, starts)


def open_tasks(config: JointConfig, data: str | Path) -> tuple[dict[str, Corpus], dict[str, str]]:
    """The prepared corpora, and which tasks lack a split that they need.

    Raises
    ------
    OSError, ValueError
        A task is not there at all, or damaged.
    """
    gaps: dict[str, str] = {}
    if not (config.data.streaming or is_url(data)):
        for task in config.data.tasks:
            place = Path(task_location(data, task))
            lacking = [
                split
                for split in ("train", "validation", "test")
                if (place / "dataset_dict.json").is_file() and not (place / split).exists()
            ]
            if lacking:
                gaps[task] = f"task {task} has no split {', '.join(lacking)}: {place}"
    there = [task for task in config.data.tasks if task not in gaps]
    if not there:
        raise ValueError("no task can be tested: " + "; ".join(gaps.values()))
    return load_corpora(data, there, config.data.streaming), gaps


def count_folds(config: JointConfig, stored: Mapping[str, Corpus]) -> int:
    """Folds of the comparison's split; 1 where it has none.

    Raises
    ------
    SplitError
        The tasks do not allow it.
    """
    if not SplitRule.parse(config.data.split).has_folds:
        return 1
    labels = {task: view for task, view in config.data.labels.items() if task in stored}
    folds = fold_count(stored, config.data.split, labels)
    if folds < 2:
        raise SplitError(f"data.split: expected two folds or more, found {folds}.")
    return folds


def unfit(part: Part, corpora: Mapping[str, Corpus]) -> dict[str, str]:
    """Tasks that a row's model cannot take, each with what it says.

    The method is built as the training builds it and asked for two windows of every test; where
    that fails, each task is tried alone.

    Raises
    ------
    TrainingError, ValueError, RuntimeError
        It fails with all tasks together and with none alone.
    """
    config = part.training(part.seeds[0])
    try:
        _try_method(config, part.tasks, corpora)
        return {}
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:
        if len(part.tasks) == 1:
            return {part.tasks[0]: str(error)}
        found = {}
        for task in part.tasks:
            try:
                _try_method(config, (task,), corpora)
            except (ValueError, RuntimeError) as alone:
                found[task] = str(alone)
        if not found:
            raise
        return found


def _try_method(config: JointConfig, tasks: tuple[str, ...], corpora: Mapping[str, Corpus]) -> None:
    data = dataclasses.replace(config.data, tasks=tasks)
    config, seed = dataclasses.replace(config, data=data), config.seeds[0]
    cards = {task: corpora[task].card for task in tasks}
    method = METHODS[config.method].build(config, cards, seed)
    if not isinstance(method, GradientMethod):
        return
    for task in tasks:
        reader = corpora[task].splits["test"]
        batch = model_inputs(reader, cards[task], np.arange(min(2, len(reader))))
        del batch["labels"]
        method.predict_logits(task, batch)


def check_units(parts: Sequence[Part], prepared: Prepared, again: Sequence[str]) -> list[str]:
    """Damaged files among the parts; nothing is changed.

    Parameters
    ----------
    parts : sequence of Part
    prepared : Prepared
    again : sequence of str
        Rows that begin anew.

    Returns
    -------
    list of str
        A sentence for every damaged file.

    Raises
    ------
    TrainingError
        Results of other data or settings lie there; all of them are told, with what differs.
    """
    damaged, others = [], []
    for part in parts:
        if part.row.name in again:
            continue
        part = part.without(prepared.gaps)
        if not part.tasks:
            continue
        try:
            others += _told(f"{part}, tries", _differing_tries(part, prepared))
        except ResultError as error:
            damaged.append(str(error))
            continue
        for seed in part.seeds:
            try:
                others += _other_results(part, seed, prepared)
            except ResultError as error:
                damaged.append(str(error))
    if others:
        lines = "".join(f"\n  - {line}" for line in others)
        raise TrainingError(
            "the output folder holds results of other data or settings; nothing was changed:"
            + lines
            + "\nGive another --output, or --again ROW, which replaces what that row has left."
        )
    return damaged


def other_tries(part: Part, prepared: Prepared) -> dict[str, tuple[Any, Any]]:
    """What decides a part's tries and is not what it was: key to (then, now); damage, too."""
    try:
        return _differing_tries(part, prepared)
    except ResultError as error:
        return {TUNED: (str(error), "readable")}


def _differing_tries(part: Part, prepared: Prepared) -> dict[str, tuple[Any, Any]]:
    said = tuned(part)
    if said is None:
        return {}
    config = as_then(part, part.folder.glob(f"seed-*/{MISSING}")).tries()
    return differing(config, said, prepared.hashes(part.fold), prepared.start(config))


def _other_results(part: Part, seed: int, prepared: Prepared) -> list[str]:
    folder = part.unit_folder(seed)
    said, chosen = finished(folder), tuned(part)
    if part.row.tries is not None and chosen is None and said is not None:
        return [f"{part}, seed {seed}: trained without the tries of tune that there are now"]
    part = as_then(part, [folder / MISSING])
    config = part.training(seed, (chosen or {}).get("chosen"))
    found = differing(config, said, prepared.hashes(part.fold), prepared.start(config))
    return _told(f"{part}, seed {seed}", found)


def as_then(part: Part, notes: Iterable[Path]) -> Part:
    """The part without the tasks that it is noted to miss, as it was trained then."""
    names = {task for path in notes if path.is_file() for task in read_result(path)}
    left = part.without(names)
    return left if left.tasks else part


def _told(what: str, keys: Mapping[str, tuple[Any, Any]]) -> list[str]:
    said = ", ".join(f"{key} (there {then!r}, now {now!r})" for key, (then, now) in keys.items())
    return [f"{what}: {said}"] if said else []
