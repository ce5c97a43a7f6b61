"""What frozen features tell of a task: people held out, the same folds for all features."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from recipe_modules import load_recipe

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.data import encode_window, load_corpora, window_features, write_index
from modeling_mteeg.model.task_card import TaskCard

CARD = TaskCard("louder", ("left", "right"), ("C3", "C4"), window_s=1)
SPLITS = {"train": range(8), "validation": range(8, 10), "test": range(10, 12)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve people with four windows each; the label is the channel with the stronger alpha."""
    folder = tmp_path_factory.mktemp("corpora") / "louder"
    rng, splits = np.random.default_rng(0), {}
    alpha = 20 * np.sin(2 * np.pi * 10 * np.arange(200) / 200)
    for split, people in SPLITS.items():
        rows = []
        for person in people:
            for number in range(4):
                signal = rng.normal(0, 5, (2, 200)).astype("f4")
                signal[number % 2] += alpha
                place = f"r{person}", f"p{person}", float(number)
                rows.append(encode_window(signal, CARD.channels, number % 2, *place, "float32"))
        splits[split] = Dataset.from_list(rows, features=window_features(CARD.labels))
    DatasetDict(splits).save_to_disk(str(folder))
    for split in SPLITS:
        write_index(folder / split)
    CARD.save(folder)
    return folder.parent


@pytest.mark.slow
def test_the_table_tells_every_base_beside_band_power_and_random_weights(data, tmp_path, capsys):
    MteegModel(MteegConfig.from_preset("tiny")).save_pretrained(tmp_path / "base")
    recipe = load_recipe("frozen_features")
    words = ["--data", str(data), "--tasks", "louder", "--bases", str(tmp_path / "base")]
    words += ["--folds", "3", "--output", str(tmp_path / "out.json")]
    assert recipe.main(words) == 0
    shown = capsys.readouterr().out
    assert (
        "louder (12 people, 48 windows)" in shown and "| log band power | 1.000 ± 0.000 |" in shown
    )
    results = json.loads((tmp_path / "out.json").read_text())["louder"]
    names = ["log band power"]
    for base in ("random 3 layers of 100", tmp_path / "base"):
        names += [f"{base}, pooled", f"{base}, by channel"]
    assert list(results["auroc"]) == names
    assert all(len(folds) == 3 for folds in results["auroc"].values())
    by_channel, pooled = (np.mean(results["auroc"][name]) for name in (names[4], names[3]))
    assert by_channel > 0.8 and by_channel > pooled  # pooling loses where it was

    assert recipe.main([*words[:4], "--folds", "13"]) == 2
    assert "expected at most 12 people, not 13" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["frozen_features", "benchmark"])
def test_results_that_are_there_stay(name, tmp_path, capsys):
    there = tmp_path / ("out.json" if name == "frozen_features" else "out.md")
    there.write_text("mine")
    words = ["--data", str(tmp_path), "--task", "tuab"] if name == "frozen_features" else ["steps"]
    recipe = load_recipe(name)
    with pytest.raises(SystemExit):
        recipe.parse_arguments([*words, "--out", str(there)])
    assert f"{there} is there already" in capsys.readouterr().err and there.read_text() == "mine"
    assert recipe.parse_arguments([*words, "--out", str(there), "--overwrite"]).overwrite


def test_nobody_is_in_training_and_test(data):
    """Features that name the person tell nothing of others."""
    recipe = load_recipe("frozen_features")
    people = np.repeat([f"p{number}" for number in range(12)], 4)
    labels = np.repeat(np.arange(12) % 2, 4)  # of the person
    names = (people[:, None] == np.unique(people)).astype(float)
    folds = recipe.held_out_auroc(names, labels, people, 3, 0)
    assert folds == [0.5] * 3
    corpus = load_corpora(data, ["louder"])["louder"]
    assert sum(len(batch["labels"]) for batch in recipe.batches(corpus)) == 48
