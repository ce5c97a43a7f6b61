"""One task's forward pass, prepared for windows that come one at a time on a CPU.

The same function as :class:`modeling_mteeg.MteegModel`, in float32 to rounding, for a batch of one
window, where a step is no longer a few large products: what can be computed once is, and what is
left stays in the cache. docs/benchmarks.md has the times of the parts.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..layers import MteegLayer

_SCORE_BYTES = 2**20  # of attention weights that are held at a time: a core's own cache
_PACKED = torch.ops.mkldnn  # oneDNN's products with weights in its own order, and GELU with them


def is_preparable(model: Any) -> bool:
    """Whether a model computes where and as this module does: a CPU, float32, evaluation."""
    parameter = model.cls_token
    return (
        not model.training and parameter.device.type == "cpu" and parameter.dtype == torch.float32
    )


class FastForward:
    """Logits of one task, from a copy of its weights.

    Parameters
    ----------
    model : MteegModel
        In evaluation mode, float32, on a CPU. It keeps all of its tasks; what is trained in it
        later is not seen here.
    task : str
        One of the model's tasks.

    Raises
    ------
    ValueError
        An unknown task, or a model that is not as described.

    Notes
    -----
    - W + B A is built once, and laid out as oneDNN wants it.
    - Attention's LayerNorm of queries and keys: their mean over a head is linear, so it is taken
      off the projection's weights; sums of squares over 20 values, and the scales that go back to
      them, are products with a matrix of blocks, since short sums are slow one by one.
    - Attention goes head by head, so that its weights stay in the cache, in one buffer.
    - The convolutions' matrices are built once. GroupNorm is two numbers per column.
    - The last linear layer acts on the mean over tokens, which is what the head sees.
    """

    def __init__(self, model: Any, task: str) -> None:
        if task not in model.tasks:
            raise ValueError(f"Unknown task {task!r}; this model holds {sorted(model.tasks)}.")
        if not is_preparable(model):
            raise ValueError(
                "Expected a float32 model on a CPU, in evaluation mode (model.eval())."
            )
        self.model, self.task, self.head = model, task, model.heads[task]
        self.heads = model.config.num_attention_heads
        self.rows = 1 + max(len(model.tasks[task].channels), 1) * model.tasks[task].patches
        self._scores = torch.empty(0)
        with torch.inference_mode():
            encoder = model.temporal_encoder
            self.norms = (encoder.norm1, encoder.norm2, encoder.norm3)
            self.matrices = [(matrix.contiguous(), bias) for matrix, bias in encoder.matrices()]
            width = model.config.hidden_size
            head_dim = width // self.heads
            self.blocks = torch.block_diag(*[torch.ones(head_dim, 1)] * (2 * self.heads))
            self.layers = [_Layer(layer, self) for layer in model.layers]

    def __call__(self, input_values: torch.Tensor, channel_ids: torch.Tensor) -> torch.Tensor:
        """Compute the logits.

        Parameters
        ----------
        input_values : torch.Tensor
            (batch, channels, patches, 200) or (batch, channels, samples), as the model takes it.
        channel_ids : torch.Tensor
            int64, (channels, 2).

        Returns
        -------
        torch.Tensor
            float32, (batch, outputs), without gradient.
        """
        model = self.model
        values = model._check_values(input_values, channel_ids).float()
        (batch, _, patches), size = values.shape[:3], values.shape[3]
        with torch.inference_mode():
            tokens = self._encode(values.reshape(-1, size), batch)
            spatial = model.spatial_embedding[channel_ids].mean(-2)
            place = spatial[..., None, :] + model._temporal_rows(patches)
            tokens = tokens + place.flatten(-3, -2)
            cls = (model.cls_token + model.spatial_embedding[0]).expand(batch, 1, -1)
            x = torch.cat([cls, tokens], dim=1).flatten(0, 1)  # (batch * tokens, width)
            for layer in self.layers[:-1]:
                x, hidden = layer(x, batch)
                x = torch.addcmul(x, layer.gamma_2, layer.fc2(hidden))
            layer = self.layers[-1]
            x, hidden = (part.unflatten(0, (batch, -1))[:, 1:].mean(1) for part in layer(x, batch))
            x = torch.addcmul(x, layer.gamma_2, layer.fc2(hidden))
            return self.head(model.fc_norm(x))

    def _encode(self, x: torch.Tensor, batch: int) -> torch.Tensor:
        """Patches (batch * patches, 200) to tokens (batch, patches, width)."""
        for (matrix, bias), norm in zip(self.matrices, self.norms, strict=True):
            x = torch.addmm(bias, x, matrix).unflatten(0, (batch, -1))
            steps = x.shape[-1] // norm.num_channels
            # Statistics of a group from those of its columns (step by step, channel by channel).
            columns = torch.var_mean(x, dim=1, unbiased=False)
            spread, mean = (part.view(batch, steps, norm.num_groups, -1) for part in columns)
            between, middle = torch.var_mean(mean, dim=(1, 3), unbiased=False)
            scale = torch.rsqrt(spread.mean((1, 3)) + between + norm.eps)
            repeats = norm.num_channels // norm.num_groups
            scale = scale.repeat_interleave(repeats, 1) * norm.weight  # (batch, channels)
            shift = norm.bias - middle.repeat_interleave(repeats, 1) * scale
            x = torch.addcmul(shift.repeat(1, steps)[:, None], x, scale.repeat(1, steps)[:, None])
            x = F.gelu(x).flatten(0, 1)
        return x.unflatten(0, (batch, -1))

    def scores(self, tokens: int) -> torch.Tensor:
        """A buffer (heads at a time, tokens, tokens) for attention weights."""
        count = max(1, _SCORE_BYTES // (4 * tokens * tokens))
        if self._scores.shape != (count, tokens, tokens):
            self._scores = torch.empty(count, tokens, tokens)
        return self._scores


class _Layer:
    """One transformer layer: (rows, width) to the attention's output and the hidden activations."""

    def __init__(self, layer: MteegLayer, owner: FastForward) -> None:
        attention, task, rows = layer.attention, owner.task, owner.rows
        self.owner, self.norm1, self.norm2 = owner, layer.norm1, layer.norm2
        self.gamma_1, self.gamma_2 = layer.gamma_1, layer.gamma_2
        self.eps = attention.q_norm.eps
        weight, _ = merged(attention.qkv, task)
        bias = None
        if attention.q_bias is not None:
            zeros = torch.zeros_like(attention.q_bias)
            bias = _centred(torch.cat([attention.q_bias, zeros, attention.v_bias]), owner.heads)
        self.qkv = _Product(_centred(weight, owner.heads), bias, rows)
        self.proj = _Product(*merged(attention.proj, task), rows)
        self.fc1 = _Product(*merged(layer.mlp.fc1, task), rows, "gelu")
        self.fc2 = _Product(*merged(layer.mlp.fc2, task), rows)
        query, key, by = attention.q_norm, attention.k_norm, attention.scaling
        scale = torch.cat([(query.weight * by).repeat(owner.heads), key.weight.repeat(owner.heads)])
        self.shift = torch.cat(
            [(query.bias * by).repeat(owner.heads), key.bias.repeat(owner.heads)]
        )
        self.mean = owner.blocks / attention.head_dim  # (2 width, 2 heads)
        self.spread = (owner.blocks * scale[:, None]).t().contiguous()

    def __call__(self, x: torch.Tensor, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        projected = self.qkv(self.norm1(x))
        x = torch.addcmul(x, self.gamma_1, self.proj(self._attend(projected, batch)))
        return x, self.fc1(self.norm2(x))

    def _attend(self, projected: torch.Tensor, batch: int) -> torch.Tensor:
        """(rows, 3 width), queries and keys centred, to the context (rows, width)."""
        heads, width = self.owner.heads, projected.shape[1] // 3
        both, value = projected[:, : 2 * width], projected[:, 2 * width :]
        deviation = torch.mm(both * both, self.mean).add_(self.eps).rsqrt_()
        both = torch.addcmul(self.shift, both, torch.mm(deviation, self.spread))
        by_head = (batch, -1, heads, width // heads)
        query = both[:, :width].unflatten(0, (batch, -1)).view(by_head).transpose(1, 2)
        query = query.flatten(0, 1)  # (batch * heads, tokens, head_dim)
        key, value = (
            part.unflatten(0, (batch, -1)).view(by_head).permute(0, 2, 3, 1).flatten(0, 1)
            for part in (both[:, width:], value)
        )  # (batch * heads, head_dim, tokens)
        scores = self.owner.scores(query.shape[1])
        context = torch.empty_like(value)
        for start in range(0, len(query), len(scores)):
            part = slice(start, start + len(scores))
            held = scores[: len(query[part])]
            torch.bmm(query[part], key[part], out=held)
            torch.softmax(held, -1, out=held)
            torch.bmm(value[part], held.transpose(1, 2), out=context[part])
        return context.view(batch, width, -1).transpose(1, 2).reshape(-1, width)


class _Product:
    """A linear layer whose weight lies as oneDNN wants it, where this build of torch has it."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, rows: int, after: str = "none"
    ) -> None:
        self.bias, self.after = bias, after
        self.packed = packs()
        self.weight = _PACKED._reorder_linear_weight(weight, rows) if self.packed else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, in) to (rows, out)."""
        if self.packed:
            how = "none" if self.after == "gelu" else ""
            return _PACKED._linear_pointwise(x, self.weight, self.bias, self.after, [], how)
        x = F.linear(x, self.weight, self.bias)
        return F.gelu(x) if self.after == "gelu" else x


def packs() -> bool:
    """Whether this build of torch multiplies with packed weights."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(_PACKED, name) for name in names)


def merged(layer: nn.Module, task: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight, with the task's adapter where the layer carries one, and bias; copies."""
    base = getattr(layer, "base_layer", layer)
    weight, bias = base.weight.detach(), base.bias
    if base is not layer and task in layer.lora_A:
        a, b = layer.factors(task)
        weight = torch.addmm(weight, b.detach(), a.detach())
    return weight.clone(), None if bias is None else bias.detach().clone()


def _centred(projection: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of queries and keys (the first two thirds) less their mean within each head."""
    first = 2 * len(projection) // 3
    parts = projection[:first].unflatten(0, (2 * heads, -1))
    centred = (parts - parts.mean(1, keepdim=True)).flatten(0, 1)
    return torch.cat([centred, projection[first:]])
