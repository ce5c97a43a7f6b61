"""EEGTaskClassifier: the answers of a trained task, as a classifier of scikit-learn."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator
from tiny_bases import TASKS, save_base, save_recordings
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg, epochs_of, raw_of

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.embedding import EEGTaskClassifier
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction.task_loading import load_tasks

pytestmark = pytest.mark.filterwarnings(
    "ignore::modeling_mteeg.model.finding_warnings.RecordingWarning"
)
WINDOWS = eeg(60.0).reshape(6, 30, 500).transpose(1, 0, 2)  # 30 windows of 2 s at 250 Hz
LONGER = eeg(60.0).reshape(6, 20, 750).transpose(1, 0, 2)  # 20 of 3 s
GIVEN = {"channels": NAMES, "rate_hz": 250.0}

TRAINED = "the classes are the task's, and nothing is learned from y"
NOT_APPLYING = {
    "check_classifiers_classes": TRAINED,
    "check_classifiers_one_label": TRAINED,
    "check_classifiers_train": TRAINED,
    "check_requires_y_none": "y may be left out",
    "check_methods_sample_order_invariance": "float32: rounding",
    "check_methods_subset_invariance": "float32: rounding",
    "check_fit2d_1sample": "a single window has an answer",
}
"""Checks of scikit-learn that do not apply; docs/embeddings.md has the same list."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(save_base(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def model(base):
    return load_tasks(base, list(TASKS))[0]


@torch.no_grad()
@pytest.mark.parametrize("task, windows", [("fists", WINDOWS), ("two-d", LONGER)])
def test_answers_are_the_models_in_sorted_order(base, model, task, windows):
    own = model.tasks[task]
    inputs = MteegFeatureExtractor()((windows, NAMES, 250.0), task=own)
    expected = own.probabilities(model(**inputs, task=task).logits).numpy()
    classifier = EEGTaskClassifier(base, task, **GIVEN).fit(windows)
    assert classifier.classes_.tolist() == sorted(own.labels)
    order = [own.labels.index(label) for label in classifier.classes_]
    found = classifier.predict_proba(windows)
    np.testing.assert_allclose(found, expected[:, order], atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    labels = [own.labels[number] for number in expected.argmax(1)]
    assert classifier.predict(windows).tolist() == labels and len(set(labels)) > 1


def test_the_threshold_of_the_card_decides(model):
    from copy import deepcopy

    own = deepcopy(model)
    plain = EEGTaskClassifier(own, "two-d", **GIVEN).fit(LONGER)
    column = plain.classes_.tolist().index("b")
    probability = plain.predict_proba(LONGER)[:, column]
    threshold = float(np.sort(probability)[15:17].mean())
    own.tasks["two-d"] = own.tasks["two-d"].replace(threshold=threshold)
    found = EEGTaskClassifier(own, "two-d", **GIVEN).fit(LONGER).predict(LONGER)
    assert (found == np.where(probability >= threshold, "b", "a")).all()
    assert (found == "b").sum() == 4


def test_classes_say_what_the_values_of_y_mean(base):
    every = EEGTaskClassifier(base, "fists", **GIVEN).fit(WINDOWS)
    shares = every.predict_proba(WINDOWS)  # both fists, left, rest
    some = EEGTaskClassifier(base, "fists", classes={7: "rest", 3: "both fists"}, **GIVEN)
    some.fit(WINDOWS, np.tile([7, 3], 15))
    assert some.classes_.tolist() == [3, 7]
    found = some.predict_proba(WINDOWS)
    wanted = shares[:, [0, 2]] / shares[:, [0, 2]].sum(1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(some.predict(WINDOWS), np.array([3, 7])[found.argmax(1)])
    with pytest.raises(ValueError, match=r"expected the classes \[3, 7\], found \[5\]"):
        some.fit(WINDOWS, np.tile([7, 5], 15))


def test_scorers_of_scikit_learn_take_it(base):
    classifier = EEGTaskClassifier(base, "two-d", classes={0: "a", 1: "b"}, **GIVEN)
    answers = clone(classifier).fit(LONGER).predict(LONGER)
    assert 0 < answers.sum() < 20
    for scoring in ("accuracy", "roc_auc", "neg_log_loss"):
        score = cross_val_score(classifier, LONGER, answers, cv=2, scoring=scoring)
        assert np.isfinite(score).all() and (scoring == "neg_log_loss" or (score == 1).all())


def test_epochs_and_recordings(base, model, tmp_path):
    expected = EEGTaskClassifier(base, "fists", **GIVEN).fit(WINDOWS).predict_proba(WINDOWS)
    epochs = epochs_of(raw_of(eeg(60.0)), 2.0)
    of_epochs = EEGTaskClassifier(base, "fists").fit(epochs).predict_proba(epochs)
    np.testing.assert_allclose(of_epochs, expected, atol=1e-5)
    paths = save_recordings(tmp_path)
    of_recordings = EEGTaskClassifier(base, "fists", reading={"stride_s": 1.0}).fit(paths)
    said = predict(paths[1], model, "fists", stride_s=1.0)["fists"].probabilities
    order = [TASKS["fists"].labels.index(label) for label in of_recordings.classes_]
    found = of_recordings.predict_proba(paths)
    np.testing.assert_allclose(found[1], said.mean(0)[order], atol=1e-6)
    best = of_recordings.classes_[found.argmax(1)]
    assert of_recordings.predict(paths).tolist() == best.tolist()


def test_pickled_it_answers_the_same(base):
    classifier = EEGTaskClassifier(base, "fists", **GIVEN)
    with pytest.raises(NotFittedError):
        classifier.predict(WINDOWS)
    expected = classifier.fit(WINDOWS).predict_proba(WINDOWS)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(WINDOWS), expected)


class OnTables(EEGTaskClassifier):
    """Takes the tables and labels of scikit-learn's checks: a row is made a window of six channels
    and 2 s, its values in every channel; the values of ``y`` stand for the task's labels."""

    def _checked(self, X, reset):
        X = super()._checked(X, reset)
        time = np.linspace(0, 2, 500, endpoint=False)
        tones = np.sin(2 * np.pi * np.arange(1, X.shape[1] + 1)[:, None] * time)
        return np.repeat((0.01 * X @ tones)[:, None] + 20 * tones[0], 6, axis=1)

    def fit(self, X, y=None):
        self._values = np.unique(np.asarray(y)) if y is not None else []
        return super().fit(X, y)

    def _named(self):
        labels = super()._named()
        return dict(zip(self._values, labels, strict=False)) if len(self._values) else labels


@pytest.mark.slow
def test_the_checks_of_scikit_learn(tmp_path):
    model = tiny_model()
    model.add_adapter("many", card=card(name="many", labels=tuple("abcdef"), channels=NAMES,
                                        window_s=2))  # fmt: skip
    randomize(model)
    model.save_pretrained(tmp_path)
    model.save_adapter("many", tmp_path / "adapters" / "many")
    classifier = OnTables(str(tmp_path), "many", **GIVEN)
    failed, passed = {}, set()
    for estimator, check in estimator_checks_generator(classifier):
        name = getattr(check, "func", check).__name__
        try:
            check(estimator)
            passed.add(name)
        except Exception as error:
            failed[name] = error
    failed.pop("check_array_api_input", None)  # skipped: scipy's array API is off
    unexpected = {name: error for name, error in failed.items() if name not in NOT_APPLYING}
    assert unexpected == {} and len(passed) > 35


@pytest.mark.parametrize(
    "change, y, named",
    [
        ({"task": None}, None, "task: expected a task's name"),
        ({"classes": {0: "left", 1: "right"}}, None, "different labels of task 'fists'"),
        ({"classes": {0: "left", 1: "left"}}, None, "different labels"),
        ({"classes": {0: "left"}}, None, "two or more"),
        ({"classes": {0: "left", "a": "rest"}}, None, "all strings or all numbers"),
        ({}, np.arange(30) % 2, "classes= says which of them"),
        ({}, np.linspace(0, 1, 30), "[Uu]nknown label type"),
        ({}, ["left"] * 5, "inconsistent numbers of samples"),
    ],
)
def test_wrong_use_is_said(base, change, y, named):
    with pytest.raises(ValueError, match=named):
        EEGTaskClassifier(**({"base": base, "task": "fists"} | GIVEN | change)).fit(WINDOWS, y)
