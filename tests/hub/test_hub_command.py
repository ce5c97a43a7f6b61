"""The ``hf`` command and the Hub of the tests: what other tests rely on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import OTHER, READ, WRITE
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

HF = Path(sys.executable).with_name("hf")


@pytest.fixture
def hf(hub, tmp_path):
    """The command in a process of its own, logged in by a token in its environment."""

    def run(*arguments: object, token: str = WRITE, fails: bool = False) -> str:
        done = subprocess.run(
            [HF, *map(str, arguments)],
            env=os.environ | hub.environment(tmp_path / "hf-home", token),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_the_command_creates_uploads_names_and_downloads(hub, hf, tmp_path):
    folder = tmp_path / "folder"
    (folder / "adapters").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "adapters" / "head.safetensors").write_bytes(b"tensors" * 100)
    hf("repos", "create", "me/base", "--private")
    hf("upload", "me/base", folder, ".", "--commit-message", "first")
    repo = hub.repo("me/base")
    assert repo.private and repo.history("main")[0].title == "first"
    assert repo.files()["adapters/head.safetensors"] == b"tensors" * 100
    hf("repos", "tag", "create", "me/base", "v1")
    (folder / "config.json").write_text('{"new": 1}')
    hf("upload", "me/base", folder, ".")
    assert hub.count("PUT", "/files/") == 1  # the large file was there already
    hf("download", "me/base", "--revision", "v1", "--local-dir", tmp_path / "old", token=READ)
    assert (tmp_path / "old" / "config.json").read_text() == "{}"
    assert (tmp_path / "old/adapters/head.safetensors").read_bytes() == b"tensors" * 100
    refused = hf("download", "me/base", "--local-dir", tmp_path / "no", token=OTHER, fails=True)
    assert "not found" in refused.lower()


def test_large_files_go_in_parts_and_tokens_stay_on_the_hub(hub):
    hub.part_size = 1000
    api = HfApi(token=WRITE)
    api.create_repo("me/base", private=True)
    content = os.urandom(5500)
    added = [CommitOperationAdd("model.safetensors", content)]
    api.create_commit("me/base", added, commit_message="in parts")
    assert hub.count("PUT", r"/files/\w+/\d") == 6
    path = hf_hub_download("me/base", "model.safetensors", token=WRITE)
    assert Path(path).read_bytes() == content
    stored = [one for one in hub.requests if one.path.startswith("/files/")]
    assert stored and all(one.token is None for one in stored)


def test_tokens_decide_who_reads_and_writes(hub):
    hub.add_repo("me/secret", private=True)
    assert HfApi(token=READ).model_info("me/secret").private
    for token in (OTHER, False):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(token=token).model_info("me/secret")
    for token, status in ((READ, 403), (OTHER, 403), ("hf_wrong", 401)):
        with pytest.raises(HfHubHTTPError) as caught:
            HfApi(token=token).create_repo("me/new")
        assert caught.value.response.status_code == status


def test_a_commit_on_an_old_parent_is_refused(hub):
    api = HfApi(token=WRITE)
    repo = hub.add_repo("me/base")
    old = repo.head
    api.create_commit("me/base", [CommitOperationAdd("a.txt", b"a")], commit_message="a")
    new = repo.head
    with pytest.raises(HfHubHTTPError, match="has happened since"):
        api.create_commit("me/base", [CommitOperationAdd("b.txt", b"b")], commit_message="b",
                          parent_commit=old)  # fmt: skip
    assert repo.head == new
    pull = api.create_commit("me/base", [CommitOperationAdd("c.txt", b"c")], commit_message="c",
                             create_pr=True)  # fmt: skip
    assert repo.head == new and "c.txt" in repo.files(pull.pr_revision)
