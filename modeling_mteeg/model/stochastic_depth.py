"""Stochastic depth: in training a sample skips a branch of a layer with some probability.

On a CPU the rows of such samples are left out of the branch, so that they cost nothing: the numbers
are those of a branch that is multiplied by 0. On other devices the branch is multiplied, since the
host would have to wait for the draw.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from .layers import Group, Route

Runs = tuple[tuple[int, int], ...]
"""Rows that lie together: ``(first row, row after the last)``, in ascending order."""


class DropPath(nn.Module):
    """Stochastic depth: in training a sample skips the branch with probability ``rate``."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    @property
    def skips(self) -> bool:
        """Whether samples skip the branch at all, here and now."""
        return self.training and self.rate > 0.0

    def draw(self, groups: Sequence[Group], device: torch.device) -> torch.Tensor:
        """Which samples keep the branch, bool, (samples,)."""
        samples = sum(group.batch for group in groups)
        return torch.rand(samples, device=device).lt(1.0 - self.rate)

    def forward(
        self, like: torch.Tensor, groups: tuple[Group, ...], keep: torch.Tensor | None = None
    ) -> torch.Tensor | None:
        """What the branch is multiplied by, (rows, 1) or (kept rows, 1), None for nothing.

        One decision per sample of a group; type and device are those of ``like``.
        """
        if not self.skips:
            return None
        kept = self.draw(groups, like.device)
        # (samples,): 0, or 1 / (1 - rate) so that the mean of the branch stays.
        scale = kept.to(like.dtype) / (1.0 - self.rate)
        parts = zip(groups, scale.split([group.batch for group in groups]), strict=True)
        rows = torch.cat([part.repeat_interleave(group.tokens) for group, part in parts])
        return (rows if keep is None else rows[keep])[:, None]


class Kept(NamedTuple):
    """What a branch sees of the samples that keep it: their shapes, adapters and rows."""

    groups: tuple[Group, ...]
    route: Route | None
    runs: Runs


def kept_samples(kept: Sequence[bool], groups: Sequence[Group], route: Route | None) -> Kept:
    """Groups, route and rows without the samples that skip the branch.

    Parameters
    ----------
    kept : sequence of bool
        For every sample, the groups' laid end to end.
    groups : sequence of Group
    route : Route or None
        Its borders are borders of samples. An adapter whose samples all skip the branch stays in
        it, without rows: its gradient is zero, not absent.
    """
    left, runs, here = [], [], iter(kept)
    row = count = 0
    places = {0: 0}  # a border of samples, among the rows that are kept
    for group in groups:
        taken = list(itertools.islice(here, group.batch))
        for keeps in taken:
            stop = row + group.tokens
            if keeps and runs and runs[-1][1] == row:
                runs[-1] = (runs[-1][0], stop)
            elif keeps:
                runs.append((row, stop))
            count += group.tokens if keeps else 0
            row, places[stop] = stop, count
        if any(taken):
            left.append(group._replace(batch=sum(taken)))
    if route is not None:
        route = tuple((name, places[start], places[stop]) for name, start, stop in route)
    return Kept(tuple(left), route, tuple(runs))


Branch = Callable[[torch.Tensor, "tuple[Group, ...]", "Route | None"], torch.Tensor]


def add_branch(
    x: torch.Tensor,
    gamma: torch.Tensor | None,
    branch: Branch,
    drop_path: DropPath,
    groups: tuple[Group, ...],
    route: Route | None,
) -> torch.Tensor:
    """x + factor * gamma * branch(x), (rows, width), with the branch of kept samples alone.

    ``branch`` takes rows with their groups and their route.
    """
    kept = drop_path.draw(groups, x.device).tolist()
    # (width,) or (1,); so that the mean of the branch stays.
    scale = (x.new_ones(1) if gamma is None else gamma) / (1.0 - drop_path.rate)
    if not any(kept):  # so that every adapter has a gradient here, of zero
        scale, kept = scale * 0.0, [True] * len(kept)
    if all(kept):
        return torch.addcmul(x, scale, branch(x, groups, route).to(x.dtype))
    groups, route, runs = kept_samples(kept, groups, route)
    out = branch(_TakeRows.apply(x, runs), groups, route).to(x.dtype)
    return _AddRows.apply(x, scale, out, runs)


class _TakeRows(torch.autograd.Function):
    """The rows of ``runs``, laid end to end."""

    @staticmethod
    def forward(ctx, x, runs: Runs):
        ctx.runs, ctx.shape = runs, x.shape
        return torch.cat([x[start:stop] for start, stop in runs])  # (kept rows, width)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        out, last = grad.new_empty(ctx.shape), 0
        parts = grad.split([stop - start for start, stop in ctx.runs])
        for (start, stop), part in zip(ctx.runs, parts, strict=True):
            out[last:start] = 0.0  # rows that skip the branch
            out[start:stop] = part
            last = stop
        out[last:] = 0.0
        return out, None


class _AddRows(torch.autograd.Function):
    """x, and on the rows of ``runs`` scale * branch on top; branch (kept rows, width)."""

    @staticmethod
    def forward(ctx, x, scale, branch, runs: Runs):
        ctx.runs = runs
        ctx.save_for_backward(scale, branch if ctx.needs_input_grad[1] else None)
        out = x.clone()
        parts = branch.split([stop - start for start, stop in runs])
        for (start, stop), part in zip(runs, parts, strict=True):
            out[start:stop].addcmul_(scale, part)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        scale, branch = ctx.saved_tensors
        taken = torch.cat([grad[start:stop] for start, stop in ctx.runs])  # (kept rows, width)
        grad_scale = None
        if ctx.needs_input_grad[1]:
            grad_scale = (taken * branch).sum(0)
        return grad, grad_scale, taken.mul_(scale), None
