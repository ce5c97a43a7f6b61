"""JSON files and weights of a base from elsewhere: types, sizes, links and numbers are checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hostile import HEAD, LORA, changed, enlarged, publish, pushed
from safetensors.torch import load_file, save_file
from tiny_models import model_with_tasks
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from modeling_mteeg import (
    MteegConfig,
    MteegFeatureExtractor,
    MteegForPreTraining,
    MteegModel,
    MteegTokenizerConfig,
    MteegTokenizerModel,
)
from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.model.checked_files import UnsafeFileError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return publish(tmp_path_factory.mktemp("made"))


@pytest.fixture
def base(made, tmp_path) -> Path:
    """A copy to be made hostile."""
    return Path(shutil.copytree(made, tmp_path / "base"))


def refused(loader, place, words: str) -> None:
    """An error of one line, which names the folder where a model or an extractor is loaded."""
    with pytest.raises(UnsafeFileError, match=words) as caught:
        loader.from_pretrained(place)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000, message
    named = str(place) in message or str(place).replace("/", "--") in message  # in the Hub's cache
    assert named or loader in (AutoConfig, MteegConfig, MteegTokenizerConfig), message


@pytest.mark.parametrize("loader", [AutoModel, AutoConfig, MteegModel, MteegConfig])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_hidden_layers": True}, "num_hidden_layers: expected a whole number, found True"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers: expected a whole number, found '2'"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers: expected a whole number, found 2.0"),
        ({"hidden_size": None}, "hidden_size: expected a whole number, found None"),
        ({"hidden_size": [100]}, r"hidden_size: expected a whole number, found \[100\]"),
        ({"qk_norm": 1}, "qk_norm: expected true or false, found 1"),
        (
            {"layer_norm_eps": "1e-6"},
            "layer_norm_eps: expected a number with a point, found '1",
        ),
        ({"mask_ratio": {"__float__": "NaN"}}, "mask_ratio: expected a number with a point"),
        ({"layer_scale_init": False}, "layer_scale_init: expected a number or null, found False"),
        ({"fingerprint": ["a"]}, "fingerprint: expected text or null"),
        ({"rounded_fingerprints": [1]}, "rounded_fingerprints: expected a list of .* text or null"),
        ({"architectures": "MteegModel"}, "architectures: expected a list"),
        ({"dtype": "load"}, "dtype: expected float32 or .*found 'load'"),
        ({"dtype": 32}, "dtype: expected float32"),
        ({"torch_dtype": ["float32"]}, "torch_dtype: expected float32"),
        ({"id2label": ["a"]}, "id2label: expected a mapping to text or null"),
        ({"id2label": {"a": "b"}}, "id2label: expected whole numbers for keys, found 'a'"),
        ({"id2label": {"9" * 5000: "b"}}, "id2label: expected whole numbers for keys"),
        ({"id2label": {"0": {"a": "b"}}}, "id2label: expected a mapping to text"),
        ({"label2id": {"a": "0"}}, "label2id: expected a mapping to a whole number"),
        ({"num_labels": 10**9}, "num_labels: expected at most 4096 labels"),
        ({"num_labels": -1}, "num_labels: expected at most 4096 labels"),
        ({"num_labels": "2"}, "num_labels: expected a whole number, found '2'"),
        (
            {"attn_implementation": "somebody/kernel"},
            "attn_implementation: expected eager or sdpa or null",
        ),
        ({"quantization_config": {"quant_method": "x"}}, "quantization_config: expected null"),
        ({"num_labels": None}, "num_labels: expected a whole number, found None"),
        ({"layer_types": ["full_attention"]}, "layer_types: expected null"),
        ({"to_dict": 5}, "'to_dict', a name that the class has for itself"),
        ({"_attn_implementation": "a/b"}, "'_attn_implementation', a name"),
        ({"num_hidden_layers": 10**400}, "num_hidden_layers: expected .*at (least|most) 1"),
        ({"hidden_size": 96}, "hidden_size must be"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_of_another_type_are_named(base, loader, fields, words):
    changed(base / "config.json", **fields)
    refused(loader, base, rf"config\.json.*{words}")


@pytest.mark.parametrize("loader", [MteegTokenizerModel, MteegForPreTraining, MteegTokenizerConfig])
def test_the_other_models_check_theirs(base, loader):
    kind = getattr(loader, "config_class", loader)
    fields = {"model_type": kind.model_type}
    changed(base / "config.json", **fields, num_codes=True)
    refused(loader, base, "num_codes: expected a whole number, found True")
    if loader is not MteegForPreTraining:
        changed(base / "config.json", num_codes=8, kmeans_start=1)
        refused(loader, base, "kmeans_start: expected true or false, found 1")


@pytest.mark.parametrize("loader", [MteegModel, MteegConfig])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", r"expected a mapping, found \[\]"),
        ('"a"', "expected a mapping"),
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ('{"a": NaN}', "expected a number, found nan"),
        ('{"hidden_size": 100, "hidden_size": 200}', "the key 'hidden_size' stands there twice"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"a": ' + DEEP + "}", "not valid JSON|at most 32 levels"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "at most 32 levels"),
    ],
    ids=["list", "text", "cut", "empty", "NaN", "twice", "long number", "deep", "levels"],
)
def test_what_is_no_mapping_of_settings_is_refused(base, loader, text, words):
    (base / "config.json").write_text(text)
    refused(loader, base, words)
    (base / "config.json").write_bytes(b"\xff\xfe" + text.encode("utf-8", "surrogatepass"))
    refused(loader, base, "not valid JSON")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_files_that_are_too_long_are_not_read(base, name):
    enlarged(base / name)
    refused(
        MteegModel if name == "config.json" else MteegFeatureExtractor, base, "at most 4,194,304"
    )


@pytest.mark.parametrize("loader", [AutoModel, MteegModel, AutoFeatureExtractor])
@pytest.mark.parametrize("inside", [True, False])
def test_settings_are_not_read_through_a_link_out_of_the_folder(base, tmp_path, loader, inside):
    """Within the folder a link is fine."""
    name = "preprocessor_config.json" if loader is AutoFeatureExtractor else "config.json"
    target = base / "other.json" if inside else tmp_path / "secret.json"
    shutil.move(base / name, target)
    (base / name).symlink_to(target)
    if inside:
        loader.from_pretrained(base)
    else:
        refused(loader, base, r"is a link to .*secret\.json, outside its folder")


@pytest.mark.parametrize("loader", [MteegModel, MteegFeatureExtractor])
def test_a_link_that_leads_to_itself_is_no_file(base, loader):
    split(base)
    for name in ("preprocessor_config.json",) if loader is MteegFeatureExtractor else (INDEX,):
        (base / name).unlink()
        (base / name).symlink_to(name)
        refused(loader, base, rf"{name} is a link that leads back to itself")


@pytest.mark.parametrize("loader", [AutoFeatureExtractor, MteegFeatureExtractor])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rate_hz": "200"}, "rate_hz: expected a number, found '200'"),
        ({"rate_hz": True}, "rate_hz: expected a number, found True"),
        ({"patch_size": 200.0}, "patch_size: expected a whole number, found 200.0"),
        ({"scale_uv": None}, "scale_uv: expected a number, found None"),
        ({"bipolar": ["mean"]}, "bipolar: expected text"),
        ({"notch_hz": ["50"]}, "notch_hz: expected .*list of which each is a number or null"),
        ({"notch_hz": {"a": 50}}, "notch_hz: expected"),
        ({"window_s": "4"}, "window_s: expected a number or null, found '4'"),
        ({"rate_hz": 10**400}, r"rate_hz: expected a number of at most .* \(401 characters"),
        ({"window_s": 2.5}, "window_s: expected a whole number of 1 s patches, found 2.5"),
        ({"from_dict": 1}, "'from_dict', a name that the class has"),
        ({"_windows": 1}, "'_windows', a name"),
    ],
    ids=lambda value: "changed" if callable(value) else str(value),
)  # fmt: skip
def test_settings_of_the_input_of_another_type_are_named(base, loader, fields, words):
    changed(base / "preprocessor_config.json", **fields)
    refused(loader, base, rf"preprocessor_config\.json.*{words}")


def split(base: Path, **index) -> dict:
    """The weights of a base in two files, with an index."""
    weights = load_file(base / WEIGHTS)
    (base / WEIGHTS).unlink()
    first = {"cls_token": weights.pop("cls_token")}
    save_file(first, base / "one.safetensors", metadata={"format": "pt"})
    save_file(weights, base / "two.safetensors", metadata={"format": "pt"})
    places = dict.fromkeys(weights, "two.safetensors") | {"cls_token": "one.safetensors"}
    said = {"metadata": {"total_size": 1}, "weight_map": places}
    (base / INDEX).write_text(json.dumps(said))
    return said


@pytest.mark.parametrize("loader", [AutoModel, MteegModel])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weight_map": ["one.safetensors"]}, "weight_map: expected a mapping to text, found"),
        ({"weight_map": None}, "weight_map: expected a mapping to text, found None"),
        ({"weight_map": {}}, "weight_map: expected the files of all tensors"),
        ({"weight_map": {"cls_token": 1}}, "weight_map: expected a mapping to text"),
        ({"weight_map": {"cls_token": ["one.safetensors"]}}, "weight_map: expected a mapping"),
        ({"metadata": None}, "metadata: expected a mapping, found None"),
        ({"metadata": [1]}, "metadata: expected a mapping"),
        ({"weight_map": {"a": "../one.safetensors"}}, "lies outside the folder"),
        ({"weight_map": {"a": "/etc/one.safetensors"}}, "lies outside the folder"),
        ({"weight_map": {"a": "adapters/one.safetensors"}}, "lies outside the folder"),
        ({"weight_map": {"a": "three.safetensors"}}, "'three.safetensors', which is not there"),
        ({"weight_map": {"a": "/etc/passwd"}}, "expected a .safetensors file"),
        ({"weight_map": {"a": ".safetensors/"}}, "expected a .safetensors file"),
    ],
    ids=lambda value: "changed" if callable(value) else str(value),
)  # fmt: skip
def test_an_index_names_files_of_its_folder(base, loader, fields, words):
    said = split(base)
    loader.from_pretrained(base)
    (base / INDEX).write_text(json.dumps(said | fields))
    refused(loader, base, rf"model\.safetensors\.index\.json: .*{words}")
    del said["metadata"]
    (base / INDEX).write_text(json.dumps(said))
    refused(loader, base, "metadata: expected a mapping, found None")


def test_a_shard_may_not_be_a_link_out_of_the_folder_nor_the_index(base, tmp_path):
    split(base)
    for name in ("two.safetensors", INDEX):
        shutil.move(base / name, tmp_path / name)
        (base / name).symlink_to(tmp_path / name)
        refused(MteegModel, base, "is a link to .* outside its folder")
        (base / name).unlink()
        shutil.move(tmp_path / name, base / name)
    MteegModel.from_pretrained(base)


def test_files_of_the_hub_are_checked_as_well(hub, base):
    pushed(base, "me/good")
    assert type(AutoModel.from_pretrained("me/good")) is MteegModel
    assert type(AutoFeatureExtractor.from_pretrained("me/good")) is MteegFeatureExtractor
    changed(base / "config.json", num_codes=True)
    changed(base / "preprocessor_config.json", rate_hz="200")
    pushed(base, "me/types")
    for loader in (AutoModel, MteegModel):
        refused(loader, "me/types", "num_codes: expected a whole number, found True")
    refused(MteegFeatureExtractor, "me/types", "rate_hz: expected a number")
    changed(base / "config.json", num_codes=256)
    said = split(base)
    (base / INDEX).write_text(json.dumps(said | {"weight_map": ["a"]}))
    pushed(base, "me/index")
    for loader in (AutoModel, MteegModel):
        refused(loader, "me/index", "weight_map: expected a mapping to text")
    (base / INDEX).write_text("{")
    pushed(base, "me/cut")
    for loader in (AutoModel, MteegModel):
        refused(loader, "me/cut", r"index\.json is not valid JSON")
    text = (base / "config.json").read_text().replace("{", '{"num_codes": 8,', 1)
    (base / "config.json").write_text(text)
    pushed(base, "me/twice")
    for loader in (AutoModel, MteegModel):
        refused(loader, "me/twice", "the key 'num_codes' stands there twice")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_refused(base, value, dtype):
    weights = {name: tensor.to(dtype) for name, tensor in load_file(base / WEIGHTS).items()}
    save_file(weights, base / WEIGHTS, metadata={"format": "pt"})
    MteegModel.from_pretrained(base)
    for name in list(weights)[-5:]:
        weights[name].view(-1)[-1] = value
    save_file(weights, base / WEIGHTS, metadata={"format": "pt"})
    named = ", ".join(name for name in MteegModel(MteegConfig.from_pretrained(base)).state_dict()
                      if name in list(weights)[-5:])[:30]  # fmt: skip
    for loader in (AutoModel, MteegModel):
        refused(
            loader,
            base,
            rf"^{base}: expected finite weights, found NaN or infinity in {named}.* and 2",
        )


def test_whole_numbers_are_numbers(base):
    changed(base / "config.json", layer_scale_init=1, drop_path_rate=0)
    assert MteegModel.from_pretrained(base).layers[0].gamma_1.dtype == torch.float32


def test_large_finite_weights_are_no_fault(base):
    weights = load_file(base / WEIGHTS)
    weights["spatial_embedding"][:] = 3e38
    save_file(weights, base / WEIGHTS, metadata={"format": "pt"})
    MteegModel.from_pretrained(base)


@pytest.mark.parametrize("file", [LORA, HEAD])
def test_adapters_and_heads_that_are_not_finite_are_refused(base, file):
    path = base / "adapters/tuab" / file
    weights = load_file(path)
    name = next(iter(weights))
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    model = model_with_tasks("seed-v")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(AdapterError, match=rf"{file}: expected finite weights.* in {name}"):
        model.load_adapter(path.parent, "tuab")
    assert list(model.tasks) == ["seed-v"] and before.keys() == model.state_dict().keys()


def test_a_tokenizer_and_a_student_that_are_not_finite_are_refused(tmp_path):
    for kind, config in (
        (MteegTokenizerModel, MteegTokenizerConfig.from_preset("tiny")),
        (MteegForPreTraining, MteegConfig.from_preset("tiny")),
    ):
        model = kind(config)
        last = list(model.state_dict())[-1]
        place = tmp_path / kind.__name__
        model.save_pretrained(place)
        kind.from_pretrained(place)
        weights = load_file(place / WEIGHTS)
        last = next(name for name in reversed(weights) if weights[name].is_floating_point())
        weights[last].view(-1)[0] = float("inf")
        save_file(weights, place / WEIGHTS, metadata={"format": "pt"})
        refused(kind, place, rf"expected finite weights, found NaN or infinity in {last}")
