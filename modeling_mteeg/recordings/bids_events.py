"""``events.tsv`` of a BIDS dataset: what happened when in a recording."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..model.bids_sidecars import find_sidecar, find_sidecars, read_table
from ..model.edf_annotations import Mark
from ..model.label_numbers import seconds_of
from ..model.recording_headers import RecordingError, RecordingWarning
from ..model.recording_sources import Source
from ..model.text_files import read_text_file
from ..model.visible_text import listed, visible

_TEXT = ("trial_type", "value")
"""Columns of BIDS that say what an event is."""
_NO_SECONDS = re.compile(r"ms\b|milli|[uµμ]s\b|micro|sample|data ?point|frame|min|h\b|hour", re.I)
"""Units of time that are none of seconds, at the start of what a description says."""


def events_file(path: Path) -> Path | None:
    """The events file of a recording: beside it, or by inheritance in a BIDS dataset.

    Parameters
    ----------
    path : pathlib.Path
        The recording. ``rec_eeg.edf`` and ``rec.edf`` have ``rec_events.tsv`` beside them, whether
        that is a name of BIDS or not.

    Returns
    -------
    pathlib.Path or None

    Raises
    ------
    RecordingError
        Two files apply and neither is more specific.
    """
    stem = path.name.partition(".")[0].removesuffix("_eeg")
    beside = path.with_name(f"{stem}_events.tsv")
    if beside.is_file() or beside.is_symlink():  # to nothing: reading it says so
        return beside
    try:
        return find_sidecar(path, "events")
    except ValueError as error:
        raise RecordingError(str(error)) from error


def read_events_file(
    events: Path, recording: Path | None = None, column: str | None = None
) -> list[Mark]:
    """Rows of an events file, in its order.

    Parameters
    ----------
    events : pathlib.Path
    recording : pathlib.Path or None
        Whose ``events.json`` may say in which unit times are; None: that of the events' own name.
    column : str or None
        Which column holds the descriptions; None: ``trial_type``, else ``value``, else they are
        empty.

    Returns
    -------
    list of Mark
        A duration that is not known (``n/a``) is 0.

    Raises
    ------
    RecordingError
        A column is missing, a time is no number, or in another unit than seconds, or a duration is
        below 0.
    """
    try:
        rows = read_table(events)
    except ValueError as error:
        raise RecordingError(str(error)) from error
    _check_columns(events, rows, column)
    if column is None:
        column = next((name for name in _TEXT if rows and name in rows[0]), None)
    _check_seconds(events if recording is None else recording)
    if rows and "duration" not in rows[0]:
        text = f"{events.name}: no column duration, events last 0 s; its columns: "
        text += visible(listed(list(rows[0])))
        warnings.warn(text, RecordingWarning, stacklevel=2)
    marks = []
    for line, row in enumerate(rows, start=2):
        duration = row.get("duration", "n/a")
        try:
            onset_s = seconds_of(row["onset"])
            duration_s = 0.0 if duration in ("n/a", "") else seconds_of(duration)
        except ValueError as error:
            comma = " Times have a decimal point." if "," in row["onset"] + duration else ""
            raise RecordingError(
                f"{events.name}: line {line}: a time is no number: {error}.{comma}"
            ) from error
        if duration_s < 0:
            raise RecordingError(
                f"{events.name}: line {line}: the event ends before it starts, expected a duration "
                f"of 0 or more, or n/a, found {duration}."
            )
        marks.append(Mark(onset_s, duration_s, row[column] if column else ""))
    return marks


def with_pauses(events: Sequence[Mark], table: Path, recording: Callable[[], Source]) -> list[Mark]:
    """Events by true times, whether their table counts the pauses between parts or not.

    Parameters
    ----------
    events : sequence of Mark
        All rows of the table, in its order.
    table : pathlib.Path
    recording : callable
        Gives the open recording; called only where the table says samples.

    Returns
    -------
    list of Mark

    Warns
    -----
    RecordingWarning
        Rows without a sample in a table that counts without the pauses, or whose samples cannot
        tell: how their onsets are taken.

    Notes
    -----
    BIDS counts ``onset`` from the start of the recording. Converters that know the signal alone
    count it in samples, without the pauses; a column ``sample`` that says the same as ``onset``
    shows it, and the pauses are put in. Rows without a sample (``n/a``) follow the others.
    """
    events, samples = list(events), [_number(row.get("sample", "")) for row in read_table(table)]
    told = [(event, at) for event, at in zip(events, samples, strict=True) if at is not None]
    if not told:
        return events
    source = recording()
    rate_hz = source.rate_hz
    least_s = 1.5 / rate_hz  # both columns may be rounded
    late = [part.start for part in source.parts if part.onset_s - part.start / rate_hz > least_s]
    if not late or any(abs(at / rate_hz - event.onset_s) > least_s for event, at in told):
        return events
    known = any(at >= late[0] for _, at in told)  # both counts are one before the first pause
    if len(told) < len(events):
        how = "put in, as the others' samples show" if known else "taken as counted"
        warnings.warn(
            f"no sample: {table.name}: {len(events) - len(told)} of {len(events)} rows have none; "
            f"pauses of the recording are {how} in their onsets.",
            RecordingWarning,
            stacklevel=2,
        )
    if not known:
        return events
    moved = []
    for event, at in zip(events, samples, strict=True):
        sample = event.onset_s * rate_hz if at is None else at
        before = [part for part in source.parts if part.start <= round(sample)]
        part = (before or source.parts[:1])[-1]
        onset_s = part.onset_s + (sample - part.start) / rate_hz
        moved.append(dataclasses.replace(event, onset_s=onset_s))
    return moved


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _check_columns(events: Path, rows: Sequence[Mapping[str, str]], column: str | None) -> None:
    """Raise where a table has no onsets, or not the column that is asked for."""
    asked = [name for name in ("onset", column) if name]
    if not rows or all(name in rows[0] for name in asked):
        return
    hint = "" if column is None else " Name the column of the descriptions (--event-column)."
    raise RecordingError(
        f"{events.name}: expected columns {' and '.join(asked)}, separated by tabs, found "
        f"{', '.join(rows[0])}.{hint}"
    )


def _check_seconds(recording: Path) -> None:
    """Raise where an ``events.json`` says that times are in another unit than BIDS has."""
    for file in find_sidecars(recording, "events", ".json"):
        try:
            described = json.loads(read_text_file(file).decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue  # descriptions of columns: events can be read without
        for column in ("onset", "duration"):
            about = described.get(column) if isinstance(described, dict) else None
            unit = about.get("Units") if isinstance(about, dict) else None
            if _NO_SECONDS.match(str(unit).strip()):
                raise RecordingError(
                    f"{file.name}: {column} is in {unit!r}, expected seconds, as BIDS has it. "
                    "Convert the times of the events files, and mend the unit there."
                )
