"""Programs of the tests in processes of their own, one or several that train together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from places import SUPPORT

PROGRAM = SUPPORT / "training_program.py"
LIMIT_S = 300


def environment() -> dict[str, str]:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    clean = {key: value for key, value in os.environ.items() if key not in names}
    return {**clean, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}


def command(program: Path, processes: int = 1) -> list[str]:
    if processes == 1:
        return [sys.executable, str(program)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    return [*torchrun, "--master_addr", "127.0.0.1", "--master_port", str(port), str(program)]


def launch(arguments: list[str], processes: int = 1, program: Path = PROGRAM):
    return subprocess.run(
        [*command(program, processes), *map(str, arguments)],
        env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def succeed(arguments: list[str], processes: int = 1, program: Path = PROGRAM) -> str:
    done = launch(arguments, processes, program)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
