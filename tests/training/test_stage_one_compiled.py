"""``compile: true``: layers through torch.compile give the same training."""

from __future__ import annotations

import functools
import shutil

import pytest
import torch
from stage_one_program import finish, make_trainer, outcome, step_gradients
from tiny_unlabelled import save_unlabelled

from modeling_mteeg.model import compiled_parts, layers
from modeling_mteeg.training.checkpoint import CheckpointError
from modeling_mteeg.training.launch import TrainingError
from modeling_mteeg.training.stage_one.trainer import StageOneTrainer

KINDS = ("tokenizer", "masked")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", dtype="int16")


@pytest.fixture
def traced(monkeypatch):
    """torch.compile that traces and differentiates, without making code for a processor."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    compiled_parts.compiled.cache_clear()
    torch._dynamo.reset()
    yield
    compiled_parts.compiled.cache_clear()
    torch._dynamo.reset()


@pytest.fixture
def compiled():
    """The real thing, begun anew; skipped where there is no C++ compiler."""
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler is installed, which torch.compile needs on a CPU")
    compiled_parts.compiled.cache_clear()
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_compiled_step_is_the_plain_step(kind, data, tmp_path, traced):
    plain = make_trainer(kind, data, tmp_path / "plain")
    ours = make_trainer(kind, data, tmp_path / "compiled", compile=True)
    for model in ours.compiled_models():
        found = [m.compiled for m in model.modules() if isinstance(m, layers.MteegLayer)]
        assert found and all(found)
    assert not any(m.compiled for m in plain.model.modules() if isinstance(m, layers.MteegLayer))
    torch._dynamo.utils.counters.clear()
    expected, values = step_gradients(plain), None
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
    values = step_gradients(ours)  # dropped paths are drawn alike
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(values[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_run_is_not_continued_the_other_way(data, tmp_path, traced):
    first = make_trainer("masked", data, tmp_path)
    first.save_checkpoint()
    with pytest.raises(CheckpointError, match="compile: checkpoint False, now True"):
        make_trainer("masked", data, tmp_path, compile=True).resume()


def test_without_a_compiler_the_error_says_what_to_do(data, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no g++\nand much more")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(TrainingError, match=r"\(no g\+\+\).*C\+\+ compiler.*compile: false"):
        make_trainer("masked", data, tmp_path, compile=True)


def test_it_is_refused_where_the_weights_are_spread(data, tmp_path, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.training.stage_one.trainer.shard_if_asked", lambda *_: True)
    with pytest.raises(TrainingError, match="FSDP"):
        make_trainer("masked", data, tmp_path, compile=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_training_goes_on_to_the_bit_and_is_the_plain_one(
    kind, data, tmp_path, monkeypatch, compiled
):
    plain = finish(make_trainer(kind, data, tmp_path / "plain"))
    torch._dynamo.utils.counters.clear()
    whole = make_trainer(kind, data, tmp_path / "whole", compile=True)
    history = finish(whole)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert 2 <= graphs <= 20
    for ours, expected in zip(history, plain, strict=True):
        assert ours["train"]["loss"] == pytest.approx(expected["train"]["loss"], rel=1e-2)
    real, steps = StageOneTrainer.train_step, []

    def dying(self, parts, batches):
        if len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(1)
        return real(self, parts, batches)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StageOneTrainer, "train_step", dying)
        finish(make_trainer(kind, data, tmp_path / "cut", compile=True))
    compiled_parts.compiled.cache_clear()  # as in a new process
    torch._dynamo.reset()
    again = make_trainer(kind, data, tmp_path / "cut", compile=True)
    assert finish(again) == history
    expected, found = outcome(whole), outcome(again)
    assert not [name for name in expected if not torch.equal(expected[name], found[name])]
