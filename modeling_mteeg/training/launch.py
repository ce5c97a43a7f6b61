"""The processes that a training runs in, checked against what was asked for."""

from __future__ import annotations

import ctypes
import os
import sys
import time
import warnings
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from transformers.utils.logging import disable_progress_bar

from .._clone import as_typed
from ..methods.method import TrainingError
from .run_config import RunConfig
from .trackers import NONE, check_tracker

_SLOWER = 1.2
"""Ratio of times that is more than chance."""


def start_accelerator(config: RunConfig, cpu: bool = False, may_shard: bool = False) -> Accelerator:
    """Set up the processes, and check that they are the ones asked for.

    ``may_shard``: the training can spread its weights over the processes (FSDP).

    Raises
    ------
    TrainingError
        Another number of processes than ``num_processes`` says, or one that ``accelerate launch``
        was told but did not start; more processes than GPUs; a precision the device lacks; a
        tracker that is not installed.

    Warns
    -----
    UserWarning
        bfloat16 on a CPU whose products take longer in it.
    """
    check_tracker(config.tracker)
    # Without this, accelerate ignores torchrun's other processes where there is no GPU.
    cpu = cpu or not torch.accelerator.is_available()
    if not cpu:
        check_devices(torch.accelerator.device_count(), os.environ)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=config.mixed_precision,
        log_with=None if config.tracker == NONE else config.tracker,
        project_dir=config.output,
    )
    check_processes(config.num_processes, accelerator.num_processes, os.environ)
    if accelerator.gradient_accumulation_steps != 1:  # accelerate would divide all gradients by it
        raise TrainingError(
            "gradient_accumulation_steps of accelerate launch: expected 1, found "
            f"{accelerator.gradient_accumulation_steps}; leave it out and set "
            "optimization.gradient_accumulation (stage one) or optimization.max_tokens (joint)."
        )
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    if not sys.stderr.isatty():  # bars of saving and loading weights would fill a file
        disable_progress_bar()
    kind = str(accelerator.distributed_type).rpartition(".")[2]
    if sharding_asked(os.environ):  # accelerate does not take notice of it on CPUs
        kind = "FSDP"
    if kind in ("DEEPSPEED", "MEGATRON_LM") or (kind == "FSDP" and not may_shard):
        raise TrainingError(
            f"{kind}: the model fits every device, use plain processes "
            "(accelerate launch --multi_gpu, or torchrun)."
        )
    if kind == "FSDP":
        check_sharding(os.environ, accelerator.mixed_precision)
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise TrainingError("mixed_precision: fp16 needs a GPU, found the CPU; use bf16 or no.")
    if accelerator.mixed_precision == "bf16" and accelerator.device.type == "cpu":
        ratio = bfloat16_ratio() if accelerator.is_main_process else 0.0
        if ratio > _SLOWER:
            warnings.warn(
                f"mixed_precision: bf16, and products in bfloat16 take {ratio:.1f} times as long "
                "as in float32 on this processor (docs/benchmarks.md). Set mixed_precision: no.",
                stacklevel=2,
            )
    return accelerator


def bfloat16_ratio() -> float:
    """How long this CPU takes for a product in bfloat16, over how long it takes in float32.

    Above 1 where the processor has no instructions for bfloat16 and emulates them, but also where
    it has and expects them to be used through others that this machine does not show.
    """
    times = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    rows, d_in, d_out = 1024, 200, 800  # fc1 of Base on a few windows: some milliseconds
    for _ in range(4):  # in turn; the first of each also prepares
        for dtype in times:
            left = torch.ones(rows, d_in, dtype=dtype)
            right = torch.ones(d_in, d_out, dtype=dtype)
            begun = time.perf_counter()
            left @ right
            times[dtype] = min(times[dtype], time.perf_counter() - begun)
    return times[torch.bfloat16] / times[torch.float32]


def sharding_asked(environment: Mapping[str, str]) -> bool:
    """Whether ``accelerate launch --use_fsdp`` started this process, or one that acts like it."""
    return environment.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


_NOT_WITH_SHARDING = {
    "FSDP_OFFLOAD_PARAMS": "weights on the CPU are not supported, leave --fsdp_offload_params out",
    "FSDP_ACTIVATION_CHECKPOINTING": "optimization.gradient_accumulation bounds the memory of "
    "activations, leave --fsdp_activation_checkpointing out",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "every process loads its weights itself, give "
    "--fsdp_cpu_ram_efficient_loading false",
}


def check_sharding(environment: Mapping[str, str], mixed_precision: str) -> None:
    """Raise :class:`TrainingError` on what a sharded training would not keep.

    The first version of FSDP, float16, weights or activations kept elsewhere, and loading in one
    process only: transformers would leave the tokenizer's weights out of all the others.
    """
    version = environment.get("FSDP_VERSION", "1")
    if version != "2":
        raise TrainingError(f"FSDP: expected --fsdp_version 2, found {version}.")
    if mixed_precision == "fp16":
        raise TrainingError("FSDP: expected mixed_precision bf16 or no, found fp16.")
    for key, text in _NOT_WITH_SHARDING.items():
        if environment.get(key, "false").lower() == "true":
            raise TrainingError(f"FSDP: {text}.")


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next step instead of returning it.

    Every step allocates the same large arrays. By default glibc returns each one to the system and
    gets it back as fresh pages, which costs a CPU step more than its element-wise operations
    (docs/benchmarks.md). The process then holds its peak memory until it ends.

    Returns
    -------
    bool
        Whether the C library took the setting; other ones than glibc are left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30)) and bool(mallopt(trim_threshold, 2**31 - 1))


def check_devices(devices: int, environment: Mapping[str, str]) -> None:
    """Raise :class:`TrainingError` if a machine has more processes than GPUs.

    Two processes on one GPU would take turns at it, hold everything twice, and NCCL refuses them
    with an error of its own, or torch does, of an invalid device.
    """
    processes = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if processes > devices:
        raise TrainingError(
            f"Expected a GPU for every process, found {devices} for {processes} processes on this "
            f"machine. Start {devices}, with optimization.gradient_accumulation or "
            "optimization.max_tokens where memory is short; it changes the speed, not the training."
        )


def check_processes(asked: int | None, running: int, environment: Mapping[str, str]) -> None:
    """Raise :class:`TrainingError` if another number of processes runs than was asked for.

    ``accelerate launch --cpu --num_processes 2`` starts one process and says nothing. It leaves
    the address of a main process in the environment, but no world to go with it.
    """
    remedy = as_typed(
        "On CPUs start them with torchrun --nproc_per_node N recipes/joint.py (accelerate launch "
        "--cpu --num_processes N starts one process only); on GPUs with accelerate launch "
        "--multi_gpu --num_processes N."
    )
    if running == 1 and "MASTER_ADDR" in environment and "WORLD_SIZE" not in environment:
        raise TrainingError(f"Several processes were asked for, found one. {remedy}")
    if asked is not None and asked != running:
        raise TrainingError(
            f"num_processes: expected {asked}, found {running}. {remedy} Or give --num-processes "
            f"{running}: it changes the speed, not the training."
        )
