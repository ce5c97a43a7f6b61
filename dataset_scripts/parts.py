"""Parts: the windows of one recording as one Arrow file, and what says that it is whole.

A part is written under another name and renamed, its description after it. So a part with a
description is complete, whenever the process was killed; which settings and which files it was
made from stands in the description, and a part that does not fit any more is written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from modeling_mteeg.data import encode_window, window_features
from modeling_mteeg.dataset_scripts.bars import Bar
from modeling_mteeg.dataset_scripts.corpus import Corpus, Reading, Recording, Segment
from modeling_mteeg.dataset_scripts.locking import write_whole
from modeling_mteeg.dataset_scripts.processes import run_each
from modeling_mteeg.dataset_scripts.reading import RecordingError
from modeling_mteeg.dataset_scripts.report import Outcome, expected
from modeling_mteeg.dataset_scripts.sources import Source, changed_ns, content_digest, differences
from modeling_mteeg.model.file_faults import blamed_on
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.settings.disk_faults import writing

ROWS_PER_BATCH = 256
BAR_FORMAT = "{l_bar}{bar}| {n:.2f}/{total:.2f} h of EEG [{elapsed}<{remaining}, {rate_noinv_fmt}]"
Job = tuple[Corpus, Recording, Path, str, str, list[Source]]
"""Arguments of :func:`write_part`."""


def write_parts(jobs: Sequence[Job], num_proc: int, progress: bool) -> list[Outcome]:
    """Write the parts that are missing; an outcome for every recording."""
    hours = {recording.key: expected(corpus.duration_s, recording) / 3600
             for corpus, recording, *_ in jobs}  # fmt: skip
    name = jobs[0][0].card.name if jobs else ""
    outcomes, written = [], run_each(write_part, jobs, num_proc)
    bar = Bar(
        total=sum(hours.values()) + 1e-9,  # a sum in another order may be a bit larger
        desc=name,
        unit="h",
        bar_format=BAR_FORMAT,
        progress=progress,
    )
    with bar, closing(written):
        for outcome in written:
            outcomes.append(outcome)
            bar.update(hours[outcome.recording.key])
            if outcome.status == "skipped" and progress:
                bar.write(f"{name}: {outcome.recording.key} skipped: {outcome.reason}")
    return outcomes


def remove_strangers(folder: Path, keys: Sequence[str]) -> None:
    """Remove what dead processes left, and parts of recordings that are not wanted any more."""
    wanted = {f"{key}{suffix}" for key in keys for suffix in (".arrow", ".json")}
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()


def write_part(
    corpus: Corpus,
    recording: Recording,
    folder: Path,
    dtype: str,
    settings: str,
    sources: list[Source],
) -> Outcome:
    """Windows of one recording as ``<key>.arrow``, with ``<key>.json`` that says what is in it.

    Parameters
    ----------
    corpus, recording, folder, dtype
    settings : str
        Hash of the settings that a part depends on.
    sources : list of Source
        The recording's files as they are now.

    Returns
    -------
    Outcome
        A whole part of these settings and files is not written again. A recording that could not
        be used is tried again, for the fault may have been the disk's.
    """
    known, _ = read_part(recording, folder, settings, sources)
    if known is not None and known.status == "used":
        return known
    times = [changed_ns(file) for file in recording.files]
    files = [{**source, "sha256": content_digest(path)}
             for source, path in zip(sources, recording.files, strict=True)]  # fmt: skip
    part, size = folder / f"{recording.key}.arrow", 0
    try:
        content = _write_windows(corpus, recording, part, dtype)
        if times != [changed_ns(file) for file in recording.files]:
            raise RecordingError(
                f"{recording.path.name}: the file was changed while it was read; start again when "
                "the download is complete."
            )
        size = part.stat().st_size
    except RecordingError as error:
        content = {"status": "skipped", "reason": str(error)}
    content["sources"] = files
    known = {"settings": settings, "bytes": size, "times": times, "outcome": content}
    write_whole(folder / f"{recording.key}.json", json.dumps(known))
    return Outcome(recording, **content)


def read_part(
    recording: Recording, folder: Path, settings: str, sources: Sequence[Source]
) -> tuple[Outcome | None, str]:
    """A recording's outcome by the description in ``folder``; or None, and what is wrong with it.

    The reason is empty where there is no description.
    """
    try:
        known = json.loads((folder / f"{recording.key}.json").read_text("utf-8"))
        outcome = Outcome(recording, **known["outcome"])
        then, size, times = known["settings"], int(known["bytes"]), list(known["times"])
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"its description is damaged ({type(error).__name__})"
    part = folder / f"{recording.key}.arrow"
    if then != settings:
        return None, "made with other settings, or by another version"
    touched = [changed_ns(file) != time for file, time in zip(recording.files, times, strict=False)]
    changes = differences(outcome.sources, sources, recording.files, touched)
    if changes:
        return None, "; ".join(changes)
    if outcome.status == "used" and not (part.is_file() and part.stat().st_size == size):
        return None, f"its windows are missing or incomplete in {part.name}"
    return outcome, ""


def unit_of(recording: Recording, segment: Segment) -> str:
    """What the split keeps together: the recording, or a part of it."""
    return f"{recording.key}/{segment.unit}" if segment.unit else recording.key


def encode_row(
    card: TaskCard, recording: Recording, segment: Segment, signal: np.ndarray, dtype: str
) -> dict[str, Any]:
    """The row of a window (channels, samples) in microvolt."""
    label, onset_s = card.labels.index(segment.label), segment.start / card.rate_hz
    key, subject = recording.key, recording.subject
    return encode_window(signal, card.channels, label, key, subject, onset_s, dtype)


def _write_windows(corpus: Corpus, recording: Recording, part: Path, dtype: str) -> dict[str, Any]:
    """Write one Arrow file; returns the fields of its :class:`Outcome`."""
    from datasets.arrow_writer import ArrowWriter

    with blamed_on(recording.path):
        reading = corpus.read(recording)
    card = corpus.card
    labels, units = [], []
    temporary = part.with_suffix(f".arrow.{os.getpid()}")
    features = window_features(card.labels)
    with ArrowWriter(
        features=features, path=str(temporary), writer_batch_size=ROWS_PER_BATCH
    ) as writer:
        for segment, row in _rows(card, recording, reading, dtype):
            with writing(part):
                writer.write(row)  # nothing in it is left to encode
            labels.append(segment.label)
            units.append(unit_of(recording, segment))
        with writing(part):
            writer.finalize()
            os.replace(temporary, part)
    return {
        "status": "used",
        "seconds": reading.seconds,
        "rate_hz": reading.rate_hz,
        "labels": labels,
        "units": units,
        "left_out": dict(sorted(reading.left_out.items())),
        "filters_left_out": list(reading.filters_left_out),
        "warnings": list(reading.warnings),
        "findings": list(reading.findings),
    }


def _rows(
    card: TaskCard, recording: Recording, reading: Reading, dtype: str
) -> Iterator[tuple[Segment, dict[str, Any]]]:
    """Rows of the windows; what fails in making them is the recording's fault."""
    with blamed_on(recording.path):
        for segment, signal in reading.windows:
            yield segment, encode_row(card, recording, segment, signal, dtype)
