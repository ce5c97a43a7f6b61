"""What the files of a base or of a task say about it; everything a model card may state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..model.adapter_files import ADAPTERS, CONFIG_FILE, HEAD_FILE, read_adapter_config
from ..model.adapter_options import HEAD_ALONE, AdapterOptions
from ..model.checked_files import COUNTS, FLOATS, check_place, read_json, tensor_shapes
from ..model.task_card import CARD_FILE, TaskCard

RECORD_FILE = "training.json"
"""How a base was trained, as joint training writes it beside the weights."""
CONVERSION_FILE = "conversion.json"
"""What a converted checkpoint's keys became, beside the weights that were made of it."""
TASKS = "tasks"
"""Folder of the tasks in what a method without a base saves."""
CURVES_FILE = "curves.png"
TOKENIZER_TYPE = "mteeg_tokenizer"
"""``model_type`` of a neural tokenizer's ``config.json``."""


class CardError(ValueError):
    """A folder that no model card can be made of."""


@dataclass(frozen=True)
class Score:
    """A metric on the test split: ``mean`` over seeds (None: undefined), ``std`` (n - 1) or None.

    ``values`` are in the order of the seeds.
    """

    metric: str
    mean: float | None
    std: float | None
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Curve:
    """A task's training, an entry an epoch; what is missing is an empty tuple."""

    train_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    monitor: tuple[float, ...] = ()


@dataclass(frozen=True)
class TaskFacts:
    """A task's card and what its ``results`` say.

    Parameters
    ----------
    card : TaskCard
    scores : tuple of Score
        In the order of the card's metrics; empty: none recorded.
    seeds : tuple of int
        Seeds behind the scores; empty: not stated.
    test_windows : int or None
    judgement : mapping
        People, intervals over them and the floors, as
        :func:`modeling_mteeg.evaluation.judge` says them; empty: not recorded.
    training : mapping
        Record of the training (command, packages ...); empty: none.
    data : mapping
        Windows of each split, rule of the split, fingerprint of the data.
    curve : Curve
    options : AdapterOptions
    """

    card: TaskCard
    scores: tuple[Score, ...] = ()
    seeds: tuple[int, ...] = ()
    test_windows: int | None = None
    judgement: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    curve: Curve = Curve()
    options: AdapterOptions = HEAD_ALONE


@dataclass(frozen=True)
class BaseFacts:
    """A base: its configuration, the number of its parameters, its record and its tasks."""

    config: Mapping[str, Any]
    parameters: int
    training: Mapping[str, Any]
    tasks: tuple[TaskFacts, ...]


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a task's weights (a prepared corpus has a task card too)."""
    return (folder / CARD_FILE).is_file() and (folder / HEAD_FILE).is_file()


def is_base(folder: Path) -> bool:
    """Whether a folder holds a base."""
    return (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))


def is_method(folder: Path) -> bool:
    """Whether a folder holds what a method without a base has saved."""
    return (folder / RECORD_FILE).is_file() and (folder / TASKS).is_dir()


def is_tokenizer(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is a neural tokenizer's."""
    return config.get("model_type") == TOKENIZER_TYPE


def task_facts(folder: Path) -> TaskFacts:
    """Read a task's folder.

    Raises
    ------
    CardError
        A file is missing or damaged.
    """
    try:
        card = TaskCard.load(folder)
        options = _options(folder) if card.adapter == "lora" else HEAD_ALONE
    except (OSError, ValueError) as error:
        raise CardError(f"{folder}: no model card can be made: {error}") from error
    results = mapping(card.results)
    training = mapping(results.get("training"))
    test = mapping(results.get("test"))
    over_seeds = mapping(results.get("test_over_seeds"))
    scores, seeds = _scores(card, over_seeds), _numbers(results.get("seeds"))
    if not scores:  # one training, or figures that a user gave to save_adapter()
        values = test or results
        single = {metric: {"mean": values[metric], "values": [values[metric]]}
                  for metric in card.metrics if metric in values}  # fmt: skip
        scores, seeds = _scores(card, single), _numbers([results.get("seed")])
    windows = finite(test.get("num_samples"))
    return TaskFacts(
        card=card,
        scores=scores,
        seeds=tuple(int(seed) for seed in seeds),
        test_windows=None if windows is None else int(windows),
        judgement=mapping(results.get("judgement")),
        training=training,
        data=mapping(training.get("data")),
        curve=_curve(training, card.monitor),
        options=options,
    )


def method_facts(folder: Path) -> tuple[Mapping[str, Any], tuple[TaskFacts, ...]]:
    """The record and the tasks, in the record's order, of a method's folder without a base.

    Raises
    ------
    CardError
        A file is missing or damaged.
    """
    record = _read_json(folder / RECORD_FILE)
    order = [name for name in mapping(record.get("data")) if (folder / TASKS / name).is_dir()]
    return record, tuple(task_facts(folder / TASKS / name) for name in order)


def base_facts(folder: Path) -> BaseFacts:
    """Read a base's folder and the tasks beside it.

    Raises
    ------
    CardError
        A file is missing or damaged.
    """
    config = _read_json(folder / "config.json")
    record = {}
    if (folder / RECORD_FILE).is_file():
        record = _read_json(folder / RECORD_FILE)
    elif (folder / CONVERSION_FILE).is_file():
        record = {"pretraining": converted_from(_read_json(folder / CONVERSION_FILE))}
    places = sorted((folder / ADAPTERS).glob("*")) if (folder / ADAPTERS).is_dir() else []
    tasks = {facts.card.name: facts for facts in map(task_facts, filter(is_adapter, places))}
    order = [name for name in mapping(record.get("data")) if name in tasks]
    names = [*order, *(name for name in tasks if name not in order)]
    parameters = _parameters(folder, is_tokenizer(config))
    return BaseFacts(config, parameters, record, tuple(tasks[name] for name in names))


def _parameters(folder: Path, tokenizer: bool) -> int:
    """Number of weights, from the headers of the safetensors files; a codebook's codes are some."""
    kinds = (*FLOATS, *COUNTS) if tokenizer else FLOATS
    paths = sorted(folder.glob("model*.safetensors"))
    try:
        shapes = [item for path in paths for item in tensor_shapes(path, kinds).items()]
    except (OSError, ValueError) as error:
        raise CardError(f"{error} Save or download it again.") from error
    return sum(math.prod(shape) for name, shape in shapes if not _is_count(name))


def _is_count(name: str) -> bool:
    return name.startswith("codebook.") and name != "codebook.codes"


def _options(folder: Path) -> AdapterOptions:
    if not (folder / CONFIG_FILE).is_file():
        raise CardError(f"{folder / CONFIG_FILE} is missing.")
    return read_adapter_config(folder)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(check_place(path))
    except (OSError, ValueError) as error:
        raise CardError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CardError(f"{path}: expected a mapping, found {type(content).__name__}.")
    return content


def _scores(card: TaskCard, summary: Mapping[str, Any]) -> tuple[Score, ...]:
    scores = []
    for metric in card.metrics:
        entry = mapping(summary.get(metric))
        if entry:
            values = entry.get("values")
            values = values if isinstance(values, list) else []
            scores.append(Score(metric, finite(entry.get("mean")), finite(entry.get("std")),
                               tuple(finite(value) for value in values)))  # fmt: skip
    return tuple(scores)


def _curve(training: Mapping[str, Any], monitor: str) -> Curve:
    history = training.get("history")
    entries = [mapping(entry) for entry in history] if isinstance(history, list) else []
    validation = [mapping(entry.get("validation")) for entry in entries]
    series = (
        [entry.get("train_loss") for entry in entries],
        [entry.get("loss") for entry in validation],
        [entry.get(monitor) for entry in validation],
    )
    return Curve(*(tuple(values) if None not in map(finite, values) else () for values in series))


def converted_from(report: Mapping[str, Any]) -> dict[str, str]:
    """``labram_file``: name of the LaBraM checkpoint that a report of a conversion is about."""
    file = mapping(report.get("source")).get("file")
    return {"labram_file": file} if isinstance(file, str) and file else {}


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one: records of others may hold anything."""
    return value if isinstance(value, Mapping) else {}


def _numbers(values: Any) -> tuple[float, ...]:
    """The values if all are finite numbers, else nothing."""
    values = values if isinstance(values, Sequence) and not isinstance(values, str) else ()
    return tuple(values) if None not in map(finite, values) else ()


def finite(value: Any) -> float | None:
    """``value`` if it is a finite number, else None."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if number and math.isfinite(value) else None
