"""Changes of fields of an EEGLAB set, and of the heads of elements of its MATLAB file."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np

from .changes import Changed, Rng, pick, shown

_NUMBERS = (0, 1, -1, 2, 1.5, 1e9, -1e9, float("nan"), float("inf"), 1e-3, "text", [], [1, 2, 3])


def eeglab(content: bytes, rng: Rng, path: Path) -> Changed:
    """A field with another value, or the type or length of an element changed."""
    if rng.random() < 0.35:
        return _element(content, rng)
    from scipy.io import savemat

    from .recording_originals import eeglab_fields, noise

    embedded = not path.with_suffix(".fdt").exists()
    data = noise(1).astype(np.float32) if embedded else path.with_suffix(".fdt").name
    fields = eeglab_fields(noise(1), data, path.stem)
    name = pick(rng, ("nbchan", "pnts", "srate", "trials", "xmax", "xmin", "data", "event",
                      "chanlocs"))  # fmt: skip
    if name == "data":
        numbers = noise(1).astype(np.float32)
        choices = (numbers[:2], numbers[:, :-7], numbers.T, numbers * np.nan, numbers[0], "x.fdt",
                   "../x.fdt", [], numbers.astype(complex), numbers.astype(np.int16))  # fmt: skip
        value = pick(rng, choices)
        note = f"{name}: {getattr(value, 'shape', value)} {getattr(value, 'dtype', '')}"
    elif name == "event":
        value = fields["event"].copy()
        at, key = int(rng.integers(len(value))), pick(rng, ("latency", "duration", "type"))
        value[key][at] = pick(rng, (-5.0, 1e9, float("nan"), 0.0, "text", [], 401.5))
        note = f"{key} of event {at}: {shown(value[key][at])}"
    elif name == "chanlocs":
        value = pick(rng, (fields["chanlocs"][:2], [], "C3", np.repeat(fields["chanlocs"], 2)))
        note = f"chanlocs: {len(value)}"
    else:
        old = fields[name]
        value = pick(rng, (*_NUMBERS, old * 2, old / 2, old + 1, old - 1))
        note = f"{name}: {shown(value)}"
    fields[name] = value
    written = io.BytesIO()
    packed = content[128:130] == b"\x0f\0"
    savemat(written, {"EEG": fields}, appendmat=False, do_compression=packed)
    return Changed(written.getvalue(), note)


def _element(content: bytes, rng: Rng) -> Changed:
    """The type or the length in the head of an element of 8-byte places."""
    data = bytearray(content)
    at = 128 + 8 * int(rng.integers(max(1, min(len(content) - 144, 4000) // 8)))
    offset = int(pick(rng, (0, 4)))
    value = int(pick(rng, (0, 1, 5, 6, 9, 14, 15, 255, 2**31 - 1, 2**32 - 1, 16, 7)))
    struct.pack_into("<I", data, at + offset, value)
    return Changed(bytes(data), f"element at {at}, byte {offset}: {value}")
