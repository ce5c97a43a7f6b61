"""From a recording to what the page shows: predictions, pictures, events and files."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..model.findings import Finding
from ..model.task_card import TaskCard
from ..pictures import save_prediction, save_scalp
from ..pictures.sleep import stage_order
from ..prediction import Prediction, predict
from ..prediction.events import write_events
from ..prediction.result_files import Target, plan_targets
from ..recordings.block_reader import renamed_raw
from .examine import length_text, recording_facts
from .scalp_answer import attribute_recording
from .served import ServedModel
from .uploads import open_recording

SHOWN_ROWS = 500
"""Events that the page's table shows; the file has all."""
Report = Callable[[float, str], None]
"""Told how much is done, from 0 to 1, and what is being done."""
_PREDICTING = 0.6
_PROBABILITY = "probability_"


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


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and its title."""

    path: Path
    title: str


@dataclasses.dataclass(frozen=True, eq=False)
class TaskAnswer:
    """What the page shows of one task; ``rows`` are the first of its ``events.tsv``."""

    name: str
    facts: Mapping[str, str]
    pictures: tuple[Picture, ...]
    columns: tuple[str, ...]
    rows: list[list[str]]
    more_rows: int
    notes: tuple[str, ...]
    files: Mapping[str, Path]
    warning: str = ""
    findings: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What the page shows of one recording."""

    facts: Mapping[str, str]
    tasks: tuple[TaskAnswer, ...]


def answer(
    served: ServedModel,
    recording: Path,
    tasks: Sequence[str],
    folder: Path,
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
    folder : Path
        Empty but for the recording; gets pictures and files.
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
    raw = open_recording(recording)
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
    done = []
    for target, begin, end in zip(targets, shares[:-1], shares[1:], strict=True):
        part = lambda share, doing, begin=begin, end=end: report(  # noqa: E731
            float(begin + share * (end - begin)), doing
        )
        work = _Work(served, raw, recording, predictions[target.task], target, options, part)
        done.append(work.finish())
    report(1.0, "Done")
    return Answer(recording_facts(raw, recording), tuple(done))


@dataclasses.dataclass(frozen=True)
class _Work:
    """What becomes of one task's prediction."""

    served: ServedModel
    raw: Any
    recording: Path
    prediction: Prediction
    target: Target
    options: Options
    report: Report

    def finish(self) -> TaskAnswer:
        """Draw, write and sum up."""
        prediction = self.prediction
        pictures = [self._draw()]
        if self.options.scalp:
            pictures.append(self._draw_scalp())
        files = self._write_files(pictures)
        columns, rows, more = read_events(files["events.tsv"])
        warning = ""
        if prediction.missing:
            warning = (
                f"{len(prediction.missing)} of {len(prediction.card.channels)} channels are "
                f"missing: {', '.join(prediction.missing)}. The task was not trained that way."
            )
        return TaskAnswer(
            self.target.task, task_facts(prediction), tuple(pictures), columns, rows, more,
            prediction.notes, files, warning, prediction.findings,
        )  # fmt: skip

    def _draw(self) -> Picture:
        self.report(0.0, f"Drawing {self.prediction.card.name}")
        shown = renamed_raw(self.recording, self.options.rename)
        path = save_prediction(self.prediction, shown, self.target.picture)
        return Picture(path, f"{picture_kind(self.prediction.card)} of {self.prediction.card.name}")

    def _draw_scalp(self) -> Picture:
        name = self.prediction.card.name
        attribution = attribute_recording(
            self.served.model, self.raw, self.prediction,
            lambda done, count: self.report(
                0.2 + 0.7 * done / count, f"Attributing {name} to channels, window {done + 1}"
            ),
            self.options.rename,
        )  # fmt: skip
        picture = self.target.picture
        path = save_scalp(attribution, picture.with_name(f"{picture.stem}_scalp.png"))
        return Picture(path, f"Scalp map of {name}: what speaks for {attribution.label}")

    def _write_files(self, pictures: Sequence[Picture]) -> dict[str, Path]:
        """Events with their sidecar, annotations, and all of it with the pictures as one zip."""
        self.report(0.95, f"Writing the events of {self.target.task}")
        written = write_events(
            self.prediction, self.target.events, merge=self.options.merge, annotations=True
        )
        archive = self.target.events.with_suffix(".zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as everything:
            for path in [*written, *(picture.path for picture in pictures)]:
                everything.write(path, path.name)
        sidecar, annotations, events = written
        return {
            "events.tsv": events,
            "events.json": sidecar,
            "Annotations (FIF)": annotations,
            "Everything (zip)": archive,
        }


def task_facts(prediction: Prediction) -> dict[str, str]:
    """Windows and what was found in them, in a few words."""
    card, count = prediction.card, len(prediction.onset_s)
    stride = "" if prediction.stride_s == card.window_s else f", every {prediction.stride_s:g} s"
    facts = {"Windows": f"{count:,} of {card.window_s:g} s{stride}"}
    shares = np.bincount(prediction.classes, minlength=len(card.labels)) / max(count, 1)
    if len(card.labels) == 2:
        top = int(prediction.probabilities[:, 1].argmax())
        facts[f"Most probable {card.labels[1]}"] = (
            f"{prediction.probabilities[top, 1]:.0%} at {length_text(prediction.onset_s[top])}"
        )
        facts[f"Windows of {card.labels[1]}"] = f"{shares[1]:.0%}"
        if card.threshold is not None:
            facts["Decision"] = card.decision
    else:
        order = np.argsort(-shares, kind="stable")
        facts["Share of windows"] = ", ".join(
            f"{card.labels[index]} {shares[index]:.0%}" for index in order if shares[index]
        )
    facts["Channels used"] = f"{len(prediction.channels)}" + (
        f", {len(prediction.derived)} derived" if prediction.derived else ""
    )
    return facts


def picture_kind(card: TaskCard) -> str:
    """What the picture of a task is called."""
    if stage_order(card):
        return "Hypnogram"
    return "Timeline" if len(card.labels) == 2 else "Class probabilities"


def read_events(path: Path) -> tuple[tuple[str, ...], list[list[str]], int]:
    """Header and first rows of an ``events.tsv`` for the eye, and how many more there are.

    BIDS' ``trial_type`` stands there as ``label`` once more and is left out; probabilities have
    three digits.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        table = csv.reader(lines, delimiter="\t")
        header = next(table)
        kept = [index for index, name in enumerate(header) if name != "trial_type"]
        rows = [
            [_short(header[index], row[index]) for index in kept]
            for row in itertools.islice(table, SHOWN_ROWS)
        ]
        names = tuple(header[index].removeprefix(_PROBABILITY) for index in kept)
        return names, rows, sum(1 for _ in table)


def _short(column: str, text: str) -> str:
    return f"{float(text):.3f}" if column.startswith(_PROBABILITY) else text
