"""Changes of label files, sidecars, BrainVision headers and JSON."""

from __future__ import annotations

import copy
import json
import re

from .changes import TEXT_NUMBERS, Changed, Rng, pick, shown

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_VALUES = (
    None, True, False, 0, 1, -1, 2, 10**9, 10**400, 0.5, -0.5, 1e308, float("nan"), float("inf"),
    "", "8", "text", "\x1b[31mred", "../../outside", "x" * 10_000, [], [1, 2], ["a"], {}, {"a": 1},
)  # fmt: skip


def lines(content: bytes, rng: Rng) -> Changed:
    """A line of a text: a number, a value behind ``=``, doubled, gone, moved."""
    rows = content.decode("utf-8", "surrogateescape").split("\n")
    full = [number for number, row in enumerate(rows) if row.strip()]
    if not full:
        return Changed(b"\n", "an empty line")
    at = int(pick(rng, full))
    kind = rng.random()
    if kind < 0.15:
        rows.insert(at, rows[at])
        note = f"line {at + 1} doubled"
    elif kind < 0.25:
        note = f"line {at + 1} gone: {shown(rows.pop(at))}"
    elif kind < 0.35:
        other = int(pick(rng, full))
        rows[at], rows[other] = rows[other], rows[at]
        note = f"lines {at + 1} and {other + 1} exchanged"
    elif kind < 0.42:
        size = int(rng.integers(1, 8))
        block = rows[at : at + size]
        rows[at:at] = block
        note = f"lines {at + 1} to {at + len(block)} doubled"
    elif kind < 0.5 and "=" in rows[at]:
        key, _, old = rows[at].partition("=")
        value = pick(rng, TEXT_NUMBERS)
        rows[at], note = f"{key}={value}", f"{key}: {shown(old)} to {shown(value)}"
    else:
        note = _number(rows, full, rng)
    return Changed("\n".join(rows).encode("utf-8", "surrogateescape"), note)


def _number(rows: list[str], full: list[int], rng: Rng) -> str:
    """Another number in a line that has one: near the old one, or of no meaning."""
    having = [number for number in full if _NUMBER.search(rows[number])] or full
    at = int(pick(rng, having))
    found = list(_NUMBER.finditer(rows[at]))
    if not found:
        rows[at] = pick(rng, TEXT_NUMBERS)
        return f"line {at + 1}: {shown(rows[at])}"
    one = pick(rng, found)
    new = pick(rng, TEXT_NUMBERS)
    if rng.random() < 0.5:
        old = float(one[0])
        moved = pick(rng, (old + 1, old - 1, old * 2, old / 2, -old, old + 0.4, old + 100, old + 7))
        new = f"{moved:g}"
    rows[at] = rows[at][: one.start()] + new + rows[at][one.end() :]
    return f"line {at + 1}: {one[0]} to {shown(new)}"


def cells(content: bytes, rng: Rng, mark: str) -> Changed:
    """A cell of a table whose columns are separated by ``mark``."""
    if rng.random() < 0.5:
        return lines(content, rng)
    rows = [row.split(mark) for row in content.decode("utf-8", "surrogateescape").split("\n")]
    full = [number for number, row in enumerate(rows) if len(row) > 1]
    if not full:
        return lines(content, rng)
    at = int(pick(rng, full))
    cell = int(rng.integers(len(rows[at])))
    kind = pick(rng, ("value", "value", "gone", "more", "exchanged", "of another row"))
    old = rows[at][cell]
    if kind == "value":
        rows[at][cell] = pick(rng, (*TEXT_NUMBERS, "n/a", "rest", "press", "other"))
        kind = shown(rows[at][cell])
    elif kind == "gone":
        del rows[at][cell]
    elif kind == "more":
        rows[at].insert(cell, old)
    elif kind == "exchanged":
        other = int(rng.integers(len(rows[at])))
        rows[at][cell], rows[at][other] = rows[at][other], old
    else:
        other = rows[int(pick(rng, full))]
        rows[at][cell] = other[min(cell, len(other) - 1)]
    text = "\n".join(mark.join(row) for row in rows)
    return Changed(text.encode("utf-8", "surrogateescape"),
                   f"line {at + 1}, cell {cell + 1}: {shown(old)} {kind}")  # fmt: skip


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Paths to all that a JSON value holds, itself first."""
    found = [path]
    if isinstance(value, dict):
        for key, part in value.items():
            found += places(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value[:20]):
            found += places(part, (*path, number))
    return found


def json_value(value: object, rng: Rng) -> tuple[object, str]:
    """A copy of a JSON value with one part of it changed, and a note."""
    value = copy.deepcopy(value)
    inner = places(value)[1:]
    if not inner or rng.random() < 0.03:
        new = pick(rng, _VALUES)
        return new, f"all of it: {shown(new)}"
    path = pick(rng, inner)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    name, old = ".".join(map(str, path)), holder[path[-1]]
    kind = rng.random()
    if kind < 0.1:
        del holder[path[-1]]
        return value, f"{name} gone"
    if kind < 0.17 and isinstance(holder, dict):
        holder[pick(rng, ("surprise", "", "auto_map", "x" * 5000))] = pick(rng, _VALUES)
        return value, f"a new key beside {name}"
    if kind < 0.4 and isinstance(old, (int, float)) and not isinstance(old, bool):
        new = pick(rng, (old + 1, old - 1, -old, old * 2, str(old), float(old), [old], old * 1000))
    elif kind < 0.25:
        new = [old]
    else:
        new = pick(rng, _VALUES)
    holder[path[-1]] = new
    return value, f"{name}: {shown(old)} to {shown(new)}"


def json_text(content: bytes, rng: Rng) -> Changed:
    """A part of a JSON file, or its form: a key twice, deep, no JSON."""
    kind = rng.random()
    if kind < 0.05:
        depth = int(pick(rng, (40, 2000, 100_000)))
        return Changed(b"[" * depth + b"]" * depth, f"{depth} levels")
    if kind < 0.1:
        text = content.decode("utf-8").rstrip()
        body = text[1:].lstrip()
        first = body.partition(",")[0]
        twice = f"{text[0]}{first},{body}".encode()
        return Changed(twice, f"the first entry twice: {shown(first)}")
    value, note = json_value(json.loads(content), rng)
    return Changed(json.dumps(value).encode(), note)
