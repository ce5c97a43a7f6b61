"""The plan of an epoch: without replacement, in proportion, any number of processes alike."""

from __future__ import annotations

import random

import numpy as np
import pytest

from modeling_mteeg.data.mixing import (
    PAPER_SAMPLING,
    EpochPlan,
    SamplingRule,
    TaskMix,
    sampling_rules,
)

SIZES = {"tuab": 1000, "tuev": 333, "seed-v": 97, "sleep-edf": 41}


def mixes(**changes):
    return [TaskMix(name, size, **changes.get(name, {})) for name, size in SIZES.items()]


def steps_of(plan):
    return [plan.step_indices(step) for step in range(plan.num_steps)]


def equal_steps(one, other):
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(np.array_equal(a[task], b[task]) for task in a)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("batch_size", [1, 7, 64, 500, 5000])
def test_every_drawn_sample_occurs_exactly_once(batch_size):
    plan = EpochPlan(mixes(tuab={"fraction": 0.1}), batch_size, seed=3, epoch=2)
    seen = {task: np.concatenate([s[task] for s in steps_of(plan)]) for task in plan.tasks}
    for task, rows in seen.items():
        assert len(set(rows.tolist())) == len(rows) == plan.drawn[task]
        assert rows.min() >= 0 and rows.max() < SIZES[task]
    assert plan.drawn["tuab"] == 100
    for task in ("tuev", "seed-v", "sleep-edf"):
        assert sorted(seen[task].tolist()) == list(range(SIZES[task]))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 500])
def test_every_step_is_in_proportion(batch_size):
    plan = EpochPlan(mixes(), batch_size)
    total = sum(plan.drawn.values())
    for step in range(plan.num_steps):
        counts = plan.counts(step)
        assert sum(counts.values()) <= batch_size
        assert abs(sum(counts.values()) - total / plan.num_steps) < 1
        for task, count in counts.items():
            assert abs(count - plan.drawn[task] / plan.num_steps) < 1
            assert count == len(plan.step_indices(step)[task])


def test_a_rare_task_is_spread_over_the_epoch():
    plan = EpochPlan([TaskMix("big", 4000), TaskMix("rare", 10)], batch_size=40)
    held = [step for step in range(plan.num_steps) if plan.counts(step)["rare"]]
    assert len(held) == 10
    for quarter in range(4):
        part = [s for s in held if quarter <= 4 * s / plan.num_steps < quarter + 1]
        assert 1 <= len(part) <= 4


@pytest.mark.parametrize("world_size, slices", [(1, 1), (2, 1), (3, 1), (1, 2), (2, 3), (7, 2)])
def test_processes_and_slices_share_the_same_step(world_size, slices):
    single = EpochPlan(mixes(), 50, seed=1, epoch=4)
    plan = EpochPlan(mixes(), 50, seed=1, epoch=4, world_size=world_size, slices=slices)
    assert plan.num_steps == single.num_steps
    sizes = np.zeros((plan.num_steps, world_size), int)
    for step in range(plan.num_steps):
        whole = single.step_indices(step)
        parts = {
            (rank, part): plan.indices(step, rank, part)
            for rank in range(world_size)
            for part in range(slices)
        }
        for task in plan.tasks:
            union = np.concatenate([part[task] for part in parts.values()])
            assert sorted(union.tolist()) == sorted(whole[task].tolist())
            per_rank = [
                sum(len(parts[rank, part][task]) for part in range(slices))
                for rank in range(world_size)
            ]
            assert max(per_rank) - min(per_rank) <= 1
        for (rank, _), part in parts.items():
            sizes[step, rank] += sum(len(rows) for rows in part.values())
        lengths = [sum(len(rows) for rows in part.values()) for part in parts.values()]
        assert max(lengths) - min(lengths) <= 1
    assert np.ptp(sizes, axis=1).max() <= 1
    assert np.ptp(sizes.sum(axis=0)) <= world_size  # no process is ahead all the time


def test_a_plan_depends_on_seed_and_epoch_only():
    plan = steps_of(EpochPlan(mixes(), 50, seed=1, epoch=1))
    random.seed(5), np.random.seed(5)
    assert equal_steps(plan, steps_of(EpochPlan(mixes()[::-1], 50, seed=1, epoch=1)))
    for seed, epoch in [(2, 1), (1, 2), (0, 0)]:
        other = EpochPlan(mixes(), 50, seed=seed, epoch=epoch)
        assert not equal_steps(plan, steps_of(other))
        assert [len(rows) for s in plan for rows in s.values()] == [
            len(rows) for s in steps_of(other) for rows in s.values()
        ]


def test_asking_in_any_order_gives_the_same_step():
    plan = EpochPlan(mixes(), 50, seed=9)
    late = plan.indices(plan.num_steps - 1)
    for step in range(plan.num_steps):
        plan.indices(step)
    assert equal_steps([late], [plan.indices(plan.num_steps - 1)])


def test_a_tasks_draw_does_not_depend_on_the_other_tasks():
    alone = EpochPlan([TaskMix("seed-v", 97)], 10, seed=2, epoch=3)
    joint = EpochPlan(mixes(), 50, seed=2, epoch=3)
    order = [np.concatenate([s["seed-v"] for s in steps_of(plan)]) for plan in (alone, joint)]
    assert np.array_equal(*order)


def test_tasks_of_one_size_are_not_in_one_order():
    plan = EpochPlan([TaskMix("tuab", 50), TaskMix("tuev", 50)], 100)
    step = plan.step_indices(0)
    assert not np.array_equal(step["tuab"], step["tuev"])


def test_negatives_are_drawn_anew_and_positives_all_kept():
    labels = np.zeros(500, int)
    labels[::25] = 1
    mix = TaskMix("chb-mit", 500, negative_fraction=0.1, labels=labels)
    assert mix.drawn == 20 + 48
    draws = [mix.draw(seed=0, epoch=epoch) for epoch in range(3)]
    for rows in draws:
        assert len(set(rows.tolist())) == 68
        assert set(np.flatnonzero(labels)) <= set(rows.tolist())
    negatives = [set(rows[labels[rows] == 0].tolist()) for rows in draws]
    assert negatives[0] != negatives[1] != negatives[2]
    assert [labels[row] for row in draws[0]] != sorted(labels[row] for row in draws[0])


def test_fresh_fractions_cover_the_split_over_epochs():
    mix = TaskMix("tuab", 200, fraction=0.1)
    draws = [set(mix.draw(0, epoch).tolist()) for epoch in range(80)]
    assert all(len(rows) == 20 for rows in draws)
    assert len(set.union(*draws)) > 190


def test_tiny_tasks_are_named_as_not_always_present():
    few = [TaskMix("tuab", 100), TaskMix("seed-v", 3)]
    assert not EpochPlan(few, 10).always_present  # 11 steps, 3 samples
    assert EpochPlan(few, 40).always_present  # 3 steps
    assert not EpochPlan(few, 40, world_size=2).always_present
    assert not EpochPlan(few, 40, slices=2).always_present
    plan = EpochPlan(few, 40, world_size=4)
    empty = [
        (step, rank)
        for step in range(plan.num_steps)
        for rank in range(4)
        if not len(plan.indices(step, rank)["seed-v"])
    ]
    assert len(empty) == 9 and not plan.always_present


@pytest.mark.parametrize("world_size, slices", [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_always_present_is_what_the_indices_say(world_size, slices):
    for size in (3, 11, 12, 13, 60, 61):
        tasks = [TaskMix("tuab", 100), TaskMix("seed-v", size)]
        plan = EpochPlan(tasks, 30, world_size=world_size, slices=slices)
        found = all(
            len(rows)
            for step in range(plan.num_steps)
            for rank in range(world_size)
            for part in range(slices)
            for rows in plan.indices(step, rank, part).values()
        )
        assert plan.always_present == found


def test_counts_of_several_steps_add_up():
    plan = EpochPlan(mixes(), 50, world_size=2)
    single = [plan.counts(step) for step in range(plan.num_steps)]
    last = plan.num_steps - 2
    for task in plan.tasks:
        assert plan.counts(3, steps=4)[task] == sum(c[task] for c in single[3:7])
        assert plan.counts(last, steps=4)[task] == sum(c[task] for c in single[last:])
        assert plan.counts(0, steps=plan.num_steps)[task] == plan.drawn[task]


def test_sampling_rules_report_all_faults_at_once():
    assert sampling_rules({"tuab": {"fraction": 0.1}, "chb-mit": {"negative_fraction": 0.1}}) == (
        PAPER_SAMPLING
    )
    assert sampling_rules({"mine": {}}, known=["mine"]) == {"mine": SamplingRule()}
    with pytest.raises(ValueError) as error:
        sampling_rules({"tuba": {}, "tuab": {"part": 0.1}, "tuev": {"fraction": 2}, "seed-v": 0.5})
    for part in ("tuba", "part", "fraction: expected", "0.5"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TaskMix("a", 0),
        lambda: TaskMix("a", 5, fraction=0),
        lambda: TaskMix("a", 5, fraction=1.1),
        lambda: TaskMix("a", 5, negative_fraction=True),
        lambda: TaskMix("a", 5, negative_fraction=0.5),
        lambda: TaskMix("a", 3, negative_fraction=0.5, labels=np.array([0, 1, 2])),
        lambda: TaskMix("a", 3, labels=np.array([0, 1])),
        lambda: EpochPlan([], 5),
        lambda: EpochPlan([TaskMix("a", 5), TaskMix("a", 6)], 5),
        lambda: EpochPlan([TaskMix("a", 5)], 0),
        lambda: EpochPlan([TaskMix("a", 5)], 5, seed=-1),
        lambda: EpochPlan([TaskMix("a", 5)], 5, world_size=1.5),
        lambda: EpochPlan([TaskMix("a", 5)], 5).indices(1),
        lambda: EpochPlan([TaskMix("a", 5)], 5).indices(-1),
        lambda: EpochPlan([TaskMix("a", 5)], 5).indices(0, rank=1),
        lambda: EpochPlan([TaskMix("a", 5)], 5).indices(0, slice=1),
    ],
)
def test_wrong_numbers_are_errors(make):
    with pytest.raises((ValueError, IndexError), match=r"expected|needs|two classes"):
        make()


def classes(size):
    return (np.arange(size) % 5 == 0).astype(np.int64)  # a fifth is positive


@pytest.mark.parametrize("changes", [{}, {"fraction": 0.1}, {"negative_fraction": 0.3}])
def test_any_number_is_drawn_in_passes_over_what_is_there(changes):
    mix = TaskMix("tuab", 100, labels=classes(100), **changes)
    own, pool = mix.draw(5, 2), 100 if "negative_fraction" not in changes else 20 + 24
    assert np.array_equal(mix.draw(5, 2, mix.drawn), own)
    longest = mix.draw(5, 2, 5 * pool + 3)
    for number in (1, 7, pool, pool + 1, 3 * pool):
        rows = mix.draw(5, 2, number)
        assert np.array_equal(rows, longest[:number]), "the beginning of a longer draw"
    for start in range(0, 5 * pool, pool):
        rows = longest[start : start + pool]
        assert len(set(rows.tolist())) == pool, "none twice in a pass"
        assert mix.labels[rows].sum() == 20, "the ratio of the classes stays"
        if start:
            assert not np.array_equal(rows, longest[:pool])
    times = np.bincount(longest[: 5 * pool], minlength=100)
    for label in (0, 1):
        one = times[mix.labels == label]
        assert one.max() - one.min() <= 1, "none comes again before all of its class came"
    with pytest.raises(ValueError, match="number"):
        mix.draw(5, 2, 0)


def test_a_plan_with_given_numbers_has_these():
    numbers = {"tuab": 300, "tuev": 400, "seed-v": 1, "sleep-edf": 100}
    plan = EpochPlan(mixes(), 64, seed=1, epoch=3, numbers=numbers)
    assert plan.drawn == numbers and plan.num_steps == -(-sum(numbers.values()) // 64)
    for task, number in numbers.items():
        rows = np.concatenate([step[task] for step in steps_of(plan)])
        assert len(rows) == number
        times = np.bincount(rows, minlength=SIZES[task])
        assert times.max() - times.min() <= 1
    two = EpochPlan(mixes(), 64, seed=1, epoch=3, world_size=2, numbers=numbers)
    assert equal_steps(steps_of(plan), steps_of(two))
    own = {mix.name: mix.drawn for mix in mixes()}
    assert equal_steps(
        steps_of(EpochPlan(mixes(), 64, numbers=own)), steps_of(EpochPlan(mixes(), 64))
    )
    for wrong in ({**numbers, "tuab": 0}, {"tuab": 3}, {**numbers, "other": 1}):
        with pytest.raises(ValueError, match=r"tuab: expected|numbers: expected"):
            EpochPlan(mixes(), 64, numbers=wrong)
