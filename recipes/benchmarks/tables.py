"""Measurements as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence


def table(head: str, rows: Iterable[str]) -> str:
    """A table; the cells of head and rows are separated by `` | ``."""
    rule = "|".join(["---"] * (1 + head.count(" | ")))
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in rows)])


def notes(texts: Mapping[str, str], names: Iterable[str] | None = None) -> str:
    """A list that says what the rows are; all of them, or those named."""
    return "\n".join(f"- {name}: {texts[name]}" for name in names or texts)


def median_ratio(ours: Sequence[float], plain: Sequence[float]) -> float:
    """Median over the rounds of plain's seconds by ours, so that a slow round counts for both."""
    return statistics.median(a / b for a, b in zip(plain, ours, strict=True))


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def step_table(
    head: str,
    samples: int,
    seconds: Mapping[str, Sequence[float]],
    peak: Mapping[str, float],
    floors: Mapping[str, float],
) -> str:
    """Time, floor and memory of a training step of ``samples`` samples, by variant.

    ``head`` names step and speed, ``seconds`` has every round's of every variant (the others are
    divided by the first), ``peak`` is in MB, ``floors`` are seconds of matrix products alone.
    """
    step, speed = head.split(" | ")
    plain, rows = next(iter(seconds.values())), []
    for name, values in seconds.items():
        middle = statistics.median(values)
        rows.append(
            f"{name} | {middle:.3f} | {samples / middle:.1f} | {median_ratio(values, plain):.2f} "
            f"| {floors[name]:.3f} | {floors[name] / middle:.0%} | {peak[name]:.0f}"
        )
    columns = f"{step} | seconds | {speed} | times plain | floor s | share of floor | peak MB"
    return table(columns, rows)
