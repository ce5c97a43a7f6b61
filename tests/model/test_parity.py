"""MteegModel computes what the published LaBraM code computes: outputs and gradients.

Three references: vectors made with the published code (where they are at hand), the repository's
own stored vectors, and the plain reimplementation run next to the model.
"""

from __future__ import annotations

import json
from pathlib import Path

import plain_labram
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from modeling_mteeg.conversion import convert_state_dict
from modeling_mteeg.conversion.key_names import target_key

TOLERANCE = 1e-5
ATTENTION = ("eager", "sdpa", "sdpa-always")
CASES = ("tuab", "seed-v", "physionet")


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of the reference."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found.reshape(expected.shape) - expected).norm() / expected.norm())


def assert_match(found: dict, expected: dict) -> None:
    """Every expected tensor is met within the tolerance."""
    assert expected
    errors = {name: relative_error(found[name], value) for name, value in expected.items()}
    wrong = {name: error for name, error in errors.items() if not error < TOLERANCE}
    assert not wrong, f"relative errors: {wrong}"


@pytest.fixture(params=ATTENTION)
def attention(request, monkeypatch) -> str:
    """An attention implementation; ``sdpa-always`` forbids plain attention for short inputs."""
    if request.param == "sdpa-always":
        monkeypatch.setattr("modeling_mteeg.model.layers.EAGER_BELOW_TOKENS", 0)
        return "sdpa"
    return request.param


def model_of(weights: dict[str, torch.Tensor], attention: str):
    """Model in float32 with every weight of a published state dict, head apart."""
    model, report = convert_state_dict(weights)
    assert not report.with_status("missing")
    model.set_attn_implementation(attention)
    return model


def run(model, weights: dict, x: torch.Tensor, ids: torch.Tensor, gradients: list[str]) -> dict:
    """Pooled features, normalised patch tokens, logits, loss, and gradients by published names."""
    out = model(input_values=x.float(), channel_ids=ids)
    logits = F.linear(
        out.pooler_output, weights["head.weight"].float(), weights["head.bias"].float()
    )
    loss = F.cross_entropy(logits, torch.arange(len(x)) % logits.shape[1])
    model.zero_grad()
    loss.backward()
    parameters = dict(model.named_parameters())
    result = {f"grad.{name}": parameters[target_key(name)].grad for name in gradients}
    tokens = model.fc_norm(out.last_hidden_state[:, 1:])
    return result | {
        "pooled": out.pooler_output,
        "patch_tokens": tokens,
        "logits": logits,
        "loss": loss[None],
    }


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> tuple[dict, dict, dict]:
    """Weights and cases of the published code, and rows of its montages (cls row apart)."""
    channels = json.loads((golden_dir / "channels.json").read_text())
    order = {name: row for row, name in enumerate(channels["standard_1020"], start=1)}
    rows = {case: [order[n] for n in channels["montages"][case]] for case in CASES}
    weights = load_file(golden_dir / "labram_tiny.safetensors")
    return weights, load_file(golden_dir / "labram_tiny_cases.safetensors"), rows


def golden_case(golden: tuple[dict, dict, dict], case: str) -> tuple[dict, list[int]]:
    _weights, cases, rows = golden
    expected = {k.removeprefix(f"{case}."): v for k, v in cases.items() if k.startswith(f"{case}.")}
    return expected, rows[case]


@pytest.mark.parametrize("case", CASES)
def test_model_matches_published_code(golden, case, attention):
    expected, rows = golden_case(golden, case)
    ids = torch.tensor(rows)[:, None].repeat(1, 2)
    gradients = [name.removeprefix("grad.") for name in expected if name.startswith("grad.")]
    assert len(gradients) == 5
    model = model_of(golden[0], attention)
    found = run(model, golden[0], expected.pop("x"), ids, gradients)
    found["patch_tokens"] = found["patch_tokens"][:, ::7]
    table = found["grad.pos_embed"]
    found["grad.pos_embed"] = table[[0, *rows]]
    assert_match(found, expected)
    others = torch.ones(len(table), dtype=torch.bool)
    others[[0, *rows]] = False
    assert not table[others].any(), "a row of a channel that is not there has a gradient"


@pytest.mark.parametrize("case", CASES)
def test_plain_reimplementation_matches_published_code(golden, case):
    expected, rows = golden_case(golden, case)
    weights = {name: value.double() for name, value in golden[0].items()}
    x = expected["x"].double().unflatten(-1, (-1, 200))
    tokens = plain_labram.tokens_of(weights, x, [(row, row) for row in rows])
    found = {
        "pooled": plain_labram.features(weights, x, [(row, row) for row in rows]),
        "patch_tokens": plain_labram.layer_norm(tokens[:, 1:], weights, "fc_norm")[:, ::7],
    }
    assert_match(found, {name: expected[name] for name in found})


def test_stored_vectors_are_those_of_the_plain_reimplementation():
    stored, made = load_file(plain_labram.VECTORS), plain_labram.own_vectors()
    assert stored.keys() == made.keys()
    assert_match(made, stored)


@pytest.mark.parametrize("task", plain_labram.SHAPES)
def test_model_matches_stored_vectors(task, attention):
    weights = plain_labram.random_weights(bias=True)
    stored = load_file(plain_labram.VECTORS)
    expected = {
        k.removeprefix(f"{task}."): v for k, v in stored.items() if k.startswith(f"{task}.")
    }
    gradients = [name.removeprefix("grad.") for name in expected if name.startswith("grad.")]
    x, rows = plain_labram.random_input(task)
    found = run(model_of(weights, attention), weights, x, torch.tensor(rows), gradients)
    assert_match(found, expected)


@pytest.mark.parametrize("task", plain_labram.SHAPES)
@pytest.mark.parametrize(
    "bias",
    [pytest.param(False, marks=pytest.mark.slow), True],
    ids=["no-bias", "qv-bias"],
)
def test_every_gradient_matches_plain_reimplementation(task, bias):
    """Every parameter's gradient, and hidden states of every token, in float64."""
    weights = plain_labram.random_weights(seed=1, width=200, heads=8, bias=bias)
    model = model_of(weights, "eager").double()
    x, rows = plain_labram.random_input(task, seed=1)
    # Both sides start from the float32 values that the model holds.
    weights = {
        n: v.float().double().requires_grad_() for n, v in weights.items() if "head" not in n
    }
    tokens = plain_labram.tokens_of(weights, x, rows)
    out = model(input_values=x, channel_ids=torch.tensor(rows))
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(tokens.shape, generator=generator, dtype=torch.float64)
    pooled = plain_labram.features(weights, x, rows)
    ((tokens * direction).sum() + pooled.square().sum()).backward()
    ((out.last_hidden_state * direction).sum() + out.pooler_output.square().sum()).backward()
    found = {n: p.grad for n, p in model.named_parameters()} | {"": out.last_hidden_state}
    expected = {target_key(n): w.grad for n, w in weights.items()} | {"": tokens}
    assert found.keys() == expected.keys()
    # A shift of all keys leaves a softmax as it is: this gradient is zero, so it has no relative
    # error.
    for name in [name for name in expected if name.endswith("k_norm.bias")]:
        scale = expected[name.replace("bias", "weight")].norm()
        assert max(found.pop(name).norm(), expected.pop(name).norm()) < 1e-9 * scale
    assert_match(found, expected)


def test_gradient_of_the_tables_touches_rows_in_use_only():
    weights = plain_labram.random_weights()
    model = model_of(weights, "eager")
    x, rows = plain_labram.random_input("tuab")
    model(input_values=x.float(), channel_ids=torch.tensor(rows)).pooler_output.sum().backward()
    spatial = model.spatial_embedding.grad.abs().sum(1) > 0
    temporal = model.temporal_embedding.grad.abs().sum(1) > 0
    assert set(spatial.nonzero().flatten().tolist()) == {0} | {row for pair in rows for row in pair}
    assert temporal.nonzero().flatten().tolist() == list(range(plain_labram.SHAPES["tuab"][2]))
