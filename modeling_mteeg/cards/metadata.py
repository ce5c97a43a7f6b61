"""The YAML header of a model card, in the Hub's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluation.metrics import title_of
from ..model.configuration_mteeg import PIPELINE_TASK
from .facts import BaseFacts, Score, TaskFacts, finite, is_tokenizer, mapping
from .sections import is_mteeg
from .stage_one_sections import is_simulated, is_stage_one

OWN_LICENSE = "apache-2.0"
"""Licence of weights that come from random values and simulated recordings alone."""
UNKNOWN_LICENSE = "unknown"
"""The Hub's word where nobody has said."""
_REPO = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def base_header(facts: BaseFacts, title: str, license_id: str) -> str:
    """YAML of a base."""
    tasks = facts.tasks
    tags = ["lora", "multi-task-learning"]
    if not is_mteeg(facts.training):
        tags = [str(facts.training["method"]), "multi-task-learning"]
    if is_tokenizer(facts.config):
        tags = ["neural-tokenizer", "vector-quantization"]
    elif is_stage_one(facts.training):
        tags = ["masked-modeling", "pre-training"]
    if is_simulated(facts.training):
        tags.append("simulated")
    return _yaml(
        title,
        tasks,
        license_id,
        library_name="transformers",
        pipeline_tag="feature-extraction" if is_tokenizer(facts.config) else PIPELINE_TASK,
        base_model=repo_id(facts.training.get("start_repo")),
        datasets=_datasets([_mapping_value(facts.training, "config", "data", "folder")], tasks),
        tags=["eeg", "mteeg", "labram", *tags, *names(tasks)],
    )


def adapter_header(facts: TaskFacts, title: str, license_id: str) -> str:
    """YAML of a task."""
    lora = facts.card.adapter == "lora"
    location = facts.data.get("location")
    return _yaml(
        title,
        [facts],
        license_id,
        library_name="peft" if lora else "transformers",
        pipeline_tag=PIPELINE_TASK,
        base_model=repo_id((facts.card.base or {}).get("name_or_path")),
        datasets=_datasets([location], [facts]),
        tags=["eeg", "mteeg", "labram", *(["lora"] if lora else []), facts.card.name],
    )


def method_header(
    training: Mapping[str, Any], tasks: Sequence[TaskFacts], title: str, license_id: str
) -> str:
    """YAML of a method's folder that is no base."""
    return _yaml(
        title,
        tasks,
        license_id,
        tags=["eeg", str(training.get("method")), *names(tasks)],
    )


def default_license(tasks: Sequence[TaskFacts], training: Any) -> str:
    """Licence of the weights where nobody gave one: the files tell it for simulated data alone.

    ``only_simulated`` of the record goes back to random weights; a record without it tells of its
    own training alone.
    """
    simulated = _mapping_value(training, "only_simulated")
    if simulated is None:
        random_start = _mapping_value(training, "start_kind") == "random"
        simulated = random_start and bool(tasks) and all(facts.card.simulated for facts in tasks)
    return OWN_LICENSE if simulated is True else UNKNOWN_LICENSE


def repo_id(value: Any) -> str | None:
    """``value`` if it names a Hub repository and no folder here."""
    named = isinstance(value, str) and _REPO.fullmatch(value) and not Path(value).exists()
    return value if named else None


def names(tasks: Iterable[TaskFacts]) -> list[str]:
    """Names of the tasks."""
    return [facts.card.name for facts in tasks]


def _datasets(locations: Iterable[Any], tasks: Sequence[TaskFacts]) -> list[str] | None:
    """Hub datasets among the locations of data."""
    repositories = []
    for location in locations:
        prefix = "hf://datasets/"
        if isinstance(location, str) and location.startswith(prefix):
            for task in names(tasks):
                path = location.removeprefix(prefix).replace("{task}", task)
                repositories.append(repo_id("/".join(path.partition("@")[0].split("/")[:2])))
    return sorted({name for name in repositories if name}) or None


def _yaml(title: str, tasks: Sequence[TaskFacts], license_id: str, **fields: Any) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    simulated = any(facts.card.simulated for facts in tasks)
    results = [
        EvalResult(
            task_type="other",
            task_name=f"EEG classification: {facts.card.name}",
            dataset_type=facts.card.name,
            dataset_name=facts.card.corpus or facts.card.name,
            dataset_split="test",
            dataset_args=_stated(
                simulated=facts.card.simulated,
                split_hash=facts.card.split_hash,
                fingerprint=facts.data.get("fingerprint"),
            ),
            metric_type=score.metric,
            metric_name=title_of(score.metric),
            metric_value=_rounded(score.mean),
            metric_args=_args(facts, score),
        )
        for facts in tasks
        for score in facts.scores
        if score.mean is not None
    ]
    metrics = list(dict.fromkeys(score.metric for facts in tasks for score in facts.scores))
    tags = [*fields.pop("tags"), *(["simulated"] if simulated else [])]
    return ModelCardData(
        license=license_id,
        tags=list(dict.fromkeys(tags)),
        metrics=metrics or None,
        model_name=title if results else None,
        eval_results=results or None,
        **fields,
    ).to_yaml()


def _stated(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _args(facts: TaskFacts, score: Score) -> dict[str, Any]:
    """What stands beside a metric's value: seeds, deviation, the values, windows, people."""
    interval = mapping(mapping(facts.judgement.get("intervals")).get(score.metric))
    bounds = [finite(interval.get(bound)) for bound in ("low", "high")]
    people = facts.judgement.get("people")
    return _stated(
        seeds=list(facts.seeds) or None,
        std=_rounded(score.std),
        values=[_rounded(value) for value in score.values],
        windows=facts.test_windows,
        people=people if isinstance(people, int) else None,
        interval_over_people=None if None in bounds else [_rounded(bound) for bound in bounds],
    )


def _mapping_value(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
