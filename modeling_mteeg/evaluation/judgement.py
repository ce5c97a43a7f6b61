"""What a test says of a model: people, intervals over them, and whether it is above the floors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .evaluator import confusion_counts, score
from .intervals import Interval, PeopleBootstrap
from .metrics import title_of
from .saved_predictions import WindowPredictions

_RELATIONS = ("above", "below", "not shown to be above")


def judge(
    by_seed: Sequence[WindowPredictions], floors: Mapping[str, WindowPredictions] | None = None
) -> dict[str, Any]:
    """Judge the predictions of one task on its test windows.

    Parameters
    ----------
    by_seed : sequence of WindowPredictions
        Of trainings that differ in the seed, on the same windows. Metrics are the means over them.
    floors : mapping of str to WindowPredictions, optional
        What the model has to be above, by its name in words, on the same windows.

    Returns
    -------
    dict
        Of plain types. ``windows``, ``people``; ``intervals``: metric to ``low`` and ``high`` (95 %
        over people, see :class:`~modeling_mteeg.evaluation.PeopleBootstrap`), or ``missing``, which
        says why there is none; ``confusion``: windows by true (rows) and predicted class, added up
        over the seeds; ``floors``: name to its metrics (``scores``), the ``difference`` of the
        monitor metric (model less floor, with ``low`` and ``high`` or ``missing``: people are
        drawn once for both) and the ``relation``: ``above``, ``below``, ``not shown to be above``
        where the interval of the difference holds 0, and empty where there is none;
        ``thresholds``: of every seed, where they were chosen on validation; ``sentence``: all of it
        in words.

    Raises
    ------
    ValueError
        Predictions of different windows.
    """
    first = by_seed[0]
    check_same_windows([*by_seed, *(floors or {}).values()])
    card, bootstrap = first.card, PeopleBootstrap(first.subjects, first.labels)
    resampled = {
        metric: np.mean([bootstrap.values(predictions, metric) for predictions in by_seed], 0)
        for metric in card.metrics
    }
    # Of every training its own card, which may have a threshold of its own.
    scores = [score(predictions, predictions.card) for predictions in by_seed]
    means = {metric: float(np.mean([each[metric] for each in scores])) for metric in card.metrics}
    judgement = {
        "windows": len(first.labels),
        "people": bootstrap.people,
        "intervals": {
            metric: bootstrap.interval(values).to_dict() for metric, values in resampled.items()
        },
        "confusion": sum(confusion_counts(each, each.card) for each in by_seed).tolist(),
        "floors": {},
    }
    value = means[card.monitor]
    for name, floor in (floors or {}).items():
        floor_scores = score(floor, floor.card)
        values = resampled[card.monitor] - bootstrap.values(floor, card.monitor)
        interval = bootstrap.interval(values)
        judgement["floors"][name] = {
            "scores": {metric: floor_scores[metric] for metric in card.metrics},
            "difference": {"value": value - floor_scores[card.monitor], **interval.to_dict()},
            "relation": relation_of(interval),
        }
    thresholds = [predictions.card.threshold for predictions in by_seed]
    if any(threshold is not None for threshold in thresholds):
        judgement["thresholds"] = thresholds
    over_people = bootstrap.interval(resampled[card.monitor])
    judgement["sentence"] = _sentence(card.monitor, value, over_people, judgement)
    return judgement


def check_same_windows(predictions: Sequence[WindowPredictions]) -> None:
    """Raise ``ValueError`` where predictions are not all of the same windows in the same order."""
    first = predictions[0]
    for other in predictions[1:]:
        same = np.array_equal(first.labels, other.labels) and all(
            np.array_equal(getattr(first, name), getattr(other, name))
            for name in ("recordings", "subjects", "onsets_s")
        )
        if not same:
            raise ValueError(
                f"Task {first.card.name!r}: expected predictions of the same windows, found "
                f"{len(first.labels)} and {len(other.labels)} that differ."
            )


def relation_of(difference: Interval) -> str:
    """``above``, ``below``, ``not shown to be above``; empty where there is no interval."""
    if difference.low is None:
        return ""
    above, below, neither = _RELATIONS
    return above if difference.low > 0 else below if difference.high < 0 else neither


def _sentence(monitor: str, value: float, interval: Interval, judgement: Mapping[str, Any]) -> str:
    """Metric, interval, and how it stands to every floor."""
    metric = title_of(monitor)
    parts = [f"{metric} {number_text(value)}"]
    if interval.low is not None:
        parts[0] += (f" (95 % interval over {judgement['people']} people "
                     f"{range_text(interval.low, interval.high)})")  # fmt: skip
    for name, floor in judgement["floors"].items():
        number = number_text(floor["scores"][monitor])
        difference = floor["difference"]
        if not floor["relation"]:
            parts.append(f"{name} {number}")
            continue
        parts.append(f"{floor['relation']} {name} ({number}; difference {difference['value']:+.3f},"
                     f" {range_text(difference['low'], difference['high'])})")  # fmt: skip
    if interval.missing:
        parts.append(f"no interval: {interval.missing}")
    if "thresholds" in judgement:
        numbers = ", ".join("0.5" if t is None else f"{t:.3g}" for t in judgement["thresholds"])
        parts.append(f"decision threshold {numbers}, chosen on validation")
    return "; ".join(parts) + "."


def number_text(value: float) -> str:
    """``0.512``, or that it is undefined."""
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def range_text(low: float, high: float) -> str:
    """``0.512 to 0.730``."""
    return f"{low:.3f} to {high:.3f}"


def people_text(number: int) -> str:
    """``1 person``, ``12 people``."""
    return f"{number:,} {'person' if number == 1 else 'people'}"
