"""The benchmark's pre-training steps do what they claim."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from places import ROOT

RECIPES = ROOT / "recipes"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def part():
    from modeling_mteeg.recipes.benchmarks import pretraining_step as pretraining

    return pretraining


def copy_transformer(source, target) -> None:
    """Tables and layers of the plain way into one of the model's transformers."""
    target.cls_token.copy_(source.cls_token)
    target.spatial_embedding.copy_(source.spatial)
    target.temporal_embedding.copy_(source.temporal[: len(target.temporal_embedding)])
    for plain, layer in zip(source.layers, target.layers, strict=True):
        for name in ("norm1", "norm2"):
            getattr(layer, name).load_state_dict(getattr(plain, name).state_dict())
        for name in ("fc1", "fc2"):
            getattr(layer.mlp, name).load_state_dict(getattr(plain, name).state_dict())
        layer.attention.qkv.weight.copy_(plain.attention.qkv.weight)
        if plain.attention.qkv.bias is not None:
            query, key, value = plain.attention.qkv.bias.chunk(3)
            key.zero_()  # the model has none
            layer.attention.q_bias.copy_(query)
            layer.attention.v_bias.copy_(value)
        layer.attention.proj.load_state_dict(plain.attention.proj.state_dict())


def copy_encoder(source, target) -> None:
    for index in range(3):
        getattr(target, f"conv{index + 1}").load_state_dict(source.convs[index].state_dict())
        getattr(target, f"norm{index + 1}").load_state_dict(source.norms[index].state_dict())


def test_the_plain_step_has_the_same_labels_loss_and_gradients(part):
    """The yardstick computes what the model computes: the same weights, the same result."""
    plain = part.build("plain, float32", "tiny", 2, CPU)
    ours = part.build("one pass, float32", "tiny", 2, CPU)
    tokenizer, student = ours.tokenizer, ours.student
    with torch.no_grad():
        copy_transformer(plain.tokenizer, tokenizer.encoder)
        copy_encoder(plain.tokenizer, tokenizer.temporal_encoder)
        tokenizer.encoder.fc_norm.load_state_dict(plain.tokenizer.fc_norm.state_dict())
        tokenizer.to_code.load_state_dict(plain.tokenizer.head.state_dict())
        tokenizer.codebook.codes.copy_(plain.tokenizer.codes)
        copy_transformer(plain.student, student.mteeg)
        copy_encoder(plain.student, student.mteeg.temporal_encoder)
        student.mask_token.copy_(plain.student.mask_token)
        student.norm.load_state_dict(plain.student.fc_norm.state_dict())
        student.lm_head.load_state_dict(plain.student.head.state_dict())
    rows = plain.batch["channel_ids"][:, 0]
    labels = tokenizer.get_codebook_indices(**ours.batch)
    assert torch.equal(labels, plain.tokenizer(plain.batch["input_values"], rows))
    assert len(labels.unique()) > 10
    mask = part.random_mask(2, part.CHANNELS * part.SECONDS)
    losses = [step.loss(mask) for step in (plain, ours)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    for loss in losses:
        loss.backward()
    gradients = [
        (plain.student.convs[0].weight, student.mteeg.temporal_encoder.conv1.weight),
        (plain.student.mask_token, student.mask_token),
        (plain.student.layers[0].fc1.weight, student.mteeg.layers[0].mlp.fc1.weight),
        (plain.student.head.weight, student.lm_head.weight),
    ]
    for expected, weight in gradients:
        torch.testing.assert_close(weight.grad, expected.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_every_step_trains(part):
    for variant in part.VARIANTS:
        step = part.build(variant, "tiny", 2, CPU)
        before = [p.detach().clone() for p in step.trained]
        codes = step.tokenizer.state_dict()
        codes = {name: value.clone() for name, value in codes.items() if name != "usage"}
        step()
        moved = sum(not torch.equal(p, old) for p, old in zip(step.trained, before, strict=True))
        assert moved > 0.9 * len(step.trained), variant
        now = step.tokenizer.state_dict()
        assert all(torch.equal(value, now[name]) for name, value in codes.items()), variant


def test_operations_are_those_of_the_products(part):
    """Counted by hand for the tiny size: width 100, hidden 400; three layers, and two."""
    tokens, patches = 257, 256
    layer = tokens * 2 * (4 * 100 * 100 + 2 * 100 * 400) + 2 * 2 * tokens * tokens * 100
    codes = 2 * patches * 256 * (3 * 100 + 32)
    assert part.operations("tiny", 1) == 2 * 3 * 3 * layer + 2 * layer + codes


def test_published_sizes_are_measured(part):
    student, tokenizer = part.configurations("base")
    assert (student.num_hidden_layers, student.num_codes) == (12, 8192)
    assert (tokenizer.num_hidden_layers, tokenizer.num_codes, tokenizer.code_size) == (12, 8192, 64)
    assert part.CHANNELS * part.SECONDS == 256


@pytest.fixture(scope="module")
def tokenizer_part(part):
    from modeling_mteeg.recipes.benchmarks import tokenizer_step as tokenizer

    return tokenizer


def test_the_plain_tokenizer_step_has_the_same_loss_gradients_and_codes(tokenizer_part):
    plain = tokenizer_part.build("plain, float32", "tiny", 2, CPU)
    ours = tokenizer_part.build("tokenizer, float32", "tiny", 2, CPU)
    source, target = plain.model, ours.model
    with torch.no_grad():
        copy_transformer(source.encoder, target.encoder)
        copy_encoder(source.encoder, target.temporal_encoder)
        target.encoder.fc_norm.load_state_dict(source.encoder.fc_norm.state_dict())
        target.to_code.load_state_dict(source.encoder.head.state_dict())
        copy_transformer(source.decoder, target.decoder)
        target.decoder.fc_norm.load_state_dict(source.decoder.fc_norm.state_dict())
        for name in ("from_code", "amplitude_head", "phase_head"):
            getattr(target, name).load_state_dict(getattr(source, name).state_dict())
        target.codebook.codes.copy_(source.encoder.codes)
    before = target.codebook.codes.clone()
    losses = [step.loss() for step in (plain, ours)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    assert (target.codebook.codes != before).any(1).sum() > 10
    torch.testing.assert_close(source.encoder.codes, target.codebook.codes, rtol=0, atol=1e-6)
    torch.testing.assert_close(source.encoder.usage, target.codebook.usage)
    for loss in losses:
        loss.backward()
    for expected, weight in (
        (source.encoder.layers[0].fc1.weight, target.encoder.layers[0].mlp.fc1.weight),
        (source.decoder.layers[0].fc1.weight, target.decoder.layers[0].mlp.fc1.weight),
        (source.from_code.weight, target.from_code.weight),
        (source.phase_head[0].weight, target.phase_head[0].weight),
    ):
        torch.testing.assert_close(weight.grad, expected.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_every_tokenizer_step_trains(tokenizer_part):
    for variant in tokenizer_part.VARIANTS:
        step = tokenizer_part.build(variant, "tiny", 2, CPU)
        before = {name: value.clone() for name, value in step.model.state_dict().items()}
        step()
        now = step.model.state_dict()
        moved = {name for name, value in now.items() if not torch.equal(value, before[name])}
        assert len(moved) > 0.9 * len(before) and any("codes" in name for name in moved), variant


def test_operations_of_a_tokenizer_step_are_those_of_the_products(tokenizer_part):
    """Counted by hand for the tiny size: width 100, hidden 400; two layers and one, 256 codes."""
    layer = 257 * 2 * (4 * 100 * 100 + 2 * 100 * 400) + 2 * 2 * 257 * 257 * 100
    config = tokenizer_part.configuration("tiny")
    layers = config.num_hidden_layers + config.num_decoder_layers
    assert tokenizer_part.operations("tiny", 1) == 3 * layers * layer + 2 * 256 * 256 * 32


def test_rows_are_chosen_by_name(part, capsys, monkeypatch):
    from modeling_mteeg.recipes import benchmark

    chosen = "one pass, float32, compiled, 2 processes"
    args = benchmark.parse_arguments(["pretraining", "--only", chosen])
    rows = [name for name in part.VARIANTS if benchmark.wanted(name, args, CPU)]
    assert rows == ["plain, float32", chosen]
    with pytest.raises(SystemExit):
        benchmark.parse_arguments(["--only", "one pass"])
    assert "argument --only: unknown row 'one pass'" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_do_the_step_of_one(part, tmp_path):
    """The gradients' norm of a plain and of our step, summed over two processes, is one's."""
    program = (
        "import os, sys, torch\n"
        "from modeling_mteeg.recipes.benchmarks import pretraining_step as part\n"
        "variant = sys.argv[1]\n"
        "step = part.build(variant, 'tiny', 4, torch.device('cpu'))\n"
        "torch.manual_seed(1)\n"
        "found = []\n"
        "torch.nn.utils.clip_grad_norm_ = lambda p, _: found.extend(q.grad.norm() for q in p "
        "if q.grad is not None)\n"
        "step()\n"
        "if os.environ.get('RANK', '0') == '0':\n"  # two would write into each other's lines
        "    print(*(f'{float(x):.6e}' for x in found))\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for variant in ("plain, float32", "one pass, float32"):
        norms = []
        for launcher in ([], ["-m", "torch.distributed.run", "--nproc_per_node", "2"]):
            done = subprocess.run(
                [sys.executable, *launcher, str(script), variant],
                check=True, capture_output=True, text=True, env=environment,
            )  # fmt: skip
            norms.append([float(x) for x in done.stdout.splitlines()[0].split()])
        assert len(norms[0]) > 20 and norms[0] == pytest.approx(norms[1], rel=1e-3, abs=1e-7)


def test_all_but_compiled_rows_are_measured_on_a_cpu(part):
    from modeling_mteeg.recipes import benchmark

    args = benchmark.parse_arguments(["pretraining", "--threads", "2"])
    rows = [name for name in part.VARIANTS if benchmark.wanted(name, args, CPU)]
    assert rows == [name for name in part.VARIANTS if "compiled" not in name]


@pytest.mark.slow
def test_the_command_prints_rows_and_hours(tmp_path):
    """A process a row; every row's own step is tested above."""
    table = tmp_path / "table.md"
    arguments = (
        "pretraining tokenizer --preset tiny --samples 2 --repeats 1 --warmup 1 --threads 2 "
        "--device cpu --corpus-hours 2000"
    ).split()
    arguments += ["--only", "one pass, float32", "--only", "tokenizer, float32"]
    subprocess.run(
        [sys.executable, str(RECIPES / "benchmark.py"), *arguments, "--out", str(table)], check=True
    )
    text = table.read_text("utf-8")
    assert text.count("| plain, float32 |") == 4  # of two parts, its step and the hours
    assert "| one pass, float32 |" in text and "| tokenizer, float32 |" in text
    assert "| pre-training (tiny) step |" in text and "| tokenizer training step |" in text
    assert text.count("| 2,000 h of recordings | hours of this machine |") == 2
    assert "are 90.0 million windows" in text and "are 720.0 million windows" in text
