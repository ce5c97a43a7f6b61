"""What the scikit-learn estimators share: parameters, the model, and how X is taken."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        assert_all_finite,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        "EEGEmbedder and EEGTaskClassifier need scikit-learn 1.6 or newer: pip install "
        "-U 'modeling-mteeg[train]'."
    ) from error

from ..model.modeling_mteeg import MteegModel
from ..prediction.task_loading import cards_of, load_tasks
from .estimator_inputs import WindowReader, is_epochs, joined, recordings_in
from .window_features import extractor_of

__all__ = [
    "ClassifierMixin",
    "EEGEstimator",
    "TransformerMixin",
    "assert_all_finite",
    "check_classification_targets",
    "check_consistent_length",
    "column_or_1d",
]


class EEGEstimator(BaseEstimator):
    """Windows or recordings to something that a trained model says of each.

    ``fit`` loads the model and checks names and shapes; nothing is trained. See the subclasses for
    the parameters.
    """

    base: Any
    task: str | None
    channels: Sequence[str] | None
    rate_hz: float | None
    unit: str | None
    filter: bool | None
    batch_size: int
    device: Any
    revision: str | None
    token: Any
    reading: Mapping[str, Any] | None

    def _load(self) -> None:
        """Set ``model_``, ``card_`` (None: the base alone) and ``extractor_``."""
        size = self.batch_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"batch_size: expected a whole number above 0, found {size!r}.")
        if isinstance(self.channels, str):
            raise ValueError(f"channels: expected a list of names, found {self.channels!r}.")
        place, revision = None, self.revision
        if isinstance(self.base, MteegModel):
            model, name = self.base, self.task
        elif isinstance(self.base, (str, Path)):
            place, wanted = str(self.base), [] if self.task is None else [self.task]
            model, names = load_tasks(
                self.base, wanted, revision=revision, token=self.token, device=self.device
            )
            name = names[0] if names else None
        else:
            raise TypeError(
                "base: expected the folder or Hub id of a base, or an MteegModel, found "
                f"{type(self.base).__name__}."
            )
        if model.training:
            raise ValueError("Expected a model in evaluation mode: call model.eval() first.")
        self.model_, self.card_ = model, None if name is None else cards_of(model, name)[0]
        commit = model.base_commit or revision
        self.extractor_ = extractor_of(place, model.config.patch_size, commit, self.token)

    def _reader(self) -> WindowReader:
        channels = None if self.channels is None else tuple(self.channels)
        extractor = copy.copy(self.extractor_)
        extractor.window_s = None  # that of recordings; these windows are as long as they are
        return WindowReader(
            extractor, self.card_, channels, self.rate_hz, self.unit, self.filter, self.channels_
        )

    def _begin(self, X: Any) -> None:
        """Load the model and learn what ``X`` is: the body of every ``fit``."""
        self._load()
        self.channels_ = None
        if recordings_in(X) is not None:
            return
        X = self._checked(X, reset=True)
        self.channels_ = self._reader().chosen(X)

    def _checked(self, X: Any, reset: bool) -> Any:
        """Windows as an array of finite numbers, or Epochs, with as many channels as at the fit."""
        X = joined(X)
        if not is_epochs(X):
            return validate_data(
                self, X, reset=reset, allow_nd=True, dtype=[np.float64, np.float32]
            )
        if reset:
            self.n_features_in_ = len(X.ch_names)
        return X

    def _each(
        self, X: Any, ask: Callable[[Any, int], np.ndarray], same: bool = False
    ) -> np.ndarray:
        """What the model says of every window, (n, ...).

        Parameters
        ----------
        X : array or Epochs
            Checked.
        ask : callable
            From inputs on the model's device and the number of their channels to an array.
        same : bool
            Whether the channels must be those of the fit, though a task lets some be missing.
        """
        reader = self._reader()
        inputs = reader.inputs(X)
        if same and not np.array_equal(inputs["channel_ids"], reader.ids(self.channels_)):
            raise ValueError(
                f"X: expected the channels of the fit, {', '.join(self.channels_)}, a vector of "
                f"each, found {len(inputs['channel_ids'])} of them or others. Fit to Epochs with "
                "the channels that all have, or take per='window'."
            )
        values, device = inputs["input_values"], self.model_.device
        ids = inputs["channel_ids"].to(device)
        answers = []
        with torch.inference_mode():
            for start in range(0, len(values), self.batch_size):
                part = values[start : start + self.batch_size].to(device)
                answers.append(ask({"input_values": part, "channel_ids": ids}, len(ids)))
        return np.concatenate(answers)

    def _of_recordings(self) -> dict[str, Any]:
        """Keywords of ``embed`` and ``predict`` for a recording."""
        return {"unit": self.unit, "batch_size": self.batch_size, **(self.reading or {})}

    def _check_fitted(self) -> None:
        check_is_fitted(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
