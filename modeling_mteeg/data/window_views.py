"""Some of the stored windows, in another order or with other classes: views, nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .source import WindowFormatError, WindowSource


class WindowView(WindowSource):
    """Windows chosen from several sources, read from where they lie.

    Every window has the numbers of its source to the bit, whether the source is on disk or
    streamed.

    Parameters
    ----------
    sources : sequence of WindowSource
        Of one montage, shape and number type, such as the stored splits of a corpus.
    source_of, row_of : np.ndarray, (n,), int
        Which source a window comes from, and its row there.
    labels : np.ndarray, (n,), int64, optional
        Other classes than the stored ones; with ``label_names``.
    label_names : sequence of str, optional

    Raises
    ------
    WindowFormatError
        The sources differ, or there is no window.
    """

    def __init__(
        self,
        sources: Sequence[WindowSource],
        source_of: np.ndarray,
        row_of: np.ndarray,
        labels: np.ndarray | None = None,
        label_names: Sequence[str] | None = None,
    ) -> None:
        first = sources[0]
        for other in sources[1:]:
            for what in ("channels", "shape", "dtype", "label_names"):
                expected, found = getattr(first, what), getattr(other, what)
                if expected != found:
                    raise WindowFormatError(
                        f"Stored splits to be seen as one: expected the same {what}, found "
                        f"{expected} and {found}; prepare the corpus again as a whole."
                    )
        if len(source_of) == 0:
            raise WindowFormatError("Expected at least one window, found an empty view.")
        self._sources = tuple(sources)
        self._source_of, self._row_of = np.asarray(source_of), np.asarray(row_of)
        self.channels, self.shape, self.dtype = first.channels, first.shape, first.dtype
        self.remote = any(source.remote for source in sources)
        stored = self._gather([source.labels for source in sources])
        self.labels = stored if labels is None else np.asarray(labels, np.int64)
        self.label_names = tuple(first.label_names if label_names is None else label_names)
        self._scales = self._gather([source._scales for source in sources])

    def _gather(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        """The windows' values out of a column of every source, (n,)."""
        values = np.empty(len(self._row_of), columns[0].dtype)
        for number, column in enumerate(columns):
            here = self._source_of == number
            values[here] = column[self._row_of[here]]
        return values

    def _column(self, name: str) -> np.ndarray:
        return self._gather([source._column(name) for source in self._sources])

    def _signals(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        source_of, row_of = self._source_of[rows], self._row_of[rows]
        # each source is asked once, so that a streamed one fetches all of its rows together
        used = np.unique(source_of).tolist()
        parts = {number: self._sources[number]._signals(row_of[source_of == number])
                 for number in used}  # fmt: skip
        for number in source_of.tolist():
            yield next(parts[number])


def label_map(names: Sequence[str], view: Mapping[str, Sequence[str]], task: str) -> np.ndarray:
    """New class of every stored class, (stored classes,) int64; -1: left out.

    Parameters
    ----------
    names : sequence of str
        The stored classes.
    view : mapping
        New class to the stored ones that it joins, such as ``{"sleep": ["N1", "N2", "N3", "R"]}``.
    task : str
        For messages.

    Raises
    ------
    ValueError
        Fewer than two classes, unknown ones, or one in two places; all faults in one message.
    """
    faults = [f"{old!r} is no class of it ({', '.join(names)})"
              for olds in view.values() for old in olds if old not in names]  # fmt: skip
    every = [old for olds in view.values() for old in olds]
    faults += [
        f"{old!r} stands in two places" for old in dict.fromkeys(every) if every.count(old) > 1
    ]
    faults += [f"{new!r} joins no class" for new, olds in view.items() if not olds]
    if len(view) < 2:
        faults.append(f"expected two classes or more, found {list(view)}")
    if faults:
        raise ValueError(f"data.labels.{task}: {'; '.join(faults)}.")
    mapped = np.full(len(names), -1, np.int64)
    for number, olds in enumerate(view.values()):
        mapped[[names.index(old) for old in olds]] = number
    return mapped


def card_changes(labels: Sequence[str], stored: Sequence[str]) -> dict[str, Any]:
    """What a task card changes with its classes.

    Where two become more, or more two: the loss, the metrics and the monitor as well.
    """
    changes: dict[str, Any] = {"labels": tuple(labels)}
    if (len(labels) == 2) != (len(stored) == 2):
        changes |= {"loss": "", "monitor": "", "metrics": ()}  # the defaults of that number
    return changes
