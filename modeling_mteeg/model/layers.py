"""The parts of LaBraM: temporal encoder, attention, feed-forward, transformer layer.

Every transformer layer works on the tokens of a whole step laid end to end, ``(tokens, width)``:
linear layers run once over all of them, attention runs per shape (:class:`Group`), and adapters act
on the rows of their task (:data:`Route`). Nothing is ever padded, because LaBraM's GroupNorm pools
over all patches of a sample and would let padding change the real ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention_kernel import Entrance, kernel_attention, kernel_takes
from .compiled_parts import activated, between_products, compiled, heads_of
from .configuration_mteeg import MteegConfig
from .stochastic_depth import DropPath, add_branch

# On a CPU plain attention beats the fused kernel below this many tokens, and in half precision
# always (measured, see docs/benchmarks.md).
EAGER_BELOW_TOKENS = 64 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 128


class Group(NamedTuple):
    """Samples of one shape: ``batch`` samples of ``tokens`` tokens each, laid end to end."""

    batch: int
    tokens: int

    @property
    def rows(self) -> int:
        return self.batch * self.tokens


Route = tuple[tuple[str, int, int], ...]
"""Which adapter acts on which rows: ``(adapter, first row, row after the last)``."""


def apply_linear(module: nn.Module, x: torch.Tensor, route: Route | None) -> torch.Tensor:
    """Apply a linear layer, with the adapters of ``route`` where the layer carries any.

    A plain ``nn.Linear``, or stock PEFT around it, is called with ``x`` alone.
    """
    if route is not None and getattr(module, "takes_route", False):
        return module(x, route=route)
    return module(x)


class TemporalEncoder(nn.Module):
    """Three convolutions over the time of a patch, each with GroupNorm and GELU (section 3.2).

    Kernels 15, 3, 3, strides 8, 1, 1: a patch of 200 samples becomes 25 steps of
    ``temporal_channels`` values, which laid end to end are the token.

    Notes
    -----
    A convolution over one patch is a linear map, so it is applied as a matrix product; its matrix
    is the convolution of the identity. That is exact, keeps every intermediate in the order
    (patch, step, channel) that the token needs, and is several times faster on a CPU than
    convolutions with eight channels.

    Attributes
    ----------
    compiled : bool
        Whether what follows a product runs through ``torch.compile``.
    """

    compiled = False

    def __init__(self, config: MteegConfig):
        super().__init__()
        channels = config.temporal_channels
        self.patch_size = config.patch_size
        self.conv1 = nn.Conv2d(1, channels, (1, 15), stride=(1, 8), padding=(0, 7))
        self.norm1 = nn.GroupNorm(4, channels)
        self.conv2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.norm2 = nn.GroupNorm(4, channels)
        self.conv3 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.norm3 = nn.GroupNorm(4, channels)

    @staticmethod
    def _matrix(conv: nn.Conv2d, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Matrix (length * in, steps * out) and bias (steps * out,) of ``conv`` on one patch."""
        size = length * conv.in_channels
        identity = torch.eye(size, dtype=conv.weight.dtype, device=conv.weight.device)
        # Row t * in + c is a patch that is 1 at time t in channel c: (size, in, 1, length).
        identity = identity.view(size, 1, length, conv.in_channels).permute(0, 3, 1, 2)
        image = F.conv2d(identity, conv.weight, None, conv.stride, conv.padding)
        steps = image.shape[-1]  # image: (size, out, 1, steps)
        # Columns step by step, channel within: the order of the token, and of the next matrix.
        return image.permute(0, 2, 3, 1).reshape(size, -1), conv.bias.repeat(steps)

    def matrices(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The three convolutions as (matrix, bias); compute once per forward pass."""
        steps = self.patch_size // 8  # the stride of the first one
        lengths = (self.patch_size, steps, steps)
        convs = (self.conv1, self.conv2, self.conv3)
        return [self._matrix(conv, length) for conv, length in zip(convs, lengths, strict=True)]

    def forward(
        self,
        patches: torch.Tensor,
        matrices: list[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> torch.Tensor:
        """Encode patches.

        Parameters
        ----------
        patches : torch.Tensor
            (batch, patches of all channels, patch_size), in units of 0.1 mV.
        matrices : list, optional
            Result of :meth:`matrices`, to share it between calls.

        Returns
        -------
        torch.Tensor
            (batch, patches, width).
        """
        batch, count, _ = patches.shape
        x = patches.reshape(batch * count, -1)  # (B * N, patch_size)
        norms = (self.norm1, self.norm2, self.norm3)
        follow = compiled(activated) if self.compiled else activated
        for (matrix, bias), norm in zip(matrices or self.matrices(), norms, strict=True):
            x = torch.addmm(bias.to(x.dtype), x, matrix.to(x.dtype))  # (B * N, steps * channels)
            x = follow(norm, x, batch, count)
        return x.view(batch, count, -1)


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain attention; query, key, value (batch, heads, tokens, head_dim).

    Returns
    -------
    tuple of torch.Tensor
        Context (batch, tokens, heads, head_dim) and weights (batch, heads, tokens, tokens).
    """
    scores = torch.matmul(query * scaling, key.transpose(2, 3))  # (batch, heads, tokens, tokens)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.dropout(scores.softmax(dim=-1), p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2), weights


class MteegAttention(nn.Module):
    """Multi-head self-attention with LayerNorm on queries and keys (section 3.2).

    The neural tokenizer's has none (``qk_norm``).

    Attributes
    ----------
    compiled : bool
        Whether it runs through :mod:`~modeling_mteeg.model.attention_kernel` where that can.
    """

    is_causal = False
    compiled = False

    def __init__(self, config: MteegConfig):
        super().__init__()
        width, head_dim = config.hidden_size, config.head_dim
        self.config = config
        self.num_heads, self.head_dim = config.num_attention_heads, head_dim
        self.scaling = head_dim**-0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if config.qkv_bias else None
        norms = [
            nn.LayerNorm(head_dim, eps=config.layer_norm_eps) if config.qk_norm else nn.Identity()
            for _ in range(2)
        ]
        self.q_norm, self.k_norm = norms
        self.proj = nn.Linear(width, width)

    def _interface(self, tokens: int, values: torch.Tensor, need_weights: bool):
        """Attention function for a sequence length: the configured one, or what wins over that."""
        name = self.config._attn_implementation
        if need_weights or name in (None, "eager"):  # first: an exported graph knows no length
            return eager_attention
        half = values.dtype in (torch.bfloat16, torch.float16)
        if name == "sdpa" and values.device.type == "cpu" and (half or tokens < EAGER_BELOW_TOKENS):
            return eager_attention
        return ALL_ATTENTION_FUNCTIONS[name]

    def query_key_value(self, x: torch.Tensor, route: Route | None) -> tuple[torch.Tensor, ...]:
        """Normalised query and key, and value, each (rows, heads, head_dim)."""
        return self.heads_of(apply_linear(self.qkv, x, route))

    def heads_of(self, qkv: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The same of the product, (rows, 3 * width)."""
        if self.q_bias is not None:  # the published code has none on the key
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
            qkv = qkv + bias.to(qkv.dtype)  # float32 would take attention out of autocast
        query, key, value = qkv.view(-1, 3, self.num_heads, self.head_dim).unbind(1)
        # LayerNorm gives float32 under autocast; attention wants one type.
        return self.q_norm(query).to(value.dtype), self.k_norm(key).to(value.dtype), value

    @property
    def _dropout(self) -> float:
        """Of the attention weights, now."""
        return self.config.attention_dropout if self.training else 0.0

    def _by_kernel(self, values: torch.Tensor, need_weights: bool) -> bool:
        """Whether values are attended to by the kernel."""
        asked = self.compiled and self.config._attn_implementation == "sdpa" and not need_weights
        return asked and kernel_takes(values, self.head_dim, self._dropout)

    def attend_product(
        self,
        qkv: torch.Tensor,
        groups: tuple[Group, ...],
        need_weights: bool = False,
        heads_of: Callable = heads_of,
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """:meth:`attend` with the product, (rows, 3 * width), by way of ``heads_of`` or at once."""
        if self._by_kernel(qkv, need_weights):
            norms = [None if isinstance(n, nn.Identity) else n for n in (self.q_norm, self.k_norm)]
            passed = (self.q_bias, norms[0]), (None, norms[1]), (self.v_bias, None)
            entrances = [Entrance(*one) for one in passed]
            if not any(entrance.is_trained for entrance in entrances):
                heads, scaling = self.num_heads, self.scaling
                context = kernel_attention([qkv], groups, heads, scaling, entrances)
                return context, [None] * len(groups)
        return self.attend(heads_of(self, qkv), groups, need_weights)

    def attend(
        self,
        query_key_value: Sequence[torch.Tensor],
        groups: tuple[Group, ...],
        need_weights: bool = False,
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """Attend within every sample.

        Parameters
        ----------
        query_key_value : sequence of torch.Tensor
            Each (rows, heads, head_dim), the groups laid end to end.
        groups : tuple of Group
            Shapes of the samples.
        need_weights : bool
            Return the attention weights too (plain attention then).

        Returns
        -------
        torch.Tensor
            Context (rows, width), before the projection.
        list
            Per group the weights (batch, heads, tokens, tokens), or None.
        """
        if self._by_kernel(query_key_value[0], need_weights):
            heads, scaling = self.num_heads, self.scaling
            context = kernel_attention(query_key_value, groups, heads, scaling)
            return context, [None] * len(groups)
        rows = [group.rows for group in groups]
        dropout = self._dropout
        parts = [part.split(rows) for part in query_key_value]  # three lists, an entry a group
        contexts, weights = [], []
        for group, *qkv in zip(groups, *parts, strict=True):
            query, key, value = (  # each (batch, heads, tokens, head_dim)
                part.view(group.batch, group.tokens, self.num_heads, self.head_dim).transpose(1, 2)
                for part in qkv
            )
            attend = self._interface(group.tokens, value, need_weights)
            context, weight = attend(
                self, query, key, value, None, scaling=self.scaling, dropout=dropout
            )
            contexts.append(context.reshape(group.rows, -1))  # (batch * tokens, width)
            weights.append(weight)
        return torch.cat(contexts) if len(contexts) > 1 else contexts[0], weights


class MteegMLP(nn.Module):
    """Feed-forward network with GELU."""

    def __init__(self, config: MteegConfig):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: torch.Tensor, route: Route | None = None) -> torch.Tensor:
        """(rows, width) in and out."""
        return apply_linear(self.fc2, F.gelu(apply_linear(self.fc1, x, route)), route)


class MteegLayer(GradientCheckpointingLayer):
    """Transformer layer: attention and feed-forward, pre-norm, layer scale on both branches.

    Parameters
    ----------
    config : MteegConfig
        Sizes; without ``layer_scale_init`` there is no layer scale.
    index : int
        Number of the layer, from 0.
    depth : int, optional
        Layers of its stack, where that is not ``num_hidden_layers``.

    Attributes
    ----------
    compiled : bool
        Whether what is not attention runs through ``torch.compile``; with adapters what is no
        product either. See :func:`modeling_mteeg.training.compiling.compile_layers`.
    """

    compiled = False

    def __init__(self, config: MteegConfig, index: int, depth: int | None = None):
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attention = MteegAttention(config)
        self.gamma_1 = self._scale(config)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MteegMLP(config)
        self.gamma_2 = self._scale(config)
        share = index / max((depth or config.num_hidden_layers) - 1, 1)
        self.drop_path = DropPath(config.drop_path_rate * share)
        # Published start: the last linear layer of a branch shrinks with depth.
        std = config.initializer_range / math.sqrt(2.0 * (index + 1))
        self.attention.proj.init_std = self.mlp.fc2.init_std = std

    @staticmethod
    def _scale(config: MteegConfig) -> nn.Parameter | None:
        """A layer scale at its start value, or None."""
        if config.layer_scale_init is None:
            return None
        return nn.Parameter(torch.full((config.hidden_size,), float(config.layer_scale_init)))

    def forward(
        self,
        x: torch.Tensor,
        groups: tuple[Group, ...],
        route: Route | None = None,
        need_weights: bool = False,
        keep: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """(rows, width) in; (rows, width) and the attention weights per group out.

        With ``keep``, int64 (kept rows,), only these rows come out, in its order: all rows are
        attended to, and everything behind attention runs on the kept ones alone.
        """
        in_parts = self.compiled and route is not None
        plain = not (need_weights or torch.compiler.is_compiling())
        leaves_out = self.drop_path.skips and x.device.type == "cpu" and keep is None
        if plain and leaves_out and (in_parts or not self.compiled):
            for gamma, branch in ((self.gamma_1, self._attended), (self.gamma_2, self._fed)):
                x = add_branch(x, gamma, branch, self.drop_path, groups, route)
            return x, [None] * len(groups)
        if in_parts and keep is None:
            return between_products(self, apply_linear, self._add, x, groups, route, need_weights)
        before, behind = (
            _compiled_parts() if self.compiled else (MteegLayer.before, MteegLayer.behind)
        )
        context, weights = self.attention.attend(before(self, x, route), groups, need_weights)
        if keep is not None:
            x, context = x.index_select(0, keep), context.index_select(0, keep)
        factors = [self.drop_path(context, groups, keep) for _ in range(2)]
        return behind(self, x, context, *factors, route), weights

    def _attended(self, x: torch.Tensor, groups: tuple[Group, ...], route: Route | None):
        """The first branch: (rows, width) in and out."""
        attention = self.attention
        qkv = apply_linear(attention.qkv, self.norm1(x), route)
        parted = compiled(heads_of) if self.compiled else heads_of
        context, _ = attention.attend_product(qkv, groups, heads_of=parted)
        return apply_linear(attention.proj, context, route)

    def _fed(self, x: torch.Tensor, groups: tuple[Group, ...], route: Route | None):
        """The second branch: (rows, width) in and out."""
        return self.mlp(self.norm2(x), route)

    def before(self, x: torch.Tensor, route: Route | None) -> tuple[torch.Tensor, ...]:
        """Query, key and value of (rows, width), each (rows, heads, head_dim)."""
        return self.attention.query_key_value(self.norm1(x), route)

    def behind(
        self,
        x: torch.Tensor,
        context: torch.Tensor,
        first: torch.Tensor | None,
        second: torch.Tensor | None,
        route: Route | None,
    ) -> torch.Tensor:
        """What follows attention, row by row: projection, feed-forward, and both sums.

        ``first`` and ``second``, (rows, 1) or None, are factors of the two branches.
        """
        x = self._add(x, self.gamma_1, apply_linear(self.attention.proj, context, route), first)
        return self._add(x, self.gamma_2, self.mlp(self.norm2(x), route), second)

    @staticmethod
    def _add(x, gamma, branch, factor) -> torch.Tensor:
        """x + factor * gamma * branch, in one pass over the memory."""
        branch = (branch if factor is None else branch * factor).to(x.dtype)
        return x + branch if gamma is None else torch.addcmul(x, gamma, branch)


def _compiled_parts() -> tuple[Callable, Callable]:
    """The two parts of a layer as ``torch.compile`` makes them, one for all layers of a kind.

    Attention stays outside: the parts know rows alone, so that any mix of shapes runs through the
    same code.
    """
    return compiled(MteegLayer.before), compiled(MteegLayer.behind)
