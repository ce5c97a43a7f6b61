"""Processes that start at once: forked from one that has imported what they need.

Importing torch, transformers, accelerate and datasets takes five seconds of processor time, and
tests that kill and start trainings start dozens of processes. :func:`run_forked` asks a server,
a process of its own that has imported all that but computed nothing, to fork them. They are real
processes, with their own environment, working directory and memory. All of them share the seed of
Python's hashes; a test that compares with a fresh process covers that.

    python forking.py        # the server: a request a line from stdin, an answer a line to stdout
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_IMPORTED = ("training_program", "stage_one_program", "codebook_program", "peft", "sklearn.metrics")
"""The programs with all they import at once, and what they import later on."""


def run_forked(
    program: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    limit_s: float,
) -> subprocess.CompletedProcess:
    """Run ``program`` in a process of its own.

    Raises
    ------
    subprocess.TimeoutExpired
        It took longer than ``limit_s``, and was killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = [Path(folder, name) for name in ("stdout", "stderr")]
        request = {"program": str(program), "arguments": list(map(str, arguments)),
                   "environment": dict(environment), "folder": os.getcwd(),
                   "written": list(map(str, written)), "limit_s": limit_s}  # fmt: skip
        server = _server()
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        if not answer:
            raise RuntimeError(f"The server of processes has ended with status {server.wait()}.")
        status = json.loads(answer)
        texts = [path.read_text("utf-8", errors="replace") for path in written]
    if status is None:
        raise subprocess.TimeoutExpired(str(program), limit_s, *texts)
    return subprocess.CompletedProcess([str(program), *arguments], status, *texts)


@functools.cache
def _server() -> subprocess.Popen:
    """The server of this process, started when it is first needed."""
    single = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    server = subprocess.Popen(
        [sys.executable, __file__], env={**os.environ, **single}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    atexit.register(server.communicate)  # the end of its stdin is its end
    return server


def serve() -> None:
    """Answer requests until there are no more; in a forked process, run its program."""
    for name in _IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            become(request)
            return
        print(json.dumps(wait_for(child, request["limit_s"])), flush=True)


def wait_for(child: int, limit_s: float) -> int | None:
    """Exit status of a process, or None where it was killed after ``limit_s``."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(code)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def become(request: dict[str, Any]) -> None:
    """Be the program that was asked for, from its first line to its end."""
    for descriptor, path in enumerate((os.devnull, *request["written"])):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(path, flags, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["program"], *request["arguments"]]
    runpy.run_path(request["program"], run_name="__main__")


if __name__ == "__main__":
    serve()
