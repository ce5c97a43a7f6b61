"""Published and braindecode weights become an MteegModel; every key is accounted for."""

from __future__ import annotations

import importlib
import io
import json
import re

import braindecode_here
import plain_labram
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoFeatureExtractor, AutoModel

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.conversion import (
    ConversionError,
    ConversionReport,
    convert_checkpoint,
    convert_state_dict,
    infer_config,
)
from modeling_mteeg.conversion.key_names import target_key
from modeling_mteeg.model.channels import CHANNEL_NAMES, channel_ids

# Parameters of the published models with a head of two classes (LaBraM paper).
PUBLISHED_SIZES = {
    "base": (12, 200, 10, 5_820_338),
    "large": (24, 400, 16, 46_259_522),
    "huge": (48, 800, 16, 369_237_314),
}


def published_weights(**options) -> dict[str, torch.Tensor]:
    """A small fine-tuned model under the published names, float32."""
    return {k: v.float() for k, v in plain_labram.random_weights(layers=2, **options).items()}


def pretrained_weights() -> dict[str, torch.Tensor]:
    """The same as a masked pre-training checkpoint holds it."""
    weights = published_weights()
    student = {k: v for k, v in weights.items() if not k.startswith(("fc_norm", "head"))}
    student |= {"mask_token": torch.ones(1, 1, 100), "lm_head.weight": torch.ones(8, 100)}
    student |= {"norm.weight": torch.ones(100), "norm.bias": torch.zeros(100)}
    outside = {"lm_head.weight": torch.ones(8, 100), "projection_head.0.bias": torch.ones(100)}
    return {f"student.{key}": value for key, value in student.items()} | outside


def braindecode_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published names changed to those of braindecode's Labram."""
    names = {r"^pos_embed": "position_embedding", r"^time_embed": "temporal_embedding"}
    names |= {r"^patch_embed": "patch_embed.temporal_conv", r"^head": "final_layer"}
    names |= {r"mlp\.fc1": "mlp.0", r"mlp\.fc2": "mlp.2"}
    renamed = {}
    for key, value in weights.items():
        for pattern, name in names.items():
            key = re.sub(pattern, name, key)
        renamed[key] = value
    return renamed


def assert_same_weights(first: MteegModel, second: MteegModel) -> None:
    one, two = first.state_dict(), second.state_dict()
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def test_weights_arrive_unchanged_under_their_new_names():
    weights = published_weights(bias=True)
    model, report = convert_state_dict(weights)
    state = model.state_dict()
    for key, value in weights.items():
        if target_key(key):
            assert torch.equal(state[target_key(key)].reshape(value.shape), value), key
    assert {r.key for r in report.with_status("used")} == {k for k in weights if "head" not in k}
    assert model.config.qkv_bias and model.config.num_hidden_layers == 2


@pytest.mark.parametrize("weights", [published_weights(), pretrained_weights()])
def test_every_key_of_both_sides_is_in_the_report(weights):
    model, report = convert_state_dict(weights)
    assert [r.key for r in report.keys if r.status != "missing"] == list(weights)
    filled = {r.reason for r in report.with_status("used")}
    filled |= {r.key for r in report.with_status("missing")}
    assert filled == set(model.state_dict())
    assert all(record.reason for record in report.keys)
    table = report.table()
    assert all(record.key in table and record.reason in table for record in report.keys)


def test_pretraining_checkpoint_starts_fc_norm_fresh_and_drops_its_own_heads():
    model, report = convert_state_dict(pretrained_weights())
    assert torch.equal(model.fc_norm.weight, torch.ones(100))
    assert torch.equal(model.fc_norm.bias, torch.zeros(100))
    assert {r.key for r in report.with_status("missing")} == {"fc_norm.weight", "fc_norm.bias"}
    dropped = {r.key: r.reason for r in report.with_status("dropped")}
    assert set(dropped) == {
        *("student.mask_token", "student.norm.weight", "student.norm.bias"),
        *("student.lm_head.weight", "lm_head.weight", "projection_head.0.bias"),
    }
    assert "fc_norm" in dropped["student.norm.weight"]


@pytest.mark.parametrize("prefix", ["student.", "module.", "module.student.", "any.thing.at.all."])
def test_any_prefix_is_found(prefix):
    weights = published_weights()
    model, report = convert_state_dict({prefix + key: value for key, value in weights.items()})
    assert report.source["prefix"] == prefix
    assert_same_weights(model, convert_state_dict(weights)[0])


@pytest.mark.parametrize("size", PUBLISHED_SIZES)
def test_published_sizes_are_read_off_the_shapes(size):
    layers, width, heads, parameters = PUBLISHED_SIZES[size]
    config = MteegConfig.from_preset(size)
    with torch.device("meta"):
        weights = MteegModel(config).state_dict()
    report = ConversionReport()
    found = infer_config(weights, report)
    assert report.size == size
    assert found.to_dict() == config.to_dict()
    assert (found.num_hidden_layers, found.hidden_size) == (layers, width)
    assert found.num_attention_heads == heads
    assert sum(value.numel() for value in weights.values()) + 2 * (width + 1) == parameters


def test_model_without_layer_scale_gets_ones_which_is_exact():
    weights = published_weights()
    ones = {k: torch.ones_like(v) if "gamma" in k else v for k, v in weights.items()}
    without = {k: v for k, v in weights.items() if "gamma" not in k}
    model, report = convert_state_dict(without)
    assert_same_weights(model, convert_state_dict(ones)[0])
    assert len(report.with_status("missing")) == 4


def test_other_float_types_become_float32_and_are_noted():
    halves = {key: value.half() for key, value in published_weights().items()}
    model, report = convert_state_dict(halves)
    assert model.dtype == torch.float32
    assert any("float16" in note for note in report.notes)
    back = {key: value.float() for key, value in halves.items()}
    assert_same_weights(model, convert_state_dict(back)[0])


def damaged_weights(fault: str) -> dict:
    weights = published_weights()
    block, conv = "blocks.1.mlp.fc1", "patch_embed.conv1.weight"
    if fault == "missing":
        del weights[f"{block}.weight"], weights[f"{block}.bias"]
    elif fault == "missing layer":
        weights = {k.replace("blocks.1.", "blocks.2."): v for k, v in weights.items()}
    elif fault == "one gamma":
        del weights["blocks.1.gamma_1"]
    elif fault == "half of fc_norm":
        del weights["fc_norm.bias"]
    elif fault == "one bias":
        weights["blocks.0.attn.q_bias"] = torch.zeros(100)
    elif fault == "shape":
        weights[f"{block}.weight"] = torch.zeros(399, 100)
    elif fault == "not finite":
        weights[conv][0, 0, 0, 3] = float("nan")
    elif fault == "integers":
        weights[conv] = weights[conv].long()
    elif fault == "not a tensor":
        weights[conv] = [0.0]
    elif fault == "no q_norm":
        weights = {k: v for k, v in weights.items() if "_norm." not in k or "fc_norm" in k}
    elif fault == "rows":
        weights["pos_embed"] = torch.zeros(1, 137, 100)
    elif fault == "unknown":
        weights["blocks.0.attn.qkv.lora_A"] = torch.zeros(8, 100)
    elif fault == "relative positions":
        weights["blocks.0.attn.relative_position_bias_table"] = torch.zeros(3, 5)
    elif fault == "learned patcher":
        weights["patch_embed.segment_patch.patcher.weight"] = torch.zeros(200, 1, 200)
    elif fault == "twice":
        weights["position_embedding"] = weights["pos_embed"]
    elif fault == "two encoders":
        weights |= {f"teacher.{key}": value for key, value in weights.items()}
    elif fault == "no encoder":
        weights = {"layer.weight": torch.zeros(3)}
    return weights


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", ["layers.1.mlp.fc1.weight", "layers.1.mlp.fc1.bias"]),
        ("missing layer", ["layers.1.norm1.weight", "layers.1.gamma_1"]),
        ("one gamma", ["layers.1.gamma_1"]),
        ("half of fc_norm", ["fc_norm.bias"]),
        ("one bias", ["layers.0.attention.v_bias", "layers.1.attention.q_bias"]),
        ("shape", ["layers.1.mlp.fc1.weight", "(400, 100)", "(399, 100)"]),
        ("not finite", ["temporal_encoder.conv1.weight", "not finite"]),
        ("integers", ["patch_embed.conv1.weight", "torch.int64"]),
        ("not a tensor", ["patch_embed.conv1.weight", "list"]),
        ("no q_norm", ["q_norm", "LayerNorm on queries and keys"]),
        ("rows", ["137", "128"]),
        ("unknown", ["blocks.0.attn.qkv.lora_A", "--drop"]),
        ("relative positions", ["relative_position_bias_table", "does not compute"]),
        ("learned patcher", ["patcher.weight", "does not compute"]),
        ("twice", ["position_embedding", "second source"]),
        ("two encoders", ["teacher.", "--prefix"]),
        ("no encoder", ["layer.weight", "cls_token"]),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(fault, words):
    with pytest.raises(ConversionError) as raised:
        convert_state_dict(damaged_weights(fault))
    assert [word for word in words if word not in str(raised.value)] == []


def test_weights_of_this_package_need_no_conversion():
    model = convert_state_dict(published_weights())[0]
    with pytest.raises(ConversionError, match="of this package already"):
        convert_state_dict(model.state_dict())


def test_prefix_and_drop_are_the_way_out():
    expected = convert_state_dict(published_weights())[0]
    unknown = damaged_weights("unknown")
    model, report = convert_state_dict(unknown, drop=["*.lora_?"])
    assert_same_weights(model, expected)
    assert "on request" in {r.key: r.reason for r in report.keys}["blocks.0.attn.qkv.lora_A"]
    twice = damaged_weights("two encoders")
    model, report = convert_state_dict(twice, prefix="teacher.", drop=["[!t]*", "time_embed"])
    assert_same_weights(model, expected)
    with pytest.raises(ConversionError, match="missing"):
        convert_state_dict(published_weights(), drop=["blocks.1.mlp.*"])


def test_tokenizer_is_not_taken_for_a_pretrained_model(golden_dir):
    from safetensors.torch import load_file

    with pytest.raises(ConversionError, match="neural tokenizer"):
        convert_state_dict(load_file(golden_dir / "vqnsp_tiny.safetensors"))


@pytest.mark.parametrize("bias", [False, True])
def test_braindecode_names_give_the_same_model(bias):
    weights = published_weights(bias=bias)
    model, report = convert_state_dict(braindecode_weights(weights))
    assert_same_weights(model, convert_state_dict(weights)[0])
    assert any("braindecode" in note and "16 rows" in note for note in report.notes)
    dropped = {r.key for r in report.with_status("dropped")}
    assert dropped == {"final_layer.weight", "final_layer.bias"}


def test_folder_loads_through_the_auto_classes(tmp_path):
    weights = published_weights()
    torch.save({"model": weights, "epoch": 3}, tmp_path / "labram.pth")
    out = tmp_path / "made" / "labram"
    report = convert_checkpoint(tmp_path / "labram.pth", out)
    assert [path.name for path in out.parent.iterdir()] == ["labram"], "scratch folder left"
    model = AutoModel.from_pretrained(out)
    assert isinstance(model, MteegModel) and not model.training
    assert_same_weights(model, convert_state_dict(weights)[0])
    assert type(AutoFeatureExtractor.from_pretrained(out)).__name__ == "MteegFeatureExtractor"
    saved = json.loads((out / "conversion.json").read_text())
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert saved["source"]["file"] == "labram.pth" and len(saved["source"]["sha256"]) == 64
    assert {"key": "epoch", "status": "dropped"}.items() <= saved["keys"][-1].items()


def test_a_folder_with_files_is_kept_unless_overwrite(tmp_path):
    save_file(published_weights(), tmp_path / "new.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "model-00001-of-00002.safetensors").write_text("old")
    (out / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(FileExistsError, match="overwrite"):
        convert_checkpoint(tmp_path / "new.safetensors", out)
    assert not (out / "config.json").exists()
    convert_checkpoint(tmp_path / "new.safetensors", out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in out.glob("model*.safetensors*")) == ["model.safetensors"]
    assert_same_weights(AutoModel.from_pretrained(out), convert_state_dict(published_weights())[0])
    with pytest.raises(FileExistsError, match="is a file"):
        convert_checkpoint(tmp_path / "new.safetensors", out / "notes.txt")


def test_nothing_is_written_where_the_conversion_fails(tmp_path):
    save_file(damaged_weights("missing"), tmp_path / "bad.safetensors")
    with pytest.raises(ConversionError):
        convert_checkpoint(tmp_path / "bad.safetensors", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.safetensors"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{"use_mean_pooling": True, "qkv_bias": True}, {}])
def test_braindecode_model_computes_the_same(monkeypatch, options):
    labram_class = braindecode_here.labram_class(monkeypatch)
    order = importlib.import_module("braindecode.models.labram").LABRAM_CHANNEL_ORDER
    assert tuple(order) == CHANNEL_NAMES
    torch.manual_seed(0)
    names = ["C3", "FP1", "T8", "P8-O2", "TPP10h"]
    sizes = {"conv_out_channels": 4, "num_heads": 5, "num_layers": 2}
    labram = labram_class(n_times=800, n_outputs=3, n_chans=len(names), **sizes, **options).eval()
    for parameter in labram.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    model, _report = convert_state_dict(labram.state_dict())
    x = torch.randn(2, len(names), 800)
    with torch.no_grad():
        expected = labram(x, return_features=True, ch_names=names)
        out = model(input_values=x, channel_ids=torch.tensor(channel_ids(names, "table")))
        norm = model.fc_norm if options else labram.norm
        found = norm(out.last_hidden_state)
    expected = torch.cat([expected["cls_token"][:, None], expected["features"]], dim=1)
    assert (found - expected).norm() < 1e-5 * expected.norm()
    if options:
        rows = torch.tensor([0, *channel_ids(names, "table")[:, 0]])
        pooled = labram.forward_features(x, rows)
        assert (out.pooler_output - pooled).norm() < 1e-5 * pooled.norm()


def test_conversion_does_not_alter_the_given_weights():
    weights = published_weights()
    before = io.BytesIO()
    torch.save(weights, before)
    model, _report = convert_state_dict(weights)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    after = torch.load(io.BytesIO(before.getvalue()), weights_only=True)
    assert all(torch.equal(weights[key], after[key]) for key in weights)
