"""Predictions as BIDS events: a table, its sidecar, and annotations for MNE."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..model.task_card import probability_columns
from .result import Prediction

GENERATOR = "modeling-mteeg"
_SPAN = 1e-6  # seconds that count as touching


def event_spans(
    prediction: Prediction, merge: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Events of a prediction.

    Parameters
    ----------
    prediction : Prediction
    merge : bool
        One event for every run of touching or overlapping windows of the same class, instead of
        one for every window.

    Returns
    -------
    onset_s, duration_s : numpy.ndarray
        float64, (events,). A run lasts from its first window's start to its last window's end.
    classes : numpy.ndarray
        int64, (events,).
    probabilities : numpy.ndarray
        float64, (events, classes), the mean over the windows of an event.
    """
    onset, classes = prediction.onset_s, prediction.classes
    probabilities = prediction.probabilities.astype(np.float64)
    duration = np.full(len(onset), prediction.window_s)
    if not merge or not len(onset):
        return onset, duration, classes, probabilities
    apart = np.diff(onset) > prediction.window_s + _SPAN
    first = np.flatnonzero(np.concatenate([[True], (np.diff(classes) != 0) | apart]))
    last = np.append(first[1:], len(onset)) - 1
    counts = (last - first + 1)[:, None]
    mean = np.add.reduceat(probabilities, first, axis=0) / counts
    return onset[first], onset[last] + prediction.window_s - onset[first], classes[first], mean


def events_table(prediction: Prediction, merge: bool = False) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of ``events.tsv``, as text.

    Parameters
    ----------
    prediction : Prediction
    merge : bool
        See :func:`event_spans`.

    Returns
    -------
    columns : list of str
        ``onset``, ``duration`` (seconds from the recording's start), ``trial_type`` (BIDS' name for
        what an event is) and ``label`` (the same), and a probability for every class.
    rows : list of list of str
    """
    labels = prediction.card.labels
    columns = ["onset", "duration", "trial_type", "label", *probability_columns(labels)]
    rows = [
        [_number(onset), _number(duration), labels[index], labels[index],
         *(f"{value:.6g}" for value in values)]
        for onset, duration, index, values in zip(*event_spans(prediction, merge), strict=True)
    ]  # fmt: skip
    return columns, rows


def events_text(prediction: Prediction, merge: bool = False) -> str:
    """The whole of ``events.tsv``."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    columns, rows = events_table(prediction, merge)
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def events_sidecar(
    prediction: Prediction, merge: bool = False, run: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What stands in ``events.json``: the columns, as BIDS wants it, and how they came about.

    Parameters
    ----------
    prediction : Prediction
    merge : bool
        See :func:`event_spans`.
    run : dict, optional
        What identifies the run, to know it again.
    """
    card, facts = prediction.card, prediction.provenance
    what = "event, the mean over its windows" if merge else "window"
    label = card.decision
    columns: dict[str, Any] = {
        "onset": {"Description": "Start, from the start of the recording.", "Units": "s"},
        "duration": {
            "Description": "Length of a run of windows of one class."
            if merge
            else "Length of the window that was classified.",
            "Units": "s",
        },
        "trial_type": {
            "LongName": f"Predicted class of task {card.name}",
            "Description": label,
            "Levels": {name: f"Class {index}" for index, name in enumerate(card.labels)},
        },
        "label": {"Description": f"{label} The same as trial_type."},
    }
    for column, name in zip(probability_columns(card.labels), card.labels, strict=True):
        columns[column] = {"Description": f"Probability of class {name!r} in this {what} (0 to 1)."}
    made = {
        "Name": GENERATOR,
        "Version": __version__,
        "Description": "Predicted by a model. For research; not a diagnosis.",
        "Task": {"Name": card.name, "Description": card.description, "Corpus": card.corpus,
                 "Simulated": card.simulated, "Labels": list(card.labels)},
        "Base": facts.get("base"),
        "Adapter": facts.get("adapter"),
        "PackageVersions": facts.get("package_versions"),
        "Device": facts.get("device"),
        "Settings": {**facts.get("settings", {}), "merge": merge},
    }  # fmt: skip
    return columns | {
        "GeneratedBy": [made],
        "Sources": [Path(prediction.recording).name] if prediction.recording else [],
        "RecordingDuration": prediction.recording_s,
        "Windows": len(prediction.onset_s),
        "Channels": list(prediction.channels),
        "DerivedChannels": list(prediction.derived),
        "MissingChannels": list(prediction.missing),
        "Notes": list(prediction.notes),
        "Run": run or {},
    }


def annotations_of(prediction: Prediction, merge: bool = False) -> Any:
    """The events as ``mne.Annotations``, for ``raw.set_annotations``.

    The description is the label; the probability of every class stands in the ``extras``. Onsets
    count from the start of the data (``orig_time`` None), so they fit a cropped Raw too.
    """
    import mne

    onset, duration, classes, probabilities = event_spans(prediction, merge)
    columns = probability_columns(prediction.card.labels)
    return mne.Annotations(
        onset,
        duration,
        [prediction.card.labels[index] for index in classes],
        extras=[dict(zip(columns, map(float, row), strict=True)) for row in probabilities],
    )


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    _replace(path, lambda part: part.write_text(text, "utf-8"))


def write_annotations(prediction: Prediction, path: Path, merge: bool = False) -> None:
    """Write ``*_annot.fif`` whole or not at all."""
    annotations = annotations_of(prediction, merge)
    _replace(path, lambda part: annotations.save(part, verbose="error"))


def sidecar_path(events: Path) -> Path:
    """``x_events.json`` of ``x_events.tsv``."""
    return events.with_suffix(".json")


def annotations_path(events: Path) -> Path:
    """``x_annot.fif`` of ``x_events.tsv``; the ending is the one that MNE wants."""
    return events.with_name(f"{events.stem.removesuffix('_events')}_annot.fif")


def write_events(
    prediction: Prediction,
    path: str | Path,
    *,
    merge: bool = False,
    annotations: bool = False,
    run: dict[str, Any] | None = None,
) -> list[Path]:
    """Write a prediction as ``events.tsv`` with its sidecar.

    Parameters
    ----------
    prediction : Prediction
    path : str or Path
        Ends in ``.tsv``; its folder is made. Existing files are replaced.
    merge : bool
        See :func:`event_spans`.
    annotations : bool
        Write ``*_annot.fif``, too.
    run : dict, optional
        See :func:`events_sidecar`.

    Returns
    -------
    list of Path
        The files, each written whole or not at all, the table last.
    """
    path = check_events_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # where it stands, the files beside it are its own
    sidecar = events_sidecar(prediction, merge, run)
    files = [sidecar_path(path)]
    write_text(files[0], json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n")
    if annotations:
        files.append(annotations_path(path))
        write_annotations(prediction, files[-1], merge)
    write_text(path, events_text(prediction, merge))
    return [*files, path]


def check_events_path(path: str | Path) -> Path:
    """The path, if it ends in ``.tsv``."""
    path = Path(path)
    if path.suffix != ".tsv":
        raise ValueError(f"Events: expected a file that ends in .tsv, found {path}.")
    return path


def _number(value: float) -> str:
    """Seconds without needless digits, never in powers of ten."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside ``path`` under another name with the same ending, then put it there."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        write(part)
        os.replace(part, path)
