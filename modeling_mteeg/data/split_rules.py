"""Which window goes to which part: folds over people, blocks in time, calibration of new people.

A rule is a function of the windows' names, times and classes and of a seed. Shuffles are orders by
SHA-256, the same on every machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .._clone import as_typed
from .leaks import WindowTable, overlapping

TRAIN, VALIDATION, TEST, LEFT_OUT = 0, 1, 2, -1
SHARES = (0.64, 0.16, 0.20)
"""Train, validation and test of every recording within subjects, as of corpora split in order."""
_RULE = re.compile(
    r"(?:(corpus|kfold:(\d+)|leave-one-subject-out|within-subject(?::(\d+))?)"
    r"(?:\+few-shot:(\d+))?|few-shot:(\d+))"
)
FORMS = (
    "corpus, kfold:6, leave-one-subject-out, within-subject, within-subject:5, few-shot:20, or one "
    "of the first three with +few-shot:20 behind it"
)


class SplitError(ValueError):
    """A split that cannot be made of the windows that are there."""


@dataclasses.dataclass(frozen=True)
class SplitRule:
    """A split as ``data.split`` names it.

    Parameters
    ----------
    kind : str
        ``corpus`` (as stored), ``kfold``, ``leave-one-subject-out``, ``within-subject``.
    folds : int, optional
        Number of folds of ``kfold``, or of ``within-subject`` in blocks.
    few_shot : int, optional
        Labelled windows of every person of the test that go to the training.
    """

    kind: str = "corpus"
    folds: int | None = None
    few_shot: int | None = None

    @classmethod
    def parse(cls, text: str) -> SplitRule:
        """``kfold:6+few-shot:20`` and the like.

        Raises
        ------
        SplitError
            It is none of ``FORMS``.
        """
        match = _RULE.fullmatch(text)
        if not match:
            raise SplitError(f"data.split: expected {FORMS}; found {text!r}.")
        kind, folds, blocks, added, alone = match.groups()
        number = next((int(part) for part in (folds, blocks) if part), None)
        shots = next((int(part) for part in (added, alone) if part), None)
        rule = cls((kind or "corpus").partition(":")[0], number, shots)
        least = {"kfold": 2, "within-subject": 3}.get(rule.kind, 0)
        if rule.folds is not None and rule.folds < least:
            raise SplitError(
                f"data.split: {rule.kind} needs {least} folds or more, found {text!r}."
            )
        if shots == 0 or (shots and rule.kind == "within-subject"):
            raise SplitError(
                f"data.split: {text!r}: few-shot takes 1 window or more of people that are in the "
                "test alone, so it goes with corpus, kfold and leave-one-subject-out."
            )
        return rule

    @property
    def has_folds(self) -> bool:
        """Whether ``data.fold`` chooses one of several."""
        return self.kind == "leave-one-subject-out" or self.folds is not None

    def number_of_folds(self, subjects: Iterable[str]) -> int | None:
        """How many folds there are for these people; None: the rule has none."""
        if self.kind == "leave-one-subject-out":
            return len(set(subjects))
        return self.folds


def assign(
    rule: SplitRule,
    windows: WindowTable,
    stored: np.ndarray,
    seed: int,
    fold: int | None,
    validation_share: float,
) -> tuple[np.ndarray, str]:
    """The part of every window, and the rule in words.

    Parameters
    ----------
    rule : SplitRule
    windows : WindowTable
    stored : np.ndarray, (n,), int
        The part that the prepared corpus gave each.
    seed : int
    fold : int or None
        From 0; None where the rule has no folds.
    validation_share : float
        Of the training people of a fold.

    Returns
    -------
    tuple
        (n,) int8 of ``TRAIN``, ``VALIDATION``, ``TEST``, ``LEFT_OUT``; and a sentence.

    Raises
    ------
    SplitError
        There are too few people or windows, or no such fold.
    """
    folds = rule.number_of_folds(windows.subjects)
    if (fold is None) != (folds is None) or (folds is not None and not 0 <= fold < folds):
        expected = "no fold" if folds is None else f"0 to {folds - 1}"
        raise SplitError(
            f"data.fold: expected {expected}, found {'none' if fold is None else fold}. All folds "
            f"at once: {as_typed('python recipes/cross_validate.py')}."
        )
    if rule.kind == "corpus":
        parts, words = stored.astype(np.int8), "the corpus's own"
    elif rule.kind == "within-subject":
        parts, words = _within_people(windows, rule.folds, seed, fold)
    else:
        parts, words = _over_people(rule, windows, seed, fold, folds, validation_share)
    if rule.few_shot:
        parts = _with_calibration(windows, parts, rule.few_shot, seed)
        words += (f"; few-shot: {rule.few_shot} labelled windows of every person of the test go to "
                  "the training")  # fmt: skip
    counts = {
        name: int((parts == part).sum())
        for part, name in enumerate(("train", "validation", "test"))
    }
    if not all(counts.values()):
        shown = ", ".join(f"{name} {number}" for name, number in counts.items())
        raise SplitError(f"data.split: a part has no window ({shown}); choose another split.")
    return parts, words


def by_hash(names: Iterable[str], *seed: object) -> list[str]:
    """Names in an order drawn from ``seed``, the same everywhere."""
    salt = "/".join(map(str, seed))
    return sorted(
        sorted(names), key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest()
    )


# Over people ------------------------------------------------------------------------------------


def strata(classes_of: Mapping[str, frozenset[int]]) -> list[list[str]]:
    """People by class where every person has one class only; else all in one group."""
    kinds = set(classes_of.values())
    if any(len(kind) > 1 for kind in kinds):
        return [sorted(classes_of)]
    return [sorted(name for name, kind in classes_of.items() if kind == one)
            for one in sorted(kinds, key=sorted)]  # fmt: skip


def people_of_folds(
    classes_of: Mapping[str, frozenset[int]], folds: int, seed: int
) -> list[list[str]]:
    """People of every fold: their numbers differ by at most one, those of a stratum too."""
    if folds > len(classes_of):
        raise SplitError(
            f"data.split: expected at most as many folds as people ({len(classes_of)}), found "
            f"{folds}."
        )
    ordered = [name for group in strata(classes_of) for name in by_hash(group, seed, "folds")]
    return [sorted(ordered[fold::folds]) for fold in range(folds)]


def _over_people(
    rule: SplitRule, windows: WindowTable, seed: int, fold: int, folds: int, share: float
) -> tuple[np.ndarray, str]:
    classes_of = windows.classes_of
    if rule.kind == "kfold":
        tested = people_of_folds(classes_of, folds, seed)[fold]
    else:
        tested = [sorted(classes_of)[fold]]
    validation = []
    for group in strata(classes_of):
        others = by_hash((name for name in group if name not in tested), seed, "validation", fold)
        if len(others) < 2:
            raise SplitError(
                f"data.split: {rule.kind} fold {fold} leaves {len(others)} people of a class (or "
                "in all) to train and validate with; 2 or more are needed."
            )
        validation += others[: min(len(others) - 1, max(1, round(share * len(others))))]
    part_of = dict.fromkeys(classes_of, TRAIN)
    part_of |= dict.fromkeys(validation, VALIDATION) | dict.fromkeys(tested, TEST)
    parts = np.array([part_of[name] for name in windows.subjects], np.int8)
    training = len(classes_of) - len(tested)
    words = f"fold {fold} (of 0 to {folds - 1}) over {len(classes_of)} people"
    if rule.kind == "leave-one-subject-out":
        words = f"leave one subject out, {words}"
    words += f" (seed {seed}), {len(validation)} of the other {training} people validate"
    if len(strata(classes_of)) > 1:
        words += ", stratified by class"
    return parts, words


# Within people ----------------------------------------------------------------------------------


def _within_people(
    windows: WindowTable, folds: int | None, seed: int, fold: int | None
) -> tuple[np.ndarray, str]:
    """Contiguous blocks in time of every recording; what would overlap another part is left out."""
    parts = np.full(len(windows), TRAIN, np.int8)
    for name, rows in windows.recordings_in_time():
        blocks = folds or len(SHARES)
        # Seed 0 keeps the order of time; another one draws it for every recording.
        order = [int(block) for block in by_hash(map(str, range(blocks)), seed, *name)]
        order = order if seed else list(range(blocks))
        if folds is None:
            shares = np.array(SHARES)[order]
            edges = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
            for part, block in zip(order, np.split(rows, edges), strict=True):
                parts[block] = part
        else:
            pieces = np.array_split(rows, folds)
            parts[pieces[order[(fold + 1) % folds]]] = VALIDATION
            parts[pieces[order[fold]]] = TEST
    # The test stays whole: windows of other parts that overlap it are left out, then of training.
    for part, later in ((VALIDATION, (TEST,)), (TRAIN, (VALIDATION, TEST))):
        mine, others = np.flatnonzero(parts == part), np.flatnonzero(np.isin(parts, later))
        parts[mine[overlapping(windows, mine, others)]] = LEFT_OUT
    which = f"{' / '.join(f'{share:.0%}' for share in SHARES)}" if folds is None else (
        f"block {fold} of 0 to {folds - 1} is tested, the next one validates")  # fmt: skip
    order = "in the order of time" if not seed else f"blocks in an order drawn from seed {seed}"
    return parts, f"within subject, contiguous blocks of every recording ({which}), {order}"


def _with_calibration(
    windows: WindowTable, parts: np.ndarray, number: int, seed: int
) -> np.ndarray:
    """``number`` windows of every person of the test go to the training, of each class a run."""
    parts = parts.copy()
    for person in sorted(set(windows.subjects[parts == TEST])):
        mine = np.flatnonzero((windows.subjects == person) & (parts == TEST))
        mine = mine[windows.time_order(mine)]
        classes = np.unique(windows.labels[mine])
        runs = {label: mine[windows.labels[mine] == label] for label in classes.tolist()}
        taken = _dealt_to_classes({label: len(rows) - 1 for label, rows in runs.items()}, number)
        if taken is None:
            there = ", ".join(f"{len(rows)} of class {label}" for label, rows in runs.items())
            raise SplitError(
                f"data.split: few-shot:{number} leaves no window of every class of {person!r} to "
                f"test ({there}); take fewer."
            )
        calibration = []
        for label, count in taken.items():
            spare = len(runs[label]) - count
            # Seed 0: the earliest, as in use; another seed draws where the run begins.
            digest = hashlib.sha256(f"{seed}/{person}/{label}".encode()).digest()
            start = int.from_bytes(digest[:8], "big") % (spare + 1) if seed else 0
            calibration += runs[label][start : start + count].tolist()
        rest = np.setdiff1d(mine, calibration)
        parts[calibration] = TRAIN
        parts[rest[overlapping(windows, rest, np.array(calibration))]] = LEFT_OUT
    return parts


def _dealt_to_classes(most: Mapping[int, int], number: int) -> dict[int, int] | None:
    """``number`` windows dealt to the classes in turn, of each at most ``most``; None: too few."""
    taken = dict.fromkeys(most, 0)
    if sum(most.values()) < number:
        return None
    while sum(taken.values()) < number:
        for label in taken:
            if taken[label] < most[label] and sum(taken.values()) < number:
                taken[label] += 1
    return taken


def fold_numbers(rule: SplitRule, subjects: Sequence[str]) -> range:
    """All folds, for cross-validation.

    Raises
    ------
    SplitError
        The rule has none.
    """
    folds = rule.number_of_folds(subjects)
    if folds is None:
        raise SplitError(
            "data.split: cross-validation takes kfold:N, leave-one-subject-out or within-subject:N "
            "(N blocks in time), found a split without folds."
        )
    return range(folds)
