"""Label files beside recordings: times that overlap, leave holes or lie outside, unknown labels."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from itertools import pairwise
from pathlib import Path

from .edf import Edf, listed_notes

_STAGES = {f"Sleep stage {name}" for name in "1234WR?"} | {"Movement time"}
_CLASSES = ("rest", "press")
_SEIZURE = re.compile(r"Seizure(?: \d+)? (Start|End) Time:\s*(.*?) seconds?\s*$", re.M | re.I)
_WHOLE = re.compile(r"\d{1,9}")


def labels(folder: Path, layout: str, recording: Path) -> list[str]:
    """What contradicts between a recording and the label files of its layout."""
    reader = _READERS.get(layout)
    if reader is None:
        return []
    try:
        return reader(folder, recording)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [f"a label file cannot be read: {type(error).__name__}"]


def _seconds(path: Path) -> float:
    """Length of an EDF file by its records; infinite where it is unreadable."""
    try:
        file = Edf(path, path.read_bytes())
        return file.held * file.record_s if file.signals and file.sized else math.inf
    except OSError:
        return math.inf


def _number(text: str) -> float:
    try:
        return float(text) if len(text) < 30 else math.nan
    except ValueError:
        return math.nan


def _tuev(folder: Path, recording: Path) -> list[str]:
    found, seconds = [], _seconds(recording)
    path = recording.with_suffix(".rec")
    for line, row in enumerate(path.read_text("ascii").splitlines(), 1):
        if not row.strip():
            continue
        parts = [part.strip() for part in row.split(",")]
        if len(parts) != 4:
            found.append(f"line {line} has {len(parts)} parts")
            continue
        channel, start, end, label = parts
        if not (_WHOLE.fullmatch(channel) and 0 <= int(channel) <= 21):
            found.append(f"line {line}: channel {channel[:20]!r}")
        if not (_WHOLE.fullmatch(label) and 1 <= int(label) <= 6):
            found.append(f"line {line}: label {label[:20]!r}")
        first, last = _number(start), _number(end)
        if not 0 <= first < last <= seconds + 1:
            found.append(f"line {line}: {first:g} to {last:g} s of {seconds:g} s")
    return found


def _chb_mit(folder: Path, recording: Path) -> list[str]:
    path = recording.parent / f"{recording.name[:5]}-summary.txt"
    text, found, names = path.read_text("utf-8"), [], []
    rate = re.search(r"Sampling Rate:\s*(\S+) Hz", text)
    for block in re.split(r"^File Name:", text, flags=re.M)[1:]:
        name = block.split("\n", 1)[0].strip()
        names.append(name)
        seconds = _seconds(recording.parent / name) if name in _there(recording.parent) else None
        times = {kind: [value for which, value in _SEIZURE.findall(block)
                        if which.capitalize() == kind]
                 for kind in ("Start", "End")}  # fmt: skip
        stated = re.search(r"Number of Seizures in File:\s*(\S*)", block)
        count = stated[1] if stated else "none"
        if not (count == str(len(times["Start"])) == str(len(times["End"]))):
            found.append(f"{name}: {count[:20]} seizures, {len(times['Start'])} starts")
        spans = sorted(zip(map(_number, times["Start"]), map(_number, times["End"]), strict=False))
        if any(not 0 <= start < end for start, end in spans):
            found.append(f"{name}: a seizure that does not last: {spans}")
        if any(after[0] < before[1] for before, after in pairwise(spans)):
            found.append(f"{name}: seizures overlap: {spans}")
        if seconds is not None and any(end > seconds + 1 for _, end in spans):
            found.append(f"{name}: a seizure beyond {seconds:g} s: {spans}")
    found += [f"{name} stands twice" for name in sorted(set(names)) if names.count(name) > 1]
    if recording.name not in names:
        found.append(f"{recording.name} is not named")
    file = Edf(recording, recording.read_bytes())
    if rate and file.signals and file.sized and file.record_s > 0:
        own = max(file.samples) / file.record_s
        if abs(own - _number(rate[1])) > 0.01 * own:
            found.append(f"{rate[1][:20]} Hz by the summary, {own:g} Hz by the header")
    return found


def _there(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _sleep_edf(folder: Path, recording: Path) -> list[str]:
    found = []
    for path in recording.parent.glob(f"{recording.name[:7]}?-Hypnogram.edf"):
        if not path.is_file():
            return [f"{path.name} cannot be read"]
        file = Edf(path, path.read_bytes())
        if not (file.signals and file.sized):
            return [f"{path.name} has no header"]
        body = len(path.read_bytes()) - 256 * (file.signals + 1)
        if file.records not in (-1, body / file.record_bytes):
            found.append(f"{path.name}: {body} bytes, {file.records:g} records stated")
        if file.header_bytes != 256 * (file.signals + 1):
            found.append(f"{path.name}: a header of {file.header_bytes:g} bytes")
        found += _stages(path.name, sorted(listed_notes(file)), _seconds(recording))
    return found


def _stages(name: str, notes: list[tuple[float, float, str]], seconds: float) -> list[str]:
    found = [f"{name}: stage {text!r}" for _, _, text in notes if text not in _STAGES]
    if not notes:
        return [f"{name}: no stage"]
    for (start, length, _), (after, _, _) in pairwise(notes):
        if abs(start + length - after) > 0.5:
            what = "overlap" if start + length > after else "leave a hole"
            found.append(f"{name}: stages {what} at {after:g} s")
    if notes[0][0] < 0 or any(length <= 0 for _, length, _ in notes):
        found.append(f"{name}: a stage before the start, or of no length")
    scored = [start + length for start, length, text in notes if text != "Sleep stage ?"]
    if scored and max(scored) > seconds + 30:
        found.append(f"{name}: a stage to {max(scored):g} s of {seconds:g} s")
    return found


def _seed_v(folder: Path, recording: Path) -> list[str]:
    try:
        times = json.loads((folder / "trial_times.json").read_text("utf-8"))["3"]
        starts, ends = list(map(float, times["start"])), list(map(float, times["end"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return ["trial_times.json has no times of session 3"]
    ordered = [time for pair in zip(starts, ends, strict=False) for time in pair]
    if len(starts) != 15 or len(ends) != 15 or not all(map(math.isfinite, ordered)):
        return [f"{len(starts)} starts and {len(ends)} ends of trials"]
    if ordered != sorted(ordered) or ordered[0] < 0:
        return ["trials overlap"]
    return [] if ordered[-1] <= 25 else [f"trials to {ordered[-1]:g} s of 25 s"]


def _table(path: Path, mark: str) -> list[list[str]]:
    text = path.read_text("utf-8-sig")
    csv.field_size_limit(2**24)
    return [row for row in csv.reader(io.StringIO(text), delimiter=mark) if row]


def _labelled_table(folder: Path, recording: Path) -> list[str]:
    rows = _table(folder / "labels.csv", ",")
    if not rows or not {"file", "subject", "label"} <= set(rows[0]):
        return ["labels.csv lacks a column"]
    head, found, files = rows[0], [], []
    if len(set(head)) < len(head):
        found.append("a column stands twice")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            found.append(f"line {line} has {len(row)} cells of {len(head)}")
            continue
        entry = dict(zip(head, row, strict=True))
        files.append(entry["file"])
    found += [f"{name} stands twice" for name in sorted(set(files)) if files.count(name) > 1]
    return found


def _bids(folder: Path, recording: Path) -> list[str]:
    found, seconds = [], _seconds(recording)
    path = recording.with_name(recording.name.replace("_eeg.edf", "_events.tsv"))
    rows = _table(path, "\t")
    if not rows or not {"onset", "duration", "trial_type"} <= set(rows[0]):
        return [f"{path.name} lacks a column"]
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            found.append(f"{path.name}: line {line} has {len(row)} cells")
            continue
        entry = dict(zip(rows[0], row, strict=True))
        onset = _number(entry["onset"])
        length = 0.0 if entry["duration"] == "n/a" else _number(entry["duration"])
        if not (math.isfinite(onset) and math.isfinite(length) and length >= 0):
            found.append(f"{path.name}: line {line}: {entry['onset'][:20]}, "
                         f"{entry['duration'][:20]}")  # fmt: skip
        elif entry["trial_type"] in _CLASSES and not 0 <= onset <= onset + length <= seconds + 1:
            found.append(f"{path.name}: line {line}: {onset:g} for {length:g} s of {seconds:g} s")
    return found


def channels_table(path: Path, recording: Path) -> list[str]:
    """What contradicts between a BIDS ``channels.tsv`` and the header of its EDF file."""
    try:
        rows = _table(path, "\t")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [f"{path.name} cannot be read ({type(error).__name__})"]
    if not rows or "name" not in rows[0]:
        return [f"{path.name} lacks the names"]
    at, file = rows[0].index("name"), Edf(recording, recording.read_bytes())
    names = [row[at] for row in rows[1:] if len(row) > at]
    found = [f"{path.name}: {name} stands twice" for name in names if names.count(name) > 1]
    strange = set(names) ^ {label for label, note in zip(file.labels, file.is_note, strict=True)
                            if not note}  # fmt: skip
    return found + [f"{path.name} and the header do not agree on {sorted(strange)}"] * bool(strange)


_READERS = {
    "tuev": _tuev, "chb-mit": _chb_mit, "sleep-edf": _sleep_edf, "seed-v": _seed_v,
    "table": _labelled_table, "bids": _bids,
}  # fmt: skip
