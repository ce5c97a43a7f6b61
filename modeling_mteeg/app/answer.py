"""From a recording to what the page shows: one forward pass, and the work on every task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..prediction import predict
from ..prediction.result_files import plan_targets
from .examine import length_text, recording_facts
from .scalp_answer import attribute_recording
from .served import ServedModel
from .server_paths import public_prediction
from .session import Session
from .task_work import TaskAnswer, TaskWork
from .uploads import open_recording

Report = Callable[[float, str], None]
"""Told how much is done, from 0 to 1, and what is being done."""
_PREDICTING = 0.6


@dataclasses.dataclass(frozen=True)
class Options:
    """What a visitor may set.

    Parameters
    ----------
    stride_s : float or None
        From one window to the next; None: the window's length.
    missing : int or None
        How many of a task's channels may be missing; None: as many as its card allows.
    rename : mapping of str to str
        Channels that are meant by other names.
    scalp : bool
        Whether to work out and draw which channels matter.
    merge : bool
        Whether a run of windows of one class is one event.
    """

    stride_s: float | None = None
    missing: int | None = None
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scalp: bool = True
    merge: bool = False


def parse_names(text: str) -> dict[str, str]:
    """Names from ``T7=T3, T8=T4``: what the recording calls a channel, and what is meant.

    Raises
    ------
    ValueError
        Something else was written.
    """
    names = {}
    for part in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        old, sign, new = (word.strip() for word in part.partition("="))
        if not (old and sign and new) or old in names:
            raise ValueError(
                "Channel names: expected pairs such as T7=T3, T8=T4, each name once, found "
                f"{part!r}."
            )
        names[old] = new
    return names


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What the page shows of one recording; ``works`` make it anew by other thresholds."""

    facts: Mapping[str, str]
    tasks: tuple[TaskAnswer, ...]
    works: tuple[TaskWork, ...]


def answer(
    served: ServedModel,
    recording: Path,
    tasks: Sequence[str],
    session: Session,
    options: Options,
    report: Report,
) -> Answer:
    """Predict tasks on a recording, draw them and write their files.

    Parameters
    ----------
    served : ServedModel
        Held by the caller (:meth:`ServedModel.holding`).
    recording : Path
        As :func:`modeling_mteeg.app.uploads.gather_recording` returns it.
    tasks : sequence of str
        Names in ``served.model.tasks``.
    session : Session
        Its folder, empty but for the recording, gets pictures and files.
    options : Options
    report : callable
        May raise to stop the work.

    Raises
    ------
    ValueError, OSError
        The recording cannot be read, or does not fit a task; the message says what to do.
    """
    if not tasks:
        raise ValueError("No task is chosen: mark at least one, or name an adapter from the Hub.")
    raw, folder = open_recording(recording), Path(session.folder)
    predictions = predict(
        recording,
        served.model,
        list(tasks),
        stride_s=options.stride_s,
        allow_missing=options.missing,
        rename=options.rename,
        name=recording.name,
        progress=lambda done_s, all_s: report(
            _PREDICTING * done_s / all_s,
            f"Predicted {length_text(done_s)} of {length_text(all_s)}",
        ),
    )
    targets = plan_targets([recording.name], list(predictions), folder, folder, annotations=True)
    shares = np.linspace(_PREDICTING, 1.0, len(predictions) + 1)
    works, done = [], []
    for target, begin, end in zip(targets, shares[:-1], shares[1:], strict=True):
        part = lambda share, doing, begin=begin, end=end: report(  # noqa: E731
            float(begin + share * (end - begin)), doing
        )
        prediction, attribution = predictions[target.task], None
        if options.scalp:
            attribution = attribute_recording(
                served.model, raw, prediction,
                lambda window, count, name=target.task, part=part: part(
                    0.7 * window / count, f"Attributing {name} to channels, window {window + 1}"
                ),
                options.rename,
            )  # fmt: skip
        public = public_prediction(prediction, served.base)
        work = TaskWork(
            session, recording, options.rename, public, target, options.merge, attribution
        )
        works.append(work)
        last = lambda share, doing, part=part: part(0.7 + 0.3 * share, doing)  # noqa: E731
        done.append(work.finish(None, last))
    report(1.0, "Done")
    return Answer(recording_facts(raw, recording), tuple(done), tuple(works))
