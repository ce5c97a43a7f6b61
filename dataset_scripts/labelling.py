"""Whose recording it is and what is in it when: events files, annotations, tables, file names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from modeling_mteeg.dataset_scripts.annotated_options import AnnotatedOptions
from modeling_mteeg.dataset_scripts.opening import EDF, open_recording
from modeling_mteeg.dataset_scripts.reading import guarded
from modeling_mteeg.model.bids_sidecars import read_table
from modeling_mteeg.model.edf_annotations import Mark, read_edf_marks
from modeling_mteeg.model.label_numbers import MOST_S, shown
from modeling_mteeg.model.recording_headers import RecordingError, read_edf_header
from modeling_mteeg.recordings.bids_events import events_file, read_events_file, with_pauses

_BIDS_SUBJECT_COLUMNS = ("participant_id", "subject", "subject_id")


Event = Mark
"""Something that lasts from ``onset_s`` for ``duration_s`` seconds; 0: a moment."""


def read_events(path: Path, column: str) -> list[Event]:
    """The events of a recording, from its events file, or its annotations.

    Parameters
    ----------
    path : Path
        The recording.
    column : str
        Of an events file: which holds the descriptions.

    Returns
    -------
    list of Event
        By true times: pauses between parts count.

    Raises
    ------
    RecordingError
        A column is missing, a time is no number, or the file cannot be read.
    """
    table = events_file(path)
    if table is not None:
        events = read_events_file(table, path, column)
        return with_pauses(events, table, lambda: open_recording(path, "labelled"))
    if path.suffix.lower() in EDF:
        header = read_edf_header(path)
        return guarded(lambda file: read_edf_marks(file, header), path)
    marks = list(open_recording(path, "labelled").marks)
    for mark in marks:
        if not (abs(mark.onset_s) <= MOST_S and 0 <= mark.duration_s <= MOST_S):
            raise RecordingError(
                f"{path.name}: annotation {shown(mark.text)}: expected seconds, found "
                f"{mark.onset_s:g} for {mark.duration_s:g} s; mend it."
            )
    return marks


class LabelTable:
    """A table with a row for every recording, or for every person.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        It has neither a column ``file`` nor one of people, or two rows speak of the same.
    """

    def __init__(self, path: Path) -> None:
        self.path, rows = path, read_table(path)
        self.columns = tuple(rows[0]) if rows else ()
        self.by_file = "file" in self.columns
        people = next((name for name in _BIDS_SUBJECT_COLUMNS if name in self.columns), "")
        self.people = people
        key = "file" if self.by_file else people
        if not key:
            raise ValueError(
                f"{path}: expected a column file, or one of {', '.join(_BIDS_SUBJECT_COLUMNS)}; "
                f"found {', '.join(self.columns) or 'no row'}."
            )
        self._rows: dict[str, Mapping[str, str]] = {}
        for row in rows:
            if row[key] in self._rows:
                raise ValueError(f"{path}: two rows of {row[key]!r}; keep one of them.")
            self._rows[row[key]] = row

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who or what its rows are of."""
        return tuple(self._rows)

    def of_file(self, name: str) -> Mapping[str, str]:
        """Row of a recording, by its path below the raw folder or its file name alone."""
        return self._rows.get(name) or self._rows.get(name.rpartition("/")[2]) or {}

    def of_subject(self, subject: str) -> Mapping[str, str]:
        """Row of a person, with or without BIDS's ``sub-``."""
        bare = subject.removeprefix("sub-")
        return (
            self._rows.get(subject) or self._rows.get(bare) or self._rows.get(f"sub-{bare}") or {}
        )


def label_by_name(name: str, options: AnnotatedOptions) -> str:
    """The class that the rules give to a name without suffix; empty: none.

    Raises
    ------
    ValueError
        Rules of several classes fit.
    """
    found = {label for rule, label in options.label_by_name.items() if re.search(rule, name)}
    if len(found) > 1:
        raise ValueError(
            f"label_by_name: {name!r} fits the rules of {' and '.join(sorted(found))}; make them "
            "exclude each other."
        )
    return next(iter(found), "")


def usual_window_s(recordings: Sequence[Sequence[Event]], whole: bool) -> float:
    """Window where none is asked for, a whole number of seconds.

    Parameters
    ----------
    recordings : sequence of sequence of Event
        Labelled events of every recording, by onset.
    whole : bool
        Whether labels are of whole recordings: 4 s.

    Returns
    -------
    float
        As long as the usual event, from 1 to 10 s. Where events are moments, up to the next one,
        but 4 s at most.
    """
    lengths = [event.duration_s for events in recordings for event in events]
    most = 10
    if whole or not any(lengths):
        gaps = [after.onset_s - event.onset_s for events in recordings
                for event, after in itertools.pairwise(events)]  # fmt: skip
        lengths, most = ([4.0] if whole or not gaps else gaps), 4
    return float(min(most, max(1, int(sorted(lengths)[len(lengths) // 2]))))
