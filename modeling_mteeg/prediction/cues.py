"""Cues that windows begin at: a table of events, a recording's own annotations, or seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..model.edf_annotations import Mark
from ..model.recording_sources import Source
from ..recordings.bids_events import events_file, read_events_file, with_pauses

ANNOTATIONS = "annotations"
EVENTS = "events"
OWN = (ANNOTATIONS, EVENTS)
"""Cues that every recording brings along."""


def own_table(at: Any, recording: Any) -> Any:
    """``at``, with the recording's own table of events in place of ``"events"``.

    Parameters
    ----------
    at : object
        See :func:`find_cues`.
    recording : str, pathlib.Path or object
        Files alone have a table: ``rec_events.tsv`` beside ``rec.edf``, or that of BIDS.

    Raises
    ------
    FileNotFoundError
        It has none.
    ValueError
        The recording is no file, or two tables apply.
    """
    if not isinstance(at, str) or at != EVENTS:
        return at
    if not isinstance(recording, (str, Path)):
        raise ValueError(
            f"at: {EVENTS!r} is the table beside a file, found {type(recording).__name__}; "
            f"expected {ANNOTATIONS!r}, the path of a table, or seconds."
        )
    table = events_file(Path(recording))
    if table is None:
        stem = Path(recording).name.partition(".")[0].removesuffix("_eeg")
        raise FileNotFoundError(
            f"at: expected a table of events of {recording}, found none ({stem}_events.tsv)."
        )
    return table


def check_one_table(at: str | None, recordings: int) -> None:
    """Raise ``ValueError`` where one table of cues is given for several recordings."""
    if at not in (None, *OWN) and recordings > 1:
        raise ValueError(
            f"--at: {at} belongs to one recording, found {recordings}. Predict them one by one, or "
            f"at their own {' or '.join(OWN)}."
        )


def find_cues(at: Any, source: Source, labels: Sequence[str] | None = None) -> list[Mark]:
    """The cues that are meant.

    Parameters
    ----------
    at : str, pathlib.Path, sequence of float or sequence of Mark
        ``"annotations"``: the recording's own; a path: a BIDS ``events.tsv``, read by true times
        (:func:`~modeling_mteeg.recordings.bids_events.with_pauses`); else seconds from the
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
        cues = with_pauses(read_events(at), Path(at), lambda: source)
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
        Tab-separated, with ``onset`` and mostly ``duration`` in seconds, and ``trial_type``, else
        ``value``.

    Returns
    -------
    list of Mark
        By the table's own onsets.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It has no onsets, or a time that is no number or in another unit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"at: expected {ANNOTATIONS!r}, {EVENTS!r} or a table of events, found no file {path}."
        )
    return read_events_file(path)


def _given(at: Any) -> list[Mark]:
    if not isinstance(at, Iterable):
        raise TypeError(
            f"at: expected {ANNOTATIONS!r}, {EVENTS!r}, a table of events, or a sequence of "
            f"seconds or marks, found {type(at).__name__}."
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
