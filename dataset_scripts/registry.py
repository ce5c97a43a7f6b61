"""Which corpora there are: the six of the paper, the worked example, and anybody's own.

A corpus is a class (:class:`~.corpus.Corpus`). Those of this package go by the names
of their tasks; another one is named by its file, ``my_corpus.py:MyCorpus``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from modeling_mteeg.dataset_scripts.corpus import Corpus

CORPORA = {
    "tuab": ("tuab", "Tuab"),
    "tuev": ("tuev", "Tuev"),
    "seed-v": ("seed_v", "SeedV"),
    "chb-mit": ("chb_mit", "ChbMit"),
    "sleep-edf": ("sleep_edf", "SleepEdf"),
    "physionet-mi": ("physionet_mi", "PhysionetMi"),
}
"""The paper's tasks: module and class."""
TASKS = tuple(CORPORA)
MORE_CORPORA = {"eegmat": ("eegmat", "Eegmat")}
"""Corpora beyond the paper's six."""
KNOWN_TASKS = (*CORPORA, *MORE_CORPORA)


def corpus_class(name: str) -> type[Corpus]:
    """The reader of a corpus.

    Parameters
    ----------
    name : str
        A task of ``KNOWN_TASKS``, or ``FILE.py:CLASS`` for a class in a file of one's own.

    Raises
    ------
    ValueError
        The task, the file or the class is unknown, or the class is no ``Corpus`` with a task card.

    Notes
    -----
    The file is imported as a module by its name, with its folder on the module path, so that the
    processes of a preparation find it, too. Only name files whose code you want to run.
    """
    file, colon, class_name = name.rpartition(":")
    if colon and file.endswith(".py"):
        return _own_class(Path(file), class_name)
    known = CORPORA | MORE_CORPORA
    if name not in known:
        raise ValueError(
            f"Unknown task {name!r}; known tasks: {', '.join(known)}. A corpus of your own is "
            "named my_corpus.py:MyCorpus."
        )
    module, class_name = known[name]
    return getattr(importlib.import_module(f"modeling_mteeg.dataset_scripts.{module}"), class_name)


def _own_class(file: Path, class_name: str) -> type[Corpus]:
    """A class of a user's file."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file; expected FILE.py:CLASS.")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.import_module(file.stem)
    taken_by = getattr(module, "__file__", None)
    if taken_by is None or Path(taken_by).resolve() != file.resolve():
        raise ValueError(
            f"{file}: its name {file.stem!r} is taken by {taken_by or 'a built-in module'}; "
            "rename it."
        )
    reader = getattr(module, class_name, None)
    if not (isinstance(reader, type) and issubclass(reader, Corpus) and hasattr(reader, "card")):
        raise ValueError(
            f"{file}: expected a class {class_name} derived from "
            "modeling_mteeg.dataset_scripts.corpus.Corpus, "
            f"with a task card; found {reader!r}."
        )
    if reader.card.name in KNOWN_TASKS:
        raise ValueError(
            f"{file}: the task name {reader.card.name!r} is taken by a corpus of this package; "
            "give the card another name."
        )
    return reader
