"""What lies between the products of a layer with adapters, through ``torch.compile``.

Which rows belong to which adapter changes from step to step, and a compiled function that took a
route would be made anew for each. So the linear layers, adapters included, and attention stay
outside, where they take the cheapest exact order of their products, and the parts between them see
rows alone: one code for any number of rows, for any route, and for all layers of a kind.

On a CPU only the parts that gain by it are compiled (docs/benchmarks.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

ROWS = {"dynamic": True, "fullgraph": True}
"""For ``torch.compile``: any number of rows, and an error instead of a break in the graph."""


def activated(norm: nn.GroupNorm, x: torch.Tensor, batch: int, count: int) -> torch.Tensor:
    """Normalisation and GELU behind a convolution of the temporal encoder, step by step.

    Parameters
    ----------
    norm : torch.nn.GroupNorm
        Pools over a sample's patches: why a sample is never padded.
    x : torch.Tensor
        (batch * count, steps * channels), a row a patch, channel within step.
    batch, count : int
        Samples, and patches of a sample.

    Returns
    -------
    torch.Tensor
        Shaped like ``x``.
    """
    x = x.view(batch, count, -1, norm.num_channels).permute(0, 3, 1, 2)  # (B, C, N, steps)
    return F.gelu(norm(x)).permute(0, 2, 3, 1).reshape(batch * count, -1)


def _normalised(norm: nn.Module, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(rows, width), in the type that the next product has."""
    return norm(x).to(dtype)


def heads_of(attention: nn.Module, qkv: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Query, key and value of (rows, 3 * width)."""
    return attention.heads_of(qkv)


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x)


def _added_and_normalised(
    add: Callable, x, gamma, branch, factor, norm: nn.Module, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """x with a branch added, and what the next product gets of it."""
    x = add(x, gamma, branch, factor)
    return x, norm(x).to(dtype)


def _added(add: Callable, x, gamma, branch, factor) -> torch.Tensor:
    """x with a branch added."""
    return add(x, gamma, branch, factor)


@functools.cache
def compiled(part: Callable) -> Callable:
    """A part as ``torch.compile`` makes it, one for all layers of a kind.

    Where torch has made as many versions as it may, further ones run as they are.
    """
    made = torch.compile(part, **ROWS)

    @functools.wraps(part)
    def run(*arguments: Any) -> Any:
        try:
            return made(*arguments)
        except torch._dynamo.exc.FailOnRecompileLimitHit:  # before anything was computed
            return part(*arguments)

    return run


def between_products(
    layer: nn.Module,
    linear: Callable,
    add: Callable,
    x: torch.Tensor,
    groups: tuple,
    route: Any,
    weights: bool,
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """:meth:`~modeling_mteeg.model.layers.MteegLayer.forward` with its parts compiled.

    Parameters
    ----------
    layer : MteegLayer
    linear : callable
        ``linear(module, x, route)``: a linear layer with the adapters of a route.
    add : callable
        ``add(x, gamma, branch, factor)``: x + factor * gamma * branch.
    x : torch.Tensor
        (rows, width).
    groups, route, weights
        As there.
    """
    attention, dtype = layer.attention, _product_type(x)
    qkv = linear(attention.qkv, compiled(_normalised)(layer.norm1, x, dtype), route)
    context, shares = attention.attend_product(qkv, groups, weights, compiled(heads_of))
    first, second = (layer.drop_path(context, groups) for _ in range(2))
    branch = linear(attention.proj, context, route)
    x, inner = compiled(_added_and_normalised)(
        add, x, layer.gamma_1, branch, first, layer.norm2, dtype
    )
    inner = linear(layer.mlp.fc1, inner, route)
    # On a CPU torch's own GELU is faster than the compiled one (docs/benchmarks.md).
    inner = F.gelu(inner) if x.device.type == "cpu" else compiled(_gelu)(inner)
    branch = linear(layer.mlp.fc2, inner, route)
    return compiled(_added)(add, x, layer.gamma_2, branch, second), shares


def _product_type(x: torch.Tensor) -> torch.dtype:
    """The type that matrix products of x run in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
