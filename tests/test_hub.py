"""Tasks on the Hub: what is uploaded, and what is asked for. The Hub is a folder here."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from tiny_models import CARDS, logits_of, model_with_tasks, randomize, tiny_model

from modeling_mteeg import MteegModel
from modeling_mteeg.adapter_files import AdapterError

FILES = {"adapter_model.safetensors", "adapter_config.json", "head.safetensors", "task.json"}


def not_found(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "not found")
    return error


class FolderHub:
    """Repositories ``owner/repo`` as folders under ``root``; remembers every call."""

    def __init__(self, root: Path):
        self.root, self.offline = root, False
        self.calls, self.tokens = [], []

    def opened(self, token: str | None = None) -> FolderHub:
        self.tokens.append(token)
        return self

    def create_repo(self, repo_id: str, **options) -> None:
        self.calls.append(("create_repo", repo_id, options))
        (self.root / repo_id).mkdir(parents=True, exist_ok=options["exist_ok"])

    def upload_folder(self, *, repo_id, folder_path, path_in_repo, commit_message):
        files = {path.name for path in Path(folder_path).iterdir()}
        self.calls.append(("upload_folder", repo_id, path_in_repo, commit_message, files))
        target = self.root / repo_id / (path_in_repo or "")
        shutil.copytree(folder_path, target, dirs_exist_ok=True)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def download(self, repo_id: str, filename: str, revision=None, token=None) -> str:
        self.calls.append((repo_id, filename, revision, token))
        if self.offline:
            raise LocalEntryNotFoundError("offline")
        if not (self.root / repo_id).is_dir():
            raise not_found(RepositoryNotFoundError)
        if not (self.root / repo_id / filename).is_file():
            raise EntryNotFoundError(filename)
        return str(self.root / repo_id / filename)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> FolderHub:
    hub = FolderHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.opened)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    return hub


def fresh(base: str | None = None) -> MteegModel:
    """The base of :func:`model_with_tasks` as if loaded from ``base``."""
    model = tiny_model()
    model.config._name_or_path = base
    return model


def test_pushing_uploads_the_four_files_and_the_card(hub):
    model = model_with_tasks("tuab")
    address = model.push_adapter("tuab", "me/tuab-adapter", private=True, token="secret")
    assert address == "https://hub/me/tuab-adapter/commit/1"
    create, upload = hub.calls
    assert create == ("create_repo", "me/tuab-adapter", {"private": True, "exist_ok": True})
    assert upload[1:3] == ("me/tuab-adapter", None) and upload[4] == FILES | {"README.md"}
    assert "tuab" in upload[3] and hub.tokens == ["secret"]


def test_pushed_task_is_loaded_from_its_own_repository(hub):
    model = model_with_tasks("tuab")
    model.push_adapter("tuab", "me/tuab-adapter")
    hub.calls.clear()
    loaded = fresh()
    assert loaded.load_adapter("me/tuab-adapter", revision="v1", token="t").name == "tuab"
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])
    assert {call[1] for call in hub.calls} == FILES
    assert {call[0::2] for call in hub.calls} == {("me/tuab-adapter", "v1")}
    assert {call[3] for call in hub.calls} == {"t"}


def test_pushed_task_is_loaded_from_beside_a_base_on_the_hub(hub):
    model = model_with_tasks("tuab", "seed-v")
    for task in model.tasks:
        model.push_adapter(task, "me/base", path_in_repo=f"adapters/{task}")
    loaded = fresh("me/base")
    assert loaded.load_adapter("seed-v").name == "seed-v"
    assert torch.equal(logits_of(loaded)["seed-v"], logits_of(model)["seed-v"])


def test_a_head_alone_is_two_files(hub):
    model = tiny_model()
    model.add_adapter("tuab", card=CARDS["tuab"], location="none")
    randomize(model)
    model.push_adapter("tuab", "me/head")
    assert hub.calls[-1][4] == {"head.safetensors", "task.json", "README.md"}
    loaded = fresh()
    loaded.load_adapter("me/head")
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])


def test_unknown_repositories_and_tasks_say_where_was_looked(hub):
    model_with_tasks("tuab").push_adapter("tuab", "me/base", path_in_repo="adapters/tuab")
    with pytest.raises(AdapterError, match=r"adapters/seed-v of me/base on the Hub"):
        fresh("me/base").load_adapter("seed-v")
    with pytest.raises(AdapterError, match=r"No adapter 'you/none': .*you/none on the Hub"):
        fresh("me/base").load_adapter("you/none")


@pytest.mark.parametrize("file", sorted(FILES - {"task.json"}))
def test_a_repository_that_lacks_a_file_is_named(hub, file):
    model_with_tasks("tuab").push_adapter("tuab", "me/base", path_in_repo="adapters/tuab")
    (hub.root / "me/base/adapters/tuab" / file).unlink()
    model = fresh("me/base")
    with pytest.raises(AdapterError, match=f"adapters/tuab/{file} of me/base is missing"):
        model.load_adapter("tuab")
    assert not model.tasks


def test_an_unreachable_hub_is_named(hub):
    hub.offline = True
    for base, name in (("me/base", "tuab"), (None, "me/tuab-adapter")):
        with pytest.raises(AdapterError, match="could not be reached"):
            fresh(base).load_adapter(name)


def test_a_task_that_is_not_there_is_not_pushed(hub):
    with pytest.raises(ValueError, match="Unknown task 'tuev'"):
        model_with_tasks("tuab").push_adapter("tuev", "me/base")
    assert not hub.calls
