"""What a training costs in time and memory, one after the other in the same process."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ..settings.plain_json import write_json
from .units import STRETCHES, ResultError, read_result

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
OF_GPU = "most that torch allocated on the GPU of the main process at once"
OF_PROCESS = "most that the main process held at once, its libraries and mapped data included"
OF_WHOLE_PROCESS = "most that the main process held since it began: earlier trainings count, too"


class Measured:
    """Wall time over all stretches of a training that may be killed, and the peak of memory.

    Parameters
    ----------
    folder : Path
        Of the unit: it notes when it began there, so that a killed stretch counts up to its newest
        checkpoint, which is what the next one goes on from.
    accelerator : Accelerator
        Its main process is measured.
    """

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self.folder, self.device = folder, accelerator.device
        device = self.device
        self.before = self._earlier()
        self.began = time.time()
        if accelerator.is_main_process:
            write_json(folder / STRETCHES, {**self.before, "began": self.began})
        self.alone = _forget_peak()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)

    def _earlier(self) -> dict[str, Any]:
        """Seconds and memory of the stretches before this one."""
        none = {"seconds": 0.0, "peak": 0, "stretches": 0}
        path = self.folder / STRETCHES
        checkpoints = [file.stat().st_mtime for file in self.folder.glob("checkpoints/**/*")]
        if not path.is_file() or not checkpoints:  # what there was is not gone on from
            return none
        try:
            said = read_result(path)
            spent = max(0.0, max(checkpoints) - said["began"])
            return {
                "seconds": said["seconds"] + spent, "peak": said["peak"],
                "stretches": said["stretches"] + 1,
            }  # fmt: skip
        except ResultError:
            return none

    def result(self) -> dict[str, Any]:
        """``seconds``, ``peak_memory_bytes``, ``peak_memory`` (of what), ``stretches``."""
        if self.device.type == "cuda":
            peak, what = torch.cuda.max_memory_allocated(self.device), OF_GPU
        else:
            peak, what = _peak_of_process(), OF_PROCESS if self.alone else OF_WHOLE_PROCESS
        return {
            "seconds": round(self.before["seconds"] + time.time() - self.began, 2),
            "peak_memory_bytes": max(peak, self.before["peak"]),
            "peak_memory": what,
            "stretches": self.before["stretches"] + 1,
        }


def _forget_peak() -> bool:
    """Let the process's peak begin anew; whether the system can (Linux).

    Memory that earlier trainings freed and the C library kept is returned first.
    """
    gc.collect()
    if not sys.platform.startswith("linux"):
        return False
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return False
    try:
        _CLEAR.write_text("5")  # proc(5): the peak of resident memory becomes what it is now
    except OSError:
        return False
    return True


def _peak_of_process() -> int:
    """Bytes."""
    try:
        for line in _STATUS.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def estimate(
    seconds: Mapping[tuple[str, str, str], list[float]], row: str, method: str, part: str
) -> float | None:
    """Seconds of a training, from the finished ones that are most like it.

    Parameters
    ----------
    seconds : mapping of (row, method, part) to list of float
        Of every finished training.
    row, method, part : str

    Returns
    -------
    float or None
        The mean of the same row and part; else of the row; of the method and part; of the method;
        of the part; of all. None: nothing is finished.
    """
    for like in (
        lambda r, m, p: (r, p) == (row, part), lambda r, m, p: r == row,
        lambda r, m, p: (m, p) == (method, part), lambda r, m, p: m == method,
        lambda r, m, p: p == part, lambda r, m, p: True,
    ):  # fmt: skip
        found = [value for key, values in seconds.items() if like(*key) for value in values]
        if found:
            return sum(found) / len(found)
    return None
