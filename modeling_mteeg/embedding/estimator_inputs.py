"""What scikit-learn's estimators are given: arrays of windows, Epochs, or recordings."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..model.channel_choice import choose_channels
from ..model.channels import channel_ids
from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from ..model.file_choice import plain_path
from ..model.recording_sources import open_source
from ..model.task_card import TaskCard

Recording = Any
"""A path, an mne Raw, or (array (channels, samples), channel names, rate in Hz)."""


def is_epochs(X: Any) -> bool:
    """Whether windows come as ``mne.Epochs``, with their own names, rate and unit."""
    mne = sys.modules.get("mne")
    return mne is not None and isinstance(X, mne.BaseEpochs)


def joined(X: Any) -> Any:
    """A list of Epochs, which scikit-learn makes of some of them, as Epochs again; others as is."""
    if isinstance(X, (list, tuple)) and X and all(map(is_epochs, X)):
        return sys.modules["mne"].concatenate_epochs(list(X), add_offset=True, verbose="error")
    return X


def recordings_in(X: Any) -> list[Recording] | None:
    """The recordings of a list, tuple, series or array of such; None: it holds none.

    Raises
    ------
    ValueError
        One recording where a list of them is expected.
    """
    if _is_recording(X):
        raise ValueError(
            "X: expected a list of recordings, a row of the result for each, found one recording. "
            "Put it into a list."
        )
    if isinstance(X, (list, tuple)):
        items = list(X)
    elif getattr(X, "ndim", None) == 1 and getattr(X, "dtype", None) != np.dtype(float):
        items = list(X)  # such as a column of paths
    else:
        return None
    return items if items and all(_is_recording(item) for item in items) else None


def _is_recording(item: Any) -> bool:
    item = plain_path(item)
    mne = sys.modules.get("mne")
    if isinstance(item, (str, Path)) or (mne is not None and isinstance(item, mne.io.BaseRaw)):
        return True
    if not (isinstance(item, tuple) and len(item) == 3):
        return False
    names = item[1]
    return isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)


@dataclasses.dataclass(frozen=True)
class WindowReader:
    """Turn windows into the model's input, with the extractor's checks.

    Parameters
    ----------
    extractor : MteegFeatureExtractor
    card : TaskCard or None
        None: the base alone.
    channels : tuple of str or None
        Names of an array's channels; of Epochs those to take, None: the card's, else all.
    rate_hz, unit, filter
        As the extractor takes them; ``rate_hz`` is of arrays.
    fitted : tuple of str or None
        Channels of the fit, which Epochs must have: they are taken by name, in this order.
    """

    extractor: MteegFeatureExtractor
    card: TaskCard | None
    channels: tuple[str, ...] | None
    rate_hz: float | None
    unit: str | None
    filter: bool | None
    fitted: tuple[str, ...] | None = None

    def recording(self, X: Any) -> Any:
        """Windows as the extractor takes them; flat ones get their channels again.

        Raises
        ------
        ValueError
            No names or no rate for an array, or another number of values than of channels.
        """
        if is_epochs(X):
            return X
        if self.channels is None:
            raise ValueError(
                "channels: expected the names of the array's channels, in its order, found None."
            )
        if self.rate_hz is None:  # a guess would stretch time without a word
            raise ValueError("rate_hz: expected the rate of the array in Hz, found None.")
        X, count = np.asarray(X), len(self.channels)
        if X.ndim == 2:  # windows laid end to end
            if X.shape[1] % count or not X.shape[1]:
                raise ValueError(
                    f"X: expected windows (n, {count} channels, samples), or flat with a multiple "
                    f"of {count} values, found shape {X.shape}."
                )
            X = X.reshape(len(X), count, -1)
        if X.ndim != 3:
            raise ValueError(f"X: expected windows (n, channels, samples), found shape {X.shape}.")
        return X, list(self.channels), self.rate_hz

    def chosen(self, X: Any) -> tuple[str, ...]:
        """Names of the channels that are used, found among those of ``X``.

        Raises
        ------
        SignalError, UnknownChannelError, ValueError
            Channels are missing or unknown, names do not fit the array, or an impossible rate.
        """
        source = open_source(self.recording(X), self.unit, preload=False)
        card = self.card
        wanted = (card.channels if card else self._taken(X)) or None
        most = card.max_missing_channels if card else 0
        names = choose_channels(source, wanted, most).names
        self.ids(names)
        return names

    def ids(self, names: Sequence[str]) -> np.ndarray:
        """Rows of the spatial table, (channels, 2) int64; ``UnknownChannelError`` as needed."""
        return channel_ids(names, (self.card or self.extractor).bipolar)

    def inputs(self, X: Any) -> Any:
        """``input_values`` (n, channels, patches, patch size) and ``channel_ids``."""
        options = {"task": self.card} if self.card else {"channels": self._taken(X)}
        return self.extractor(self.recording(X), unit=self.unit, filter=self.filter, **options)

    def _taken(self, X: Any) -> Sequence[str] | None:
        return (self.fitted or self.channels) if is_epochs(X) else None
