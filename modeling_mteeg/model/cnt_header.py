"""Headers of Neuroscan ``.cnt`` files, checked against the file's real size.

The offsets are those of the Neuroscan header as MNE-Python's reader documents them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .header_fields import (
    MOST_CHANNELS,
    MOST_PHYSICAL,
    begin_header,
    check_rate,
    expect,
    plain_text,
    read_bytes,
)

_CNT_FIXED, _CNT_PER_CHANNEL = 900, 75
_NEARLY = 0.05
_COUNTS = 204.8


@dataclass(frozen=True)
class CntHeader:
    """What a Neuroscan ``.cnt`` header says.

    Parameters
    ----------
    channels : int
    rate_hz : int
    sample_bytes : int
        2 or 4: whichever the stated number of samples makes of the signal part; where neither
        fits, what the block behind the signal says, and 2 where there is none.
    data_bytes : int
        Size of the signal part.
    labels : tuple of str
        Of every channel.
    stated : int
        Samples a channel, as the header says; often 0, overflowed, or a few too many.
    has_events : bool
        Whether the header says where the table of events begins, which ends the signal.
    scales : tuple of float
        Sensitivity times calibration of every channel: 204.8 times its microvolt per count.
    """

    channels: int
    rate_hz: int
    sample_bytes: int
    data_bytes: int
    labels: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    stated: int = 0
    has_events: bool = True

    @property
    def samples(self) -> int:
        """Samples a channel that the signal part holds."""
        return self.data_bytes // (self.sample_bytes * self.channels)

    @property
    def duration_s(self) -> float:
        """Seconds of signal."""
        return self.data_bytes / (self.sample_bytes * self.channels * self.rate_hz)

    def no_scale(self, channel: int) -> bool:
        """Whether sensitivity times calibration of a channel makes no scale of an amplifier."""
        counts = 2.0 ** (8 * self.sample_bytes - 1)
        return not 0 < abs(self.scales[channel]) / _COUNTS * counts <= MOST_PHYSICAL

    def check_signals(self, path: str | Path, wanted: Sequence[int]) -> None:
        """Raise :class:`RecordingError` where a wanted channel has no usable scale or rate."""
        check_rate(Path(path), self.rate_hz)
        wrong = [f"{self.labels[i]} ({self.scales[i]:g})" for i in wanted if self.no_scale(i)]
        fault = (
            "calibration: expected numbers other than 0 that leave a channel below a kilovolt, "
            f"found {', '.join(wrong)}"
        )
        expect(not wrong, Path(path), fault)


def read_cnt_header(path: str | Path) -> CntHeader:
    """Read and check the header of a Neuroscan ``.cnt`` file; see :func:`read_edf_header`."""
    path = Path(path)
    size, fixed = begin_header(path, _CNT_FIXED, "a .cnt header")
    right = fixed.startswith(b"Version")
    expect(right, path, f"begins with {fixed[:12]!r}; expected 'Version 3.0' of Neuroscan")
    (channels,) = struct.unpack_from("<H", fixed, 370)
    (rate_hz,) = struct.unpack_from("<H", fixed, 376)
    (events_at,) = struct.unpack_from("<I", fixed, 886)
    (samples,) = struct.unpack_from("<I", fixed, 864)
    many = f"the header says {channels} channels; expected 1 to {MOST_CHANNELS}"
    expect(1 <= channels <= MOST_CHANNELS, path, many)
    expect(rate_hz >= 1, path, f"the header says a rate of {rate_hz} Hz")
    data_at = _CNT_FIXED + _CNT_PER_CHANNEL * channels
    short = f"{size} bytes long, but {channels} channels need {data_at} for names"
    expect(size > data_at, path, short)
    # The table of events follows the signal; 0 or a place beyond 4 GB: no such table is used.
    end = size
    if events_at:
        early = f"its events begin at byte {events_at}, before its signal"
        expect(events_at >= data_at, path, early)
        width = _cnt_width(path, fixed, samples, (events_at - data_at) / channels)
        second_bytes = width * channels * rate_hz
        expect(
            events_at <= size or size >= 2**32,
            path,
            f"the header promises a signal of {(events_at - data_at) / second_bytes:g} s, the file "
            f"holds {(size - data_at) / second_bytes:g} s: it is incomplete",
        )
        end = min(size, events_at)
    table = read_bytes(path, data_at)[_CNT_FIXED:]
    blocks = [table[at : at + _CNT_PER_CHANNEL] for at in range(0, len(table), _CNT_PER_CHANNEL)]
    labels = tuple(plain_text(block[:10].split(b"\0")[0]) for block in blocks)
    scales = tuple(
        struct.unpack_from("<f", block, 59)[0] * struct.unpack_from("<f", block, 71)[0]
        for block in blocks
    )
    width = _cnt_width(path, fixed, samples, (end - data_at) / channels)
    return CntHeader(
        channels, rate_hz, width, end - data_at, labels, scales, samples, bool(events_at)
    )


def _cnt_width(path: Path, fixed: bytes, stated: int, channel_bytes: float) -> int:
    """Bytes a sample, 2 or 4, of a channel that takes ``channel_bytes``."""
    for width in (2, 4):  # a number that is a few samples off still tells 2 from 4
        if stated and abs(channel_bytes / (stated * width) - 1) < _NEARLY:
            return width
    # As EEGLAB's loadcnt tells: the block that the header calls the next file flags 32 bit.
    (next_at,) = struct.unpack_from("<I", fixed, 12)
    if next_at:
        with open(path, "rb") as file:
            file.seek(next_at + 52)
            if file.read(1) == b"\x01":
                return 4
    return 2
