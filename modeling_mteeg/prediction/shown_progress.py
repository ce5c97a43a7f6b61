"""The progress of one recording as a bar, a call, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

from tqdm.auto import tqdm

Progress = Callable[[float, float], None]
"""Told the seconds of EEG that are done, and all of them."""


class ShownProgress:
    """Context that gives a function to tell the seconds that are done.

    Parameters
    ----------
    progress : bool or callable
        True: a bar on stderr; in other processes than the first none.
    total_s : float
        All seconds.
    """

    def __init__(self, progress: bool | Progress, total_s: float) -> None:
        self.call = progress if callable(progress) else None
        self.total_s, self.bar = total_s, None
        self.shown = progress is True and os.environ.get("RANK", "0") == "0"

    def __enter__(self) -> Callable[[float], None]:
        if self.shown:
            total_s = round(self.total_s, 1)  # no bar where output is a file
            self.bar = tqdm(total=total_s, desc="predicting", unit=" s of EEG")
        return self._report

    def _report(self, done_s: float) -> None:
        if self.bar is not None:
            self.bar.update(min(round(done_s, 1), self.bar.total) - self.bar.n)
        if self.call is not None:
            self.call(min(done_s, self.total_s), self.total_s)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
