"""Low-rank adapters of several tasks in one linear layer, each on its own rows of the input.

A layer holds peft's own tensors (``lora_A.<task>``, ``lora_B.<task>``), made through peft's
extension point for custom layers, so adapters are saved in peft's format and stock ``PeftModel``
reads them. Only the forward pass differs: it takes a route (which rows belong to which adapter), so
one call serves the batches of all tasks, and adapters of other tasks get no gradient at all.

This module imports peft, which a base alone does not need: import it where adapters are used.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft import inject_adapter_in_model
from peft.tuners.lora import Linear as PeftLoraLinear
from torch import nn
from torch.autograd.function import once_differentiable

from .adapter_options import AdapterOptions
from .adapter_sharing import AdapterSharing
from .layers import Route

Slices = tuple[tuple[int, int, int], ...]
"""Rows of a call: ``(first row, row after the last, number of the adapter or -1)``."""
Factors = tuple[torch.Tensor, torch.Tensor]
"""A (rank, in) and B (out, rank)."""


def merging_pays(rows: int, d_in: int, d_out: int, dtype: torch.dtype) -> bool:
    """Whether W + B A is cheaper to build than B (A x) is to add, for so many rows.

    Building it costs rank x d_in x d_out, adding costs rank x rows x (d_in + d_out). In half
    precision the small product would drown in the rounding of W, so it is always added there.
    """
    return dtype in (torch.float32, torch.float64) and rows * (d_in + d_out) > d_in * d_out


class _RoutedLinear(torch.autograd.Function):
    """x W^T + b with a low-rank term on slices of the rows; W and b get no gradient.

    The products are taken in the cheapest exact order (:func:`merging_pays`), and nothing of the
    size of the output is kept for the backward pass but the input itself.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, slices: Slices, *factors):
        # x (rows, in), weight (out, in); factors: A (rank, in) and B (out, rank) of each adapter.
        d_out, d_in = weight.shape
        merged = [
            n >= 0 and merging_pays(stop - start, d_in, d_out, x.dtype) for start, stop, n in slices
        ]
        out = x.new_empty(x.shape[0], d_out)
        reduced: list[torch.Tensor | None] = [None] * (len(factors) // 2)  # A x, where it was made
        if not any(merged):  # one large product for all rows, the adapters' terms added to it
            _product(x, weight, bias, out)
        for (start, stop, n), merge in zip(slices, merged, strict=True):
            rows, target = x[start:stop], out[start:stop]  # (slice, in), (slice, out)
            if merge:  # many rows: W + B A, (out, in), is cheaper than a second product
                full = torch.addmm(weight, factors[2 * n + 1], factors[2 * n])
                _product(rows, full, bias, target)
                continue
            if any(merged):  # then no product ran over all rows above
                _product(rows, weight, bias, target)
            if n >= 0:
                inner = factors[2 * n] @ rows.t()  # A x: (rank, slice), rank first as below
                target.addmm_(inner.t(), factors[2 * n + 1].t())  # (slice, rank) (rank, out)
                reduced[n] = inner
        ctx.slices, ctx.merged = slices, merged
        ctx.save_for_backward(x, weight, *factors, *reduced)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, *saved = ctx.saved_tensors
        # Arguments of forward: x, weight, bias, slices, then the factors.
        need_x, need = ctx.needs_input_grad[0], ctx.needs_input_grad[4:]
        factors, reduced = saved[: len(need)], saved[len(need) :]
        grads: list[torch.Tensor | None] = [None] * len(factors)
        any_merged = any(ctx.merged)
        grad_x = None
        if need_x:  # dx = dy (W + B A); without a merged slice dy W for all rows at once
            grad_x = torch.empty_like(x) if any_merged else grad @ weight  # (rows, in)
        for (start, stop, n), merge in zip(ctx.slices, ctx.merged, strict=True):
            g, rows = grad[start:stop], x[start:stop]  # (slice, out), (slice, in)
            if n >= 0:
                a, b = factors[2 * n], factors[2 * n + 1]
                # Rank first: products with a few rows are several times faster than products
                # with a few columns (docs/benchmarks.md).
                inner = b.t() @ g.t()  # B^T dy^T: (rank, slice)
                if need[2 * n]:
                    grads[2 * n] = inner @ rows  # dA: (rank, in)
                if need[2 * n + 1]:
                    # A x: (rank, slice); a merged slice did not need it on the way forward.
                    down = a @ rows.t() if reduced[n] is None else reduced[n]
                    grads[2 * n + 1] = (down @ g).t()  # dB: (out, rank)
            if need_x and any_merged:
                # Built again: kept from the way forward it would cost (out, in) for each adapter.
                full = torch.addmm(weight, b, a) if merge else weight
                torch.mm(g, full, out=grad_x[start:stop])
            if need_x and n >= 0 and not merge:
                grad_x[start:stop].addmm_(inner.t(), a)  # (slice, rank) (rank, in)
        return grad_x, None, None, None, *grads


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, out) -> None:
    """out = x weight^T + bias."""
    if bias is None:
        torch.mm(x, weight.t(), out=out)
    else:
        torch.addmm(bias, x, weight.t(), out=out)


class MixWeights(nn.Module):
    """How much of every pair a task takes, in one layer: ``weight`` (pairs,), free numbers.

    They start as shares, drawn evenly from all there are: with equal ones all pairs would follow
    the same sum over the tasks, and learn much the same (docs/adapter_sharing.md).
    """

    def __init__(self, pairs: int, like: torch.Tensor):
        super().__init__()
        drawn = like.new_empty(pairs).exponential_()  # a Dirichlet distribution's, of ones
        self.weight = nn.Parameter(drawn / drawn.sum())


class RoutedLoraLinear(PeftLoraLinear):
    """peft's LoRA layer whose adapters act on the rows that a route gives them.

    Notes
    -----
    f(x) = W0 x + B_p A_p x + b0 for the rows of task p (paper, section 3.3).

    A task's adapter is its own pair A, B, or made of pairs that other tasks have, too
    (:mod:`modeling_mteeg.model.adapter_sharing`): a sum of products is one product, of the A below
    each other and the B beside each other, so all that follows knows one pair a task.
    """

    takes_route = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.blocks: dict[str, int] = {}
        self.parts: dict[str, tuple[str, ...]] = {}
        self.factor: dict[str, float] = {}
        self.lora_mix = nn.ModuleDict()

    def separate(self, adapter: str, blocks: int) -> None:
        """Give every one of ``blocks`` equal parts of the output its own low-rank pair.

        A becomes (blocks * rank, in), B stays (out, rank): the rows of B in part j belong to the
        rows j * rank ... of A. Used for separate adapters on query, key and value.
        """
        old = self.lora_A[adapter]  # its weight: (rank, in)
        place = {"device": old.weight.device, "dtype": old.weight.dtype}
        new = nn.Linear(old.in_features, blocks * old.out_features, bias=False, **place)
        self.lora_A[adapter] = new
        self.blocks[adapter] = blocks
        for part in new.weight.detach().chunk(blocks):  # each (rank, in), as peft draws it
            nn.init.kaiming_uniform_(part, a=5**0.5)

    def compose(self, task: str, pairs: Sequence[str], factor: float, mixed: bool) -> None:
        """Make a task's adapter of ``pairs`` that are here, to be multiplied by ``factor``.

        ``mixed``: each pair counts by a weight of the task.
        """
        self.parts[task], self.factor[task] = tuple(pairs), factor
        if mixed:
            self.lora_mix[task] = MixWeights(len(pairs), self.lora_A[pairs[0]].weight)

    def carries(self, adapter: str) -> bool:
        """Whether ``adapter`` is a pair of this layer, or made of some."""
        return adapter in self.lora_A or adapter in self.parts

    def pairs_of(self, adapter: str) -> tuple[str, ...]:
        """The pairs that ``adapter`` is made of."""
        return self.parts.get(adapter, (adapter,))

    def _stacked(self, adapter: str) -> Factors:
        """A of an adapter's pairs below each other, B beside each other, not yet weighed."""
        pairs = self.pairs_of(adapter)
        if adapter not in self.parts:
            return self.lora_A[adapter].weight, self.lora_B[adapter].weight
        blocks = self.blocks.get(pairs[0], 1)
        # Block by block, so that separate q, k, v stay separate: (blocks, sum of ranks, in).
        parts = [self.lora_A[pair].weight.unflatten(0, (blocks, -1)) for pair in pairs]
        a = torch.cat(parts, 1).flatten(0, 1)
        parts = []
        for pair in pairs:
            b = self.lora_B[pair].weight  # (out, rank of the pair)
            # rsLoRA scales by the root of the rank, and the ranks add up: B takes the difference.
            ratio = self.scaling[pair] / self.factor[adapter]
            parts.append(b if ratio == 1.0 else b * ratio)
        return a, torch.cat(parts, 1)  # (out, sum of ranks)

    def one_pair(self, adapter: str, stacked: dict[Any, Factors] | None = None) -> Factors:
        """A (rank, in) and B (out, rank) as peft has them, not yet scaled.

        The rank is the sum of those of the adapter's pairs. ``stacked`` keeps what other tasks with
        the same pairs have use for; give the same mapping for all of a call.
        """
        stacked, pairs = {} if stacked is None else stacked, self.pairs_of(adapter)
        if pairs not in stacked:
            stacked[pairs] = self._stacked(adapter)
        a, b = stacked[pairs]
        if adapter in self.lora_mix:
            weight = self.lora_mix[adapter].weight  # (pairs,), each for the columns of its pair
            b = b * weight[:, None].expand(-1, b.shape[1] // len(pairs)).flatten()
        blocks = self.blocks.get(pairs[0], 1)
        # Separate pairs are one with a block-diagonal B, (out, blocks * rank).
        return a, torch.block_diag(*b.chunk(blocks)) if blocks > 1 else b

    def factors(self, adapter: str, stacked: dict[Any, Factors] | None = None) -> Factors:
        """A (rank, in) and scaled B (out, rank), whose product is the adapter's weight change."""
        a, b = self.one_pair(adapter, stacked)
        scaling = self.factor[adapter] if adapter in self.factor else self.scaling[adapter]
        return a, b if scaling == 1.0 else b * scaling

    def _slices(self, route: Route, rows: int) -> tuple[Slices, list[str]]:
        """Cover all rows: those of adapters in this layer, and the plain ones between."""
        slices, names, last = [], [], 0
        for adapter, start, stop in route:
            if not self.carries(adapter):
                continue
            if start > last:  # rows of no adapter, or of one that is not in this layer
                slices.append((last, start, -1))
            elif names and self._same(names[-1], adapter):  # tasks that share all they have
                slices[-1] = (slices[-1][0], stop, len(names) - 1)
                last = stop
                continue
            slices.append((start, stop, len(names)))
            names.append(adapter)
            last = stop
        if last < rows:
            slices.append((last, rows, -1))
        return tuple(slices), names

    def _same(self, first: str, second: str) -> bool:
        """Whether two tasks have the very same adapter."""
        mixed = first in self.lora_mix or second in self.lora_mix
        return not mixed and self.pairs_of(first) == self.pairs_of(second)

    def _dropout(self, adapter: str) -> nn.Module:
        """What drops inputs of an adapter; one mask for all its pairs."""
        return self.lora_dropout[self.pairs_of(adapter)[0]]

    def forward(self, x: torch.Tensor, route: Route = ()) -> torch.Tensor:
        """Apply the layer.

        Parameters
        ----------
        x : torch.Tensor
            (rows, in).
        route : Route
            ``(adapter, first row, row after the last)`` in ascending order; rows of no adapter get
            the plain layer.

        Returns
        -------
        torch.Tensor
            (rows, out).
        """
        slices, names = self._slices(route, x.shape[0])
        base = self.base_layer
        if not names:
            return base(x)
        dropout = self.training and any(
            isinstance(self._dropout(name), nn.Dropout) for name in names
        )
        trained = any(parameter.requires_grad for parameter in base.parameters())
        if dropout or trained or torch.compiler.is_compiling():
            return self._plain_forward(x, slices, names)
        weight, bias = base.weight, base.bias
        dtype = weight.dtype
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        bias = None if bias is None else bias.to(dtype)
        stacked: dict[Any, Factors] = {}
        pairs = (self.factors(name, stacked) for name in names)
        factors = [factor.to(dtype) for pair in pairs for factor in pair]
        return _RoutedLinear.apply(x.to(dtype), weight.to(dtype), bias, slices, *factors)

    def _plain_forward(self, x: torch.Tensor, slices: Slices, names: list[str]) -> torch.Tensor:
        """The same by ordinary operations: for dropout, for a trained W, and for the compiler."""
        parts = []
        for start, stop, n in slices:
            rows = x[start:stop]  # (slice, in)
            part = self.base_layer(rows)  # (slice, out)
            if n >= 0:
                a, b = self.factors(names[n])
                rows = self._dropout(names[n])(rows)
                part = part + F.linear(F.linear(rows, a.to(rows.dtype)), b.to(rows.dtype))
            parts.append(part)
        return torch.cat(parts)


def inject(model: nn.Module, adapter: str, options: AdapterOptions) -> None:
    """Put a fresh adapter (A random, B zero) into the model's linear layers."""
    config = dataclasses.replace(options, separate_qkv=False).to_peft()
    config._register_custom_module({nn.Linear: RoutedLoraLinear})
    with warnings.catch_warnings():
        # Several adapters in one model are the point here; peft warns of them.
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        inject_adapter_in_model(config, model, adapter_name=adapter)
    for name, layer in adapter_layers(model, adapter).items():
        blocks = options.blocks_of(name.rpartition(".")[2])
        if blocks > 1:
            layer.separate(adapter, blocks)


def adapter_layers(model: nn.Module, adapter: str) -> dict[str, RoutedLoraLinear]:
    """Layers that carry ``adapter``, by their name in the model, in order."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, RoutedLoraLinear) and module.carries(adapter)
    }


def compose(model: nn.Module, task: str, options: AdapterSharing) -> None:
    """Make a task's adapter of pairs that :func:`inject` has put into the layers."""
    pairs, plain = tuple(options.pairs(task)), options.plain()
    for name, layer in adapter_layers(model, pairs[0]).items():
        layer.compose(task, pairs, plain.factor_of(name.rpartition(".")[2]), options.mixed)


def remove(model: nn.Module, adapter: str, pairs: Collection[str], merge: bool = False) -> None:
    """Take an adapter out of its layers, adding it to their weights first if ``merge``.

    ``pairs`` are those of its pairs that go with it, since no other task has them. A layer without
    any pair left becomes the plain linear layer again.
    """
    for name, layer in adapter_layers(model, adapter).items():
        if merge:
            a, b = layer.factors(adapter)
            with torch.no_grad():
                weight = layer.base_layer.weight
                weight.add_((b.double() @ a.double()).to(weight.dtype))
        for known in (layer.parts, layer.factor, layer.lora_mix):
            if adapter in known:
                del known[adapter]
        with warnings.catch_warnings():
            # peft's own active adapter plays no part here: routes name the adapters.
            warnings.filterwarnings("ignore", message="Adapter .* was active")
            for pair in pairs:
                layer.blocks.pop(pair, None)
                layer.delete_adapter(pair)
        if not layer.lora_A:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.base_layer)
