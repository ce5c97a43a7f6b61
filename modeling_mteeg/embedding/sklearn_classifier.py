"""A trained task as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..model.modeling_mteeg import MteegModel
from ..prediction.engine import predict
from .estimator_inputs import joined, recordings_in
from .sklearn_estimator import (
    ClassifierMixin,
    EEGEstimator,
    assert_all_finite,
    check_classification_targets,
    check_consistent_length,
    column_or_1d,
)


class EEGTaskClassifier(ClassifierMixin, EEGEstimator):
    """The classes of a trained task, as a scikit-learn classifier; ``fit`` trains nothing.

    To train on labels of your own, put :class:`EEGEmbedder` before any classifier.

    Parameters
    ----------
    base, channels, rate_hz, unit, filter, reading, batch_size, device, revision, token
        See :class:`EEGEmbedder`; ``reading`` has keywords of
        :func:`modeling_mteeg.prediction.predict`.
    task : str
        A task beside the base, a folder or ``owner/repo``; or one that a model as ``base`` holds.
    classes : mapping, optional
        Values of ``y`` to the task's labels, each once: ``{"left_hand": "left", "right_hand":
        "right"}``, or ``{0: "left", 1: "right"}``. Labels that are not named are no answers: the
        others share the probability in their proportions. Default: all labels, for themselves.

    Attributes
    ----------
    classes_ : numpy.ndarray
        Sorted, as everywhere in scikit-learn; the task's own order is ``card_.labels``.
    model_, card_, channels_, n_features_in_
        See :class:`EEGEmbedder`.

    Notes
    -----
    A threshold that the task's card has decides between its two classes, as everywhere in this
    package; of more, or where labels are left out, the class with the highest probability. Of a
    recording the probabilities are the mean over its windows.
    """

    def __init__(
        self,
        base: str | Path | MteegModel,
        task: str | None = None,
        *,
        channels: Sequence[str] | None = None,
        rate_hz: float | None = None,
        unit: str | None = None,
        classes: Mapping[Any, str] | None = None,
        filter: bool | None = None,
        reading: Mapping[str, Any] | None = None,
        batch_size: int = 16,
        device: Any = None,
        revision: str | None = None,
        token: Any = None,
    ) -> None:
        self.base = base
        self.task = task
        self.channels = channels
        self.rate_hz = rate_hz
        self.unit = unit
        self.classes = classes
        self.filter = filter
        self.reading = reading
        self.batch_size = batch_size
        self.device = device
        self.revision = revision
        self.token = token

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the task and check names, shapes and, where they are given, labels.

        Parameters
        ----------
        X
            As of :meth:`EEGEmbedder.fit`.
        y : array-like (n,), optional
            True classes; only their values are looked at.

        Raises
        ------
        ValueError
            No task, labels that are none of the task's, or what :meth:`EEGEmbedder.fit` raises.
        """
        if self.task is None:
            raise ValueError("task: expected a task's name, a folder or owner/repo, found None.")
        X = joined(X)
        self._begin(X)
        found = [] if y is None else np.unique(_checked_labels(X, y))
        named = self._named()
        self.classes_ = np.array(sorted(named))
        places = {value: self.card_.labels.index(label) for value, label in named.items()}
        self._columns = [places[value] for value in self.classes_.tolist()]
        unknown = [value for value in np.array(found).tolist() if value not in places]
        if unknown:
            raise ValueError(
                f"y: expected the classes {self.classes_.tolist()}, found {unknown[:10]}. The "
                f"task's labels are {', '.join(self.card_.labels)}; classes= says which of them "
                "the values of y mean. To train on other labels, use EEGEmbedder and a classifier."
            )
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes) float64 in the order of ``classes_``; rows sum to 1."""
        self._check_fitted()
        return self._shares(self._probabilities(X))

    def predict(self, X: Any) -> np.ndarray:
        """Class of every window or recording, (n,), values of ``classes_``."""
        self._check_fitted()
        probabilities = self._probabilities(X)
        if len(self._columns) == len(self.card_.labels):
            numbers = self.card_.decide(probabilities)
            return self.classes_[np.argsort(self._columns)[numbers]]
        return self.classes_[self._shares(probabilities).argmax(axis=1)]

    def _named(self) -> dict[Any, str]:
        """Every value of ``y`` and the label that it means."""
        labels = self.card_.labels
        if self.classes is None:
            return {label: label for label in labels}
        named = dict(self.classes)
        unknown = [label for label in named.values() if label not in labels]
        twice = len(set(named.values())) < len(named)
        if unknown or twice or len(named) < 2 or len({type(value) for value in named}) > 1:
            raise ValueError(
                "classes: expected two or more values of y, all strings or all numbers, and "
                f"different labels of task {self.card_.name!r} ({', '.join(labels)}), found "
                f"{named}."
            )
        return named

    def _shares(self, probabilities: np.ndarray) -> np.ndarray:
        chosen = probabilities[:, self._columns]
        total = chosen.sum(axis=1, keepdims=True)
        even = np.full_like(chosen, 1 / chosen.shape[1])  # where all are 0 to the last digit
        return np.divide(chosen, total, out=even, where=total > 0)

    def _probabilities(self, X: Any) -> np.ndarray:
        """(n, labels) float64 in the card's order."""
        recordings = recordings_in(X)
        if recordings is None:
            return self._each(self._checked(X, reset=False), self._ask)
        return np.stack([self._of_recording(recording) for recording in recordings])

    def _ask(self, inputs: Mapping[str, Any], channels: int) -> np.ndarray:
        logits = self.model_(**inputs, task=self.card_.name).logits
        return self.card_.probabilities(logits.double()).double().cpu().numpy()

    def _of_recording(self, recording: Any) -> np.ndarray:
        name = self.card_.name
        found = predict(recording, self.model_, name, **self._of_recordings())[name]
        return found.probabilities.mean(axis=0, dtype=np.float64)


def _checked_labels(X: Any, y: Any) -> np.ndarray:
    """``y`` as an array (n,) of classes, as many as there are windows or recordings."""
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    check_consistent_length(X, y)
    return y
