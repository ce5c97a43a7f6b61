"""Ranges of EDF, BDF and Neuroscan headers: do they make a scale, and do samples lie in them?

A channel whose range contradicts itself, or its samples, has no scale that anybody knows. Such a
channel is there and cannot be used, as one without a unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .cnt_header import read_cnt_header
from .header_fields import MOST_PHYSICAL, RecordingError
from .signal_checks import SignalError
from .visible_text import MOST_NAMES, listed

NO_SCALE = "its header gives no scale"
RANGE_REMEDY = "Write the true digital and physical range into the header, or leave them out."
_LOOKS, _LOOK_BYTES = 8, 2**16
_SLACK = 1
"""Counts by which samples may lie outside of their range: headers say -32767 where -32768 is."""


def range_fault(digital: Sequence[float], physical: Sequence[float], sample_bytes: int) -> str:
    """Why the ranges of a signal make no scale; "" where they do.

    The physical one may fall: that is how the format turns a polarity round.
    """
    limit = 2.0 ** (8 * sample_bytes - 1)  # one more than there is: some writers count so
    low, high = digital
    if not -limit - 1 <= low < high <= limit:
        return (
            f"digital range: expected two rising numbers of {8 * sample_bytes} bits, found "
            f"{low:g} to {high:g}"
        )
    low, high = physical
    if not (max(abs(low), abs(high)) <= MOST_PHYSICAL and low != high and math.isfinite(high)):
        return (
            "physical range: expected two different numbers of not more than "
            f"{MOST_PHYSICAL:g}, found {low:g} to {high:g}"
        )
    return ""


def range_faults(raw: Any) -> dict[int, str]:
    """Channels of an MNE Raw of EDF, BDF or Neuroscan files that have no scale, with the reason.

    Of the signal a few records are looked at, at most 64 KiB of a file; the rest
    when it is read (:func:`check_samples`).
    """
    kind = type(raw).__name__
    files = zip(raw.filenames, raw._raw_extras, raw._read_picks, strict=True)
    found: dict[int, str] = {}
    for path, extras, picks in files if kind in ("RawEDF", "RawBDF", "RawCNT") else ():
        of_file = _cnt_faults(path) if kind == "RawCNT" else _edf_faults(path, extras)
        found |= {
            row: f"{NO_SCALE}: {of_file[pick]}" for row, pick in enumerate(picks) if pick in of_file
        }
    return found


def _edf_faults(path: Any, extras: dict[str, Any]) -> dict[int, str]:
    """By place among the channels that the reader opened."""
    digital = np.stack([extras["digital_min"], extras["digital_max"]], axis=1)  # (channels, 2)
    physical = np.stack([extras["physical_min"], extras["physical_max"]], axis=1)
    width = int(extras["dtype_byte"])
    pairs = enumerate(zip(digital.tolist(), physical.tolist(), strict=True))
    faults = {row: fault for row, pair in pairs if (fault := range_fault(*pair, width))}
    seen = _extremes(path, extras, width)
    if seen is None:
        return faults
    low, high = (values[extras["sel"]] for values in seen)
    outside = (low < digital[:, 0] - _SLACK) | (high > digital[:, 1] + _SLACK)
    for row in np.flatnonzero(outside).tolist():
        text = f"samples from {low[row]} to {high[row]} lie outside its digital range, "
        text += "{:g} to {:g}".format(*digital[row])
        faults.setdefault(row, text)
    return faults


def sample_limits(raw: Any) -> np.ndarray | None:
    """Lowest and highest value (channels, 2) that an EDF or BDF file on disk can hold, in volt.

    By the digital ranges of its header; NaN for channels that MNE resamples. None: another format,
    several files, or a signal in memory, which may have been changed.
    """
    if type(raw).__name__ not in ("RawEDF", "RawBDF") or len(raw.filenames) != 1 or raw.preload:
        return None
    extras, picks = raw._raw_extras[0], np.asarray(raw._read_picks[0])
    own = picks < len(extras["sel"])  # others were added
    at = picks[own]
    digital = np.stack([extras["digital_min"], extras["digital_max"]], axis=1)[at]  # (own, 2)
    digital = np.sort(digital, axis=1) + np.array([-1.0, 1.0]) * _SLACK
    volt = digital * extras["cal"][at, None] + extras["offsets"][at, None]
    volt *= extras["units"][at, None]
    volt[np.asarray(extras["n_samps"])[extras["sel"][at]] != extras["max_samp"]] = np.nan
    limits = np.full((len(picks), 2), np.nan)
    limits[own] = np.sort(volt, axis=1)
    return limits


def check_samples(signal: np.ndarray, limits: np.ndarray, names: Sequence[str]) -> None:
    """Raise where samples (channels, samples) lie outside of what a file can hold.

    Raises
    ------
    SignalError
        Its header is wrong, or the file is damaged.
    """
    if not signal.shape[1]:
        return
    outside = (signal.min(axis=1) < limits[:, 0]) | (signal.max(axis=1) > limits[:, 1])
    if outside.any():
        shown = listed([names[row] for row in np.flatnonzero(outside)], MOST_NAMES)
        raise SignalError(
            f"Expected samples within the digital range of the header, found others in {shown}: "
            f"{NO_SCALE}. {RANGE_REMEDY}"
        )


def _extremes(path: Any, extras: dict[str, Any], width: int) -> tuple[np.ndarray, ...] | None:
    """Lowest and highest sample of every signal (signals,) in a few records; None: no such file."""
    samples = np.asarray(extras["n_samps"], dtype=np.int64)
    if path is None or not Path(path).is_file() or not len(samples) or samples.min() < 1:
        return None
    record, records = int(samples.sum()), int(extras["n_records"])
    share = max(1, _LOOK_BYTES // (len(samples) * width))  # of a signal, where records are long
    whole = record * width <= _LOOK_BYTES
    sizes = samples if whole else np.minimum(samples, share)
    count = max(1, min(_LOOKS, _LOOK_BYTES // (int(sizes.sum()) * width)))
    places = np.unique(np.linspace(0, records - 1, count).astype(np.int64))
    begins = np.concatenate([[0], np.cumsum(samples)[:-1]])
    spans = [(0, record)] if whole else list(zip(begins.tolist(), sizes.tolist(), strict=True))
    data = bytearray()
    with open(path, "rb", buffering=0) as file:
        for place in places.tolist():
            for begin, size in spans:
                file.seek(int(extras["data_offset"]) + (place * record + begin) * width)
                data += file.read(size * width)
    per_record = int(sizes.sum())
    if len(data) != len(places) * per_record * width:  # it was cut off since
        return None
    values = _decoded(data, width).reshape(len(places), per_record)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return tuple(
        of_two.reduceat(of_two.reduce(values, axis=0), starts)
        for of_two in (np.minimum, np.maximum)
    )


def _decoded(data: bytes | bytearray, width: int) -> np.ndarray:
    """Samples of 16 or 24 bit."""
    if width == 2:
        return np.frombuffer(data, "<i2")
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4")[:, 0] >> 8


def _cnt_faults(path: Any) -> dict[int, str]:
    """By place in the file."""
    try:
        header = read_cnt_header(path)
    except (RecordingError, TypeError):  # said where the file is opened
        return {}
    return {row: f"calibration {scale:g}" for row, scale in enumerate(header.scales)
            if header.no_scale(row)}  # fmt: skip
