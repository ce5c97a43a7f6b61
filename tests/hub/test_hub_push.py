"""A base and its tasks pushed to a Hub: what goes there, as one commit each."""

from __future__ import annotations

import json

import pytest
import torch
from hub_server import OTHER, READ, WRITE
from huggingface_hub import HfApi, ModelCard
from tiny_models import CARDS, logits_of, model_with_tasks, randomize, tiny_model
from transformers import AutoFeatureExtractor, AutoModel

from modeling_mteeg import MteegFeatureExtractor, MteegModel
from modeling_mteeg.model.hub_fetch import HubError
from modeling_mteeg.model.hub_push import PushRefusedError

FILES = {"adapter_model.safetensors", "adapter_config.json", "head.safetensors", "task.json"}


@pytest.fixture(autouse=True)
def login(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITE)


def test_a_pushed_base_is_the_base(hub):
    model = model_with_tasks("tuab")
    model.push_to_hub("me/base")
    repo = hub.repo("me/base")
    assert len(repo.commits) == 2
    files = repo.files()
    needed = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
    assert needed | {"modeling_mteeg.py", "feature_extraction_mteeg.py", "hub_fetch.py"} <= set(
        files
    )
    assert {path for path in files if path.endswith("task.json")} == {"adapters/tuab/task.json"}
    loaded = AutoModel.from_pretrained("me/base")
    assert isinstance(loaded, MteegModel) and not loaded.tasks
    assert loaded.fingerprint() == model.fingerprint()
    assert isinstance(AutoFeatureExtractor.from_pretrained("me/base"), MteegFeatureExtractor)


def test_a_pushed_base_has_a_card_of_facts(hub):
    model = tiny_model()
    model.push_to_hub("me/base")
    card = ModelCard.load("me/base")
    assert model.fingerprint() in card.text and "More Information" not in card.text
    assert card.data.library_name == "transformers" and "mteeg" in card.data.tags
    mine = "# Mine\n\nWith results, perhaps.\n"
    HfApi(token=WRITE).upload_file(
        path_or_fileobj=mine.encode(), path_in_repo="README.md", repo_id="me/base"
    )
    other = tiny_model(seed=1)
    other.push_to_hub("me/base")
    assert ModelCard.load("me/base").text.strip() == mine.strip(), "a person wrote it"
    HfApi(token=WRITE).upload_file(
        path_or_fileobj=str(card).encode(), path_in_repo="README.md", repo_id="me/base"
    )
    other.push_to_hub("me/base")
    text = ModelCard.load("me/base").text
    assert other.fingerprint() in text and model.fingerprint() not in text


def test_a_base_keeps_the_settings_of_the_extractor_it_came_with(hub, tmp_path):
    tiny_model().save_pretrained(tmp_path / "first")
    MteegFeatureExtractor(notch_hz=60.0).save_pretrained(tmp_path / "first")
    MteegModel.from_pretrained(tmp_path / "first").push_to_hub("me/base")
    assert AutoFeatureExtractor.from_pretrained("me/base").notch_hz == 60.0
    again = AutoModel.from_pretrained("me/base")
    again.save_pretrained(tmp_path / "again")
    assert MteegFeatureExtractor.from_pretrained(tmp_path / "again").notch_hz == 60.0


def test_a_pushed_task_is_four_files_in_one_commit(hub):
    model = model_with_tasks("tuab")
    address = model.push_adapter("tuab", "me/tuab-adapter", private=True)
    repo = hub.repo("me/tuab-adapter")
    assert repo.private and address == f"{hub.url}/me/tuab-adapter/commit/{repo.head}"
    assert set(repo.files()) == FILES | {".gitattributes", "README.md"}
    assert [one.title for one in repo.history("main")] == [
        "Upload the adapter and head of task tuab",
        "initial commit",
    ]
    loaded = tiny_model()
    loaded.load_adapter("me/tuab-adapter")
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])


def test_a_head_alone_is_two_files_and_replaces_an_adapter(hub):
    model_with_tasks("tuab").push_adapter("tuab", "me/head")
    model = tiny_model()
    model.add_adapter("tuab", card=CARDS["tuab"], location="none")
    randomize(model)
    model.push_adapter("tuab", "me/head")
    files = hub.repo("me/head").files()
    assert set(files) == {"head.safetensors", "task.json", ".gitattributes", "README.md"}
    loaded = tiny_model()
    loaded.load_adapter("me/head")
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])


def test_files_name_the_base_by_its_repository_and_never_by_a_path(hub, tmp_path):
    tiny_model().save_pretrained(tmp_path / "base")
    model = MteegModel.from_pretrained(tmp_path / "base")
    model.add_adapter("tuab", card=CARDS["tuab"])
    wanted = {
        "me/alone": ({}, ""),
        "me/named": ({"base": "me/base"}, "me/base"),
        "me/base": ({"path_in_repo": "adapters/tuab"}, "me/base"),
    }
    for repo, (options, name) in wanted.items():
        model.push_adapter("tuab", repo, **options)
        files = hub.repo(repo).files()
        prefix = "adapters/tuab/" if "path_in_repo" in options else ""
        assert json.loads(files[f"{prefix}task.json"])["base"]["name_or_path"] == name
        config = json.loads(files[f"{prefix}adapter_config.json"])
        assert config["base_model_name_or_path"] == (name or None)
        assert str(tmp_path) not in "".join(map(str, files.values()))


def test_a_task_is_not_laid_beside_another_base(hub):
    tiny_model(seed=5).push_to_hub("me/base")
    before = hub.repo("me/base").head
    with pytest.raises(PushRefusedError, match="the base there has fingerprint"):
        model_with_tasks("tuab").push_adapter("tuab", "me/base", path_in_repo="adapters/tuab")
    assert hub.repo("me/base").head == before


def test_branches_and_pull_requests(hub):
    model = model_with_tasks("tuab")
    model.push_adapter("tuab", "me/tuab")
    repo, head = hub.repo("me/tuab"), hub.repo("me/tuab").head
    randomize(model, seed=9)
    model.push_adapter("tuab", "me/tuab", revision="second-try")
    address = model.push_adapter("tuab", "me/tuab", create_pr=True)
    assert repo.head == head and repo.branches["second-try"] != head
    assert address.endswith("/discussions/1")
    for revision in ("second-try", "refs/pr/1", repo.branches["second-try"]):
        loaded = tiny_model()
        loaded.load_adapter("me/tuab", revision=revision)
        assert torch.equal(logits_of(loaded)["tuab"], logits_of(model)["tuab"])


def test_a_public_repository_is_not_taken_for_a_private_one(hub):
    hub.add_repo("me/tuab")
    with pytest.raises(PushRefusedError, match="exists and is public"):
        model_with_tasks("tuab").push_adapter("tuab", "me/tuab", private=True)
    assert len(hub.repo("me/tuab").commits) == 1


def test_what_did_not_change_is_not_sent_again(hub):
    model = model_with_tasks("tuab")
    model.push_adapter("tuab", "me/tuab")
    head, sent = hub.repo("me/tuab").head, hub.count("PUT", "/files/")
    assert model.push_adapter("tuab", "me/tuab").endswith(head)
    assert hub.count("PUT", "/files/") == sent == 2


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (READ, r"me/tuab: the token may not do that with me/tuab \(403\).*write access"),
        (OTHER, r"me/tuab: the token may not do that with me/tuab \(403\)"),
        ("hf_wrong", r"does not accept the token.*\(401\).*hf auth login"),
        (False, r"does not accept the token, or there is none \(401\).*HF_TOKEN"),
    ],
)
def test_a_token_that_may_not_write_is_told_what_to_do(hub, token, words):
    with pytest.raises(HubError, match=rf"{words}.*Nothing was sent\."):
        model_with_tasks("tuab").push_adapter("tuab", "me/tuab", token=token)
    with pytest.raises(HubError, match=words):
        tiny_model().push_to_hub("me/tuab", token=token)
    assert not hub.repos


def test_a_task_that_is_not_there_is_not_pushed(hub):
    with pytest.raises(ValueError, match="Unknown task 'tuev'"):
        model_with_tasks("tuab").push_adapter("tuev", "me/base")
    assert not hub.requests
