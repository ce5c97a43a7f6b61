"""Compiled layers (Triton), and whole steps as CUDA graphs, on a GPU."""

from __future__ import annotations

import pytest
import torch
from on_gpu import ON_GPU, accelerator_in, exact
from tiny_corpora import save_corpora
from training_program import TASKS, fill_adapters, make_trainer

from modeling_mteeg.data import load_corpora
from modeling_mteeg.data.loading import JointBatches
from modeling_mteeg.model import compiled_parts

pytestmark = ON_GPU
SIZES = {"tuab": (34, 7, 8), "seed-v": (27, 9, 9), "sleep-edf": (11, 5, 6)}
WAYS = {
    "mteeg": {},
    "passes": {"optimization__max_tokens": 40},
    "hps": {"method": "hps", "adapter": {}},
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, TASKS)


@pytest.fixture(autouse=True)
def begun_anew():
    compiled_parts.compiled.cache_clear()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def steps():
    from modeling_mteeg.recipes.benchmarks import joint_step

    return joint_step


@pytest.mark.parametrize("way", WAYS)
def test_compiled_gradients_are_the_eager_ones(way, corpora, tmp_path):
    options = {"model__drop_path": 0.0, **WAYS[way]}
    if "adapter" not in options:
        options["adapter__dropout"] = 0.0
    found = []
    with exact():
        for compiled in (False, True):
            trainer = make_trainer(
                corpora, tmp_path / str(compiled), accelerator_in("no"), compile=compiled, **options
            )
            fill_adapters(trainer)
            plan = trainer.plan(0)
            batch = JointBatches(trainer.corpora, plan, prefetch=0).batch(0)
            losses = trainer.compute_gradients([batch], plan.counts(0))
            flat = torch.cat([p.grad.flatten() for p in trainer.trainable().values()])
            found.append((losses, flat))
    (expected, plain), (losses, ours) = found
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    assert (ours - plain).norm() < 1e-5 * plain.norm()


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_compiled_after_the_first_epoch(way, precision, corpora, tmp_path):
    trainer = make_trainer(
        corpora, tmp_path, accelerator_in(precision), compile=True, **WAYS[way]
    )  # fmt: skip
    counters, made = torch._dynamo.utils.counters, []
    while not trainer.finished:
        trainer.train_epoch()
        trainer.finish_epoch()
        made.append(counters["stats"]["unique_graphs"])
    assert made[0] == made[-1] and not counters["graph_break"], made


@pytest.mark.parametrize("variant", ["joint, bfloat16, CUDA graph", "joint, float32, CUDA graph"])
def test_a_step_played_back_is_the_step(variant, steps):
    """Three steps before the recording and two played back are five steps."""
    device = torch.device("cuda")
    torch.set_float32_matmul_precision("highest")
    eager = steps.build(variant.removesuffix(", CUDA graph"), "tiny", 3, device)
    graphed = steps.build(variant, "tiny", 3, device)
    for step in (eager, graphed.step):
        step.model.eval()  # no dropped paths, whose random values differ
    for _ in range(5):
        eager()
    graphed()
    graphed()
    moved = 0.0
    start = steps.build("joint, float32", "tiny", 3, device).trained
    for ours, expected, before in zip(graphed.step.trained, eager.trained, start, strict=True):
        moved += float((expected - before).norm())
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=3e-4)
    assert moved > 0


def test_dropped_paths_differ_from_one_play_to_the_next(steps):
    graphed = steps.build("joint, float32, CUDA graph", "tiny", 3, torch.device("cuda"))
    layer, kept = graphed.step.model.layers[-1], []
    layer.drop_path.rate = 0.5
    real = layer.drop_path.forward
    seen = torch.zeros(1, device="cuda")

    def noted(*args):
        rows = real(*args)
        seen.copy_((rows.flatten() * torch.arange(len(rows), device=rows.device)).sum()[None])
        return rows

    layer.drop_path.forward = noted
    for _ in range(4):
        graphed()
        kept.append(float(seen))
    assert len(set(kept)) > 1


@pytest.mark.parametrize(
    "variant", ["joint, float16", "joint, float32 TF32", "joint, bfloat16, compiled"]
)
def test_every_kind_of_number_trains(variant, steps):
    try:
        step = steps.build(variant, "tiny", 2, torch.device("cuda"))
        before = [p.detach().clone() for p in step.trained]
        for _ in range(3):
            step()
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(p.isfinite().all() for p in step.trained)
    assert any(not torch.equal(p, old) for p, old in zip(step.trained, before, strict=True))
