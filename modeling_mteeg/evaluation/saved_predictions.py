"""Predictions of a split in a file, from which every metric can be computed again.

A Parquet file with a row a window: ``recording``, ``subject``, ``onset_s``, ``label`` (the true
class by name), and ``probability_<class>`` for every class, float64. The task card lies in the
file's metadata, so that the file is enough.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..data.parquet_files import read_parquet
from ..data.source import WindowSource
from ..model.task_card import TaskCard, probability_columns
from ..model.visible_text import PlainError
from ..settings.disk_faults import writing
from .evaluator import Predictions

VERSION = 1
_META = b"mteeg"
_TEXTS = ("recording", "subject", "label")
_LEAST = np.finfo(np.float64).tiny


class PredictionFileError(PlainError):
    """A file that holds no predictions of windows."""


@dataclasses.dataclass(frozen=True)
class WindowPredictions(Predictions):
    """Predictions of a split, and which window each is of.

    Parameters
    ----------
    logits, labels
        See :class:`~modeling_mteeg.evaluation.Predictions`.
    card : TaskCard
        The task, with the metrics that it is judged by.
    recordings, subjects : np.ndarray, (n,), str
    onsets_s : np.ndarray, (n,), float64
        Seconds from the start of the recording.
    """

    card: TaskCard
    recordings: np.ndarray
    subjects: np.ndarray
    onsets_s: np.ndarray

    @classmethod
    def of(
        cls, predictions: Predictions, reader: WindowSource, card: TaskCard
    ) -> WindowPredictions:
        """Predictions of all windows of ``reader``, in its order."""
        return cls(
            predictions.logits, predictions.labels, card,
            reader.recordings, reader.subjects, reader.onsets_s,
        )  # fmt: skip

    @property
    def people(self) -> int:
        """Number of subjects."""
        return len(set(self.subjects))

    @property
    def probabilities(self) -> np.ndarray:
        """(n, classes) float64, in double precision so that those near 0 and 1 keep their order."""
        logits = torch.from_numpy(self.logits).double()
        if self.card.is_binary:  # of one logit, each side by itself: 1 - p would lose small ones
            return torch.cat([(-logits).sigmoid(), logits.sigmoid()], 1).numpy()
        return logits.softmax(1).numpy()


def save_predictions(path: str | Path, predictions: WindowPredictions) -> Path:
    """Write predictions as Parquet, whole or not at all; the same values give the same bytes.

    Returns
    -------
    Path
        ``path``. A window takes some 8 bytes a class.
    """
    card = predictions.card.replace(results=None)
    columns = probability_columns(card.labels)
    names = pa.array(card.labels, pa.string())
    table = pa.table({
        "recording": pa.array(predictions.recordings, pa.string()),
        "subject": pa.array(predictions.subjects, pa.string()),
        "onset_s": pa.array(predictions.onsets_s, pa.float64()),
        "label": names.take(pa.array(predictions.labels)),
        **dict(zip(columns, predictions.probabilities.T, strict=True)),
    })  # fmt: skip
    meta = json.dumps({"version": VERSION, "task": card.to_dict()})
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            table.replace_schema_metadata({_META: meta}), part, compression="zstd",
            use_dictionary=list(_TEXTS), use_byte_stream_split=["onset_s", *columns],
        )  # fmt: skip
        os.replace(part, path)
    return path


def read_predictions(path: str | Path) -> WindowPredictions:
    """Read what :func:`save_predictions` wrote.

    Returns
    -------
    WindowPredictions
        ``score(predictions, predictions.card)`` gives the metrics of the training again. The logit
        of a binary task is the float32 that it was; logits of several classes are the logarithms
        of their probabilities, float64.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    PredictionFileError
        It is no such file, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No predictions: expected the file {path}.")
    try:
        table, meta = read_parquet(path, _META)
        if meta["version"] != VERSION:
            raise ValueError(f"expected version {VERSION}, found {meta['version']!r}")
        card = TaskCard.from_dict(meta["task"])
        columns = probability_columns(card.labels)
        wanted = (*_TEXTS, "onset_s", *columns)
        values = {name: table.column(name).to_numpy() for name in wanted}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PredictionFileError(f"{path} holds no predictions of windows: {error}") from error
    unknown = sorted(set(values["label"]) - set(card.labels))
    probabilities = np.stack([values[name] for name in columns], 1)  # (n, classes)
    if unknown or not ((probabilities >= 0) & (probabilities <= 1)).all():
        what = f"unknown labels {unknown}" if unknown else "probabilities outside 0 to 1"
        raise PredictionFileError(f"{path} is damaged: {what}.")
    numbers = {name: number for number, name in enumerate(card.labels)}
    logits = np.log(probabilities.clip(_LEAST))
    if card.is_binary:
        logits = (logits[:, 1:] - logits[:, :1]).astype(np.float32)  # (n, 1)
    labels = np.array([numbers[label] for label in values["label"]], np.int64)
    return WindowPredictions(
        logits, labels, card, values["recording"], values["subject"], values["onset_s"]
    )
