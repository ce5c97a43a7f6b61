"""Headers of BrainVision files (``.vhdr``, ``.ahdr``) against the length of the signal file.

MNE takes the number of samples from the length of the signal file alone, so a wrong number of
channels, or another format of the numbers, gives another signal without a word.

Source: BrainVision Core Data Format 1.0 (Brain Products 2019).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .findings import Finding
from .header_fields import MOST_CHANNELS, MOST_RATE_HZ, expect
from .text_files import read_text_file

_BYTES = {"INT_16": 2, "UINT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}
_CHANNEL = re.compile(r"ch\d+")
_LONGEST = 20  # digits of a number


@dataclass(frozen=True)
class BrainvisionHeader:
    """What a BrainVision header says of its signal file.

    Parameters
    ----------
    channels : int
    rows : int
        Channels that it describes.
    rate_hz : float
    points : int or None
        Samples a channel, where it says so.
    sample_bytes : int or None
        None where the format is text.
    vectorized : bool
        Whether the file holds one channel after the other, instead of one sample after the other.
    data : Path
        The signal file.
    markers : Path or None
        The file of its markers, where it names one.
    """

    channels: int
    rows: int
    rate_hz: float
    points: int | None
    sample_bytes: int | None
    vectorized: bool
    data: Path
    markers: Path | None = None


def read_brainvision_header(path: str | Path) -> BrainvisionHeader:
    """Read and check a header.

    Raises
    ------
    RecordingError
        A number is none, or none of a recording.
    """
    path = Path(path)
    text = read_text_file(path).decode("latin-1")
    sections, repeated = sections_of(text)
    twice = f"{', '.join(repeated[:5])}: stands there twice"
    expect(not repeated, path, twice)
    common, binary = sections.get("common infos", {}), sections.get("binary infos", {})
    fields = {name: _number(path, name, common.get(name.lower(), ""))
              for name in ("NumberOfChannels", "SamplingInterval")}  # fmt: skip
    channels, interval_us = fields["NumberOfChannels"], fields["SamplingInterval"]
    many = f"NumberOfChannels: expected 1 to {MOST_CHANNELS}, found {channels:g}"
    expect(1 <= channels <= MOST_CHANNELS and channels.is_integer(), path, many)
    fast = f"SamplingInterval: expected microseconds of at most {MOST_RATE_HZ} Hz, found "
    expect(1e6 / MOST_RATE_HZ <= interval_us <= 1e9, path, f"{fast}{interval_us:g}")
    points = common.get("datapoints")
    binary_format = binary.get("binaryformat", "").upper()
    data, markers = (
        path.parent / common.get(key, "").encode("latin-1").decode("utf-8", "replace")
        .replace("$b", path.stem)
        for key in ("datafile", "markerfile")
    )  # fmt: skip
    return BrainvisionHeader(
        int(channels) + (path.suffix.lower() == ".ahdr"),  # which has one that it does not name
        sum(1 for key in sections.get("channel infos", {}) if _CHANNEL.fullmatch(key)),
        1e6 / interval_us,
        _whole(path, "DataPoints", points) or None if points else None,
        _BYTES.get(binary_format) if common.get("dataformat", "").upper() == "BINARY" else None,
        common.get("dataorientation", "").upper() == "VECTORIZED",
        data,
        markers if common.get("markerfile") else None,
    )


def sections_of(text: str) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Entries by section, both in lower case, up to the comment; and keys that stand twice."""
    sections: dict[str, dict[str, str]] = {}
    entries: dict[str, str] = {}
    repeated: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            if line.lower() == "[comment]":
                break
            entries = sections.setdefault(line[1:-1].lower(), {})
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            if key.strip().lower() in entries:
                repeated.append(key.strip())
            entries[key.strip().lower()] = value.strip()
    return sections, repeated


def check_length(path: Path, header: BrainvisionHeader) -> Finding | None:
    """What is odd about the length of the signal file.

    Raises
    ------
    RecordingError
        It contradicts the number of channels or the format; or channels lie one after the other
        and it is cut off, so that nobody knows where they begin.
    """
    width, channels, points = header.sample_bytes, header.channels, header.points
    if width is None or not header.data.is_file():  # the reader says so
        return None
    size = header.data.stat().st_size
    held, rest = divmod(size, channels * width)
    if points is not None and size == points * channels * width:
        return None
    described = header.rows + (path.suffix.lower() == ".ahdr")
    expect(
        described == channels,
        path,
        f"NumberOfChannels is {channels}, it describes {described}, and its signal file "
        f"{header.data.name} has {size} bytes, which tell neither",
    )
    if points is None and not rest:
        return None
    if points is not None and held > points:
        more, uneven = divmod(size, points * width)
        expect(
            bool(uneven),
            path,
            f"its header promises {points} samples of {channels} channels of {8 * width} bit, the "
            f"signal file of {size} bytes holds so many of {more} channels, or of more bits",
        )
    expect(
        not header.vectorized,
        path,
        f"its channels lie one after the other, and its signal file of {size} bytes is not as long "
        "as they are",
    )
    read = f"read: {held / header.rate_hz:.6g} s"
    if points is None:
        return Finding(
            "cut-off",
            f"{path.name}: {rest} bytes at its end make no whole sample of its {channels} "
            f"channels: it is cut off; {read}.",
            "Are the number of channels and the format in its header right?",
        )
    if held < points:
        missing_s = (points - held) / header.rate_hz
        return Finding(
            "cut-off",
            f"{path.name}: {missing_s:.6g} s are missing at its end: it is cut off; {read}.",
        )
    promised_s = points / header.rate_hz
    return Finding("more-records", f"{path.name}: its header promises {promised_s:.6g} s; {read}.")


def _whole(path: Path, what: str, text: str) -> int:
    value = _number(path, what, text)
    expect(value.is_integer(), path, f"{what}: expected a whole number, found {text!r}")
    return int(value)


def _number(path: Path, what: str, text: str) -> float:
    try:
        value = float(text) if len(text) <= _LONGEST else None
    except ValueError:
        value = None
    expect(value is not None, path, f"{what}: expected a number, found {text[:_LONGEST]!r}")
    expect(0 <= value <= 1e15, path, f"{what}: expected a number of a recording, found {text!r}")
    return value
