"""What the page's buttons call, and what they say where it fails."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import markup
from .answer import Answer, Options, answer, parse_names
from .examine import Fit, examine
from .served import ServedModel
from .server_paths import without_paths
from .session import Session, Stopped
from .task_work import TaskAnswer, TaskWork
from .uploads import gather_recording

logger = logging.getLogger(__name__)


def look_at_upload(
    served: ServedModel,
    session: Session,
    files: list[str] | None,
    chosen: list[str],
    names: str = "",
) -> tuple[str, tuple[Fit, ...], list[str]]:
    """What a dropped recording is, and the tasks that suit it.

    Files that the visitor took off the page are deleted.

    Returns
    -------
    str
        HTML below the file.
    tuple of Fit
        How every task fits; empty where there is no recording that can be read.
    list of str
        The tasks to mark: what the visitor chose already, else those that suit.
    """
    session.keep_uploads(files or ())
    if not files:
        return "", (), chosen

    def work() -> tuple[str, tuple[Fit, ...], list[str]]:
        examined = examine(served.tasks, files, parse_names(names or ""))
        return markup.facts(examined.facts), examined.fits, chosen or examined.suggested

    failed = lambda box: (box, (), chosen)  # noqa: E731
    return _shielded(served, work, "This recording cannot be read", failed)


def predict_upload(
    served: ServedModel,
    session: Session,
    files: list[str] | None,
    tasks: list[str] | None,
    options: Sequence[Any],
    progress: Callable[..., Any],
) -> tuple[Answer | None, str]:
    """Answer of all tasks and the line above it, or no answer and what went wrong.

    Parameters
    ----------
    served : ServedModel
    session : Session
        Of this visitor.
    files : list of str
        The uploads.
    tasks : list of str
        Tasks that are marked.
    options : sequence
        The values of the fields: adapter on the Hub, stride, missing channels, channel names,
        merged runs, scalp map.
    progress : callable
        ``gradio.Progress``.
    """

    def report(share: float, doing: str) -> None:
        session.check()
        progress(share, desc=doing)

    def work() -> tuple[Answer, str]:
        repo, stride_s, missing, names, merge, scalp = options
        renamed = parse_names(names or "")
        wanted = Options(stride_s or None, missing, renamed, bool(scalp), bool(merge))
        folder = session.start()
        (folder / "recording").mkdir()
        report(0.0, "Reading the recording")
        recording = gather_recording(files, folder / "recording")
        with served.holding((repo or "").strip() or None) as guest:
            chosen = [*(tasks or ()), *([guest] if guest else ())]
            given = answer(served, recording, chosen, session, wanted, report)
        return given, markup.facts(given.facts)

    try:
        return _shielded(served, work, "No answer", lambda box: (None, box))
    except Stopped:
        session.clear()
        return None, markup.note("Stopped", "Press Predict to start again.")


def decide_anew(
    served: ServedModel, work: TaskWork, threshold: float
) -> tuple[TaskAnswer | None, str]:
    """The answer of a task by another threshold, or none and what went wrong."""
    return _shielded(
        served, lambda: (work.finish(float(threshold)), ""), "No answer", lambda box: (None, box)
    )


def show_traces(served: ServedModel, work: TaskWork, row: Sequence[str]) -> str:
    """HTML with the traces around an event, a row of the task's table."""

    def draw() -> str:
        found = [one for one in work.answer.rows if one[:3] == [str(cell) for cell in row[:3]]]
        if not found:
            raise ValueError("That event is not among those of the last answer: press one of them.")
        onset, duration, label = found[0][:3]
        title, picture, light, dark = work.traces(float(onset), float(duration), label)
        return markup.figure(title, picture, light, dark)

    return _shielded(served, draw, "No traces", lambda box: box)


def _shielded(
    served: ServedModel, work: Callable[[], Any], title: str, failed: Callable[[str], Any]
) -> Any:
    """Do something for a visitor; what goes wrong becomes a box that says what to do."""
    try:
        return work()
    except Stopped:
        raise
    except (ValueError, OSError, ImportError) as error:
        logger.info("%s: %s", title, error)
        return failed(markup.error(title, public_text(served, str(error))))
    except Exception as error:  # a fault of ours: the visitor gets a sentence, the log the rest
        logger.exception("The page failed")
        return failed(
            markup.error(
                title,
                f"Something failed inside ({type(error).__name__}). This is a fault of the "
                "program, not of your file; the server's log has the details.",
            )
        )


def public_text(served: ServedModel, text: str) -> str:
    """A message without places of files on the server."""
    base = Path(served.base)
    folders = [base.resolve().parent] if base.exists() else []
    return without_paths(text, tempfile.gettempdir(), Path.home(), Path.cwd(), *folders)
