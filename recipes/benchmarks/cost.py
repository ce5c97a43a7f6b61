"""Hours of machine time that stage one takes on a corpus, from measured windows a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modeling_mteeg.recipes.benchmarks.tables import table


class Passes(NamedTuple):
    """Where windows begin, and how often each is seen, as published."""

    stride_s: float
    epochs: int


PUBLISHED = {"pretraining": Passes(4.0, 50), "tokenizer": Passes(1.0, 100)}


def windows(part: str, corpus_hours: float) -> float:
    """Windows that a training sees: one every stride of the corpus, in every epoch."""
    passes = PUBLISHED[part]
    return corpus_hours * 3600 / passes.stride_s * passes.epochs


def cost(part: str, corpus_hours: float, rates: Mapping[str, float]) -> str:
    """Hours of this machine for each variant.

    Parameters
    ----------
    part : {"pretraining", "tokenizer"}
    corpus_hours : float
        Length of all recordings together.
    rates : mapping of str to float
        Windows a second by variant.
    """
    passes, total = PUBLISHED[part], windows(part, corpus_hours)
    rows = [f"{name} | {total / rate / 3600:,.0f}" for name, rate in rates.items()]
    return (
        f"{passes.epochs} epochs of a window every {passes.stride_s:g} s of {corpus_hours:,g} h "
        f"are {total / 1e6:,.1f} million windows.\n\n"
        + table(f"{corpus_hours:,g} h of recordings | hours of this machine", rows)
    )
