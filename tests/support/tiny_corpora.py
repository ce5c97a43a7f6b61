"""Small prepared corpora of noise, for tests of reading, mixing, evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict

from modeling_mteeg.data import encode_window, window_features, write_index
from modeling_mteeg.model.task_card import TaskCard

CARDS = {
    "tuab": TaskCard("tuab", ("normal", "abnormal"), ("FP1", "FP2", "C3"), window_s=2),
    "seed-v": TaskCard("seed-v", ("disgust", "fear", "sad"), ("C3", "C4"), window_s=1),
    "sleep-edf": TaskCard("sleep-edf", ("W", "N1", "N2"), ("FPZ-CZ", "PZ-OZ"), window_s=3),
}


def signals(card: TaskCard, number: int, seed: int) -> np.ndarray:
    """(number, channels, samples) float32 in microvolt; no two windows alike."""
    shape = (number, len(card.channels), round(card.window_s * card.rate_hz))
    return np.random.default_rng(seed).normal(0, 30, shape).astype(np.float32)


def make_dataset(card: TaskCard, number: int, seed: int = 0, dtype: str = "float32") -> Dataset:
    """Windows with the labels 0, 1, ... in turn."""
    rows = [
        encode_window(
            window, card.channels, index % len(card.labels), f"r{index // 4}", f"s{index // 8}",
            index * card.window_s, dtype,
        )
        for index, window in enumerate(signals(card, number, seed))
    ]  # fmt: skip
    return Dataset.from_list(rows, features=window_features(card.labels))


def save_corpus(folder: Path, card: TaskCard, sizes: tuple[int, int, int], **options) -> None:
    """Write train, validation, test, their indexes and the card as a prepared corpus."""
    names = ("train", "validation", "test")
    splits = {
        name: make_dataset(card, size, seed, **options)
        for seed, (name, size) in enumerate(zip(names, sizes, strict=True))
    }
    DatasetDict(splits).save_to_disk(str(folder))
    for name in names:
        write_index(folder / name)
    card.save(folder)


def save_corpora(folder: Path, sizes: dict[str, tuple[int, int, int]], **options) -> None:
    """``save_corpus`` for each task of :data:`CARDS` named in ``sizes``."""
    for task, numbers in sizes.items():
        save_corpus(folder / task, CARDS[task], numbers, **options)
