"""Published students and neural tokenizers become models; every key is accounted for."""

from __future__ import annotations

import plain_stage_one as plain
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

from modeling_mteeg import MteegForPreTraining, MteegModel, MteegTokenizerConfig, cli
from modeling_mteeg.conversion import ConversionError, convert_state_dict
from modeling_mteeg.model.tokenizer_mteeg import MteegTokenizerModel

WEIGHTS = {"tokenizer": plain.tokenizer_weights, "pretraining": plain.student_weights}


def weights(kind: str) -> dict[str, torch.Tensor]:
    return {key: value.float() for key, value in WEIGHTS[kind]().items()}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_every_key_of_both_sides_is_in_the_report(kind):
    model, report = convert_state_dict(weights(kind), kind=kind)
    assert [r.key for r in report.keys if r.status != "missing"] == list(weights(kind))
    filled = [r.reason for r in report.with_status("used")]
    filled += [r.key for r in report.with_status("missing")]
    assert sorted(filled) == sorted(model.state_dict())
    assert all(record.reason for record in report.keys)
    assert report.kind == kind and report.summary().startswith(f"kind: {kind}; size: own; keys ")


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_arrive_unchanged(kind):
    given = weights(kind)
    model, report = convert_state_dict(given, kind=kind)
    state = model.state_dict()
    for record in report.with_status("used"):
        value = given[record.key].reshape(state[record.reason].shape)
        assert torch.equal(state[record.reason], value.to(state[record.reason].dtype)), record.key


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("prefix", ["module.", "any.thing."])
def test_any_prefix_is_found(kind, prefix):
    direct, _ = convert_state_dict(weights(kind), kind=kind)
    moved = {prefix + key: value for key, value in weights(kind).items()}
    model, report = convert_state_dict(moved, kind=kind)
    assert report.source["prefix"].startswith(prefix)
    other = model.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in direct.state_dict().items())


def test_a_tokenizer_is_recognised_and_a_student_is_a_base_by_default():
    assert type(convert_state_dict(weights("tokenizer"), kind="auto")[0]) is MteegTokenizerModel
    model, report = convert_state_dict(weights("pretraining"), kind="auto")
    assert type(model) is MteegModel and report.kind == "base"
    with pytest.raises(ConversionError, match="neural tokenizer"):
        convert_state_dict(weights("tokenizer"))
    with pytest.raises(ConversionError, match=r"one neural tokenizer .* found none"):
        convert_state_dict(weights("pretraining"), kind="tokenizer")
    with pytest.raises(ValueError, match=r"kind: expected one of .* found 'student'"):
        convert_state_dict(weights("pretraining"), kind="student")


def test_the_students_outer_prediction_layer_is_the_one_taken():
    given = weights("pretraining")
    model, report = convert_state_dict(given, kind="pretraining")
    assert torch.equal(model.lm_head.weight, given["lm_head.weight"])
    dropped = {r.key: r.reason for r in report.with_status("dropped")}
    assert set(dropped) == {
        *("student.lm_head.weight", "student.lm_head.bias"),
        *("projection_head.0.weight", "projection_head.0.bias"),
    }
    assert {r.key for r in report.with_status("missing")} == {
        *("mteeg.fc_norm.weight", "mteeg.fc_norm.bias"),
    }
    inner = {k: v for k, v in given.items() if not k.startswith(("lm_head", "projection"))}
    model, _ = convert_state_dict(inner, kind="pretraining")
    assert torch.equal(model.lm_head.weight, given["student.lm_head.weight"])
    assert model.config.num_codes == 32


def test_tokenizer_drops_what_the_published_code_never_reads():
    given = weights("tokenizer") | {
        "loss.weight": torch.ones(2),
        "scaling_layer.shift": torch.ones(1),
    }
    model, report = convert_state_dict(given, kind="tokenizer")
    assert {r.key for r in report.with_status("dropped")} == {
        *("quantize.embedding.embed_avg", "quantize.embedding.cluster_size"),
        *("loss.weight", "scaling_layer.shift"),
    }
    assert [r.key for r in report.with_status("missing")] == ["codebook.updates"]
    assert model.codebook.started and model.codebook.usage.sum() > 0
    for key in ("quantize.cluster_size", "quantize.embedding.initted"):
        del given[key]
    model, report = convert_state_dict(given, kind="tokenizer")
    assert model.codebook.started and not model.codebook.usage.any()


def test_the_head_count_of_a_tokenizer_is_an_assumption_that_is_told():
    model, report = convert_state_dict(weights("tokenizer"), kind="tokenizer")
    assert model.config.num_attention_heads == 5
    assert any("number of attention heads" in note and "--heads" in note for note in report.notes)
    model, report = convert_state_dict(weights("tokenizer"), kind="tokenizer", heads=10)
    assert model.config.num_attention_heads == 10 and not report.notes
    with pytest.raises(ConversionError, match="multiple of num_attention_heads"):
        convert_state_dict(weights("tokenizer"), kind="tokenizer", heads=7)
    with pytest.raises(ValueError, match="only a tokenizer needs it"):
        convert_state_dict(weights("pretraining"), kind="pretraining", heads=5)


def test_the_published_tokenizer_is_the_base_preset():
    with torch.device("meta"):
        state = MteegTokenizerModel(MteegTokenizerConfig.from_preset("base")).state_dict()
    names = {}
    for theirs, ours in (
        *(("encoder.patch_embed", "temporal_encoder"), ("decoder.patch_embed.proj", "from_code")),
        *(("encode_task_layer", "to_code"), ("decode_task_layer_angle", "phase_head")),
        *(("decode_task_layer", "amplitude_head"), ("quantize.embedding.weight", "codebook.codes")),
        *(("quantize.cluster_size", "codebook.usage"),),
        *(("quantize.embedding.initted", "codebook.started"),),
    ):
        names |= {k: theirs + k.removeprefix(ours) for k in state if k.startswith(ours)}
    parts = {".layers.": ".blocks.", ".attention.": ".attn.", "spatial_embedding": "pos_embed"}
    parts["temporal_embedding"] = "time_embed"
    given = {}
    for key, value in state.items():
        name = names.get(key, key)
        if key == "codebook.updates":
            continue
        for ours, theirs in parts.items():
            name = name.replace(ours, theirs) if name.startswith(("encoder.", "decoder.")) else name
        given[name] = torch.ones(value.shape)
    model, report = convert_state_dict(given, kind="auto")
    assert report.size == "base" and model.config.num_codes == 8192


DAMAGE = {
    "no decoder": (
        lambda w: [w.pop(k) for k in list(w) if "decoder.blocks" in k],
        "decoder.layers",
    ),
    "a weight": (lambda w: w.pop("encode_task_layer.2.bias"), r"to_code.2.bias \(16,\)"),
    "shape": (
        lambda w: w.update({"decode_task_layer.2.bias": torch.zeros(100)}),
        r"amplitude_head.2.bias: expected \(200,\), found \(100,\)",
    ),
    "not finite": (lambda w: w["quantize.embedding.weight"].fill_(torch.nan), "codes: not finite"),
    "unknown": (lambda w: w.update({"encoder.extra": torch.ones(1)}), "encoder.extra.*--drop"),
    "integers": (
        lambda w: w.update({"encoder.cls_token": torch.ones(1, 1, 100).long()}),
        "floating-point",
    ),
    "two": (
        lambda w: w.update({f"copy.{k}": v for k, v in list(w.items())}),
        "several, under .*copy.*--prefix",
    ),
    "rows": (
        lambda w: w.update({"encoder.pos_embed": torch.zeros(1, 137, 100)}),
        "128 rows, found 137",
    ),
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_tokenizers_that_do_not_fit_are_refused_by_name(fault):
    damage, message = DAMAGE[fault]
    given = weights("tokenizer")
    damage(given)
    with pytest.raises(ConversionError, match=f"(?s){message}"):
        convert_state_dict(given, kind="tokenizer")


def test_a_student_without_prediction_layer_is_refused():
    given = {k: v for k, v in weights("pretraining").items() if "lm_head" not in k}
    with pytest.raises(ConversionError, match=r"(?s)missing.*lm_head.weight.*lm_head.bias"):
        convert_state_dict(given, kind="pretraining")
    assert type(convert_state_dict(given, kind="base")[0]) is MteegModel


@pytest.mark.parametrize(
    ("kind", "arguments"), [("tokenizer", []), ("pretraining", ["--kind", "pretraining"])]
)
def test_the_command_makes_folders_for_the_auto_classes(capsys, tmp_path, kind, arguments):
    torch.save({"model": weights(kind), "epoch": 3}, tmp_path / "published.pth")
    out = tmp_path / "out"
    assert (
        cli.main(["convert", str(tmp_path / "published.pth"), "--out", str(out), *arguments]) == 0
    )
    text = capsys.readouterr().out
    rows = {line.split()[1]: line.split()[0] for line in text.splitlines() if line.count("  ") > 1}
    assert all(rows[key] in ("used", "dropped") for key in weights(kind))
    assert f"kind: {kind}" in text
    direct = convert_state_dict(weights(kind), kind=kind)[0].state_dict()
    auto = AutoModel if kind == "tokenizer" else AutoModelForPreTraining
    loaded = auto.from_pretrained(out)
    assert all(torch.equal(value, direct[name]) for name, value in loaded.state_dict().items())
    assert type(AutoFeatureExtractor.from_pretrained(out)).__name__ == "MteegFeatureExtractor"
    if kind == "pretraining":
        assert type(loaded) is MteegForPreTraining
        base = AutoModel.from_pretrained(out)
        assert base.fingerprint() == convert_state_dict(weights(kind))[0].fingerprint()
