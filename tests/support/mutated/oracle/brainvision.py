"""BrainVision: the header against the length of its data and the places of its markers."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

_WIDTHS = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}


def sections(text: str) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Keys and values by section, and keys that stand twice in one."""
    found: dict[str, dict[str, str]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    at = ""
    for line in text.splitlines():
        if re.fullmatch(r"\s*\[.+\]\s*", line):
            at = line.strip()[1:-1].lower()
        elif "=" in line and not line.lstrip().startswith(";"):
            key, _, value = line.partition("=")
            found.setdefault(at, {})[key.strip().lower()] = value.strip()
            counts[at, key.strip().lower()] += 1
    return found, [key for (_, key), count in counts.items() if count > 1]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def brainvision(path: Path) -> list[str]:
    """What contradicts in a header, its data and its markers."""
    found_in, twice = sections(path.read_text("utf-8", "replace"))
    common = found_in.get("common infos", {})
    faults = [f"{key} stands twice" for key in twice]
    count = _number(common.get("numberofchannels", ""))
    interval = _number(common.get("samplinginterval", ""))
    if not (1 <= count <= 1e6 and count == int(count)):
        return [*faults, f"{count} channels"]
    if not (math.isfinite(interval) and interval > 0):
        faults.append(f"a sampling interval of {interval}")
    channels = found_in.get("channel infos", {})
    wanted = {f"ch{number}" for number in range(1, int(min(count, 10_000)) + 1)}
    if set(channels) != wanted:
        faults.append(f"{count:g} channels, described {len(channels)}")
    for key, value in channels.items():
        parts = value.split(",")
        factor = parts[2] if len(parts) > 2 and parts[2] else "1"
        if not (math.isfinite(_number(factor)) and _number(factor)):
            faults.append(f"{key}: resolution {factor!r}")
    return faults + _data(path, common, found_in, count)


def _data(path: Path, common: dict, found_in: dict, count: float) -> list[str]:
    faults = []
    data = path.parent / common.get("datafile", "").replace("$b", path.stem)
    width = _WIDTHS.get(found_in.get("binary infos", {}).get("binaryformat", "").upper())
    if not data.is_file() or "/" in common.get("datafile", ""):
        return [f"data file {data.name!r} is not there"]
    if width is None:
        return ["the binary format is none"]
    size, row = data.stat().st_size, int(count) * width
    if size % row:
        faults.append(f"{size} bytes are no whole number of samples of {int(count)} channels")
    points = common.get("datapoints")
    if points and _number(points) != size / row:  # an empty one states nothing
        faults.append(f"{points} points stated, {size / row:g} there")
    markers = path.parent / common.get("markerfile", "").replace("$b", path.stem)
    if common.get("markerfile") and not markers.is_file():
        return [*faults, f"marker file {markers.name!r} is not there"]
    return faults + (_markers(markers, size // row) if common.get("markerfile") else [])


def _markers(path: Path, points: int) -> list[str]:
    found_in, twice = sections(path.read_text("utf-8", "replace"))
    faults = [f"{path.name}: {key} stands twice" for key in twice]
    for key, value in found_in.get("marker infos", {}).items():
        parts = value.split(",")
        at = _number(parts[2]) if len(parts) > 2 else math.nan
        if not (1 <= at <= points and at == int(at)):
            faults.append(f"{path.name}: {key} at point {at:g} of {points}")
        length = _number(parts[3]) if len(parts) > 3 else math.nan
        if not (length >= 0 and at + length <= points + 1):
            faults.append(f"{path.name}: {key} lasts {length:g} points from {at:g} of {points}")
    return faults
