"""The floor: log band power of every channel, and logistic regression. Minutes, no GPU.

A model that is not above it has learned nothing that five numbers a channel do not tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ..model.log_band_power import BANDS_HZ
from ..model.modeling_mteeg import task_loss
from ..model.task_card import TaskCard
from ..settings.schema import setting
from .logistic import fit_logistic
from .method import Batch, FittedMethod
from .task_files import WEIGHTS_FILE, read_weights, save_tasks

_SEGMENT_S = 2.0
_LEAST_POWER = 1e-12  # a flat channel has a logarithm, too


@dataclasses.dataclass(frozen=True)
class BandPowerOptions:
    """Strengths of the regression that validation chooses from; whether classes count equally."""

    strengths: tuple[float, ...] = setting((0.001, 0.01, 0.1, 1.0, 10.0), "> 0")
    balanced: bool = setting(True)


class BandPower(FittedMethod):
    """A linear classifier a task; nothing is shared, and nothing was pre-trained."""

    names = ("band-power",)
    title = "band power: log band power of every channel and logistic regression"
    Options = BandPowerOptions

    def __init__(self, cards: Mapping[str, TaskCard], options: BandPowerOptions) -> None:
        super().__init__(cards)
        self.options = options
        empty = torch.zeros(0, dtype=torch.float64)
        names = ("mean", "deviation", "weight", "bias")
        self._states = {task: dict.fromkeys(names, empty) for task in cards}

    @classmethod
    def check(cls, config: Any) -> Iterator[str]:
        yield from super().check(config)
        if config.method_options.get("strengths") == []:
            yield "method_options.strengths: expected at least one number, found none"

    @classmethod
    def build(cls, config: Any, cards: Mapping[str, TaskCard], seed: int) -> Self:
        chosen = {task: cards[task].replace(results=None) for task in config.data.tasks}
        return cls(chosen, cls.Options(**_tuples(config.method_options)))

    @property
    def candidates(self) -> Sequence[float]:
        return self.options.strengths

    def features(self, task: str, batch: Batch) -> np.ndarray:
        """Log of the mean power in every band, (n, channels * bands) float64, channel by channel.

        Welch's estimate, segments of 2 s (or the whole window where it is shorter), half over each
        other.
        """
        from scipy.signal import welch

        rate = self.cards[task].rate_hz
        signal = batch["input_values"].flatten(2).double().numpy()  # (n, channels, time)
        length = min(round(_SEGMENT_S * rate), signal.shape[2])
        frequencies, density = welch(signal, rate, nperseg=length)  # (n, channels, frequencies)
        powers = [
            density[..., (frequencies >= low) & (frequencies < high)].mean(-1)
            for low, high in BANDS_HZ.values()
        ]
        return np.log(np.stack(powers, -1).clip(_LEAST_POWER)).reshape(len(signal), -1)

    def fit(self, task: str, features: np.ndarray, labels: np.ndarray, candidate: float) -> float:
        weighting = "balanced" if self.options.balanced else None
        outputs = self.cards[task].num_outputs
        values = fit_logistic(features, labels, outputs, candidate, weighting)
        self._states[task] = {name: torch.from_numpy(value) for name, value in values.items()}
        logits = self.predict_features(task, features)
        return float(task_loss(self.cards[task], logits, torch.from_numpy(labels)))

    def predict_features(self, task: str, features: np.ndarray) -> torch.Tensor:
        state = self._states[task]
        scaled = (torch.from_numpy(features) - state["mean"]) / state["deviation"]
        return scaled @ state["weight"].T + state["bias"]

    def state(self, task: str) -> dict[str, torch.Tensor]:
        return dict(self._states[task])

    def load_state(self, task: str, state: Mapping[str, torch.Tensor]) -> None:
        self._states[task] = dict(state)

    def fitted_weights(self, task: str) -> int:
        """Of the regression; before it is fitted by the card's channels (0 where it has none)."""
        state, card = self._states[task], self.cards[task]
        fitted = state["weight"].numel() + state["bias"].numel()
        features = len(card.channels) * len(BANDS_HZ)
        return fitted or (card.num_outputs * (features + 1) if features else 0)

    def save(
        self,
        folder: Path,
        results: Mapping[str, Mapping[str, Any]],
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """``tasks/<task>`` in the folder holds the task card and the regression."""
        save_tasks(folder, self.cards, self._states, results, record)

    @classmethod
    def load(cls, folder: Path, task: str) -> Self:
        place = cls.task_folder(folder, task)
        method = cls({task: TaskCard.load(place)}, BandPowerOptions())
        method.load_state(task, read_weights(place / WEIGHTS_FILE))
        return method


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
