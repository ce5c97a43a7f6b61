"""The benchmark's steps do what they claim, and its command runs."""

from __future__ import annotations

import functools
import subprocess
import sys

import mne
import numpy as np
import pytest
import torch
from places import ROOT

RECIPES = ROOT / "recipes"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def steps():
    from modeling_mteeg.recipes.benchmarks import joint_step as steps

    return steps


def gradients(step) -> torch.Tensor:
    """Of one call, without drop path: its decisions differ between passes."""
    step.model.eval()
    step.optimizer.step = step.optimizer.zero_grad = lambda **_: None
    step()
    return torch.cat([p.grad.flatten() for p in step.trained])


@pytest.mark.slow
def test_bounded_passes_give_the_gradients_of_the_whole_step(steps):
    whole = steps.JointStep("tiny", 4, torch.device("cpu"), "joint, float32")
    bounded = steps.JointStep("tiny", 4, torch.device("cpu"), "joint, float32, bounded")
    assert whole.max_tokens is None and bounded.max_tokens == 4 * 257
    expected = gradients(whole)
    assert (gradients(bounded) - expected).norm() < 1e-5 * expected.norm()


class OneOfTwo:
    """Stands for the accelerator of one of two processes; sums nothing."""

    num_processes = 2

    def __init__(self, rank: int):
        self.process_index = rank

    def reduce(self, tensor, reduction):
        return tensor


@pytest.mark.slow
def test_two_processes_share_the_samples_of_the_joint_and_the_models_of_the_plain_step(steps):
    whole = steps.batches(5, torch.device("cpu"))
    joint, plain = (
        [kind("tiny", 5, torch.device("cpu"), "float32", OneOfTwo(rank)) for rank in range(2)]
        for kind in (steps.JointStep, steps.PlainStep)
    )
    for task, batch in whole.items():
        halves = torch.cat([step.batches[task]["input_values"] for step in joint])
        assert torch.equal(halves, batch["input_values"])
        owners = [step.batches[task] for step in plain if task in step.batches]
        assert len(owners) == 1 and torch.equal(owners[0]["labels"], batch["labels"])
    expected = gradients(steps.JointStep("tiny", 5, torch.device("cpu"), "float32"))
    summed = sum(gradients(step) for step in joint)
    assert (summed - expected).norm() < 1e-5 * expected.norm()


def test_the_plain_step_is_the_same_network(steps):
    """Same weights, same logits: the yardstick computes what the model computes."""
    torch.manual_seed(0)
    plain = steps.PlainStep("tiny", 2, torch.device("cpu"), "plain, float32")
    joint = steps.JointStep("tiny", 2, torch.device("cpu"), "joint, float32")
    task, model = "tuev", joint.model.eval()
    yard = plain.models[task].eval()
    with torch.no_grad():
        for index in range(3):
            encoder = model.temporal_encoder
            getattr(encoder, f"conv{index + 1}").load_state_dict(yard.convs[index].state_dict())
            getattr(encoder, f"norm{index + 1}").load_state_dict(yard.norms[index].state_dict())
        model.cls_token.copy_(yard.cls_token)
        model.spatial_embedding.copy_(yard.spatial)
        model.temporal_embedding.copy_(yard.temporal[: len(model.temporal_embedding)])
        for layer, other in zip(model.layers, yard.layers, strict=True):
            for name in ("qkv", "proj", "fc1", "fc2"):
                holder = layer.mlp if name.startswith("fc") else layer.attention
                source = other if name.startswith("fc") else other.attention
                getattr(holder, name).base_layer.load_state_dict(getattr(source, name).state_dict())
        model.heads[task].load_state_dict(yard.head.state_dict())
        for block in yard.layers:
            block.keep = 1.0
        batch = plain.batches[task]
        logits = model(batch["input_values"], batch["channel_ids"], task=task).logits
        torch.testing.assert_close(
            logits, yard(batch["input_values"], batch["channel_ids"][:, 0]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("method", ["mteeg", "hps"])
def test_a_comparison_of_gradients_is_measured_and_trains_nothing(monkeypatch, method):
    from modeling_mteeg.recipes.benchmarks.gradient_cost import ComparedStep

    step = ComparedStep(method, "tiny", 1, torch.device("cpu"))
    before = [p.detach().clone() for p in step.method.module.parameters()]
    step.compare()
    after = step.method.module.parameters()
    assert all(torch.equal(p, old) for p, old in zip(after, before, strict=True))
    assert all(None not in row for row in step.comparison.measurements[0]["cosines"])


def test_attention_s_ways_are_one_attention(monkeypatch):
    from modeling_mteeg.model.layers import Group
    from modeling_mteeg.recipes.benchmarks import attention

    if attention.kernel(20) is None:
        pytest.skip("no g++ is installed, which makes the kernel")
    tensors = [torch.randn(5 * 61, 10, 20) for _ in range(3)]
    fused, plain, kernel = (way(tensors, Group(5, 61), 0.2) for way in attention.WAYS.values())
    assert torch.allclose(fused, plain, atol=1e-5) and torch.allclose(kernel, plain, atol=1e-5)
    monkeypatch.setattr(attention, "SHAPES", {"one": (2, 4, 2), "other": (3, 4, 2)})
    lines = attention.attention_table("tiny", 2, 2, 0).splitlines()
    assert [line[:16] for line in lines[4:]] == ["| float32 | 9 | ", "| bfloat16 | 9 |"]


BY_DEFAULT = ("plain, float32", "joint, float32", "joint, bfloat16")
IN_THIS_PROCESS = (
    *BY_DEFAULT,
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("plain, bfloat16", "joint, float32, bounded", "joint, bfloat16, bounded")
    ),
)


@pytest.mark.parametrize("variant", IN_THIS_PROCESS)
def test_a_step_trains(steps, variant):
    step = steps.build(variant, "tiny", 2, torch.device("cpu"))
    models = step.models.values() if variant.startswith("plain") else [step.model]
    trained = [p for model in models for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    step()
    step()
    moved = sum(not torch.equal(p, old) for p, old in zip(trained, before, strict=True))
    assert moved > 0.9 * len(trained)


@pytest.mark.slow
def test_the_compiled_step_trains(steps, monkeypatch):
    """The GPU's variant, traced and differentiated by the compiler, without code for a device."""
    compiler = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", compiler)
    compiled = steps.JointStep("tiny", 2, torch.device("cpu"), "joint, float32, compiled")
    assert any(getattr(module, "compiled", False) for module in compiled.model.modules())
    expected = gradients(steps.JointStep("tiny", 2, torch.device("cpu"), "joint, float32"))
    assert (gradients(compiled) - expected).norm() < 1e-5 * expected.norm()


def test_operations_are_those_of_the_products(steps):
    """Counted by hand for the tiny size: three layers of width 100, hidden 400."""
    rows = [1 + channels * seconds for _, channels, seconds in steps.SHAPES.values()]
    weights = 100 * 300 + 100 * 100 + 2 * 100 * 400
    attention = sum(3 * 2 * 2 * n * n * 100 for n in rows)
    assert steps.operations("tiny", 1, joint=False) == 3 * (6 * weights * sum(rows) + attention)


def test_the_floor_leaves_out_what_the_joint_step_does_not_compute(steps):
    """Counted on the step's own layers: rows that meet the feed-forward branch, of many draws."""
    cpu, draws = torch.device("cpu"), 30
    share = steps.computed_share("joint, float32, bounded", cpu)
    assert steps.computed_share("plain, float32", cpu) == 1.0
    assert steps.computed_share("joint, float32", torch.device("cuda")) == 1.0
    step, rows = steps.JointStep("tiny", 4, cpu, "joint, float32"), []
    for layer in step.model.layers:
        layer.norm2.register_forward_hook(lambda _, args, out: rows.append(len(args[0])))
    tasks = {"seed-v": step.batches["seed-v"]}
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(draws):
            step.model(tasks=tasks)
    everything = draws * len(step.model.layers) * 4 * (1 + 62)
    assert abs(sum(rows) / everything - share) < 0.03 and share < 1.0


@pytest.fixture(scope="module")
def latency():
    from modeling_mteeg.recipes.benchmarks import latency

    return latency


def test_latency_times_one_answer_for_every_chunk(latency, monkeypatch):
    """What is timed does the whole work: a window's answer each time, and the same one."""

    def no_export(*_: object) -> None:
        raise latency.MissingOnnxError

    monkeypatch.setattr(latency, "export_onnx", no_export)
    contestants = latency.Contestants("tiny")
    calls, chunk = contestants.calls(), np.random.default_rng(0).standard_normal((23, 2560))
    cut, answers = [], []
    for turn in range(latency.WARM_UP + 3):
        answers.append(calls["live"](20 * chunk))
        cut.append(calls["filters and cutting"](20 * chunk)[1])
        if turn >= latency.WARM_UP:
            assert len(answers[-1]) == len(cut[-1]) == 1
            values = torch.from_numpy(cut[-1]) / 100
            with torch.no_grad():
                logits = contestants.model(values, contestants.ids, task="tuab").logits
            share = answers[-1][0].probabilities["abnormal"]
            assert share == pytest.approx(logits.sigmoid().item(), abs=1e-4)
    assert not [name for name in calls if "ONNX" in name]  # left out without the extra
    assert calls["plain forward"](chunk).shape == calls["model"](chunk).shape == (1, 1)


@pytest.mark.slow
def test_latency_prints_every_row(latency):
    threads = torch.get_num_threads()
    text = latency.latency_table("tiny", 2, eeg_s=30.0)
    assert torch.get_num_threads() == threads
    for name in latency.ROWS:
        assert f"| {name} | " in text and f"- {name}: " in text


def test_what_less_delay_costs_is_nothing_without_it_and_grows(latency):
    rows = [line.split(" | ") for line in latency.delay_table(60.0).splitlines()[4:]]
    shares = [float(row[3].rstrip("% |")) for row in rows if row[0] == "| 0.1"]
    assert len(rows) > len(shares) == len(latency.LOOKAHEADS_S)
    assert shares[0] == 0 and shares == sorted(shares) and shares[-1] > 10


def test_a_long_recording_is_a_short_one_played_again(tmp_path):
    from modeling_mteeg.recipes.benchmarks import recording

    piece = recording.make_recording(tmp_path / "piece.edf", 4 / 3600)
    long = recording.repeat_recording(piece, tmp_path / "long.edf", 3)
    once, thrice = (mne.io.read_raw(path, verbose="error").get_data() for path in (piece, long))
    assert once.shape == (23, 4 * 256) and 1e-6 < once.std() < 1e-4
    np.testing.assert_array_equal(thrice, np.tile(once, 3))
    for way in recording.WAYS:
        figures = recording.measure(way, long, "tiny")
        assert figures["peak_mb"] >= figures["before_mb"] > 0 and figures["seconds"] > 0


def test_all_but_compiled_rows_and_those_of_gpus_are_measured_on_a_cpu(steps):
    from modeling_mteeg.recipes import benchmark

    args = benchmark.parse_arguments(["steps", "--threads", "2"])
    left_out = ("compiled", "TF32", " float16", "graph")
    variants = [name for name in steps.VARIANTS if not any(word in name for word in left_out)]
    measured = [name for name in steps.VARIANTS if benchmark.wanted(name, args, CPU)]
    assert len(variants) == 9 and measured == variants


def test_a_process_that_the_system_ended_is_said():
    from modeling_mteeg.recipes.benchmarks.worker import Worker

    worker, pipe = object.__new__(Worker), subprocess.PIPE
    program = "import os; os.kill(os.getpid(), 9)"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True)
    process.wait()
    worker.variant, worker.processes = "joint, float32", [process]
    with pytest.raises(SystemExit, match=r"'joint, float32' ended with -9, .*short of memory"):
        worker.step()


@pytest.mark.slow
def test_the_command_prints_the_rows_and_the_footprint(tmp_path):
    """A process a row, two for a row of two; every row's own step is tested above."""
    table, rows = tmp_path / "table.md", ("joint, bfloat16", "joint, float32, 2 processes")
    arguments = (
        "steps footprint --preset tiny --samples 2 1 --repeats 1 --warmup 1 --device cpu "
        "--threads 2"
    ).split()
    arguments += [word for row in rows for word in ("--only", row)]
    subprocess.run(
        [sys.executable, str(RECIPES / "benchmark.py"), *arguments, "--out", str(table)], check=True
    )
    text = table.read_text("utf-8")
    for row in ("plain, float32", *rows):
        assert text.count(f"| {row} |") == 2
    assert "| switching the task |" in text
    assert "tiny, 1 samples" in text and "GFLOP/s" in text
