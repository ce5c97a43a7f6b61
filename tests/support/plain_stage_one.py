"""LaBraM's first stage, written out plainly: the tests' second opinion, as ``plain_labram`` is.

Reads state dicts under the published key names, works in their dtype (the tests use float64), and
shares nothing with the package.
"""

from __future__ import annotations

import numpy as np
import torch
from plain_labram import (
    attention,
    feed_forward,
    layer_norm,
    random_weights,
    temporal_encoder,
    temporal_rows,
)

HEAD_DIM = 20
Rows = list[tuple[int, int]]


def side_of(w: dict, name: str) -> dict:
    """The weights whose keys begin with ``name.``, without it."""
    return {k.removeprefix(f"{name}."): v for k, v in w.items() if k.startswith(f"{name}.")}


def blocks(w: dict, x: torch.Tensor, head_dim: int | None = None) -> torch.Tensor:
    """All blocks over tokens (batch, tokens, width); layer-scale where the weights have it."""
    depth = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))
    for block in (f"blocks.{i}" for i in range(depth)):
        branch = attention(w, block, layer_norm(x, w, f"{block}.norm1"), head_dim)
        x = x + w.get(f"{block}.gamma_1", 1.0) * branch
        branch = feed_forward(w, block, layer_norm(x, w, f"{block}.norm2"))
        x = x + w.get(f"{block}.gamma_2", 1.0) * branch
    return x


def places(w: dict, rows: Rows, patches: int) -> torch.Tensor:
    """Embedding of channel and time of every patch, (channels * patches, width)."""
    table = w["pos_embed"][0]
    spatial = torch.stack([(table[a] + table[b]) / 2 for a, b in rows])
    return (spatial[:, None] + temporal_rows(w["time_embed"][0], patches)).flatten(0, 1)


# The neural tokenizer


def patch_features(w: dict, tokens: torch.Tensor, rows: Rows, patches: int) -> torch.Tensor:
    """Transformer of one side over patch tokens: its normalised patch tokens."""
    cls = (w["cls_token"][0] + w["pos_embed"][0, :1]).expand(len(tokens), 1, -1)
    x = blocks(w, torch.cat([cls, tokens + places(w, rows, patches)], dim=1), HEAD_DIM)
    return layer_norm(x[:, 1:], w, "fc_norm")


def two_layers(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    x = torch.tanh(x @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"])
    return x @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()


def unit_tokens(w: dict, x: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Patches (batch, channels, patches, 200) to unit vectors (batch, channels * patches, size)."""
    encoder = side_of(w, "encoder")
    features = patch_features(encoder, temporal_encoder(encoder, x), rows, x.shape[2])
    return unit(two_layers(w, "encode_task_layer", features))


def nearest(w: dict, tokens: torch.Tensor) -> torch.Tensor:
    """Number of the nearest code, by the distances themselves."""
    codes = w["quantize.embedding.weight"]
    return (tokens[..., None, :] - codes).square().sum(-1).argmin(-1)


def standard_spectra(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplitude and phase of the whole transform, standardised per sample.

    The real transform and its mirror image: the general one leaves a rest of 1e-17 in the imaginary
    part of the Nyquist bin, where it decides between a phase of pi and of -pi.
    """
    half = np.fft.rfft(x.numpy())
    spectrum = np.concatenate([half, half[..., -2:0:-1].conj()], axis=-1)
    found = []
    for part in (np.abs(spectrum), np.angle(spectrum)):
        mean = part.mean((1, 2, 3), keepdims=True)
        part = (part - mean) / part.std((1, 2, 3), ddof=1, keepdims=True)
        found.append(torch.from_numpy(part).flatten(1, 2))
    return found[0], found[1]


def tokenize(w: dict, x: torch.Tensor, rows: Rows) -> dict[str, torch.Tensor]:
    """Everything the published forward computes, and the gradients' way past the codebook."""
    tokens = unit_tokens(w, x, rows)
    indices = nearest(w, tokens)
    codes = w["quantize.embedding.weight"][indices]
    decoder = side_of(w, "decoder")
    passed = tokens + (codes - tokens).detach()
    projected = passed @ decoder["patch_embed.proj.weight"][:, :, 0, 0].T
    features = patch_features(
        decoder, projected + decoder["patch_embed.proj.bias"], rows, x.shape[2]
    )
    amplitude = two_layers(w, "decode_task_layer", features)
    phase = two_layers(w, "decode_task_layer_angle", features)
    wanted = standard_spectra(x)
    losses = {
        "commitment_loss": (tokens - codes).square().mean(),
        "amplitude_loss": (amplitude - wanted[0]).square().mean(),
        "phase_loss": (phase - wanted[1]).square().mean(),
    }
    return losses | {
        "loss": sum(losses.values()),
        "token_ids": indices,
        "amplitude": amplitude,
        "phase": phase,
        "tokens": tokens,
    }


def moved_codes(
    codes: torch.Tensor, tokens: torch.Tensor, indices: torch.Tensor, decay: float = 0.99
) -> torch.Tensor:
    """The codes after one training step, code by code."""
    moved = codes.clone()
    for number in range(len(codes)):
        own = tokens[indices == number]
        if len(own):
            moved[number] = unit(decay * codes[number] + (1 - decay) * unit(own.sum(0)))
    return moved


def tokenizer_weights(seed: int = 0, codes: int = 48, size: int = 16) -> dict[str, torch.Tensor]:
    """A float64 tokenizer of random numbers under the published key names; width 100."""
    draw = np.random.RandomState(seed + 100).standard_normal
    weights: dict[str, torch.Tensor] = {}
    for side, layers in (("encoder", 2), ("decoder", 1)):
        for key, value in random_weights(seed + layers, layers=layers, bias=True).items():
            left_out = ("_norm." in key and "fc_norm" not in key) or "gamma" in key
            if not left_out and "head" not in key and not (side == "decoder" and "conv" in key):
                weights[f"{side}.{key}"] = value
    for key in [k for k in weights if k.startswith("decoder.patch_embed.")]:
        del weights[key]
    shapes = {"decoder.patch_embed.proj": (100, size, 1, 1)}
    for name, outputs in (
        ("encode_task_layer", size),
        ("decode_task_layer", 200),
        ("decode_task_layer_angle", 200),
    ):
        shapes |= {f"{name}.0": (100, 100), f"{name}.2": (outputs, 100)}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.from_numpy(draw(shape) / np.sqrt(shape[1]))
        weights[f"{name}.bias"] = torch.from_numpy(draw(shape[0]) * 0.1)
    weights["quantize.cluster_size"] = torch.from_numpy(np.abs(draw(codes)))
    weights["quantize.embedding.weight"] = unit(torch.from_numpy(draw((codes, size))))
    weights["quantize.embedding.cluster_size"] = torch.from_numpy(np.abs(draw(codes)))
    weights["quantize.embedding.embed_avg"] = torch.from_numpy(draw((codes, size)))
    weights["quantize.embedding.initted"] = torch.ones(1, dtype=torch.float64)
    return weights


# Masked pre-training


def masked_logits(w: dict, x: torch.Tensor, rows: Rows, mask: torch.Tensor) -> torch.Tensor:
    """Logits (masked patches, codes) of one pass of the student."""
    student = side_of(w, "student")
    tokens = temporal_encoder(student, x)
    hidden = mask[..., None].to(tokens.dtype)
    tokens = tokens * (1 - hidden) + student["mask_token"] * hidden
    table, (first, second) = student["pos_embed"][0], rows[0]
    cls = student["cls_token"][0] + (table[first] + table[second]) / 2  # not the cls row
    cls = cls.expand(len(x), 1, -1)
    tokens = torch.cat([cls, tokens + places(student, rows, x.shape[2])], dim=1)
    out = layer_norm(blocks(student, tokens), student, "norm")[:, 1:][mask]
    return out @ w["lm_head.weight"].T + w["lm_head.bias"]


def student_weights(seed: int = 0, codes: int = 32) -> dict[str, torch.Tensor]:
    """A float64 pre-training model of random numbers under the published key names; width 100."""
    draw = np.random.RandomState(seed + 200).standard_normal
    student = {
        key: value
        for key, value in random_weights(seed, bias=True).items()
        if not key.startswith(("fc_norm", "head"))
    }
    student["mask_token"] = torch.from_numpy(draw((1, 1, 100)))
    student["norm.weight"] = torch.from_numpy(1 + 0.3 * draw(100))
    student["norm.bias"] = torch.from_numpy(0.3 * draw(100))
    weights = {}
    for key, shape in {"lm_head": (codes, 100), "projection_head.0": (100, 100)}.items():
        weights[f"{key}.weight"] = torch.from_numpy(draw(shape) / 10)
        weights[f"{key}.bias"] = torch.from_numpy(draw(shape[0]) / 10)
    student["lm_head.weight"] = torch.from_numpy(draw((codes, 100)))
    student["lm_head.bias"] = torch.from_numpy(draw(codes))
    return {f"student.{key}": value for key, value in student.items()} | weights
