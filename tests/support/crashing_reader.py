"""The process that reads foreign files, with a file's name telling how it ends.

Tests put it in the place of ``reader_process.py``: what a compiled library does to a process on a
damaged file is done here at will.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import time
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[2] / "modeling_mteeg/model/reader_process.py"
_spec = importlib.util.spec_from_file_location("reader_process", PROGRAM)
reader_process = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reader_process)
_clean_set = reader_process.clean_set
_answered = 0


def _exhaust() -> None:
    blocks = []
    while True:
        blocks.append(bytearray(2**26))


ENDINGS = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "silent-exit": lambda: os._exit(0),
    "hang": lambda: time.sleep(1000),
    "greedy": _exhaust,
    "slow": lambda: time.sleep(2),
    "noisy": lambda: print("what a library prints"),
}


def clean_set(path: str, folder: str, whole: bool) -> dict[str, Any]:
    global _answered
    name = Path(path).stem
    if name == "worn" and _answered:  # an earlier file broke the process
        os.abort()
    if name in ENDINGS:
        ENDINGS[name]()
    _answered += 1
    return _clean_set(path, folder, whole)


reader_process.JOBS["clean_set"] = clean_set
if __name__ == "__main__":
    reader_process.main()
