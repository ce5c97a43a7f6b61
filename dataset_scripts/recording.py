"""Recordings, segments and windows: the words in which corpora speak of what they hold."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modeling_mteeg.model.edf_annotations import Mark
from modeling_mteeg.model.findings import Finding
from modeling_mteeg.model.record_parts import Part
from modeling_mteeg.model.recording_headers import RecordingWarning


@dataclass(frozen=True)
class Recording:
    """One recording of a corpus as it was downloaded.

    Parameters
    ----------
    key : str
        Unique name, independent of the folder it lies in, such as ``S001R04``.
    subject : str
        Who was recorded.
    path : Path
        The signal's file.
    companions : tuple of Path
        Other files that are read with it (annotations).
    group : str
        Part of the corpus's own division, such as ``train/normal``.
    left_out : str
        Why the protocol does not use it; empty: it is used.
    fault : str
        Why it cannot be used although the protocol would; empty: nothing known yet.
    repeated : bool
        Whether it is a copy of another one, and so has no place in the split.
    data : Path, optional
        The file with the samples, where ``path`` is only a header.
    """

    key: str
    subject: str
    path: Path
    companions: tuple[Path, ...] = ()
    group: str = ""
    left_out: str = ""
    fault: str = ""
    repeated: bool = False
    data: Path | None = None

    @property
    def signal_file(self) -> Path:
        """Where the samples are: ``data``, else ``path``."""
        return self.data or self.path

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (self.path, *self.companions)


@dataclass(frozen=True)
class Recorded:
    """The signal of a recording as it was stored, and what is known of it.

    Parameters
    ----------
    signal_uv : numpy.ndarray
        float64 (channels, samples) in microvolt; gaps are closed in it.
    rate_hz : float
    parts : tuple of Part
        Stretches without a gap or a joint; empty: all of it is one.
    marks : tuple of Mark
        Annotations, in seconds from the recording's start.
    findings : tuple of Finding
        What is odd about the file.
    """

    signal_uv: np.ndarray
    rate_hz: float
    parts: tuple[Part, ...] = ()
    marks: tuple[Mark, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", (Part(0, self.signal_uv.shape[1], 0.0),))

    def part_uv(self, part: Part) -> np.ndarray:
        """Signal (channels, samples) of one part; the whole one, not a copy, where it is all."""
        return self.signal_uv[:, part.start : part.stop]


@dataclass(frozen=True)
class Segment:
    """Where a window lies in a preprocessed recording.

    Parameters
    ----------
    start : int
        First sample at the card's rate, counted from the recording's start; pauses count.
    label : str
        Class name.
    unit : str
        Smallest part of the recording that the split keeps together (a trial); empty: the
        recording.
    part : int
        Number of the recording's part that it lies in (``dataset_scripts.part_spans``).
    """

    start: int
    label: str
    unit: str = ""
    part: int = 0


@dataclass(frozen=True)
class Reading:
    """A recording, read, preprocessed and about to be cut.

    Parameters
    ----------
    windows : iterator of (Segment, numpy.ndarray)
        Signals float32 (channels, samples) in microvolt at the card's rate.
    left_out : Counter
        Reasons and numbers of windows left out.
    seconds, rate_hz : float
        Length and rate of the recording.
    filters_left_out : tuple of str
        Filters that cannot be applied at this rate, a sentence each.
    warnings : tuple of str
        What is odd about the signal though it is used (:mod:`.soundness`).
    findings : tuple of str
        Codes of what was found (:data:`modeling_mteeg.model.findings.POLICIES`).
    """

    windows: Iterator[tuple[Segment, np.ndarray]]
    left_out: Counter[str]
    seconds: float
    rate_hz: float
    filters_left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def visible_files(folder: Path, pattern: str) -> Iterator[Path]:
    """Files below a folder that match, without hidden ones such as a Mac writes beside others."""
    return (path for path in folder.rglob(pattern) if not path.name.startswith("."))


def mark_repeated(recordings: Sequence[Recording]) -> list[Recording]:
    """Sorted by key; of recordings with one key all but the first (by path) carry a fault."""
    ordered = sorted(recordings, key=lambda recording: (recording.key, recording.path.as_posix()))
    first: dict[str, Path] = {}
    result = []
    for recording in ordered:
        if recording.key in first:
            fault = (
                f"{recording.path.name}: a second file of recording {recording.key}, beside "
                f"{first[recording.key]}; keep one of the two."
            )
            key, subject = f"{recording.key}~{len(result)}", recording.subject
            recording = Recording(key, subject, recording.path, fault=fault, repeated=True)
        else:
            first[recording.key] = recording.path
        result.append(recording)
    return result


def windows_in_order(start: int, stop: int, length: int, label: str, unit: str = "") -> list:
    """Segments of ``length`` samples without overlap in [start, stop)."""
    return [Segment(at, label, unit) for at in range(start, stop - length + 1, length)]


def recording_warnings(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """Texts of the warnings about a recording; the others are given on."""
    texts = []
    for warning in caught:
        if issubclass(warning.category, RecordingWarning):
            texts.append(str(warning.message))
        else:
            place = warning.filename, warning.lineno
            warnings.warn_explicit(warning.message, warning.category, *place)
    return tuple(dict.fromkeys(texts))
