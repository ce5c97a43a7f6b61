"""Splits are a function of sorted names, cover everything once, and say what they share."""

from __future__ import annotations

import random

import pytest

from modeling_mteeg.dataset_scripts.splits import (
    SPLITS,
    SplitError,
    check_filled,
    cut_in_order,
    make_manifest,
    manifest_hash,
    shared_subjects,
    train_or_validation,
    within_groups,
)


def test_recordings_in_order_as_the_paper_cuts_them() -> None:
    splits = cut_in_order(153)
    assert [splits.count(split) for split in SPLITS] == [98, 24, 31]
    assert splits == sorted(splits, key=SPLITS.index)


@pytest.mark.parametrize("count", range(40))
def test_every_count_is_covered_once_and_in_order(count: int) -> None:
    splits = cut_in_order(count)
    assert len(splits) == count
    assert splits == sorted(splits, key=SPLITS.index)


def test_subjects_train_first_and_do_not_depend_on_order() -> None:
    names = [f"aaaa{i:02d}" for i in range(11)]
    expected = train_or_validation(names)
    assert list(expected.values()).count("train") == 8
    assert max(n for n in names if expected[n] == "train") < min(
        n for n in names if expected[n] == "validation"
    )
    shuffled = names * 2
    random.Random(1).shuffle(shuffled)
    assert train_or_validation(shuffled) == expected


def test_within_groups_cuts_every_group_in_its_own_order() -> None:
    groups = ["rest", "left"] * 10
    splits = within_groups(groups)
    for label in ("rest", "left"):
        of_group = [split for split, group in zip(splits, groups, strict=True) if group == label]
        assert of_group == cut_in_order(10)


def test_manifest_is_sorted_and_its_hash_is_of_the_content_only() -> None:
    assignments = {f"S{i:03d}": SPLITS[i % 3] for i in range(20)}
    backwards = dict(reversed(assignments.items()))
    manifest = make_manifest("tuab", "protocol: paper", backwards)
    assert list(manifest["assignments"]) == sorted(assignments)
    assert manifest["hash"] == manifest_hash("tuab", "protocol: paper", assignments)
    moved = assignments | {"S000": "test"}
    assert manifest_hash("tuab", "protocol: paper", moved) != manifest["hash"]
    assert manifest_hash("tuev", "protocol: paper", assignments) != manifest["hash"]


def test_empty_splits_are_named_with_the_remedy() -> None:
    with pytest.raises(SplitError, match=r"validation empty \(train 3, validation 0, test 1\).*Do"):
        check_filled("tuab", {"train": 3, "test": 1}, ["Do that."])


def test_shared_subjects_are_named() -> None:
    assert shared_subjects({"a": {"train"}, "b": {"test"}}) == []
    lines = shared_subjects({"a": {"train", "test"}, "b": {"validation", "test"}})
    assert len(lines) == 2
    assert "train and test share 1 subject(s): a" in lines[0]
    assert "validation and test share 1 subject(s): b" in lines[1]
