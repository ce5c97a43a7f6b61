"""The stretches of one recording as one Arrow file, and what says that it is whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modeling_mteeg.data import cut_stretches, encode_stretch, stretch_features, window_patches
from modeling_mteeg.dataset_scripts.locking import write_whole
from modeling_mteeg.dataset_scripts.unlabelled.layouts import Source, UnlabelledRecording
from modeling_mteeg.dataset_scripts.unlabelled.stretch_reading import (
    Signal,
    UnlikeChannels,
    read_signal,
)
from modeling_mteeg.dataset_scripts.unlabelled.stretch_settings import UnlabelledSettings
from modeling_mteeg.model.file_faults import blamed_on
from modeling_mteeg.model.findings import sentences
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.settings.disk_faults import writing

RATE_HZ = 200


@dataclasses.dataclass
class Outcome:
    """What became of a recording.

    Parameters
    ----------
    key, subject : str
    status : {"used", "skipped", "excluded", "left-out"}
        ``skipped``: it cannot be used; ``excluded``: it is a test recording of another corpus;
        ``left-out``: its source does not use it, or it is a copy.
    reason : str
        Why it is not used.
    sha256 : str
        Of what its files hold: :func:`~.unlabelled.digests.digest_of`.
    channels : list of str
    left_out : list of str
        Channels that are not used, each with the reason.
    window_s : int
        Seconds of the longest window.
    seconds, rate_hz : float
        Length and rate as recorded.
    notes : list of str
        What is odd about it though it is used.
    """

    key: str
    subject: str = ""
    status: str = "used"
    reason: str = ""
    sha256: str = ""
    channels: list[str] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)
    window_s: int = 0
    seconds: float = 0.0
    rate_hz: float = 0.0
    notes: list[str] = dataclasses.field(default_factory=list)


def part_path(folder: Path, key: str) -> Path:
    """Where a recording's part lies."""
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.arrow"


def write_part(
    source: Source,
    recording: UnlabelledRecording,
    digest: str,
    folder: Path,
    settings: UnlabelledSettings,
) -> Outcome:
    """Write a recording's part, unless a whole one of these settings and this file is there.

    Until the whole preparation is done, a recording that could not be used is tried again, for the
    fault may have been the disk's.
    """
    known = _known(recording, digest, folder, settings)
    if known is not None:
        return known
    outcome = Outcome(recording.key, recording.subject, sha256=digest)
    part = part_path(folder, recording.key)
    try:
        _write(outcome, source, recording, part, settings)
    except RecordingError as error:
        outcome.status, outcome.reason = "skipped", str(error)
        part.unlink(missing_ok=True)
    size = part.stat().st_size if outcome.status == "used" else 0
    described = {"bytes": size, "outcome": dataclasses.asdict(outcome)}
    described["settings"] = _made_from(recording, settings)
    write_whole(part.with_suffix(".json"), json.dumps(described))
    return outcome


def _made_from(recording: UnlabelledRecording, settings: UnlabelledSettings) -> str:
    """Hash of all but the file that decides what a part holds."""
    names = [sorted(recording.rename.items()), list(recording.drop), recording.part]
    sidecars = recording.sidecars_digest
    text = json.dumps([settings.key(), recording.subject, names, *([sidecars] if sidecars else [])])
    return hashlib.sha256(text.encode()).hexdigest()


def _known(
    recording: UnlabelledRecording, digest: str, folder: Path, settings: UnlabelledSettings
) -> Outcome | None:
    """A whole part's outcome; None where there is none."""
    part = part_path(folder, recording.key)
    try:
        known: dict[str, Any] = json.loads(part.with_suffix(".json").read_text("utf-8"))
        outcome = Outcome(**known["outcome"])
        whole = part.stat().st_size == known["bytes"] and known["settings"] == _made_from(
            recording, settings
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = outcome.key == recording.key and outcome.sha256 == digest
    return outcome if whole and same and outcome.status == "used" else None


def _write(
    outcome: Outcome,
    source: Source,
    recording: UnlabelledRecording,
    part: Path,
    settings: UnlabelledSettings,
) -> None:
    """Write the stretches of the channels whose amplitudes are of one unit, and note what was read.

    Every channel that is left out changes what the others are compared with, so it is looked again.
    """
    unlike: dict[str, float] = {}
    while True:
        with blamed_on(recording.path):
            signal = read_signal(source, recording, settings.notch_hz, unlike)
        outcome.seconds, outcome.rate_hz = signal.seconds, signal.info.rate_hz
        outcome.channels, outcome.left_out = list(signal.channels), list(signal.left_out)
        outcome.notes = list(signal.notes)
        outcome.window_s = _window_s(recording, signal, settings)
        try:
            _write_stretches(outcome, recording, signal, part, settings.dtype)
            outcome.notes += sentences(signal.mains.findings())
            return
        except UnlikeChannels as more:
            if more.ratios.keys() <= unlike.keys():
                raise RecordingError(
                    f"{recording.path.name}: no two channels have amplitudes of one unit."
                ) from more
            unlike |= more.ratios


def _write_stretches(
    outcome: Outcome, recording: UnlabelledRecording, signal: Signal, part: Path, dtype: str
) -> None:
    from datasets.arrow_writer import ArrowWriter

    temporary = part.with_suffix(f".arrow.{os.getpid()}")
    try:
        features = stretch_features(_whole_seconds(signal, outcome.window_s))
        with ArrowWriter(features=features, path=str(temporary), writer_batch_size=1) as writer:
            for row in _rows(outcome, recording, signal, dtype):
                with writing(part):
                    writer.write(row)
            with writing(part):
                writer.finalize()
                os.replace(temporary, part)
    finally:
        temporary.unlink(missing_ok=True)


def _rows(
    outcome: Outcome, recording: UnlabelledRecording, signal: Signal, dtype: str
) -> Iterator[dict[str, Any]]:
    """Rows of the stretches; what fails in making them is the recording's fault."""
    names, key, subject = signal.channels, outcome.key, outcome.subject
    with blamed_on(recording.path, UnlikeChannels):
        for onset_s, own_s, values in _stretches(signal, outcome.window_s):
            yield encode_stretch(values, names, key, subject, onset_s, own_s, dtype)


def _whole_seconds(signal: Signal, window_s: int) -> bool:
    """Whether every stretch will begin at a whole second."""
    return all(
        (part.onset_s + first / RATE_HZ).is_integer()
        for part in signal.parts
        for first, last in part.runs
        if last - first >= window_s * RATE_HZ
    )


def _window_s(recording: UnlabelledRecording, signal: Signal, settings: UnlabelledSettings) -> int:
    """Seconds of the longest window."""
    channels = len(signal.channels)
    window_s = window_patches(channels, settings.max_patches, settings.max_seconds)
    if not window_s:
        raise RecordingError(
            f"{recording.path.name}: {channels} channels are more than the {settings.max_patches} "
            "patches of a window; raise --max-patches."
        )
    if signal.samples < window_s * RATE_HZ:
        pieces = sum(len(part.runs) for part in signal.parts)
        usable = f", {signal.samples / RATE_HZ:g} s of it usable at once" if pieces != 1 else ""
        raise RecordingError(
            f"{recording.path.name}: {signal.seconds:g} s long{usable}, shorter than a window of "
            f"{window_s} s of its {channels} channels; a smaller --max-seconds would take it."
        )
    return window_s


def _stretches(signal: Signal, window_s: int) -> Iterator[tuple[float, int, np.ndarray]]:
    """Onset in seconds, seconds owned and values of every stretch; one is held at a time."""
    check = signal.amplitude_check()
    for part in signal.parts:
        runs = [run for run in part.runs if run[1] - run[0] >= window_s * RATE_HZ]
        if not runs:
            continue
        blocks = signal.filtered(part, check)
        tape = _Tape(blocks, len(signal.channels))
        for first, last in runs:
            for start, stop, own_s in cut_stretches(last - first, window_s):
                values = tape.take(first + start, first + stop)
                yield part.onset_s + (first + start) / RATE_HZ, own_s, values
        for _ in blocks:  # nothing is left but the checks at the end
            pass
    check.finish()


class _Tape:
    """Samples of a signal that comes in blocks; what was passed by is let go.

    Parameters
    ----------
    blocks : iterator of numpy.ndarray
        (channels, n) each.
    channels : int
    """

    def __init__(self, blocks: Iterator[np.ndarray], channels: int) -> None:
        self._blocks, self._first = blocks, 0
        self._values = np.empty((channels, 0), np.float32)

    def take(self, start: int, stop: int) -> np.ndarray:
        """(channels, stop - start); starts never go back."""
        # What of the last stretch belongs to this one, too; then blocks until it is whole.
        held = [self._values[:, start - self._first :]]
        behind = self._first + self._values.shape[1]  # where the next block begins
        while behind < stop:
            block = next(self._blocks)
            held.append(block[:, max(0, start - behind) :])
            behind += block.shape[1]
        self._values, self._first = np.concatenate(held, axis=1), start
        return self._values[:, : stop - start]
