"""A base from elsewhere, in a folder or on a Hub: nothing is run, nothing large is made."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from hostile import (
    CARD,
    HEAD,
    LORA,
    Payload,
    changed,
    enlarged,
    entry,
    hostile_base,
    publish,
    pushed,
    script,
    with_header,
)
from safetensors.torch import load_file, save_file
from tiny_models import model_with_tasks
from transformers import AutoFeatureExtractor, AutoModel

from modeling_mteeg import MteegFeatureExtractor, MteegModel
from modeling_mteeg.cards import CardError, write_cards
from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.model.checked_files import UnsafeFileError
from modeling_mteeg.prediction.task_loading import load_tasks


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return publish(tmp_path_factory.mktemp("made"))


@pytest.fixture
def base(made, tmp_path) -> Path:
    """A copy to be made hostile."""
    return Path(shutil.copytree(made, tmp_path / "base"))


@pytest.fixture
def mark(tmp_path) -> Path:
    """A file that appears if somebody's code runs."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists(), "a stranger's code was run"


@pytest.mark.parametrize("loader", [AutoModel, MteegModel])
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_base_with_pickled_weights_alone_is_refused(base, mark, loader, kind):
    """Weights that PyTorch itself calls safe are refused as well."""
    state = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    if kind == "torch":
        torch.save(state, base / "pytorch_model.bin")
    else:
        with open(base / "pytorch_model.bin", "wb") as stream:
            pickle.dump(Payload(mark), stream)
    with pytest.raises(UnsafeFileError, match=r"pytorch_model.bin: pickled .* never loaded"):
        loader.from_pretrained(base)
    with pytest.raises(ValueError, match="expected safetensors weights"):
        loader.from_pretrained(base, use_safetensors=False)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("pytorch_model.bin", "expected a .safetensors file"),
        ("../other/model.safetensors", "lies outside the folder"),
    ],
)
def test_an_index_cannot_name_pickles_or_other_places(base, mark, shard, message):
    weights = base / "model.safetensors"
    names = list(load_file(weights))
    (base / shard).parent.mkdir(exist_ok=True)
    if shard.endswith(".bin"):
        weights.unlink()
        with open(base / shard, "wb") as stream:
            pickle.dump(Payload(mark), stream)
    else:
        shutil.move(weights, base / shard)
    first = base / "model-00001.safetensors"
    save_file({"cls_token": torch.zeros(1, 1, 100)}, first, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, shard) | {"cls_token": first.name}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsafeFileError, match=message):
        MteegModel.from_pretrained(base)


def test_a_configuration_cannot_name_pickles(base, mark):
    changed(base / "config.json", transformers_weights="adapter_model.bin")
    with open(base / "adapter_model.bin", "wb") as stream:
        pickle.dump(Payload(mark), stream)
    with pytest.raises(UnsafeFileError, match=r"expected a \.safetensors file"):
        MteegModel.from_pretrained(base)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: expected"),
        ({"hidden_size": 10**9, "temporal_channels": 4 * 10**7}, "hidden_size: expected"),
        ({"intermediate_size": 10**12}, "intermediate_size: expected"),
        ({"num_spatial": 10**9}, "num_spatial: expected"),
        ({"num_hidden_layers": 10**400}, "num_hidden_layers"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers"),
        ({"hidden_size": None}, "hidden_size"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps"),
        (
            {"num_hidden_layers": 60},
            r"weights are not those of config\.json: layers\.2\..* missing",
        ),
        ({"intermediate_size": 60_000}, r"fc1.weight: expected \(60000, 100\), found \(200, 100\)"),
        (
            {"num_spatial": 60_000},
            r"spatial_embedding: expected \(60001, 100\), found \(129, 100\)",
        ),
    ],
    ids=str,
)
def test_configurations_that_claim_too_much_are_refused(base, fields, message):
    changed(base / "config.json", **fields)
    with pytest.raises(Exception, match=message) as caught:
        AutoModel.from_pretrained(base)
    assert (
        isinstance(caught.value, (ValueError, TypeError)) or "Strict" in type(caught.value).__name__
    )


@pytest.mark.parametrize(
    ("header", "length"), [(b"{}", 2**63), (entry([2**40], 16), None), (b"x", None), (b"{}", None)]
)
def test_weights_of_a_base_that_lie_are_refused(base, header, length):
    with_header(base / "model.safetensors", header, length, bytes(16))
    with pytest.raises(UnsafeFileError, match=r"model\.safetensors is damaged"):
        AutoModel.from_pretrained(base)


@pytest.mark.parametrize(
    "fields",
    [{"rate_hz": 1e12, "patch_size": 10**12}, {"rate_hz": float("nan")}, {"rate_hz": "fast"},
     {"scale_uv": -1}, {"scale_uv": float("nan")}, {"scale_uv": 1e300}, {"scale_uv": 1e-300},
     {"window_s": "long"}],
    ids=str,
)  # fmt: skip
def test_settings_that_claim_too_much_are_refused(base, fields):
    changed(base / "preprocessor_config.json", **fields)
    with pytest.raises(ValueError, match=r"(?i)expected"):
        AutoFeatureExtractor.from_pretrained(base)


def test_a_base_is_not_read_through_a_link_either(base, tmp_path):
    shutil.move(base / "model.safetensors", tmp_path / "secret")
    (base / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeFileError, match=r"is a link to .*secret, outside its folder"):
        MteegModel.from_pretrained(base)


@pytest.mark.parametrize("trust", [None, False])
def test_code_beside_a_base_is_not_run_unless_asked_for(base, mark, trust):
    hostile_base(base, mark)
    options = {} if trust is None else {"trust_remote_code": trust}
    assert type(AutoModel.from_pretrained(base, **options)) is MteegModel
    assert type(AutoFeatureExtractor.from_pretrained(base, **options)) is MteegFeatureExtractor
    changed(base / "config.json", model_type="evil")
    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoModel.from_pretrained(base, trust_remote_code=False)


def test_a_repository_with_pickles_and_scripts_alone_is_refused(hub, base, mark):
    hostile_base(base, mark)
    (base / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "adapters/tuab/adapter_model.bin"):
        with open(base / name, "wb") as stream:
            pickle.dump(Payload(mark), stream)
    for file in (LORA, HEAD):
        (base / "adapters/tuab" / file).unlink()
    script(base / "adapters/tuab/evil.py", mark)
    pushed(base, "me/evil")
    hub.requests.clear()
    for loader in (AutoModel, MteegModel):
        with pytest.raises(
            UnsafeFileError, match=r"me/evil: expected model\.safetensors, found none"
        ):
            loader.from_pretrained("me/evil")
    with pytest.raises(AdapterError, match=r"me/evil"):
        model_with_tasks("seed-v").load_adapter("me/evil/adapters/tuab")
    fetched = {one.path.rpartition("/")[2] for one in hub.requests if one.method == "GET"}
    assert fetched and not any(name.endswith((".bin", ".py")) for name in fetched), fetched


def test_files_of_the_hubs_cache_are_checked_as_well(hub, base):
    changed(base / "adapters/tuab" / CARD, labels=[str(n) for n in range(100_000)])
    with_header(base / "model.safetensors", b"{}", 2**63, bytes(16))
    pushed(base, "me/evil")
    with pytest.raises(UnsafeFileError, match=r"model\.safetensors is damaged"):
        AutoModel.from_pretrained("me/evil")
    with pytest.raises(AdapterError, match="labels: expected at most 4096"):
        model_with_tasks("seed-v").load_adapter("me/evil/adapters/tuab")


def test_cards_are_made_from_checked_files(base):
    (base / "training.json").write_text('{"command": NaN}')
    with pytest.raises(CardError, match=r"training\.json"):
        write_cards(base)
    enlarged(base / "training.json")
    with pytest.raises(CardError, match="at most"):
        write_cards(base)
    (base / "training.json").unlink()
    enlarged(base / "adapters/tuab" / CARD)
    with pytest.raises(CardError, match=r"task\.json"):
        write_cards(base)


def test_nobody_is_asked_on_the_terminal_whether_to_run_a_strangers_code(base, mark, monkeypatch):
    hostile_base(base, mark)
    changed(base / "config.json", model_type="evil")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_tasks(base, ["tuab"])
