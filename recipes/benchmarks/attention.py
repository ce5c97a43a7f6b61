"""The attention part of the benchmark: the kernel of `compile: true` beside torch's, on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention

from modeling_mteeg import MteegConfig
from modeling_mteeg.model.attention_kernel import kernel, kernel_attention
from modeling_mteeg.model.layers import Group, eager_attention
from modeling_mteeg.recipes.benchmarks.joint_step import SHAPES
from modeling_mteeg.recipes.benchmarks.tables import median_ratio, middle, table

Attention = Callable[[Sequence[torch.Tensor], Group, float], torch.Tensor]
"""Context (rows, width) from query, key and value, each (rows, heads, head_dim)."""


def _samples(tensors: Sequence[torch.Tensor], group: Group) -> list[torch.Tensor]:
    """Each as (batch, heads, tokens, head_dim)."""
    return [x.unflatten(0, group).transpose(1, 2) for x in tensors]


def _fused(tensors: Sequence[torch.Tensor], group: Group, scaling: float) -> torch.Tensor:
    context = scaled_dot_product_attention(*_samples(tensors, group), scale=scaling)
    return context.transpose(1, 2).reshape(group.rows, -1)


def _plain(tensors: Sequence[torch.Tensor], group: Group, scaling: float) -> torch.Tensor:
    context, _ = eager_attention(torch.nn.Module(), *_samples(tensors, group), None, scaling)
    return context.reshape(group.rows, -1)


def _kernel(tensors: Sequence[torch.Tensor], group: Group, scaling: float) -> torch.Tensor:
    return kernel_attention(tensors, [group], tensors[0].shape[1], scaling)


WAYS: dict[str, Attention] = {"fused": _fused, "plain": _plain, "kernel": _kernel}


def attention_table(preset: str, samples: int, repeats: int, warmup: int) -> str:
    """Attention of every length that a task has, forward and backward, the ways in turn.

    Parameters
    ----------
    preset : str
        Size of the model: heads and their width.
    samples : int
        Windows at a time.
    repeats, warmup : int
        Rounds that count, and that do not.

    Returns
    -------
    str
        Markdown.
    """
    config = MteegConfig.from_preset(preset)
    if kernel(config.head_dim) is None:
        return "Attention was not measured: no kernel could be compiled here (Linux with g++)."
    rows = []
    lengths = sorted({1 + channels * seconds for _, channels, seconds in SHAPES.values()})
    for kind in (torch.float32, torch.bfloat16):
        for tokens in lengths:
            group, seconds = Group(samples, tokens), {name: [] for name in WAYS}
            shape = group.rows, config.num_attention_heads, config.head_dim
            tensors = [torch.randn(shape, dtype=kind, requires_grad=True) for _ in range(3)]
            given = torch.randn(group.rows, config.hidden_size, dtype=kind)
            for turn in range(warmup + repeats):
                for name, way in WAYS.items():
                    start = time.perf_counter()
                    context = way(tensors, group, config.head_dim**-0.5)
                    torch.autograd.grad(context, tensors, given)
                    if turn >= warmup:
                        seconds[name].append(time.perf_counter() - start)
            ms = " | ".join(f"{1e3 * middle(seconds[name]):.2f}" for name in WAYS)
            best = min(("fused", "plain"), key=lambda name: middle(seconds[name]))
            ratio = median_ratio(seconds["kernel"], seconds[best])
            rows.append(f"{str(kind).removeprefix('torch.')} | {tokens} | {ms} | {ratio:.2f}")
    columns = " | ".join(f"{name}, ms" for name in WAYS)
    head = f"type | tokens | {columns} | the better of torch's by the kernel"
    return (
        f"Attention forward and backward, {preset}, {samples} windows, medians of {repeats} "
        f"rounds.\n\n{table(head, rows)}"
    )
