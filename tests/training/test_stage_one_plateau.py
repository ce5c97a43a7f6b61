"""Stage one and the plateau: when codes start, how long a training is, what a collapse does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from stage_one_program import finish, make_trainer, outcome
from tiny_unlabelled import save_unlabelled

from modeling_mteeg.model.channels import channel_ids
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.stage_one import CollapseError, held_out_codes, mutual_information
from modeling_mteeg.training.stage_one.held_out_codes import (
    BINS,
    log_band_powers,
    no_better_than_the_commonest,
)
from modeling_mteeg.training.stage_one.length import Length
from modeling_mteeg.training.stage_one.stage_one_config import StageOneOptimization
from modeling_mteeg.training.stage_one.trainer import StageOneTrainer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", dtype="int16")


@pytest.fixture
def collapsed(monkeypatch):
    """Every tokenizer counts as collapsed."""
    monkeypatch.setattr(held_out_codes, "LEAST_PERPLEXITY", 100)


def train(trainer: StageOneTrainer) -> list[float]:
    """As the recipe does, to the end; the learning rate of every step."""
    trainer.resume()
    rates = []
    while not trainer.over:
        for parts, batches in trainer.steps():
            rates.append(trainer.train_step(parts, batches)["lr"])
        trainer.finish_epoch()
        trainer.save_checkpoint()
    return rates


# What codes tell -------------------------------------------------------------------------------


def test_bits_are_those_of_the_pairs_less_chance():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 8, 5000)
    same, unknown = np.zeros((300, 8), int), np.zeros((300, 8), int)
    np.add.at(same, (one * 30 + rng.integers(0, 30, 5000), one), 1)  # 30 codes tell each class
    np.add.at(unknown, (rng.integers(0, 300, 5000), one), 1)
    assert mutual_information(same) == pytest.approx(3, abs=0.35)
    plain = mutual_info_score(None, None, contingency=unknown[unknown.any(1)]) / np.log(2)
    assert plain > 0.2 and mutual_information(unknown) < 0.05
    assert mutual_information(np.array([[5, 7], [0, 0]])) == 0
    assert mutual_information(np.zeros((4, 3), int)) == 0


def test_band_powers_are_those_of_sines():
    seconds = torch.arange(200) / 200
    for band, hertz in enumerate((2, 6, 10, 20, 40)):
        powers = log_band_powers(torch.sin(2 * torch.pi * hertz * seconds))
        assert powers.shape == (5,) and int(powers.argmax()) == band
        louder = log_band_powers(3 * torch.sin(2 * torch.pi * hertz * seconds))
        assert louder[band] - powers[band] == pytest.approx(2 * np.log(3), abs=1e-4)


def test_held_out_patches_are_counted_with_band_power_and_electrode(data, tmp_path):
    trainer = make_trainer("tokenizer", data, tmp_path)
    trainer.model.codebook.started.fill_(True)
    trainer.evaluate()
    parts = trainer.held_out.counts.split(list(trainer.held_out.sizes.values()), 1)
    patches = sum(
        len(group) * len(group.channels) * group.patches for group in trainer.data["validation"]
    )
    by_code = torch.zeros(16, dtype=torch.int64)
    electrodes = torch.zeros(parts[-1].shape[1], dtype=torch.int64)
    for windows in trainer.data["validation"]:
        values = torch.from_numpy(windows.read(range(len(windows))))
        ids = torch.from_numpy(channel_ids(windows.channels))
        codes = trainer.model.get_codebook_indices(values, ids)
        by_code += torch.bincount(codes.flatten(), minlength=16)
        electrodes[ids[:, 0]] += len(windows) * windows.patches
    for part in parts:
        assert torch.equal(part.sum(1), by_code)
    assert torch.equal(parts[-1].sum(0), electrodes)
    for part in parts[:-1]:  # equally filled classes
        assert part.shape[1] == BINS and part.sum() == patches
        assert (part.sum(0) - patches / BINS).abs().max() <= 0.05 * patches


# When codes start ------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_late_codebook_is_resumed_to_the_bit(stop, data, tmp_path, monkeypatch):
    options = {"model__continuous_steps": 4, "optimization__epochs": 3}
    whole = make_trainer("tokenizer", data, tmp_path / "whole", **options)
    assert whole.steps_per_epoch == 3
    history = finish(whole)
    assert "codes_used" not in history[0]["validation"]  # there were no codes yet
    assert "codes_used" in history[1]["validation"] and whole.model.codebook.started
    real, steps = StageOneTrainer.train_step, []

    def dying(self, parts, batches):
        if len(steps) == stop:
            raise KeyboardInterrupt
        steps.append(1)
        return real(self, parts, batches)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StageOneTrainer, "train_step", dying)
        finish(make_trainer("tokenizer", data, tmp_path / "cut", **options))
    again = make_trainer("tokenizer", data, tmp_path / "cut", **options)
    assert finish(again) == history
    there, here = outcome(whole), outcome(again)
    assert all(torch.equal(value, here[name]) for name, value in there.items())
    plain = make_trainer("tokenizer", data, tmp_path / "plain", optimization__epochs=3)
    finish(plain)
    assert not torch.equal(outcome(plain)["codebook.codes"], here["codebook.codes"])


@pytest.mark.slow
def test_of_a_short_training_half_has_codes(data, tmp_path, capsys):
    short = make_trainer("tokenizer", data, tmp_path / "a", model__continuous_steps=100)
    assert "starts after 3 steps, half of the training" in capsys.readouterr().out
    assert short.model.config.continuous_steps == 3
    finish(short)
    same = make_trainer("tokenizer", data, tmp_path / "b", model__continuous_steps=3)
    finish(same)
    assert capsys.readouterr().out == ""
    there, here = outcome(same), outcome(short)
    assert all(torch.equal(value, here[name]) for name, value in there.items())


# How long --------------------------------------------------------------------------------------


def test_steps_stand_for_epochs(data, tmp_path):
    by_epochs = make_trainer("tokenizer", data, tmp_path / "a")
    options = {"optimization__epochs": None, "optimization__steps": 4,
               "optimization__warmup_steps": 3}  # fmt: skip
    by_steps = make_trainer("tokenizer", data, tmp_path / "b", **options)
    assert by_steps.epochs == by_epochs.epochs == 2  # 4 steps are 2 epochs of 3
    finish(by_epochs), finish(by_steps)
    there, here = outcome(by_epochs), outcome(by_steps)
    assert all(torch.equal(value, here[name]) for name, value in there.items())
    with pytest.raises(ConfigError, match="either epochs or steps"):
        make_trainer("tokenizer", data, tmp_path / "c", optimization__steps=4)
    with pytest.raises(ConfigError, match="either epochs or steps"):
        make_trainer("tokenizer", data, tmp_path / "c", optimization__epochs=None)


def test_epochs_on_the_plateau_are_done_again():
    options = StageOneOptimization(epochs=4, warmup_epochs=1, max_steps_on_plateau=25)
    length = Length.from_options(options, steps_per_epoch=10, codes_from=5)
    assert (length.planned, length.warmup_steps, length.free, length.most) == (4, 10, 10, 3)
    words = "xx.x"  # epochs 1, 2 and 4 end on the plateau; the first was the warm-up
    history = [{"validation": {"x": mark}} for mark in words]

    def plateau(figures):
        return "on it" if figures.get("x") == "x" else ""

    assert [length.repeated(history[:n], plateau) for n in range(5)] == [0, 0, 1, 1, 2]
    assert not length.used_up(history, plateau)
    longer = [*history, *[{"validation": {"x": "x"}}] * 2]
    assert length.repeated(longer, plateau) == 3 and length.used_up(longer, plateau)
    assert not length.used_up([*longer, {"validation": {}}], plateau)
    assert length.repeated([{}] * 5, plateau) == 0  # nothing is held out


@pytest.mark.slow
def test_the_schedule_waits_and_a_larger_bound_goes_on_to_the_bit(data, tmp_path, collapsed):
    options = {"optimization__epochs": 3, "optimization__max_steps_on_plateau": 6}
    trainer = make_trainer("tokenizer", data, tmp_path / "cut", **options)
    rates = train(trainer)
    # Warm-up, two epochs that are done again, and one that finds the bound reached.
    assert len(rates) == 4 * 3 and trainer.repeated == 2
    assert rates[3:6] == rates[6:9] == rates[9:12] and len(set(rates[3:6])) == 3
    with pytest.raises(CollapseError, match=r"about 9 steps .*plateau: 6.*goes on from"):
        trainer.end_on_plateau()

    options["optimization__max_steps_on_plateau"] = 9
    again = make_trainer("tokenizer", data, tmp_path / "cut", **options)
    train(again)
    whole = make_trainer("tokenizer", data, tmp_path / "whole", **options)
    assert len(train(whole)) == 5 * 3
    assert again.progress.history == whole.progress.history
    there, here = outcome(whole), outcome(again)
    assert all(torch.equal(value, here[name]) for name, value in there.items())

    options["on_collapse"] = "continue"
    free = make_trainer("tokenizer", data, tmp_path / "whole", **options)
    rates = train(free)  # to the end of the schedule
    assert len(rates) == 3 and min(rates) == pytest.approx(1e-5)
    assert free.end_on_plateau().startswith("COLLAPSED")
    with pytest.raises(CheckpointError, match=r"optimization\.lr"):
        make_trainer("tokenizer", data, tmp_path / "whole", optimization__lr=5e-4).resume()


def test_by_default_a_collapse_changes_no_step(data, tmp_path, monkeypatch):
    plain = make_trainer("tokenizer", data, tmp_path / "a")
    rates = train(plain)
    monkeypatch.setattr(held_out_codes, "LEAST_PERPLEXITY", 100)
    other = make_trainer("tokenizer", data, tmp_path / "b")
    assert train(other) == rates and len(rates) == 6
    there, here = outcome(plain), outcome(other)
    assert all(torch.equal(value, here[name]) for name, value in there.items())
    with pytest.raises(CollapseError, match="the same command with a larger"):
        other.end_on_plateau()


# Masked pre-training ---------------------------------------------------------------------------


def test_a_collapsed_tokenizer_is_refused_before_pre_training(data, tmp_path):
    trainer = make_trainer("masked", data, tmp_path)
    assert trainer.check_tokenizer() == ""
    codes = trainer.tokenizer.codebook.codes
    codes.copy_(codes[:1].expand_as(codes))
    codes[1:] *= -1  # opposite: no token is nearer to it than to the first
    nearest = {int(trainer.tokenizer.codebook.look_up(part)[0]) for part in codes.split(1)}
    assert nearest == {0, 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out_codes, "MOST_COMMON", 0.4)
        with pytest.raises(CollapseError, match=r"tokenizer as-made-here: COLLAPSED: one code"):
            trainer.check_tokenizer()
        goes_on = make_trainer("masked", data, tmp_path, on_collapse="continue")
        goes_on.tokenizer.codebook.codes.copy_(codes)
        assert goes_on.check_tokenizer().startswith("COLLAPSED: one code")


def test_a_base_that_found_nothing_is_told(data, tmp_path):
    guess = {"accuracy": 0.1, "accuracy_complement": 0.12, "commonest_code": 0.11}
    assert no_better_than_the_commonest(guess).startswith("ON THE PLATEAU: 0.110 of the hidden")
    assert no_better_than_the_commonest({**guess, "accuracy": 0.5}) == ""
    assert no_better_than_the_commonest({}) == ""
    trainer = make_trainer("masked", data, tmp_path, optimization__epochs=1)
    train(trainer)
    trainer.progress.history[-1]["validation"].update(guess)
    told = trainer.end_on_plateau()  # a base is saved all the same
    assert told.startswith("ON THE PLATEAU") and "Train longer" in told
