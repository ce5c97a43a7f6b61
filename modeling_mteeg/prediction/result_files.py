"""Predict recordings into files: which names, what is done already, what failed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..model.bids_sidecars import find_sidecars
from ..model.file_choice import absent_text
from ..model.modeling_mteeg import MteegModel
from ..recordings.bids_electrodes import electrode_files
from ..recordings.block_reader import renamed_raw
from ..recordings.interpolation import open_for_tasks
from .cues import ANNOTATIONS
from .engine import BATCH_SIZE, predict
from .events import (
    GENERATOR,
    MERGED_CUES,
    annotations_path,
    check_events_path,
    sidecar_path,
    write_events,
)
from .origins import adapter_fingerprint
from .result import Prediction
from .shown_progress import Progress
from .task_plan import Asked

PICTURES = (".png", ".pdf", ".svg")
_COMPANIONS = (".eeg", ".dat", ".vmrk", ".fdt")
_PIECE = 2**16  # bytes from the start and the end of a file by which it is known again
_MOST_READ = 256  # files of a folder that are read; of all, names and sizes count


@dataclasses.dataclass(frozen=True)
class Options:
    """How recordings are predicted; see :func:`engine.predict` and :func:`events.event_spans`."""

    stride_s: float | None = None
    last_window: bool = False
    at: str | None = None
    at_offset_s: float = 0.0
    at_labels: Sequence[str] | None = None
    bad: str = "mark"
    batch_size: int = BATCH_SIZE
    allow_missing: int | None = None
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unit: str | None = None
    interpolate: bool | str = False
    merge: bool = False
    annotations: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        cues = None if self.at is None else ()
        Asked(self.stride_s, self.last_window, self.allow_missing, self.rename, self.bad, cues,
              self.at_offset_s)  # fmt: skip
        if self.at is None and (self.at_labels is not None or self.at_offset_s):
            raise ValueError("--at-labels and --at-offset go with --at.")
        if self.at is not None and self.merge:
            raise ValueError(MERGED_CUES)


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
        return [sidecar_path(self.events), *more, self.events]


@dataclasses.dataclass
class Outcome:
    """What became of the targets."""

    done: list[tuple[Target, Prediction]] = dataclasses.field(default_factory=list)
    skipped: list[Target] = dataclasses.field(default_factory=list)
    failed: list[tuple[Target, Exception]] = dataclasses.field(default_factory=list)


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
            stem = re.sub("(_eeg|_raw)?(.fif)?$", "", path.stem)
            name = f"{stem}_desc-{re.sub('[^0-9a-z]', '', task)}"
            events = out if out.suffix == ".tsv" else out / f"{name}_events.tsv"
            picture = plot
            if plot is not None and plot.suffix not in PICTURES:
                picture = plot / f"{name}.png"
            notes = annotations_path(events) if annotations else None
            targets.append(Target(path, task, check_events_path(events), notes, picture))
    seen: dict[Path, Target] = {}
    for target in targets:
        other = seen.setdefault(target.events, target)
        if other is not target:
            raise ValueError(
                f"{target.recording} ({target.task}) and {other.recording} ({other.task}) would "
                f"both be written to {target.events}. Predict them into different folders."
            )
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
    outcome = Outcome()
    adapters = {target.task: adapter_fingerprint(model, target.task) for target in targets}
    base = model.fingerprint()
    for recording in dict.fromkeys(target.recording for target in targets):
        same = [target for target in targets if target.recording == recording]
        todo: list[tuple[Target, dict]] = []
        for target in same:
            try:
                run = _run_key(target, model, base, adapters[target.task], options)
                if _is_finished(target, run, options.overwrite):
                    outcome.skipped.append(target)
                    tell(f"{target.events}: done already with the same settings, skipped")
                else:
                    todo.append((target, run))
            except (OSError, ValueError) as error:
                outcome.failed.append((target, error))
        _predict_recording(todo, model, options, outcome, progress, tell, draw)
    return outcome


def _predict_recording(todo, model, options: Options, outcome: Outcome, progress, tell, draw):
    """Predict one recording's targets together, or one by one where that fails."""
    if not todo:
        return
    path = todo[0][0].recording
    try:
        predictions = predict(
            path,
            model,
            [target.task for target, _ in todo],
            stride_s=options.stride_s,
            last_window=options.last_window,
            at=options.at,
            at_offset_s=options.at_offset_s,
            at_labels=options.at_labels,
            bad=options.bad,
            batch_size=options.batch_size,
            allow_missing=options.allow_missing,
            rename=options.rename,
            unit=options.unit,
            interpolate=options.interpolate,
            progress=progress,
        )
    except (OSError, ValueError) as error:
        if len(todo) == 1:
            outcome.failed.append((todo[0][0], error))
            return
        for planned in todo:  # a task that does not fit must not lose the others
            _predict_recording([planned], model, options, outcome, progress, tell, draw)
        return
    for target, run in todo:
        prediction = predictions[target.task]
        try:
            asked = {"merge": options.merge, "annotations": target.annotations is not None}
            write_events(prediction, target.events, run=run, **asked)
            if target.picture is not None and draw is not None:
                target.picture.parent.mkdir(parents=True, exist_ok=True)
                draw(prediction, _to_draw(path, prediction, options), target.picture)
        except (OSError, ValueError) as error:
            outcome.failed.append((target, error))
            continue
        outcome.done.append((target, prediction))
        tell(_summary(target, prediction))


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


def _run_key(
    target: Target, model: MteegModel, base: str, adapter: str, options: Options
) -> dict[str, Any]:
    """What a result depends on, by which a finished one is known again."""
    card = model.tasks[target.task].to_dict()
    text = json.dumps({key: card[key] for key in sorted(card) if key not in ("results", "base")})
    return {
        "recording": _file_key(target.recording),
        "base": base,
        "adapter": adapter,
        "task": target.task,
        "card": hashlib.sha256(text.encode()).hexdigest(),
        "stride_s": options.stride_s,
        "last_window": options.last_window,
        "at": _cues_key(options.at),
        "at_offset_s": options.at_offset_s,
        "at_labels": None if options.at_labels is None else list(options.at_labels),
        "bad": options.bad,
        "allow_missing": options.allow_missing,
        "rename": dict(options.rename),
        "unit": options.unit,
        "interpolate": _positions_key(target.recording, options.interpolate),
        "merge": options.merge,
        "version": version(GENERATOR),
    }


def _cues_key(at: str | None) -> str | None:
    """Hash of a table of events; of the recording's own annotations their name."""
    if at is None or at == ANNOTATIONS:
        return at
    try:
        return hashlib.sha256(Path(at).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"at (--at): expected {ANNOTATIONS!r} or a table of events, found no file {at}."
        ) from error


def _positions_key(path: Path, interpolate: bool | str) -> bool | str:
    """What tells where electrodes are: a montage, or a hash of BIDS's files, if there are any."""
    files = electrode_files(path) if interpolate is True else []
    if not files:
        return interpolate
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _file_key(path: Path) -> str:
    """Hash of sizes, starts and ends of a recording's files, and of its BIDS sidecars.

    Of a recording that is a folder (``.mff``, ``.ds``) also of the names of the files in it.
    """
    if not path.exists():
        raise FileNotFoundError(absent_text(path))
    digest = hashlib.sha256()
    beside = [path.with_suffix(ending) for ending in _COMPANIONS]
    beside += find_sidecars(path, "channels")
    for file in [path, *(other for other in beside if other != path)]:
        if file.is_file():
            _add_file(digest, file, file.suffix)
    for number, (name, file) in enumerate(_files_below(path)):
        _add_file(digest, file, name, read=number < _MOST_READ)
    return digest.hexdigest()


def _files_below(folder: Path) -> list[tuple[str, Path]]:
    """Files of a recording that is a folder, by name in it; hidden ones are no part of it."""
    files = ((file.relative_to(folder), file) for file in folder.rglob("*") if file.is_file())
    return sorted(
        (name.as_posix(), file)
        for name, file in files
        if not any(part.startswith(".") for part in name.parts)
    )


def _add_file(digest: Any, file: Path, name: str, read: bool = True) -> None:
    """Add a file's name and size to a hash, and its start and end if it is read."""
    size = file.stat().st_size
    digest.update(f"{name} {size} ".encode())
    if read:
        with file.open("rb") as stream:
            digest.update(stream.read(_PIECE))
            stream.seek(max(0, size - _PIECE))
            digest.update(stream.read(_PIECE))


def _is_finished(target: Target, run: dict[str, Any], overwrite: bool) -> bool:
    """Whether all files of a target are there, made by the same run.

    Raises
    ------
    ValueError
        Files of another run, or of something else, are there and may not be overwritten.
    """
    existing = [file for file in target.files if file.exists()]
    if not existing:
        return False
    sidecar = sidecar_path(target.events)
    noted = _noted_run(sidecar)
    if noted == run:
        return len(existing) == len(target.files)
    left_over = noted is not None and existing == [sidecar]  # of a run that was interrupted
    if overwrite or left_over:
        return False
    text = ""
    if noted:
        differing = [key for key in run if noted.get(key) != run[key]]
        text = f", made with another {', '.join(differing)}"
    raise ValueError(
        f"{', '.join(map(str, existing))} there already{text}. Pass --overwrite to replace, or "
        "another --out."
    )


def _noted_run(sidecar: Path) -> dict[str, Any] | None:
    """The run that a sidecar of this package names; None where there is none."""
    try:
        fields = json.loads(sidecar.read_text("utf-8"))
        ours = fields["GeneratedBy"][0]["Name"] == GENERATOR
        return dict(fields["Run"]) if ours else None
    except (OSError, ValueError, LookupError, TypeError):
        return None
