"""Bases and tasks loaded from a Hub: names, revisions, private repositories, and the cache."""

from __future__ import annotations

import sys

import pytest
import torch
from hub_server import OTHER, READ, WRITE
from huggingface_hub import HfApi, constants
from tiny_models import logits_of, model_with_tasks, randomize, tiny_model
from transformers import AutoModel

from modeling_mteeg import MteegModel
from modeling_mteeg.model.adapter_files import AdapterError

FILES = {"adapter_model.safetensors", "adapter_config.json", "head.safetensors", "task.json"}


def published(*tasks: str, repo: str = "me/base", seed: int = 0, **options) -> MteegModel:
    """A model whose base and tasks are in one repository."""
    model = model_with_tasks(*tasks, seed=seed)
    model.push_to_hub(repo, token=WRITE, **options)
    for task in tasks:
        model.push_adapter(task, repo, path_in_repo=f"adapters/{task}", token=WRITE)
    return model


def asked(hub, token: str | None) -> bool:
    """Whether all requests for the repository were made with this token."""
    return {one.token for one in hub.requests if "me/base" in one.path} == {token}


def test_a_task_is_found_beside_its_base(hub):
    model = published("tuab", "seed-v")
    hub.requests.clear()
    loaded = AutoModel.from_pretrained("me/base")
    assert loaded.load_adapter("seed-v").name == "seed-v"
    assert torch.equal(logits_of(loaded)["seed-v"], logits_of(model)["seed-v"])
    fetched = {one.path.rpartition("/")[2] for one in hub.requests if "adapters/" in one.path}
    assert fetched == FILES and "adapters/tuab" not in str(hub.requests)
    assert asked(hub, None)


@pytest.mark.parametrize("name", ["me/base/adapters/tuab", "me/tuab"])
def test_a_task_is_found_by_the_name_of_its_repository(hub, name):
    model = published("tuab")
    model.push_adapter("tuab", "me/tuab", token=WRITE)
    loaded = tiny_model()
    loaded.load_adapter(name)
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])


def test_transformers_loads_a_base_and_a_task_by_the_tasks_repository(hub):
    model = published("tuab")
    model.push_adapter("tuab", "me/tuab", base="me/base", token=WRITE)
    for name, options in (
        ("me/tuab", {}),
        ("me/base", {"adapter_kwargs": {"subfolder": "adapters/tuab"}}),
    ):
        loaded = AutoModel.from_pretrained(name, **options)
        assert loaded.active_adapter == "tuab"
        assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])


def test_every_revision_has_its_own_base_and_tasks(hub):
    first = published("tuab")
    repo = hub.repo("me/base")
    HfApi(token=WRITE).create_tag("me/base", tag="v1")
    HfApi(token=WRITE).create_branch("me/base", branch="dev")
    old = repo.head
    second = published("tuab", seed=3)
    assert first.fingerprint() != second.fingerprint()
    for revision, model in ((None, second), ("v1", first), ("dev", first), (old, first)):
        loaded = AutoModel.from_pretrained("me/base", revision=revision)
        assert loaded.fingerprint() == model.fingerprint()
        loaded.load_adapter("tuab")  # of the base's revision, without saying so
        assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])
    with pytest.raises(AdapterError, match="load that base"):
        AutoModel.from_pretrained("me/base").load_adapter("tuab", revision="v1")


def test_a_base_stays_with_its_commit_when_the_repository_goes_on(hub):
    model = published("tuab")
    loaded = MteegModel.from_pretrained("me/base")
    randomize(model, seed=8)
    model.push_adapter("tuab", "me/base", path_in_repo="adapters/tuab", token=WRITE)
    model.add_adapter("new", labels=["a", "b"])
    model.push_adapter("new", "me/base", path_in_repo="adapters/new", token=WRITE)
    loaded.load_adapter("tuab")
    assert not torch.equal(logits_of(loaded)["tuab"], logits_of(model, "tuab")["tuab"])
    with pytest.raises(AdapterError, match="revision='main' looks at the newest"):
        loaded.load_adapter("new")
    assert loaded.load_adapter("new", revision="main").labels == ("a", "b")
    loaded.load_adapter("tuab", "newest", revision="main")
    newest = loaded(**inputs(), task="newest").logits
    assert torch.equal(newest, logits_of(model, "tuab")["tuab"])


def inputs():
    from tiny_models import inputs_of

    return inputs_of("tuab")


def test_a_private_repository_opens_with_a_token(hub, monkeypatch):
    model = published("tuab", private=True)
    hub.requests.clear()
    loaded = AutoModel.from_pretrained("me/base", token=READ)
    loaded.load_adapter("tuab", token=READ)
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])
    assert asked(hub, READ)
    for token in (False, OTHER):
        with pytest.raises(AdapterError, match=r"it is private.*hf auth login.*token="):
            tiny_model().load_adapter("me/base/adapters/tuab", token=token)
    monkeypatch.setenv("HF_TOKEN", READ)
    tiny_model().load_adapter("me/base/adapters/tuab")


def test_what_was_loaded_once_loads_without_a_connection(hub, monkeypatch):
    model = published("tuab", "tuev")
    first = AutoModel.from_pretrained("me/base")
    first.load_adapter("tuab")
    first.load_adapter("me/base/adapters/tuab", "again", revision="main")
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    loaded = AutoModel.from_pretrained("me/base")
    loaded.load_adapter("tuab")
    loaded.load_adapter("me/base/adapters/tuab", "again", revision="main")
    assert torch.equal(logits_of(loaded, "tuab")["tuab"], logits_of(model)["tuab"])
    with pytest.raises(AdapterError, match=r"offline mode is on\. Unset HF_HUB_OFFLINE"):
        loaded.load_adapter("tuev")
    assert not hub.requests


def test_a_task_in_the_cache_of_the_bases_commit_is_not_asked_for_again(hub):
    published("tuab")
    AutoModel.from_pretrained("me/base").load_adapter("tuab")
    loaded = AutoModel.from_pretrained("me/base")
    hub.requests.clear()
    loaded.load_adapter("tuab")
    assert not hub.requests


def test_names_that_are_not_there_say_where_was_looked(hub, tmp_path, monkeypatch):
    published("tuab")
    base = AutoModel.from_pretrained("me/base")
    for name, words in {
        "seed-v": r"adapters/seed-v of me/base on the Hub \(me/base has no adapters/seed-v/task",
        "you/none": r"you/none on the Hub \(you/none does not exist, or it is private",
        "me/base": r"me/base on the Hub \(me/base has no task\.json",
        "me/base/adapters/none": r"has no adapters/none/task\.json",
    }.items():
        with pytest.raises(AdapterError, match=words):
            base.load_adapter(name)
    with pytest.raises(AdapterError, match=r"me/base has no such revision.*hf repos tag list"):
        base.load_adapter("tuab", revision="v9")
    assert not base.tasks


@pytest.mark.parametrize("name", ["../me/base", "me/../base", "C:\\me\\base", "me//base", "~/base"])
def test_paths_are_not_taken_for_repositories(hub, name):
    with pytest.raises(AdapterError, match="No adapter"):
        tiny_model().load_adapter(name)
    assert not hub.requests


@pytest.mark.parametrize("file", sorted(FILES - {"task.json"}))
def test_a_repository_that_lacks_a_file_is_named(hub, file):
    published("tuab")
    HfApi(token=WRITE).delete_file(f"adapters/tuab/{file}", "me/base")
    model = AutoModel.from_pretrained("me/base")
    with pytest.raises(AdapterError, match=f"adapters/tuab/{file} of me/base is missing"):
        model.load_adapter("tuab")
    assert not model.tasks


def test_a_folder_of_the_same_name_is_taken_before_the_hub(hub, tmp_path, monkeypatch):
    model_with_tasks("tuab").save_adapter("tuab", tmp_path / "me" / "tuab")
    monkeypatch.chdir(tmp_path)
    assert tiny_model().load_adapter("me/tuab").name == "tuab"
    assert not hub.requests and "huggingface_hub" in sys.modules
