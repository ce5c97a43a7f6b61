"""Whether tasks pull shared weights apart: the cosine between their gradients, every some steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from ..methods.method import GradientMethod
from ..settings.schema import setting

Batches = Mapping[str, Mapping[str, torch.Tensor]]


@dataclasses.dataclass(frozen=True)
class GradientOptions:
    """Whether the tasks' gradients are compared.

    Parameters
    ----------
    every_steps : int or None
        At every so many optimiser steps; None: never. A comparison costs about a step more, so
        that 25 keeps it at 4 % of the training (docs/balancing.md).
    """

    every_steps: int | None = setting(None, "> 0", later=True)


class GradientComparison:
    """Compares the gradients of the tasks of a training on the weights that they share.

    Every task goes through the model by itself, over the windows it has in the step, and its
    gradient on the shared weights is taken apart from the training's own: neither gradients nor
    buffers nor random values of the training are touched, so that weights come out the same to the
    bit with and without it.

    Parameters
    ----------
    method : GradientMethod
        Shared is what is trained and serves no single task (``task_of``).
    tasks : sequence of str
    every_steps : int

    Attributes
    ----------
    shared : dict of str to torch.nn.Parameter
    measurements : list of dict
        Of every comparison ``epoch`` and ``step`` (optimiser steps before it, over the training),
        ``cosines`` (tasks x tasks) and ``norms`` (tasks). None: the task had no window in the
        step, or a gradient that is zero or not finite.

    Notes
    -----
    Drop path and dropout draw anew for the comparison, so its gradients are those of the step's
    windows, not of its very forward pass. Taken from that pass, of which all tasks are one graph,
    every task's gradient would cost a backward pass over all tasks.
    """

    def __init__(self, method: GradientMethod, tasks: Sequence[str], every_steps: int) -> None:
        self.module, self.tasks, self.every_steps = method.module, tuple(tasks), every_steps
        self.shared = shared_parameters(method)
        self.measurements: list[dict[str, Any]] = []
        self._sums: dict[str, torch.Tensor] = {}

    def due(self, step: int) -> bool:
        """Whether optimiser step ``step``, counted from 0 over the training, is compared."""
        asked = (step + 1) % self.every_steps == 0
        return asked and bool(self.shared) and len(self.tasks) > 1

    def add(
        self,
        batches: Batches,
        counts: Mapping[str, int],
        losses: Callable[[Batches], Mapping[str, torch.Tensor]],
        passes: Callable[[Batches], Iterable[Batches]],
        scale: float = 1.0,
    ) -> None:
        """Take the gradients of a part of a step, in this process.

        Parameters
        ----------
        batches : mapping of str to mapping
            Task to its windows of the part.
        counts : mapping of str to int
            Samples of each task in the whole step.
        losses : callable
            Batches to every task's mean loss over its batch.
        passes : callable
            Cuts batches into passes of bounded size.
        scale : float
            Factor of the loss, against gradients that are too small for float16.
        """
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        parameters = list(self.shared.values())
        trained = [p for p in self.module.parameters() if p.requires_grad]
        chosen = set(map(id, parameters))
        own = [p for p in trained if id(p) not in chosen]
        try:
            for parameter in own:  # gradients of adapters and heads would be made for nothing
                parameter.requires_grad_(False)
            for task, batch in batches.items():
                for part in passes({task: batch}):
                    share = len(part[task]["labels"]) / counts[task]
                    loss = losses(part)[task] * (share * scale)
                    if loss.requires_grad:  # else the task passes by all that is shared
                        self._add(task, loss, parameters)
        finally:
            for parameter in own:
                parameter.requires_grad_(True)
            with torch.no_grad():
                for buffer, before in buffers:  # running means of a normalisation
                    buffer.copy_(before)

    def _add(self, task: str, loss: torch.Tensor, parameters: Sequence[torch.Tensor]) -> None:
        # allow_unused: a task may pass by some of them, such as the norm of another head
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        flat = torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).reshape(-1).float()
                for g, p in zip(found, parameters, strict=True)
            ]
        )  # (shared weights,)
        self._sums[task] = self._sums[task] + flat if task in self._sums else flat

    def finish(
        self,
        epoch: int,
        step: int,
        counts: Mapping[str, int],
        accelerator: Accelerator,
        scale: float = 1.0,
    ) -> dict[str, float]:
        """Compare what :meth:`add` took in all processes; all of them must call this.

        Returns
        -------
        dict of str to float
            The defined cosines and the share of negative pairs, for the tracker.
        """
        size = sum(p.numel() for p in self.shared.values())
        numbers = [n for n, task in enumerate(self.tasks) if counts.get(task, 0)]
        gradients = []
        for n in numbers:
            flat = self._sums.pop(self.tasks[n], None)  # None: another process has its windows
            if flat is None:
                flat = torch.zeros(size, device=accelerator.device)
            gradients.append(accelerator.reduce(flat, reduction="sum"))
        dots = [[torch.dot(a, b) for b in gradients[: i + 1]] for i, a in enumerate(gradients)]
        flat_dots = torch.stack([dot for row in dots for dot in row]).tolist()  # one wait for all
        self._sums.clear()
        cosines = [[None] * len(self.tasks) for _ in self.tasks]
        norms: list[float | None] = [None] * len(self.tasks)
        row = 0
        for i, n in enumerate(numbers):
            norms[n] = _positive(math.sqrt(max(flat_dots[row + i], 0.0)) / scale)
            for j, m in enumerate(numbers[: i + 1]):
                if norms[n] is not None and norms[m] is not None:
                    cosine = flat_dots[row + j] / (norms[n] * norms[m] * scale**2)
                    cosines[n][m] = cosines[m][n] = cosine
            row += i + 1
        self.measurements.append({"epoch": epoch, "step": step, "cosines": cosines, "norms": norms})
        return self._values(cosines)

    def _values(self, cosines: Sequence[Sequence[float | None]]) -> dict[str, float]:
        pairs = {
            f"gradients/cosine/{self.tasks[m]}/{self.tasks[n]}": cosines[n][m]
            for n in range(len(self.tasks)) for m in range(n) if cosines[n][m] is not None
        }  # fmt: skip
        if pairs:
            negative = sum(value < 0 for value in pairs.values()) / len(pairs)
            pairs["gradients/negative_pairs"] = negative
        return pairs

    def describe(self) -> str:
        """How, and what has come out so far, in words."""
        if not self.shared:
            return "not compared: no trained weight is shared by several tasks"
        if len(self.tasks) < 2:
            return "not compared: there is one task"
        size = sum(p.numel() for p in self.shared.values())
        text = f"every {self.every_steps} steps on {size:,} shared weights"
        cosines = [
            m["cosines"][i][j]
            for m in self.measurements for i in range(len(self.tasks)) for j in range(i)
            if m["cosines"][i][j] is not None
        ]  # fmt: skip
        if cosines:
            negative, mean = sum(c < 0 for c in cosines) / len(cosines), math.fsum(cosines)
            text += (
                f": {negative:.0%} of {len(cosines):,} pairs negative, mean cosine "
                f"{mean / len(cosines):.3f}"
            )
        return text


def shared_parameters(method: GradientMethod) -> dict[str, torch.nn.Parameter]:
    """What is trained and serves no single task."""
    return {
        name: parameter
        for name, parameter in method.module.named_parameters()
        if parameter.requires_grad and method.task_of(name) is None
    }


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None
