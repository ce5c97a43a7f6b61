"""Which unit belongs to which split: rules, manifest, hash, leaks.

A manifest is a function of the sorted names of the recordings only: not of the file system's
order, nor of the number of processes, nor of a random number.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from modeling_mteeg.data.leaks import shared_names

SPLITS = ("train", "validation", "test")
ORDER_SHARES = (0.64, 0.16, 0.20)
"""Train, validation and test of corpora that are split in order (paper, appendix B.1)."""
TRAIN_SHARE = 0.8
"""Share of the published training set's subjects that stay in training (appendix B.1)."""


class SplitError(ValueError):
    """A split that cannot be made from the recordings that are there."""


def cut_in_order(count: int, shares: Sequence[float] = ORDER_SHARES) -> list[str]:
    """Splits of ``count`` things in order.

    Parameters
    ----------
    count : int
    shares : sequence of float
        Shares of train, validation and test; they sum to 1.

    Returns
    -------
    list of str
        ``count`` names of splits. The borders are the cumulative shares, rounded to the nearest
        whole number (153 recordings: 98, 24, 31).
    """
    first = round(count * shares[0])
    second = max(first, round(count * (shares[0] + shares[1])))
    return [SPLITS[0]] * first + [SPLITS[1]] * (second - first) + [SPLITS[2]] * (count - second)


def assign_in_order(names: Iterable[str], shares: Sequence[float] = ORDER_SHARES) -> dict[str, str]:
    """Split of every name, by their order: ``cut_in_order`` of the sorted names."""
    ordered = sorted(set(names))
    return dict(zip(ordered, cut_in_order(len(ordered), shares), strict=True))


def assign_people(classes: Mapping[str, Collection[str]], seed: int = 0) -> dict[str, str]:
    """Split of every person, 64/16/20, whole people only, shuffled the same way everywhere.

    Parameters
    ----------
    classes : mapping of str to collection of str
        Person to the classes of the person's windows. Where every person is of one class alone
        (patient or control), every class is split for itself; else all people together. Who
        has none, since nothing of theirs can be read, does not move the others.
    seed : int
        Orders the people by the SHA-256 of seed and name.

    Raises
    ------
    SplitError
        Fewer than three people, or of a class that has people of its own.

    Notes
    -----
    The numbers are ``cut_in_order``'s, but every group has a person in every split.
    """
    single = all(len(set(own)) < 2 for own in classes.values())
    groups: dict[str, list[str]] = {}
    result = {person: "train" for person, own in classes.items() if not own}
    for person, own in classes.items():
        if not own:
            continue
        groups.setdefault(next(iter(own)) if single else "", []).append(person)
    for group, people in sorted(groups.items()):
        if len(people) < len(SPLITS):
            of_class = f" of class {group!r}" if group else ""
            raise SplitError(
                f"expected three or more people{of_class}, one for each of {', '.join(SPLITS)}, "
                f"found {len(people)}: {', '.join(sorted(people))}. Add people."
            )
        people.sort(key=lambda person: hashlib.sha256(f"{seed}/{person}".encode()).digest())
        splits = cut_in_order(len(people))
        if "validation" not in splits:  # three or four people
            splits[splits.index("test") - 1] = "validation"
        result |= dict(zip(people, splits, strict=True))
    return result


def train_or_validation(
    subjects: Sequence[str],
    share: float = TRAIN_SHARE,
    seed: int | None = None,
    round_up: bool = False,
) -> dict[str, str]:
    """Split of subjects: the first ``floor(share * n)`` of the names train, the others validate.

    Parameters
    ----------
    subjects : sequence of str
    share : float
    seed : int, optional
        Orders the names by the SHA-256 of seed and name, a shuffle that is the same everywhere;
        without it they are sorted.
    round_up : bool
        ``ceil(share * n)`` train instead.
    """
    ordered = sorted(set(subjects))
    if seed is not None:
        ordered.sort(key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    exact = round(len(ordered) * share, 6)  # 0.8 is no binary fraction
    border = math.ceil(exact) if round_up else math.floor(exact)
    return {subject: SPLITS[0] if i < border else SPLITS[1] for i, subject in enumerate(ordered)}


def within_groups(groups: Sequence[Hashable]) -> list[str]:
    """Splits of windows in order, such that every group is cut 64/16/20 in its own order.

    Parameters
    ----------
    groups : sequence
        Group of every window, such as (subject, label).

    Returns
    -------
    list of str
        Split of every window.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    result = [""] * len(groups)
    for indices in members.values():
        for index, split in zip(indices, cut_in_order(len(indices)), strict=True):
            result[index] = split
    return result


def sha256_of(content: Any) -> str:
    """SHA-256 of plain types, independent of the order of mappings."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def manifest_hash(task: str, rule: str, assignments: Mapping[str, str]) -> str:
    """SHA-256 of a manifest: task, rule and which unit is in which split."""
    return sha256_of({"task": task, "rule": rule, "assignments": dict(assignments)})


def make_manifest(task: str, rule: str, assignments: Mapping[str, str]) -> dict[str, Any]:
    """What ``splits.json`` says of the split: rule, hash, units sorted by name."""
    return {
        "task": task,
        "rule": rule,
        "hash": manifest_hash(task, rule, assignments),
        "assignments": dict(sorted(assignments.items())),
    }


def check_filled(task: str, counts: Mapping[str, int], remedies: Sequence[str]) -> None:
    """Raise :class:`SplitError` where a split has nothing in it, with what can be done."""
    empty = [split for split in SPLITS if not counts.get(split)]
    if empty:
        shown = ", ".join(f"{split} {counts.get(split, 0)}" for split in SPLITS)
        raise SplitError(
            f"{task}: the split leaves {' and '.join(empty)} empty ({shown}). " + " ".join(remedies)
        )


def shared_subjects(subject_splits: Mapping[str, set[str]]) -> list[str]:
    """A line for every pair of splits that share subjects.

    Parameters
    ----------
    subject_splits : mapping
        Subject to the splits in which it occurs.
    """
    return shared_names(subject_splits, "subject(s)")
