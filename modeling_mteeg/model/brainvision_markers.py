"""Marker files of BrainVision recordings (``.vmrk``) against the signal that they mark.

MNE leaves out what it cannot read of them, without a word.

Source: BrainVision Core Data Format 1.0 (Brain Products 2019).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .brainvision_header import sections_of
from .findings import Finding
from .header_fields import RecordingError
from .text_files import read_text_file
from .visible_text import listed

_MARKER = re.compile(r"mk\d+")
_INTERVAL = re.compile(r"^SamplingInterval\s*=\s*(\d*\.?\d+)", re.M | re.I)
_MARKERS = re.compile(r"^MarkerFile=(.+)$", re.M | re.I)


def marker_finding(path: Path, samples: int) -> Finding | None:
    """What is odd about a file of markers.

    Parameters
    ----------
    path : pathlib.Path
        The marker file.
    samples : int
        Of the signal.

    Returns
    -------
    Finding or None
        It cannot be read, or some of its markers: they lie outside the signal, are no markers, or
        have a number that stands there twice.
    """
    try:
        sections, repeated = sections_of(read_text_file(path).decode("latin-1"))
    except RecordingError as error:
        return Finding("sidecar", f"{error} The recording is used without its markers.")
    odd = [f"{key} stands there twice" for key in repeated]
    for key, value in sections.get("marker infos", {}).items():
        fault = _fault(value, samples)
        if not _MARKER.fullmatch(key) or fault:
            odd.append(f"{key}: {fault or 'no marker'}")
    if not odd:
        return None
    text = f"{path.name}: {listed(odd)}; the signal has {samples} samples."
    return Finding("sidecar", text, "Mend the markers where they are wrong.")


def _fault(value: str, samples: int) -> str:
    """Why an entry is no marker within the signal; "" where it is one."""
    parts = value.split(",")
    try:
        place, length = int(parts[2]), int(parts[3])
    except (IndexError, ValueError):
        return "no place and length"
    # Counted from 1; eego's exporter writes 0 for the first sample, which MNE takes for it, too.
    if not (0 <= place <= samples and length >= 0 and place + length <= samples + 1):
        return f"{length} samples from {place} on"
    return ""


def _header_file(raw: Any) -> Path:
    """The header of a BrainVision recording of one file."""
    header = (getattr(raw, "_init_kwargs", None) or {}).get("vhdr_fname")
    return Path(header) if header else Path(raw.filenames[0]).with_suffix(".vhdr")


def stored_rate_hz(raw: Any) -> float | None:
    """The rate that a recording's header states; a Raw may have been resampled."""
    header = _header_file(raw)
    text = header.read_bytes().decode("latin-1") if header.is_file() else ""
    interval_us = _INTERVAL.search(text)
    return 1e6 / float(interval_us[1]) if interval_us else None


def marker_file(raw: Any) -> Path | None:
    """The marker file of a BrainVision recording that is of one file, as its header names it."""
    files = [Path(file) for file in getattr(raw, "filenames", ()) or () if file]
    if type(raw).__name__ != "RawBrainVision" or len(files) != 1:
        return None
    header = _header_file(raw)
    named = _MARKERS.search(header.read_bytes().decode("latin-1")) if header.is_file() else None
    beside = [header.with_suffix(".vmrk"), files[0].with_suffix(".vmrk")]
    if named:
        text = named[1].strip().encode("latin-1").decode("utf-8", "replace")
        beside.insert(0, header.parent / text.replace("$b", header.stem))
    return next((path for path in beside if path.is_file()), None)
