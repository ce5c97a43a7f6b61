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

from ..model.embedding import place_embedding
from ..model.inputs import check_inputs
from ..model.layers import MteegLayer

_SCORE_BYTES = 2**20  # of attention weights that are held at a time: a core's own cache
_LINE = 16  # float32 numbers in a cache line, and in a vector register of 512 bits
_NEVER = -1e9  # a score whose exponential is 0 beside any other
_PACKED = torch.ops.mkldnn  # oneDNN's products with weights in its own order, and GELU with them


def is_preparable(model: Any) -> bool:
    """Whether a model computes where and as this module does.

    On a CPU, in float32, in evaluation mode, with normalised queries and keys and layer scales.
    """
    parameter = model.cls_token
    published = model.config.qk_norm and model.config.layer_scale_init is not None
    in_place = parameter.device.type == "cpu" and parameter.dtype == torch.float32
    return in_place and published and not model.training


class FastForward:
    """Logits of one task, from its weights in another form.

    Parameters
    ----------
    model : MteegModel
        In evaluation mode, float32, on a CPU. It keeps all of its tasks and is not changed; after
        training it further, make a new object.
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
    - Attention takes a few heads at a time, so that their weights stay in the cache, in a buffer
      whose rows begin at cache lines.
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
        self._room: _Room | None = None
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
        values = check_inputs(input_values, channel_ids, model.config).float()
        (batch, _, patches), size = values.shape[:3], values.shape[3]
        with torch.inference_mode():
            tokens = self._encode(values.reshape(-1, size), batch)
            tables = model.spatial_embedding, model.temporal_embedding
            tokens = tokens + place_embedding(*tables, channel_ids, patches)
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
            columns = x.mean(1, keepdim=True)
            away = x - columns
            spread, mean = (
                part.reshape(batch, steps, norm.num_groups, -1)
                for part in ((away * away).mean(1), columns)
            )
            between, middle = torch.var_mean(mean, dim=(1, 3), unbiased=False)
            scale = torch.rsqrt(spread.mean((1, 3)) + between + norm.eps)
            repeats = norm.num_channels // norm.num_groups
            scale = scale.repeat_interleave(repeats, 1) * norm.weight  # (batch, channels)
            shift = norm.bias - middle.repeat_interleave(repeats, 1) * scale
            x = torch.addcmul(shift.repeat(1, steps)[:, None], x, scale.repeat(1, steps)[:, None])
            x = F.gelu(x).flatten(0, 1)
        return x.unflatten(0, (batch, -1))

    def room(self, sequences: int, tokens: int) -> _Room:
        """Buffers for attention, kept for the next layer and window of the same shape."""
        if self._room is None or self._room.shape != (sequences, tokens):
            self._room = _Room(sequences, tokens, self.model.config.head_dim)
        return self._room


class _Room:
    """Buffers of attention over ``sequences`` (samples times heads) of ``tokens`` tokens.

    Rows of attention weights begin at a cache line, so there are up to 15 keys more than tokens. To
    these every query has a score so low that their weights are exactly 0: queries end with a 1
    that meets 0 in the real keys and ``_NEVER`` in the others.
    """

    def __init__(self, sequences: int, tokens: int, head_dim: int) -> None:
        self.shape = sequences, tokens
        keys = -(-tokens // _LINE) * _LINE
        self.query = torch.ones(sequences, tokens, head_dim + 1)
        self.key = torch.zeros(sequences, head_dim + 1, keys)
        self.key[:, head_dim, tokens:] = _NEVER
        self.value = torch.zeros(sequences, head_dim, keys)
        at_once = min(max(1, _SCORE_BYTES // (4 * tokens * keys)), sequences)
        self.scores = torch.empty(at_once, tokens, keys)
        self.context = torch.empty(sequences, head_dim, tokens)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, heads, head_dim) each, queries scaled, to (batch * tokens, width)."""
        batch, tokens, heads, head_dim = query.shape
        apart = (batch, heads)
        self.query.unflatten(0, apart)[..., :head_dim].copy_(query.transpose(1, 2))
        self.key.unflatten(0, apart)[:, :, :head_dim, :tokens].copy_(key.permute(0, 2, 3, 1))
        self.value.unflatten(0, apart)[..., :tokens].copy_(value.permute(0, 2, 3, 1))
        for start in range(0, len(self.query), len(self.scores)):
            part = slice(start, start + len(self.scores))
            held = self.scores[: len(self.query[part])]
            torch.bmm(self.query[part], self.key[part], out=held)
            torch.softmax(held, -1, out=held)
            torch.bmm(self.value[part], held.transpose(1, 2), out=self.context[part])
        context = self.context.view(batch, heads * head_dim, tokens)
        return context.transpose(1, 2).reshape(batch * tokens, -1)


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
        query, key, value = (
            part.view(batch, -1, heads, width // heads)
            for part in (both[:, :width], both[:, width:], value)
        )
        return self.owner.room(batch * heads, query.shape[1]).attend(query, key, value)


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
