"""Doing the next things while the present one is used, in the same order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
LOCAL_DEPTH, REMOTE_DEPTH = 2, 4
"""How many results are ahead, unless told: of a disk, of a network."""


def computed_ahead(
    calls: Iterable[Callable[[], T]], remote: bool, depth: int | None = None
) -> Iterator[T]:
    """Results of ``calls`` in their order: from a network several at once, else one by one."""
    if depth is None:
        depth = REMOTE_DEPTH if remote else LOCAL_DEPTH
    if remote:
        return run_ahead(calls, depth)
    return read_ahead((call() for call in calls), depth)


def read_ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """``items`` in their order, up to ``depth`` of them computed ahead in a thread.

    An exception in the thread is raised where its item would have come. The thread ends with the
    iteration, also when the iterator is closed or dropped early.
    """
    if depth < 1:
        yield from items
        return
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not stop.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
        except BaseException as error:  # handed over and raised by the consumer
            put("error", error)
        else:
            put("end", None)

    thread = threading.Thread(target=fill, name="mteeg-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join(timeout=1.0)  # it looks at `stop` every 0.1 s; never hold up an exit


def run_ahead(calls: Iterable[Callable[[], T]], depth: int) -> Iterator[T]:
    """Results of ``calls`` in their order, up to ``depth`` of them running at once in threads.

    For calls that wait for a network. An exception in one is raised where its result would have
    come. Threads that are left when the iterator is closed end by themselves and hold nothing up.
    """
    if depth < 1:
        yield from (call() for call in calls)
        return
    calls, running = iter(calls), deque()

    def start() -> None:
        call = next(calls, None)
        if call is not None:
            future: Future[T] = Future()
            running.append(future)
            threading.Thread(
                target=_settle, args=(future, call), name="mteeg-run-ahead", daemon=True
            ).start()

    for _ in range(depth):
        start()
    while running:
        result = running.popleft().result()
        start()
        yield result


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # handed over and raised by the consumer
        future.set_exception(error)
