"""What predicting one task on one recording gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..model.task_card import TaskCard


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Class probabilities of one task over the windows of one recording.

    Parameters
    ----------
    card : TaskCard
        The task, with its labels and window.
    onset_s : numpy.ndarray
        float64, (windows,), where each window starts, in seconds from the recording's start.
    probabilities : numpy.ndarray
        float32, (windows, classes), rows sum to 1.
    stride_s : float
        From one window's start to the next.
    channels : tuple of str
        Channels that were used, in the model's order.
    derived : tuple of str
        Those of ``channels`` that were computed as a difference of two electrodes.
    missing : tuple of str
        Channels of the task that the recording lacks.
    recording : str
        Path or name of the recording.
    recording_s : float
        Length of the recording in seconds.
    notes : tuple of str
        Sentences about what differs from the task card, such as filters that cannot be applied.
    provenance : dict
        Base, its fingerprint and revision; adapter and its revision; package version; settings.
    """

    card: TaskCard
    onset_s: np.ndarray
    probabilities: np.ndarray
    stride_s: float
    channels: tuple[str, ...]
    derived: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    recording: str = ""
    recording_s: float = 0.0
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (len(self.onset_s), len(self.card.labels))
        if self.probabilities.shape != expected:
            raise ValueError(
                f"Task {self.card.name!r}: expected probabilities {expected} (windows, classes), "
                f"found {self.probabilities.shape}."
            )

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.card.window_s

    @property
    def classes(self) -> np.ndarray:
        """int64, (windows,), number of every window's class: the most probable one, or that which
        the card's threshold decides."""
        return self.card.decide(self.probabilities)

    @property
    def labels(self) -> list[str]:
        """Label of every window's class, as :attr:`classes`."""
        return [self.card.labels[index] for index in self.classes]
