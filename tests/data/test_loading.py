"""Prepared corpora and joint batches: the right windows, in the plan's order, from any step on."""

from __future__ import annotations

import gc
import shutil
import threading
import time

import numpy as np
import pytest
import torch
from tiny_corpora import CARDS, save_corpora, save_corpus, signals

from modeling_mteeg.data import (
    EpochPlan,
    JointBatches,
    WindowFormatError,
    load_corpora,
    load_corpus,
    model_inputs,
    read_ahead,
    training_mixes,
)
from modeling_mteeg.model.channels import channel_ids
from modeling_mteeg.model.task_card import TaskCard

SIZES = {"tuab": (40, 6, 5), "seed-v": (23, 4, 3), "sleep-edf": (7, 3, 3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def corpora(folder):
    return load_corpora(folder, list(SIZES))


def plan_of(corpora, **options):
    options = {"batch_size": 16, "seed": 1, "epoch": 0} | options
    return EpochPlan(training_mixes(corpora), **options)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[task][key], other[task][key]) for task in one for key in one[task]
    )


def test_corpora_come_with_cards_and_splits(corpora):
    assert list(corpora) == list(SIZES)
    for task, corpus in corpora.items():
        assert corpus.card == CARDS[task]
        sizes = tuple(len(corpus.splits[name]) for name in ("train", "validation", "test"))
        assert sizes == SIZES[task]


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_batches_hold_the_plans_windows_in_model_units(corpora, prefetch):
    plan = plan_of(corpora)
    batches = list(JointBatches(corpora, plan, prefetch=prefetch))
    assert len(batches) == plan.num_steps == len(JointBatches(corpora, plan))
    for step, batch in enumerate(batches):
        rows = {task: rows for task, rows in plan.step_indices(step).items() if len(rows)}
        assert batch.keys() == rows.keys()
        for task, part in batch.items():
            card = CARDS[task]
            window = signals(card, SIZES[task][0], 0)[rows[task]] / card.scale_uv
            values = part["input_values"]
            assert values.dtype == torch.float32
            assert values.shape == (len(rows[task]), len(card.channels), card.patches, 200)
            assert np.allclose(values.flatten(2).numpy(), window, rtol=1e-6)
            assert np.array_equal(part["channel_ids"], channel_ids(card.channels))
            assert part["labels"].dtype == torch.int64
            assert np.array_equal(part["labels"], rows[task] % len(card.labels))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_resuming_at_any_step_gives_the_remaining_batches(corpora, prefetch):
    plan = plan_of(corpora, slices=2)
    whole = list(JointBatches(corpora, plan, prefetch=prefetch))
    for start in range(plan.num_steps + 1):
        rest = JointBatches(corpora, plan_of(corpora, slices=2), 0, start, prefetch)
        batches = list(rest)
        assert len(batches) == len(rest) == len(whole) - 2 * start
        assert all(same(a, b) for a, b in zip(batches, whole[2 * start :], strict=True))


@pytest.mark.parametrize("world_size, slices", [(2, 1), (3, 2)])
def test_processes_together_read_what_one_reads(corpora, world_size, slices):
    single, plan = plan_of(corpora), plan_of(corpora, world_size=world_size, slices=slices)
    alone = JointBatches(corpora, single)
    ranks = [JointBatches(corpora, plan, rank) for rank in range(world_size)]
    for step in range(plan.num_steps):
        expected = alone.batch(step)
        parts = [joint.batch(step, part) for joint in ranks for part in range(slices)]
        for task in plan.tasks:
            found = [part[task]["input_values"] for part in parts if task in part]
            if task not in expected:
                assert not found
                continue
            keys = sorted(window.sum().item() for window in torch.cat(found))
            assert keys == sorted(w.sum().item() for w in expected[task]["input_values"])


def test_the_cards_unit_and_bipolar_rule_hold(tmp_path):
    card = TaskCard("chb-mit", ("background", "seizure"), ("FP1-F7", "C3-P3"), window_s=1)
    save_corpus(tmp_path, card, (4, 2, 2))
    corpus = load_corpus(tmp_path)
    reader, rows = corpus.splits["train"], np.arange(4)
    for rule, scale in (("mean", 100.0), ("table", 50.0)):
        batch = model_inputs(reader, card.replace(bipolar=rule, scale_uv=scale), rows)
        assert batch["channel_ids"].tolist() == channel_ids(card.channels, rule).tolist()
        values = batch["input_values"].flatten(2).numpy()
        np.testing.assert_allclose(values, signals(card, 4, 0) / scale, rtol=1e-6)
    assert (
        channel_ids(card.channels, "mean").tolist() != channel_ids(card.channels, "table").tolist()
    )


def test_a_task_without_samples_is_left_out(corpora):
    plan = plan_of(corpora, batch_size=8)
    assert not plan.always_present
    held = [set(batch) for batch in JointBatches(corpora, plan)]
    assert any("sleep-edf" not in tasks for tasks in held)
    assert sum("sleep-edf" in tasks for tasks in held) == SIZES["sleep-edf"][0]


def test_sampling_rules_reach_the_plan(corpora):
    rules = {"tuab": {"negative_fraction": 0.1}, "seed-v": {"fraction": 0.5}, "tuev": {}}
    mixes = {mix.name: mix.drawn for mix in training_mixes(corpora, rules)}
    assert mixes == {"tuab": 20 + 2, "seed-v": 12, "sleep-edf": 7}
    with pytest.raises(ValueError, match="unknown task"):
        training_mixes(corpora, {"sleep": {"fraction": 0.5}})
    with pytest.raises(ValueError, match="two classes"):
        training_mixes(corpora, {"seed-v": {"negative_fraction": 0.5}})


def test_corpora_and_plan_must_fit(corpora):
    plan = plan_of(corpora, world_size=2)
    with pytest.raises(ValueError, match="seed-v"):
        JointBatches({"tuab": corpora["tuab"]}, plan_of({"seed-v": corpora["seed-v"]}))
    for arguments in [{"rank": 2}, {"start_step": plan.num_steps + 1}, {"prefetch": -1}]:
        with pytest.raises(ValueError, match="expected"):
            JointBatches(corpora, plan, **arguments)


def test_reading_ahead_keeps_order_and_raises_in_place():
    def items():
        yield from range(5)
        raise RuntimeError("broken row")

    seen = []
    with pytest.raises(RuntimeError, match="broken row"):
        for item in read_ahead(items(), 2):
            seen.append(item)
    assert seen == list(range(5))
    assert list(read_ahead(iter(range(50)), 3)) == list(range(50))


def test_reading_ahead_stops_with_its_reader():
    def threads():
        return [t for t in threading.enumerate() if t.name == "mteeg-read-ahead"]

    taken = []

    def items():
        for item in range(1000):
            taken.append(item)
            yield item

    ahead = read_ahead(items(), 2)
    assert next(ahead) == 0
    ahead.close()
    assert not threads() and len(taken) <= 5
    dropped = read_ahead(iter(range(1000)), 2)
    next(dropped)
    del dropped
    gc.collect()
    for _ in range(100):
        if not threads():
            break
        time.sleep(0.05)
    assert not threads()


def test_missing_tasks_are_listed_with_those_there(folder):
    with pytest.raises(FileNotFoundError) as error:
        load_corpora(folder, ["tuab", "tuev", "chb-mit"])
    assert "['tuev', 'chb-mit']" in str(error.value)
    assert "['seed-v', 'sleep-edf', 'tuab']" in str(error.value)
    for tasks in ([], "tuab", ["tuab", "tuab"]):
        with pytest.raises(ValueError, match="tasks: expected"):
            load_corpora(folder, tasks)
    with pytest.raises(FileNotFoundError, match="expected the folder"):
        load_corpus(folder / "tuev")


def test_an_incomplete_or_misnamed_folder_is_an_error(folder, tmp_path):
    shutil.copytree(folder / "tuab", tmp_path / "tuev")
    with pytest.raises(ValueError, match="expected the task 'tuev', found 'tuab'"):
        load_corpora(tmp_path, ["tuev"])
    shutil.rmtree(tmp_path / "tuev" / "test")
    with pytest.raises(FileNotFoundError, match=r"missing: \['test'\]"):
        load_corpus(tmp_path / "tuev")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labels": ("abnormal", "normal")}, "labels"),
        ({"channels": ("FP2", "FP1", "C3")}, "channels"),
        ({"window_s": 3}, "samples per window: expected 600 .* found 400"),
    ],
)
def test_a_card_that_contradicts_the_windows_is_an_error(tmp_path, changes, message):
    save_corpus(tmp_path / "tuab", CARDS["tuab"], (3, 2, 2))
    CARDS["tuab"].replace(**changes).save(tmp_path / "tuab")
    with pytest.raises(WindowFormatError, match=message):
        load_corpus(tmp_path / "tuab")
