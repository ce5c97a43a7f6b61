"""Changed training windows: what each change does, off is as before, resumed is the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_corpora import save_corpora
from training_program import TASKS, make_trainer, outcome, run, step_gradients

from modeling_mteeg.data import load_corpora
from modeling_mteeg.training import joint_training as loop
from modeling_mteeg.training.augmentation import AugmentationOptions, augmented

SIZES = {"tuab": (24, 8, 8), "seed-v": (18, 9, 9), "sleep-edf": (10, 6, 6)}
ALL = {"time_shift_s": 0.3, "channel_dropout": 0.3, "amplitude": 0.2, "noise": 0.1}
PLAIN = {"model__drop_path": 0.0, "adapter__dropout": 0.0}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, TASKS)


def batch(n=64, channels=5, patches=2):
    values = torch.randn(n, channels, patches, 200, generator=torch.Generator().manual_seed(0))
    return {"input_values": values, "labels": torch.zeros(n, dtype=torch.int64)}


def changed(where=(0, 0, 0, 0), given=None, **options):
    given = given or batch()
    before = given["input_values"].clone()
    found = augmented({"a": given}, AugmentationOptions(**options), {"a": 200.0}, where)["a"]
    assert torch.equal(given["input_values"], before), "what was given stays"
    assert found["labels"] is given["labels"] and found["input_values"].shape == before.shape
    return before.flatten(2), found["input_values"].flatten(2)


def test_a_time_shift_rolls_all_channels_of_a_window_alike():
    before, after = changed(time_shift_s=0.1)
    shifts = set()
    for window, moved in zip(before, after, strict=True):
        fits = [s for s in range(-20, 21) if torch.equal(window.roll(s, 1), moved)]
        assert len(fits) == 1
        shifts |= set(fits)
    assert min(shifts) < -10 and max(shifts) > 10 and len(shifts) > 20


def test_an_amplitude_is_one_factor_a_window():
    before, after = changed(amplitude=0.5, given=batch(n=400, channels=2))
    factors = (after / before).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), rtol=1e-4)
    logs = factors[:, 0].log()
    assert abs(float(logs.mean())) < 0.1 and float(logs.std()) == pytest.approx(0.5, abs=0.06)


def test_noise_is_a_share_of_every_channel_s_deviation():
    given = batch()
    given["input_values"] = (
        given["input_values"] * torch.tensor([1.0, 10, 100, 0, 1])[:, None, None]
    )
    before, after = changed(noise=0.2, given=given)
    share = (after - before).std(2) / before.std(2)
    assert torch.allclose(share[:, [0, 1, 2, 4]].mean(0), torch.tensor(0.2), atol=0.01)
    assert torch.equal(after[:, 3], before[:, 3]), "a flat channel stays flat"


@pytest.mark.parametrize("probability", [0.3, 0.99])
def test_channels_are_dropped_and_one_stays(probability):
    before, after = changed(channel_dropout=probability, given=batch(n=500))
    gone = (after == 0).all(2)
    assert torch.equal(after[~gone], before[~gone])
    assert not gone.all(1).any()
    if probability < 0.5:
        assert float(gone.float().mean()) == pytest.approx(probability, abs=0.03)
    else:
        assert (gone.sum(1) == 4).float().mean() > 0.9


def test_the_values_are_a_function_of_seed_step_part_and_process():
    first = changed((1, 2, 3, 4), **ALL)[1]
    assert torch.equal(first, changed((1, 2, 3, 4), **ALL)[1])
    for where in ((0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0)):
        assert not torch.equal(first, changed(where, **ALL)[1])
    state = torch.get_rng_state()
    changed(**ALL)
    assert torch.equal(state, torch.get_rng_state()), "drop path draws as without"


def test_all_off_asks_for_nothing_and_changes_no_identity(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "augmented", None)  # would be called in vain
    trainer = make_trainer(corpora, tmp_path, optimization__epochs=1)
    trainer.train_epoch()
    assert not any("augmentation" in key for key in trainer.config.identity())
    assert trainer.settings() == {} and not trainer.config.augmentation
    on = make_trainer(corpora, tmp_path / "on", augmentation={"noise": 0.1})
    assert on.config.identity()["augmentation.noise"] == 0.1
    assert "noise 0.1" in on.describe()


def test_passes_of_a_step_see_the_same_windows(corpora, tmp_path):
    options = {**PLAIN, "augmentation": ALL}
    whole = step_gradients(make_trainer(corpora, tmp_path, **options))
    cut = step_gradients(make_trainer(corpora, tmp_path, **options, optimization__max_tokens=20))
    for name, gradient in whole.items():
        if gradient is not None:
            scale = gradient.abs().max().clamp(min=1e-8)
            assert (gradient - cut[name]).abs().max() <= 1e-5 * scale, name
    plain = step_gradients(make_trainer(corpora, tmp_path, **PLAIN))
    name = "heads.tuab.weight"
    assert not torch.allclose(plain[name], whole[name])


@pytest.mark.slow
def test_resumed_is_bit_equal(corpora, tmp_path):
    whole = make_trainer(corpora, tmp_path / "whole", augmentation=ALL)
    run(whole)
    cut = make_trainer(corpora, tmp_path / "cut", augmentation=ALL)
    for step, (parts, place) in enumerate(cut.steps()):
        cut.train_step(parts, place)
        if step == 2:
            break
    rest = make_trainer(corpora, tmp_path / "cut", augmentation=ALL)
    run(rest)
    expected, found = outcome(whole), outcome(rest)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_drop_is_no_smaller_where_a_batch_is_on_its_own():
    values = np.array([changed((0, step, 0, 0), channel_dropout=0.5)[1].ne(0).float().mean()
                       for step in range(20)])  # fmt: skip
    assert values.mean() == pytest.approx(0.5 + 0.5**5 / 5, abs=0.02)
