"""Faults that are there on purpose: the harness must report each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from .originals import Original


def planted(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """What the file ``fault`` in the folder says; nothing without it."""
    note = folder / "fault"
    kind = note.read_text() if note.is_file() else "none"
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "hang":
        time.sleep(1000)
    elif kind == "memory":
        bytearray(6 * 10**9)
    elif kind == "uncaught":
        raise ZeroDivisionError("by zero")
    elif kind == "refused":
        raise ValueError(f"{note}: refused.")
    elif kind == "caught":
        try:
            bytearray(6 * 10**9)
        except MemoryError as error:
            raise ValueError(f"{note}: damaged.") from error
    return iter(("a finding",) if kind == "finding" else ())
