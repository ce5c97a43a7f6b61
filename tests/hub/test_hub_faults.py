"""Pushes and loads that break: the old revision stays whole, and every error says what to do."""

from __future__ import annotations

import hashlib
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.file_download
import huggingface_hub.utils._http
import pytest
import torch
from hub_server import WRITE
from huggingface_hub import constants
from tiny_models import logits_of, model_with_tasks, randomize, tiny_model
from transformers import AutoModel

from modeling_mteeg.model.adapter_files import AdapterError
from modeling_mteeg.model.hub_fetch import HubError

BESIDE = {"path_in_repo": "adapters/tuab", "token": WRITE}


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """How long the client would have waited between its tries; it does not wait here."""
    found: list[float] = []
    clock = SimpleNamespace(sleep=found.append)
    for module in (huggingface_hub.utils._http, huggingface_hub.file_download):
        monkeypatch.setattr(module, "time", clock)
    return found


@pytest.fixture
def model(hub):
    """A published model, changed after that."""
    model = model_with_tasks("tuab")
    model.push_to_hub("me/base", token=WRITE)
    model.push_adapter("tuab", "me/base", **BESIDE)
    model.before = logits_of(model)["tuab"]
    randomize(model, seed=7)
    hub.requests.clear()
    return model


def loads(model, **options) -> bool:
    """Whether what is on the Hub is whole; True where it is the changed task."""
    loaded = AutoModel.from_pretrained("me/base", **options)
    loaded.load_adapter("tuab")
    found = logits_of(loaded)["tuab"]
    assert torch.equal(found, model.before) != torch.equal(found, logits_of(model)["tuab"])
    return not torch.equal(found, model.before)


def hash_of(model, folder: Path, file: str) -> str:
    model.save_adapter("tuab", folder)
    return hashlib.sha256((folder / file).read_bytes()).hexdigest()


def test_an_upload_that_is_cut_leaves_the_old_revision_and_is_taken_up_again(hub, model, tmp_path):
    old = hub.repo("me/base").head
    lora, head = (hash_of(model, tmp_path, f"{name}.safetensors")
                  for name in ("adapter_model", "head"))  # fmt: skip
    fault = hub.fail("cut", "PUT", lora)
    with pytest.raises(HubError) as caught:
        model.push_adapter("tuab", "me/base", **BESIDE)
    message = str(caught.value)
    assert "connection failed or broke off" in message and "run the same again" in message
    assert f"Nothing has changed on the Hub: main is still at {old[:12]}." in message
    assert fault.met == 6  # the client's own tries
    assert hub.repo("me/base").head == old and not loads(model)
    assert hub.count("PUT", head) == 1 and lora not in hub.large
    hub.faults.clear()
    model.push_adapter("tuab", "me/base", **BESIDE)
    assert hub.count("PUT", head) == 1 and hub.count("PUT", lora) == 1
    assert loads(model)


def test_a_base_that_is_cut_leaves_the_old_one(hub, model):
    old = hub.repo("me/base").head
    other = tiny_model(seed=4)
    hub.fail("cut", "PUT", "/files/")
    with pytest.raises(HubError, match=r"me/base: the connection failed or broke off.*or nothing"):
        other.push_to_hub("me/base", token=WRITE)
    assert hub.repo("me/base").head == old and not loads(model)
    hub.faults.clear()
    other.push_to_hub("me/base", token=WRITE)
    assert AutoModel.from_pretrained("me/base").fingerprint() == other.fingerprint()


def test_a_short_interruption_is_not_noticed(hub, model, waits):
    hub.fail("cut", "PUT", "/files/", times=2)
    hub.fail(503, "POST", "/preupload/", times=1)
    model.push_adapter("tuab", "me/base", **BESIDE)
    assert loads(model) and len(waits) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, r"may not do that with me/base \(403\)"),
        (412, "changed by somebody else at the same time"),
        (429, r"too many requests \(429\). Wait 3 s"),
        (500, r"a fault of its own \(500\).*status\.huggingface\.co"),
        ("cut", "connection failed or broke off"),
    ],
)
def test_a_commit_that_fails_changes_nothing(hub, model, status, words):
    old, commits = hub.repo("me/base").head, len(hub.repo("me/base").commits)
    hub.fail(status, "POST", "/commit/")
    with pytest.raises(HubError, match=rf"{words}.*still at {old[:12]}"):
        model.push_adapter("tuab", "me/base", **BESIDE)
    assert len(hub.repo("me/base").commits) == commits and not loads(model)
    hub.faults.clear()
    sent = hub.count("PUT", "/files/")
    model.push_adapter("tuab", "me/base", **BESIDE)
    assert loads(model) and hub.count("PUT", "/files/") == sent


def test_a_lost_answer_is_not_called_a_failure(hub, model):
    old = hub.repo("me/base").head
    hub.fail("lost", "POST", "/commit/")
    with pytest.raises(HubError, match=f"main went from {old[:12]} to .*: look what came"):
        model.push_adapter("tuab", "me/base", **BESIDE)
    assert loads(model)


def test_of_two_pushes_at_once_one_is_told(hub, model):
    held, errors = hub.fail("held", "POST", "/preupload/", times=1), []

    def push() -> None:
        try:
            model.push_adapter("tuab", "me/base", **BESIDE)
        except HubError as error:
            errors.append(str(error))

    first = threading.Thread(target=push)
    first.start()
    while not held.met:
        assert first.is_alive()
        first.join(0.01)
    model_with_tasks("tuev").push_adapter("tuev", "me/base", path_in_repo="adapters/tuev",
                                          token=WRITE)  # fmt: skip
    held.go.set()
    first.join(60)
    assert len(errors) == 1 and "changed by somebody else" in errors[0]
    assert "adapters/tuev/task.json" in hub.repo("me/base").files() and not loads(model)


def test_a_download_that_is_cut_goes_on_where_it_stopped(hub, model, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10)  # what arrives is written at once
    hub.fail("cut", "GET", "/files/", times=1)
    loaded = tiny_model()
    loaded.load_adapter("me/base/adapters/tuab")
    assert torch.equal(logits_of(loaded)["tuab"], model.before)
    cut, rest = [one for one in hub.requests if one.path.startswith("/files/")][:2]
    assert (
        cut.range is None
        and rest.path == cut.path
        and rest.range == f"bytes={cut.sent // 10 * 10}-"
    )


def test_a_download_that_stays_cut_leaves_nothing_half(hub, model, tmp_path):
    hub.fail("cut", "GET", "/files/")
    loaded = tiny_model()
    with pytest.raises(AdapterError, match=r"head\.safetensors of me/base could not be fetch"):
        loaded.load_adapter("me/base/adapters/tuab")
    assert not loaded.tasks
    left = [path for path in (tmp_path / "hub-home").rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix in (".safetensors", ".incomplete")]
    hub.faults.clear()
    loaded.load_adapter("me/base/adapters/tuab")
    assert torch.equal(logits_of(loaded)["tuab"], model.before)


def test_a_push_in_the_middle_of_a_load_does_not_mix_two_revisions(hub, model):
    held, loaded = hub.fail("held", "HEAD", "head.safetensors", times=1), tiny_model()
    load = threading.Thread(target=loaded.load_adapter, args=("me/base/adapters/tuab",))
    load.start()
    while not held.met:
        assert load.is_alive()
        load.join(0.01)
    model.push_adapter("tuab", "me/base", **BESIDE)
    held.go.set()
    load.join(60)
    assert torch.equal(logits_of(loaded)["tuab"], model.before)
    assert loads(model)


def test_other_bytes_of_the_right_length_are_noticed(hub, model, tmp_path):
    fault = hub.fail("garble", "GET", "/files/", times=1)
    loaded = tiny_model()
    loaded.load_adapter("me/base/adapters/tuab")
    assert fault.met == 3  # two large files, one of them twice
    assert torch.equal(logits_of(loaded)["tuab"], model.before)
    hub.fail("garble", "GET", "/files/")
    model.push_adapter("tuab", "me/base", **BESIDE)
    with pytest.raises(AdapterError, match="is damaged: its SHA-256 is not that of the file on"):
        tiny_model().load_adapter("me/base/adapters/tuab")


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub, model, tmp_path):
    loads(model)
    for path in (tmp_path / "hub-home").rglob("*.safetensors"):
        if "adapters" in path.parts:
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.resolve().write_bytes(content)
    assert not loads(model)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, r"does not accept the token, or there is none \(401\).*hf auth login"),
        (403, r"may not do that with me/base \(403\)"),
        (429, r"too many requests \(429\). Wait 3 s"),
        (500, r"a fault of its own \(500\)"),
        ("cut", "connection failed or broke off"),
    ],
)
def test_a_load_that_fails_says_what_to_do(hub, model, waits, status, words):
    hub.fail(status, "GET", "/api/models/")
    loaded = tiny_model()
    with pytest.raises(AdapterError, match=rf"adapters/tuab/ of me/base could not be.*{words}"):
        loaded.load_adapter("me/base/adapters/tuab")
    assert not loaded.tasks and not waits


@pytest.mark.parametrize("status", [429, 500, "cut"])
def test_where_the_hub_has_no_answer_the_cache_has(hub, model, status):
    loads(model)
    hub.fail(status)
    assert not loads(model)


def test_without_a_connection_an_unknown_name_is_told_at_once(hub, model, waits, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    with pytest.raises(AdapterError, match=r"connection failed.*Check the network"):
        tiny_model().load_adapter("me/tuab")
    assert not waits
    with pytest.raises(HubError, match=r"connection failed.*Nothing was sent"):
        model.push_adapter("tuab", "me/base", **BESIDE)
    assert not waits
