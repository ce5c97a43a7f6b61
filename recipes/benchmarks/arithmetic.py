"""What a joint step takes by arithmetic: operations, bytes, kernels, memory, and floors on GPUs.

Nothing is timed. A step of few samples runs once on the CPU while its operations are counted, for
two numbers of samples: what a step takes is a constant and a share for every sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from modeling_mteeg.recipes.benchmarks.joint_step import JointStep, operations
from modeling_mteeg.recipes.benchmarks.tables import table

GPUS = {
    "A100 80 GB": (312e12, 156e12, 2.04e12),
    "H100": (989e12, 495e12, 3.35e12),
    "H200": (989e12, 495e12, 4.8e12),
}
"""Operations a second of dense products in bfloat16 (and float16) and in TF32, and bytes a second:
of the SXM forms, by NVIDIA's data sheets, whose figures for Hopper are those of sparse matrices,
twice these."""
_COUNTED = (1, 2)
"""Samples of each task in the steps that are counted."""
_LAUNCH_S = 5e-6
"""A kernel's share of the time that Python and the driver need, an assumption."""
_VIEWS = (
    "view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "split",
    "split_with_sizes", "unbind", "unsqueeze", "squeeze", "detach", "alias", "as_strided", "empty",
    "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_local_scalar_dense",
    "unflatten", "lift_fresh",
)  # fmt: skip
"""Operations that read and write nothing."""


class Counted(TorchDispatchMode):
    """Counts the operations within, and the bytes that each reads and writes.

    An operation counts for a kernel, and each of its tensors once: what a GPU would move if nothing
    were joined and nothing stayed in its cache.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.moved = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in _VIEWS:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result))
                       if isinstance(leaf, torch.Tensor)]  # fmt: skip
            self.kernels += 1
            self.moved += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def count(preset: str, samples: int) -> dict[str, float]:
    """Kernels, bytes moved, and bytes kept for the backward pass of one float32 step."""
    step = JointStep(preset, samples, torch.device("cpu"), "joint, float32")
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in step.model.parameters()}
    with (
        Counted() as counted,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        step()
    activations = sum(size for place, size in kept.items() if place not in weights)
    return {"kernels": counted.kernels, "moved": counted.moved, "kept": activations}


def held(preset: str) -> float:
    """Bytes of weights, and of gradients and two averages of those that are trained."""
    step = JointStep(preset, 1, torch.device("cpu"), "joint, float32")
    weights = sum(p.numel() for p in step.model.parameters())
    return 4 * weights + 12 * sum(p.numel() for p in step.trained)


def arithmetic_table(presets: Sequence[str], sizes: Sequence[int]) -> str:
    """Tables of what steps of these sizes take, and of the least time that GPUs need for it."""
    takes, floors = [], []
    for preset in presets:
        few, more = (count(preset, samples) for samples in _COUNTED)
        between = _COUNTED[1] - _COUNTED[0]
        for samples in sizes:
            at = {
                key: few[key] + (more[key] - few[key]) * (samples - _COUNTED[0]) / between
                for key in few
            }
            work = operations(preset, samples, joint=True)
            takes.append(
                f"{preset}, {samples} | {work / 1e12:.2f} | {at['moved'] / 1e9:.0f} | "
                f"{few['kernels']} | {(held(preset) + at['kept']) / 1e9:.1f}"
            )
            cells = [
                " / ".join(f"{1e3 * seconds:.1f}"
                           for seconds in (work / half, work / tf32, at["moved"] / rate))
                for half, tf32, rate in GPUS.values()
            ]  # fmt: skip
            launches = few["kernels"] * _LAUNCH_S * 1e3
            floors.append(f"{preset}, {samples} | {' | '.join(cells)} | {launches:.0f}")
    step = "step, samples a task"
    return (
        "By arithmetic, nothing measured: a joint step of six tasks in float32.\n\n"
        + table(f"{step} | TFLOP of products | GB moved | kernels | GB held", takes)
        + "\n\nLeast milliseconds: products in bfloat16 / in TF32 / all bytes of float32 moved.\n\n"
        + table(f"{step} | {' | '.join(GPUS)} | launches, 5 µs each", floors)
    )
