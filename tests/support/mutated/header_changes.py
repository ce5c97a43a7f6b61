"""Changes of single fields in the binary headers of recordings."""

from __future__ import annotations

import struct

from .changes import TEXT_NUMBERS, Changed, Rng, pick, shown

_FIXED = {"version": (0, 8), "patient": (8, 80), "start date": (168, 8), "start time": (176, 8),
          "size of the header": (184, 8), "reserved": (192, 44), "records": (236, 8),
          "duration of a record": (244, 8), "signals": (252, 4)}  # fmt: skip
_COLUMNS = {"label": (0, 16), "unit": (96, 8), "physical minimum": (104, 8),
            "physical maximum": (112, 8), "digital minimum": (120, 8), "digital maximum": (128, 8),
            "samples per record": (216, 8)}  # fmt: skip
_TEXTS = {"label": ("", "EDF Annotations", "C3", "\x1b[2J", "Fp1", "\xff\xfe", "Status"),
          "unit": ("", "V", "mV", "uV", "degC", "\xb5V", "\x1b[1m"),
          "reserved": ("EDF+C", "EDF+D", "BDF+D", "", "24BIT", "EDF+X"),
          "start date": ("99.99.99", "", "31.02.01", "aa.bb.cc"),
          "start time": ("25.61.61", "", "-1.00.00"),
          "version": ("1", "", "\xffBIOSEMI", "EDF")}  # fmt: skip
_DIGITAL = ("2047", "-2048", "100", "0", "-1", "32768", "40000", "8388608", "99999999", "-9999999",
            "32767", "-32768", "1.5", "nan", "")  # fmt: skip


def edf(content: bytes, rng: Rng) -> Changed:
    """A field of an EDF or BDF header, several together, or a time stamp."""
    kind = rng.random()
    if kind < 0.12:
        return _edf_rate(content, rng)
    if kind < 0.2:
        return _edf_swapped(content, rng)
    if kind < 0.3 and b"\x14\x14\0" in content:
        return _edf_stamp(content, rng)
    if kind < 0.5:
        name = pick(rng, sorted(_FIXED))
        at, width = _FIXED[name]
        return _put(content, at, width, _edf_value(name, rng), name)
    name = pick(rng, sorted(_COLUMNS))
    offset, width = _COLUMNS[name]
    count = _count(content)
    signals = range(count) if rng.random() < 0.3 else [int(rng.integers(count))]
    value, changed = _edf_value(name, rng), Changed(content, "")
    for signal in signals:
        at = 256 + offset * count + signal * width
        changed = _put(changed.content, at, width, value, name)
    where = "all signals" if len(signals) > 1 else f"signal {signals[0]}"
    return Changed(changed.content, f"{name} of {where}: {shown(value)}")


def _count(content: bytes) -> int:
    return max(1, int(content[252:256]))


def _edf_value(name: str, rng: Rng) -> str:
    if name in _TEXTS and rng.random() < 0.8:
        return pick(rng, _TEXTS[name])
    return pick(rng, _DIGITAL if name.startswith("digital") else TEXT_NUMBERS)


def _put(content: bytes, at: int, width: int, value: str, name: str) -> Changed:
    new = value.encode("latin-1", "replace")[:width].ljust(width)
    return Changed(content[:at] + new + content[at + width :], f"{name}: {shown(value)}")


def _edf_rate(content: bytes, rng: Rng) -> Changed:
    """Another duration of a record: sizes still fit, the rate is another."""
    factor = pick(rng, (0.5, 2.0, 0.625, 1.28, 0.9, 1.001))
    duration = float(content[244:252]) * factor
    changed = _put(content, 244, 8, f"{duration:g}", "duration of a record")
    return Changed(changed.content, f"duration of a record times {factor:g}")


def _edf_swapped(content: bytes, rng: Rng) -> Changed:
    """Minimum and maximum, of one signal or of all."""
    name = pick(rng, ("digital", "physical"))
    count = _count(content)
    low, high = (_COLUMNS[f"{name} {end}imum"][0] for end in ("min", "max"))
    signals = range(count) if rng.random() < 0.5 else [int(rng.integers(count))]
    data = bytearray(content)
    for signal in signals:
        one, two = (256 + offset * count + 8 * signal for offset in (low, high))
        data[one : one + 8], data[two : two + 8] = data[two : two + 8], data[one : one + 8]
    return Changed(bytes(data), f"{name} range turned round in {len(signals)} signals")


def _edf_stamp(content: bytes, rng: Rng) -> Changed:
    """The time of one record, or of it and all later ones."""
    places = [at for at in range(len(content)) if content[at : at + 3] == b"\x14\x14\0"]
    at = int(pick(rng, places))
    start = content.rfind(b"+", 0, at)
    new = pick(rng, (b"+0", b"+5", b"+99", b"-7", b"+abc", b"+nan", b"+", b"+1e9", b"+3.3"))
    width = at - start
    if start < 0 or width > 12:
        return Changed(content[:at] + b"\0\0\0" + content[at + 3 :], f"time stamp at {at} gone")
    new = new[:width].ljust(width, b".") if b"a" not in new else new[:width].ljust(width, b"a")
    return Changed(content[:start] + new + content[at:], f"time stamp at {start}: {new!r}")


# Neuroscan ---------------------------------------------------------------------------------------

_CNT = {"next file": (12, "<i"), "channels": (370, "<H"), "rate": (376, "<H"),
        "samples": (864, "<i"), "event table": (886, "<i"), "block": (894, "<i")}  # fmt: skip
_FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1.7e38, 1e-38, -1e30, 1e9)
_WHOLE = (0, 1, 2, 3, -1, 255, 4096, 65535, 2**31 - 1, -(2**31), 1000)


def cnt(content: bytes, rng: Rng) -> Changed:
    """A field of a Neuroscan header."""
    data, channels = bytearray(content), struct.unpack_from("<H", content, 370)[0]
    if rng.random() < 0.55:
        name = pick(rng, sorted(_CNT))
        at, kind = _CNT[name]
        old = struct.unpack_from(kind, content, at)[0]
        new = int(pick(rng, (*_WHOLE, old * 2, old // 2, old + 1, old - 1)))
        new = new % 65536 if kind == "<H" else max(-(2**31), min(2**31 - 1, new))
        struct.pack_into(kind, data, at, new)
        return Changed(bytes(data), f"{name}: {old} to {new}")
    channel = int(rng.integers(channels))
    begin = 900 + 75 * channel
    name = pick(rng, ("sensitivity", "calibration", "baseline", "label"))
    if name == "label":
        value = pick(rng, (b"", b"C3", b"\x1b[2J", b"\xff" * 9, b"EKG"))
        data[begin : begin + 10] = value.ljust(10, b"\0")
    elif name == "baseline":
        value = int(pick(rng, (-32768, 32767, 1000)))
        struct.pack_into("<h", data, begin + 47, value)
    else:
        value = pick(rng, _FLOATS)
        struct.pack_into("<f", data, begin + (59 if name == "sensitivity" else 71), value)
    return Changed(bytes(data), f"{name} of channel {channel}: {value!r}")


# FIF ---------------------------------------------------------------------------------------------

_FIF_NUMBERS = {200: ("channels", ">i"), 201: ("rate", ">f"), 208: ("first sample", ">i"),
                219: ("low-pass", ">f"), 223: ("high-pass", ">f")}  # fmt: skip


def fif_tags(content: bytes) -> list[tuple[int, int, int, int]]:
    """(place, kind, type, size) of the tags, as far as they can be followed."""
    found, at = [], 0
    while at + 16 <= len(content) and len(found) < 10_000:
        kind, type_, size, following = struct.unpack_from(">iiii", content, at)
        if size < 0:
            break
        found.append((at, kind, type_, size))
        if following < 0:
            break
        at = following or at + 16 + size
        if following and following <= found[-1][0]:
            break
    return found


def fif(content: bytes, rng: Rng) -> Changed:
    """A tag of a FIF file: its head, a number that it holds, or a channel's calibration."""
    data, tags = bytearray(content), fif_tags(content)
    known = [tag for tag in tags if tag[1] in _FIF_NUMBERS]
    channels = [tag for tag in tags if tag[1] == 203]
    kind = rng.random()
    if kind < 0.3 and known:
        at, tag, *_ = pick(rng, known)
        name, form = _FIF_NUMBERS[tag]
        value = pick(rng, _FLOATS) if form == ">f" else int(pick(rng, _WHOLE))
        if form == ">f" and rng.random() < 0.4:
            value = struct.unpack_from(form, content, at + 16)[0] * float(pick(rng, (0.5, 2.0)))
        struct.pack_into(form, data, at + 16, value)
        return Changed(bytes(data), f"{name}: {value!r}")
    if kind < 0.55 and channels:
        at, *_ = pick(rng, channels)
        name, offset = pick(rng, (("range", 12), ("calibration", 16), ("unit", 72), ("kind", 8)))
        if name in ("unit", "kind"):
            value, form = int(pick(rng, _WHOLE)), ">i"
        else:
            value, form = pick(rng, _FLOATS), ">f"
        struct.pack_into(form, data, at + 16 + offset, value)
        return Changed(bytes(data), f"{name} of the channel at {at}: {value!r}")
    at, tag, *_ = pick(rng, tags)
    name, offset = pick(rng, (("kind", 0), ("type", 4), ("size", 8), ("next", 12)))
    value = int(pick(rng, _WHOLE))
    struct.pack_into(">i", data, at + offset, value)
    return Changed(bytes(data), f"{name} of the tag {tag} at {at}: {value}")


def samples(content: bytes, rng: Rng) -> Changed:
    """Samples of a file without a header: float32 or int16 that no amplifier gives."""
    data, at = bytearray(content), 4 * int(rng.integers(max(1, len(content) // 4 - 64)))
    value = pick(rng, (float("nan"), float("inf"), -float("inf"), 3e38, 1e30, 0.0))
    count = int(pick(rng, (1, 64)))
    data[at : at + 4 * count] = struct.pack("<f", value) * count
    return Changed(bytes(data), f"{count} float32 at {at}: {value!r}")
