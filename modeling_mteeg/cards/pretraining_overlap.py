"""What weights had learned from before a training, and whether a task's test data are among it.

Compared are corpora, by name; people are not, since nobody publishes who is in which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.task_card import TaskCard
from .facts import mapping

LABRAM_CORPORA = (
    "BCI Competition IV-1",
    "Emobrain",
    "Grasp and Lift EEG Challenge",
    "Inria BCI Challenge",
    "EEG Motor Movement/Imagery Dataset",
    "Raw EEG Data",
    "Resting State EEG Data",
    "SEED",
    "SEED-IV",
    "SEED-GER",
    "SEED-FRA",
    "Siena Scalp EEG Database",
    "SPIS Resting State Dataset",
    "Target Versus Non-Target",
    "TUAR",
    "TUEP",
    "TUSZ",
    "TUSL",
    "recordings of the authors",
)
"""What the published LaBraM weights learned from, without labels (its paper, appendix D)."""

_NAMES = {
    "tuab": ("tuab", "abnormal eeg corpus"),
    "tuev": ("tuev", "tuh eeg events"),
    "seed-v": ("seed-v",),
    "chb-mit": ("chb-mit",),
    "sleep-edf": ("sleep-edf",),
    "physionet-mi": ("physionet-mi", "motor movement/imagery"),
    "tueg": ("tueg", "tuh eeg corpus"),
}
"""Names of tasks, and words by which the names of their corpora are known."""
_TUH = frozenset(("tuab", "tuev", "tuar", "tuep", "tusz", "tusl", "tueg"))
_SEED = frozenset(("seed-v", "seed", "seed-iv", "seed-ger", "seed-fra"))
_FAMILIES = {
    "the same archive (TUH EEG)": _TUH,
    "the same laboratory (the SEED series)": _SEED,
}
_SHOWN = 6


def learned_before(record: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]] | None]:
    """What weights had learned from before a training.

    Parameters
    ----------
    record : mapping
        Of the training; ``pretraining`` in it is what
        :func:`modeling_mteeg.training.pretraining_record.pretraining_record` makes.

    Returns
    -------
    str
        In words, for a card.
    list of mapping, or None
        Corpora, each with ``corpus``, ``labels`` (whether they were used) and ``simulated``; None
        where that is not known.
    """
    before = mapping(record.get("pretraining"))
    if not before:  # a record of an earlier version
        start = str(record.get("start") or "")
        random = start.startswith("size ") or start == "no earlier weights"
        before = {"known": random and record.get("start_kind") == "random", "corpora": []}
    corpora = before.get("corpora")
    corpora = [mapping(one) for one in corpora] if isinstance(corpora, list) else []
    if isinstance(before.get("labram_file"), str):
        published = [{"corpus": name, "labels": False} for name in LABRAM_CORPORA]
        words = (
            f"{listed(published)}, without labels: LaBraM's paper (appendix D) on its published "
            f"weights, if {before['labram_file']} holds those"
        )
        return "; then ".join([words, *([listed(corpora)] if corpora else [])]), [
            *published,
            *corpora,
        ]
    if before.get("known") is not True:
        return "unknown", None
    return listed(corpora) if corpora else "nothing: random weights", corpora


def overlap(card: TaskCard, record: Mapping[str, Any]) -> str:
    """Whether the data of a task's test are among what the weights had learned from, in words."""
    _, corpora = learned_before(record)
    if corpora is None:
        return "unknown: the files do not say what the weights had learned from"
    if not corpora:
        return "none: training began from random weights"
    if card.simulated:
        return "no person's data: the task's recordings are simulated"
    own = _key(card.name, card.corpus)
    if own is None:
        return "unknown: the task's corpus is not stated"
    seen = {_key("", str(one.get("corpus"))): one for one in corpora if not one.get("simulated")}
    same = seen.get(own) or (seen.get("tueg") if own in _TUH else None)
    if same is not None:
        labels = "with labels" if same.get("labels") else "without labels"
        return f"the same corpus ({same.get('corpus')}), {labels}; which people is not known"
    for family, members in _FAMILIES.items():
        others = [str(seen[key]["corpus"]) for key in seen if key in members]
        if own in members and others:
            return (
                f"another corpus, but of {family}: {', '.join(others)}; whether people are in both "
                "is unknown"
            )
    return "none by the names of the corpora"


def _key(task: str, corpus: str) -> str | None:
    """What a corpus is known by; None where it has no name."""
    text = corpus.strip().lower()
    for key, words in _NAMES.items():
        if task == key or any(word in text for word in words):
            return key
    return text or None


def listed(corpora: Any) -> str:
    """Names of corpora, separated by commas, the simulated ones marked."""
    corpora = [mapping(one) for one in corpora] if isinstance(corpora, list) else []
    names = [
        str(one.get("corpus")) + (" (simulated)" if one.get("simulated") else "") for one in corpora
    ]
    if len(names) > len(LABRAM_CORPORA):
        names = [*names[:_SHOWN], f"{len(names) - _SHOWN} more"]
    return ", ".join(names)
