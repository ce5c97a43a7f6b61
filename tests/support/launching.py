"""Programs of the tests in processes of their own, one or several that train together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from forking import run_forked
from places import SUPPORT

PROGRAM = SUPPORT / "training_program.py"
LIMIT_S = 300


def environment() -> dict[str, str]:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    clean = {key: value for key, value in os.environ.items() if key not in names}
    return {**clean, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def command(program: Path, processes: int = 1) -> list[str]:
    if processes == 1:
        return [sys.executable, str(program)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    address = ["--master_addr", "127.0.0.1", "--master_port", str(free_port())]
    return [*torchrun, *address, str(program)]


def launch(
    arguments: list[str], processes: int = 1, program: Path = PROGRAM, fresh: bool = False
) -> subprocess.CompletedProcess:
    """Run a program, in several processes by torchrun.

    The tests' own programs in one process are forked from one that has imported all they need,
    which is much faster; with ``fresh``, several processes, and anything else, such as a recipe,
    start as a user starts them.
    """
    if program.parent == SUPPORT and processes == 1 and not fresh:
        return run_forked(program, arguments, environment(), LIMIT_S)
    return subprocess.run(
        [*command(program, processes), *map(str, arguments)],
        env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def succeed(
    arguments: list[str], processes: int = 1, program: Path = PROGRAM, fresh: bool = False
) -> str:
    done = launch(arguments, processes, program, fresh)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
