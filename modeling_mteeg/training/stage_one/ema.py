"""Exponential average of weights over steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from .sharding import put


class WeightAverage:
    """Averages of parameters, moved a little towards them after every step.

    Parameters
    ----------
    parameters : mapping of str to torch.nn.Parameter
    decay : float
        Share of the average that stays. In the first steps it is smaller, ``(1 + n) / (10 + n)``,
        so that the average does not hang on the random start.
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self._parameters, self.decay = dict(parameters), decay
        self.averages = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after optimiser step ``step``, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.averages[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def load(self, averages: Mapping[str, torch.Tensor]) -> None:
        """Go on from stored averages."""
        for name, average in self.averages.items():
            put(average, averages[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages into the model for as long as the context lasts."""
        trained = {name: p.detach().clone() for name, p in self._parameters.items()}
        self.put()
        try:
            yield
        finally:
            self._put(trained)

    def put(self) -> None:
        """Put the averages into the model for good."""
        self._put(self.averages)

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
