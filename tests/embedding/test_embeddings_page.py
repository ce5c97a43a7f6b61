"""The examples of docs/embeddings.md run, as they stand there."""

from __future__ import annotations

import re

import braindecode_here
import numpy as np
import pytest
from places import ROOT
from sklearn.base import clone
from test_sklearn_classifier import NOT_APPLYING as OF_THE_CLASSIFIER
from test_sklearn_embedder import NOT_APPLYING as OF_THE_EMBEDDER
from tiny_bases import save_base, save_recordings
from tiny_recordings import NAMES, eeg, epochs_of, raw_of

from modeling_mteeg import cli
from modeling_mteeg.prediction.task_loading import load_tasks

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = ROOT / "docs/embeddings.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(save_base(tmp_path_factory.mktemp("base")))


def run(names, word, *changes):
    """Run the block with a word in it; ``changes`` are pairs of what stands there and instead."""
    (block,) = [block for block in BLOCKS if word in block]
    for there, instead in changes:
        assert there in block
        block = block.replace(there, instead)
    exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_every_example_is_run_by_one_of_these_tests():
    words = ("pandas.concat", "import embed\n", "cross_val_score(model", "known =", "moabb",
             "EEGClassifier(")  # fmt: skip
    assert sorted(map(BLOCKS.index, (next(b for b in BLOCKS if w in b) for w in words))) == [
        *range(len(BLOCKS))
    ]


def test_recordings_in_python_and_tables(base, tmp_path, monkeypatch):
    recordings = save_recordings(tmp_path)
    names = run({"recording": recordings[0], "base": base}, "import embed\n")
    assert names["both"]["fists"].values.shape == (30, 6, 100)
    monkeypatch.chdir(tmp_path)
    arguments = ["embed", *map(str, recordings), "--base", base, "--out", "features", "--quiet"]
    assert cli.main(arguments) == 0
    assert len(run({}, "pandas.concat")["table"]) == 10


def test_scikit_learn(base, tmp_path):
    X, y = eeg(40.0).reshape(6, 20, 500).transpose(1, 0, 2), np.arange(20) % 2
    epochs = epochs_of(raw_of(eeg(40.0)), 2.0)
    names = {"base": base, "X": X, "y": y, "epochs": epochs, "paths": save_recordings(tmp_path)}
    run(names, "cross_val_score(model")
    run(names, "known =")
    assert names["classifier"].classes_.tolist() == ["both fists", "left", "rest"]


def test_the_checks_that_do_not_apply_are_those_of_the_page():
    listed = set(re.findall(r"`(check_\w+)`", TEXT)) - {"check_array_api_input"}
    assert listed == {*OF_THE_EMBEDDER, *OF_THE_CLASSIFIER}


@pytest.mark.slow
def test_in_a_pipeline_of_moabb(base, tmp_path, monkeypatch):
    pytest.importorskip("moabb", reason="moabb is not installed (pip install moabb)")
    from moabb.datasets.fake import FakeDataset

    for name in ("MNE_DATA", "MOABB_RESULTS"):
        monkeypatch.setenv(name, str(tmp_path))
    fake = FakeDataset(
        event_list=["left_hand", "right_hand"], n_sessions=1, n_runs=1, n_subjects=2, n_events=24,
        duration=100, sfreq=250, seed=1,
    )  # fmt: skip
    names = {"base": base, "fake": fake}
    run(names, "moabb", ("dataset = BNCI2014_001()", "dataset = fake"),
        ("datasets=[dataset]", "datasets=[dataset], overwrite=True, suffix='test'"))  # fmt: skip
    assert len(names["results"]) == 2 and names["results"]["score"].between(0, 1).all()
    X, _, _ = names["paradigm"].get_data(fake, [1])
    found = names["embedder"].fit_transform(X)
    epochs, _, _ = names["paradigm"].get_data(fake, [1], return_epochs=True)
    again = names["EEGEmbedder"](base).fit_transform(epochs)
    np.testing.assert_allclose(found, again, atol=1e-3)


@pytest.mark.slow
def test_in_a_classifier_of_braindecode(base, tmp_path, monkeypatch):
    braindecode_here.labram_class(monkeypatch)
    monkeypatch.chdir(tmp_path)
    y = np.arange(40) % 2
    tone = np.sin(2 * np.pi * 30 * np.arange(400) / 200)
    noise = np.random.default_rng(0).normal(0, 20, (40, 3, 400))
    windows = (noise + 60 * y[:, None, None] * tone).astype(np.float32)
    names = run({"base": base, "windows": windows, "y": y}, "EEGClassifier(")
    assert names["classifier"].score(windows, y) > 0.9
    model, _ = load_tasks(tmp_path / "my-base", ["my-task"])
    assert model.tasks["my-task"].labels == ("left", "right")
    epochs = epochs_of(raw_of(windows.transpose(1, 0, 2).reshape(3, -1), NAMES[2:5], 200.0), 2.0)
    own = {"module__channels": None, "max_epochs": 1}
    of_epochs = clone(names["classifier"]).set_params(**own).fit(epochs, y)
    np.testing.assert_allclose(  # in microvolt, as the array
        of_epochs.predict_proba(epochs), of_epochs.predict_proba(windows), atol=1e-3
    )
