"""Headers of EDF and BDF files, checked against the file's real size.

A header is a stranger's claim. It is read here before any library allocates memory by it: numbers
must be numbers, sizes must fit each other, and the samples it promises must be in the file. Only
the header itself is read, at most :data:`MOST_CHANNELS` entries of it.

A preparation refuses a file that is not as long as its header says: a download can be repeated. Who
wants an answer gets what the file holds, and a sentence on what is missing (``whole=False``).

Sources: the EDF and EDF+ specifications (Kemp et al. 1992; Kemp and Olivan 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .channel_units import VOLT_UNITS, labels_with_unit
from .findings import Finding
from .header_fields import (
    LEAST_RATE_HZ,
    MOST_CHANNELS,
    MOST_RATE_HZ,
    RecordingError,
    RecordingWarning,
    begin_header,
    check_rate,
    column,
    expect,
    number,
    plain_text,
    range_columns,
    read_bytes,
)
from .record_times import ANNOTATIONS, has_time
from .signal_ranges import range_fault
from .visible_text import MOST_NAMES, listed

__all__ = ["EdfHeader", "RecordingError", "RecordingWarning", "read_edf_header"]
_SAMPLE_BYTES = {".edf": 2, ".bdf": 3}
_FIXED, _PER_SIGNAL = 256, 256


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
    rest_bytes : int
        Bytes behind the last whole record.
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
    rest_bytes: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds of signal."""
        return self.records * self.record_s

    @property
    def sample_bytes(self) -> int:
        """Bytes a sample: 2, of BDF 3."""
        return self.record_bytes // sum(self.samples)

    @property
    def has_signal(self) -> bool:
        """Whether there is anything but annotations."""
        return any(label not in ANNOTATIONS for label in self.labels)

    def count_finding(self, file: str) -> Finding | None:
        """What is odd where the header states another number of records than there are."""
        if self.promised == self.records and self.rest_bytes:
            return Finding(
                "more-records",
                f"{file}: {self.rest_bytes} bytes behind its last record, which no record explains "
                "and nobody reads.",
            )
        if self.promised == self.records:
            return None
        read = f"read by its size: {self.duration_s:g} s"
        if self.promised < 1:
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
                f"{path.name}: the header gives no unit of voltage for "
                f"{listed(unknown, MOST_NAMES)}; write the physical dimension (uV) into the header."
            )
        self._check_ranges(path, wanted)
        rates = {self.labels[i]: self.samples[i] / self.record_s for i in wanted}
        if len(set(rates.values())) > 1:
            raise RecordingError(
                f"{path.name}: the task's channels have different rates: "
                + listed([f"{label} {rate:g} Hz" for label, rate in rates.items()], MOST_NAMES)
                + "; resample them to one."
            )
        check_rate(path, max(rates.values(), default=LEAST_RATE_HZ))

    def _check_ranges(self, path: Path, wanted: Sequence[int]) -> None:
        """Every wanted signal needs a range, or it has no scale."""
        for index in wanted:
            fault = range_fault(self.digital[index], self.physical[index], self.sample_bytes)
            kind, _, rest = fault.partition(": ")
            expect(not fault, path, f"{kind} of {self.labels[index]}: {rest}")


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
    size, fixed = begin_header(path, _FIXED, "an EDF header")
    expect(
        fixed[:8].strip() in (b"0", b"\xffBIOSEMI"),
        path,
        f"begins with {fixed[:8]!r}; expected the version 0 of EDF or BIOSEMI of BDF",
    )
    signals = int(number(path, "number of signals", fixed[252:256], 1, MOST_CHANNELS, int))
    stated = number(path, "size of the header", fixed[184:192], 0, 2**31, int)
    header_bytes = _FIXED + signals * _PER_SIGNAL
    expect(
        stated == header_bytes,
        path,
        f"the header says it has {stated} bytes, but {signals} signals make {header_bytes}",
    )
    shorter = f"{size} bytes long, shorter than its header of {header_bytes} bytes"
    expect(size >= header_bytes, path, shorter)
    promised = _promised_records(path, fixed[236:244], 1 if whole else 0)
    record_s = number(path, "duration of a data record", fixed[244:252], 0.0, 1e6)
    table = read_bytes(path, header_bytes)[_FIXED:]
    labels = tuple(part.decode("latin-1").strip() for part in column(table, signals, 0, 16))
    units = tuple(part.decode("latin-1").strip() for part in column(table, signals, 96, 8))
    samples = tuple(
        int(number(path, f"samples per record of {label}", part, 1, 2**24, int))
        for label, part in zip(labels, column(table, signals, 216, 8), strict=True)
    )
    sample_bytes = 3 if fixed[0] == 0xFF else 2  # BDF has 24 bits, EDF 16
    _check_suffix(path, sample_bytes)
    record_bytes = sum(samples) * sample_bytes
    held, rest = divmod(size - header_bytes, record_bytes)
    _check_records(path, held if promised < 0 or not whole else promised, record_s, labels, samples,
                   held)  # fmt: skip
    physical, digital = range_columns(table, signals, 104), range_columns(table, signals, 120)
    header = EdfHeader(
        held, record_s, labels, units, samples, digital, physical, header_bytes, record_bytes,
        start=plain_text(fixed[168:184]), promised=promised, rest_bytes=rest,
        continuous=not fixed[192:236].startswith((b"EDF+D", b"BDF+D")),
    )  # fmt: skip
    _check_samples(path, header)
    expect(not (whole and rest and promised >= 0), path,
           f"{rest} bytes behind its last record, which no record explains")  # fmt: skip
    return header


def _promised_records(path: Path, part: bytes, least: int) -> int:
    """Number of records that the header states: ``least`` or more, or -1; 0 counts nothing."""
    what = "number of data records"
    return -1 if plain_text(part) == "-1" else int(number(path, what, part, least, 2**31, int))


def _check_suffix(path: Path, sample_bytes: int) -> None:
    """Readers tell 16 bit from 24 by the name of a file."""
    expected = _SAMPLE_BYTES.get(path.suffix.lower(), sample_bytes)
    kind = "BDF (24 bit)" if sample_bytes == 3 else "EDF (16 bit)"
    fault = f"named {path.suffix}, but it begins as a file of {kind}; rename it, or else"
    expect(expected == sample_bytes, path, fault)


def _check_samples(path: Path, header: EdfHeader) -> None:
    """Raise where every record is longer or shorter than its signals by the same few samples.

    A file that was cut, or goes on, can lack or have as many by chance. It did where no signal
    would be of the size of another with so many more; and where times of records tell, by those.
    """
    size, samples = header.record_bytes, header.samples
    off_bytes = (header.records - header.promised) * size + header.rest_bytes
    if header.promised < 1 or not off_bytes % size:
        return  # nothing is odd, or whole records lack
    off, rest = divmod(off_bytes, header.promised * header.sample_bytes)
    if rest or abs(off) > max(samples):
        return
    if any(label in ANNOTATIONS for label in header.labels):
        by_chance = has_time(path, header, header.records - 1)
    else:
        by_chance = not any(count + off in samples for count in samples)
    expect(
        by_chance,
        path,
        f"its {header.promised} records have {sum(samples) + off} samples each, the signals of its "
        f"header make {sum(samples)}: the number of samples of a signal is wrong",
    )


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
    expect(record_s > 0 or not most, path, "its data records last 0 s though it has signals")
    expect(
        most <= MOST_RATE_HZ * record_s,
        path,
        f"{most} samples in {record_s:g} s are more than {MOST_RATE_HZ} Hz",
    )
    expect(
        held == records,
        path,
        f"the header promises {records} data records ({records * record_s:g} s), the file "
        f"holds {held} ({held * record_s:g} s): "
        + ("it is incomplete" if held < records else "its header is wrong"),
    )
    expect(held > 0, path, "the file ends before its first data record")
