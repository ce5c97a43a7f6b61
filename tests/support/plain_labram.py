"""LaBraM's fine-tuning forward, written out plainly: the tests' second opinion.

Nothing here is shared with the package. It reads a state dict under the published key names,
works in whatever dtype the weights have (the tests use float64), knows no attention
implementation, no adapters and no modules, and says step by step what the model computes.

``python tests/support/plain_labram.py`` rewrites the repository's own vectors beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

VECTORS = Path(__file__).with_name("plain_vectors.safetensors")

# (batch, channels, patches) with the shapes of the six tasks; one sample or two keeps it quick.
SHAPES = {
    "tuab": (2, 23, 10),
    "tuev": (2, 23, 5),
    "seed-v": (3, 62, 1),
    "chb-mit": (2, 16, 10),
    "sleep-edf": (2, 2, 30),
    "physionet-mi": (1, 64, 4),
}


def temporal_encoder(w: dict, x: torch.Tensor) -> torch.Tensor:
    """Patches (batch, channels, patches, 200) to tokens (batch, channels * patches, width)."""
    batch, channels, patches, samples = x.shape
    x = x.reshape(batch, 1, channels * patches, samples)
    for i, (stride, padding) in enumerate([(8, 7), (1, 1), (1, 1)], start=1):
        kernel, bias = w[f"patch_embed.conv{i}.weight"], w[f"patch_embed.conv{i}.bias"]
        x = F.conv2d(x, kernel, bias, stride=(1, stride), padding=(0, padding))
        # Each of the four groups is normalised over its channels, all patches and all steps.
        groups = x.reshape(batch, 4, -1)
        mean = groups.mean(-1, keepdim=True)
        variance = groups.var(-1, unbiased=False, keepdim=True)
        x = ((groups - mean) / torch.sqrt(variance + 1e-5)).reshape(x.shape)
        scale, shift = w[f"patch_embed.norm{i}.weight"], w[f"patch_embed.norm{i}.bias"]
        x = gelu(x * scale[:, None, None] + shift[:, None, None])
    # (batch, conv channels, tokens, steps): a token's features run over channels first.
    return x.permute(0, 2, 3, 1).reshape(batch, channels * patches, -1)


def gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def layer_norm(x: torch.Tensor, w: dict, name: str) -> torch.Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w: dict, block: str, x: torch.Tensor, head_dim: int | None = None) -> torch.Tensor:
    """Self-attention of one block over tokens (batch, tokens, width), before layer-scale.

    Without norms of queries and keys (the tokenizer's have none), ``head_dim`` is needed.
    """
    batch, tokens, width = x.shape
    normed = f"{block}.attn.q_norm.weight" in w
    head_dim = len(w[f"{block}.attn.q_norm.weight"]) if normed else head_dim
    q, k, v = (x @ part.T for part in w[f"{block}.attn.qkv.weight"].chunk(3))
    if f"{block}.attn.q_bias" in w:  # the keys have none in either case
        q, v = q + w[f"{block}.attn.q_bias"], v + w[f"{block}.attn.v_bias"]
    q, k, v = (t.reshape(batch, tokens, -1, head_dim).transpose(1, 2) for t in (q, k, v))
    if normed:
        q = layer_norm(q, w, f"{block}.attn.q_norm")
        k = layer_norm(k, w, f"{block}.attn.k_norm")
    weights = torch.softmax(q @ k.transpose(-1, -2) / head_dim**0.5, dim=-1)
    x = (weights @ v).transpose(1, 2).reshape(batch, tokens, width)
    return x @ w[f"{block}.attn.proj.weight"].T + w[f"{block}.attn.proj.bias"]


def feed_forward(w: dict, block: str, x: torch.Tensor) -> torch.Tensor:
    x = gelu(x @ w[f"{block}.mlp.fc1.weight"].T + w[f"{block}.mlp.fc1.bias"])
    return x @ w[f"{block}.mlp.fc2.weight"].T + w[f"{block}.mlp.fc2.bias"]


def temporal_rows(table: torch.Tensor, patches: int) -> torch.Tensor:
    """The first rows of the table (rows, width), or the table stretched linearly over more.

    The first and the last row stay the ends of a stretched table.
    """
    rows = len(table)
    if patches <= rows:
        return table[:patches]
    positions = np.arange(patches) * (rows - 1) / (patches - 1)
    below = np.floor(positions).astype(int)
    above = np.minimum(below + 1, rows - 1)
    share = torch.as_tensor(positions - below, dtype=table.dtype)[:, None]
    return table[below] * (1 - share) + table[above] * share


def tokens_of(w: dict, x: torch.Tensor, rows: list[tuple[int, int]]) -> torch.Tensor:
    """All tokens after the last block, (batch, 1 + channels * patches, width).

    ``x`` is (batch, channels, patches, 200) in 0.1 mV; ``rows`` holds, for each channel, the two
    rows of the spatial table whose mean it takes (the same row twice for a single electrode).
    """
    batch, _channels, patches, _ = x.shape
    table, first = w["pos_embed"][0], w["cls_token"][0] + w["pos_embed"][0, :1]
    spatial = torch.stack([(table[a] + table[b]) / 2 for a, b in rows])
    temporal = temporal_rows(w["time_embed"][0], patches)
    place = (spatial[:, None] + temporal[None]).reshape(-1, table.shape[-1])
    x = torch.cat([first.expand(batch, 1, -1), temporal_encoder(w, x) + place], dim=1)
    layers = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))
    for block in (f"blocks.{i}" for i in range(layers)):
        x = x + w[f"{block}.gamma_1"] * attention(w, block, layer_norm(x, w, f"{block}.norm1"))
        x = x + w[f"{block}.gamma_2"] * feed_forward(w, block, layer_norm(x, w, f"{block}.norm2"))
    return x


def features(w: dict, x: torch.Tensor, rows: list[tuple[int, int]]) -> torch.Tensor:
    """Pooled features (batch, width): mean over the patch tokens, then ``fc_norm``."""
    return layer_norm(tokens_of(w, x, rows)[:, 1:].mean(1), w, "fc_norm")


def random_weights(
    seed: int = 0,
    width: int = 100,
    layers: int = 2,
    heads: int = 5,
    bias: bool = False,
    classes: int = 4,
) -> dict[str, torch.Tensor]:
    """A float64 state dict of random numbers under the published key names.

    Drawn from NumPy's legacy generator, whose stream is fixed for good, so that the stored
    vectors need no stored weights.
    """
    draw = np.random.RandomState(seed).standard_normal
    conv, mlp, d = width // 25, 4 * width, width // heads
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 129, width)}
    shapes |= {"time_embed": (1, 16, width)}
    for i, (inputs, kernel) in enumerate([(1, 15), (conv, 3), (conv, 3)], start=1):
        shapes |= {f"patch_embed.conv{i}.weight": (conv, inputs, 1, kernel)}
        names = (f"conv{i}.bias", f"norm{i}.weight", f"norm{i}.bias")
        shapes |= {f"patch_embed.{name}": (conv,) for name in names}
    for i in range(layers):
        block = {"attn.qkv.weight": (3 * width, width), "attn.proj.weight": (width, width)}
        block |= {"mlp.fc1.weight": (mlp, width), "mlp.fc2.weight": (width, mlp)}
        block |= {f"attn.{n}_norm.{p}": (d,) for n in "qk" for p in ("weight", "bias")}
        block |= {f"norm{n}.{p}": (width,) for n in "12" for p in ("weight", "bias")}
        block |= {"gamma_1": (width,), "gamma_2": (width,), "attn.proj.bias": (width,)}
        block |= {"mlp.fc1.bias": (mlp,), "mlp.fc2.bias": (width,)}
        if bias:
            block |= {"attn.q_bias": (width,), "attn.v_bias": (width,)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    shapes |= {"fc_norm.weight": (width,), "fc_norm.bias": (width,)}
    shapes |= {"head.weight": (classes, width), "head.bias": (classes,)}
    weights = {}
    for name, shape in shapes.items():
        is_scale = "norm" in name and name.endswith("weight")
        spread = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) in (2, 4) else 0.3
        weights[name] = torch.from_numpy(draw(shape) * spread + is_scale)
    return weights


def random_input(task: str, seed: int = 0) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Random patches (batch, channels, patches, 200) in a task's shape, and its spatial rows.

    The rows are a random choice without repeats, and pairs of them for the bipolar tasks.
    """
    batch, channels, patches = SHAPES[task]
    generator = np.random.RandomState(seed + 1000 * (1 + list(SHAPES).index(task)))
    x = torch.from_numpy(generator.standard_normal((batch, channels, patches, 200)) * 0.3)
    chosen = 1 + generator.permutation(128)
    bipolar = task in ("chb-mit", "sleep-edf")
    pairs = zip(chosen, chosen[channels:] if bipolar else chosen, strict=False)
    return x, [(int(a), int(b)) for (a, b), _ in zip(pairs, range(channels), strict=False)]


def result(w: dict, task: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Pooled features, cross-entropy against labels 0, 1, 2 ... and two of its gradients."""
    w = {name: value.clone().requires_grad_() for name, value in w.items()}
    x, rows = random_input(task, seed)
    pooled = features(w, x, rows)
    logits = pooled @ w["head.weight"].T + w["head.bias"]
    loss = F.cross_entropy(logits, torch.arange(len(x)) % logits.shape[1])
    names = ["patch_embed.conv1.weight", "blocks.0.norm1.weight"]
    gradients = torch.autograd.grad(loss, [w[name] for name in names])
    out = {"pooled": pooled.detach(), "logits": logits.detach(), "loss": loss.detach()[None]}
    return out | {f"grad.{name}": g for name, g in zip(names, gradients, strict=True)}


def own_vectors() -> dict[str, torch.Tensor]:
    """Results for all six shapes, as stored in the repository (float32, about 10 kB)."""
    weights = random_weights(bias=True)
    return {
        f"{task}.{name}": value.float().contiguous()
        for task in SHAPES
        for name, value in result(weights, task).items()
    }


if __name__ == "__main__":
    from safetensors.torch import save_file

    VECTORS.parent.mkdir(exist_ok=True)
    save_file(own_vectors(), VECTORS)
    print(f"wrote {VECTORS} ({VECTORS.stat().st_size} bytes)")
