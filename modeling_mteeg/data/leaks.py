"""What two parts of a split have in common: people, recordings, windows that overlap in time."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .streaming import SPLITS

_TOLERANCE_S = 1e-3
_SHOWN = 8


@dataclasses.dataclass(frozen=True, eq=False)
class WindowTable:
    """The small columns of windows: whose they are, where they begin, what they show.

    Parameters
    ----------
    subjects, recordings : np.ndarray, (n,), str
    onsets_s : np.ndarray, (n,), float64
        Seconds from the start of the recording.
    labels : np.ndarray, (n,), int64
    window_s : float
        Length of a window.
    """

    subjects: np.ndarray
    recordings: np.ndarray
    onsets_s: np.ndarray
    labels: np.ndarray
    window_s: float

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def classes_of(self) -> dict[str, frozenset[int]]:
        """Classes of every person, in the order of the names."""
        pairs = sorted(set(zip(self.subjects.tolist(), self.labels.tolist(), strict=True)))
        return {name: frozenset(label for _, label in some)
                for name, some in itertools.groupby(pairs, lambda pair: pair[0])}  # fmt: skip

    def time_order(self, rows: np.ndarray) -> np.ndarray:
        """Order of ``rows`` by person, recording and onset, (m,) positions in ``rows``."""
        return np.lexsort((self.onsets_s[rows], self._codes[rows]))

    def recordings_in_time(self) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
        """Every person's recordings in turn: (person, recording), and rows in the order of time."""
        rows = self.time_order(np.arange(len(self)))
        codes = self._codes[rows]
        for some in np.split(rows, np.flatnonzero(np.diff(codes)) + 1):
            yield (str(self.subjects[some[0]]), str(self.recordings[some[0]])), some

    @functools.cached_property
    def _codes(self) -> np.ndarray:
        """A number for every person's recording, (n,), in the order of the names."""
        people = np.unique(self.subjects.astype(str), return_inverse=True)[1]
        names, own = np.unique(self.recordings.astype(str), return_inverse=True)
        return people * len(names) + own

    @functools.cached_property
    def on_one_line(self) -> np.ndarray:
        """Onsets in seconds as if all recordings stood one after the other, far apart, (n,)."""
        codes = np.unique(self._codes, return_inverse=True)[1]
        span = float(np.ptp(self.onsets_s)) + 4 * self.window_s
        return codes * span + (self.onsets_s - self.onsets_s.min())


def overlapping(windows: WindowTable, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of ``rows`` share time with any of ``others`` of the same recording, (m,) bool."""
    if not len(rows) or not len(others):
        return np.zeros(len(rows), bool)
    line = windows.on_one_line
    here, ordered = line[rows], np.sort(line[others])
    after = np.searchsorted(ordered, here)
    near = np.minimum(  # distance to the next other window on either side
        np.abs(here - ordered[np.maximum(after - 1, 0)]),
        np.abs(here - ordered[np.minimum(after, len(ordered) - 1)]),
    )
    return near < windows.window_s - _TOLERANCE_S


def find_leaks(windows: WindowTable, parts: np.ndarray) -> list[str]:
    """A line for whatever two parts share.

    Parameters
    ----------
    windows : WindowTable
    parts : np.ndarray, (n,), int
        Part of every window, by its place in train, validation, test; others are in none.
    """
    lines = []
    for noun, names in (("subject(s)", windows.subjects), ("recording(s)", windows.recordings)):
        where: dict[str, set[str]] = {}
        if noun == "recording(s)":  # a name may be given once a person
            names = windows.subjects.astype(object) + " " + windows.recordings.astype(object)
        for part, split in enumerate(SPLITS):
            for name in set(names[parts == part]):
                where.setdefault(name, set()).add(split)
        lines += shared_names(where, noun)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        rows, others = np.flatnonzero(parts == first), np.flatnonzero(parts == second)
        number = int(overlapping(windows, rows, others).sum())
        if number:
            pair = f"{SPLITS[first]} overlap windows of {SPLITS[second]}"
            lines.append(f"{number:,} windows of {pair} in time")
    return lines


PAIRS = (SPLITS[:2], SPLITS[::2], SPLITS[1:])


def shared_names(
    where: Mapping[str, Iterable[str]], noun: str, pairs: Iterable[tuple[str, str]] = PAIRS
) -> list[str]:
    """A line for every pair of splits that share names.

    Parameters
    ----------
    where : mapping
        Name to the splits in which it occurs.
    noun : str
        What is named, such as ``subject(s)``.
    pairs : iterable of tuple of str
        Splits to be compared.
    """
    lines = []
    for first, second in pairs:
        both = sorted(name for name, splits in where.items() if {first, second} <= set(splits))
        if both:
            shown = ", ".join(both[:_SHOWN]) + (" ..." if len(both) > _SHOWN else "")
            lines.append(f"{first} and {second} share {len(both)} {noun}: {shown}")
    return lines
