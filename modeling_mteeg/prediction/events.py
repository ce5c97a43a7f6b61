"""Predictions as BIDS events: a table, its sidecar, and annotations for MNE."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..model.findings import MARK, WINDOWS, Finding
from ..model.record_parts import Part
from ..model.task_card import probability_columns
from ..settings.disk_faults import writing
from .result import Prediction

GENERATOR = "modeling-mteeg"
_SPAN = 1e-6  # seconds that count as touching
_NOTHING = "n/a"  # BIDS' word for it
_LAST = "last window"
MERGED_CUES = (
    "merge (--merge-events): windows that begin at cues (--at) are answers of their own; predict "
    "without one of the two."
)


@dataclasses.dataclass(frozen=True)
class Event:
    """A window, or a run of them.

    Parameters
    ----------
    onset_s, duration_s : float
        In seconds from the recording's start; a run lasts from its first window's start to its last
        one's end.
    class_index : int
    probabilities : numpy.ndarray
        float64, (classes,), the mean over the windows.
    first, last : int
        Numbers of its windows.
    """

    onset_s: float
    duration_s: float
    class_index: int
    probabilities: np.ndarray
    first: int
    last: int


def events_of(prediction: Prediction, merge: bool = False) -> list[Event]:
    """Events of a prediction, in the order of time; see :func:`event_spans`."""
    firsts, lasts = _runs(prediction, merge)
    return [
        Event(*values)
        for values in zip(*event_spans(prediction, merge), firsts.tolist(), lasts.tolist(),
                          strict=True)
    ]  # fmt: skip


def event_spans(
    prediction: Prediction, merge: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Events of a prediction.

    Parameters
    ----------
    prediction : Prediction
    merge : bool
        One event for every run of touching or overlapping windows of the same class, instead of
        one for every window. A run ends where a part of the recording does, and where windows begin
        or cease to be marked, or are so for another reason.

    Returns
    -------
    onset_s, duration_s : numpy.ndarray
        float64, (events,). A run lasts from its first window's start to its last window's end.
    classes : numpy.ndarray
        int64, (events,).
    probabilities : numpy.ndarray
        float64, (events, classes), the mean over the windows of an event.

    Raises
    ------
    ValueError
        Windows that begin at cues, which are answers of their own, are to be merged.
    """
    onset, classes = prediction.onset_s, prediction.classes
    probabilities = prediction.probabilities.astype(np.float64)
    first, last = _runs(prediction, merge)
    if not merge or not len(onset):
        return onset, np.full(len(onset), prediction.window_s), classes, probabilities
    counts = (last - first + 1)[:, None]
    mean = np.add.reduceat(probabilities, first, axis=0) / counts
    return onset[first], onset[last] + prediction.window_s - onset[first], classes[first], mean


def _runs(prediction: Prediction, merge: bool) -> tuple[np.ndarray, np.ndarray]:
    """First and last window of every event."""
    onset = prediction.onset_s
    if merge and prediction.cues is not None:
        raise ValueError(MERGED_CUES)
    if not merge or not len(onset):
        return np.arange(len(onset)), np.arange(len(onset))
    apart = np.diff(onset) > prediction.window_s + _SPAN
    apart |= np.diff(prediction.classes) != 0
    apart |= np.diff(prediction.part_numbers) != 0
    if prediction.marked:
        reasons = {reason: number for number, reason in enumerate(set(prediction.marked))}
        apart |= np.diff([reasons[reason] for reason in prediction.marked]) != 0
    first = np.flatnonzero(np.concatenate([[True], apart]))
    return first, np.append(first[1:], len(onset)) - 1


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
        what an event is) and ``label`` (the same), and a probability for every class. Then ``cue``,
        where windows begin at cues, and ``note``, where any window is marked or was added to end
        with its part.
    rows : list of list of str
    """
    labels = prediction.card.labels
    columns = ["onset", "duration", "trial_type", "label", *probability_columns(labels)]
    more = _more_columns(prediction, merge)
    rows = []
    for event in events_of(prediction, merge):
        label = labels[event.class_index]
        row = [_number(event.onset_s), _number(event.duration_s), label, label]
        row += [f"{value:.6g}" for value in event.probabilities]
        rows.append(row + [text(event) or _NOTHING for text in more.values()])
    return [*columns, *more], rows


def _more_columns(prediction: Prediction, merge: bool) -> dict[str, Callable[[Event], str]]:
    """Columns that only some predictions have, and what stands there for an event."""
    columns: dict[str, Callable[[Event], str]] = {}
    cues, ends = prediction.cues, prediction.ends
    if cues is not None:
        columns["cue"] = lambda event: " ".join(cues[event.first].split())
    added = ends is not None and bool(ends.any())
    if prediction.marked or (added and not merge):

        def note(event: Event) -> str:
            # Windows of a run are marked for the same reason, and its end is in its duration.
            reason = prediction.marked[event.first] if prediction.marked else ""
            last = _LAST if added and not merge and ends[event.first] else ""
            return " ".join("; ".join(text for text in (reason, last) if text).split())

        columns["note"] = note
    return columns


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
    by_hand = {} if prediction.threshold is None else {"threshold": prediction.threshold}
    label, bad = prediction.decision, facts.get("settings", {}).get("bad")
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
    more = _more_columns(prediction, merge)
    columns |= {name: {"Description": _MORE[name]} for name in more}
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
        "Settings": {**facts.get("settings", {}), "merge": merge, **by_hand},
    }  # fmt: skip
    return columns | {
        "GeneratedBy": [made],
        "Sources": [Path(prediction.recording).name] if prediction.recording else [],
        "RecordingDuration": prediction.recording_s,
        "Windows": len(prediction.onset_s),
        "Channels": list(prediction.channels),
        "DerivedChannels": list(prediction.derived),
        "MissingChannels": list(prediction.missing),
        "Parts": [part_facts(part, prediction.recorded_rate_hz) for part in prediction.parts],
        "Findings": [finding_facts(finding, bad) for finding in prediction.findings],
        "Notes": list(prediction.notes),
        "Run": run or {},
    }


_MORE = {
    "cue": "Text of the event that the window begins at, or n/a.",
    "note": "What is wrong with the window, or n/a. bad: it lies under an annotation of a bad "
    "stretch, whose text follows. constant: these channels keep one value for half of its time or "
    "more. last window: it ends with its part of the recording, and overlaps the one before.",
}


def part_facts(part: Part, rate_hz: float) -> dict[str, float]:
    """A part in a sidecar: its first sample, when it was recorded, how long it is."""
    facts = {"FirstSample": int(part.start), "Onset": float(part.onset_s)}
    if rate_hz:
        facts["Duration"] = int(part.samples) / rate_hz
    return facts


def finding_facts(finding: Finding, bad: str | None) -> dict[str, Any]:
    """A finding in a sidecar as the table of policies has it, or as it was asked for by ``bad``."""
    facts = finding.facts("predict")
    if facts["action"] == MARK and bad == "leave-out":
        facts["action"] = WINDOWS
    return facts


def annotations_of(prediction: Prediction, merge: bool = False) -> Any:
    """The events as ``mne.Annotations``, for ``raw.set_annotations``.

    The description is the label; the probability of every class, and ``cue`` and ``note`` where the
    table has them, stand in the ``extras``. Onsets count from the start of the data (``orig_time``
    None), so they fit a cropped Raw too, and in the data as MNE reads them: it closes the gaps
    between parts.
    """
    import mne

    columns = probability_columns(prediction.card.labels)
    more = _more_columns(prediction, merge)
    onsets, durations, labels, extras = [], [], [], []
    for event in events_of(prediction, merge):
        onsets.append(_second_of_data(prediction, event))
        durations.append(event.duration_s)
        labels.append(prediction.card.labels[event.class_index])
        values = dict(zip(columns, map(float, event.probabilities), strict=True))
        extras.append(values | {name: text(event) or _NOTHING for name, text in more.items()})
    return mne.Annotations(onsets, durations, labels, extras=extras)


def _second_of_data(prediction: Prediction, event: Event) -> float:
    """When an event begins in the signal without the pauses between parts."""
    if len(prediction.parts) < 2 or not prediction.recorded_rate_hz:
        return event.onset_s
    part = prediction.parts[int(prediction.part_numbers[event.first])]
    return event.onset_s - part.onset_s + part.start / prediction.recorded_rate_hz


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
    with writing(path):
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
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        write(part)
        os.replace(part, path)
