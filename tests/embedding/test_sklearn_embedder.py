"""EEGEmbedder: a transformer as scikit-learn has them, with the features of the model."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator
from tiny_bases import TASKS, save_base, save_recordings
from tiny_models import tiny_model
from tiny_recordings import NAMES, eeg, epochs_of, raw_of

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.embedding import EEGEmbedder, embed
from modeling_mteeg.prediction.task_loading import load_tasks

pytestmark = pytest.mark.filterwarnings(
    "ignore::modeling_mteeg.model.finding_warnings.RecordingWarning"
)
WINDOWS = eeg(40.0).reshape(6, 20, 500).transpose(1, 0, 2)  # 20 windows of 2 s at 250 Hz
GIVEN = {"channels": NAMES, "rate_hz": 250.0}

ROUNDING = "float32: the order and number of windows in a pass change the last digits"
NOT_APPLYING = {
    "check_methods_sample_order_invariance": ROUNDING,
    "check_methods_subset_invariance": ROUNDING,
}
"""Checks of scikit-learn that do not apply; docs/embeddings.md has the same list."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(save_base(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def model(base):
    return load_tasks(base, list(TASKS))[0]


# Features ----------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("task", [None, "fists"])
def test_features_are_the_models_own(base, model, task):
    card = None if task is None else model.tasks[task]
    inputs = MteegFeatureExtractor()((WINDOWS, NAMES, 250.0), task=card)
    expected = model.encode({"x": inputs}, adapter=task)["x"]
    found = EEGEmbedder(base, task, **GIVEN).fit_transform(WINDOWS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.pooler_output, atol=1e-5)
    embedder = EEGEmbedder(base, task, per="channel", **GIVEN)
    by_channel = embedder.fit_transform(WINDOWS)
    tokens = expected.last_hidden_state[:, 1:].reshape(20, 6, 2, -1)
    np.testing.assert_allclose(by_channel, model.fc_norm(tokens.mean(2)).flatten(1), atol=1e-5)
    names = embedder.get_feature_names_out()
    assert len(names) == 600 and names[0] == "FP1_0" and names[-1] == "O1_99"


def test_batches_and_order_do_not_matter_but_for_rounding(base):
    one = EEGEmbedder(base, **GIVEN).fit_transform(WINDOWS)
    other = EEGEmbedder(base, batch_size=3, **GIVEN).fit(WINDOWS)
    np.testing.assert_allclose(other.transform(WINDOWS[::-1])[::-1], one, atol=1e-4)
    np.testing.assert_allclose(other.transform(WINDOWS[4:5]), one[4:5], atol=1e-4)


def test_flat_windows_and_epochs_are_the_same_windows(base):
    expected = EEGEmbedder(base, **GIVEN).fit_transform(WINDOWS)
    flat = EEGEmbedder(base, **GIVEN).fit(WINDOWS.reshape(20, -1))
    np.testing.assert_array_equal(flat.transform(WINDOWS.reshape(20, -1)), expected)
    assert flat.n_features_in_ == 3000
    epochs = epochs_of(raw_of(eeg(40.0)), 2.0)
    of_epochs = EEGEmbedder(base).fit(epochs)
    assert of_epochs.n_features_in_ == 6 and of_epochs.channels_ == tuple(NAMES)
    np.testing.assert_allclose(of_epochs.transform(epochs), expected, atol=1e-5)
    volts = EEGEmbedder(base, unit="V", **GIVEN).fit_transform(WINDOWS * 1e-6)
    np.testing.assert_allclose(volts, expected, atol=1e-4)


def test_a_list_of_recordings_has_a_row_for_each(base, model, tmp_path):
    paths = save_recordings(tmp_path)
    recordings = [*paths, raw_of(eeg(20.0)), (eeg(20.0), NAMES, 250.0)]
    embedder = EEGEmbedder(base, "fists", per="recording", reading={"bad": "leave-out"})
    found = embedder.fit_transform(recordings)
    expected = [embed(one, model, "fists", per="recording")["fists"] for one in recordings]
    np.testing.assert_array_equal(found, [one.values for one in expected])
    np.testing.assert_array_equal(embedder.transform(np.array(paths, object)), found[:2])
    alone = EEGEmbedder(base, per="recording", window_s=2, channels=["C3"]).fit(paths)
    own = embed(paths[0], base, per="recording", window_s=2, channels=["C3"])["base"]
    np.testing.assert_array_equal(alone.transform(paths)[0], own.values)


# An estimator ------------------------------------------------------------------------------------


def test_clone_pickle_and_parameters(base):
    embedder = EEGEmbedder(base, "fists", **GIVEN)
    copy = clone(embedder)
    assert copy.get_params() == embedder.get_params() and not hasattr(copy, "model_")
    with pytest.raises(NotFittedError):
        embedder.transform(WINDOWS)
    expected = embedder.fit(WINDOWS).transform(WINDOWS)
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.transform(WINDOWS), expected)
    other = embedder.set_params(task=None).fit(WINDOWS).transform(WINDOWS)
    assert not np.allclose(other, expected, atol=1e-2)


def test_a_model_may_be_the_base(base, model):
    expected = EEGEmbedder(base, "fists", **GIVEN).fit_transform(WINDOWS)
    embedder = clone(EEGEmbedder(model, "fists", **GIVEN))
    assert embedder.base is not model
    np.testing.assert_array_equal(embedder.fit_transform(WINDOWS), expected)
    with pytest.raises(ValueError, match="evaluation mode"):
        EEGEmbedder(tiny_model().train(), **GIVEN).fit(WINDOWS)


def test_in_a_pipeline_with_a_search_over_its_parameters(base):
    fast = np.arange(20) % 2
    windows = WINDOWS + 50 * fast[:, None, None] * np.sin(2 * np.pi * 30 * np.arange(500) / 250)
    pipeline = make_pipeline(EEGEmbedder(base, **GIVEN), LogisticRegression(C=100.0))
    grid = {"eegembedder__per": ["window", "channel"], "eegembedder__task": [None, "fists"]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(windows, fast)
    assert search.best_score_ > 0.9 and len(search.cv_results_["params"]) == 4
    frame = EEGEmbedder(base, **GIVEN).set_output(transform="pandas").fit_transform(windows)
    assert list(frame)[:2] == ["mteeg_0", "mteeg_1"] and frame.shape == (20, 100)


@pytest.mark.slow
@pytest.mark.parametrize("per", ["window", "channel"])
def test_the_checks_of_scikit_learn(base, per):
    """Their tables are flat windows of one channel, a second each value."""
    embedder = EEGEmbedder(base, channels=["C3"], rate_hz=1.0, unit="mV", per=per)
    failed, passed = {}, set()
    for estimator, check in estimator_checks_generator(embedder):
        name = getattr(check, "func", check).__name__
        try:
            check(estimator)
            passed.add(name)
        except pytest.skip.Exception:
            raise
        except Exception as error:
            failed[name] = error
    failed.pop("check_array_api_input", None)  # skipped: scipy's array API is off
    unexpected = {name: error for name, error in failed.items() if name not in NOT_APPLYING}
    assert not unexpected and len(passed) > 35


@pytest.mark.parametrize(
    "change, X, named",
    [
        ({"channels": None}, WINDOWS, "channels: expected the names of the array's channels"),
        ({"channels": NAMES[:5]}, WINDOWS, "one name per channel"),
        ({"channels": [*NAMES[:5], "EKG"]}, WINDOWS, "EKG"),
        ({"channels": "C3"}, WINDOWS, "list of names"),
        ({"rate_hz": 0.0}, WINDOWS, "above 0"),
        ({"rate_hz": None}, WINDOWS, "rate_hz: expected the rate of the array in Hz"),
        ({"task": "two-d"}, WINDOWS, "3 s"),
        ({"task": "seed-v"}, WINDOWS, "seed-v"),
        ({"per": "patch"}, WINDOWS, "per: expected one of"),
        ({"per": "recording"}, WINDOWS, "is for recordings, found windows"),
        ({}, ["a.edf", "b.edf"], "is for windows, found recordings"),
        ({}, "a.edf", "expected a list of recordings"),
        ({"batch_size": 0}, WINDOWS, "batch_size"),
        ({"base": 3}, WINDOWS, "base: expected the folder"),
        ({}, WINDOWS * np.nan, "NaN"),
        ({}, WINDOWS * 1e-6, "unit"),
        ({}, WINDOWS[:, :, :100], "at least 1 s"),
        ({}, WINDOWS[..., None], "shape"),
        ({}, WINDOWS[:, 0, :5], "multiple of 6"),
    ],
)
def test_wrong_use_is_said(base, change, X, named):
    with pytest.raises((ValueError, TypeError), match=named):
        EEGEmbedder(**({"base": base} | GIVEN | change)).fit_transform(X)


def test_other_windows_than_at_the_fit_are_said(base):
    embedder = EEGEmbedder(base, **GIVEN).fit(WINDOWS)
    with pytest.raises(ValueError, match="5 features"):
        embedder.transform(WINDOWS[:, :5])


@pytest.mark.parametrize("per", ["window", "channel"])
def test_epochs_have_the_channels_of_the_fit_in_any_order(base, per):
    epochs = epochs_of(raw_of(eeg(40.0)), 2.0)
    embedder = EEGEmbedder(base, per=per).fit(epochs)
    expected = embedder.transform(epochs)
    for other in (NAMES[::-1], [*NAMES[3:], "FZ", *NAMES[:3]]):
        rows = [NAMES.index(name) if name in NAMES else 0 for name in other]
        again = epochs_of(raw_of(eeg(40.0)[rows], other), 2.0)
        np.testing.assert_allclose(embedder.transform(again), expected, atol=1e-4)
    for other in (["FZ", *NAMES[1:]], NAMES[:5]):
        with pytest.raises(ValueError, match=r"Expected 6 channels, of which 1 are missing"):
            embedder.transform(epochs_of(raw_of(eeg(40.0)[: len(other)], other), 2.0))


def test_a_vector_of_each_channel_is_of_the_channels_of_the_fit(model):
    own = copy.deepcopy(model)
    own.tasks["fists"] = own.tasks["fists"].replace(max_missing_channels=1)
    epochs = epochs_of(raw_of(eeg(40.0)), 2.0)
    fewer = epochs.copy().pick(NAMES[1:])
    assert EEGEmbedder(own, "fists").fit(epochs).transform(fewer).shape == (20, 100)
    with pytest.raises(ValueError, match=r"expected the channels of the fit, FP1, .*found 5"):
        EEGEmbedder(own, "fists", per="channel").fit(epochs).transform(fewer)
