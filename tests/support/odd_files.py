"""EDF and BDF files field by field, so that any field can be odd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

_HIGH_UV = 3276.7


def time_stamps(onsets_s: Sequence[float], text: bytes = b"") -> list[bytes]:
    """The annotations of every record: its own onset, and in the first one a text at 0.5 s."""
    lists = [f"+{onset:g}\x14\x14\0".encode() for onset in onsets_s]
    if text:
        lists[0] += b"+0.5\x14" + text + b"\x14\0"
    return lists


def as_stored(signal_uv: np.ndarray) -> np.ndarray:
    """The microvolt that the 16 bits of :func:`write_odd_edf` keep."""
    return np.rint(signal_uv / _HIGH_UV * (2**15 - 1)) / (2**15 - 1) * _HIGH_UV


def write_odd_edf(
    path: Path,
    signal_uv: np.ndarray,
    names: Sequence[str],
    rate_hz: int,
    *,
    kind: str = "",
    stated: int | None = None,
    stamps: Sequence[bytes] = (),
) -> Path:
    """Write (channels, samples) as records of a second; BDF where the path ends so.

    Parameters
    ----------
    kind : str
        The reserved field: ``EDF+C``, ``EDF+D``, ``BDF+D`` or nothing.
    stated : int or None
        The number of records in the header; None: the right one.
    stamps : sequence of bytes
        Annotations of every record; none: the file has no annotation signal.
    """
    wide = path.suffix == ".bdf"
    high, width, size = (2**23 - 1, 3, 40) if wide else (2**15 - 1, 2, 60)
    records, channels = signal_uv.shape[1] // rate_hz, len(names)
    extra = [("BDF" if wide else "EDF") + " Annotations"] if stamps else []
    count = channels + len(extra)

    def text(value: object, length: int) -> bytes:
        return str(value).encode("ascii").ljust(length)[:length]

    head = (b"\xffBIOSEMI" if wide else text(0, 8)) + text("X X X X", 80)
    head += text("Startdate 01-JAN-2001 X X X", 80) + text("01.01.0108.00.00", 16)
    head += text(256 * (count + 1), 8) + text(kind, 44)
    head += text(records if stated is None else stated, 8) + text(1, 8) + text(count, 4)
    columns = (
        ([*names, *extra], 16), ([""] * count, 80), (["uV"] * channels + [""] * len(extra), 8),
        ([-_HIGH_UV] * channels + [-1] * len(extra), 8),
        ([_HIGH_UV] * channels + [1] * len(extra), 8),
        ([-high] * count, 8), ([high] * count, 8), ([""] * count, 80),
        ([rate_hz] * channels + [size] * len(extra), 8), ([""] * count, 32),
    )  # fmt: skip
    head += b"".join(text(value, length) for values, length in columns for value in values)
    digits = np.rint(signal_uv[:, : records * rate_hz] / _HIGH_UV * high).astype("<i4")
    body = []
    for record in range(records):
        part = digits[:, record * rate_hz : (record + 1) * rate_hz]  # (channels, rate)
        body.append(part.copy().view(np.uint8).reshape(-1, 4)[:, :width].tobytes())
        if stamps:
            body.append(stamps[record].ljust(size * width, b"\0"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"".join(body))
    return path
