"""How tasks that differ in size and speed are kept in balance, beyond fixed fractions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ..methods import METHODS, FittedMethod
from ..model.task_card import TaskCard
from ..settings.schema import setting

History = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class BalancingOptions:
    """The rule, and what it needs (docs/balancing.md).

    Parameters
    ----------
    rule : str
        ``fixed``: every epoch draws what ``sampling`` says. ``progress``: the next epoch has more
        samples of the tasks that have come less far. ``uncertainty``: fixed draws, and a learned
        weight of every task's loss.
    signal : str
        ``progress``: how far a task has come by its training loss, or by its monitor metric on
        validation.
    strength : float
        ``progress``: power of what a task has left to go.
    least, most : float
        ``progress``: bounds of a task's samples, as parts of its fixed draw.
    lr_scale : float
        ``uncertainty``: learning rate of the weights, as a part of the heads'.
    """

    rule: str = setting("fixed", "fixed|progress|uncertainty", later=True)
    signal: str = setting("loss", "loss|validation", later=True)
    strength: float = setting(1.0, "> 0", later=True)
    least: float = setting(0.25, "> 0, <= 1", later=True)
    most: float = setting(2.0, ">= 1", later=True)
    lr_scale: float = setting(1.0, "> 0", later=True)


_READ = {"fixed": (), "progress": ("signal", "strength", "least", "most"),
         "uncertainty": ("lr_scale",)}  # fmt: skip
"""Which options a rule reads."""


def balancing_faults(options: BalancingOptions, method: str, tasks: Sequence[str]) -> Iterator[str]:
    """What is wrong with a ``balancing`` section for a method and its tasks, in sentences."""
    rule = options.rule
    for field in dataclasses.fields(options):
        known = field.name == "rule" or field.name in _READ[rule]
        if not known and getattr(options, field.name) != field.default:
            reads = next(name for name, keys in _READ.items() if field.name in keys)
            yield f"balancing.{field.name}: rule {rule} does not read it; set rule: {reads}"
    if rule == "fixed":
        return
    if issubclass(METHODS[method], FittedMethod):
        yield f"balancing.rule: {method} is fitted at once, so {rule} does nothing; leave it out"
    elif len(tasks) < 2:
        yield f"balancing.rule: {rule} weighs tasks against each other, found one; leave it out"
    elif rule == "uncertainty" and METHODS[method].selection == "task":
        yield (f"balancing.rule: tasks of {method} share nothing, so that weights of their losses "
               "decide nothing; leave it out")  # fmt: skip


class ProgressRule:
    """How many samples of every task the next epoch has, from the epochs so far.

    Task t has ``left_t`` still to go: its last training loss over that of its first epoch, or by
    validation its distance to a perfect score, 1 - (best monitor so far), over that after the first
    epoch. Its samples are ``fixed_t * (left_t / mean of left) ** strength``, times a factor that
    makes the total that of the fixed draws, within the bounds.

    Parameters
    ----------
    options : BalancingOptions
    fixed : mapping of str to int
        Samples of every task in an epoch by the ``sampling`` section.
    cards : mapping of str to TaskCard
        They name the monitor metrics.

    Notes
    -----
    ``left`` by loss is the relative inverse training rate of GradNorm (Chen et al., 2018), there
    for weights of losses. Where it is undefined (a metric or loss that is no number) a task counts
    as the mean. It is rounded to three digits, so that sums in another order, as of another number
    of processes, rarely change a plan.
    """

    def __init__(
        self, options: BalancingOptions, fixed: Mapping[str, int], cards: Mapping[str, TaskCard]
    ) -> None:
        self.options, self.fixed, self.cards = options, dict(fixed), dict(cards)
        self.low = {t: max(1, math.ceil(options.least * n)) for t, n in self.fixed.items()}
        self.high = {t: max(n, math.floor(options.most * n)) for t, n in self.fixed.items()}

    def left(self, history: History) -> dict[str, float]:
        """What every task has left to go, 1 after the first epoch; NaN where undefined."""
        return {task: self._left(task, history) for task in self.fixed}

    def _left(self, task: str, history: History) -> float:
        if self.options.signal == "loss":
            values = [_number(entry["train_loss"][task]) for entry in history]
            first, last = values[0], values[-1]
        else:
            monitor = self.cards[task].monitor
            scores = [_number(entry["validation"][task][monitor]) for entry in history]
            defined = [1 - score for score in scores if math.isfinite(score)]  # 0: perfect
            first, last = (defined[0], min(defined)) if defined else (math.nan, math.nan)
        if first == 0:  # was perfect at once
            return 0.0 if last == 0 else math.nan
        left = last / first
        return round(max(left, 0.0), 3) if math.isfinite(left) else math.nan

    def next_samples(self, history: History) -> dict[str, int]:
        """Samples of every task in the epoch after those of ``history``, of which there is one."""
        left = self.left(history)
        defined = [value for value in left.values() if math.isfinite(value)]
        mean = math.fsum(defined) / len(defined) if defined else 0.0
        wanted = {}
        for task, number in self.fixed.items():
            relative = left[task] / mean if mean and math.isfinite(left[task]) else 1.0
            # Above 0, so that a factor can bring a task of which nothing is left to its bound.
            wanted[task] = number * max(relative, 1e-3) ** self.options.strength
        return shared_out(sum(self.fixed.values()), wanted, self.low, self.high)

    def describe(self, history: History) -> str:
        """The rule, and its first and last draws, in words."""
        options = self.options
        by = "training loss" if options.signal == "loss" else "monitor on validation"
        text = (f"progress by {by}, strength {options.strength:g}, {options.least:g} to "
                f"{options.most:g} times the fixed draw")  # fmt: skip
        if history:
            last = history[-1]["samples"]
            changes = ", ".join(f"{t} {n:,} to {last[t]:,}" for t, n in self.fixed.items())
            text += f"; samples from epoch 1 to {len(history)}: {changes}"
        return text


def shared_out(
    total: int,
    wanted: Mapping[str, float],
    low: Mapping[str, int],
    high: Mapping[str, int],
) -> dict[str, int]:
    """``total`` in whole parts, in proportion to ``wanted`` as far as the bounds let it.

    Parameters
    ----------
    total : int
        From the sum of ``low`` to that of ``high``.
    wanted : mapping of str to float
        Above 0.
    low, high : mapping of str to int

    Returns
    -------
    dict of str to int
        Within the bounds, of the sum ``total``.
    """
    if not sum(low.values()) <= total <= sum(high.values()):
        raise ValueError(f"expected a total within the bounds, found {total}.")

    def parts(factor: float) -> dict[str, float]:
        return {t: min(max(factor * w, low[t]), high[t]) for t, w in wanted.items()}

    # The sum grows with the factor: halve the interval until there is no number between.
    below, above = 0.0, max(high[t] / w for t, w in wanted.items())
    while below < (middle := (below + above) / 2) < above:
        below, above = (middle, above) if sum(parts(middle).values()) < total else (below, middle)
    exact = parts(above)
    whole = {task: math.floor(part) for task, part in exact.items()}
    rest = total - sum(whole.values())
    # Largest remainders first; whoever has one is below its bound, which is whole.
    order = sorted(exact, key=lambda t: (whole[t] == high[t], whole[t] - exact[t], t))
    for task in order[:rest]:
        whole[task] += 1
    return whole


class UncertaintyWeights:
    """A learned weight of every task's loss: L becomes exp(-s) L + s, with s learned, 0 at first.

    Parameters
    ----------
    tasks : sequence of str
    device : torch.device

    Attributes
    ----------
    parameters : dict of str to torch.nn.Parameter
        s of every task, (), under the name that checkpoints have.

    Notes
    -----
    Homoscedastic uncertainty (Kendall, Gal, Cipolla, 2018): s is the logarithm of a task's
    variance. For cross-entropy they have exp(-s) L + s / 2, which is half of what stands here at
    s - log 2, so both have the same optimum up to one factor of all losses; without the half a
    training begins with weights of exactly 1. Where L stands still, s goes to log L, so that every
    task's weighted loss goes to 1.
    """

    _PLACE = "log_variances."

    def __init__(self, tasks: Sequence[str], device: torch.device) -> None:
        self._of = {t: torch.nn.Parameter(torch.zeros((), device=device)) for t in tasks}
        self.parameters = {f"{self._PLACE}{task}": s for task, s in self._of.items()}

    def group(self, lr_scale: float) -> dict[str, Any]:
        """The parameter group of an optimiser: no decay, which would pull weights towards 1."""
        return {
            "params": list(self.parameters.values()),
            "names": list(self.parameters),
            "weight_decay": 0.0,
            "lr_scale": lr_scale,
        }

    def weighted(self, task: str, loss: torch.Tensor) -> torch.Tensor:
        """exp(-s) L + s of a task's mean loss L, ()."""
        s = self._of[task]
        return (-s).exp() * loss + s

    def weights(self) -> dict[str, float]:
        """exp(-s) of every task."""
        values = torch.stack([(-s.detach()).exp() for s in self._of.values()])  # (tasks,)
        return dict(zip(self._of, values.tolist(), strict=True))

    def describe(self) -> str:
        """The rule, and the weights as they are, in words."""
        weights = ", ".join(f"{task} {weight:.3g}" for task, weight in self.weights().items())
        return f"weights of losses learned by uncertainty: {weights}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
