"""Measurements in processes of their own, and the memory that a process takes."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any


def start(module: str, *arguments: object, **options: Any) -> subprocess.Popen:
    """A module of this package as a command; what it answers are lines of JSON."""
    command = [sys.executable, "-m", f"{__package__}.{module}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def result_of(module: str, *arguments: object) -> dict[str, Any]:
    """The last answer of :func:`start`, from a process that does nothing else."""
    process = start(module, *arguments)
    answers, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return json.loads(answers.splitlines()[-1])


@contextlib.contextmanager
def watching_memory() -> Iterator[list[float]]:
    """What is given holds, at the end, the most resident memory in MB that this process and all
    that it started had at once, as seen ten times a second; what they share counts in each."""
    import psutil

    found, ended = [0.0], threading.Event()

    def look() -> None:
        own = psutil.Process()
        while not ended.wait(0.1):
            total = 0
            for process in (own, *own.children(recursive=True)):
                with contextlib.suppress(psutil.Error):  # it ended meanwhile
                    total += process.memory_info().rss
            found[0] = max(found[0], total / 2**20)

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield found
    finally:
        ended.set()
        watch.join()


def peak_mb() -> float:
    """Most resident memory of this process so far."""
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
