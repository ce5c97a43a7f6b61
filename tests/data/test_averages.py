"""Class averages at a cue: means, spreads and difference by definition; when they are made."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from modeling_mteeg import cli
from modeling_mteeg.data import encode_window, window_features
from modeling_mteeg.data.inspection import corpus_overview, overview_text
from modeling_mteeg.data.inspection.averages import RunningAverages, looks_cued
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.pictures.class_averages import draw_averages

CHANNELS = ("C3", "CZ", "C4")
CUED = TaskCard("mi", ("rest", "hand"), CHANNELS, window_s=2, simulated=True)
PEAK = 12.0
"""Microvolt by which class "hand" is higher at C4 from 1.0 to 1.1 s."""


def corpus(folder, card=CUED, step_s=3.1, number=40):
    random, splits = np.random.default_rng(0), {}
    for split in ("train", "validation", "test"):
        rows = []
        for index in range(number):
            signal, label = random.normal(0, 10, (3, 400)) + 500, index % len(card.labels)
            signal[2, 200:220] += PEAK * (label == 1)
            place = f"r{index // 10}", "s", step_s * (index % 10)
            rows.append(
                encode_window(signal.astype(np.float32), CHANNELS, label, *place, "float32")
            )
        splits[split] = Dataset.from_list(rows, features=window_features(card.labels))
    DatasetDict(splits).save_to_disk(str(folder))
    card.save(folder)
    return folder


def test_averages_of_blocks_are_those_of_all_windows():
    random = np.random.default_rng(1)
    signals, labels = random.normal(3, 5, (50, 2, 30)), random.integers(0, 2, 50)
    running = RunningAverages(("a", "b"), (2, 30))
    for rows in np.array_split(np.arange(50), 7):
        for label in (0, 1):
            running.add(label, signals[rows][labels[rows] == label].astype(np.float32))
    found = running.result()
    centred = signals - signals.mean(2, keepdims=True)
    parts = [centred[labels == label] for label in (0, 1)]
    for label, part in zip("ab", parts, strict=True):
        np.testing.assert_allclose(found.means_uv[label], part.mean(0), atol=1e-5)
        error = part.std(0, ddof=1) / np.sqrt(len(part))
        np.testing.assert_allclose(found.errors_uv[label], error, rtol=1e-4)
    difference, error = found.difference(("a", "b"))
    np.testing.assert_allclose(difference, parts[1].mean(0) - parts[0].mean(0), atol=1e-5)
    squares = sum(part.var(0, ddof=1) / len(part) for part in parts)
    np.testing.assert_allclose(error, np.sqrt(squares), rtol=1e-4)
    assert found.difference(("a", "b", "c")) is None
    assert RunningAverages(("a", "b"), (2, 30)).result().counts == {}


@pytest.mark.parametrize("onsets, cued", [
    (np.arange(9) * 2.0, False),  # end to end
    (np.arange(9) * 1.0, False),  # half over each other
    ([0, 2, 4, 10, 12, 30], False),  # some left out
    (np.arange(9) * 3.1, True),  # pauses
    ([0, 2.3, 4.9, 7.1, 9.8, 12.2], True),  # no equal steps
    ([5.0], False),
])  # fmt: skip
def test_cued_windows_are_known_by_their_onsets(onsets, cued):
    twice = np.concatenate([onsets, np.array(onsets) + 0.7])  # another recording begins elsewhere
    names = np.repeat(["r0", "r1"], len(onsets))
    order = np.random.default_rng(0).permutation(len(twice))
    reader = SimpleNamespace(recordings=names[order], onsets_s=twice[order])
    assert looks_cued([reader], 2.0, 200.0) is cued


def test_text_and_picture_of_two_classes(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    folder = corpus(tmp_path / "mi")
    overview = corpus_overview(folder, progress=False)
    difference, _ = overview.averages.difference(CUED.labels)
    assert difference[2, 200:220].mean() == pytest.approx(PEAK, abs=1.5)
    assert np.abs(difference[:2]).max() < 10
    text = overview_text(overview)
    first = next(line for line in text.splitlines() if line.strip().startswith("C4  "))
    assert "hand less rest, µV" in text and "60 rest, 60 hand" in text
    row = text[text.index("most different") :].splitlines()[1].split()
    assert row[0] == "C4" and 1.0 <= float(row[3]) < 1.1 and first
    figure = draw_averages(overview)
    means, beside = figure.axes
    assert "hand less rest" in beside.get_title() and len(means.lines) >= 2 * len(CHANNELS)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", str(folder), "--out", "shown.png"]) == 0
    assert (tmp_path / "shown_averages.png").is_file() and "shown_averages.png" in (
        capsys.readouterr().out
    )
    assert cli.main(["show", str(folder), "--out", "none.png", "--no-averages"]) == 0
    assert not (tmp_path / "none_averages.png").exists()


def test_several_classes_get_averages_only_and_plain_cuts_none(tmp_path):
    three = TaskCard("mi", ("rest", "hand", "foot"), CHANNELS, window_s=2)
    overview = corpus_overview(corpus(tmp_path / "three", three), progress=False)
    assert len(draw_averages(overview).axes) == 1 and "less" not in overview_text(overview)
    assert "Class averages" in overview_text(overview)
    cut = corpus(tmp_path / "cut", step_s=2.0)
    assert corpus_overview(cut, progress=False).averages is None
    assert "Class averages" not in overview_text(corpus_overview(cut, progress=False))
    assert corpus_overview(cut, progress=False, averages=True).averages is not None
