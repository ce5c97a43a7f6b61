"""EEGLAB sets: numbers of channels and points against the data, the rate against the times."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from .matlab import NoMatlab, read


def eeglab(path: Path) -> list[str]:
    """What contradicts in a set and its data."""
    try:
        variables = read(path.read_bytes())
        eeg = variables.get("EEG")
        if not isinstance(eeg, dict):
            return ["no struct EEG"]
        fields = {name: values[0] if values else [] for name, values in eeg.items()}
    except NoMatlab as error:
        return [str(error)]
    sizes = {name: _number(fields.get(name)) for name in ("nbchan", "pnts", "trials", "srate")}
    wrong = [f"{name} is {value}" for name, value in sizes.items()
             if not (math.isfinite(value) and value > 0)
             or (name != "srate" and value != int(value))]  # fmt: skip
    if wrong:
        return wrong
    channels, points = int(sizes["nbchan"]), int(sizes["pnts"]) * int(sizes["trials"])
    faults = _data(path, fields, channels, points)
    places = fields.get("chanlocs")
    if isinstance(places, dict) and "labels" in places and len(places["labels"]) != channels:
        faults.append(f"{channels} channels, {len(places['labels'])} places")
    first, last = _number(fields.get("xmin")), _number(fields.get("xmax"))
    if math.isfinite(first) and math.isfinite(last) and (first or last):  # two zeros state nothing
        length_s = (int(sizes["pnts"]) - 1) / sizes["srate"]
        if abs(last - first - length_s) > max(1 / sizes["srate"], 1e-6 * abs(length_s)):
            faults.append(f"{length_s:g} s by its rate, {last - first:g} s by its times")
    return faults + _events(fields.get("event"), points)


def _number(value: object) -> float:
    """A single real number; NaN: it is none."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iuf":
        return float(value.reshape(-1)[0])
    return math.nan


def _data(path: Path, fields: dict, channels: int, points: int) -> list[str]:
    data = fields.get("data")
    if isinstance(data, str):
        file = path.parent / data
        if "/" in data or not file.is_file():
            return [f"the data file {data!r} is not there"]
        if file.stat().st_size != 4 * channels * points:
            return [f"{file.stat().st_size} bytes for {channels} channels of {points} points"]
        values = np.frombuffer(file.read_bytes(), "<f4")
    elif isinstance(data, np.ndarray):
        values = data
        if values.size != channels * points or values.shape[0] != channels:
            return [f"data {values.shape} for {channels} channels of {points} points"]
    else:
        return ["no data"]
    if np.iscomplexobj(values):
        return ["complex data"]
    return [] if np.isfinite(values).all() else ["data that are not finite"]


def _events(events: object, points: int) -> list[str]:
    if not (isinstance(events, dict) and "latency" in events):
        return []
    found = []
    for latency in map(_number, events["latency"]):
        if not 0.5 <= latency < points + 1:
            found.append(f"an event at point {latency:g} of {points}")
    kinds = events.get("type", [])
    for at, duration in enumerate(map(_number, events.get("duration", []))):
        if at < len(kinds) and isinstance(kinds[at], str) and kinds[at] == "boundary":
            continue  # what was cut out may be longer than what is left
        if duration < 0 or duration > points:  # NaN: none is stated
            found.append(f"an event of {duration:g} points")
    return found
