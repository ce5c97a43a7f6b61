"""Preparing corpora, from the files that people download to what training reads.

    from modeling_mteeg.dataset_scripts import Settings, Shard, corpus_class
    from modeling_mteeg.dataset_scripts import merge_shards, prepare_corpus, prepare_shard, stream

    corpus = corpus_class("tuev")("DOWNLOAD")
    prepare_corpus(corpus, "data", Settings(num_proc=8))             # data/tuev
    prepare_shard(corpus, "data", Shard(3, 8))                       # a job's share
    merge_shards(corpus, "data")
    for row in stream(corpus, "train"): ...                          # nothing written

Three kinds of files lie here.

Corpora, a file each: ``tuab tuev seed_v chb_mit sleep_edf physionet_mi``, and ``eegmat`` as the
example. Another one is a copy of ``eegmat`` and a line in ``registry``, or stays in a file of its
own: docs/new_corpus.md.

``annotated`` is a corpus from any folder of recordings with labels, by options: docs/new_task.md.

Commands, ``python -m dataset_scripts.NAME``: every corpus; ``prepare`` (several corpora),
``demo`` (simulated ones), ``push`` (to the Hub), ``unlabelled`` (recordings without labels) and
``exclusions`` (what those must leave out).

Machinery, in the order in which a preparation passes through it:

==================  ================================================================================
command, plan_file  the command line of every corpus; the YAML file of ``prepare --config``
recording, corpus,  what a corpus says, and of what; the rules by which recordings become train,
splits              validation, test
annotated_options,  of ``annotated``: what it can be told; whose a recording is, which channels and
survey, labelling   events it has
completeness,       what a download lacks; recordings that are there twice
duplicates
planning, sources   what is to be done; whether the files are those that a result was made from
reading             EDF and Neuroscan files into microvolt, by channel name
soundness           checks of a recording's signal: what is an error, what a warning. Add one here
parts, processes    a recording's windows as one Arrow file, in several processes
shards, locking     several jobs at one corpus; one preparation of a folder at a time
writer, merging     parts become the prepared corpus
report, cards,      what became of every recording; the dataset card; where the data comes from
provenance
streams             the same windows with nothing written
==================  ================================================================================

``downloads`` fetches the open corpora from PhysioNet. ``simulator`` writes recordings in the
corpora's own layouts, a file per corpus. In ``unlabelled`` a source of recordings is a class as in
``tuh`` and a name in ``known_sources``.

Names are imported when they are used, so that each module can also be run as a command.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

if __name__ == "dataset_scripts":  # at the top of a clone; there is one copy, see bare_name
    sys.modules[__name__] = importlib.import_module(f"modeling_mteeg.{__name__}")
else:
    from modeling_mteeg.dataset_scripts.bare_name import share_bare_name

    share_bare_name()

_MODULES = {
    "Annotated": "annotated",
    "AnnotatedOptions": "annotated_options",
    "Corpus": "corpus",
    "PreparationError": "locking",
    "Recording": "corpus",
    "RecordingError": "reading",
    "Segment": "corpus",
    "Settings": "settings",
    "Shard": "shards",
    "corpus_class": "registry",
    "merge_shards": "writer",
    "prepare_corpora": "prepare",
    "prepare_corpus": "writer",
    "prepare_shard": "writer",
    "stream": "streams",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULES[name]}", __name__)
    # `prepare` is the module of the command, so the function has another name here.
    return getattr(module, "prepare" if name == "prepare_corpus" else name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
