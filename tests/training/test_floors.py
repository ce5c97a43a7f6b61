"""The two floors: the commonest class, and band power as its own method fits it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from launching import launch
from places import ROOT, SUPPORT
from recipe_modules import load_recipe
from tiny_corpora import save_corpora
from training_program import make_config

from modeling_mteeg.data import load_corpora
from modeling_mteeg.evaluation import read_predictions, score
from modeling_mteeg.training import floors
from modeling_mteeg.training.floors import BAND_POWER, COMMONEST, fit_floors
from modeling_mteeg.training.output_folder import check_output, note_output

SIZES = {"tuab": (40, 16, 50), "seed-v": (33, 12, 20)}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def corpora(data):
    return load_corpora(data, tuple(SIZES))


def fitted(corpora, **overrides):
    return fit_floors(make_config(tuple(SIZES), **overrides), corpora, Accelerator(cpu=True))


@pytest.mark.slow
def test_band_power_beside_a_training_is_the_method_of_that_name(data, corpora, tmp_path):
    words = ["--data", str(data), "--output", str(tmp_path), "--method", "band-power",
             "--tasks", ",".join(SIZES), "--set", "sampling={tuab: {fraction: 0.5}}"]  # fmt: skip
    assert load_recipe("joint").main(words) == 0
    beside = fitted(corpora)
    for task in SIZES:
        whole = read_predictions(tmp_path / f"predictions/{task}.parquet")
        floor = beside[task][BAND_POWER]
        np.testing.assert_allclose(floor.probabilities, whole.probabilities, rtol=1e-6)
        assert score(floor, floor.card) == pytest.approx(score(whole, whole.card), rel=1e-6)
    judged = json.loads((tmp_path / "results.json").read_text())["judgement"]
    assert all(list(task["floors"]) == [COMMONEST] for task in judged.values()), "not of itself"


def test_the_commonest_class_is_that_of_the_drawn_training_windows(corpora):
    labels = corpora["seed-v"].splits["train"].labels
    said = fitted(corpora)["seed-v"][COMMONEST]
    shares = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(said.probabilities, np.tile(shares, (20, 1)), rtol=1e-6)
    values = score(said, said.card)
    assert values["balanced_accuracy"] == pytest.approx(1 / 3) and values["cohen_kappa"] == 0
    tuab = fitted(corpora, sampling__tuab={"negative_fraction": 0.5})["tuab"][COMMONEST]
    assert tuab.probabilities[:, 1] == pytest.approx(2 / 3), "20 of the negatives were drawn as 10"
    assert score(tuab, tuab.card)["auroc"] == 0.5


def test_large_corpora_are_taken_at_equal_steps(corpora, monkeypatch):
    monkeypatch.setattr(floors, "FLOOR_WINDOWS", 10)
    assert floors._evenly(np.arange(25)).tolist() == [0, 2, 5, 7, 10, 12, 15, 17, 20, 22]
    assert floors._evenly(np.arange(7)).tolist() == list(range(7))
    used = []
    monkeypatch.setattr(
        floors, "window_features",
        lambda method, reader, card, rows, real=floors.window_features: (
            used.append(len(rows)), real(method, reader, card, rows))[1],
    )  # fmt: skip
    said = fitted(corpora)["tuab"][BAND_POWER]
    assert max(used) == 10 and len(said.labels) == SIZES["tuab"][2], "the test is whole"


def test_an_option_leaves_them_out_and_belongs_to_no_training(corpora, tmp_path):
    assert fitted(corpora, floor=False) == {}
    with_floor, without = (make_config(output=str(tmp_path), floor=f) for f in (True, False))
    assert with_floor.identity() == without.identity()
    assert not [key for key in with_floor.identity() if "floor" in key]
    note_output(with_floor)
    (tmp_path / "results.json").write_text("{}")
    check_output(without)


WORKER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from accelerate import Accelerator
from test_saved_predictions import FirstSamples
from training_program import make_config
from modeling_mteeg.data import load_corpora
from modeling_mteeg.evaluation import WindowPredictions, predict_task
from modeling_mteeg.training.final_report import judge_tested, save_tested
from modeling_mteeg.training.floors import fit_floors
accelerator = Accelerator(cpu=True)
config, corpora = make_config(("tuab",)), load_corpora(sys.argv[1], ["tuab"])
corpus, reader = corpora["tuab"], corpora["tuab"].splits["test"]
said = predict_task(FirstSamples(), reader, corpus.card, 8, accelerator)
said = {"tuab": WindowPredictions.of(said, reader, corpus.card)}
floors = fit_floors(config, corpora, accelerator)
out = Path(sys.argv[2]) / str(accelerator.process_index)
save_tested(out, said)
judge_tested(out, [said], floors)
"""


@pytest.mark.slow
def test_two_processes_write_the_same_files(data, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    paths = [str(SUPPORT), str(ROOT / "tests/evaluation")]
    for name, processes in (("one", 1), ("two", 2)):
        done = launch([data, tmp_path / name, *paths], processes, script)
        assert done.returncode == 0, done.stderr[-3000:]
    one, *two = tmp_path / "one/0", tmp_path / "two/0", tmp_path / "two/1"
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(names) >= 4
    for name in names:
        for other in two:
            assert (other / name).read_bytes() == (one / name).read_bytes(), name
