"""Training of stage one: a step is the same however it is cut, a kill leaves no trace."""

from __future__ import annotations

import pytest
import torch
from stage_one_program import finish, make_tokenizer, make_trainer, outcome, step_gradients
from tiny_unlabelled import save_unlabelled

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.model.channels import channel_ids
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.launch import TrainingError
from modeling_mteeg.training.stage_one import (
    TokenizerTrainingConfig,
    build_student,
    code_use,
    collapse,
)
from modeling_mteeg.training.stage_one.ema import WeightAverage
from modeling_mteeg.training.stage_one.stage_one_config import StudentOptions
from modeling_mteeg.training.stage_one.trainer import StageOneTrainer, stage_one_groups

KINDS = ("tokenizer", "masked")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", dtype="int16")


def equal(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_in_slices_is_the_whole_step(kind, data, tmp_path):
    options = {} if kind == "tokenizer" else {"model__drop_path": 0.0}
    whole = step_gradients(make_trainer(kind, data, tmp_path / "a", **options))
    options["optimization__gradient_accumulation"] = 3
    cut = step_gradients(make_trainer(kind, data, tmp_path / "b", **options))
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert any(value.abs().max() > 1e-4 for name, value in whole.items() if "loss" not in name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_interrupted_and_resumed_is_uninterrupted(kind, stop, data, tmp_path, monkeypatch):
    whole = make_trainer(kind, data, tmp_path / "whole")
    assert whole.steps_per_epoch >= 3
    history = finish(whole)
    real, steps = StageOneTrainer.train_step, []

    def dying(self, parts, batches):
        if len(steps) == stop:
            raise KeyboardInterrupt
        steps.append(1)
        return real(self, parts, batches)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StageOneTrainer, "train_step", dying)
        finish(make_trainer(kind, data, tmp_path / "cut"))
    again = make_trainer(kind, data, tmp_path / "cut")
    assert finish(again) == history
    assert not equal(outcome(whole), outcome(again))


@pytest.mark.slow
def test_training_lowers_the_loss_and_finds_codes(data, tmp_path):
    for kind in KINDS:
        trainer = make_trainer(kind, data, tmp_path / kind, optimization__epochs=12,
                               optimization__lr=3e-3)  # fmt: skip
        history = finish(trainer)
        first, last = history[0]["train"], history[-1]["train"]
        assert last["loss"] < 0.95 * first["loss"]
        assert set(history[-1]["validation"]) >= {"loss"}
    assert last["accuracy"] > first["accuracy"]
    assert history[-1]["model"]["codes_in_labels"] > 1


@pytest.mark.parametrize("kind", KINDS)
def test_code_use_is_that_of_the_held_out_patches(kind, data, tmp_path):
    trainer = make_trainer(kind, data, tmp_path)
    figures = trainer.evaluate()
    tokenizer = trainer.model if kind == "tokenizer" else trainer.tokenizer
    codes = []
    for windows in trainer.data["validation"]:
        values = torch.from_numpy(windows.read(range(len(windows))))
        ids = torch.from_numpy(channel_ids(windows.channels))
        codes.append(tokenizer.eval().get_codebook_indices(values, ids).flatten())
    counts = torch.bincount(torch.cat(codes), minlength=16)
    assert figures.items() >= code_use(counts).items()
    assert figures["codes_used"] == len(torch.cat(codes).unique())
    assert figures["commonest_code"] == pytest.approx(counts.max() / counts.sum())


def test_a_collapse_is_told_and_an_even_use_is_not():
    assert code_use(torch.tensor([5, 5, 5, 5, 0]))["code_perplexity"] == pytest.approx(4)
    assert collapse(code_use(torch.tensor([5, 5, 5, 5, 0]))) == "" == collapse({})
    told = collapse(code_use(torch.tensor([999, 1, 0, 0])))
    assert told.startswith("COLLAPSED: one code takes 99.9% of the held-out patches")


def test_masks_do_not_depend_on_how_a_step_is_cut(data, tmp_path):
    trainer = make_trainer("masked", data, tmp_path)
    plan = trainer.plan(0)
    whole = trainer.batches("train", plan)
    place = trainer.place(whole, 1)
    other = make_trainer("masked", data, tmp_path, optimization__gradient_accumulation=4)
    cut = other.batches("train", plan)
    parts = [batch for slice in range(4) for batch in cut.part(1, slice).groups]
    for batch in whole.part(1).groups:
        mask = place.mask(batch, 0.5)
        own = [other.place(cut, 1).mask(part, 0.5) for part in parts if part.group == batch.group]
        assert torch.equal(torch.cat(own), mask)
        assert not torch.equal(mask, trainer.place(whole, 2).mask(batch, 0.5))
    assert place.hidden(0.5) == tuple(
        sum(int((place.mask(batch, 0.5) == hidden).sum()) for batch in whole.part(1).groups)
        for hidden in (True, False)
    )


def test_the_tokenizer_stays_as_it_is_in_pre_training(data, tmp_path):
    trainer = make_trainer("masked", data, tmp_path)
    before = {k: v.clone() for k, v in trainer.tokenizer.state_dict().items()}
    finish(trainer)
    assert not equal(before, trainer.tokenizer.state_dict())
    assert not equal(before, make_tokenizer().state_dict())


def test_the_saved_average_follows_the_weights(data, tmp_path):
    weight = torch.nn.Parameter(torch.zeros(3))
    average = WeightAverage({"w": weight}, 0.5)
    for step, value in enumerate((1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0)):
        weight.data.fill_(value)
        average.update(step)
    assert 3.5 < float(average.averages["w"][0]) < 4.0
    with average.in_place():
        assert torch.equal(weight.data, average.averages["w"])
    assert float(weight.data[0]) == 4.0
    trainer = make_trainer("masked", data, tmp_path)
    finish(trainer)
    trained = {name: p.detach().clone() for name, p in trainer.trainable().items()}
    trainer.use_average()
    assert equal(trained, {name: p.detach() for name, p in trainer.trainable().items()})


def test_weight_decay_is_for_matrices_and_kernels(data, tmp_path):
    for kind in KINDS:
        model = make_trainer(kind, data, tmp_path / kind).model
        decaying, others = (set(map(id, g["params"])) for g in stage_one_groups(model, 0.05))
        for name, parameter in model.named_parameters():
            plain = name.endswith(("bias", "token", "embedding")) or "norm" in name or (
                parameter.ndim == 1
            )  # fmt: skip
            if parameter.requires_grad:
                assert (id(parameter) in others) == plain, name
                assert (id(parameter) in decaying) != plain, name
            else:
                assert id(parameter) not in decaying | others


def test_a_checkpoint_of_another_training_is_refused(data, tmp_path):
    finish(make_trainer("tokenizer", data, tmp_path))
    with pytest.raises(CheckpointError, match=r"optimization\.lr"):
        make_trainer("tokenizer", data, tmp_path, optimization__lr=5e-4).resume()
    with pytest.raises(CheckpointError, match="train data"):
        make_trainer("tokenizer", data, tmp_path, data__max_seconds=1).resume()


def test_a_held_out_window_for_every_process_is_checked_before_training(
    data, tmp_path, monkeypatch
):
    real = StageOneTrainer.batches

    def batches(self, split, plan, start_step=0):
        if split == "validation":
            raise ValueError("Expected steps of at least 16 windows")
        return real(self, split, plan, start_step)

    monkeypatch.setattr(StageOneTrainer, "batches", batches)
    with pytest.raises(TrainingError, match=r"data\.validation: expected at least a window"):
        make_trainer("masked", data, tmp_path)


def test_a_step_that_the_scaler_left_out_is_no_fault(data, tmp_path, monkeypatch):
    trainer = make_trainer("masked", data, tmp_path, optimization__epochs=1)
    assert trainer._note_norm(torch.tensor(2.0), 3.0) == {"gradient_norm": 2.0}
    trainer.accelerator.scaler = object()  # as with mixed_precision: fp16
    trainer._note_norm(torch.tensor(torch.inf), 5.0)
    trainer.accelerator.scaler = None
    assert trainer.sums == {"gradient_norm": 6.0, "normed_patches": 3.0}
    assert trainer._note_norm(torch.tensor(torch.inf), 1.0)["gradient_norm"] == torch.inf
    trainer.sums = {}
    trainer.train_epoch()
    entry = trainer.finish_epoch()
    assert 0 < entry["train"]["gradient_norm"] < 100 and "normed_patches" not in entry["train"]


def test_a_base_without_prediction_layer_takes_the_tokenizer_s_codes(tmp_path):
    base = MteegModel(MteegConfig.from_preset("tiny"))
    base.save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    student = build_student(StudentOptions(init=str(tmp_path)), tokenizer, 0)
    assert student.config.num_codes == tokenizer.config.num_codes == len(student.lm_head.weight)
    kept = student.mteeg.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in base.state_dict().items())


def test_all_faults_of_a_configuration_at_once():
    tree = {"model": {"preset": "bse"}, "data": {"strid_s": 1}, "optimization": {"lr": -1}}
    with pytest.raises(ConfigError) as caught:
        TokenizerTrainingConfig.build(tree)
    assert len(caught.value.faults) == 3
    assert "did you mean 'stride_s'" in str(caught.value)
    with pytest.raises(ConfigError, match=r"either preset .* or init") as caught:
        TokenizerTrainingConfig.build({"optimization": {"lr": 1e-6}})
    assert len(caught.value.faults) == 3
