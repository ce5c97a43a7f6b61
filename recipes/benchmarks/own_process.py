"""Measurements in processes of their own, and the memory that a process takes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any


def start(module: str, *arguments: object, **options: Any) -> subprocess.Popen:
    """``python -m benchmarks.MODULE`` with arguments; what it answers are lines of JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    folder = Path(__file__).resolve().parents[1]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, **options)


def result_of(module: str, *arguments: object) -> dict[str, Any]:
    """The last answer of :func:`start`, from a process that does nothing else."""
    process = start(module, *arguments)
    answers, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return json.loads(answers.splitlines()[-1])


def peak_mb() -> float:
    """Most resident memory of this process so far."""
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
