"""Recordings as users have them opened: answers, labelled and unlabelled preparations."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tiny_models import model_with_tasks

from modeling_mteeg import MteegFeatureExtractor, MteegModel, TaskCard
from modeling_mteeg.dataset_scripts.annotated import Annotated
from modeling_mteeg.dataset_scripts.annotated_options import AnnotatedOptions
from modeling_mteeg.dataset_scripts.bids import bids_options
from modeling_mteeg.dataset_scripts.locking import PreparationError
from modeling_mteeg.dataset_scripts.registry import corpus_class
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.unlabelled import UnlabelledSettings, prepare_unlabelled
from modeling_mteeg.dataset_scripts.writer import prepare
from modeling_mteeg.prediction import predict

from .originals import Original
from .trying import Ended, Lost, NotFinite, Refused

DOCUMENTED = (PreparationError,)
_ABOUT_NUMBERS = ("filter-left-out", "short-for-filter", "mains", "end-left-out", "derived",
                  "renamed", "interpolated")  # fmt: skip
"""Findings that say nothing of a file's contradictions."""
_OF_ALL = ("labels.csv", "trial_times.json", "task-press_channels.tsv", "dataset_description.json")
"""Files that all recordings of a folder share; without them there is no run."""
_LABELS = ("rest", "press")
_RULES = {"named": {"label_by_name": {"_rest": "rest", "_press": "press"}}, "noted": {},
          "markers": {"events": {"Stimulus/S  1": "rest", "Stimulus/S  2": "press"}},
          "table": {"labels_from": "table", "table": "labels.csv", "subject_from": "table"},
          "bids": {}}  # fmt: skip


@functools.cache
def _model() -> MteegModel:
    model = model_with_tasks("tuab", seed=3)
    labels, channels = ("rest", "press"), ("C3", "CZ", "C4")
    model.add_adapter("presses", card=TaskCard("presses", labels, channels, window_s=2))
    return model


def extract(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """Predicted; windows that are cut already go through the extractor."""
    path = folder / original.opened
    if original.name != "epochs":
        answers = predict(path, _model(), "presses")["presses"]
        _finite(torch.as_tensor(answers.probabilities))
        yield from _codes(answers.findings)
    else:
        yield from extract_any(original, folder, scratch)


def extract_any(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """All channels of a recording through the model; of a continuous one, windows of a second."""
    window_s = None if original.name == "epochs" else 1.0
    features = MteegFeatureExtractor()(folder / original.opened, window_s=window_s)
    few = {key: value[:2] if key == "input_values" else value for key, value in features.items()}
    _finite(_model()(**few).pooler_output)
    yield from _codes(features.findings)


def _finite(values: torch.Tensor) -> None:
    if not torch.isfinite(values).all():
        raise NotFinite("an answer that is not finite")


def _codes(findings: Any) -> Iterator[str]:
    yield from (one.code for one in findings if one.code not in _ABOUT_NUMBERS)


def _corpus(original: Original, folder: Path) -> Any:
    if original.corpus in _RULES:
        options = AnnotatedOptions(labels=_LABELS, **{"subject_from": r"(p\d|sub-\d+)"}
                                   | _RULES[original.corpus])  # fmt: skip
        if original.corpus == "bids":
            options = bids_options(folder, options)
        return Annotated(folder, "presses", options)
    return corpus_class(original.corpus)(folder)


def labelled(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """A labelled preparation of the folder."""

    def run() -> Path:
        settings = Settings(progress=False, max_skipped=1.0)
        return prepare(_corpus(original, folder), scratch / "labelled", settings)

    out = _run(run, original, folder)
    with open(out / "report.tsv", encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = {row["recording"]: row for row in table}
    _others(original, folder, rows, "labelled", "windows")
    for key in original.bad:
        if key not in rows:
            yield f"{key} is not in the report"
            continue
        row = rows[key]
        if row["status"] == "skipped":
            raise Refused(f"{key}: {row['reason']}")
        if row["status"] != "used":
            yield f"{key}: {row['status']} {row['reason']}"
        yield from (code for code in row["findings"].split() if code not in _ABOUT_NUMBERS)
        yield from (part.split(":")[0] for part in row["windows_left_out"].split("; ") if part)
        yield from (part.split(":")[0] for part in row["warnings"].split("; ")
                    if part and "mains" not in part and "fill no window" not in part)  # fmt: skip


def unlabelled(original: Original, folder: Path, scratch: Path) -> Iterator[str]:
    """An unlabelled preparation of the folder."""
    settings = UnlabelledSettings(24, 4)
    run = lambda: prepare_unlabelled(folder, scratch / "unlabelled", settings=settings,  # noqa: E731
                                     progress=False)  # fmt: skip
    out = _run(run, original, folder)
    with open(out / "report.csv", encoding="utf-8", newline="") as file:
        rows = {row["recording"]: row for row in csv.DictReader(file)}
    _others(original, folder, rows, "unlabelled", "hours")
    row = rows.get(original.opened)
    if row is None:
        yield f"{original.opened} is not in the report"
        return
    if row["status"] == "skipped":
        raise Refused(f"{original.opened}: {row['reason']}")
    if row["status"] != "used":
        yield f"{row['status']} {row['reason']}"
    for column in ("notes", "channels_left_out"):
        yield from (part for part in row[column].split("; ") if part and "Hz" not in part)


def _run(run: Callable[[], Path], original: Original, folder: Path) -> Path:
    """A run that one bad file must not end, unless all recordings share it."""
    try:
        return run()
    except (ValueError, OSError, PreparationError) as error:
        changed = _changed(folder)
        if changed in _OF_ALL or not changed:
            raise
        raise Ended(f"{type(error).__name__}: {error}") from error


def _changed(folder: Path) -> str:
    """Name of the file that was changed, as the runner has noted it beside the folder."""
    note = folder.with_name(f"{folder.name}.target")
    return note.read_text().rpartition("/")[2] if note.is_file() else ""


def _others(original: Original, folder: Path, rows: dict, way: str, column: str) -> None:
    """Raise where a recording that was not changed is not used as it was.

    The first run, of the original itself, notes what must be.
    """
    bad = set(original.bad) if way == "labelled" else {original.opened}
    here = {key: [row["status"], row[column]] for key, row in rows.items() if key not in bad}
    changed, note = _changed(folder), f"{original.name}.{way}.others"
    if not changed:
        folder.with_name(note).write_text(json.dumps(here))
        if any(row["status"] != "used" for row in rows.values()):
            raise Lost(f"the original itself: {rows}")
        return
    originals = Path(folder.with_name(f"{folder.name}.originals").read_text())
    was = json.loads((originals / note).read_text())
    lost = [key for key in was if here.get(key) != was[key]]
    if lost and changed not in _OF_ALL:
        raise Lost(f"{lost[0]}: {here.get(lost[0])}, was {was[lost[0]]}")
