"""Headers of EDF, BDF and Neuroscan files, checked against the file's real size.

A header is a stranger's claim. It is read here before any library allocates memory by it: numbers
must be numbers, sizes must fit each other, and the samples it promises must be in the file. Only
the header itself is read, at most :data:`MOST_SIGNALS` entries of it.

A preparation refuses a file that is not as long as its header says: a download can be repeated. Who
wants an answer gets what the file holds, and a sentence on what is missing (``whole=False``).

Sources: the EDF and EDF+ specifications (Kemp et al. 1992; Kemp and Olivan 2003); for ``.cnt`` the
offsets of the Neuroscan header as MNE-Python's reader documents them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .channel_units import VOLT_UNITS, labels_with_unit
from .findings import Finding
from .record_times import ANNOTATIONS

MOST_SIGNALS = 2048
"""More than any EEG amplifier records; a larger number is a broken header."""
MOST_RATE_HZ = 100_000
LEAST_RATE_HZ = 50
"""EEG is recorded at 100 Hz and more. A header that says 0.1 Hz would make hours of signal out of a
few samples, and more memory than any machine has."""
_FIXED, _PER_SIGNAL = 256, 256
_CNT_FIXED, _CNT_PER_CHANNEL = 900, 75
_NEARLY = 0.05


class RecordingError(ValueError):
    """A recording that cannot be used; the message names the file, the fault and the remedy."""


class RecordingWarning(UserWarning):
    """What is odd about a recording that is used.

    Readers raise it with :func:`warnings.warn`. Those of preparations say ``kind: details``, for
    the report: :meth:`~dataset_scripts.corpus.Corpus.read` collects it.
    """


@dataclass(frozen=True)
class EdfHeader:
    """What an EDF or BDF header says, all of it plausible.

    Parameters
    ----------
    records : int
        Data records that the file holds whole.
    record_s : float
        Seconds per record; 0 in files of annotations only.
    labels, units : tuple of str
        Of every signal.
    samples : tuple of int
        Samples per record of every signal.
    digital, physical : tuple of (float, float)
        Ranges of every signal; NaN where the header gives no number. Signals that nobody uses may
        have none (the dummy channels of CHB-MIT): see :meth:`check_signals`.
    header_bytes, record_bytes : int
        Sizes in the file.
    start : str
        Date and time of the start, as written.
    continuous : bool
        False where the records may have gaps (EDF+D, BDF+D): their times are in
        :mod:`record_times`.
    promised : int
        Data records that the header states; -1: the recorder was switched off before it could
        count them.
    """

    records: int
    record_s: float
    labels: tuple[str, ...]
    units: tuple[str, ...]
    samples: tuple[int, ...]
    digital: tuple[tuple[float, float], ...]
    physical: tuple[tuple[float, float], ...]
    header_bytes: int
    record_bytes: int
    start: str = ""
    continuous: bool = True
    promised: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds of signal."""
        return self.records * self.record_s

    @property
    def has_signal(self) -> bool:
        """Whether there is anything but annotations."""
        return any(label not in ANNOTATIONS for label in self.labels)

    def count_finding(self, file: str) -> Finding | None:
        """What is odd where the header states another number of records than there are."""
        if self.promised == self.records:
            return None
        read = f"read by its size: {self.duration_s:g} s"
        if self.promised < 0:
            text = f"its header does not count the data records ({self.promised}); {read}."
            return Finding("record-count", f"{file}: {text}")
        promised_s = self.promised * self.record_s
        if self.promised > self.records:
            return Finding(
                "cut-off",
                f"{file}: {promised_s - self.duration_s:g} s are missing at its end: the header "
                f"promises {promised_s:g} s, the file is cut off; {read}.",
            )
        return Finding(
            "more-records", f"{file}: its header promises only {promised_s:g} s; {read}."
        )

    def check_signals(self, path: str | Path, wanted: Sequence[int]) -> None:
        """Raise :class:`RecordingError` unless the wanted signals are voltages of one rate.

        What the other signals claim does not matter, nobody reads them.
        """
        path = Path(path)
        unknown = [i for i in wanted if self.units[i] not in VOLT_UNITS]
        told = labels_with_unit(path, self.labels) if unknown else ()
        unknown = [f"{self.labels[i]} ({self.units[i]!r})" for i in unknown
                   if self.labels[i] not in told]  # fmt: skip
        if unknown:
            raise RecordingError(
                f"{path.name}: the header gives no unit of voltage for {', '.join(unknown)}; write "
                "the physical dimension (uV) into the header."
            )
        self._check_ranges(path, wanted)
        rates = {self.labels[i]: self.samples[i] / self.record_s for i in wanted}
        if len(set(rates.values())) > 1:
            raise RecordingError(
                f"{path.name}: the task's channels have different rates: "
                + ", ".join(f"{label} {rate:g} Hz" for label, rate in rates.items())
                + "; resample them to one."
            )
        _check_rate(path, max(rates.values(), default=LEAST_RATE_HZ))

    def _check_ranges(self, path: Path, wanted: Sequence[int]) -> None:
        """Every wanted signal needs a range, or it has no scale."""
        for index in wanted:
            ranges = {"digital": self.digital[index], "physical": self.physical[index]}
            for kind, (low, high) in ranges.items():
                _expect(
                    math.isfinite(low) and math.isfinite(high) and low != high,
                    path,
                    f"{kind} range of {self.labels[index]}: expected two different numbers, "
                    f"found {low:g} to {high:g}",
                )


def read_edf_header(path: str | Path, whole: bool = True) -> EdfHeader:
    """Read and check the header of an EDF, EDF+ or BDF file.

    Parameters
    ----------
    path : str or Path
    whole : bool
        Refuse a file that does not hold the data records that its header states. A header that
        states -1, as one does while a recorder runs, promises nothing.

    Raises
    ------
    RecordingError
        A field is no number or out of range, sizes contradict each other, or the file is shorter
        than the header says. At most half a megabyte is read.
    """
    path = Path(path)
    size, fixed = _begin(path, _FIXED, "an EDF header")
    _expect(
        fixed[:8].strip() in (b"0", b"\xffBIOSEMI"),
        path,
        f"begins with {fixed[:8]!r}; expected the version 0 of EDF or BIOSEMI of BDF",
    )
    signals = int(_number(path, "number of signals", fixed[252:256], 1, MOST_SIGNALS, int))
    stated = _number(path, "size of the header", fixed[184:192], 0, 2**31, int)
    header_bytes = _FIXED + signals * _PER_SIGNAL
    _expect(
        stated == header_bytes,
        path,
        f"the header says it has {stated} bytes, but {signals} signals make {header_bytes}",
    )
    shorter = f"{size} bytes long, shorter than its header of {header_bytes} bytes"
    _expect(size >= header_bytes, path, shorter)
    promised = _promised_records(path, fixed[236:244])
    record_s = _number(path, "duration of a data record", fixed[244:252], 0.0, 1e6)
    table = _read(path, header_bytes)[_FIXED:]
    labels = tuple(part.decode("latin-1").strip() for part in _column(table, signals, 0, 16))
    units = tuple(part.decode("latin-1").strip() for part in _column(table, signals, 96, 8))
    samples = tuple(
        int(_number(path, f"samples per record of {label}", part, 1, 2**24, int))
        for label, part in zip(labels, _column(table, signals, 216, 8), strict=True)
    )
    record_bytes = sum(samples) * (3 if fixed[0] == 0xFF else 2)  # BDF has 24 bits, EDF 16
    held = (size - header_bytes) // record_bytes
    _check_records(path, held if promised < 0 or not whole else promised, record_s, labels, samples,
                   held)  # fmt: skip
    physical, digital = _ranges(table, signals, 104), _ranges(table, signals, 120)
    return EdfHeader(
        held, record_s, labels, units, samples, digital, physical, header_bytes, record_bytes,
        start=_text(fixed[168:184]), promised=promised,
        continuous=not fixed[192:236].startswith((b"EDF+D", b"BDF+D")),
    )  # fmt: skip


def _promised_records(path: Path, part: bytes) -> int:
    """Number of records that the header states: 1 or more, or -1."""
    what = "number of data records"
    return -1 if _text(part) == "-1" else int(_number(path, what, part, 1, 2**31, int))


def _check_records(
    path: Path,
    records: int,
    record_s: float,
    labels: Sequence[str],
    samples: Sequence[int],
    held: int,
) -> None:
    """Records of a possible rate, as many as the file has room for (``held``)."""
    most = max(
        (n for n, label in zip(samples, labels, strict=True) if label not in ANNOTATIONS), default=0
    )
    _expect(record_s > 0 or not most, path, "its data records last 0 s though it has signals")
    _expect(
        most <= MOST_RATE_HZ * record_s,
        path,
        f"{most} samples in {record_s:g} s are more than {MOST_RATE_HZ} Hz",
    )
    _expect(
        held == records,
        path,
        f"the header promises {records} data records ({records * record_s:g} s), the file "
        f"holds {held} ({held * record_s:g} s): "
        + ("it is incomplete" if held < records else "its header is wrong"),
    )
    _expect(held > 0, path, "the file ends before its first data record")


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

    def check_signals(self, path: str | Path, wanted: Sequence[int]) -> None:
        """Raise :class:`RecordingError` where a wanted channel has no usable scale or rate."""
        _check_rate(Path(path), self.rate_hz)
        wrong = [f"{self.labels[i]} ({self.scales[i]:g})" for i in wanted
                 if not (math.isfinite(self.scales[i]) and self.scales[i])]  # fmt: skip
        fault = f"calibration: expected finite numbers other than 0, found {', '.join(wrong)}"
        _expect(not wrong, Path(path), fault)


def read_cnt_header(path: str | Path) -> CntHeader:
    """Read and check the header of a Neuroscan ``.cnt`` file; see :func:`read_edf_header`."""
    path = Path(path)
    size, fixed = _begin(path, _CNT_FIXED, "a .cnt header")
    right = fixed.startswith(b"Version")
    _expect(right, path, f"begins with {fixed[:12]!r}; expected 'Version 3.0' of Neuroscan")
    (channels,) = struct.unpack_from("<H", fixed, 370)
    (rate_hz,) = struct.unpack_from("<H", fixed, 376)
    (events_at,) = struct.unpack_from("<I", fixed, 886)
    (samples,) = struct.unpack_from("<I", fixed, 864)
    many = f"the header says {channels} channels; expected 1 to {MOST_SIGNALS}"
    _expect(1 <= channels <= MOST_SIGNALS, path, many)
    _expect(rate_hz >= 1, path, f"the header says a rate of {rate_hz} Hz")
    data_at = _CNT_FIXED + _CNT_PER_CHANNEL * channels
    short = f"{size} bytes long, but {channels} channels need {data_at} for names"
    _expect(size > data_at, path, short)
    # The table of events follows the signal; 0 or a place beyond 4 GB: no such table is used.
    end = size
    if events_at:
        early = f"its events begin at byte {events_at}, before its signal"
        _expect(events_at >= data_at, path, early)
        width = _cnt_width(path, fixed, samples, (events_at - data_at) / channels)
        second_bytes = width * channels * rate_hz
        _expect(
            events_at <= size or size >= 2**32,
            path,
            f"the header promises a signal of {(events_at - data_at) / second_bytes:g} s, the file "
            f"holds {(size - data_at) / second_bytes:g} s: it is incomplete",
        )
        end = min(size, events_at)
    table = _read(path, data_at)[_CNT_FIXED:]
    blocks = [table[at : at + _CNT_PER_CHANNEL] for at in range(0, len(table), _CNT_PER_CHANNEL)]
    labels = tuple(_text(block[:10].split(b"\0")[0]) for block in blocks)
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


def _check_rate(path: Path, rate_hz: float) -> None:
    claim = f"a rate of {rate_hz:g} Hz by its header; expected {LEAST_RATE_HZ} to {MOST_RATE_HZ}"
    _expect(LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ, path, claim)


def _begin(path: Path, count: int, what: str) -> tuple[int, bytes]:
    """Size of a file and its first ``count`` bytes, which it must have."""
    fixed, size = _read(path, count), path.stat().st_size
    _expect(len(fixed) == count, path, f"{size} bytes long, shorter than {what} of {count} bytes")
    return size, fixed


def _read(path: Path, count: int) -> bytes:
    try:
        if not path.is_file():
            raise RecordingError(f"{path}: the file does not exist; download it again.")
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error}); look at its rights.") from error


def _expect(right: bool, path: Path, fault: str) -> None:
    """Raise :class:`RecordingError` with the fault and the remedy unless all is right."""
    if not right:
        raise RecordingError(f"{path.name}: {fault}; download it again or repair it.")


def _column(table: bytes, signals: int, offset: int, width: int) -> list[bytes]:
    """One field of every signal; the fields lie one kind after the other."""
    start = offset * signals
    return [table[start + i * width : start + (i + 1) * width] for i in range(signals)]


def _text(part: bytes) -> str:
    return part.decode("ascii", "replace").replace("\x00", " ").strip()


def _number(
    path: Path, what: str, part: bytes, low: float, high: float, kind: type = float
) -> float:
    """A number of ``kind`` from ``low`` to ``high``, as the header's text gives it."""
    text = _text(part)
    try:
        value = kind(text)
    except ValueError:
        value = None
    expected = "a whole number" if kind is int else "a number"
    _expect(value is not None, path, f"{what}: expected {expected}, found {text!r}")
    bounds, shown = (f"{low} to {high}", value) if kind is int else (f"{low:g} to {high:g}", text)
    _expect(low <= value <= high, path, f"{what}: expected {bounds}, found {shown}")
    return value


def _ranges(table: bytes, signals: int, offset: int) -> tuple[tuple[float, float], ...]:
    """(minimum, maximum) of every signal, NaN where there is no number."""

    def number(part: bytes) -> float:
        try:
            return float(_text(part))
        except ValueError:
            return math.nan

    lows, highs = (_column(table, signals, offset + 8 * i, 8) for i in range(2))
    return tuple((number(low), number(high)) for low, high in zip(lows, highs, strict=True))
