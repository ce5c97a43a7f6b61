"""The simulated corpora go through the readers of the real ones, all six."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from modeling_mteeg.data import WindowReader
from modeling_mteeg.dataset_scripts.demo import simulate
from modeling_mteeg.dataset_scripts.prepare import TASKS, corpus_class, prepare_corpora
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.model.task_card import TaskCard


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("simulated")
    simulate(root / "raw", seed=0, size="small")
    return prepare_corpora(root / "raw", root / "data", settings=Settings(progress=False))


@pytest.mark.parametrize("task", TASKS)
def test_every_split_has_windows_of_the_card(task: str, folders: dict[str, Path]) -> None:
    card = TaskCard.load(folders[task])
    assert card.simulated and card.name == task
    assert card.channels == corpus_class(task).card.channels
    saved = datasets.load_from_disk(str(folders[task]))
    assert list(saved) == ["train", "validation", "test"]
    for rows in saved.values():
        reader = WindowReader(rows)
        assert reader.channels == card.channels
        assert reader.shape == (len(card.channels), round(card.window_s * card.rate_hz))
        some = reader.read(range(0, len(reader), max(1, len(reader) // 20)))
        assert 0.5 < np.median(some.std(axis=2)) < 500  # microvolt
    labels = WindowReader(saved["train"]).labels
    assert set(labels) == set(range(len(card.labels)))


@pytest.mark.parametrize("task", TASKS)
def test_every_recording_was_used(task: str, folders: dict[str, Path]) -> None:
    header, *rows = (folders[task] / "report.tsv").read_text("utf-8").splitlines()
    status = header.split("\t").index("status")
    assert {row.split("\t")[status] for row in rows} <= {"used", "left-out"}
