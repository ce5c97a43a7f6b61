"""Predict recordings into files: which names, what is done already, what failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..model.modeling_mteeg import MteegModel
from ..recordings.block_reader import renamed_raw
from ..recordings.interpolation import open_for_tasks
from .engine import predict
from .events import (
    annotations_path,
    check_events_path,
    sidecar_path,
    write_events,
)
from .finished_results import Options, run_key
from .many_recordings import Outcome, check_distinct, make_results, result_name
from .origins import adapter_fingerprint
from .result import Prediction
from .shown_progress import Progress

PICTURES = (".png", ".pdf", ".svg")


@dataclasses.dataclass(frozen=True)
class Target:
    """One recording and task, and the files that come of it."""

    recording: Path
    task: str
    events: Path
    annotations: Path | None = None
    picture: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All files that are asked for, the table last."""
        more = [file for file in (self.annotations, self.picture) if file is not None]
        return [self.sidecar, *more, self.events]

    @property
    def sidecar(self) -> Path:
        """The file that says how the others came about."""
        return sidecar_path(self.events)


def plan_targets(
    recordings: Sequence[str | Path],
    tasks: Sequence[str],
    out: str | Path,
    plot: str | Path | None = None,
    annotations: bool = False,
) -> list[Target]:
    """Name the files of every recording and task.

    Parameters
    ----------
    recordings : sequence of str or Path
    tasks : sequence of str
    out : str or Path
        ``*.tsv`` for one recording and one task; else a folder, which gets
        ``<recording>_desc-<task>_events.tsv`` (BIDS: a description of letters and digits; the
        recording's ending ``_eeg`` or ``_raw`` is left out).
    plot : str or Path, optional
        In the same way a picture, or a folder of pictures.
    annotations : bool
        Whether annotations are written, too.

    Raises
    ------
    ValueError
        One file for several results, or several results under one name.
    """
    paths = [Path(recording) for recording in recordings]
    single = len(paths) == len(tasks) == 1
    out, plot = Path(out), None if plot is None else Path(plot)
    for path, endings, what in ((out, (".tsv",), "events"), (plot, PICTURES, "pictures")):
        if path is not None and not single and path.suffix in endings:
            raise ValueError(
                f"{len(paths)} recordings and {len(tasks)} tasks: expected a folder for the "
                f"{what}, found the file {path}."
            )
    targets = []
    for path in paths:
        for task in tasks:
            name = result_name(path, task)
            events = out if out.suffix == ".tsv" else out / f"{name}_events.tsv"
            picture = plot
            if plot is not None and plot.suffix not in PICTURES:
                picture = plot / f"{name}.png"
            notes = annotations_path(events) if annotations else None
            targets.append(Target(path, task, check_events_path(events), notes, picture))
    check_distinct(targets)
    return targets


def predict_files(
    targets: Sequence[Target],
    model: MteegModel,
    options: Options,
    *,
    progress: bool | Progress = False,
    tell: Callable[[str], None] = lambda text: None,
    draw: Callable[[Prediction, Any, Path], Any] | None = None,
) -> Outcome:
    """Predict targets into their files, one recording after the other.

    Parameters
    ----------
    targets : sequence of Target
        From :func:`plan_targets`; those of one recording stand together.
    model : MteegModel
        With the tasks, in evaluation mode.
    options : Options
    progress : bool or callable
        See :func:`engine.predict`.
    tell : callable
        Told a sentence about every target.
    draw : callable, optional
        ``draw(prediction, recording, path)`` makes the pictures.

    Returns
    -------
    Outcome
        Targets whose files were there already, made with the same settings, are skipped; errors
        of recordings are collected, and the others go on.

    Notes
    -----
    Every file is written whole or not at all as soon as its recording is done, so an interrupted
    run goes on where it was.
    """
    work = file_predictor(model, options, progress=progress, draw=draw)
    return work(targets, tell)


def file_predictor(
    model: MteegModel,
    options: Options,
    *,
    progress: bool | Progress = False,
    draw: Callable[[Prediction, Any, Path], Any] | None = None,
) -> Callable[[Sequence[Target], Callable[[str], None]], Outcome]:
    """:func:`predict_files` as a function of targets and ``tell``, to be called for each recording.

    What the weights are is found out once.
    """
    adapters = {task: adapter_fingerprint(model, task) for task in model.tasks}
    base = model.fingerprint()

    def run_of(target: Target) -> dict[str, Any]:
        card, adapter = model.tasks[target.task], adapters[target.task]
        return run_key(target.recording, card, base, adapter, options)

    def make(recording: Path, tasks: list[str]) -> dict[str, Prediction]:
        return predict(recording, model, tasks, progress=progress, **options.reading())

    def write(target: Target, prediction: Prediction, run: dict[str, Any]) -> str:
        asked = {"merge": options.merge, "annotations": target.annotations is not None}
        write_events(prediction, target.events, run=run, **asked)
        if target.picture is not None and draw is not None:
            target.picture.parent.mkdir(parents=True, exist_ok=True)
            draw(prediction, _to_draw(target.recording, prediction, options), target.picture)
        return _summary(target, prediction)

    return lambda targets, tell: make_results(targets, run_of, make, write, options.overwrite, tell)


def _to_draw(path: Path, prediction: Prediction, options: Options) -> Any:
    """The recording with the channels that were predicted, its signal on disk."""
    if not options.interpolate:
        return renamed_raw(path, options.rename)
    reading = (options.unit, options.rename, options.interpolate)
    return open_for_tasks(path, [prediction.card], *reading)


def _summary(target: Target, prediction: Prediction) -> str:
    """One line about a result, and one for each of its notes."""
    labels = prediction.labels
    counts = [(label, labels.count(label)) for label in prediction.card.labels]
    text = ", ".join(f"{count} {label}" for label, count in counts if count)
    if prediction.card.threshold is not None:
        text += f"; {prediction.card.decision}"
    where = "" if prediction.cues is None else " at cues"
    lines = [f"{target.events}: {target.task}, {len(labels)} windows of "
             f"{prediction.window_s:g} s{where}: {text}"]  # fmt: skip
    return "\n".join(lines + [f"  {note}" for note in prediction.notes])
