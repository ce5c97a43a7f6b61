"""What the modules of the six corpora share: a job, the sizes, a helper for names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SIZES = ("small", "demo", "people")
"""``small`` is for tests: every split of every protocol is there, and little more.
``people`` has more people with shorter recordings, who differ
(``dataset_scripts.simulator.people``)."""


@dataclass(frozen=True)
class Job:
    """One recording to write.

    Parameters
    ----------
    name : str
        Shown while it runs.
    write : callable
        Writes the files, returns the seconds of EEG in them.
    """

    name: str
    write: Callable[[], float]


def tuh_subject(number: int) -> str:
    """Subject names as the TUH corpora have them: ``aaaaaaaa``, ``aaaaaaab`` ..."""
    letters = []
    for _ in range(8):
        number, rest = divmod(number, 26)
        letters.append(chr(ord("a") + rest))
    return "".join(reversed(letters))
