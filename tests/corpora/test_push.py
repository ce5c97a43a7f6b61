"""Pushing a prepared corpus: only what may be published, and all of it or nothing.

The Hub is a list of revisions here, each a mapping from path to content.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import httpx
import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts import demo, push
from modeling_mteeg.dataset_scripts.chb_mit import ChbMit
from modeling_mteeg.dataset_scripts.demo import simulate
from modeling_mteeg.dataset_scripts.eegmat import Eegmat
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.prepare import corpus_class, prepare_corpora
from modeling_mteeg.dataset_scripts.provenance import CHECKSUMS_FILE
from modeling_mteeg.dataset_scripts.push import PushRefusedError, check_allowed
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.sleep_edf import SleepEdf
from modeling_mteeg.dataset_scripts.writer import prepare
from modeling_mteeg.model.task_card import TaskCard

QUIET = Settings(progress=False)
FORBIDDEN = ("tuab", "tuev", "seed-v")


class Revisions:
    """A stand-in of ``HfApi``: one dataset repository; every call is remembered."""

    def __init__(self):
        self.revisions: list[dict[str, bytes]] = []
        self.private, self.fails, self.calls, self.token = None, False, [], None

    def opened(self, token=None) -> Revisions:
        self.token = token
        return self

    def create_repo(self, repo_id, *, repo_type, private, exist_ok):
        assert repo_type == "dataset" and exist_ok
        self.calls.append("create_repo")
        if not self.revisions:
            self.revisions.append({".gitattributes": b"*.arrow filter=lfs"})
            self.private = bool(private)

    def repo_info(self, repo_id, *, repo_type, revision):
        assert repo_type == "dataset" and revision is None
        files = [SimpleNamespace(rfilename=name) for name in self.revisions[-1]]
        head = str(len(self.revisions) - 1)
        return SimpleNamespace(private=self.private, sha=head, siblings=files)

    def create_commit(
        self, repo_id, operations, *, commit_message, repo_type, revision, create_pr, parent_commit
    ):
        assert repo_type == "dataset" and parent_commit == str(len(self.revisions) - 1)
        assert revision is None and not create_pr
        self.calls.append("create_commit")
        new = dict(self.revisions[-1])
        for number, operation in enumerate(operations):
            if self.fails and number == 2:
                request = httpx.Request("POST", "https://hub")
                response = httpx.Response(502, request=request)
                raise HfHubHTTPError("the connection was lost", response=response)
            if isinstance(operation, CommitOperationDelete):
                del new[operation.path_in_repo]
            else:
                assert isinstance(operation, CommitOperationAdd)
                with operation.as_file() as file:
                    new[operation.path_in_repo] = file.read()
        self.revisions.append(new)
        address = f"https://hub/{repo_id}/{len(self.revisions) - 1}"
        return SimpleNamespace(commit_url=address, pr_url=None)

    def __getattr__(self, name):
        raise AssertionError(f"{name} is not a call that a push makes")


@pytest.fixture
def hub(monkeypatch) -> Revisions:
    hub = Revisions()
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.opened)
    return hub


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    simulate(root, size="small", progress=False)
    return root


@pytest.fixture(scope="module")
def simulated(raw, tmp_path_factory) -> dict[str, Path]:
    return prepare_corpora(raw, tmp_path_factory.mktemp("simulated"), settings=QUIET)


@pytest.fixture(scope="module")
def recorded(raw, simulated, tmp_path_factory) -> dict[str, Path]:
    """The same files without a word of simulation: prepared as recordings."""
    root = tmp_path_factory.mktemp("recorded")
    tasks = [task for task in simulated if task != "seed-v"]
    for task in tasks:
        shutil.copytree(raw / task, root / task, ignore=shutil.ignore_patterns("SIMULATED*"))
    folders = prepare_corpora(root, root / "out", tasks, settings=QUIET)
    # Real sessions of SEED-V are an hour long: the folder is that of the simulation, which says
    # what the preparation of recordings writes.
    folders["seed-v"] = Path(shutil.copytree(simulated["seed-v"], root / "out" / "seed-v"))
    rewrite_source(folders["seed-v"], simulation=None, made_by_simulator=False)
    TaskCard.load(folders["seed-v"]).replace(
        simulated=False, license=corpus_class("seed-v").card.license
    ).save(folders["seed-v"])
    return folders


def rewrite_source(folder: Path, **changes) -> None:
    manifest = json.loads((folder / "splits.json").read_text("utf-8"))
    manifest["source"] |= changes
    (folder / "splits.json").write_text(json.dumps(manifest), "utf-8")


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def command(folder: Path, *more: str) -> int:
    return push.main([str(folder), "--repo", "me/data", *more])


# What may be pushed --------------------------------------------------------------------------


def test_which_corpora_may_be_published():
    assert ChbMit.redistributable and SleepEdf.redistributable and PhysionetMi.redistributable
    assert Eegmat.redistributable
    assert not any(corpus_class(task).redistributable for task in FORBIDDEN)


@pytest.mark.parametrize("task", ["chb-mit", "sleep-edf", "physionet-mi"])
def test_open_corpora_are_pushed(task, recorded, hub, capsys):
    assert command(recorded[task]) == 0
    assert "pushed: https://hub/me/data/1" in capsys.readouterr().out
    assert hub.calls == ["create_repo", "create_commit"] and hub.private is False
    pushed = hub.revisions[-1]
    assert pushed.pop(".gitattributes") and pushed == content(recorded[task])


def test_pushed_corpus_is_whole(simulated, hub, tmp_path):
    assert push.push(simulated["tuab"], "me/data", private=True, token="t").endswith("/1")
    assert hub.private and hub.token == "t"
    for name, data in hub.revisions[-1].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    corpus, original = load_corpus(tmp_path), load_corpus(simulated["tuab"])
    assert corpus.card == original.card
    assert (corpus.splits["test"].read([1]) == original.splits["test"].read([1])).all()


def test_calls_fit_the_real_client(simulated, monkeypatch):
    client = create_autospec(huggingface_hub.HfApi, instance=True)
    client.repo_info.return_value = SimpleNamespace(private=True, sha="0", siblings=[])
    client.create_commit.return_value = SimpleNamespace(commit_url="https://hub/1", pr_url=None)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token=None: client)
    assert push.push(simulated["tuab"], "me/data", private=True) == "https://hub/1"
    client.create_commit.assert_called_once()
    client.upload_folder.assert_not_called()


@pytest.mark.parametrize("task", ["tuab", "tuev", "seed-v", "chb-mit", "sleep-edf", "physionet-mi"])
def test_simulated_corpora_are_allowed(task, simulated):
    check_allowed(simulated[task])


# What may not --------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--private",)])
@pytest.mark.parametrize("task", FORBIDDEN)
def test_forbidden_corpora_are_refused_with_licence(task, more, recorded, hub, capsys):
    assert command(recorded[task], *more) == 1
    message = capsys.readouterr().err
    assert corpus_class(task).card.license in message and "private" in message
    assert corpus_class(task).card.corpus in message and "Traceback" not in message
    assert not hub.calls


def refused(folder: Path, words: str, hub: Revisions, **options) -> None:
    with pytest.raises(PushRefusedError, match=words):
        push.push(folder, "me/data", **options)
    assert not hub.calls


def test_a_simulated_file_beside_recordings_does_not_make_them_simulated(raw, hub, tmp_path):
    """The file ``SIMULATED`` written by hand, and copied with its hashes from a simulation."""
    folder = tmp_path / "raw"
    shutil.copytree(raw / "tuab", folder, ignore=shutil.ignore_patterns("SIMULATED*"))
    recording = next(folder.rglob("*.edf"))
    with open(recording, "r+b") as file:  # another recording: one sample differs
        file.seek(-2, 2)
        file.write(b"\x01\x02")
    (folder / "SIMULATED").write_text('{"seed": 0, "version": 2}')
    refused(prepare(corpus_class("tuab")(folder), tmp_path / "a", QUIET), "not all files", hub)
    shutil.copy(raw / "tuab" / CHECKSUMS_FILE, folder)
    refused(prepare(corpus_class("tuab")(folder), tmp_path / "b", QUIET), "not all files", hub)


def test_a_recording_added_to_a_simulated_folder_is_noticed(raw, hub, tmp_path):
    folder = Path(shutil.copytree(raw / "tuab", tmp_path / "raw"))
    file = next(folder.rglob("*.edf"))
    other = bytearray(file.read_bytes())  # a byte of the signal differs: it is no copy
    other[-1] ^= 1
    file.with_name("zzzzzzzz_s001_t000.edf").write_bytes(other)
    refused(prepare(corpus_class("tuab")(folder), tmp_path / "out", QUIET), "not all files", hub)


def test_a_file_in_the_way_of_an_interrupted_simulation_is_not_taken_for_simulated(
    raw, tmp_path, monkeypatch
):
    options = {"tasks": ["tuab"], "size": "small", "progress": False}

    def interrupt(folder, settings, complete):
        write_marker(folder, settings, complete)
        if len(list(folder.rglob("*.edf"))) > 2:
            raise KeyboardInterrupt

    write_marker = demo._write_marker
    with monkeypatch.context() as first:
        first.setattr(demo, "_write_marker", interrupt)
        with pytest.raises(KeyboardInterrupt):
            simulate(tmp_path, **options)
    stranger = next((tmp_path / "tuab").rglob("*.edf")).with_name("zzzzzzzz_s001_t000.edf")
    shutil.copy(next((raw / "tuab").rglob("*.edf")), stranger)
    simulate(tmp_path, **options)
    listed = (tmp_path / "tuab" / CHECKSUMS_FILE).read_text("utf-8")
    assert stranger.name not in listed
    assert sorted(listed.splitlines()) == sorted(
        (raw / "tuab" / CHECKSUMS_FILE).read_text("utf-8").splitlines()
    )


def test_a_task_card_that_says_simulated_is_not_believed(recorded, hub, tmp_path):
    folder = Path(shutil.copytree(recorded["tuab"], tmp_path / "tuab"))
    TaskCard.load(folder).replace(simulated=True, license="Apache-2.0").save(folder)
    refused(folder, "task card says simulated, the source was recorded", hub)


def test_a_corpus_under_another_name_is_noticed(recorded, hub, tmp_path):
    folder = Path(shutil.copytree(recorded["tuab"], tmp_path / "chb-mit"))
    TaskCard.load(folder).replace(name="chb-mit").save(folder)
    refused(folder, "Prepare|prepare", hub)
    refused(recorded["tuab"], "may not be published", hub, reader=ChbMit)


def test_windows_of_another_corpus_are_noticed(recorded, hub, tmp_path):
    folder = Path(shutil.copytree(recorded["sleep-edf"], tmp_path / "sleep-edf"))
    shutil.rmtree(folder / "test")
    shutil.copytree(folder / "train", folder / "test")
    refused(folder, "test has windows of recordings", hub)


def test_a_folder_without_its_manifest_or_with_an_edited_one_is_refused(recorded, hub, tmp_path):
    folder = Path(shutil.copytree(recorded["sleep-edf"], tmp_path / "sleep-edf"))
    path = folder / "splits.json"
    manifest = json.loads(path.read_text("utf-8"))
    unit = next(iter(manifest["assignments"]))
    edited = manifest | {"assignments": manifest["assignments"] | {unit: "test"}}
    path.write_text(json.dumps(edited), "utf-8")
    refused(folder, "do not belong together", hub)
    path.write_text(json.dumps({k: v for k, v in manifest.items() if k != "source"}), "utf-8")
    refused(folder, "does not say that SleepEdf prepared it", hub)
    path.unlink()
    refused(folder, "expected the manifest", hub)


@pytest.mark.parametrize("name", ["S001.edf", ".cache", "train/notes.txt", ".git/config.json"])
def test_files_that_do_not_belong_there_are_not_uploaded(name, recorded, hub, tmp_path):
    folder = Path(shutil.copytree(recorded["sleep-edf"], tmp_path / "sleep-edf"))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    refused(folder, "files that no preparation writes: " + name.replace(".", r"\."), hub)


class Mine(PhysionetMi):
    """A corpus that is not in the package."""

    card = PhysionetMi.card.replace(name="mine", license="internal")
    redistributable = False


def test_a_corpus_of_one_s_own_needs_its_class_and_its_leave(raw, hub, tmp_path, monkeypatch):
    source = tmp_path / "raw"
    shutil.copytree(raw / "physionet-mi", source, ignore=shutil.ignore_patterns("SIMULATED*"))
    folder = prepare(Mine(source), tmp_path, QUIET)
    refused(folder, r"--corpus FILE\.py:CLASS", hub)
    refused(folder, "(?s)may not be published.*internal", hub, reader=Mine)
    refused(folder, "class of task 'physionet-mi'", hub, reader=PhysionetMi)
    monkeypatch.setattr(Mine, "redistributable", True)
    assert push.push(folder, "me/data", reader=Mine) == "https://hub/me/data/1"


# All or nothing ------------------------------------------------------------------------------


def test_a_failed_push_leaves_the_old_revision_and_a_second_one_replaces_it(
    recorded, simulated, hub, capsys
):
    assert command(simulated["sleep-edf"]) == 0
    old = dict(hub.revisions[-1])
    old["train/data-00001-of-00002.arrow"] = b"of an earlier layout"
    hub.revisions[-1] = old
    hub.fails = True
    assert command(recorded["sleep-edf"]) == 1
    assert re.match("error: me/data: .*Nothing has changed on the Hub", capsys.readouterr().err)
    assert hub.revisions[-1] == old
    hub.fails = False
    assert command(recorded["sleep-edf"]) == 0
    pushed = dict(hub.revisions[-1])
    assert pushed.pop(".gitattributes") and pushed == content(recorded["sleep-edf"])
    assert hub.calls.count("create_commit") == 3  # one each


def test_a_public_repository_is_not_taken_for_a_private_one(recorded, hub, capsys):
    assert command(recorded["sleep-edf"]) == 0
    assert command(recorded["sleep-edf"], "--private") == 1
    assert "exists and is public" in capsys.readouterr().err
    assert hub.calls.count("create_commit") == 1


def test_folders_that_are_no_corpus_are_named(tmp_path, hub, capsys):
    for folder in (tmp_path, tmp_path / "gone"):
        assert command(folder) == 1
        assert str(folder) in capsys.readouterr().err
    assert not hub.calls
