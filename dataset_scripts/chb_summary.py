"""Summaries of CHB-MIT: which file has which seizures, and at what rate all were recorded."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from modeling_mteeg.dataset_scripts.reading import RecordingError
from modeling_mteeg.model.label_numbers import MOST_S, number_of, shown, whole_of
from modeling_mteeg.model.text_files import read_text_file

_RATE = re.compile(r"Data Sampling Rate:\s*(\S+)\s*Hz", re.IGNORECASE)
_FILE = re.compile(r"File Name:\s*(.*)", re.IGNORECASE)
_COUNT = re.compile(r"Number of Seizures in File:\s*(\S+)", re.IGNORECASE)
_TIME = re.compile(
    r"\s*Seizure(?: \d{1,4})? (Start|End) Time:\s*(\S+)\s*sec(?:onds?)?\s*", re.IGNORECASE
)
_ABOUT_TIME = re.compile(r"Seizure.*(Start|End).*Time", re.IGNORECASE)


@dataclasses.dataclass
class _Block:
    """What a summary says of one file, from a line on."""

    name: str
    line: int
    stated: int = -1
    starts: list[int] = dataclasses.field(default_factory=list)
    ends: list[int] = dataclasses.field(default_factory=list)


def read_summary(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Seizures of every file of a case.

    Parameters
    ----------
    path : Path
        ``chbNN-summary.txt``; both ``Seizure Start Time:`` and ``Seizure 1 Start Time:`` occur,
        and case 24 gives no times of its files.

    Returns
    -------
    dict
        File name to (start, end) of its seizures in seconds, in order.

    Raises
    ------
    RecordingError
        With the line: a number is none; a start has no end, or comes behind it; seizures overlap;
        their number differs from the one stated; a file is named twice and not with the same
        seizures.
    """
    seizures: dict[str, list[tuple[int, int]]] = {}
    for block in _blocks(path):
        found = _seizures(path, block)
        if seizures.setdefault(block.name, found) != found:
            raise RecordingError(
                f"{path.name}, line {block.line}: {shown(block.name)} is named twice, with "
                f"seizures {seizures[block.name]} and {found}; download it again."
            )
    return seizures


def remarks(path: Path, name: str) -> list[str]:
    """What is odd about a summary that is used, ``kind: details`` each, as far as a file goes."""
    text, found = read_text_file(path), []
    if any(block.name == name for block in _repeated(_blocks(path))):
        found.append(f"the summary names it more than once, with equal seizures: {path.name}")
    if _strange(text):
        found.append(f"the summary has bytes that are no UTF-8, which are not read: {path.name}")
    return found


def _repeated(blocks: list[_Block]) -> list[_Block]:
    names = [block.name for block in blocks]
    return [block for block in blocks if names.count(block.name) > 1]


def _strange(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def stated_rate_hz(path: Path) -> float | None:
    """The rate at which a case was recorded, by its summary; None where that says none.

    Raises
    ------
    RecordingError
        It is no number.
    """
    for number, text in _lines(path):
        if match := _RATE.search(text):
            try:
                return number_of(match[1])
            except ValueError as error:
                raise RecordingError(f"{path.name}, line {number}: {error}.") from error
    return None


def _blocks(path: Path) -> list[_Block]:
    blocks: list[_Block] = []
    for number, text in _lines(path):
        try:
            if match := _FILE.match(text):
                blocks.append(_Block(match[1].strip(), number))
            elif blocks and (match := _COUNT.search(text)):
                blocks[-1].stated = whole_of(match[1], 0, 10_000)
            elif blocks and (match := _TIME.fullmatch(text)):
                times = blocks[-1].starts if match[1].lower() == "start" else blocks[-1].ends
                times.append(whole_of(match[2], 0, int(MOST_S)))
            elif blocks and _ABOUT_TIME.search(text):
                example = "Seizure 1 Start Time: 12 seconds"
                raise ValueError(f"expected a time such as {example!r}, found {shown(text)}")
        except ValueError as error:
            raise RecordingError(f"{path.name}, line {number}: {error}.") from error
    return blocks


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    text = read_text_file(path).decode("utf-8", "replace")
    return enumerate(text.splitlines(), start=1)


def _seizures(path: Path, block: _Block) -> list[tuple[int, int]]:
    """Seizures of one file, in order."""
    counts = {len(block.starts), len(block.ends), block.stated}
    seizures = sorted(zip(block.starts, block.ends, strict=False))
    if len(counts) > 1 or any(end <= start for start, end in seizures):
        stated = "a number of" if block.stated < 0 else block.stated
        raise RecordingError(
            f"{path.name}, line {block.line}: {block.name}: expected {stated} seizures with start "
            f"and end, found starts {block.starts} and ends {block.ends}."
        )
    for before, after in pairwise(seizures):
        if after[0] < before[1]:
            raise RecordingError(
                f"{path.name}, line {block.line}: {block.name}: seizures overlap: {before[0]} to "
                f"{before[1]} s and {after[0]} to {after[1]} s; download it again."
            )
    return seizures
