"""LaBraM the plain way, fine-tuned for one task or pre-trained: the yardsticks of the benchmark.

Written here from the published description and kept as direct as the published code: convolutions,
a fused projection, softmax over the whole matrix of scores, every weight trained with AdamW.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from modeling_mteeg import MteegConfig, MteegTokenizerConfig


class PlainAttention(nn.Module):
    """Softmax attention with LayerNorm on queries and keys."""

    def __init__(self, config: MteegConfig):
        super().__init__()
        width, heads = config.hidden_size, config.num_attention_heads
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=config.qkv_bias)
        normed = config.qk_norm
        self.q_norm = nn.LayerNorm(width // heads, eps=1e-6) if normed else nn.Identity()
        self.k_norm = nn.LayerNorm(width // heads, eps=1e-6) if normed else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]  # (batch, heads, tokens, head_dim)
        query, key = self.q_norm(query).type_as(value), self.k_norm(key).type_as(value)
        weights = (query * self.scale @ key.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


class PlainLayer(nn.Module):
    """Pre-norm transformer layer with layer scale and stochastic depth."""

    def __init__(self, config: MteegConfig, drop_path: float):
        super().__init__()
        self.keep = 1.0 - drop_path
        width = config.hidden_size
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = PlainAttention(config)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        start = config.layer_scale_init
        self.gamma_1 = None if start is None else nn.Parameter(torch.full((width,), start))
        self.gamma_2 = None if start is None else nn.Parameter(torch.full((width,), start))

    def drop_path(self, branch: torch.Tensor) -> torch.Tensor:
        if self.keep == 1.0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) < self.keep
        return branch / self.keep * kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop_path(self.scaled(self.gamma_1, self.attention(self.norm1(x))))
        branch = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + self.drop_path(self.scaled(self.gamma_2, branch))

    @staticmethod
    def scaled(gamma: torch.Tensor | None, branch: torch.Tensor) -> torch.Tensor:
        return branch if gamma is None else gamma * branch


class PlainLabram(nn.Module):
    """LaBraM with one head; all of it is trained."""

    def __init__(self, config: MteegConfig, outputs: int):
        super().__init__()
        width, channels = config.hidden_size, config.temporal_channels
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(1, channels, (1, 15), (1, 8), (0, 7)),
                nn.Conv2d(channels, channels, (1, 3), 1, (0, 1)),
                nn.Conv2d(channels, channels, (1, 3), 1, (0, 1)),
            ]
        )
        self.norms = nn.ModuleList(nn.GroupNorm(4, channels) for _ in range(3))
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.spatial = nn.Parameter(torch.randn(1 + config.num_spatial, width) * 0.02)
        self.temporal = nn.Parameter(torch.randn(64, width) * 0.02)
        depth = config.num_hidden_layers
        self.layers = nn.ModuleList(
            PlainLayer(config, config.drop_path_rate * layer / max(depth - 1, 1))
            for layer in range(depth)
        )
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, outputs)

    def patch_tokens(self, values: torch.Tensor) -> torch.Tensor:
        """(batch, channels, patches, 200) to (batch, channels * patches, width)."""
        batch, channels, patches, size = values.shape
        x = values.reshape(batch, 1, channels * patches, size)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.gelu(norm(conv(x)))  # (batch, conv channels, patches, steps)
        return x.permute(0, 2, 3, 1).reshape(batch, channels * patches, -1)

    def transform(
        self, x: torch.Tensor, rows: torch.Tensor, patches: int, cls_row: int = 0
    ) -> torch.Tensor:
        """Patch tokens through the transformer; the cls token takes the given spatial row."""
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        place = self.spatial[rows][:, None] + self.temporal[:patches]
        x = x + torch.cat([self.spatial[cls_row : cls_row + 1], place.flatten(0, 1)])
        for layer in self.layers:
            x = layer(x)
        return x[:, 1:]

    def forward(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(batch, channels, patches, 200) and the channels' rows (channels,) to the logits."""
        x = self.transform(self.patch_tokens(values), rows, values.shape[2])
        return self.head(self.fc_norm(x.mean(1)))


class PlainStudent(PlainLabram):
    """Masked pre-training: one pass predicts the codes of the masked patches."""

    def __init__(self, config: MteegConfig):
        super().__init__(config, config.num_codes)
        self.mask_token = nn.Parameter(torch.randn(1, 1, config.hidden_size) * 0.02)

    def forward(self, values: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mask (batch, channels * patches) to the logits (masked patches, codes)."""
        hidden = mask[..., None].to(values.dtype)
        x = self.patch_tokens(values) * (1 - hidden) + self.mask_token * hidden
        x = self.transform(x, rows, values.shape[2], int(rows[0]))
        return self.head(self.fc_norm(x)[mask])


class PlainTokenizer(PlainLabram):
    """Encoder and codebook of the neural tokenizer, which give the codes to predict."""

    def __init__(self, config: MteegTokenizerConfig):
        super().__init__(config, config.code_size)
        width = config.hidden_size
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, config.code_size)
        )
        codes = F.normalize(torch.randn(config.num_codes, config.code_size), dim=-1)
        self.register_buffer("codes", codes)
        self.register_buffer("usage", torch.zeros(config.num_codes))

    @torch.no_grad()
    def forward(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Code numbers (batch, channels * patches); counts the usage as the published code does."""
        x = self.transform(self.patch_tokens(values), rows, values.shape[2])
        tokens = F.normalize(self.head(self.fc_norm(x)), dim=-1).flatten(0, 1)
        indices = self.nearest(tokens)
        counts = F.one_hot(indices, len(self.codes)).to(tokens.dtype).sum(0)
        self.usage.mul_(0.99).add_(counts, alpha=0.01)
        return indices.view(len(values), -1)

    def nearest(self, tokens: torch.Tensor) -> torch.Tensor:
        """Number of the closest code of every token (tokens, size), from all distances at once."""
        squares = tokens.square().sum(1, keepdim=True) + self.codes.square().sum(1)
        return (squares - 2 * tokens @ self.codes.T).argmin(1)  # of (tokens, codes)
