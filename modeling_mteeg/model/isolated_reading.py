"""Files for compiled readers that trust what they read: parsed in a process of their own.

The process (:mod:`.reader_process`) starts at the first such file and lives on for the next ones.
If it dies, or does not come to an end, the file is refused with a sentence, and the next file gets
a new process. It imports NumPy and SciPy alone: no PyTorch, no MNE.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from .reader_process import SIGNAL

PROGRAM = Path(__file__).with_name("reader_process.py")
"""What the process runs; a program by path, so that nothing else of the package is imported."""
_GIB, _MB = 2**30, 1e6
LEAST_MEMORY_BYTES, MEMORY_PER_BYTE, MOST_MEMORY_BYTES = _GIB, 8, 16 * _GIB
"""Memory for a file: a compressed signal is about three times its size in the file when unpacked,
and is held twice while it is written; at least 1 GiB, for small files unpack better."""
LEAST_SECONDS, SECONDS_PER_MB = 60.0, 1.0
"""Time for a file: SciPy unpacks 50 MB a second and more; what takes fifty times as long hangs."""
START_SECONDS = 120.0
"""Importing NumPy and SciPy takes 0.2 s, on a busy disk a hundred times that."""
_MOST_ANSWER = 64 * 2**20
_DAMAGED = "The file is damaged: export or download it again."


class ReaderError(ValueError):
    """A file that the library refuses; the text is the library's, with the kind of its error."""


class ReaderDied(ValueError):
    """A file that the reader crashed on, or that took more memory or time than it may."""


class _Crashed(Exception):
    """The process ended by itself, with an exit status."""


class _Reader:
    """A running process and its two pipes."""

    def __init__(self, folder: str) -> None:
        self.answered = 0
        self._late = False
        paths = [entry for entry in sys.path if entry]  # where this process finds SciPy
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        # In a session of its own it gets no Ctrl-C of the terminal; it ends when its input does.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, **one, "PYTHONPATH": os.pathsep.join(paths)},
            bufsize=-1, start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
        self._receive(START_SECONDS)

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended: how, is found below
        found = self._receive(seconds)
        self.answered += 1
        return found

    def _receive(self, seconds: float) -> dict[str, Any]:
        """One answer.

        Raises
        ------
        TimeoutError
            There was none in that time.
        _Crashed
        """
        timer = threading.Timer(seconds, self._stop_late)
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline(_MOST_ANSWER)
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            return json.loads(line)
        if self._late:
            raise TimeoutError
        self._process.kill()  # without effect where it has ended
        raise _Crashed(self._process.wait())

    def _stop_late(self) -> None:
        self._late = True
        self._process.kill()

    def close(self) -> None:
        """End the process and wait for its end."""
        self._process.kill()
        self._process.wait()
        self.let_go()

    def let_go(self) -> None:
        """Close this side of the pipes."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


class _Shared:
    """What this Python process has of it: a reader, one file at a time, and a folder."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reader: _Reader | None = None
        self.folder = ""

    def exchange(self) -> str:
        """The folder that files are exchanged through."""
        if not os.path.isdir(self.folder):
            self.folder = tempfile.mkdtemp(prefix="mteeg-reader-")
            # At the end of the program and, as atexit is not, at that of a worker process.
            Finalize(None, self.end, exitpriority=10)
        return self.folder

    def ready(self) -> _Reader:
        if self.reader is None:
            self.reader = _Reader(self.exchange())
        return self.reader

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def end(self) -> None:
        """At the end of the program."""
        self.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


_shared = _Shared()


def _after_fork() -> None:
    """A forked process has the pipes of its parent, which are not its own."""
    global _shared
    parents, _shared = _shared, _Shared()
    if parents.reader is not None:
        parents.reader.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def exchange_folder() -> Iterator[Path]:
    """A folder for one request, removed at the end."""
    with _shared.lock:
        parent = _shared.exchange()
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def ask_reader(job: str, path: str | Path, folder: Path, **options: Any) -> dict[str, Any]:
    """Have a file read by the process.

    Parameters
    ----------
    job : str
        One of :data:`reader_process.JOBS`.
    path : str or pathlib.Path
    folder : pathlib.Path
        Of :func:`exchange_folder`.
    **options
        Of the job.

    Returns
    -------
    dict
        See the job.

    Raises
    ------
    ReaderError
        The library refuses the file.
    ReaderDied
        The process crashed on it or was stopped: by its memory (as far as the system limits it) or
        its time. The next call starts another one.
    OSError
        There is no such file, or no process could be started.
    """
    size = os.path.getsize(path)
    memory = min(max(LEAST_MEMORY_BYTES, MEMORY_PER_BYTE * size), MOST_MEMORY_BYTES)
    seconds = LEAST_SECONDS + SECONDS_PER_MB * size / _MB
    request = {"job": job, "path": os.path.abspath(path), "folder": str(folder), "options": options,
               "memory_bytes": memory, "seconds": seconds}  # fmt: skip
    try:
        found = _answer(request, seconds)
    except TimeoutError:
        raise ReaderDied(
            f"{path}: the reader was not done after {seconds:.0f} s and was stopped. {_DAMAGED}"
        ) from None
    except _Crashed as error:
        raise ReaderDied(f"{path}: the reader {_ending(error.args[0])} on it. {_DAMAGED}") from None
    fault = found.get("fault")
    if fault == "memory":
        raise ReaderDied(
            f"{path}: the reader needed more than the {memory / _GIB:.3g} GiB of memory that a "
            f"file of {size / _MB:.3g} MB may take. {_DAMAGED}"
        )
    if fault:
        raise ReaderError(f"{found['kind']}: {found['text']}")
    return found


def _answer(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    with _shared.lock:
        while True:
            reader = _shared.ready()
            try:
                found = reader.ask(request, seconds)
            except _Crashed:
                fresh = reader.answered == 0
                _shared.close()
                if fresh:
                    raise
                continue  # an earlier file may have left it broken: again, in a new process
            except BaseException:  # Ctrl-C too: its answer would be taken for that of the next file
                _shared.close()
                raise
            if found.get("fault") == "memory":
                _shared.close()
            return found


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if status == -getattr(signal, "SIGKILL", 9):
        return "was killed (SIGKILL), mostly for want of memory,"
    if status == -getattr(signal, "SIGXCPU", 24):
        return "took too long and was stopped (SIGXCPU)"
    if status < 0:
        try:
            return f"crashed ({signal.Signals(-status).name})"
        except ValueError:
            pass
    return f"crashed (exit status {status})"


def read_signal(folder: Path) -> Any:
    """The array that a job left in its folder."""
    import numpy as np

    return np.load(folder / SIGNAL, allow_pickle=False)
