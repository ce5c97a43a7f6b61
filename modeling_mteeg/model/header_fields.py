"""Fields of a file's header: read, checked, and refused in one sentence.

A header is a stranger's claim. Numbers must be numbers, and sizes fit each other, before anything
is allocated by them.
"""

from __future__ import annotations

import math
from pathlib import Path

from .visible_text import PlainError

LEAST_RATE_HZ = 50
"""EEG is recorded at 100 Hz and more. A header that says 0.1 Hz would make hours of signal out of a
few samples, and more memory than any machine has."""
MOST_RATE_HZ = 100_000
MOST_CHANNELS = 2048
"""More than any EEG amplifier records; a larger number is a broken header."""
MOST_PHYSICAL = 1e9
"""End of a channel's range, in its own unit: a kilovolt in microvolt. No EEG amplifier has it."""


class RecordingError(PlainError):
    """A recording that cannot be used; the message names the file, the fault and the remedy."""


class RecordingWarning(UserWarning):
    """What is odd about a recording that is used.

    Readers raise it with :func:`warnings.warn`. Those of preparations say ``kind: details``, for
    the report: :meth:`~modeling_mteeg.dataset_scripts.corpus.Corpus.read` collects it.
    """


def check_rate(path: Path, rate_hz: float) -> None:
    """Raise unless a rate is one of EEG."""
    claim = f"a rate of {rate_hz:g} Hz by its header; expected {LEAST_RATE_HZ} to {MOST_RATE_HZ}"
    expect(LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ, path, claim)


def begin_header(path: Path, count: int, what: str) -> tuple[int, bytes]:
    """Size of a file and its first ``count`` bytes, which it must have."""
    fixed, size = read_bytes(path, count), path.stat().st_size
    expect(len(fixed) == count, path, f"{size} bytes long, shorter than {what} of {count} bytes")
    return size, fixed


def read_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, ``count`` at most."""
    try:
        if not path.is_file():
            raise RecordingError(f"{path}: the file does not exist; download it again.")
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error}); look at its rights.") from error


def expect(right: bool, path: Path, fault: str) -> None:
    """Raise :class:`RecordingError` with the fault and the remedy unless all is right."""
    if not right:
        raise RecordingError(f"{path.name}: {fault}; download it again or repair it.")


def column(table: bytes, signals: int, offset: int, width: int) -> list[bytes]:
    """One field of every signal; the fields lie one kind after the other."""
    start = offset * signals
    return [table[start + i * width : start + (i + 1) * width] for i in range(signals)]


def plain_text(part: bytes) -> str:
    """Text of a field, without blanks around it."""
    return part.decode("ascii", "replace").replace("\x00", " ").strip()


def number(
    path: Path, what: str, part: bytes, low: float, high: float, kind: type = float
) -> float:
    """A number of ``kind`` from ``low`` to ``high``, as the header's text gives it."""
    text = plain_text(part)
    try:
        value = kind(text)
    except ValueError:
        value = None
    expected = "a whole number" if kind is int else "a number"
    expect(value is not None, path, f"{what}: expected {expected}, found {text!r}")
    bounds, shown = (f"{low} to {high}", value) if kind is int else (f"{low:g} to {high:g}", text)
    expect(low <= value <= high, path, f"{what}: expected {bounds}, found {shown}")
    return value


def range_columns(table: bytes, signals: int, offset: int) -> tuple[tuple[float, float], ...]:
    """(minimum, maximum) of every signal, NaN where there is no number.

    A comma counts as the point: some writers follow their country.
    """

    def number(part: bytes) -> float:
        try:
            return float(plain_text(part).replace(",", "."))
        except ValueError:
            return math.nan

    lows, highs = (column(table, signals, offset + 8 * i, 8) for i in range(2))
    return tuple((number(low), number(high)) for low, high in zip(lows, highs, strict=True))
