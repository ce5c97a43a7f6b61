"""The stretches of one recording as one Arrow file, and what says that it is whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from modeling_mteeg.data import cut_stretches, encode_stretch, stretch_features, window_patches

from ..headers import RecordingError
from .reading import Signal, read_signal
from .settings import UnlabelledSettings
from .sources import Source, UnlabelledRecording

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
        Of its files.
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


def digest_of(recording: UnlabelledRecording) -> str:
    """SHA-256 of a recording's file; of several files, of their hashes in order."""
    hashes = []
    for path in recording.files:
        if path.is_dir():
            continue
        with open(path, "rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


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

    A recording that could not be used is tried again, for the fault may have been the disk's.
    """
    known = _known(recording, digest, folder, settings)
    if known is not None:
        return known
    outcome = Outcome(recording.key, recording.subject, sha256=digest)
    part = part_path(folder, recording.key)
    try:
        signal = read_signal(source, recording, settings.notch_hz)
        outcome.seconds, outcome.rate_hz = signal.seconds, signal.rate_hz
        outcome.channels, outcome.left_out = list(signal.channels), list(signal.left_out)
        outcome.notes = list(signal.notes)
        outcome.window_s = _write(recording, signal, part, settings)
    except (RecordingError, OSError) as error:
        outcome.status, outcome.reason = "skipped", str(error)
        part.unlink(missing_ok=True)
    size = part.stat().st_size if outcome.status == "used" else 0
    text = {"settings": settings.key(), "bytes": size, "outcome": dataclasses.asdict(outcome)}
    described = part.with_suffix(".json")
    temporary = described.with_suffix(f".json.{os.getpid()}")
    temporary.write_text(json.dumps(text), "utf-8")
    os.replace(temporary, described)
    return outcome


def _known(
    recording: UnlabelledRecording, digest: str, folder: Path, settings: UnlabelledSettings
) -> Outcome | None:
    """A whole part's outcome; None where there is none."""
    part = part_path(folder, recording.key)
    try:
        known: dict[str, Any] = json.loads(part.with_suffix(".json").read_text("utf-8"))
        outcome = Outcome(**known["outcome"])
        whole = part.stat().st_size == known["bytes"] and known["settings"] == settings.key()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = outcome.key == recording.key and outcome.sha256 == digest
    return outcome if whole and same and outcome.status == "used" else None


def _write(
    recording: UnlabelledRecording, signal: Signal, part: Path, settings: UnlabelledSettings
) -> int:
    """Write the stretches; returns the seconds of the longest window."""
    from datasets.arrow_writer import ArrowWriter

    channels, samples = signal.values.shape
    window_s = window_patches(channels, settings.max_patches, settings.max_seconds)
    if not window_s:
        raise RecordingError(
            f"{recording.path.name}: {channels} channels are more than the {settings.max_patches} "
            "patches of a window; raise --max-patches."
        )
    if samples < window_s * RATE_HZ:
        raise RecordingError(
            f"{recording.path.name}: {signal.seconds:g} s long, shorter than a window of "
            f"{window_s} s of its {channels} channels; a smaller --max-seconds would take it."
        )
    temporary = part.with_suffix(f".arrow.{os.getpid()}")
    features = stretch_features()
    with ArrowWriter(features=features, path=str(temporary), writer_batch_size=4) as writer:
        for start, stop, own_s in cut_stretches(samples, window_s):
            writer.write(
                encode_stretch(
                    signal.values[:, start:stop], signal.channels, recording.key,
                    recording.subject, start // RATE_HZ, own_s, settings.dtype,
                )
            )  # fmt: skip
        writer.finalize()
    os.replace(temporary, part)
    return window_s
