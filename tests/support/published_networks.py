"""Weights and inputs by rule, with which published networks were run, and their tiny sizes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch

TINY = {
    "sparcnet": {"layers": 2, "growth": 4, "bottleneck": 2},
    "contrawr": {"widths": [4, 8, 16, 32]},
    "cnn-transformer": {"widths": [4, 8, 16, 32]},
    "ffcl": {"widths": [4, 8, 16, 32], "units": 32},
    "st-transformer": {"width": 32, "layers": 2, "patch_width": 8},
    "biot": {"width": 32, "layers": 2},
}
"""Sizes of the tiny cases, by method."""
SHAPES = {
    "tuab": (16, 2000), "chb-mit": (16, 2000), "tuab-23": (23, 2000), "tuev": (16, 1000),
    "tuev-23": (23, 1000), "seed-v": (62, 200), "sleep-edf": (2, 6000), "physionet-mi": (64, 800),
}  # fmt: skip
"""Channels and samples of the cases."""


def weights_by_rule(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Tensors whose values follow from their published names."""
    out = {}
    for name, shape in shapes.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("pe", "index", "num_batches_tracked"):
            continue
        random = np.random.default_rng(zlib.crc32(name.encode()))
        values = random.standard_normal(shape).astype("f4").astype("f8")
        if last == "running_var":
            values = 1 + 0.5 * np.abs(values)
        elif last == "running_mean":
            values = 0.1 * values
        elif len(shape) >= 2:
            values = values * np.sqrt((2 if len(shape) > 2 else 1) / np.prod(shape[1:]))
        elif last == "weight":
            values = 1 + 0.1 * values
        else:
            values = 0.02 * values
        out[name] = torch.from_numpy(values.astype("f4"))
    return out


def signal_by_rule(task: str) -> torch.Tensor:
    """(2, channels, samples) float64 in microvolt."""
    random = np.random.default_rng(zlib.crc32(f"signal.{task}".encode()))
    noise = random.standard_normal((2, *SHAPES[task]))
    signal = np.empty_like(noise)
    signal[..., 0] = noise[..., 0]
    for t in range(1, noise.shape[2]):
        signal[..., t] = 0.9 * signal[..., t - 1] + noise[..., t]
    gain = random.uniform(0.5, 2, (2, SHAPES[task][0], 1))
    return torch.from_numpy((8 * signal * gain).astype("f4")).double()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of what was expected."""
    found, expected = found.detach().double(), expected.double()
    return float((found - expected).norm() / expected.norm())


def without_dropout(network: torch.nn.Module) -> torch.nn.Module:
    """The network with every dropout at 0, that inside attention and LSTM too."""
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return network
