"""Which channels a task's answer rests on: integrated gradients and attention rollout.

Both say what the model looks at, not what causes an event in the brain; they are aids for checking
a model, such as whether a seizure detector watches an electrode that is loose.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from ..model.findings import Finding

METHODS = ("integrated-gradients", "attention-rollout")
BATCH = 32
"""Windows (or points of their paths) in one pass of the model."""
_STEPS = (32, 64, 128, 256)
_GAP = 0.05
_POWER = 4
_NAMED = 4


class AttributionWarning(UserWarning):
    """An attribution that is less exact than it should be."""


@dataclasses.dataclass(frozen=True)
class LabelledWindows:
    """How many of a recording's windows are a label.

    Parameters
    ----------
    label : str
    number : int
        That are it.
    total : int
        That were looked at.
    rule : str
        What makes a window one of them, in words.
    """

    label: str
    number: int
    total: int
    rule: str

    def __str__(self) -> str:
        number = f"{self.number:,}" if self.number else "none"
        verb = "are" if self.number > 1 else "is"
        return f"{number} of {self.total:,} windows {verb} {self.label} ({self.rule})"


@dataclasses.dataclass(frozen=True)
class ChannelAttribution:
    """A value for every channel, as pictures and tables show it.

    Parameters
    ----------
    channels : tuple of str
        In the model's order.
    values : numpy.ndarray
        float, (channels,), mean over the windows.
    method : {"integrated-gradients", "attention-rollout"}
    task : str
    label : str
        Class that is explained; empty for attention rollout, which knows no classes.
    onset_s : tuple of float
        Where the windows start over which the mean was taken, in seconds; empty if not known.
    recording : str
    simulated : bool
        Whether the task was trained on simulated data.
    findings : tuple of Finding
        What is odd about the recording.
    labelled : LabelledWindows or None
        How many windows are the label: of the recording, or of those that were asked for.
    """

    channels: tuple[str, ...]
    values: np.ndarray
    method: str
    task: str
    label: str = ""
    onset_s: tuple[float, ...] = ()
    recording: str = ""
    simulated: bool = False
    findings: tuple[Finding, ...] = ()
    labelled: LabelledWindows | None = None

    def __post_init__(self) -> None:
        if np.shape(self.values) != (len(self.channels),):
            raise ValueError(
                f"Expected a value for each of {len(self.channels)} channels, found shape "
                f"{np.shape(self.values)}."
            )
        if self.method not in METHODS:
            raise ValueError(f"method: expected one of {METHODS}, found {self.method!r}.")

    @property
    def unit(self) -> str:
        """What the values are, and of what."""
        of = f" (logit of {self.label})" if self.label else ""
        return f"integrated gradients{of}" if self.signed else "attention rollout (share)"

    @property
    def signed(self) -> bool:
        """Whether values below zero speak against the class."""
        return self.method == "integrated-gradients"

    def where(self) -> str:
        """The windows in words."""
        if not self.onset_s:
            return "mean over windows"
        starts = ", ".join(f"{onset:.4g} s" for onset in self.onset_s[:_NAMED])
        if len(self.onset_s) == 1:
            return f"the window from {starts}"
        more = ", ..." if len(self.onset_s) > _NAMED else ""
        return f"mean over {len(self.onset_s):,} windows, from {starts}{more}"

    def order(self) -> list[int]:
        """Channels from the largest absolute value to the smallest."""
        return np.argsort(-np.abs(self.values), kind="stable").tolist()


def attribute(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    task: str | None = None,
    target: int | Sequence[int] | torch.Tensor | None = None,
    method: str = "integrated-gradients",
    steps: int | None = None,
    per_patch: bool = False,
    batch_size: int = BATCH,
    progress: bool = False,
) -> torch.Tensor:
    """Attribute a task's answer to channels.

    Parameters
    ----------
    model : MteegModel
        Its weights, gradients and mode are as before afterwards.
    inputs : mapping
        ``input_values`` (windows, channels, patches, 200) or (windows, channels, samples) and
        ``channel_ids``, as the feature extractor makes them.
    task : str, optional
        By default the active one.
    target : int, sequence of int or tensor, optional
        Class that is explained, one for all windows or one for each (integrated gradients only).
        By default each window's most probable class. For a binary task's single logit, class 1
        is the logit and class 0 its negative.
    method : {"integrated-gradients", "attention-rollout"}
    steps : int, optional
        Points on the path of integrated gradients. By default as many as it takes, window by
        window: 32, doubled up to 256 until the sum is within 5 % (see Notes).
    per_patch : bool
        Keep the one-second patches.
    batch_size : int
        Windows in one pass. Memory grows with it; the time is that of ``steps`` forward and
        backward passes per window.
    progress : bool
        Show a bar with passes per second.

    Returns
    -------
    torch.Tensor
        float32 on the CPU, (windows, channels), or (windows, channels, patches). Integrated
        gradients: in units of the target's logit, positive where a channel speaks for the target.
        Attention rollout: shares of a window's attention, which sum to 1.

    Raises
    ------
    ValueError
        No task is active or named, an unknown method, or a target that is no class.

    Warns
    -----
    AttributionWarning
        Where the sum of integrated gradients stays more than 5 % (of the difference of the two
        logits, of one logit at least) beside what it should be.

    Notes
    -----
    *Integrated gradients* (Sundararajan, Taly and Yan, 2017): the gradient of the target's logit,
    averaged along the straight path from silence (zeros) to the window, times the window. Its sum
    over channels is the logit of the window less the logit of silence (completeness). LaBraM's
    temporal encoder normalises amplitudes away, so that nearly all change happens near silence:
    the points lie at the fourth power of Gauss-Legendre's, which is the same integral over the
    same path with far fewer points (on the tiny demo model: 32 to 128 for 2 %, where 128 equal
    steps left up to 43 %).

    *Attention rollout* (Abnar and Zuidema, 2020): attention weights, averaged over heads and mixed
    half and half with the residual connection, multiplied through the layers. It begins with the
    share of every patch token in what the task's head reads: equal shares, or those of an
    ``attention`` head. The cls token's share is left out and the rest scaled to a sum of 1. It
    knows neither classes nor signs, nor the weights that a ``channels`` head has for a channel.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {METHODS}, found {method!r}.")
    task = model.active_adapter if task is None else task
    if task is None or task not in model.tasks:
        raise ValueError(
            f"Expected one of the model's tasks {sorted(model.tasks)}, found {task!r}; name one, "
            "or set_adapter() first."
        )
    values = torch.as_tensor(inputs["input_values"]).to(model.device, model.dtype)
    if values.ndim == 3:
        values = values.unflatten(-1, (-1, model.config.patch_size))
    window = _Windows(
        model, values, inputs["channel_ids"].to(model.device), task, batch_size, progress
    )
    with _as_evaluated(model):
        if method == "attention-rollout":
            if target is not None or steps is not None:
                raise ValueError("Attention rollout has neither target nor steps; leave them out.")
            shares = _rollout(window)
        else:
            shares = _integrated_gradients(window, target, steps)
    shares = shares.float().cpu()  # (windows, channels, patches)
    return shares if per_patch else shares.sum(-1)


@dataclasses.dataclass(frozen=True)
class _Windows:
    """The model on some windows, in passes of bounded size."""

    model: Any
    values: torch.Tensor  # (windows, channels, patches, patch_size)
    channel_ids: torch.Tensor  # (channels, 2) or (windows, channels, 2)
    task: str
    batch_size: int
    progress: bool

    def ids(self, rows: torch.Tensor) -> torch.Tensor:
        return self.channel_ids[rows] if self.channel_ids.ndim == 3 else self.channel_ids

    def call(self, values: torch.Tensor, rows: torch.Tensor, **options: Any) -> Any:
        return self.model(
            input_values=values, channel_ids=self.ids(rows), task=self.task, **options
        )

    def scores(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Logits of every class, (batch, classes); of a binary task minus and plus its logit."""
        logits = self.call(values, rows).logits
        binary = self.model.tasks[self.task].is_binary
        return torch.cat([-logits, logits], dim=1) if binary else logits

    @torch.no_grad()
    def all_scores(self, scale: float) -> torch.Tensor:
        """Scores of the windows times a factor."""
        rows = torch.arange(len(self.values), device=self.values.device)
        parts = rows.split(self.batch_size)
        return torch.cat([self.scores(scale * self.values[part], part) for part in parts])


@contextmanager
def _as_evaluated(model: Any):
    """Without dropout, and with no gradient for the weights."""
    training = model.training
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, trained in wanted:
            parameter.requires_grad_(trained)
        model.train(training)


def _targets(window: _Windows, scores: torch.Tensor, target: Any) -> torch.Tensor:
    """Class number of every window, (windows,)."""
    if target is None:
        return scores.argmax(1)
    classes = len(window.model.tasks[window.task].labels)
    wanted = torch.as_tensor(target, device=scores.device)
    whole = wanted.dtype in (torch.int8, torch.int16, torch.int32, torch.int64)
    if not whole or wanted.shape not in ((), scores.shape[:1]) or not _within(wanted, classes):
        raise ValueError(
            f"target: expected a class from 0 to {classes - 1}, or one for each of "
            f"{len(scores)} windows, found {target!r}."
        )
    return wanted.long().expand(len(scores))


def _within(numbers: torch.Tensor, classes: int) -> bool:
    return not numbers.numel() or (int(numbers.min()) >= 0 and int(numbers.max()) < classes)


def _integrated_gradients(window: _Windows, target: Any, steps: int | None) -> torch.Tensor:
    """(windows, channels, patches)."""
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise ValueError(f"steps: expected a whole number above 0, found {steps!r}.")
    scores = window.all_scores(1.0)
    targets = _targets(window, scores, target)[:, None]
    # What a window's attributions must sum to (completeness): its logit less that of silence.
    wanted = (scores - window.all_scores(0.0)).gather(1, targets)[:, 0]  # (windows,)
    allowed = _GAP * wanted.abs().clamp_min(1.0)
    gradients = torch.zeros(window.values.shape[:3], device=scores.device, dtype=scores.dtype)
    # Only windows whose sum is not close enough yet are done again, with twice the points.
    left = torch.arange(len(scores), device=scores.device)
    gap = wanted.abs()
    for count in _STEPS if steps is None else (steps,):
        gradients[left] = _path(window, left, targets[:, 0], count)
        gap = (gradients.sum((1, 2)) - wanted).abs()
        left = torch.nonzero(gap > allowed)[:, 0]
        if not len(left):
            break
    else:
        warnings.warn(
            f"Integrated gradients of {len(left)} of {len(scores)} windows sum to their logit "
            f"only up to {float(gap[left].max()):.2g}; more steps (now {count}) may help.",
            AttributionWarning,
            stacklevel=3,
        )
    return gradients


def _path(window: _Windows, rows: torch.Tensor, targets: torch.Tensor, steps: int) -> torch.Tensor:
    """Integrated gradients of some windows, (rows, channels, patches)."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on -1 to 1
    at = (nodes + 1) / 2  # on 0 to 1; its weights are half as large
    # The substitution place = at^4 crowds the points near silence, where the logit changes; its
    # derivative 4 at^3 goes into the weights.
    places = torch.as_tensor(at**_POWER).to(window.values)
    weights = torch.as_tensor(weights / 2 * _POWER * at ** (_POWER - 1)).to(window.values)
    total = torch.zeros_like(window.values[rows])  # (rows, channels, patches, patch_size)
    # Every window with every point, cut into passes of batch_size: (rows * steps, 2).
    pairs = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(steps)).to(rows.device)
    for part in _shown(window, pairs.split(window.batch_size), f"{steps} steps"):
        local, step = part.unbind(1)  # row of `total`, point on the path
        numbers = rows[local]  # of the windows
        points = places[step, None, None, None] * window.values[numbers]
        with torch.enable_grad():
            points.requires_grad_(True)
            # Samples do not mix in the model, so the gradient of the sum is that of each score.
            score = window.scores(points, numbers).gather(1, targets[numbers][:, None]).sum()
            (gradient,) = torch.autograd.grad(score, points)
        total.index_add_(0, local, weights[step, None, None, None] * gradient)
    return (total * window.values[rows]).sum(-1)


def _shown(window: _Windows, parts: Sequence[torch.Tensor], what: str) -> Iterable[torch.Tensor]:
    """The same, behind a bar where one is wanted."""
    if not window.progress:
        return parts
    text = f"attributing, {what}"  # no bar where output is a file
    return tqdm(parts, desc=text, unit=" passes", leave=False)


@torch.no_grad()
def _rollout(window: _Windows) -> torch.Tensor:
    """(windows, channels, patches)."""
    parts = []
    rows = torch.arange(len(window.values), device=window.values.device)
    for part in rows.split(window.batch_size):
        values = window.values[part]
        output = window.call(values, part, output_attentions=True)
        layers = output.attentions
        # The row vector from the end: the shares of the patch tokens in what the head reads.
        head, norm = window.model.heads[window.task], window.model.fc_norm
        shares = head.shares(output.last_hidden_state, norm).to(layers[0])  # (batch, patch tokens)
        reach = torch.nn.functional.pad(shares, (1, 0))[:, None]  # 0 for cls: (batch, 1, tokens)
        for weights in reversed(layers):  # (batch, heads, tokens, tokens) each
            # Half attention, the mean over heads, and half the residual connection.
            reach = 0.5 * (reach + reach @ weights.mean(1))  # (batch, 1, tokens)
        patches = reach[:, 0, 1:]  # without the cls token
        shares = patches / patches.sum(1, keepdim=True)
        parts.append(shares.view(len(part), *values.shape[1:3]))
    return torch.cat(parts)
