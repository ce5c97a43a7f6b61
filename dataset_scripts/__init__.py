"""Preparing corpora, from the files that people download to what training reads.

    from dataset_scripts import Settings, Shard, corpus_class
    from dataset_scripts import merge_shards, prepare_corpus, prepare_shard, stream

    corpus = corpus_class("tuev")("DOWNLOAD")
    prepare_corpus(corpus, "data", Settings(num_proc=8))             # data/tuev
    prepare_shard(corpus, "data", Shard(3, 8))                       # a job's share
    merge_shards(corpus, "data")
    for row in stream(corpus, "train"): ...                          # nothing written

Names are imported when they are used, so that each module can also be run as a command.
"""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "Corpus": ("corpus", "Corpus"),
    "PreparationError": ("locking", "PreparationError"),
    "Recording": ("corpus", "Recording"),
    "RecordingError": ("reading", "RecordingError"),
    "Segment": ("corpus", "Segment"),
    "Settings": ("settings", "Settings"),
    "Shard": ("shards", "Shard"),
    "corpus_class": ("registry", "corpus_class"),
    "merge_shards": ("writer", "merge_shards"),
    "prepare_corpora": ("prepare", "prepare_corpora"),
    "prepare_corpus": ("writer", "prepare"),  # `prepare` is the module of the command
    "prepare_shard": ("writer", "prepare_shard"),
    "stream": ("streams", "stream"),
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(importlib.import_module(f".{module}", __name__), attribute)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
