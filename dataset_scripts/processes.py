"""Jobs in several processes, which end with the one that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from modeling_mteeg.dataset_scripts.locking import PreparationError
from modeling_mteeg.settings import worker_processes

T = TypeVar("T")
_PRELOAD = ("mne", "datasets", "modeling_mteeg.dataset_scripts.parts")


def run_each(
    function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], num_proc: int
) -> Iterator[T]:
    """What ``function`` makes of every job's arguments, as they are done.

    Who may stop before the end closes it (:func:`contextlib.closing`): what runs is ended then.

    Raises
    ------
    PreparationError
        A process was killed.
    """
    if num_proc == 1 or len(jobs) < 2:
        yield from (function(*job) for job in jobs)
        return
    try:
        yield from worker_processes.run_each(function, jobs, num_proc, _PRELOAD)
    except worker_processes.WorkerDied as error:
        raise PreparationError(str(error)) from error
