"""Jobs in several processes, which end with the one that started them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from .locking import PreparationError

T = TypeVar("T")


def run_each(
    function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], num_proc: int
) -> Iterator[T]:
    """What ``function`` makes of every job's arguments, as they are done.

    Raises
    ------
    PreparationError
        A process was killed.
    """
    if num_proc == 1 or len(jobs) < 2:
        yield from (function(*job) for job in jobs)
        return
    workers = min(num_proc, len(jobs))
    with ProcessPoolExecutor(workers, _process_context(), _end_with_parent) as pool:
        futures = [pool.submit(function, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise PreparationError(
                "A process ended without a word, mostly for want of memory: every process holds "
                "one recording. What is done is kept: start again with a smaller --num-proc. (A "
                'script of your own must call this below if __name__ == "__main__": since every '
                "process imports it.)"
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _process_context() -> BaseContext:
    """Where the system can, one server imports the libraries once and every process is its copy."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["mne", "datasets", "dataset_scripts.parts"])
    return context


def _end_with_parent() -> None:
    """End this process when its parent is killed: it must not write beside the next start."""
    parent = parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
