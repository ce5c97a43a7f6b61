"""Unlabelled windows: every one of the uncut recording, once an epoch, never of mixed shapes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny_unlabelled import MONTAGES, RECORDINGS, save_unlabelled, signal_of

from modeling_mteeg.data import (
    MANIFEST_FILE,
    ShapePlan,
    UnlabelledBatches,
    WindowFormatError,
    cut_stretches,
    encode_stretch,
    load_unlabelled,
    window_patches,
)
from modeling_mteeg.model.channels import channel_ids


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "exact")


def everything(groups):
    """{(recording, onset, channels): window in microvolt} of all groups."""
    found = {}
    for group in groups:
        rows = np.arange(len(group))
        places = zip(group.recordings(rows), group.onsets_s(rows).tolist(), strict=True)
        values = group.read(rows, unit_uv=1.0)
        for (name, onset), window in zip(places, values, strict=True):
            assert (name, onset) not in found, "a window came twice"
            found[name, onset] = window
    return found


@pytest.mark.parametrize("stride_s", [1.0, 4.0, 0.5])
@pytest.mark.parametrize("seconds", [4, 3, 1])
def test_windows_are_exactly_those_of_the_uncut_recordings(folder, stride_s, seconds):
    groups = load_unlabelled(folder, stride_s, max_patches=24, max_seconds=seconds)["train"]
    found = everything(groups)
    wanted, stride = {}, round(stride_s * 200)
    for name, (_, montage, samples) in RECORDINGS.items():
        signal = signal_of(name, len(MONTAGES[montage]), samples)
        for start in range(0, samples - seconds * 200 + 1, stride):
            wanted[name, start / 200] = signal[:, start : start + seconds * 200]
    assert found.keys() == wanted.keys()
    for key, window in found.items():
        assert np.array_equal(window.reshape(len(window), -1), wanted[key])


def test_int16_is_within_half_a_count_of_each_channel(folder, tmp_path):
    counts = everything(
        load_unlabelled(save_unlabelled(tmp_path, dtype="int16"), 1.0, 24, 4)["train"]
    )
    exact = everything(load_unlabelled(folder, 1.0, 24, 4)["train"])
    assert counts.keys() == exact.keys()
    for (name, onset), window in counts.items():
        _, montage, samples = RECORDINGS[name]
        peaks = np.abs(signal_of(name, len(MONTAGES[montage]), samples)).max(axis=1)
        error = np.abs(window - exact[name, onset]).reshape(len(window), -1).max(axis=1)
        assert (error <= peaks / 32767 / 2 + peaks * 3e-7).all()
        assert error.max() > 0


def test_groups_are_one_montage_each_in_the_same_order(folder):
    groups = load_unlabelled(folder, 1.0, 24, 4)["train"]
    channels = [group.channels for group in groups]
    assert channels == [("FP1", "FP2"), ("FPZ-CZ", "PZ-OZ"), ("C3", "CZ", "C4")]
    assert [group.patches for group in groups] == [4, 4, 4]
    assert [group.patches for group in load_unlabelled(folder, 1.0, 6, 4)["train"]] == [3, 3, 2]


def test_a_montage_that_fits_no_window_is_not_dropped(folder):
    with pytest.raises(ValueError, match=r"of 3 channels \(C3 CZ C4 .*max_patches 2; raise it"):
        load_unlabelled(folder, 1.0, 2, 4)


def test_folders_together_share_montages(folder, tmp_path):
    other = save_unlabelled(tmp_path / "other", {"x1": ("x", "motor", 2000)})
    one = load_unlabelled(folder, 1.0, 24, 4)["train"]
    both = load_unlabelled([folder, other], 1.0, 24, 4)["train"]
    assert [group.channels for group in both] == [group.channels for group in one]
    assert everything(both).keys() == everything(one).keys() | {("x1", t) for t in range(7)}
    assert [g.digest() for g in both][:2] == [g.digest() for g in one][:2]
    assert both[2].digest() != one[2].digest()


def test_whole_subjects_are_held_out_always_the_same(folder):
    data = load_unlabelled(folder, 1.0, 24, 4, validation=0.3)
    names = {split: {name for name, _ in everything(groups)} for split, groups in data.items()}
    subjects = {split: {RECORDINGS[name][0] or name for name in found}
                for split, found in names.items()}  # fmt: skip
    assert not subjects["train"] & subjects["validation"]
    assert subjects["train"] | subjects["validation"] == {"a", "b", "c", "d1"}
    assert len(subjects["validation"]) == 1
    again = load_unlabelled(folder, 4.0, 12, 2, validation=0.3)
    assert {name for name, _ in everything(again["validation"])} == names["validation"]


def test_reading_converts_once_into_the_array_given(folder):
    group = load_unlabelled(folder, 1.0, 24, 4)["train"][2]
    out = np.empty((3, 3, 4, 200), np.float32)
    assert group.read([5, 0, 5], out=out) is out
    assert np.array_equal(out[0], out[2])
    assert np.allclose(out, group.read([5, 0, 5], unit_uv=1.0) / 100, rtol=1e-6)
    with pytest.raises(IndexError, match=f"0 to {len(group) - 1}"):
        group.read([len(group)])
    with pytest.raises(ValueError, match="expected contiguous float32 of shape"):
        group.read([0], out=out)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
@pytest.mark.parametrize("bundle", [1, 16])
def test_every_window_once_an_epoch(batch_size, bundle):
    sizes = (100, 0, 33, 1)
    plan = ShapePlan(sizes, batch_size, seed=3, epoch=1, bundle=bundle)
    seen = [[] for _ in sizes]
    counts = []
    for step in range(plan.num_steps):
        parts = plan.step(step)
        assert [group for group, _ in parts] == sorted({group for group, _ in parts})
        for group, rows in parts:
            seen[group] += rows.tolist()
        counts.append(sum(len(rows) for _, rows in parts))
    assert [sorted(rows) for rows in seen] == [list(range(size)) for size in sizes]
    assert max(counts) <= batch_size and max(counts) - min(counts) <= 1


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(**changes):
        plan = ShapePlan((50, 40), 16, **{"seed": 1, "epoch": 2, **changes})
        return [(g, rows.tolist()) for step in range(plan.num_steps) for g, rows in plan.step(step)]

    assert order() == order()
    assert order() != order(epoch=3)
    assert order() != order(seed=2)


def test_bundles_keep_the_shapes_of_a_step_few():
    def shapes(bundle):
        plan = ShapePlan((64,) * 30, 64, bundle=bundle)
        return np.mean([len(plan.step(step)) for step in range(plan.num_steps)])

    assert shapes(16) <= 5.5
    assert shapes(1) > 20


@pytest.mark.parametrize(("world_size", "slices"), [(1, 1), (2, 1), (3, 2)])
def test_parts_in_order_are_the_whole_step(folder, world_size, slices):
    groups = load_unlabelled(folder, 1.0, 24, 4)["train"]
    plan = ShapePlan([len(group) for group in groups], 12, seed=5, bundle=4)
    whole = UnlabelledBatches(groups, plan)
    split = [
        UnlabelledBatches(groups, plan, rank, world_size, slices) for rank in range(world_size)
    ]
    for step in range(plan.num_steps):
        wanted = whole.part(step).groups
        parts = [
            batch
            for batches in split
            for slice in range(slices)
            for batch in batches.part(step, slice).groups
        ]
        assert all(batches.part(step, s).groups for batches in split for s in range(slices))
        for one in wanted:
            own = [part for part in parts if part.group == one.group]
            assert torch.equal(torch.cat([part.input_values for part in own]), one.input_values)
            assert all(part.of == len(one.input_values) for part in own)
            ends = np.cumsum([len(part.input_values) for part in own])
            assert [part.first for part in own] == [0, *ends[:-1].tolist()]
            names = torch.from_numpy(channel_ids(groups[one.group].channels))
            assert torch.equal(one.channel_ids, names)
        patches = sum(batch.input_values[..., 0].numel() for batch in wanted)
        assert whole.patches(step) == patches == split[-1].patches(step)


def test_a_resumed_epoch_gives_the_rest(folder):
    groups = load_unlabelled(folder, 1.0, 24, 4)["train"]
    plan = ShapePlan([len(group) for group in groups], 7)
    whole = list(UnlabelledBatches(groups, plan, slices=2))
    rest = list(UnlabelledBatches(groups, plan, slices=2, start_step=3, prefetch=0))
    assert len(rest) == len(whole) - 6 > 0
    for one, other in zip(whole[6:], rest, strict=True):
        for a, b in zip(one.groups, other.groups, strict=True):
            assert a.group == b.group and torch.equal(a.input_values, b.input_values)


def test_more_parts_than_windows_is_an_error(folder):
    groups = load_unlabelled(folder, 1.0, 24, 4)["train"]
    plan = ShapePlan([len(group) for group in groups], 4)
    with pytest.raises(ValueError, match="at least 8 windows for 4 processes x 2 slices, found 3"):
        UnlabelledBatches(groups, plan, 0, 4, 2)
    with pytest.raises(ValueError, match="windows as in the plan"):
        UnlabelledBatches(groups[:2], plan)


@pytest.mark.parametrize("samples", [700, 3200, 4000, 4001, 4200, 10_000])
def test_stretches_cover_windows_of_every_length(samples):
    window_s, own_s = 4, 5
    cuts = list(cut_stretches(samples, window_s, own_s))
    for seconds in range(1, window_s + 1):
        for onset in range(0, samples - seconds * 200 + 1):
            owners = [(a, b) for a, b, own in cuts if a <= onset < a + own * 200]
            assert len(owners) == 1
            assert onset + seconds * 200 <= owners[0][1]
    assert all(stop - start <= (own_s + 2 * window_s) * 200 for start, stop, _ in cuts)


def test_the_window_rule():
    assert [window_patches(n) for n in (1, 2, 16, 17, 23, 62, 64, 128, 256, 257)] == [
        16, 16, 16, 15, 11, 4, 4, 2, 1, 0,
    ]  # fmt: skip


def test_errors_say_what_to_do(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset_scripts\.unlabelled"):
        load_unlabelled(tmp_path, 1.0)
    with pytest.raises(WindowFormatError, match="prepared for windows of 4 s of 2 channels"):
        load_unlabelled(folder, 1.0)
    with pytest.raises(ValueError, match="stride of whole samples"):
        load_unlabelled(folder, 0.0001)
    with pytest.raises(ValueError, match="share in"):
        load_unlabelled(folder, 1.0, 24, 4, validation=1.0)
    one = save_unlabelled(tmp_path / "one", {"a1": ("a", "motor", 4000)})
    with pytest.raises(ValueError, match="no window for train"):
        load_unlabelled(one, 1.0, 24, 4, validation=0.5)
    (one / MANIFEST_FILE).write_text(json.dumps({"version": 99}))
    with pytest.raises(WindowFormatError, match="expected version 1, found 99"):
        load_unlabelled(one, 1.0, 24, 4)


def test_signals_that_are_no_signals_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        encode_stretch(np.full((1, 200), np.nan), ["CZ"], "r", "s", 0)
    with pytest.raises(ValueError, match="a name for each of the 1"):
        encode_stretch(np.zeros((1, 200)), ["CZ", "C3"], "r", "s", 0)
    with pytest.raises(ValueError, match="dtype: expected one of"):
        encode_stretch(np.zeros((1, 200)), ["CZ"], "r", "s", 0, dtype="int8")
