"""Cues that windows begin at: a table of events, a recording's own annotations, or seconds."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..model.edf_annotations import Mark
from ..model.preprocessing import is_positive
from ..model.recording_sources import Source

ANNOTATIONS = "annotations"
_TEXT = ("trial_type", "value")
"""Columns of BIDS that say what an event is."""


def find_cues(at: Any, source: Source, labels: Sequence[str] | None = None) -> list[Mark]:
    """The cues that are meant.

    Parameters
    ----------
    at : str, pathlib.Path, sequence of float or sequence of Mark
        ``"annotations"``: the recording's own; a path: a BIDS ``events.tsv``; else seconds from the
        recording's start.
    source : Source
    labels : sequence of str or None
        Those with these texts; None: all. Of annotations that mark bad stretches only those that
        are named.

    Returns
    -------
    list of Mark
        At least one.

    Raises
    ------
    FileNotFoundError
        There is no such table.
    ValueError
        No cue, no cue of a label, or a table that is none.
    TypeError
        Something else was given.
    """
    if isinstance(at, (str, Path)) and str(at) == ANNOTATIONS:
        where = "among the recording's annotations"
        cues = [mark for mark in source.marks if not mark.is_bad or mark.text in (labels or ())]
    elif isinstance(at, (str, Path)):
        where = f"in {at}"
        cues = read_events(at)
    else:
        where = "in what was given"
        cues = _given(at)
    if not cues:
        raise ValueError(f"at: expected at least one cue, found none {where}.")
    if labels is None:
        return cues
    counts = Counter(cue.text for cue in cues)
    unknown = [label for label in labels if label not in counts]
    if unknown or not labels:
        found = ", ".join(
            f"{text or 'no text'} ({count})" for text, count in counts.most_common(20)
        )
        raise ValueError(
            f"at_labels (--at-labels): expected texts of cues, found "
            f"{', '.join(unknown) or 'none'}; {where} there are {found}."
        )
    return [cue for cue in cues if cue.text in labels]


def read_events(path: str | Path) -> list[Mark]:
    """Events of a BIDS ``events.tsv``.

    Parameters
    ----------
    path : str or pathlib.Path
        Tab-separated, with ``onset`` and mostly ``duration`` in seconds from the recording's start,
        and ``trial_type``, else ``value``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It has no onsets, or one that is no number.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"at: expected {ANNOTATIONS!r} or a table of events, found no file {path}."
        )
    with path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, delimiter="\t")
        columns = list(table.fieldnames or ())
        if "onset" not in columns:
            raise ValueError(
                f"{path}: expected a tab-separated table with a column onset (seconds), found the "
                f"columns {', '.join(columns) or 'of an empty file'}."
            )
        text = next((name for name in _TEXT if name in columns), None)
        return [
            Mark(
                _seconds(row["onset"], f"{path}, line {number}"),
                _duration(row.get("duration")),
                (row[text] or "").strip() if text else "",
            )
            for number, row in enumerate(table, 2)
        ]


def _seconds(text: str | None, where: str) -> float:
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{where}: expected an onset in seconds, found {text!r}.")
    return seconds


def _duration(text: str | None) -> float:
    """Seconds; 0 where the table does not say, since a window has its own length."""
    try:
        seconds = float(text or "")
    except ValueError:
        return 0.0
    return seconds if is_positive(seconds) else 0.0


def _given(at: Any) -> list[Mark]:
    if not isinstance(at, Iterable):
        raise TypeError(
            f"at: expected {ANNOTATIONS!r}, a table of events, or a sequence of seconds or marks, "
            f"found {type(at).__name__}."
        )
    cues = []
    for one in at:
        if isinstance(one, Mark):
            cues.append(one)
            continue
        try:
            onset = float(one)
        except (TypeError, ValueError) as error:
            raise TypeError(f"at: expected seconds or marks, found {one!r}.") from error
        if not math.isfinite(onset):
            raise ValueError(f"at: expected seconds, found {one!r}.")
        cues.append(Mark(onset, 0.0, ""))
    return cues
