"""What a cross-validation says of a model: over folds, pooled, over people, beside the floors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .evaluator import metric_inputs, score
from .intervals import PeopleBootstrap
from .judgement import judge, number_text, range_text, relation_of
from .metrics import METRICS, DegenerateMetricWarning, title_of
from .saved_predictions import WindowPredictions

ByFold = Sequence[WindowPredictions]


def pooled(by_fold: ByFold) -> WindowPredictions:
    """The test windows of all folds as one, fold after fold."""
    first = by_fold[0]
    columns = (
        np.concatenate([getattr(said, name) for said in by_fold])
        for name in ("recordings", "subjects", "onsets_s")
    )
    logits = np.concatenate([said.logits for said in by_fold])
    labels = np.concatenate([said.labels for said in by_fold])
    card = first.card.replace(split_hash=None)  # every fold has its own
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
        ``sentence``.

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
    whole = [pooled(by_fold) for by_fold in by_seed]
    judged = judge(whole, {name: pooled(by_fold) for name, by_fold in floors.items()})
    card, monitor = whole[0].card, whole[0].card.monitor
    fold_of = np.repeat(np.arange(len(by_seed[0])), [len(said.labels) for said in by_seed[0]])
    metrics = _metrics(by_seed, whole)
    in_folds = all(np.isfinite(metrics[monitor]["by_fold"]))
    bootstrap = PeopleBootstrap(whole[0].subjects, whole[0].labels)

    def drawn(by_fold: ByFold) -> np.ndarray:
        if in_folds:
            return _fold_means(bootstrap, by_fold, monitor, fold_of)
        return bootstrap.values(pooled(by_fold), monitor)

    resampled = np.mean([drawn(by_fold) for by_fold in by_seed], 0)
    which = "mean" if in_folds else "pooled"
    value = metrics[monitor][which]
    result = {
        "windows": judged["windows"],
        "people": judged["people"],
        "folds": len(by_seed[0]),
        "statistic": "mean over folds" if in_folds else "pooled",
        "metrics": metrics,
        "interval": bootstrap.interval(resampled).to_dict(),
        "intervals": judged["intervals"],
        "confusion": judged["confusion"],
        "floors": {},
    }
    for name, by_fold in floors.items():
        alone = _metrics([by_fold], [pooled(by_fold)])
        interval = bootstrap.interval(resampled - drawn(by_fold))
        difference = {"value": value - alone[monitor][which], **interval.to_dict()}
        relation = relation_of(interval)
        result["floors"][name] = {
            "metrics": alone, "difference": difference, "relation": relation
        }  # fmt: skip
    result["sentence"] = _sentence(title_of(card.monitor), monitor, which, result)
    return result


def _metrics(by_seed: Sequence[ByFold], whole: Sequence[WindowPredictions]) -> dict[str, Any]:
    """Every metric by fold, over folds, by seed and pooled."""
    card = whole[0].card
    with warnings.catch_warnings():  # that a fold holds one class is said in the sentence
        warnings.simplefilter("ignore", DegenerateMetricWarning)
        scores = [[score(said, said.card) for said in by_fold] for by_fold in by_seed]
        together = [score(said, card) for said in whole]
    values = np.array(
        [[[each[metric] for metric in card.metrics] for each in by_fold] for by_fold in scores]
    )  # fmt: skip  (seeds, folds, metrics)
    metrics = {}
    for number, metric in enumerate(card.metrics):
        by_fold = values[:, :, number].mean(0)
        spread = float(by_fold.std(ddof=1)) if len(by_fold) > 1 else None
        metrics[metric] = {
            "by_fold": by_fold.tolist(),
            "mean": float(by_fold.mean()),
            "std": spread,
            "by_seed": values[:, :, number].mean(1).tolist(),
            "pooled": float(np.mean([each[metric] for each in together])),
        }
    return metrics


def _fold_means(
    bootstrap: PeopleBootstrap, by_fold: ByFold, metric: str, fold_of: np.ndarray
) -> np.ndarray:
    """The mean over folds of a metric on every resample, (resamples,)."""
    if bootstrap.missing:
        return np.zeros(0)
    entry = METRICS[metric]
    inputs = [metric_inputs(said, said.card)[entry.wants] for said in by_fold]
    predicted = np.concatenate(inputs)
    labels = np.concatenate([said.labels for said in by_fold])
    means = []
    for rows in bootstrap:
        values = []
        for fold in np.unique(fold_of[rows]):
            mine = rows[fold_of[rows] == fold]
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
    if interval.get("missing"):
        parts.append(f"no interval: {interval['missing']}")
    return "; ".join(parts) + "."
