"""From a recording to what the page shows: predictions, pictures, events and files."""

from __future__ import annotations

import csv
import dataclasses
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .served import ServedModel
from .uploads import gather_recording

if TYPE_CHECKING:
    from ..prediction.result import Prediction

SHOWN_ROWS = 500
"""Events that the page's table shows; the file has all."""
Report = Callable[[float, str], None]
"""Told how much is done, from 0 to 1, and what is being done."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What a visitor may set.

    Parameters
    ----------
    stride_s : float or None
        From one window to the next; None: the window's length.
    allow_missing : bool
        Whether tasks may run on the channels that are there.
    scalp : bool
        Whether to work out and draw which electrodes matter.
    """

    stride_s: float | None = None
    allow_missing: bool = False
    scalp: bool = True


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and its title."""

    path: Path
    title: str


@dataclasses.dataclass(frozen=True, eq=False)
class TaskAnswer:
    """What the page shows of one task; ``rows`` stand as in ``events.tsv``."""

    name: str
    facts: Mapping[str, str]
    pictures: tuple[Picture, ...]
    columns: tuple[str, ...]
    rows: list[list[str]]
    more_rows: int
    notes: tuple[str, ...]
    files: Mapping[str, Path]
    warning: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What the page shows of one recording."""

    facts: Mapping[str, str]
    tasks: tuple[TaskAnswer, ...]


def answer(): ...
def examine(): ...
