"""Features as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..model.modeling_mteeg import MteegModel
from .embed_recording import embed
from .estimator_inputs import recordings_in
from .sklearn_estimator import EEGEstimator, TransformerMixin
from .window_features import check_per, pooled


class EEGEmbedder(TransformerMixin, EEGEstimator):
    """Features of windows or recordings by a trained base, as a scikit-learn transformer.

    Parameters
    ----------
    base : str, pathlib.Path or MteegModel
        Folder or Hub id of a base; or a model in evaluation mode, which ``clone`` copies.
    task : str, optional
        Features by this task's adapter, on its channels and windows: a task beside the base, a
        folder or ``owner/repo``. Default: the base alone.
    channels : sequence of str, optional
        Names of an array's channels, in its order. Of Epochs and recordings, and of the base alone,
        the channels to take (default: all that they have).
    rate_hz : float, optional
        Rate of an array, which must be given; Epochs and recordings have their own.
    unit : {"uV", "mV", "V"}, optional
        Unit of the numbers. Default: microvolt for arrays, volt for MNE's objects and files.
    per : {"window", "channel", "recording"}
        A vector for each window; those of its channels laid end to end; or, where ``X`` holds
        recordings, one for each of them, the mean over its windows.
    filter : bool, optional
        Whether windows are filtered; see :class:`~modeling_mteeg.MteegFeatureExtractor`. Default:
        no, as they are too short for a 0.1 Hz high-pass: filter the recording before cutting it.
    window_s : float, optional
        Of recordings, and of the base alone: length of a window in whole seconds.
    reading : mapping, optional
        Of recordings: more keywords of :func:`~modeling_mteeg.embedding.embed`, such as
        ``{"bad": "leave-out", "rename": {"T7": "T3"}}``.
    batch_size : int
        Windows in one forward pass.
    device, revision, token
        Where to compute (default: a GPU if there is one), and for the Hub.

    Attributes
    ----------
    model_ : MteegModel
    card_ : TaskCard or None
    channels_ : tuple of str or None
        Channels that windows are embedded by, in the model's order; None: fitted to recordings.
    n_features_in_ : int
        Channels of windows; of flat ones their values. Not of recordings.

    Notes
    -----
    ``fit`` trains nothing: it loads the model and checks names and shapes. Features are float32.
    A window's features do not depend on the other windows, but for rounding.
    """

    def __init__(
        self,
        base: str | Path | MteegModel,
        task: str | None = None,
        *,
        channels: Sequence[str] | None = None,
        rate_hz: float | None = None,
        unit: str | None = None,
        per: str = "window",
        filter: bool | None = None,
        window_s: float | None = None,
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
        self.per = per
        self.filter = filter
        self.window_s = window_s
        self.reading = reading
        self.batch_size = batch_size
        self.device = device
        self.revision = revision
        self.token = token

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the model and check names and shapes.

        Parameters
        ----------
        X : array (n, channels, samples), mne.Epochs, or list of recordings
            Windows of whole seconds, also flat, (n, channels * samples); or recordings: paths, mne
            Raws, or (array (channels, samples), channel names, rate in Hz).
        y : object
            Not looked at.

        Raises
        ------
        SignalError, UnknownChannelError, AdapterError, TypeError, ValueError, OSError
            The base cannot be loaded, or channels, rate or shapes do not fit.
        """
        check_per(self.per)
        self._check_kind(X)
        self._begin(X)
        self._n_features_out = self._width()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features of every window or recording.

        Parameters
        ----------
        X
            Of the kind that the estimator was fitted to; Epochs with its channels, in any order.

        Returns
        -------
        numpy.ndarray
            float32, (n, width), or ``per="channel"`` (n, channels * width).
        """
        self._check_fitted()
        self._check_kind(X)
        recordings = recordings_in(X)
        if recordings is not None:
            return np.stack([self._of_recording(recording) for recording in recordings])
        same = self.per == "channel"
        values = self._each(self._checked(X, reset=False), self._ask, same)
        return values.reshape(len(values), -1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """``mteeg_0`` ..., or ``per="channel"`` ``FP1_0`` ...; ``input_features`` is not used."""
        self._check_fitted()
        width = self.model_.config.hidden_size
        first = self.channels_ if self.per == "channel" else ("mteeg",)
        return np.array([f"{name}_{place}" for name in first for place in range(width)], object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever comes in
        return tags

    def _width(self) -> int:
        many = len(self.channels_) if self.per == "channel" else 1
        return many * self.model_.config.hidden_size

    def _check_kind(self, X: Any) -> None:
        """Recordings and windows are told apart by ``per``, too: a row must be what it says."""
        found = "recordings" if recordings_in(X) is not None else "windows"
        wanted = "recordings" if self.per == "recording" else "windows"
        if found != wanted:
            raise ValueError(
                f"per={self.per!r} is for {wanted}, found {found}. A row of the result is one item "
                "of X: per='recording' takes a list of recordings, 'window' and 'channel' an array "
                "(n, channels, samples) or Epochs. modeling_mteeg.embedding.embed gives the "
                "windows of a recording."
            )

    def _ask(self, inputs: Mapping[str, Any], channels: int) -> np.ndarray:
        adapter = None if self.card_ is None else self.card_.name
        output = self.model_.encode({"windows": inputs}, adapter)["windows"]
        return pooled(self.model_, output, self.per, channels).float().cpu().numpy()

    def _of_recording(self, recording: Any) -> np.ndarray:
        options = self._of_recordings()
        if self.card_ is None:
            own = {"extractor": self.extractor_, "window_s": self.window_s}
            found = embed(recording, self.model_, per=self.per, channels=self.channels, **own,
                          **options)  # fmt: skip
        else:
            found = embed(recording, self.model_, self.card_.name, per=self.per, **options)
        return next(iter(found.values())).values
