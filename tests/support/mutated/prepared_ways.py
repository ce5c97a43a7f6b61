"""Prepared folders and results as trainings, comparisons and reports read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from modeling_mteeg.comparison.finished_rows import read_rows
from modeling_mteeg.data import load_corpus, load_unlabelled
from modeling_mteeg.evaluation.saved_predictions import read_predictions
from modeling_mteeg.methods.method import TrainingError

from .originals import Original
from .trying import NotFinite

DOCUMENTED = (TrainingError,)


def corpus(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """All windows of a prepared corpus."""
    found = load_corpus(folder)
    for reader in found.splits.values():
        values = reader.read(range(len(reader)))
        if not np.isfinite(values).all():
            raise NotFinite("windows that are not finite")
        if not (reader.labels.min() >= 0 and reader.labels.max() < len(found.card.labels)):
            raise NotFinite("labels that are none")
    return iter(())


def stretches(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """All windows of an unlabelled preparation."""
    for group in load_unlabelled(folder, 1.0, max_patches=24, max_seconds=4)["train"]:
        if not np.isfinite(group.read(range(len(group)))).all():
            raise NotFinite("windows that are not finite")
    return iter(())


def predictions(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """A file of predictions."""
    said = read_predictions(folder / "tuab.parquet")
    if not np.isfinite(said.probabilities).all():
        raise NotFinite("probabilities that are not finite")
    return iter(())


def results(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """The rows of a comparison, as ``--report`` reads them."""
    damaged: list[str] = []
    rows = read_rows(folder, damaged=damaged)
    yield from damaged
    for row in rows:
        yield from row.missing.values()
