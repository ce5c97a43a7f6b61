"""How the threads of a training wait for each other: spinning, or asleep.

Between two operations OpenMP's threads spin for a few milliseconds, as any program of torch has it.
Threads that sleep at once have to be woken for every operation, which makes a step 1.2 to 1.4 times
as long; but beside other busy programs the ones that spin take the cores from the ones that work,
and a step takes twice as long as with sleeping ones (docs/benchmarks.md).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

BUSY_CORES = 0.3
"""With as much of the cores at work for others, threads had better sleep."""
_LOOK_S = 0.1


def choose_waiting() -> None:
    """Let waiting threads sleep where other programs are busy on this process's cores.

    OpenMP reads the choice when torch is imported, so this comes first. A policy that the
    environment has already stays, and a process of one thread needs none.
    """
    if "OMP_WAIT_POLICY" in os.environ or os.environ.get("OMP_NUM_THREADS") == "1":
        return
    if sum(_use_of_cores()) / 100 > BUSY_CORES:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _use_of_cores() -> Sequence[float]:
    """Percent of a moment that each core was at work, of the cores that this process may use.

    This process sleeps meanwhile, so it is others' work. Where it cannot be told, all were.
    """
    try:
        import psutil
    except ImportError:  # the recipe will say what is missing
        return (100.0,)
    cores = psutil.cpu_percent(_LOOK_S, percpu=True)
    own = psutil.Process()
    chosen = own.cpu_affinity() if hasattr(own, "cpu_affinity") else ()  # not on macOS
    return [cores[core] for core in chosen if core < len(cores)] or cores
