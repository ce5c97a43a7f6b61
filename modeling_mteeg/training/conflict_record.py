"""The record of a gradient comparison: ``conflicts.json``, what it sums up to, its picture."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..pictures.gradient_conflicts import draw_conflicts
from ..pictures.style import MissingMatplotlibError, save_figure
from ..settings.plain_json import write_json
from .gradient_comparison import GradientComparison

CONFLICTS, CONFLICTS_PICTURE = "conflicts.json", "gradient_conflicts.png"
_FORMAT = 1


class ConflictRecordError(ValueError):
    """A record of gradients that cannot be read."""


@dataclasses.dataclass(frozen=True)
class ConflictSummary:
    """What comparisons say of every pair of tasks.

    Parameters
    ----------
    measurements : int
        Comparisons behind it.
    mean_cosine : np.ndarray, (tasks, tasks)
        NaN where a pair was never compared.
    negative_share : np.ndarray, (tasks, tasks)
        Part of a pair's comparisons in which its cosine was below 0; NaN likewise.
    pairs : int
        Cosines of two different tasks, over all comparisons.
    negative_pairs : float
        Part of these below 0; NaN where there are none.
    """

    measurements: int
    mean_cosine: np.ndarray
    negative_share: np.ndarray
    pairs: int
    negative_pairs: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = dataclasses.asdict(self)
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}


@dataclasses.dataclass(frozen=True)
class Conflicts:
    """The comparisons of a training.

    Parameters
    ----------
    tasks : tuple of str
    every_steps : int
    shared_weights : int
        Numbers in a gradient.
    shared_parts : tuple of str
        Where in the model these are, such as ``temporal_encoder``.
    epochs, steps : np.ndarray, (n,), int
        When, from 0; steps over the training.
    cosines : np.ndarray, (n, tasks, tasks)
        NaN: undefined, or a task without a window in the step.
    norms : np.ndarray, (n, tasks)
        Of the gradient of each task's own mean loss, before any weight of the task.
    """

    tasks: tuple[str, ...]
    every_steps: int
    shared_weights: int
    shared_parts: tuple[str, ...]
    epochs: np.ndarray
    steps: np.ndarray
    cosines: np.ndarray
    norms: np.ndarray

    def summary(self, epoch: int | None = None) -> ConflictSummary:
        """Over all comparisons, or those of an epoch."""
        cosines = self.cosines if epoch is None else self.cosines[self.epochs == epoch]
        there = np.isfinite(cosines)  # (n, tasks, tasks)
        number = there.sum(0)
        with np.errstate(invalid="ignore"):
            mean = np.where(there, cosines, 0).sum(0) / number  # 0 / 0: NaN
            negative = (there & (cosines < 0)).sum(0) / number
        below = np.tril_indices(len(self.tasks), -1)  # every pair once, no task with itself
        pairs, bad = int(number[below].sum()), int((there & (cosines < 0)).sum(0)[below].sum())
        share = bad / pairs if pairs else math.nan
        return ConflictSummary(len(cosines), mean, negative, pairs, share)


def conflicts_of(comparison: GradientComparison) -> Conflicts:
    """What a training has compared so far."""
    parts = dict.fromkeys(name.partition(".")[0] for name in comparison.shared)
    return Conflicts(
        tasks=comparison.tasks,
        every_steps=comparison.every_steps,
        shared_weights=sum(p.numel() for p in comparison.shared.values()),
        shared_parts=tuple(parts),
        **_arrays(comparison.measurements, len(comparison.tasks)),
    )


def _arrays(measurements: Sequence[Mapping[str, Any]], tasks: int) -> dict[str, np.ndarray]:
    """The columns of the measurements; None becomes NaN."""
    return {
        "epochs": np.array([m["epoch"] for m in measurements], np.int64),
        "steps": np.array([m["step"] for m in measurements], np.int64),
        "cosines": np.array([m["cosines"] for m in measurements], float).reshape(-1, tasks, tasks),
        "norms": np.array([m["norms"] for m in measurements], float).reshape(-1, tasks),
    }


def save_conflicts(folder: Path, comparison: GradientComparison | None, title: str = "") -> None:
    """Write ``conflicts.json`` and ``gradient_conflicts.png``, in place of earlier ones.

    Nothing is left in their place where no gradients were compared. The picture needs matplotlib.
    """
    for name in (CONFLICTS, CONFLICTS_PICTURE):
        (folder / name).unlink(missing_ok=True)
    if comparison is None or not comparison.measurements:
        return
    conflicts = conflicts_of(comparison)
    epochs = np.unique(conflicts.epochs).tolist()
    write_json(
        folder / CONFLICTS,
        {
            "format": _FORMAT,
            "tasks": list(conflicts.tasks),
            "every_steps": conflicts.every_steps,
            "shared_weights": conflicts.shared_weights,
            "shared_parts": list(conflicts.shared_parts),
            "overall": conflicts.summary().to_dict(),
            "by_epoch": [{"epoch": e, **conflicts.summary(e).to_dict()} for e in epochs],
            "measurements": comparison.measurements,
        },
    )
    with suppress(MissingMatplotlibError):
        summary = conflicts.summary()
        figure = draw_conflicts(
            conflicts.tasks, summary.mean_cosine, summary.negative_share, summary.negative_pairs,
            f"{title}{conflicts.shared_weights:,} shared weights, "
            f"{summary.measurements:,} comparisons",
        )  # fmt: skip
        save_figure(figure, folder / CONFLICTS_PICTURE)


def read_conflicts(path: str | Path) -> Conflicts:
    """Read ``conflicts.json``.

    Parameters
    ----------
    path : str or Path
        The file, or the folder of a training that holds it.

    Raises
    ------
    FileNotFoundError
        There is none: no gradients were compared (``gradients.every_steps``).
    ConflictRecordError
        The file is damaged, or of another version.
    """
    path = Path(path)
    path = path / CONFLICTS if path.is_dir() else path
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["format"] != _FORMAT:
            raise ValueError(f"expected format {_FORMAT}, found {found['format']!r}")
        tasks = tuple(map(str, found["tasks"]))
        arrays = _arrays(found["measurements"], len(tasks))
        if len({len(values) for values in arrays.values()}) > 1:
            raise ValueError("its measurements are not of the same number of tasks")
        return Conflicts(
            tasks, int(found["every_steps"]), int(found["shared_weights"]),
            tuple(map(str, found["shared_parts"])), **arrays,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictRecordError(
            f"{path} is no record of a gradient comparison: {error}. Start the training again: a "
            "finished one writes its files anew."
        ) from error
