"""Feeding a live predictor, and reading what it answered."""

from __future__ import annotations

import numpy as np

from modeling_mteeg.prediction.live import LivePredictor, LiveResult

ELECTRODES = ["FP1", "FP2", "C3", "T3", "A1", "F7", "T7", "P3", "FPZ", "CZ", "PZ", "OZ"]
"""Enough for tuab, tuev, and (derived) chb-mit and sleep-edf, with one that no task needs."""


def feed(live: LivePredictor, signal: np.ndarray, size: int | None = None) -> list[LiveResult]:
    """All results of chunks of one size, or of random ones."""
    rng, results, place = np.random.default_rng(5), [], 0
    while place < signal.shape[1]:
        step = int(rng.integers(0, 4000)) if size is None else size
        results += live.push(signal[:, place : place + step])
        place += step
    return results + live.finish()


def rows(results: list[LiveResult], task: str) -> np.ndarray:
    return np.array([list(one.probabilities.values()) for one in results if one.task == task])
