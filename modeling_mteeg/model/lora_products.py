"""The products of a linear layer and the adapters of many tasks, in their cheapest exact order.

A task's term B A x is two thin products. Where a task has many rows, W + B A is built instead.
Where tasks of one shape lie side by side, as in a step of a hundred tasks, their thin products are
one batched product (:class:`Product`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

Slices = tuple[tuple[int, int, int], ...]
"""Rows of a call: ``(first row, row after the last, number of the adapter or -1)``."""
LEAST_ROWS = 16
"""Rows of a block of a batched product; with fewer, thin products would be of thin products."""


def merging_pays(rows: int, d_in: int, d_out: int, dtype: torch.dtype) -> bool:
    """Whether W + B A is cheaper to build than B (A x) is to add, for so many rows.

    Building it costs rank x d_in x d_out, adding costs rank x rows x (d_in + d_out). In half
    precision the small product would drown in the rounding of W, so it is always added there.
    """
    return dtype in (torch.float32, torch.float64) and rows * (d_in + d_out) > d_in * d_out


class Product(NamedTuple):
    """Rows that one product serves.

    Parameters
    ----------
    start, stop : int
        First row, and the row after the last.
    adapters : tuple of int
        Numbers of the adapters, in the order of their rows; empty: the plain layer.
    merged : bool
        One adapter, added to the weight beforehand.
    blocks : tuple of int
        Of several adapters: how many blocks of equally many rows each has, 0 where it has no row.
        Blocks of all of them are as large, so that they are the batch of a batched product.
    """

    start: int
    stop: int
    adapters: tuple[int, ...] = ()
    merged: bool = False
    blocks: tuple[int, ...] = (1,)

    def batched(self, x: torch.Tensor) -> torch.Tensor:
        """Its rows of ``x`` (rows, width) by blocks: (blocks, rows of a block, width)."""
        return x[self.start : self.stop].view(sum(self.blocks), -1, x.shape[1])

    def stacked(self, factors: Sequence[torch.Tensor]) -> torch.Tensor:
        """The factors of its adapters, each repeated for its blocks: (blocks, ...)."""
        if set(self.blocks) == {1}:
            return torch.stack(list(factors))
        # Views: numbers of repetitions as a tensor would have a GPU wait for them.
        pairs = zip(factors, self.blocks, strict=True)
        return torch.cat([factor.expand(number, *factor.shape) for factor, number in pairs])

    def summed(self, grads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Gradients of blocks (blocks, ...), added up to those of the adapters."""
        if set(self.blocks) == {1}:
            return grads.unbind()
        return tuple(part.sum(0) for part in grads.split(list(self.blocks)))


def plan_products(
    slices: Slices, factors: Sequence[torch.Tensor], shape: tuple[int, int], dtype: torch.dtype
) -> tuple[Product, ...]:
    """How the rows of a call are multiplied, by their shapes alone.

    Parameters
    ----------
    slices : Slices
        They cover all rows, in their order.
    factors : sequence of torch.Tensor
        A (rank, in) and B (out, rank) of each adapter, one after the other.
    shape : tuple of int
        (out, in) of the weight.
    dtype : torch.dtype
        That is computed in.
    """
    products: list[Product] = []
    rank, unit, sizes = 0, 0, []
    for start, stop, number in slices:
        if number < 0:
            products.append(Product(start, stop))
            rank = 0
            continue
        rows, here = stop - start, len(factors[2 * number])
        block = math.gcd(unit, rows)
        if rank == here and block >= LEAST_ROWS:  # one more of a batch
            sizes.append(rows)
            unit, last = block, products[-1]
            blocks = tuple(size // unit for size in sizes)
            products[-1] = Product(last.start, stop, (*last.adapters, number), False, blocks)
        else:
            # Merged if it stays alone: a batch is faster by its thin products (docs/benchmarks.md).
            merged = merging_pays(rows, shape[1], shape[0], dtype)
            products.append(Product(start, stop, (number,), merged))
            rank, unit, sizes = here, rows, [rows]
    return tuple(products)


class RoutedLinear(torch.autograd.Function):
    """x W^T + b with a low-rank term on slices of the rows; W and b get no gradient.

    The products are taken in the cheapest exact order, and nothing of the size of the output is
    kept for the backward pass but the input itself.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, products: tuple[Product, ...], *factors):
        # x (rows, in), weight (out, in); factors: A (rank, in) and B (out, rank) of each adapter.
        x = x.contiguous()
        out = x.new_empty(x.shape[0], weight.shape[0])
        any_merged = any(product.merged for product in products)
        if not any_merged:  # one large product for all rows, the adapters' terms added to it
            _product(x, weight, bias, out)
        reduced: list[torch.Tensor | None] = []  # A x, where it was made
        for product in products:
            rows, target = (y[product.start : product.stop] for y in (x, out))
            reduced.append(None)
            if product.merged:  # many rows: W + B A, (out, in), is cheaper than a second product
                n = product.adapters[0]
                full = torch.addmm(weight, factors[2 * n + 1], factors[2 * n])
                _product(rows, full, bias, target)
                continue
            if any_merged:  # then no product ran over all rows above
                _product(rows, weight, bias, target)
            if len(product.adapters) > 1:
                a, b = _stacks(product, factors)
                # A x by blocks, (blocks, rank, rows of a block), rank first as below.
                reduced[-1] = torch.bmm(a, product.batched(x).transpose(1, 2))
                inner = reduced[-1].transpose(1, 2)
                product.batched(out).baddbmm_(inner, b.transpose(1, 2))
            elif product.adapters:
                n = product.adapters[0]
                inner = factors[2 * n] @ rows.t()  # A x: (rank, slice), rank first as below
                target.addmm_(inner.t(), factors[2 * n + 1].t())  # (slice, rank) (rank, out)
                reduced[-1] = inner
        ctx.products = products
        ctx.save_for_backward(x, weight, *factors, *reduced)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, *saved = ctx.saved_tensors
        # Arguments of forward: x, weight, bias, products, then the factors.
        need_x, need = ctx.needs_input_grad[0], ctx.needs_input_grad[4:]
        factors, reduced = saved[: len(need)], saved[len(need) :]
        grads: list[torch.Tensor | None] = [None] * len(factors)
        any_merged = any(product.merged for product in ctx.products)
        grad, grad_x = grad.contiguous(), None
        if need_x:  # dx = dy (W + B A); without a merged slice dy W for all rows at once
            grad_x = torch.empty_like(x) if any_merged else grad @ weight  # (rows, in)
        for product, down in zip(ctx.products, reduced, strict=True):
            back = slice(product.start, product.stop)
            if need_x and any_merged and not product.merged:
                torch.mm(grad[back], weight, out=grad_x[back])
            if len(product.adapters) > 1:
                for place, value in _batched_gradients(
                    product, x, grad, grad_x, factors, down, need
                ):
                    grads[place] = value
            elif product.adapters:
                n = product.adapters[0]
                pair = factors[2 * n], factors[2 * n + 1]
                parts = x[back], grad[back], None if grad_x is None else grad_x[back]
                wanted = need[2 * n : 2 * n + 2]
                grads[2 * n : 2 * n + 2] = _gradients(
                    weight, pair, *parts, down, wanted, product.merged
                )
        return grad_x, None, None, None, *grads


def _gradients(weight, pair, rows, g, grad_x, down, need, merged: bool) -> tuple:
    """Gradients of one adapter's A and B, None where not needed; ``grad_x`` is filled."""
    (a, b), inner = pair, None
    if grad_x is not None and merged:
        # W + B A is built again: kept from the way forward it would cost (out, in) for each.
        inner = _input_gradient(g, weight, a, b, grad_x)
    # Rank first: products with a few rows are several times faster than products with a few
    # columns (docs/benchmarks.md).
    if inner is None:
        inner = b.t() @ g.t()  # B^T dy^T: (rank, slice)
    grad_a = inner @ rows if need[0] else None  # dA: (rank, in)
    grad_b = None
    if need[1]:
        # A x: (rank, slice); a merged slice did not need it on the way forward.
        down = a @ rows.t() if down is None else down
        grad_b = (down @ g).t()  # dB: (out, rank)
    if grad_x is not None and not merged:
        grad_x.addmm_(inner.t(), a)  # (slice, rank) (rank, in)
    return grad_a, grad_b


def _input_gradient(grad, weight, a, b, out: torch.Tensor) -> torch.Tensor | None:
    """out = dy (W + B A), (slice, in); and B^T dy^T, (rank, slice), where it comes for little."""
    d_out, d_in = weight.shape
    if d_out <= d_in:
        torch.mm(grad, torch.addmm(weight, b, a), out=out)
        return None
    # dy is the larger side, so it is read once, for both: a few columns more cost a large product
    # less than a product of their own.
    full = weight.new_empty(d_out, d_in + len(a))  # W + B A, and B beside it
    torch.addmm(weight, b, a, out=full[:, :d_in])
    full[:, d_in:] = b
    both = grad @ full  # (slice, in + rank)
    out.copy_(both[:, :d_in])
    return both[:, d_in:].t()


def _batched_gradients(
    product: Product, x, grad, grad_x, factors, down, need
) -> Iterator[tuple[int, torch.Tensor]]:
    """The same of many adapters at once: the place of a factor and its gradient."""
    a, b = _stacks(product, factors)
    g = product.batched(grad)  # (blocks, rows of a block, out)
    inner = torch.bmm(b.transpose(1, 2), g.transpose(1, 2))  # (blocks, rank, rows of a block)
    if grad_x is not None:
        product.batched(grad_x).baddbmm_(inner.transpose(1, 2), a)
    places = [2 * n for n in product.adapters]
    if any(need[place] for place in places):  # (blocks, rank, in)
        values = product.summed(torch.bmm(inner, product.batched(x)))
        yield from ((at, one) for at, one in zip(places, values, strict=True) if need[at])
    places = [place + 1 for place in places]
    if any(need[place] for place in places):  # (blocks, out, rank), laid out as B is
        values = torch.bmm(down, g).transpose(1, 2).contiguous()
        values = product.summed(values)
        yield from ((at, one) for at, one in zip(places, values, strict=True) if need[at])


def _stacks(product: Product, factors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """A (blocks, rank, in) and B (blocks, out, rank) of a batched product."""
    return (
        product.stacked([factors[2 * n] for n in product.adapters]),
        product.stacked([factors[2 * n + 1] for n in product.adapters]),
    )


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, out) -> None:
    """out = x weight^T + bias."""
    if bias is None:
        torch.mm(x, weight.t(), out=out)
    else:
        torch.addmm(bias, x, weight.t(), out=out)
