"""The base behind the page: found, loaded with its tasks, and left as it was by every visitor."""

from __future__ import annotations

import shutil
import threading

import huggingface_hub
import pytest
import torch
from tiny_models import logits_of, model_with_tasks

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.app.served import NoBaseError, ServedModel, adapters_beside, choose_base
from modeling_mteeg.model.adapter_files import AdapterError

TASKS = ("sleep-edf", "chb-mit")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A base with two tasks beside it, and a third one of another owner."""
    root = tmp_path_factory.mktemp("published")
    model = model_with_tasks(*TASKS, "tuev")
    model.save_pretrained(root / "base", tasks=())
    MteegFeatureExtractor().save_pretrained(root / "base")
    for task in TASKS:
        model.save_adapter(task, root / "base" / "adapters" / task)
    model.save_adapter("tuev", root / "guest")
    return root


@pytest.fixture(scope="module")
def served(published):
    return ServedModel.load(str(published / "base"))


@pytest.fixture
def cache(published, tmp_path, monkeypatch):
    """What the Hub's client has downloaded: the base and the guest, and no way to the Hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("base", "guest"):
        repo, commit = tmp_path / f"models--owner--{name}", "0123456789abcdef" * 2 + "01234567"
        shutil.copytree(published / name, repo / "snapshots" / commit)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text(commit)
    return tmp_path


def test_the_base_is_the_one_given_or_the_variable_or_the_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MTEEG_BASE", raising=False)
    with pytest.raises(NoBaseError, match=r"--base owner/repo.*-m modeling_mteeg\.recipes\.joint"):
        choose_base(None)
    demo = tmp_path / "outputs" / "joint_demo" / "model"
    demo.mkdir(parents=True)
    with pytest.raises(NoBaseError):
        choose_base(None)
    (demo / "config.json").touch()
    assert choose_base(None) == "outputs/joint_demo/model"
    monkeypatch.setenv("MTEEG_BASE", "owner/base")
    assert choose_base(None) == "owner/base"
    assert choose_base("mine") == "mine"


def test_all_tasks_beside_the_base_are_offered(served):
    assert set(served.tasks) == set(TASKS) == set(served.model.tasks)
    assert not served.model.training and served.model.active_adapter is None
    assert not any(parameter.requires_grad for parameter in served.model.parameters())


def test_a_base_from_the_hub_brings_its_tasks(cache):
    assert adapters_beside("owner/base") == sorted(TASKS)
    assert set(ServedModel.load("owner/base").tasks) == set(TASKS)


def test_a_guest_is_there_for_one_visitor_and_then_gone(served, cache):
    before, weights = logits_of(served.model, *TASKS), served.model.fingerprint()
    with served.holding("owner/guest") as name:
        assert served.model.tasks[name].labels == tuple("abcdef")
        assert name == "guest" and name not in served.tasks
        within = logits_of(served.model, *TASKS)
    assert set(served.model.tasks) == set(TASKS) and served.model.active_adapter is None
    after = logits_of(served.model, *TASKS)
    for task in TASKS:
        assert torch.equal(before[task], within[task]) and torch.equal(before[task], after[task])
    assert served.model.fingerprint() == weights


def test_a_guest_never_takes_the_place_of_a_task(served, cache):
    for name in ("chb-mit", "train"):  # a task's name, and a method's
        shutil.copytree(cache / "models--owner--guest", cache / f"models--owner--{name}")
        with served.holding(f"owner/{name}") as guest:
            assert guest == f"{name}-from-hub"
            assert served.model.tasks["chb-mit"].labels == ("background", "seizure")


@pytest.mark.parametrize(
    "name", ["/etc", "../base", "guest", "owner/guest/more", "./guest", "owner/guest; rm", "a/.."]
)
def test_only_names_of_repositories_are_looked_up(served, name):
    with pytest.raises(AdapterError, match="expected owner/repo"), served.holding(name):
        pass
    assert set(served.model.tasks) == set(TASKS)


def test_folders_of_the_server_are_not_offered(served, published, tmp_path, monkeypatch):
    """``owner/repo`` could be a folder below the one that the server was started in."""
    shutil.copytree(published / "guest", tmp_path / "owner" / "private")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AdapterError, match="Hub"), served.holding("owner/private"):
        pass


def test_a_public_page_never_uses_the_servers_token(served, monkeypatch):
    given = []
    monkeypatch.setattr(
        type(served.model),
        "load_adapter",
        lambda self, place, name, *, revision, token: given.append((place, revision, token)),
    )
    for public in (False, True):
        page = ServedModel(served.base, served.model, served.extractor, public)
        with page.holding("owner/guest@v1"):
            pass
    assert given == [("owner/guest", "v1", None), ("owner/guest", "v1", False)]


def test_one_visitor_at_a_time_has_the_model(served, cache):
    inside, order = threading.Event(), []

    def second() -> None:
        inside.wait(30)
        with served.holding():
            order.append(("second", set(served.model.tasks)))

    thread = threading.Thread(target=second)
    thread.start()
    with served.holding("owner/guest"):
        inside.set()
        thread.join(0.3)
        order.append(("first", set(served.model.tasks)))
    thread.join(30)
    assert order == [("first", {*TASKS, "guest"}), ("second", set(TASKS))]


def test_a_failed_guest_leaves_the_model_free(served, cache):
    for _ in range(2):
        with pytest.raises(AdapterError), served.holding("owner/absent"):
            pass
    with served.holding() as name:
        assert name is None
