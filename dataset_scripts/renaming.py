"""Channels that are meant by other names (``--rename OLD=NEW``) where a corpus reads its files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar

from modeling_mteeg.model.channels import clean_name, other_names

KIND = "renamed"
"""The kind of the warning in a report that says which channels were taken under other names."""


class Renaming:
    """New names for the channels of some files, and what became of them.

    Parameters
    ----------
    names : mapping of str to str
        Clean name in the file to the clean name that is meant.

    Attributes
    ----------
    asked : bool
        Whether any reader asked for names.
    applied : dict of str to str
        Those of ``names`` that files had.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names, self.asked, self.applied = dict(names), False, {}

    def of(self, labels: Iterable[str]) -> list[str]:
        """Labels of a file as they are taken."""
        self.asked = True
        found = {label: clean_name(label) for label in labels}
        self.applied |= {old: self.names[old] for old in found.values() if old in self.names}
        return [self.names.get(found[label], label) for label in labels]

    def warnings(self) -> tuple[str, ...]:
        """A warning for the report where channels were renamed."""
        pairs = ", ".join(f"{old} as {new}" for old, new in self.applied.items())
        return (f"{KIND}: {pairs}",) if pairs else ()


_ACTIVE: ContextVar[Renaming | None] = ContextVar("renaming", default=None)


@contextlib.contextmanager
def channels_renamed(names: Mapping[str, str]) -> Iterator[Renaming]:
    """While it lasts, :func:`taken_names` gives new names.

    The readers of a corpus lie between its class and its files, some of them written elsewhere; so
    what the user says of names reaches :mod:`modeling_mteeg.dataset_scripts.reading` past them.
    """
    renaming = Renaming(names)
    token = _ACTIVE.set(renaming)
    try:
        yield renaming
    finally:
        _ACTIVE.reset(token)


def taken_names(labels: Sequence[str]) -> list[str]:
    """Labels of a file's channels, those to be renamed under their new names, in their order."""
    renaming = _ACTIVE.get()
    return list(labels) if renaming is None else renaming.of(labels)


def checked_rename(rename: Mapping[str, str]) -> dict[str, str]:
    """Pairs of clean names.

    Raises
    ------
    ValueError
        A name is renamed twice, or two become one.
    """
    clean = {clean_name(old): clean_name(new) for old, new in rename.items()}
    if len(clean) < len(rename) or len(set(clean.values())) < len(clean):
        pairs = ", ".join(f"{old}={new}" for old, new in rename.items())
        raise ValueError(f"rename: expected every old and every new name once, found {pairs}.")
    return clean


def rename_hint(missing: Sequence[str], present: Iterable[str]) -> str:
    """A sentence, with a blank before it, where missing channels may be there by other names."""
    pairs = other_names(missing, list(present))
    if not pairs:
        return ""
    words = " ".join(f"--rename {old}={new}" for old, new in pairs.items())
    return (
        f" {', '.join(f'{new} is {old}' for old, new in pairs.items())} in the other naming "
        f"system: {words} if they are meant."
    )


def unused_note(rename: Mapping[str, str], warnings: Iterable[str]) -> list[str]:
    """A line for the card about names that no recording had, by all warnings of the report."""
    text = "\n".join(warnings)
    absent = [old for old, new in rename.items() if f"{old} as {new}" not in text]
    return [f"No recording used has a channel {', '.join(absent)} (--rename)"] if absent else []
