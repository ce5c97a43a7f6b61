"""A training step as one CUDA graph: recorded once, then played back without Python in between."""

from __future__ import annotations

from collections.abc import Callable

import torch

_WARM_UP = 3
"""Steps before the recording: kernels are chosen, code is compiled, the optimiser has its state."""


class GraphedStep:
    """Plays a step back that always has the same shapes and the same tensors as inputs.

    Playing back is a step like any other: new random values, weights moved. The learning rate is
    the one of the recording.

    Parameters
    ----------
    step : callable
        Forward, backward and the optimiser's step; reads nothing of the device back.
    optimizer : torch.optim.Optimizer
        That of the step, made with ``capturable=True``.
    """

    def __init__(self, step: Callable[[], None], optimizer: torch.optim.Optimizer) -> None:
        self.step, self.optimizer = step, optimizer
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self.graph is None:
            self.record()
        self.graph.replay()

    def record(self) -> None:
        """Run the step a few times on a stream of its own, then record it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        # Without gradients: those of the recording then lie in the graph's own memory.
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        self.graph = graph
