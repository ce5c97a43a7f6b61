"""Windows straight from the downloaded files, with nothing written: to look, and to try things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modeling_mteeg.data import window_features
from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording
from modeling_mteeg.dataset_scripts.parts import encode_row, unit_of
from modeling_mteeg.dataset_scripts.planning import Plan
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.splits import SPLITS

if TYPE_CHECKING:
    from datasets import IterableDataset


def stream(corpus: Corpus, split: str | None = None, dtype: str = "int16") -> IterableDataset:
    """The rows of a prepared corpus, read and preprocessed when they are asked for.

    Parameters
    ----------
    corpus : Corpus
    split : {"train", "validation", "test"}, optional
        By the protocol; default: all windows.
    dtype : {"int16", "float32"}

    Returns
    -------
    datasets.IterableDataset
        The rows of the prepared split, in its order, with its features. A shard of it is a
        recording, so a ``DataLoader`` with workers shares the recordings out.

    Raises
    ------
    ValueError
        The split is unknown.
    SplitError, FileNotFoundError
        As in :func:`modeling_mteeg.dataset_scripts.writer.prepare`.
    RecordingError
        While iterating: a recording cannot be used. (A preparation would report it and go on.)
    """
    from datasets import IterableDataset

    if split is not None and split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}.")
    plan = Plan.make(corpus, Settings(dtype=dtype))
    assignments = plan.manifest["assignments"] if split is not None else None
    return IterableDataset.from_generator(
        _rows,
        features=window_features(corpus.card.labels),
        gen_kwargs={
            "recordings": list(plan.wanted),
            "corpus": corpus,
            "assignments": assignments,
            "split": split,
            "dtype": dtype,
        },
    )


def _rows(
    recordings: Sequence[Recording],
    corpus: Corpus,
    assignments: dict[str, str] | None,
    split: str | None,
    dtype: str,
) -> Iterator[dict[str, Any]]:
    for recording in recordings:
        if assignments is not None and not _may_hold(assignments, recording.key, split):
            continue
        for segment, signal in corpus.read(recording).windows:
            if assignments is None or assignments[unit_of(recording, segment)] == split:
                yield encode_row(corpus.card, recording, segment, signal, dtype)


def _may_hold(assignments: dict[str, str], key: str, split: str | None) -> bool:
    """Whether a recording as a whole is in another split; then it need not be read."""
    return assignments.get(key, split) == split
