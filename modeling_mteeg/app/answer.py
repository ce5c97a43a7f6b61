"""From a recording to what the page shows: predictions, pictures, events and files."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .scalp import attribute_recording
from .served import ServedModel
from .uploads import gather_recording, open_recording

if TYPE_CHECKING:
    from ..prediction.result import Prediction

SHOWN_ROWS = 500
"""Events that the page's table shows; the file has all."""
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
    allow_missing : bool
        Whether tasks may run on the channels that are there.
    scalp : bool
        Whether to work out and draw which electrodes matter.
    """

    stride_s: float | None = None
    allow_missing: bool = False
    scalp: bool = True


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and its title."""

    path: Path
    title: str


@dataclasses.dataclass(frozen=True, eq=False)
class TaskAnswer:
    """What the page shows of one task; ``rows`` stand as in ``events.tsv``."""

    name: str
    facts: Mapping[str, str]
    pictures: tuple[Picture, ...]
    columns: tuple[str, ...]
    rows: list[list[str]]
    more_rows: int
    notes: tuple[str, ...]
    files: Mapping[str, Path]
    warning: str = ""


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
    from ..prediction import predict

    if not tasks:
        raise ValueError("No task is chosen: mark at least one, or name an adapter from the Hub.")
    raw = open_recording(recording)
    predictions = predict(
        raw,
        served.model,
        tasks,
        extractor=served.extractor,
        stride_s=options.stride_s,
        allow_missing=options.allow_missing,
        progress=lambda share: report(_PREDICTING * share, f"Predicting {', '.join(tasks)}"),
    )
    shares = np.linspace(_PREDICTING, 1.0, len(predictions) + 1)
    done = []
    for (task, prediction), begin, end in zip(
        predictions.items(), shares[:-1], shares[1:], strict=True
    ):
        own = lambda share, doing, begin=begin, end=end: report(  # noqa: E731
            float(begin + share * (end - begin)), doing
        )
        work = _Work(served, raw, recording, prediction, folder / task, options, own)
        done.append(work.finish())
    return Answer(recording_facts(raw, recording), tuple(done))


@dataclasses.dataclass(frozen=True)
class _Work:
    """What becomes of one task's prediction."""

    served: ServedModel
    raw: Any
    recording: Path
    prediction: Prediction
    folder: Path
    options: Options
    report: Report

    def finish(self) -> TaskAnswer:
        """Draw, write and sum up."""
        prediction = self.prediction
        name = prediction.card.name
        self.folder.mkdir()
        notes, pictures = list(prediction.notes), [self._draw()]
        if self.options.scalp:
            scalp = self._draw_scalp()
            pictures += [scalp] if isinstance(scalp, Picture) else []
            notes += [scalp] if isinstance(scalp, str) else []
        files = self._write_files(pictures)
        columns, rows, more = read_events(files["events.tsv"])
        warning = ""
        if prediction.missing:
            warning = (
                f"{len(prediction.missing)} of {len(prediction.card.channels)} channels are "
                f"missing: {', '.join(prediction.missing)}. The task was not trained that way."
            )
        return TaskAnswer(
            name, task_facts(prediction), tuple(pictures), columns, rows, more, tuple(notes),
            files, warning,
        )  # fmt: skip

    def _draw(self) -> Picture:
        from ..pictures import save_prediction

        self.report(0.0, f"Drawing {self.prediction.card.name}")
        path = save_prediction(self.prediction, self.raw, self.folder / "prediction.png")
        return Picture(path, f"{picture_kind(self.prediction.card)} of {self.prediction.card.name}")

    def _draw_scalp(self) -> Picture | str:
        """The scalp map, or why there is none."""
        from ..pictures import save_scalp

        name = self.prediction.card.name
        found = attribute_recording(
            self.served.model, self.served.extractor, self.raw, self.prediction,
            lambda done, count: self.report(
                0.2 + 0.7 * done / count, f"Attributing {name} to channels, window {done + 1}"
            ),
        )  # fmt: skip
        path = save_scalp(found, self.folder / "scalp.png")
        return Picture(path, f"Scalp map of {name}: what speaks for {found.label}")

    def _write_files(self, pictures: Sequence[Picture]) -> dict[str, Path]:
        """Events with their sidecar, annotations, and all of it with the pictures as one zip."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Examined:
    """What a dropped recording is; ``fits``: (task, whether it has its channels, in words)."""

    facts: Mapping[str, str]
    fits: tuple[tuple[str, bool, str], ...]


def examine(served: ServedModel, files: Sequence[str]) -> Examined:
    """Look at a dropped recording without reading its signal."""
    with tempfile.TemporaryDirectory(prefix="mteeg-app-") as folder:
        path = gather_recording(files, folder)
        raw = open_recording(path)
        return Examined(recording_facts(raw, path), ())


def recording_facts(raw: Any, path: Path) -> dict[str, str]:
    """Name, length, rate and number of channels."""
    rate = float(raw.info["sfreq"])
    eeg = sum(kind == "eeg" for kind in raw.get_channel_types())
    others = len(raw.ch_names) - eeg
    return {
        "Recording": path.name,
        "Length": length_text(raw.n_times / rate),
        "Rate": f"{rate:g} Hz",
        "Channels": f"{eeg} EEG" + (f", {others} others" if others else ""),
    }


def length_text(seconds: float) -> str:
    """A length in hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"


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
    from ..pictures.sleep import stage_order

    if stage_order(card):
        return "Hypnogram"
    return "Timeline" if len(card.labels) == 2 else "Class probabilities"


def read_events(path: Path) -> tuple[tuple[str, ...], list[list[str]], int]:
    """Header and first rows of an ``events.tsv``, and how many more there are."""
    with path.open(encoding="utf-8", newline="") as lines:
        table = csv.reader(lines, delimiter="\t")
        header = tuple(next(table))
        rows = list(itertools.islice(table, SHOWN_ROWS))
        return header, rows, sum(1 for _ in table)
