"""Results of several recordings at once, in processes that each hold the base."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from .._ending import deliver_again
from .._shown_text import show_streams
from ..model.recording_headers import RecordingWarning
from ..settings.disk_faults import WriteError
from ..settings.worker_processes import run_each
from .many_recordings import Outcome, Wanted, by_recording

Work = Callable[[list[Any], Callable[[str], None]], Outcome]
"""Makes the results of one recording's targets, and tells a sentence about each."""
_PRELOAD = ("mne", "modeling_mteeg.prediction.result_files",
            "modeling_mteeg.embedding.embedding_files")  # fmt: skip
_work: Work | None = None
_leaving = False  # this process was told to end


def check_num_proc(num_proc: int) -> None:
    """Raise ``ValueError`` unless ``num_proc`` is a number of processes."""
    if num_proc < 1:
        raise ValueError(f"--num-proc: expected 1 or more, found {num_proc}.")


def make_at_once(
    targets: Sequence[Wanted],
    begin: Callable[..., Work],
    arguments: tuple[Any, ...],
    num_proc: int,
    progress: bool,
    tell: Callable[[str], None],
) -> Outcome:
    """Make results of several recordings at once, each recording in one process.

    Parameters
    ----------
    targets : sequence of Wanted
        Those of one recording stand together.
    begin : callable
        Of a module; called with ``arguments`` once in every process, gives what does the work.
    arguments : tuple
        The same for all processes, and copied to them: what to load, not what was loaded.
    num_proc : int
        Processes; they share the threads that this one would have.
    progress : bool
        Whether a bar over the recordings is shown.
    tell : callable

    Returns
    -------
    Outcome
        As of :func:`many_recordings.make_results`, in the order of the targets, without the
        answers themselves: they stay in the processes.

    Raises
    ------
    WriteError
        The disk is full or read-only.
    WorkerDied
        A process was killed; what is finished is there.
    """
    jobs = [(same,) for same in by_recording(targets)]
    threads = max(1, torch.get_num_threads() // min(num_proc, len(jobs)))
    found: dict[Path, tuple[list, list, list]] = {}
    quiet = [getattr(stream, "hushed", False) for stream in (sys.stdout, sys.stderr)]
    start = (begin, arguments, threads, quiet)
    running = run_each(_one, jobs, num_proc, _PRELOAD, _start, start)
    bar = tqdm(total=len(jobs), unit=" recordings", desc="predicting", disable=not progress)
    with bar, closing(running):
        for recording, done, skipped, failed, lines, disk in running:
            for line in lines:
                tell(line)
            if disk is not None:  # the next one would meet it, too
                raise WriteError(disk[0], os.strerror(disk[0]), disk[1])
            found[recording] = done, skipped, failed
            bar.update()
    outcome = Outcome()
    for (same,) in jobs:
        done, skipped, failed = found[same[0].recording]
        outcome.done += [(same[number], None) for number in done]
        outcome.skipped += [same[number] for number in skipped]
        outcome.failed += [(same[number], ValueError(text)) for number, text in failed]
    return outcome


def _start(
    begin: Callable[..., Work], arguments: tuple[Any, ...], threads: int, quiet: Sequence[bool]
) -> None:
    """Get a process ready for its recordings; ``quiet``: standard output and error say nothing."""
    global _work
    show_streams()  # warnings name files, as those of one process do
    for stream, hushed in zip((sys.stdout, sys.stderr), quiet, strict=True):
        if hushed and stream is not None:
            stream.hushed = True
    torch.set_num_threads(threads)
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _leave)
        sys.unraisablehook = _lost
    _work = begin(*arguments)


def _leave(number: int, frame: Any) -> None:
    """Let what is being written be tidied up; :func:`_one` then ends the process."""
    global _leaving
    _leaving = True
    sys.exit(128 + number)


def _lost(fault: Any) -> None:
    """The end came where Python cannot raise (in ``__del__``): once more."""
    if isinstance(fault.exc_value, SystemExit):
        deliver_again(signal.SIGTERM)
    else:
        sys.__unraisablehook__(fault)


def _one(targets: list[Any]) -> tuple:
    """Make one recording's results.

    Returns
    -------
    tuple
        The recording; numbers of the targets that are done, of those that were done already, and
        of those that failed with the sentences; what was told; and the error's number and the file
        where a disk refused, else None.
    """
    if _leaving:  # a library swallowed the exit of the recording before
        os._exit(128 + signal.SIGTERM)
    lines: list[str] = []
    numbers = {id(target): number for number, target in enumerate(targets)}
    recording = targets[0].recording
    try:
        with warnings.catch_warnings():
            without_notes()
            outcome = _work(targets, lines.append)
    except SystemExit as error:
        os._exit(int(error.code or 0))
    except WriteError as error:
        return recording, [], [], [], lines, (error.errno, error.filename)
    return (
        recording,
        [numbers[id(target)] for target, _ in outcome.done],
        [numbers[id(target)] for target in outcome.skipped],
        [(numbers[id(target)], str(error)) for target, error in outcome.failed],
        lines,
        None,
    )


def without_notes() -> None:
    """Leave out warnings that the notes of a result say, too; within ``catch_warnings``."""
    warnings.filterwarnings("ignore", message="A recording is shorter")
    warnings.filterwarnings("ignore", category=RecordingWarning)
    warnings.filterwarnings("default", "no sample: ", RecordingWarning)  # of a table of cues
