"""Attention on a CPU by a small kernel in C++ that is compiled where it runs.

LaBraM's heads are 20 wide and its windows have 32 to 257 tokens. In torch's own attention products
so thin reach a third of the rate of large ones (docs/benchmarks.md). The kernel,
``attention_kernel.cpp``, is for ``compile: true``, whose user has a compiler; what it cannot do is
left to torch's functions.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = "-std=c++17 -O3 -march=native -fopenmp -fPIC -shared".split()
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


@functools.cache
def kernel(head_dim: int) -> ctypes.CDLL | None:
    """The kernel for heads of a width, compiled in some seconds; None where there can be none.

    Warns
    -----
    UserWarning
        It could not be compiled here.
    """
    if sys.platform != "linux" or not SOURCE.exists():  # files of the Hub are Python's alone
        return None
    compiler = os.environ.get("CXX") or "g++"  # maybe with a launcher before it
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "attention.so"
        flags = [*FLAGS, f"-DHEAD_DIM={head_dim}", str(SOURCE), "-o", str(library)]
        command = [*shlex.split(compiler), *flags]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
            # Its threads are torch's, whose OpenMP is loaded under the same name.
            return ctypes.CDLL(str(library))
        except (OSError, subprocess.CalledProcessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().partition("\n")[0]
            warnings.warn(f"Attention is left to torch: {compiler} failed ({said}).", stacklevel=2)
            return None


def kernel_takes(values: torch.Tensor, head_dim: int, dropout: float) -> bool:
    """Whether the kernel can attend to such values: on a CPU, of a type it knows, no dropout."""
    return (
        values.device.type == "cpu"
        and values.dtype in TYPES
        and not dropout
        and not torch.compiler.is_compiling()
        and kernel(head_dim) is not None
    )


class Entrance(NamedTuple):
    """What query, key or value pass through first; None where there is nothing."""

    shift: torch.Tensor | None = None
    """Added, (heads * head_dim,)."""
    norm: torch.nn.LayerNorm | None = None
    """Over a head's numbers."""

    @property
    def is_trained(self) -> bool:
        """Whether a parameter of it waits for a gradient."""
        of_norm = () if self.norm is None else (self.norm.weight, self.norm.bias)
        wait = (p.requires_grad for p in (self.shift, *of_norm) if p is not None)
        return torch.is_grad_enabled() and any(wait)


class _Entrance(ctypes.Structure):
    """:class:`Entrance` for the kernel."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("shift", "weight", "bias")),
        ("epsilon", ctypes.c_float),
    )


def kernel_attention(
    tensors: Sequence[torch.Tensor],
    shapes: Sequence[tuple[int, int]],
    heads: int,
    scaling: float,
    entrances: Sequence[Entrance] = (Entrance(),) * 3,
) -> torch.Tensor:
    """Softmax attention within every sample.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        Query, key and value, each (rows, heads, head_dim); or the three in one, (rows, 3 * width).
        Float32 or bfloat16, as :func:`kernel_takes` says.
    shapes : sequence of (int, int)
        (samples, tokens), the rows of which are laid end to end.
    heads : int
    scaling : float
        Of the scores.
    entrances : sequence of Entrance
        Of query, key and value. Their parameters get no gradient.

    Returns
    -------
    torch.Tensor
        Context (rows, width), in the tensors' type; computed in float32.

    Raises
    ------
    ValueError
        Shapes of more or fewer rows, or tensors that differ in rows or type: the kernel would read
        beside them.
    """
    rows = sum(batch * tokens for batch, tokens in shapes)
    found = {(len(x), x.dtype) for x in tensors}
    if found != {(rows, tensors[0].dtype)}:
        raise ValueError(f"Expected tensors of {rows} rows and one type, found {found}.")
    return _Attention.apply(shapes, heads, scaling, entrances, *tensors)


def _three(tensors: Sequence[torch.Tensor], heads: int) -> Sequence[torch.Tensor]:
    """Query, key and value, each (rows, heads, head_dim)."""
    if len(tensors) == 3:
        return tensors
    return tensors[0].view(len(tensors[0]), 3, heads, -1).unbind(1)


def _call(
    name: str,
    tensors: Sequence[torch.Tensor],
    shapes: Sequence[tuple[int, int]],
    log_sums: torch.Tensor,
    scaling: float,
    entrances: Sequence[Entrance],
) -> None:
    """Call an entry of the kernel for all groups of rows of tensors (rows, heads, head_dim)."""
    _, heads, head_dim = tensors[0].shape
    entry = getattr(kernel(head_dim), f"{name}_{TYPES[tensors[0].dtype]}")
    given, held = (_Entrance * 3)(), []  # parameters in another type live as long as the call
    for one, entrance in zip(given, entrances, strict=True):
        norm = entrance.norm
        wanted = {"shift": entrance.shift}
        if norm is not None:
            wanted |= {"weight": norm.weight, "bias": norm.bias}
            one.epsilon = norm.eps
        for key, parameter in wanted.items():
            if parameter is not None:
                held.append(parameter.detach().to(torch.float32).contiguous())
                setattr(one, key, held[-1].data_ptr())
    first = 0
    for batch, tokens in shapes:
        strides = [s for x in tensors for s in (tokens * x.stride(0), x.stride(0), x.stride(1))]
        places = [x.data_ptr() + first * x.stride(0) * x.element_size() for x in tensors]
        entry(
            (ctypes.c_void_p * len(places))(*places),
            (ctypes.c_int64 * len(strides))(*strides),
            given,
            ctypes.c_void_p(log_sums.data_ptr() + first * heads * log_sums.element_size()),
            (ctypes.c_int64 * 3)(batch, heads, tokens),
            ctypes.c_float(scaling),
            ctypes.c_int(torch.get_num_threads()),
        )
        first += batch * tokens


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, shapes, heads, scaling, entrances, *tensors):
        tensors = [x if x.stride(-1) == 1 else x.contiguous() for x in tensors]
        query, key, value = _three(tensors, heads)
        context = query.new_empty(len(query), heads * query.shape[2])  # (rows, width)
        # Logarithm to the base 2 of every softmax's denominator, by group (samples, heads, tokens).
        log_sums = query.new_empty(len(query) * heads, dtype=torch.float32)
        every = [query, key, value, context.view(query.shape)]
        _call("forward", every, shapes, log_sums, scaling, entrances)
        ctx.save_for_backward(context, log_sums, *tensors)
        ctx.given = shapes, heads, scaling, entrances
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        context, log_sums, *tensors = ctx.saved_tensors
        shapes, heads, scaling, entrances = ctx.given
        made = [torch.empty(x.shape, dtype=x.dtype) for x in tensors]
        given = _three(tensors, heads)
        behind = [x.view(given[0].shape) for x in (context, gradient.contiguous())]
        every = [*given, *behind, *_three(made, heads)]
        _call("backward", every, shapes, log_sums, scaling, entrances)
        return None, None, None, None, *made
