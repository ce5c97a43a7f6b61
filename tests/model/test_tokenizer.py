"""The neural tokenizer: equal to the published code, and what it promises for any weights."""

from __future__ import annotations

import functools
import json

import plain_stage_one as plain
import pytest
import torch
from safetensors.torch import load_file
from test_parity import TOLERANCE, assert_match, relative_error
from transformers import AutoConfig, AutoModel

from modeling_mteeg import MteegTokenizerConfig, MteegTokenizerModel
from modeling_mteeg.conversion import convert_state_dict
from modeling_mteeg.model.layers import eager_attention
from modeling_mteeg.model.tokenizer_mteeg import spectra

LOSSES = {
    "commitment_loss": "quant_loss",
    "amplitude_loss": "rec_loss",
    "phase_loss": "rec_angle_loss",
    "loss": "total_loss",
}
SHAPES = {"tuab": (2, 23, 3), "seed-v": (3, 7, 1), "sleep-edf": (2, 2, 18)}
"""Samples, channels, patches; the last has bipolar channels and more patches than the table."""


def windows(case: str, seed: int = 0) -> tuple[torch.Tensor, plain.Rows]:
    """Random float64 windows of a shape, and their channels' rows."""
    generator = torch.Generator().manual_seed(seed)
    samples, channels, patches = SHAPES[case]
    x = torch.randn(samples, channels, patches, 200, generator=generator, dtype=torch.float64)
    rows = (1 + torch.randperm(128, generator=generator)[: 2 * channels]).tolist()
    second = rows[channels:] if case == "sleep-edf" else rows
    return x, list(zip(rows[:channels], second[:channels], strict=True))


def batch(case: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """The same as the model takes it."""
    x, rows = windows(case, seed)
    return {"input_values": x.float(), "channel_ids": torch.tensor(rows)}


@functools.cache
def weights() -> dict[str, torch.Tensor]:
    """Of the plain way, rounded to what the model holds."""
    return {k: v.float().double() for k, v in plain.tokenizer_weights().items()}


def tokenizer() -> MteegTokenizerModel:
    return convert_state_dict(weights(), kind="tokenizer")[0]


@pytest.fixture(scope="module")
def golden(golden_dir) -> dict:
    """Weights and cases of the published code, and the inputs as the model takes them."""
    names = json.loads((golden_dir / "channels.json").read_text())
    rows = [1 + names["standard_1020"].index(name) for name in names["montages"]["tuab"]]
    cases = load_file(golden_dir / "vqnsp_tiny_cases.safetensors")
    return {
        "weights": load_file(golden_dir / "vqnsp_tiny.safetensors"),
        "cases": cases,
        "inputs": {
            "input_values": cases["x"],
            "channel_ids": torch.tensor(rows)[:, None].repeat(1, 2),
        },
    }


def test_evaluation_matches_published_code(golden):
    model, _ = convert_state_dict(golden["weights"], kind="tokenizer")
    with torch.no_grad():
        out = model(**golden["inputs"])
    cases = golden["cases"]
    assert torch.equal(out.token_ids, cases["tokens"].long())
    assert torch.equal(model.get_codebook_indices(**golden["inputs"]), out.token_ids)
    found = {f"eval.{theirs}": out[ours] for ours, theirs in LOSSES.items()}
    found |= {"amplitude": out.amplitude[:, ::5], "phase": out.phase[:, ::5]}
    assert_match(found, {name: cases[name] for name in found})


def test_training_step_matches_published_code(golden):
    model, _ = convert_state_dict(golden["weights"], kind="tokenizer")
    cases, counts = golden["cases"], torch.bincount(golden["cases"]["tokens"].flatten())
    counts = torch.nn.functional.pad(counts, (0, 64 - len(counts)))
    for _ in range(3):  # the published code counts usage in evaluation too, here three times
        model.codebook.note_usage(counts)
    out = model.train()(**golden["inputs"])
    out.loss.backward()
    found = {f"train.{theirs}": out[ours] for ours, theirs in LOSSES.items()}
    found["train.codebook_after"] = model.codebook.codes
    found["train.cluster_size_after"] = model.codebook.usage
    found["train.grad.encode_task_layer.0.weight"] = model.to_code[0].weight.grad
    assert_match(found, {name: cases[name] for name in found})
    assert relative_error(golden["weights"]["quantize.embedding.weight"], found[
        "train.codebook_after"]) > 10 * TOLERANCE  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
def test_outputs_match_the_plain_way(case):
    x, rows = windows(case)
    expected = plain.tokenize(weights(), x, rows)
    tokens = expected.pop("tokens").flatten(0, 1)
    model = tokenizer().train()
    out = model(**batch(case))
    assert torch.equal(out.token_ids, expected.pop("token_ids"))
    assert_match({name: out[name] for name in expected}, expected)
    moved = plain.moved_codes(
        weights()["quantize.embedding.weight"], tokens, out.token_ids.flatten()
    )
    assert_match({"codes": model.codebook.codes}, {"codes": moved})


def test_every_gradient_matches_the_plain_way():
    x, rows = windows("tuab")
    leaves = {k: v.clone().requires_grad_() for k, v in weights().items() if "quantize" not in k}
    plain.tokenize(weights() | leaves, x, rows)["loss"].backward()
    model, report = convert_state_dict(weights(), kind="tokenizer")
    model = model.double()
    model(**batch("tuab") | {"input_values": x}).loss.backward()
    parameters = dict(model.named_parameters())
    names = {r.key: r.reason for r in report.with_status("used") if r.key in leaves}
    assert names.keys() == leaves.keys() and set(names.values()) == set(parameters)
    whole = torch.cat([leaf.grad.flatten() for leaf in leaves.values()]).norm()
    for theirs, ours in names.items():
        expected = leaves[theirs].grad.reshape(parameters[ours].shape)
        # The codebook takes its tokens in float32, so a gradient is not exact to float64.
        assert (parameters[ours].grad - expected).norm() < 1e-6 * whole, ours


def test_groups_of_different_shapes_are_one_step():
    groups = [batch(case) for case in SHAPES]
    single, joint = tokenizer(), tokenizer()
    expected = [single(**group) for group in groups]
    patches = torch.tensor([out.token_ids.numel() for out in expected])
    out = joint.train()(groups=groups)
    for part in ("token_ids", "amplitude", "phase"):
        for found, alone in zip(out[part], expected, strict=True):
            assert torch.allclose(found, alone[part], atol=1e-5)
    for name in LOSSES:
        mean = (torch.stack([alone[name] for alone in expected]) * patches).sum() / patches.sum()
        assert torch.allclose(out[name], mean), name
    tokens, rows = [], []
    for case in SHAPES:
        x, places = windows(case)
        tokens.append(plain.unit_tokens(weights(), x, places).flatten(0, 1))
        rows.append(plain.nearest(weights(), tokens[-1]))
    start = weights()["quantize.embedding.weight"]
    moved = plain.moved_codes(start, torch.cat(tokens), torch.cat(rows))
    assert_match({"codes": joint.codebook.codes}, {"codes": moved})
    assert joint.codebook.updates == 1
    indices = single.get_codebook_indices(groups=groups)
    assert all(torch.equal(a, b.token_ids) for a, b in zip(indices, expected, strict=True))


def test_getting_indices_leaves_the_tokenizer_as_it_is_in_either_mode():
    model = tokenizer().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = tokenizer()(**batch("seed-v")).token_ids
    assert torch.equal(model.get_codebook_indices(**batch("seed-v")), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_indices_serve_as_labels_of_a_loss():
    labels = tokenizer().get_codebook_indices(**batch("seed-v"))
    logits = torch.randn(*labels.shape, 48, requires_grad=True)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
    assert logits.grad.abs().sum() > 0


def test_channels_go_by_name_not_by_order():
    inputs = batch("tuab")
    order = torch.randperm(23, generator=torch.Generator().manual_seed(3))
    moved = {
        "input_values": inputs["input_values"][:, order],
        "channel_ids": inputs["channel_ids"][order],
    }
    model = tokenizer()
    expected = model.get_codebook_indices(**inputs).view(2, 23, 3)[:, order]
    assert torch.equal(model.get_codebook_indices(**moved).view(2, 23, 3), expected)


def test_spectra_are_standardised_per_sample():
    x, _ = windows("tuab")
    x[1] = 0.0
    for part, expected in zip(spectra(x), plain.standard_spectra(x[:1]), strict=True):
        assert part.shape == (2, 69, 200)
        assert torch.allclose(part[:1].double(), expected, atol=1e-4)
        assert abs(part[0].mean()) < 1e-5 and abs(part[0].std() - 1) < 1e-5
        assert torch.equal(part[1], torch.zeros(69, 200)), "a flat sample"


def test_saved_and_loaded_is_equal(tmp_path):
    model = MteegTokenizerModel(MteegTokenizerConfig.from_preset("tiny")).train()
    assert not model.codebook.started and not model.codebook.usage.any()
    model(**batch("seed-v"))
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["auto_map"] == {
        "AutoConfig": "configuration_tokenizer.MteegTokenizerConfig",
        "AutoModel": "tokenizer_mteeg.MteegTokenizerModel",
    }
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is MteegTokenizerModel and not loaded.training
    assert loaded.codebook.started and loaded.codebook.updates == 1
    other = loaded.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in model.state_dict().items())
    assert type(AutoConfig.from_pretrained(tmp_path)) is MteegTokenizerConfig
    a, b = (m.train()(**batch("tuab")) for m in (model, loaded))
    assert torch.equal(a.loss, b.loss)


def test_in_half_precision_the_codebook_stays_in_float32(tmp_path):
    tokenizer().save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16).train()
    codebook = {name: value.dtype for name, value in model.codebook.state_dict().items()}
    assert codebook["codes"] == codebook["usage"] == torch.float32
    assert codebook["started"] == torch.bool and codebook["updates"] == torch.int64
    assert model.to_code[0].weight.dtype == torch.bfloat16
    expected = tokenizer()(**batch("tuab")).loss.item()
    out = model(**batch("tuab"))
    out.loss.backward()
    assert out.loss.item() == pytest.approx(expected, rel=0.05)
    moved = (model.codebook.codes - tokenizer().codebook.codes).abs()
    assert 0 < moved.max() < 0.05


def test_autocast_reaches_attention_behind_its_biases(monkeypatch):
    seen = set()

    def attend(module, query, key, value, *args, **options):
        seen.update((query.dtype, key.dtype, value.dtype))
        return eager_attention(module, query, key, value, *args, **options)

    monkeypatch.setattr("modeling_mteeg.model.layers.eager_attention", attend)
    model = tokenizer()
    model.set_attn_implementation("eager")
    expected = model(**batch("tuab"))
    assert seen == {torch.float32}
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(**batch("tuab"))
    assert seen == {torch.bfloat16}
    assert out.loss.item() == pytest.approx(expected.loss.item(), rel=0.02)
    assert out.amplitude_loss.dtype == torch.float32


def test_checkpointed_layers_do_not_update_the_codebook_twice():
    plainly, saving = tokenizer().train(), tokenizer().train()
    saving.gradient_checkpointing_enable()
    for model in (plainly, saving):
        model(**batch("tuab")).loss.backward()
    assert saving.codebook.updates == 1
    assert torch.equal(plainly.codebook.codes, saving.codebook.codes)
    gradients = [m.encoder.layers[0].mlp.fc1.weight.grad for m in (plainly, saving)]
    assert torch.allclose(*gradients, atol=1e-7) and gradients[0].any()


def test_training_lowers_the_losses_and_uses_more_codes():
    torch.manual_seed(0)
    config = MteegTokenizerConfig.from_preset("tiny", num_codes=64, revive_dead=True)
    model = MteegTokenizerModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    time = torch.arange(400) / 200
    rates = torch.arange(4, 28, dtype=torch.float32).view(4, 6, 1)
    inputs = batch("tuab") | {"input_values": torch.sin(2 * torch.pi * rates * time)}
    inputs["channel_ids"] = inputs["channel_ids"][:6]
    history = []
    for _ in range(40):
        out = model(**inputs)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append(out.amplitude_loss.item())
    assert history[-1] < 0.6 * history[0], history
    assert len(out.token_ids.unique()) > 6


def test_presets_are_the_published_sizes():
    config = MteegTokenizerConfig.from_preset("base")
    assert (config.num_hidden_layers, config.num_decoder_layers, config.hidden_size) == (12, 3, 200)
    assert (config.num_codes, config.code_size, config.code_decay) == (8192, 64, 0.99)
    assert config.layer_scale_init is None and config.qkv_bias and not config.qk_norm
    assert config.kmeans_start and not config.revive_dead and config.commitment_weight == 1
    names = set(MteegTokenizerModel(MteegTokenizerConfig.from_preset("tiny")).state_dict())
    assert not [name for name in names if "gamma" in name or "q_norm" in name]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_decoder_layers": 0}, "num_decoder_layers: expected at least 1, found 0"),
        ({"code_decay": 1.0}, r"code_decay: expected a number in \[0, 1\), found 1.0"),
        ({"dead_below": -0.1}, "dead_below: expected .* found -0.1"),
        ({"kmeans": True}, r"Unknown fields \['kmeans'\]; expected some of .*kmeans_start"),
    ],
)
def test_impossible_configurations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MteegTokenizerConfig.from_preset("tiny", **fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_values": torch.zeros(2, 23, 150)}, "samples a multiple of 200, found"),
        ({"channel_ids": torch.zeros(5, 2).long()}, r"expected \(23, 2\) for 23 channels"),
        ({"channel_ids": None}, "Expected input_values and channel_ids"),
        ({"groups": [batch("seed-v")]}, "Give either input_values, channel_ids, or"),
        ({"input_values": None, "channel_ids": None, "groups": []}, "a non-empty sequence"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    model, inputs = tokenizer(), batch("tuab") | change
    for call in (model, model.get_codebook_indices):
        with pytest.raises(ValueError, match=message):
            call(**inputs)


def test_names_that_a_group_does_not_take_are_refused():
    with pytest.raises(ValueError, match=r"Group 1: expected .* found \['labels'\] too"):
        tokenizer()(groups=[batch("seed-v"), batch("tuab") | {"labels": torch.zeros(2)}])
