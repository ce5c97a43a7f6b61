"""Learning curves: every seed's values, and a ring at the epoch that was kept."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.pictures.learning_curves import draw_learning_curves
from modeling_mteeg.training.final_report import save_learning_curves

CARDS = {"a": TaskCard("a", ("no", "yes")), "b": TaskCard("b", ("x", "y", "z"), simulated=True)}


def history(seed, epochs):
    random = np.random.default_rng(seed)
    return [
        {"epoch": epoch, "train_loss": {task: random.random() for task in CARDS},
         "validation": {task: {"loss": random.random(), card.monitor: random.random()}
                        for task, card in CARDS.items()}}
        for epoch in range(epochs)
    ]  # fmt: skip


def lines(axes):
    return [line.get_ydata() for line in axes.lines]


def test_the_lines_are_the_history_and_the_ring_is_at_the_epoch_kept():
    histories = {0: history(0, 4), 7: history(7, 3)}
    histories[7][1]["validation"]["b"]["loss"] = None
    figure = draw_learning_curves(histories, {0: {"a": 2, "b": 0}, 7: {"a": 1, "b": 2}}, CARDS)
    assert len(figure.axes) == 4 and "simulated data" in figure.get_suptitle()
    scores = figure.axes[1]
    assert scores.get_title() == "a: AUROC on validation"
    first, ring, second, other = scores.lines
    assert list(first.get_ydata()) == [e["validation"]["a"]["auroc"] for e in histories[0]]
    assert list(second.get_xdata()) == [1, 2, 3]
    for mark, seed, epoch in ((ring, 0, 2), (other, 7, 1)):
        assert list(mark.get_xdata()) == [epoch + 1]
        assert list(mark.get_ydata()) == [histories[seed][epoch]["validation"]["a"]["auroc"]]
    assert math.isnan(lines(figure.axes[2])[3][1])
    assert [text.get_text() for text in scores.get_legend().get_texts()] == ["seed 0", "seed 7"]
    losses = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert losses == ["training", "validation"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_picture_lies_beside_the_results(tmp_path, epochs):
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "history.json").write_text(json.dumps(history(0, epochs)))
    (model / "training.json").write_text(json.dumps({"epoch": epochs - 1}))
    (tmp_path / "learning_curves.png").write_bytes(b"of an earlier training")
    made = save_learning_curves(tmp_path, {0: model}, CARDS)
    there = tmp_path / "learning_curves.png"
    assert there.exists() == (epochs > 1) and made == (there if epochs > 1 else None)
    if made:
        assert there.read_bytes().startswith(b"\x89PNG")
