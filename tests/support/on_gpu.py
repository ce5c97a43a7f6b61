"""What tests of a GPU share: their marker, and a look that nothing waits for the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

ON_GPU = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA, found none"),
]
"""For ``pytestmark`` of a file."""


def accelerator_in(precision: str) -> Accelerator:
    """On the GPU, in ``no``, ``bf16`` or ``fp16``, whatever was set up before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=precision)


@contextmanager
def nothing_waited_for() -> Iterator[None]:
    """torch raises on every call within that waits for the GPU."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def exact() -> Iterator[None]:
    """Sums in one order only, and float32 products that are not rounded to TF32."""
    before = torch.are_deterministic_algorithms_enabled()
    precision = torch.get_float32_matmul_precision()
    torch.use_deterministic_algorithms(
        True, warn_only=True
    )  # the tests look at the bits themselves
    torch.set_float32_matmul_precision("highest")
    convolutions, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = convolutions


def peak_mb(call) -> float:
    """Most memory of the GPU that a call takes beyond what is there."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
