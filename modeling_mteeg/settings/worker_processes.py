"""Jobs in several processes, which end with the one that started them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import (
    active_children,
    connection,
    forkserver,
    get_all_start_methods,
    get_context,
    parent_process,
)
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

T = TypeVar("T")


_fault: Exception | None = None
"""Why this process could not get ready for its jobs."""


class WorkerDied(ValueError):
    """A process that worked for this one ended without a word."""


def run_each(
    function: Callable[..., T],
    jobs: Sequence[tuple[Any, ...]],
    num_proc: int,
    preload: Sequence[str] = (),
    begin: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[T]:
    """What ``function`` makes of every job's arguments, as they are done.

    Who may stop before the end closes it (:func:`contextlib.closing`): what runs is ended then.

    Parameters
    ----------
    function : callable
        Of a module, so that other processes find it.
    jobs : sequence of tuple
    num_proc : int
        No more processes than jobs are started.
    preload : sequence of str
        Modules that are imported once for all processes, where the system can.
    begin : callable, optional
        Called with ``arguments`` in every process before its first job.
    arguments : tuple

    Raises
    ------
    WorkerDied
        A process was killed.
    Exception
        Of ``begin`` or of a job, the first that came; jobs that had begun were done.
    """
    workers, others = min(num_proc, len(jobs)), set(active_children())
    context = _process_context(preload)
    with ProcessPoolExecutor(workers, context, _begin, (begin, arguments)) as pool:
        futures: list[Future] = []
        try:
            for job in jobs:  # in here, too: Ctrl-C must not wait for what was given out already
                futures.append(pool.submit(_do, function, job))
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkerDied(
                "A process ended without a word, mostly for want of memory: every process holds "
                "one recording. What is done is kept: start again with a smaller --num-proc. (A "
                'script of your own must call this below if __name__ == "__main__": since every '
                "process imports it.)"
            ) from error
        except (KeyboardInterrupt, GeneratorExit):  # nobody waits for what is being read
            for process in set(active_children()) - others:
                process.terminate()
            raise
        except Exception:
            for future in futures:
                future.cancel()
            raise


def _process_context(preload: Sequence[str]) -> BaseContext:
    """Where the system can, one server imports the libraries once and every process is its copy.

    They leave Ctrl-C, which a terminal sends to all of them, to the process that started them.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    with _ignored(signal.SIGINT):
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _ignored(number: int) -> Iterator[None]:
    """Start programs that ignore a signal, as far as this thread can say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, handler)


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """End this process when its parent is killed: it must not write beside the next start."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    global _fault
    try:
        if begin is not None:
            begin(*arguments)
    except Exception as error:  # raised here, it would end the process, and nobody would hear why
        _fault = error


def _do(function: Callable[..., T], job: tuple[Any, ...]) -> T:
    """Do a job, or say why this process cannot."""
    if _fault is not None:
        raise _fault
    return function(*job)
