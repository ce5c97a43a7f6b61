"""Changes of files of weights: safetensors, and what ``torch.save`` writes."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

from .changes import Changed, Rng, pick, shown
from .text_changes import json_value

_WRONG = (float("nan"), float("inf"), -float("inf"), 3e38)
_KINDS = ("F64", "F16", "BF16", "I32", "U8", "BOOL", "I64", "F8_E4M3", "X9", "")


def safetensors(content: bytes, rng: Rng) -> Changed:
    """The header of a safetensors file, its length, or numbers."""
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    names = sorted(name for name in header if name != "__metadata__")
    kind = rng.random()
    if kind < 0.1:
        wrong = int(pick(rng, (0, 1, length - 1, length + 1, 2**32, 2**63 - 1, 5 * 2**20)))
        return Changed(struct.pack("<Q", wrong) + content[8:], f"length of the header: {wrong}")
    name = pick(rng, names)
    one = header[name]
    if kind < 0.4:
        begin, end = one["data_offsets"]
        count = int(pick(rng, (1, 1, 16, (end - begin) // 4)))
        count = max(1, min(count, (end - begin) // 4))
        at = begin + 4 * int(rng.integers(max(1, (end - begin) // 4 - count + 1)))
        value = pick(rng, _WRONG)
        numbers = struct.pack("<f", value) * count
        body = body[:at] + numbers + body[at + 4 * count :]
        return Changed(content[: 8 + length] + body, f"{count} numbers of {name}: {value!r}")
    if kind < 0.5:
        other = pick(rng, names)
        header[name], header[other] = header[other], header[name]
        note = f"{name} and {other} exchanged"
    elif kind < 0.6:
        one["dtype"] = pick(rng, _KINDS)
        note = f"type of {name}: {one['dtype']}"
    elif kind < 0.75:
        old = list(one["shape"])
        shapes = ([], [0], [-1], old[::-1], [*old, 1], [1, *old], [2**40], [int(np.prod(old))],
                  [10**30], ["3"], None, [size * 2 for size in old])  # fmt: skip
        one["shape"] = pick(rng, shapes)
        note = f"shape of {name}: {shown(one['shape'])}"
    elif kind < 0.85:
        begin, end = one["data_offsets"]
        offsets = ([begin, end + 4], [begin - 4, end], [end, begin], [0, 2**62], [begin, begin],
                   [-8, 0], [begin])  # fmt: skip
        one["data_offsets"] = pick(rng, offsets)
        note = f"place of {name}: {shown(one['data_offsets'])}"
    elif kind < 0.9:
        del header[name]
        note = f"{name} gone"
    else:
        header, note = json_value(header, rng)
    text = json.dumps(header).encode()
    return Changed(struct.pack("<Q", len(text)) + text + body, f"header: {note}")


class _Called:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


_OF_A_TENSOR = ("not finite", "not finite", "stride 0", "empty", "shape", "type", "no tensor",
                "gone", "more", "key", "sparse")  # fmt: skip
_OF_THE_FILE = ("bytearray", "call", "levels", "module")


def _tensors(rng: Rng) -> tuple[dict, str, str]:
    """Content with a published state dict that is none of a sound file; note; what it declares."""
    from .weight_originals import published

    state = published()
    kind = pick(rng, (*_OF_A_TENSOR, *_OF_THE_FILE))
    if kind in _OF_A_TENSOR:
        name = pick(rng, sorted(state))
        declares = _tensor(state, name, kind, rng)
        return {"model": state}, f"{kind} {name}", declares
    if kind == "bytearray":
        return {"model": state, "x": _Called(bytearray, 6 * 10**9)}, kind, "6 GB are claimed"
    if kind == "call":
        return {"model": state, "x": _Called(Path.touch, Path("/tmp/never-made"))}, kind, "code"
    if kind == "levels":
        deep: object = 1
        for _ in range(200):
            deep = [deep]
        return {"model": state, "x": deep}, kind, ""
    return {"model": pick(rng, (None, [state], {"model": state}, 3, {}))}, kind, ""


def _tensor(state: dict, name: str, kind: str, rng: Rng) -> str:
    """Change one tensor of a state dict; what that declares."""
    import torch

    old = state[name]
    if kind == "not finite":
        state[name] = old.clone()
        state[name].view(-1)[int(rng.integers(old.numel()))] = pick(rng, _WRONG[:3])
        # No base has the published head.
        return "" if name.startswith("head.") else f"weights are not finite: {name}"
    if kind == "stride 0":
        state[pick(rng, (name, "more.weight"))] = torch.zeros(1).expand(10**10)
        return "a tensor claims 40 GB that the file does not hold"
    if kind == "empty":
        empty = pick(rng, (name, "blocks.0.attn.q_norm.weight"))
        state[empty] = torch.zeros(0)
        return "" if empty.startswith("head.") else f"{empty} is empty"
    if kind == "shape":
        shapes = (old[None], old.reshape(-1), old.reshape(1, -1).repeat(2, 1), old.reshape(-1)[:1])
        state[name] = pick(rng, shapes).clone()
    elif kind == "type":
        types = (torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64)
        state[name] = old.to(pick(rng, types))
    elif kind == "no tensor":
        state[name] = pick(rng, (None, 3, "text", [1.0, 2.0], {"a": 1}, b"x"))
    elif kind == "gone":
        del state[name]
    elif kind == "more":
        state[pick(rng, ("more.weight", "blocks.99.attn.qkv.weight", "\x1b[31m", ""))] = old
    elif kind == "key":
        state[int(rng.integers(9))] = state.pop(name)
    else:
        state[name] = old.to_sparse()
    return ""


def torch_file(content: bytes, rng: Rng) -> Changed:
    """Another content of a ``torch.save`` file, or another form of its archive."""
    import torch

    archive = content[:2] == b"PK"
    if archive and rng.random() < 0.2:
        return _archive(content, rng)
    state, note, declares = _tensors(rng)
    written = io.BytesIO()
    try:
        torch.save(state, written, _use_new_zipfile_serialization=archive)
    except (RuntimeError, pickle.PicklingError, MemoryError) as error:
        return Changed(content[:100], f"{note}: could not be written ({type(error).__name__})")
    return Changed(written.getvalue(), note, declares)


def _archive(content: bytes, rng: Rng) -> Changed:
    """Members deflated, of 1.6 GB, twice, gone, or named otherwise."""
    kind = pick(rng, ("deflated", "large", "twice", "gone", "named", "script"))
    written, declares = io.BytesIO(), ""
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        one = pick(rng, names)
        for name in names:
            data = old.read(name)
            if kind == "gone" and name == one:
                continue
            label = f"../{name}" if kind == "named" and name == one else name
            packing = zipfile.ZIP_DEFLATED if kind in ("deflated", "large") else zipfile.ZIP_STORED
            if kind == "large" and name == one:
                declares = "a member of 1.6 GB in a file of a few MB"
                info = zipfile.ZipInfo(name)
                info.compress_type, block = packing, bytes(2**24)
                with new.open(info, "w", force_zip64=True) as file:
                    for _ in range(100):
                        file.write(block)
                continue
            new.writestr(label, data, packing)
        if kind == "twice":
            new.writestr(one + ".more", b"x")
        if kind == "script":
            new.writestr(f"{names[0].split('/')[0]}/code/__torch__.py", "1/0")
    return Changed(written.getvalue(), f"archive: {kind}, {one}", declares)
