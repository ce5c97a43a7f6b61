"""Results of many recordings and tasks: one after the other, each whole, none lost by another."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..model.file_faults import blamed_on
from ..settings.disk_faults import WriteError
from .finished_results import is_finished


class Wanted(Protocol):
    """One recording and task, and the files that shall come of it.

    ``files`` are all of them, that with the answers last; ``sidecar`` is the one of them that
    names the run.
    """

    recording: Path
    task: str

    @property
    def files(self) -> list[Path]: ...

    @property
    def sidecar(self) -> Path: ...


@dataclasses.dataclass
class Outcome:
    """What became of the targets."""

    done: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    """Targets and what was answered."""
    skipped: list[Any] = dataclasses.field(default_factory=list)
    failed: list[tuple[Any, Exception]] = dataclasses.field(default_factory=list)

    def check(self) -> None:
        """Raise where anything could not be made.

        Raises
        ------
        Exception
            Of a single target its own error; else a ``ValueError`` that lists all of them.
        """
        made = len(self.done) + len(self.skipped)
        if self.failed and not made and len(self.failed) == 1:
            raise self.failed[0][1]
        if self.failed:
            lines = [f"{one.recording} ({one.task}): {error}" for one, error in self.failed]
            raise ValueError(
                f"{len(lines)} of {len(lines) + made} results could not be made; the other {made} "
                "are there.\n" + "\n".join(lines)
            )


def result_name(recording: Path, task: str) -> str:
    """``sub-01_desc-sleepedf`` of ``sub-01_eeg.edf`` and the task ``sleep-edf``.

    BIDS wants a description of letters and digits.
    """
    stem = re.sub("(_eeg|_raw)?(.fif)?$", "", recording.stem)
    return f"{stem}_desc-{re.sub('[^0-9a-z]', '', task)}"


def check_distinct(targets: Sequence[Wanted]) -> None:
    """Raise ``ValueError`` where two results would be written to one file."""
    seen: dict[Path, Wanted] = {}
    for target in targets:
        other = seen.setdefault(target.files[-1], target)
        if other is not target:
            raise ValueError(
                f"{target.recording} ({target.task}) and {other.recording} ({other.task}) would "
                f"both be written to {target.files[-1]}. Predict them into different folders."
            )


def by_recording(targets: Sequence[Any]) -> list[list[Any]]:
    """Targets of each recording, in the order in which recordings and targets came."""
    found: dict[Path, list[Any]] = {}
    for target in targets:
        found.setdefault(target.recording, []).append(target)
    return list(found.values())


def make_results(
    targets: Sequence[Wanted],
    run_of: Callable[[Any], dict[str, Any]],
    make: Callable[[Path, list[str]], Mapping[str, Any]],
    write: Callable[[Any, Any, dict[str, Any]], str],
    overwrite: bool,
    tell: Callable[[str], None],
) -> Outcome:
    """Make results, one recording after the other.

    Parameters
    ----------
    targets : sequence of Wanted
        Those of one recording stand together.
    run_of : callable
        What a target's result depends on (:func:`finished_results.run_key`).
    make : callable
        From a recording and tasks to the answers, by task.
    write : callable
        Writes a target's answer, with its run in the sidecar; returns a line about it.
    overwrite : bool
        Whether files of another run may be replaced.
    tell : callable
        Told a sentence about every target.

    Returns
    -------
    Outcome
        Targets whose files were there already, made by the same run, are skipped; errors of
        recordings are collected, and the others go on.

    Raises
    ------
    WriteError
        The disk is full or read-only, which the next target would meet, too.
    """
    outcome = Outcome()
    for same in by_recording(targets):
        todo: list[tuple[Any, dict]] = []
        for target in same:
            try:
                run = run_of(target)
                if is_finished(target.files, target.sidecar, run, overwrite):
                    outcome.skipped.append(target)
                    tell(f"{target.files[-1]}: done already with the same settings, skipped")
                else:
                    todo.append((target, run))
            except (OSError, ValueError) as error:
                outcome.failed.append((target, error))
        _make_together(todo, outcome, make, write, tell)
    return outcome


def _make_together(todo, outcome: Outcome, make, write, tell) -> None:
    """Make one recording's results together, or one by one where that fails."""
    if not todo:
        return
    path = todo[0][0].recording
    try:
        with blamed_on(path, OSError, ValueError):
            answers = make(path, [target.task for target, _ in todo])
    except (OSError, ValueError) as error:
        if len(todo) == 1:
            outcome.failed.append((todo[0][0], error))
            return
        for planned in todo:  # a task that does not fit must not lose the others
            _make_together([planned], outcome, make, write, tell)
        return
    for target, run in todo:
        try:
            with blamed_on(path, OSError, ValueError):
                line = write(target, answers[target.task], run)
        except WriteError:  # the next one would meet it, too
            raise
        except (OSError, ValueError) as error:
            outcome.failed.append((target, error))
            continue
        outcome.done.append((target, answers[target.task]))
        tell(line)
