"""The process that tries: one request a line from stdin, one answer a line to stdout.

It lives through many mutations, so that torch is imported once. Before each its memory is limited
to what it has and a headroom; the highest resident memory is measured anew.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1]


def kilobytes(name: str) -> int:
    """A line of this process's memory in the system's table, such as ``VmHWM``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def limited(headroom: int) -> None:
    """Allow ``headroom`` bytes of address space more than there are; 0: no limit."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = resource.RLIM_INFINITY
    if headroom:
        most = kilobytes("VmSize") * 1024 + headroom
        Path("/proc/self/clear_refs").write_text("5")  # the highest resident memory begins anew
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def serve() -> None:
    """Answer requests until there are no more."""
    from mutated.originals import all_originals
    from mutated.trying import WAYS, try_way

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    originals, of_others = all_originals(), 0
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        asked = json.loads(line)
        importlib.import_module(f"mutated.{WAYS[asked['way']]}")
        original = originals.get(asked["layout"]) or _bare(asked["layout"])
        scratch = Path(tempfile.mkdtemp(dir=asked["scratch"]))
        limited(asked["headroom"])
        print("{}", file=answers, flush=True)
        begin, before = time.monotonic(), kilobytes("VmRSS")
        tried = try_way(asked["way"], original, Path(asked["folder"]), scratch, asked["target"])
        seconds, peak = time.monotonic() - begin, kilobytes("VmHWM")
        # Processes that it started and that have ended; known only as the highest of all so far.
        others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        peak, of_others = max(peak, others if others > of_others else 0), max(others, of_others)
        limited(0)
        shutil.rmtree(scratch, ignore_errors=True)
        answer = {**vars(tried), "seconds": seconds, "peak_mb": peak // 1024,
                  "more_mb": max(0, peak - before) // 1024}  # fmt: skip
        print(json.dumps(answer), file=answers, flush=True)


def _bare(name: str):
    """An original that is none, for ways that look at the folder alone."""
    from mutated.originals import Original

    return Original(name, "recordings", lambda folder: None, (), ())


if __name__ == "__main__":
    sys.path[0] = str(SUPPORT)
    sys.path.insert(1, str(SUPPORT.parents[1]))
    serve()
