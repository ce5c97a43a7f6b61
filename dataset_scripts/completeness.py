"""What a download lacks, said by name before any work and in the dataset card.

Each corpus knows what a whole download holds (:meth:`~.corpus.Corpus.missing`); here
is what they share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeling_mteeg.dataset_scripts.corpus import Corpus, Recording
    from modeling_mteeg.dataset_scripts.settings import Settings

SHOWN = 12
"""Names that a sentence gives before it says how many more there are."""


def some_names(names: Iterable[str], shown: int = SHOWN) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def names_missing(what: str, expected: Sequence[str], present: Iterable[str]) -> list[str]:
    """A sentence with the names that are not there; none where all are.

    Parameters
    ----------
    what : str
        What the names are, in the plural, such as ``sessions``.
    expected : sequence of str
        All names, in the order in which a sentence gives them.
    present : iterable of str
        Names in the download.
    """
    names = set(present)
    absent = [name for name in expected if name not in names]
    if not absent:
        return []
    return [f"{len(absent)} of {len(expected)} {what} are missing: {some_names(absent)}"]


def number_differs(what: str, expected: int, count: int) -> list[str]:
    """A sentence where a number is not the known one."""
    return [] if expected == count else [f"{what}: expected {expected}, found {count}"]


def missing_lines(corpus: Corpus, recordings: Sequence[Recording], settings: Settings) -> list[str]:
    """What the download lacks, a sentence each, printed where ``settings.progress`` is set.

    Parameters
    ----------
    corpus : Corpus
        Simulated ones are smaller by design: nothing is missing.
    recordings : sequence of Recording
        All that were found, used or not.
    settings : Settings
        Where it asks for some subjects only, a part is all that is wanted; the one sentence says
        so.
    """
    if corpus.simulated:
        return []
    if settings.subjects:
        return [
            f"Only the subjects asked for: {some_names(settings.subjects)}. Nobody looked whether "
            "their recordings are all there."
        ]
    lines = corpus.missing(recordings)
    if lines and settings.progress:
        print(f"{corpus.card.name}: the download is incomplete:")
        for line in lines:
            print(f"{corpus.card.name}:   {line}")
    return lines
