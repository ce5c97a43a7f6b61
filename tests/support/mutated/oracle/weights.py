"""Weights, task cards, prepared folders: headers against lengths, numbers that are not finite."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np

from .checkpoints import checkpoint

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_POSITIVE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
             "patch_size", "rate_hz", "scale_uv")  # fmt: skip
"""Of configurations: numbers above 0, by whatever else is said."""


def weights(folder: Path, path: Path, layout: str) -> list[str]:
    """What contradicts in the file that was changed, and between it and its folder."""
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        return [] if layout.startswith(("checkpoint", "prepared", "predictions", "results")) else [
            f"{path.name} leads out of its folder"
        ]  # fmt: skip
    if path.suffix == ".safetensors":  # a published head is of no use to a base, and dropped
        ignored = "head." if layout.startswith("checkpoint") else None
        return safetensors(path, ignored)
    if path.suffix == ".pth":
        return checkpoint(path)
    found = _json(path) if path.suffix == ".json" else []
    return found + (_digests(folder, path) if layout == "results" else [])


def safetensors(path: Path, ignored: str | None = None) -> list[str]:
    """What contradicts in one file; numbers of ``ignored`` tensors do not matter."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        return [f"a header of {length} bytes in a file of {len(content)}"]
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_once)
        tensors = {name: one for name, one in header.items() if name != "__metadata__"}
        body = memoryview(content)[8 + length :]
        spans, found = [], []
        for name, one in tensors.items():
            begin, end = one["data_offsets"]
            size = math.prod(one["shape"]) * _BYTES.get(one["dtype"], 1)
            if not 0 <= begin <= end <= len(body) or min(one["shape"], default=1) < 0:
                found.append(f"{name} at {begin} to {end} of {len(body)}")
                continue
            if one["dtype"] in _BYTES and size != end - begin:
                found.append(f"{name}: {one['shape']} of {one['dtype']} in {end - begin} bytes")
            spans.append((begin, end))
            kind = _KINDS.get(one["dtype"])
            if ignored is not None and name.startswith(ignored):
                continue
            whole = kind and not (end - begin) % _BYTES[one["dtype"]]
            if whole and not np.isfinite(np.frombuffer(body[begin:end], kind)).all():
                found.append(f"{name} is not finite")
    except Exception as error:  # whatever a damaged header makes this trip over
        return [f"its header cannot be read ({type(error).__name__})"]
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            found.append(f"bytes {at} to {begin} are of no tensor, or of two")
        at = end
    return found + ([] if at == len(body) else [f"{len(body) - at} bytes are of no tensor"])


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _json(path: Path) -> list[str]:
    try:
        value = json.loads(path.read_text("utf-8"), object_pairs_hook=_once,
                           parse_constant=lambda name: math.nan)  # fmt: skip
    except (ValueError, RecursionError) as error:
        return [f"{path.name} is no JSON ({type(error).__name__})"]
    found = [f"{path.name}: a number that is not finite"] if _not_finite(value) else []
    if path.name in ("config.json", "preprocessor_config.json") and isinstance(value, dict):
        for name in _POSITIVE:
            number = value.get(name, 1)
            if isinstance(number, bool) or not isinstance(number, (int, float)) or number <= 0:
                found.append(f"{path.name}: {name} is {str(number)[:40]!r}")
    if not isinstance(value, dict) and path.name != "history.json":
        found.append(f"{path.name} holds no keys and values")
    return found


def _not_finite(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_not_finite, value.values()))
    if isinstance(value, list):
        return any(map(_not_finite, value))
    return isinstance(value, float) and not math.isfinite(value)


def _digests(folder: Path, path: Path) -> list[str]:
    """Of a result: the sum that ``unit.json`` has of a file beside it."""
    for unit in folder.rglob("unit.json"):
        try:
            files = json.loads(unit.read_text("utf-8"))["files"]
            name = path.relative_to(unit.parent).as_posix()
            if hashlib.sha256(path.read_bytes()).hexdigest() != files[name]["sha256"]:
                return [f"{name} is not what unit.json says"]
        except (ValueError, KeyError, TypeError, OSError, RecursionError):
            continue
    return []
