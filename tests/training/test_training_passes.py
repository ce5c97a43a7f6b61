"""Passes of bounded size: every sample once, the bound kept, whole tasks where they fit."""

from __future__ import annotations

import pytest
import torch

from modeling_mteeg.training.passes import split_passes

SHAPES = {"tuab": (16, 23, 10), "tuev": (16, 23, 5), "seed-v": (16, 62, 1), "sleep-edf": (7, 2, 30)}


def make_batches(shapes=SHAPES):
    return {
        task: {
            "input_values": torch.arange(samples).view(-1, 1, 1, 1).expand(-1, channels, patches, 8)
            + 1000.0 * number,
            "channel_ids": torch.ones(channels, 2, dtype=torch.long),
            "labels": torch.arange(samples),
        }
        for number, (task, (samples, channels, patches)) in enumerate(shapes.items())
    }


def of_a_sample(batch):
    return 1 + batch["input_values"].shape[1:].numel() // 8


def tokens(batch):
    return len(batch["labels"]) * of_a_sample(batch)


def test_without_a_bound_there_is_one_pass():
    batches = make_batches()
    assert split_passes(batches, None, of_a_sample) == [batches]


@pytest.mark.parametrize("bound", [1, 61, 231, 500, 1000, 16 * 231, 10**6])
def test_every_sample_is_in_one_pass_and_no_pass_is_larger_than_it_must_be(bound):
    batches = make_batches()
    passes = split_passes(batches, bound, of_a_sample)
    for task, batch in batches.items():
        parts = [one[task] for one in passes if task in one]
        labels = torch.cat([part["labels"] for part in parts])
        order = labels.argsort(stable=True)
        assert torch.equal(labels[order], batch["labels"])
        values = torch.cat([part["input_values"] for part in parts])[order]
        assert torch.equal(values, batch["input_values"])
        assert all(part["channel_ids"] is batch["channel_ids"] for part in parts)
        if tokens(batch) <= bound:
            assert len(parts) == 1
        else:
            sizes = [len(part["labels"]) for part in parts]
            assert max(sizes) - min(sizes) <= 1
    for one in passes:
        samples = sum(len(part["labels"]) for part in one.values())
        assert samples == 1 or sum(tokens(part) for part in one.values()) <= bound


def test_small_tasks_share_a_pass():
    passes = split_passes(make_batches(), 16 * 231, of_a_sample)
    assert sorted(sorted(one) for one in passes) == [["seed-v", "sleep-edf", "tuev"], ["tuab"]]


def test_a_task_without_samples_is_in_no_pass():
    batches = make_batches({"tuab": (3, 2, 2), "tuev": (0, 2, 2)})
    assert [set(one) for one in split_passes(batches, 100, of_a_sample)] == [{"tuab"}]


def test_windows_without_a_patch_axis_count_the_same():
    flat = {
        task: {**batch, "input_values": batch["input_values"].flatten(2)}
        for task, batch in make_batches().items()
    }
    for ours, theirs in zip(
        split_passes(flat, 700, of_a_sample),
        split_passes(make_batches(), 700, of_a_sample),
        strict=True,
    ):
        assert {t: len(b["labels"]) for t, b in ours.items()} == {
            t: len(b["labels"]) for t, b in theirs.items()
        }
