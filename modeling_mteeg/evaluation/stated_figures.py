"""The figures that a task's card states, beside those that are found: equal or not, and why not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..model.task_card import TaskCard
from .metrics import BESIDE, title_of

STATED = ("validation", "test")
"""Splits that a card states figures of."""
COUNTED = "num_samples"
_PREPARED = ("channels", "window_s", "rate_hz", "scale_uv", "highpass_hz", "lowpass_hz", "notch_hz")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number that a card states, and what is found for it; None: undefined.

    ``name`` is a metric, ``loss`` or ``num_samples``, or ``auroc low``: an end of its interval.
    """

    name: str
    stated: float | None
    found: float | None

    @property
    def difference(self) -> float | None:
        """Found less stated; None where either is undefined."""
        if self.stated is None or self.found is None:
            return None
        return self.found - self.stated

    def equal(self, tolerance: float) -> bool:
        """Whether both are undefined, or differ by no more than ``tolerance``; counts by nothing.

        One that is undefined is no number's equal.
        """
        if self.difference is None:
            return self.stated is self.found
        return abs(self.difference) <= (0 if self.name == COUNTED else tolerance)


def stated_figures(card: TaskCard, split: str) -> dict[str, float | None]:
    """Figures that a card's ``results`` state of a split, by name; empty: none.

    Those of its metrics, ``loss``, ``num_samples``, and of the test by one training the ends of
    the intervals over people. Figures that somebody gave to ``save_adapter`` count as the test's.
    """
    results = _mapping(card.results)
    values = _mapping(results.get(split))
    if split == "test" and not values:
        values = results
    figures = {name: _number(values[name]) for name in (*card.metrics, *BESIDE) if name in values}
    if split == "test" and len(results.get("seeds") or [0]) == 1:
        intervals = _mapping(_mapping(results.get("judgement")).get("intervals"))
        figures |= interval_figures({name: intervals.get(name) for name in card.metrics})
    return figures


def not_compared(card: TaskCard, split: str) -> tuple[str, ...]:
    """Names of further numbers that a card states of a split, which none of its metrics gives."""
    values = _mapping(_mapping(card.results).get(split))
    others = values.keys() - {*card.metrics, *BESIDE}
    return tuple(sorted(name for name in others if _number(values[name]) is not None))


def interval_figures(intervals: Mapping[str, Any]) -> dict[str, float | None]:
    """``auroc low`` and ``auroc high`` of intervals by metric, where there are any."""
    ends = ("low", "high")
    return {
        f"{name} {end}": _number(_mapping(interval)[end])
        for name, interval in intervals.items()
        for end in ends
        if end in _mapping(interval)
    }


def figures_of(
    scores: Mapping[str, float], judgement: Mapping[str, Any]
) -> dict[str, float | None]:
    """What :func:`~modeling_mteeg.evaluation.evaluator.score` and ``judge`` gave, by the names of
    :func:`stated_figures`."""
    return {name: _number(value) for name, value in scores.items()} | interval_figures(
        judgement["intervals"]
    )


def compare(stated: Mapping[str, float | None], found: Mapping[str, float | None]) -> list[Figure]:
    """Every stated figure beside the found one; one that is not found is undefined."""
    return [Figure(name, value, found.get(name)) for name, value in stated.items()]


def figure_title(name: str) -> str:
    """``AUROC``, ``AUROC, from``, ``windows``."""
    metric, _, end = name.partition(" ")
    ends = {"low": ", 95 % from", "high": ", 95 % to"}
    return "windows" if name == COUNTED else title_of(metric) + ends.get(end, "")


def why_unequal(
    card: TaskCard, prepared: TaskCard, data: Mapping[str, Any], made: Mapping[str, Any]
) -> list[str]:
    """What differs between the training that a card states and the evaluation, a sentence each.

    Parameters
    ----------
    card : TaskCard
        Of the adapter.
    prepared : TaskCard
        Of the corpus, with the split that was evaluated.
    data : mapping
        What the corpus says of itself now, as of :func:`~modeling_mteeg.training.record\
.data_record`.
    made : mapping
        ``packages``, ``device``, ``precision`` of the evaluation.

    Returns
    -------
    list of str
        Empty: nothing that is recorded differs.
    """
    training = _mapping(_mapping(card.results).get("training"))
    before = _mapping(training.get("data"))
    reasons = []
    for key, what in (("fingerprint", "another preparation"), ("version", "another version"),
                      ("reader", "read by another program")):  # fmt: skip
        then, now = before.get(key), data.get(key)
        if then is not None and then != now:
            reasons.append(f"{what} of the corpus: {key} {_short(then)} then, {_short(now)} now")
    if card.split_hash != prepared.split_hash:
        then, now = _short(card.split_hash), _short(prepared.split_hash)
        reasons.append(f"another split: hash {then} then, {now} now")
    windows, now = _mapping(before.get("windows")), _mapping(data.get("windows"))
    for split in windows:
        if windows[split] != now.get(split):
            reasons.append(f"other windows in {split}: {windows[split]} then, {now.get(split)} now")
    for key in _PREPARED:
        if getattr(card, key) != getattr(prepared, key):
            reasons.append(
                f"prepared otherwise: {key} {getattr(card, key)} on the card, "
                f"{getattr(prepared, key)} in the corpus"
            )
    return reasons + _other_machine(training, made)


def _other_machine(training: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """Differences that change the last digits, and seldom more."""
    then, now = _mapping(training.get("packages")), made["packages"]
    changed = [f"{name} {then[name]} then, {now.get(name, 'none')} now" for name in then
               if then[name] != now.get(name)]  # fmt: skip
    reasons = [f"other packages: {'; '.join(changed)}"] if changed else []
    for key in ("device", "precision"):
        if key in training and training[key] != made[key]:
            reasons.append(f"another {key}: {training[key]} then, {made[key]} now")
    return reasons


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A finite number, else None: JSON has no NaN."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) > 20 else text


def all_equal(figures: Sequence[Figure], tolerance: float) -> bool | None:
    """Whether all are; None: there are none."""
    return all(figure.equal(tolerance) for figure in figures) if figures else None
