"""Small prepared corpora of several people, whose windows can be told from each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict

from modeling_mteeg.data import encode_window, window_features, write_index
from modeling_mteeg.model.task_card import TaskCard

CARD = TaskCard("eegmat", ("rest", "arithmetic"), ("FP1", "C3"), window_s=1)
SPLITS = ("train", "validation", "test")


def two_classes(person: int, number: int, windows: int) -> str:
    """The first recording rests, the second calculates."""
    return CARD.labels[number]


def by_person(person: int, number: int, windows: int) -> str:
    """A person has one class only: every third calculates."""
    return CARD.labels[person % 3 == 0]


def rows_of(
    person: int,
    windows: int = 12,
    step_s: float = 1.0,
    label: Callable[[int, int, int], str] = two_classes,
    strength: float = 1.0,
    card: TaskCard = CARD,
) -> list[dict]:
    """Two recordings of a person; ``strength`` lets the second class be seen in the amplitude."""
    rows = []
    samples = round(card.window_s * card.rate_hz)
    for number in range(2):
        random = np.random.default_rng([person, number])
        for window in range(windows):
            name = label(person, number, window)
            louder = 1 + strength * card.labels.index(name)
            signal = random.normal(0, 20 * louder, (len(card.channels), samples))
            recording, subject = f"p{person:02d}_{number}", f"p{person:02d}"
            rows.append(encode_window(signal, card.channels, name, recording, subject,
                                      window * step_s))  # fmt: skip
    return rows


def save_people(folder: Path, people: int = 12, card: TaskCard = CARD, **options) -> Path:
    """A prepared corpus in ``<folder>/<task>``: the last four people validate and test."""
    where = folder / card.name
    borders = {"train": range(people - 4), "validation": range(people - 4, people - 2),
               "test": range(people - 2, people)}  # fmt: skip
    data = DatasetDict({
        split: Dataset.from_list(
            [row for person in some for row in rows_of(person, card=card, **options)],
            features=window_features(card.labels),
        )
        for split, some in borders.items()
    })  # fmt: skip
    data.save_to_disk(str(where))
    for split in SPLITS:
        write_index(where / split)
    card.replace(split_hash="stored").save(where)
    return folder
