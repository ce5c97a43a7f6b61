"""A process that holds one variant and runs a step of it whenever it is told to.

Every variant lives in a process of its own, so that its peak memory is its own, while the main
process asks them in turn, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch


def peak_mb(device: torch.device) -> float:
    """Peak memory of this process so far: the GPU's where there is one, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def serve(options: dict) -> None:
    """Build the variant, then answer each line on standard input with a step's figures."""
    from modeling_mteeg.training.setup import keep_freed_memory

    from .steps import build

    device = torch.device(options["device"])
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    if device.type == "cpu" and options["variant"].startswith("joint"):
        keep_freed_memory()
    step = build(options["variant"], options["preset"], options["samples"], device)
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(device)}), flush=True)


class Worker:
    """Handle of a process that runs :func:`serve`."""

    def __init__(self, **options):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[1],
            # Waiting threads must sleep, or the processes that are not asked slow the others.
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
        )
        self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The benchmark's process ended with {self.process.wait()}.")
        return json.loads(line)

    def step(self) -> dict:
        """Run one step; seconds and peak memory so far."""
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
