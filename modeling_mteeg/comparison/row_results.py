"""What a finished row of a comparison is: predictions of every test window, and facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation import WindowPredictions

GROUPS = ("multi-task", "single-task", "floor", "ablation", "sharing", "balancing")
"""Kinds of rows, in the order of a table's blocks."""


@dataclasses.dataclass(frozen=True)
class RowResults:
    """A row, as its files say it; nothing is trained to read it.

    Parameters
    ----------
    name : str
        Of the row in tables and figures, such as ``MTEEG-Base``.
    group : str
        One of :data:`GROUPS`.
    tested : mapping of str to mapping of int to sequence of WindowPredictions
        Task to seed to what was said of the test windows, one entry a fold (one in all where the
        split is fixed). A task without results is not there.
    facts : mapping of str to mapping of int to mapping
        Task to seed to plain facts of that training: ``parameters`` (numbers: ``total`` and
        ``trained`` of all its tasks together, ``run`` for this one), ``seconds`` (of wall time),
        ``peak_memory_bytes``, ``epochs``, ``history``, ``settings``, ``versions``, ``split_hash``,
        ``conflicts`` (where gradients were compared).
    missing : mapping of str to str
        Task to why it has no results: not finished, or what the model needs and the task lacks.
    options : mapping
        The row as it stands in the comparison's YAML.
    """

    name: str
    group: str
    tested: Mapping[str, Mapping[int, Sequence[WindowPredictions]]]
    facts: Mapping[str, Mapping[int, Mapping[str, Any]]]
    missing: Mapping[str, str]
    options: Mapping[str, Any]
