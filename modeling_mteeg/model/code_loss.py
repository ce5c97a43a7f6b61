"""Cross-entropy of predicted codes without keeping their logits.

The logits of 8192 codes are by far the largest tensor of a pre-training step: 2 GB in float32 for
64 windows, and autograd keeps several of that size. Here a slice of the rows at a time goes through
the linear layer, the softmax and straight into the gradients, while it is in the cache.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from .code_search import largest

# Logits held at a time: 16 MB in float32 on a CPU, which its cache holds; 256 MB on a GPU.
_LOGITS_AT_A_TIME = {"cpu": 2**22}
_LOGITS_AT_A_TIME_ELSEWHERE = 2**26


def code_loss(
    rows: torch.Tensor, head: nn.Linear, codes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of ``cross_entropy(head(rows), codes)``, and how many codes were found.

    Parameters
    ----------
    rows : torch.Tensor
        (rows, width), maybe none.
    head : torch.nn.Linear
        From the width to the codes. It is not called: a wrapper around it would not notice.
    codes : torch.Tensor
        int64, (rows,).

    Returns
    -------
    tuple of torch.Tensor
        Scalars in float32: the sum of the losses, with gradients to rows and head, and the number
        of rows whose largest logit is their code's.

    Notes
    -----
    The products run in the type of autocast where that is on, the rest in float32, as without this
    function. The gradients are found in the forward pass, because the loss is a sum: the backward
    pass scales them.
    """
    return _CodeLoss.apply(rows, head.weight, head.bias, codes)


class _CodeLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, weight, bias, codes):
        device = rows.device.type
        half = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if half else rows.dtype
        with torch.autocast(device, enabled=False):
            loss, right, gradients = _by_slices(
                rows.to(dtype), weight.to(dtype), bias.to(dtype), codes, ctx.needs_input_grad
            )
        of = (rows, weight, bias)
        ctx.save_for_backward(
            *(g if g is None else g.to(t.dtype) for g, t in zip(gradients, of, strict=True))
        )
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    @once_differentiable
    def backward(ctx, scale, _):
        # scale: d(result) / d(loss), one number.
        gradients = [None if g is None else g * scale.to(g.dtype) for g in ctx.saved_tensors]
        return *gradients, None


def _by_slices(rows, weight, bias, codes, wanted) -> tuple[torch.Tensor, torch.Tensor, tuple]:
    """Sum of losses, number of right codes, and the wanted gradients of the sum, or None."""
    loss, right = (torch.zeros((), dtype=torch.float32, device=rows.device) for _ in range(2))
    to_rows = [] if wanted[0] else None
    to_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
    to_bias = torch.zeros_like(bias, dtype=torch.float32) if wanted[2] else None
    held = _LOGITS_AT_A_TIME.get(rows.device.type, _LOGITS_AT_A_TIME_ELSEWHERE)
    size = max(1, held // len(weight))
    for part, code in zip(rows.split(size), codes.split(size), strict=True):
        code = code[:, None]  # (slice, 1)
        logits = F.linear(part, weight, bias).float()  # (slice, codes), the large one
        best = largest(logits)[:, None]
        shares = logits.softmax(1)
        # Logarithm of the exponentials' sum; the largest share is never near zero.
        total = logits.gather(1, best) - shares.gather(1, best).log()
        loss += (total - logits.gather(1, code)).sum()
        right += (best == code).sum()
        if not any(wanted[:3]):
            continue
        # d(loss) / d(logits): the softmax, less 1 at the code; in place, the shares are not needed.
        shares.scatter_add_(1, code, shares.new_full(code.shape, -1.0))
        slope = shares.to(part.dtype)  # (slice, codes)
        if to_rows is not None:
            to_rows.append(slope @ weight)  # (slice, width)
        if to_weight is not None:
            if to_weight.dtype == slope.dtype:
                to_weight.addmm_(slope.t(), part)  # (codes, slice) (slice, width)
            else:  # half precision: summed over the slices in float32
                to_weight += slope.t() @ part
        if to_bias is not None:
            to_bias += shares.sum(0)
    return loss, right, (None if to_rows is None else torch.cat(to_rows), to_weight, to_bias)
