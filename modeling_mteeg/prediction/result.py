"""What predicting one task on one recording gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..model.findings import Finding
from ..model.record_parts import Part
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
    stride_s : float or None
        From one window's start to the next; None: windows begin at cues.
    channels : tuple of str
        Channels that were used, in the model's order.
    derived : tuple of str
        Those of ``channels`` that were computed as a difference of two electrodes.
    missing : tuple of str
        Channels of the task that the recording lacks.
    recording : str
        Path or name of the recording.
    recording_s : float
        When the recording ends, in seconds from its start; pauses between its parts count.
    notes : tuple of str
        Sentences about what differs from the task card, such as filters that cannot be applied:
        those of ``findings``, and others.
    provenance : dict
        Base, its fingerprint and revision; adapter and its revision; package version; settings.
    findings : tuple of Finding
        What is odd about the recording.
    parts : tuple of Part
        Its stretches without a gap or a joint; empty: not known, one.
    recorded_rate_hz : float
        Rate that the parts' samples count at; 0: not known.
    marked : tuple of str
        What is wrong with every window, such as ``bad: BAD_movement`` or ``constant: F3 F4``, empty
        where nothing is. Empty altogether where nothing is wrong with any.
    ends : numpy.ndarray or None
        bool, (windows,), those that were added to end with their part; None: none was.
    cues : tuple of str or None
        Text of the cue that every window begins at; None: they slide.
    threshold : float or None
        Two classes only: probability of ``labels[1]`` from which on it is the answer, chosen by
        hand; None: what the card decides. See :meth:`at_threshold`.
    """

    card: TaskCard
    onset_s: np.ndarray
    probabilities: np.ndarray
    stride_s: float | None
    channels: tuple[str, ...]
    derived: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    recording: str = ""
    recording_s: float = 0.0
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    parts: tuple[Part, ...] = ()
    recorded_rate_hz: float = 0.0
    marked: tuple[str, ...] = ()
    ends: np.ndarray | None = None
    cues: tuple[str, ...] | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        expected = (len(self.onset_s), len(self.card.labels))
        if self.probabilities.shape != expected:
            raise ValueError(
                f"Task {self.card.name!r}: expected probabilities {expected} (windows, classes), "
                f"found {self.probabilities.shape}."
            )

    @property
    def part_numbers(self) -> np.ndarray:
        """int64, (windows,), which of ``parts`` every window lies in."""
        begins = [part.onset_s for part in self.parts[1:]]
        return np.searchsorted(begins, self.onset_s, side="right")

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.card.window_s

    @property
    def classes(self) -> np.ndarray:
        """int64, (windows,), number of every window's class: the most probable one, or that which
        the card's threshold decides."""
        if self.threshold is not None:
            return (self.probabilities[:, 1] >= self.threshold).astype(np.int64)
        return self.card.decide(self.probabilities)

    @property
    def decision(self) -> str:
        """How a class is chosen, in words."""
        if self.threshold is None:
            return self.card.decision
        negative, positive = self.card.labels
        return (
            f"{positive} from a probability of {self.threshold:.3g} on, else {negative} (threshold "
            f"{self.threshold:.3g}, chosen by hand)."
        )

    def at_threshold(self, threshold: float | None) -> Prediction:
        """The same probabilities, decided by another threshold (None: as the card says).

        Raises
        ------
        ValueError
            The task has more than two classes, or the threshold is no probability above 0.
        """
        if threshold is not None and len(self.card.labels) != 2:
            raise ValueError(
                f"Task {self.card.name!r}: a threshold needs two classes, found "
                f"{len(self.card.labels)}."
            )
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"threshold: expected a probability above 0, found {threshold!r}.")
        return dataclasses.replace(self, threshold=threshold)

    @property
    def labels(self) -> list[str]:
        """Label of every window's class, as :attr:`classes`."""
        return [self.card.labels[index] for index in self.classes]
