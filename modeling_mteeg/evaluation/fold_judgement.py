"""What a cross-validation says of a model: over folds, pooled, over people, beside the floors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .evaluator import confusion_counts, metric_inputs
from .intervals import PeopleBootstrap
from .judgement import check_same_windows, number_text, range_text, relation_of
from .metrics import METRICS, DegenerateMetricWarning, title_of
from .saved_predictions import WindowPredictions

ByFold = Sequence[WindowPredictions]


def pooled(by_fold: ByFold) -> WindowPredictions:
    """The test windows of all folds as one, fold after fold.

    The card has no split hash and no threshold, for every fold has its own.
    """
    first = by_fold[0]
    columns = (
        np.concatenate([getattr(said, name) for said in by_fold])
        for name in ("recordings", "subjects", "onsets_s")
    )
    logits = np.concatenate([said.logits for said in by_fold])
    labels = np.concatenate([said.labels for said in by_fold])
    card = first.card.replace(split_hash=None, threshold=None)
    return WindowPredictions(logits, labels, card, *columns)


def judge_folds(
    by_seed: Sequence[ByFold], floors: Mapping[str, ByFold] | None = None
) -> dict[str, Any]:
    """Judge one task by the test windows of every fold.

    Parameters
    ----------
    by_seed : sequence of sequence of WindowPredictions
        Of every seed and in it of every fold, on the same windows for all seeds.
    floors : mapping of str to sequence of WindowPredictions, optional
        What the model has to be above, fold by fold, by its name in words.

    Returns
    -------
    dict
        Of plain types. ``windows``, ``people``, ``folds``; ``metrics``: metric to its value
        ``by_fold`` (mean over the seeds), their ``mean`` and ``std`` (n - 1), ``by_seed`` (means
        over the folds) and ``pooled`` (of the windows of all folds as one, mean over the seeds);
        ``statistic``: ``mean over folds``, or ``pooled`` where the monitor metric is undefined in a
        fold: what the sentence, ``interval`` and differences are of; ``intervals``: 95 % over
        people of the pooled metrics; ``confusion``; ``floors``: name to ``metrics``,
        ``difference`` and ``relation`` as of :func:`~modeling_mteeg.evaluation.judge`;
        ``thresholds`` of every seed and fold, where they were chosen; ``sentence``. Predicted
        classes are those by the threshold of each fold.

    Raises
    ------
    ValueError
        Predictions of different windows.

    Notes
    -----
    People are drawn out of all folds with all their windows. The mean over folds of a draw is that
    of the drawn people of each fold; a fold that a draw leaves without a person, or without a
    class, is left out of the mean of that draw.
    """
    floors = floors or {}
    wholes = [pooled(by_fold) for by_fold in (*by_seed, *floors.values())]
    check_same_windows(wholes)
    first, folds = wholes[0], len(by_seed[0])
    card, monitor = first.card, first.card.monitor
    fold_of = np.repeat(np.arange(folds), [len(said.labels) for said in by_seed[0]])
    as_one = np.zeros_like(fold_of)
    metrics = _metrics(by_seed)
    in_folds = bool(np.isfinite(metrics[monitor]["by_fold"]).all())
    bootstrap = PeopleBootstrap(first.subjects, first.labels)

    def drawn(trainings: Sequence[ByFold], metric: str, groups: np.ndarray) -> np.ndarray:
        return np.mean([_resampled(bootstrap, each, metric, groups) for each in trainings], 0)

    groups, which = (fold_of, "mean") if in_folds else (as_one, "pooled")
    over_people = drawn(by_seed, monitor, groups)
    result = {
        "windows": len(first.labels),
        "people": bootstrap.people,
        "folds": folds,
        "statistic": "mean over folds" if in_folds else "pooled",
        "metrics": metrics,
        "interval": bootstrap.interval(over_people).to_dict(),
        "intervals": {
            metric: bootstrap.interval(drawn(by_seed, metric, as_one)).to_dict()
            for metric in card.metrics
        },
        "confusion": sum(
            confusion_counts(said, said.card) for by_fold in by_seed for said in by_fold
        ).tolist(),
        "floors": {},
    }
    for name, by_fold in floors.items():
        alone = _metrics([by_fold])
        interval = bootstrap.interval(over_people - drawn([by_fold], monitor, groups))
        value = metrics[monitor][which] - alone[monitor][which]
        result["floors"][name] = {
            "metrics": alone,
            "difference": {"value": value, **interval.to_dict()},
            "relation": relation_of(interval),
        }
    thresholds = [[said.card.threshold for said in by_fold] for by_fold in by_seed]
    if any(threshold is not None for own in thresholds for threshold in own):
        result["thresholds"] = thresholds
    result["sentence"] = _sentence(title_of(monitor), monitor, which, result)
    return result


def _inputs(by_fold: ByFold, wants: str) -> tuple[np.ndarray, np.ndarray]:
    """What a metric is computed from, and the labels, of all folds; classes by each fold's card."""
    predicted = [metric_inputs(said, said.card)[wants] for said in by_fold]
    return np.concatenate(predicted), np.concatenate([said.labels for said in by_fold])


def _metrics(by_seed: Sequence[ByFold]) -> dict[str, Any]:
    """Every metric by fold, over folds, by seed and pooled."""
    metrics = {}
    with warnings.catch_warnings():  # that a fold holds one class is said in the sentence
        warnings.simplefilter("ignore", DegenerateMetricWarning)
        for name in by_seed[0][0].card.metrics:
            entry = METRICS[name]
            values = np.array(
                [[entry(*_inputs([said], entry.wants)) for said in by_fold] for by_fold in by_seed]
            )  # fmt: skip  (seeds, folds)
            together = [entry(*_inputs(by_fold, entry.wants)) for by_fold in by_seed]
            by_fold = values.mean(0)
            metrics[name] = {
                "by_fold": by_fold.tolist(),
                "mean": float(by_fold.mean()),
                "std": float(by_fold.std(ddof=1)) if len(by_fold) > 1 else None,
                "by_seed": values.mean(1).tolist(),
                "pooled": float(np.mean(together)),
            }
    return metrics


def _resampled(
    bootstrap: PeopleBootstrap, by_fold: ByFold, metric: str, groups: np.ndarray
) -> np.ndarray:
    """The mean over groups of windows of a metric on every resample, (resamples,)."""
    if bootstrap.missing:
        return np.zeros(0)
    entry = METRICS[metric]
    predicted, labels = _inputs(by_fold, entry.wants)
    means = []
    for rows in bootstrap:
        values = []
        for group in np.unique(groups[rows]):
            mine = rows[groups[rows] == group]
            if not entry.needs_two_classes or np.ptp(labels[mine]):
                values.append(entry.resampled(predicted[mine], labels[mine]))
        means.append(np.mean(values) if values else np.nan)
    return np.array(means)


def _sentence(title: str, monitor: str, which: str, result: Mapping[str, Any]) -> str:
    """Metric, interval, and how it stands to every floor."""
    values, interval = result["metrics"][monitor], result["interval"]
    over = f" (95 % interval over {result['people']} people " if "low" in interval else ""
    over += f"{range_text(interval['low'], interval['high'])})" if over else ""
    pooled_text = f"pooled {number_text(values['pooled'])}"
    if which == "mean":
        spread = "" if values["std"] is None else f" ± {values['std']:.3f}"
        text = f"{title} {number_text(values['mean'])}{spread} over {result['folds']} folds{over}"
        parts = [text, pooled_text]
    else:
        parts = [f"{title} {pooled_text} over {result['folds']} folds{over}",
                 "undefined in some folds, which hold one class"]  # fmt: skip
    for name, floor in result["floors"].items():
        number, difference = number_text(floor["metrics"][monitor][which]), floor["difference"]
        if not floor["relation"]:
            parts.append(f"{name} {number}")
            continue
        parts.append(f"{floor['relation']} {name} ({number}; difference {difference['value']:+.3f},"
                     f" {range_text(difference['low'], difference['high'])})")  # fmt: skip
    if "thresholds" in result:
        parts.append("decision thresholds chosen on validation, in every fold its own")
    if interval.get("missing"):
        parts.append(f"no interval: {interval['missing']}")
    return "; ".join(parts) + "."
