"""Recordings that pre-training must never see: the test splits of the six downstream corpora.

Rules by name need no data and always apply. A list made from one's own download
(``python -m dataset_scripts.exclusions``) adds the hash and the name of every test recording: a
copy is found under any name, and a TUH session under the names of the other TUH corpora, which are
cut from the same archive.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Self

from modeling_mteeg._clone import as_typed
from modeling_mteeg.dataset_scripts.locking import write_whole
from modeling_mteeg.dataset_scripts.physionet_mi import RUN_LABELS
from modeling_mteeg.dataset_scripts.physionet_mi import SUBJECTS as MI_SUBJECTS
from modeling_mteeg.dataset_scripts.sleep_edf import NIGHTS
from modeling_mteeg.dataset_scripts.splits import assign_in_order
from modeling_mteeg.dataset_scripts.unlabelled.layouts import TUH_NAME, UnlabelledRecording

VERSION = 2
_CHB = re.compile(r"chb(\d\d)_", re.IGNORECASE)
_SLEEP = re.compile(r"(SC4\d{3})[A-Z]\d", re.IGNORECASE)
_MI = re.compile(r"(S\d{3})R\d\d", re.IGNORECASE)
_SEED_V = re.compile(r"(1[0-6]|[1-9])_[123]_2018\d{4}")
_TUEV_EVAL = re.compile(r"(?:artf|bckg|eyem|gped|pled|spsw)_\d{3}_a_", re.IGNORECASE)
_TUAB_EVAL = {("eval", "normal"), ("eval", "abnormal")}
_TUEV_UNTOLD = (
    "The names of TUEV's evaluation files do not tell their session: a recording of TUH that they "
    "are cut from is left out only if its file is equal."
)
TUH_TASKS = frozenset({"tuab", "tuev"})
"""Tasks whose corpora are cut from the archive that TUH's other corpora are cut from."""
_RULES = 3
"""Goes up whenever the built-in rules find more, so that a folder made before is not taken for one
that was made with them."""


def _in_test(names: Iterable[str]) -> frozenset[str]:
    """Those of all names of a corpus that the protocol tests on."""
    return frozenset(name for name, split in assign_in_order(names).items() if split == "test")


TEST_NIGHTS = _in_test(NIGHTS)
"""Sleep-EDF: the last fifth of the 153 nights in the order of their names."""
TEST_CASES = frozenset({22, 23, 24})
"""CHB-MIT: those of the paper (22, 23) and of the protocol ``biot`` (23, 24)."""
TEST_MI_SUBJECTS = frozenset(
    name[:4] for name in _in_test(f"{s}R{run:02d}" for s in MI_SUBJECTS for run in RUN_LABELS)
) | frozenset(f"S{number:03d}" for number in range(90, 110))  # fmt: skip
"""PhysioNet motor imagery: whoever has a run in the last fifth of the imagery runs, and those that
the protocol ``four-class`` tests on."""


def rule_by_name(key: str) -> str | None:
    """The built-in rule that a path below a raw folder meets, or None.

    Parameters
    ----------
    key : str
        With slashes; an absolute path knows more, for the raw folder may lie inside a test set.
    """
    *folders, name = key.split("/")
    lower = [folder.lower() for folder in folders]
    match = _CHB.match(name)
    if match and int(match[1]) in TEST_CASES:
        return f"CHB-MIT case {int(match[1])} is in a test split"
    match = _SLEEP.match(name)
    if match and match[1].upper() in TEST_NIGHTS:
        return f"Sleep-EDF night {match[1].upper()} is in the test split"
    match = _MI.match(name)
    if match and match[1].upper() in TEST_MI_SUBJECTS:
        return f"PhysioNet motor imagery: {match[1].upper()} is in a test split"
    if _SEED_V.match(name) or any(re.fullmatch(r"seed[-_ ]?v", folder) for folder in lower):
        return "SEED-V: every session has test trials"
    if any(pair in _TUAB_EVAL for pair in pairwise(lower)):
        return "TUAB: its evaluation set is the test split"
    if _TUEV_EVAL.match(name) or _tuev_eval(lower):
        return "TUEV: its evaluation set is the test split"
    return None


def _tuev_eval(folders: Sequence[str]) -> bool:
    """Whether a folder ``eval`` lies in a folder with the name of TUEV; in lower case."""
    tuev = [("tuev" in folder or "tuh_eeg_events" in folder) for folder in folders]
    return any(folder == "eval" and any(tuev[:place]) for place, folder in enumerate(folders))


@dataclasses.dataclass(frozen=True)
class Entry:
    """A test recording.

    Parameters
    ----------
    task : str
    name : str
        Of its file.
    sha256 : str
        Of what its file holds: :func:`~.unlabelled.digests.digest_of`.
    subject : str
    """

    task: str
    name: str
    sha256: str
    subject: str = ""


@dataclasses.dataclass(frozen=True)
class Exclusions:
    """The built-in rules, and the entries of lists.

    Parameters
    ----------
    entries : tuple of Entry
    whole_subjects : bool
        TUH: leave out every session of a subject who has a test recording, not that session alone.
    without_tuh_lists : bool
        Recordings of TUH may be used without lists of TUAB's and TUEV's test recordings, which
        alone tell which of its sessions they were cut from.
    """

    entries: tuple[Entry, ...] = ()
    whole_subjects: bool = False
    without_tuh_lists: bool = False

    @classmethod
    def load(
        cls,
        paths: Iterable[str | Path],
        whole_subjects: bool = False,
        without_tuh_lists: bool = False,
    ) -> Self:
        """Read lists of ``python -m dataset_scripts.exclusions``.

        Raises
        ------
        FileNotFoundError, ValueError
            A list is missing, or no such list.
        """
        entries: list[Entry] = []
        for path in paths:
            try:
                content = json.loads(Path(path).read_text("utf-8"))
                if content["version"] != VERSION:
                    raise ValueError(f"version {content['version']!r}, expected {VERSION}")
                entries += [Entry(**entry) for entry in content["entries"]]
            except FileNotFoundError:
                raise
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}: no exclusion list ({error}).") from error
        return cls(tuple(entries), whole_subjects, without_tuh_lists)

    def save(self, path: str | Path) -> None:
        """Write the entries as a list."""
        content = {"version": VERSION, "entries": [dataclasses.asdict(e) for e in self.entries]}
        write_whole(Path(path), json.dumps(content, indent=1) + "\n")

    def check_tuh(self, recordings: Iterable[UnlabelledRecording]) -> tuple[str, ...]:
        """What the lists cannot tell, where recordings of TUH are to be used; a sentence each.

        Raises
        ------
        ValueError
            A list of TUAB's or TUEV's test recordings is missing, or TUAB's has patients of the
            other kind (letters, numbers), and ``without_tuh_lists`` does not say to go on.
        """
        first = {}
        for recording in recordings:
            match = TUH_NAME.match(recording.path.name)
            if match:
                first.setdefault(match[1].isdigit(), recording.key)
        if not first:
            return ()
        missing = TUH_TASKS.difference(entry.task for entry in self.entries)
        known = {match[1].isdigit() for entry in self.entries if entry.task == "tuab"
                 for match in [TUH_NAME.match(entry.name)] if match}  # fmt: skip
        strange = first.keys() - known
        missing = sorted(missing | ({"tuab"} if strange else set()))
        if not missing:
            return (_TUEV_UNTOLD,)
        if not self.without_tuh_lists:
            key = first[min(strange)] if strange else next(iter(first.values()))
            command = as_typed("python -m dataset_scripts.exclusions")
            raise ValueError(
                f"{key} has the name of a TUH recording, and --exclude names no test recordings "
                f"of {' and '.join(missing)} in releases with names like it; they are cut from the "
                f"same archive. Make the list with {command} --raw "
                f"{' --raw '.join(f'{task}=DOWNLOAD' for task in missing)} --out exclusions.json, "
                "or say --without-tuh-lists if nothing will be tested on them."
            )
        return (
            f"No list of the test recordings of {' and '.join(missing)} was given: sessions of TUH "
            "that they are cut from may be here. Do not test on them what is pre-trained on this.",
        )

    def reason(self, recording: UnlabelledRecording, sha256: str) -> str | None:
        """Why a recording must not be used, or None.

        Parameters
        ----------
        recording : UnlabelledRecording
        sha256 : str
            Of what its file holds: :func:`~.unlabelled.digests.digest_of`.
        """
        # Unlike Path.resolve, it bears a link to itself.
        whole = (recording.path.absolute(), Path(os.path.realpath(recording.path)))
        for path in (recording.key, *(full_path.as_posix() for full_path in whole)):
            rule = rule_by_name(path)
            if rule:
                return rule
        entry = self._by_hash.get(sha256)
        if entry:
            return f"its content is that of {entry.name}, a test recording of {entry.task}"
        entry = self._by_name.get(recording.path.name.lower())
        if entry:
            return f"has the name of {entry.name}, a test recording of {entry.task}"
        session = TUH_NAME.match(recording.path.name.lower())
        entry = self._by_session.get(self._session(session)) if session else None
        if entry:
            what = f"subject {session[1]}" if self.whole_subjects else f"session {session[2]}"
            return f"{what} of TUH is that of {entry.name}, a test recording of {entry.task}"
        return None

    def describe(self) -> list[str]:
        """The rules in words."""
        lines = [
            "built-in rules by name: CHB-MIT cases 22 to 24; Sleep-EDF, the last fifth of the "
            "nights; PhysioNet motor imagery, subjects with a run in the last fifth, and from S090 "
            "on; SEED-V, all; TUAB and TUEV, evaluation sets"
        ]
        for task in sorted({entry.task for entry in self.entries}):
            count = sum(entry.task == task for entry in self.entries)
            lines.append(f"{task}: {count} test recordings by hash and by name")
        return lines

    def digest(self) -> str:
        """Hash of all entries and of the version of the rules."""
        entries = [dataclasses.asdict(entry) for entry in self.entries]
        text = json.dumps([entries, self.whole_subjects, _RULES])
        return hashlib.sha256(text.encode()).hexdigest()

    def _session(self, match: re.Match[str]) -> tuple[str, ...]:
        return (match[1],) if self.whole_subjects else (match[1], match[2])

    @cached_property
    def _by_hash(self) -> dict[str, Entry]:
        return {entry.sha256: entry for entry in self.entries}

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {entry.name.lower(): entry for entry in self.entries}

    @cached_property
    def _by_session(self) -> dict[tuple[str, ...], Entry]:
        matches = ((TUH_NAME.match(entry.name.lower()), entry) for entry in self.entries)
        return {self._session(match): entry for match, entry in matches if match}
