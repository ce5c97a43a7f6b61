"""``compile: true`` in joint training: the same training, one code for all shapes and routes."""

from __future__ import annotations

import functools
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tiny_corpora import save_corpora
from training_program import TASKS, fill_adapters, make_trainer, outcome, run, step_gradients

from modeling_mteeg.data import load_corpora
from modeling_mteeg.data.loading import JointBatches
from modeling_mteeg.model import compiled_parts
from modeling_mteeg.model.layers import MteegLayer, TemporalEncoder
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.launch import TrainingError

# Counts that no number of steps divides, so that steps and passes differ in every task's samples.
SIZES = {"tuab": (34, 7, 8), "seed-v": (27, 9, 9), "sleep-edf": (11, 5, 6)}
WAYS = {
    "mteeg": {},
    "passes": {"optimization__max_tokens": 40},
    "parts": {"optimization__gradient_accumulation": 3},
    "pool": {"adapter__sharing": "pool", "adapter__experts": 2},
    "hps": {"method": "hps", "adapter": {}},
    "probe": {"method": "linear-probe", "adapter": {}},
}
"""Options of a training; the passes hold other tasks from step to step, or one alone."""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, TASKS)


def begin_anew() -> None:
    """Forget compiled code, as in a new process."""
    compiled_parts.compiled.cache_clear()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@pytest.fixture
def traced(monkeypatch):
    """torch.compile that traces and differentiates, without making code for a processor."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    begin_anew()
    yield
    begin_anew()


@pytest.fixture
def compiled():
    """The real thing, begun anew; skipped where there is no C++ compiler."""
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler is installed, which torch.compile needs on a CPU")
    begin_anew()
    yield
    begin_anew()


def graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def without_breaks() -> bool:
    return not torch._dynamo.utils.counters["graph_break"]


def assert_same(found, expected, tolerance=1e-5) -> None:
    """Of every tensor within ``tolerance`` of the largest gradient of all."""
    assert found.keys() == expected.keys()
    largest = max(float(t.abs().max()) for t in expected.values() if t is not None)
    for name, tensor in expected.items():
        assert (found[name] is None) == (tensor is None), name
        if tensor is not None:
            assert (found[name] - tensor).abs().max() <= tolerance * largest, name


def without_lost_biases(tensors: dict) -> dict:
    return {name: t for name, t in tensors.items() if not re.search(r"conv\d\.bias", name)}


def both(corpora, folder, **options):
    """A trainer as it is and one that compiles, with the same weights."""
    trainers = [
        make_trainer(corpora, folder / name, compile=name == "compiled", **options)
        for name in ("plain", "compiled")
    ]
    for trainer in trainers:
        fill_adapters(trainer)
    torch._dynamo.utils.counters.clear()  # of the look whether anything can be compiled
    return trainers


@pytest.mark.slow
@pytest.mark.parametrize("way", ["mteeg", "hps"])
def test_gradients_of_a_step_are_those_without(way, corpora, tmp_path, traced):
    plain, ours = both(corpora, tmp_path, **WAYS[way])
    expected = step_gradients(plain)
    assert graphs() == 0
    found = step_gradients(ours)
    assert graphs() >= 2 and without_breaks()
    assert_same(found, expected)


def test_what_has_no_layers_of_a_labram_is_refused(corpora, tmp_path):
    with pytest.raises(ConfigError, match="compile: method band-power has no layers"):
        make_trainer(corpora, tmp_path, compile=True, method="band-power", adapter={})


def test_without_a_compiler_the_error_says_what_to_do(corpora, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no g++\nand much more")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(TrainingError, match=r"\(no g\+\+\).*C\+\+ compiler.*compile: false"):
        make_trainer(corpora, tmp_path, compile=True)


@pytest.mark.slow
def test_beyond_the_limit_of_versions_layers_run_as_they_are(traced):
    part, x = compiled_parts.compiled(compiled_parts._normalised), torch.randn(5, 8)
    with torch._dynamo.config.patch(recompile_limit=1):
        for eps in (1e-5, 1e-2, 1e-1):
            norm = torch.nn.LayerNorm(8, eps=eps)
            assert torch.allclose(part(norm, x, torch.float32), norm(x))
    assert graphs() == 1


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_compiled_after_the_first_epoch(way, corpora, tmp_path, traced):
    trainer = make_trainer(corpora, tmp_path, compile=True, **WAYS[way])
    layers = [m for m in trainer.model.modules() if isinstance(m, MteegLayer)]
    encoders = [m for m in trainer.model.modules() if isinstance(m, TemporalEncoder)]
    assert layers and all(layer.compiled for layer in layers)
    assert encoders and not any(encoder.compiled for encoder in encoders), "slower on a CPU"
    made, shapes = [], []
    while not trainer.finished:
        plan = trainer.plan(trainer.progress.epoch)
        shapes.append({tuple(plan.counts(step).items()) for step in range(plan.num_steps)})
        trainer.train_epoch()
        trainer.finish_epoch()
        made.append(graphs())
    assert len(made) == 3 and len(shapes[0]) > 1, "steps of other shapes, else nothing is shown"
    assert made[0] == made[1] == made[2], made
    assert 1 <= made[0] <= 24 and without_breaks()


@pytest.mark.slow
def test_a_training_goes_on_the_other_way_and_ends_alike(corpora, tmp_path, compiled):
    options = {"optimization__lr": 1e-3, "optimization__epochs": 2}
    plain = make_trainer(corpora, tmp_path / "plain", **options)
    run(plain)
    expected = outcome(plain)
    for first, then in ((False, True), (True, False)):
        folder = tmp_path / f"begun-{first}"
        begun = make_trainer(corpora, folder, compile=first, **options)
        begun.train_epoch()
        begun.finish_epoch()
        begun.save_checkpoint()
        ours = make_trainer(corpora, folder, compile=then, **options)
        with pytest.warns(UserWarning, match="compiled layers.*not the same to the last bit"):
            run(ours)
        # After 14 steps of Adam, which divides by small numbers. A bias before a norm of one
        # channel is taken away by it: its gradient is rounding, which Adam makes large.
        found = outcome(ours)
        assert_same(*map(without_lost_biases, (found, expected)), 1e-4)
        ours.method.save(tmp_path / f"saved-{first}", {task: {} for task in TASKS}, None)
    plain.method.save(tmp_path / "saved", {task: {} for task in TASKS}, None)
    names = sorted(str(p.relative_to(tmp_path / "saved")) for p in (tmp_path / "saved").rglob("*"))
    for first in (False, True):
        saved = tmp_path / f"saved-{first}"
        assert sorted(str(path.relative_to(saved)) for path in saved.rglob("*")) == names
        for path in saved.rglob("*.safetensors"):
            theirs = load_file(tmp_path / "saved" / path.relative_to(saved))
            assert load_file(path).keys() == theirs.keys()


@pytest.mark.slow
def test_a_compiled_step_of_the_real_compiler(corpora, tmp_path, compiled):
    plain, ours = both(corpora, tmp_path, model__drop_path=0.0, adapter__dropout=0.0)
    plan = plain.plan(0)
    batch = JointBatches(plain.corpora, plan, prefetch=0).batch(0)
    expected, found = (t.compute_gradients([batch], plan.counts(0)) for t in (plain, ours))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    gradients = [{n: p.grad for n, p in trainer.trainable().items()} for trainer in (plain, ours)]
    assert_same(*gradients[::-1])
    assert ours.model.state_dict().keys() == plain.model.state_dict().keys()
    assert ours.model.fingerprint() == plain.model.fingerprint()
