"""Bars of preparations: a bar in a terminal, in a file a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

_TELL_EVERY_S = 60.0


class Bar(tqdm):
    """``tqdm`` that does not fill a file: there it prints how far it is, once a minute.

    Parameters
    ----------
    iterable : iterable, optional
    progress : bool
        Neither bar nor lines where it is false.
    **options
        Of ``tqdm``, but ``disable``.
    """

    def __init__(self, iterable: Any = None, *, progress: bool = True, **options: Any) -> None:
        super().__init__(iterable, disable=None if progress else True, **options)
        self._tells = progress and self.disable  # tqdm found that output is no terminal
        self._name, self._unit = options.get("desc", ""), options.get("unit", "")
        self._scaled, self._first = options.get("unit_scale", False), self.n
        self._told = self._began = time.monotonic()

    def __iter__(self) -> Iterator[Any]:
        if not self._tells:
            yield from super().__iter__()
            return
        for element in self.iterable:
            yield element
            self.update()

    def update(self, n: float | None = 1) -> bool | None:
        """As in ``tqdm``; in a file the line."""
        if not self._tells:
            return super().update(n)
        self.n += n
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            print(f"{self._name}: {self._so_far(now)}".rstrip(), file=sys.stderr, flush=True)
        return None

    def _so_far(self, now: float) -> str:
        """How much of all; of bytes and the like the rate, too."""
        if not self._scaled:
            return f"{_short(self.n)} of {_short(self.total)} {self._unit}"
        rate = (self.n - self._first) / max(now - self._began, 1e-9)
        done, total, rate = (self.format_sizeof(max(n, 0)) for n in (self.n, self.total, rate))
        return f"{done}{self._unit} of {total}{self._unit}, {rate}{self._unit}/s"


def _short(number: float) -> str:
    """``1,234`` or ``0.25``."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.2f}"
