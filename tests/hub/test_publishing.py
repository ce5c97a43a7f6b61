"""``mteeg push``: what of a folder goes to the Hub, what is refused, and what it replaces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import READ, WRITE
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file
from tiny_models import CARDS, logits_of, model_with_tasks, tiny_model
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

from modeling_mteeg import (
    MteegConfig,
    MteegForPreTraining,
    MteegTokenizerConfig,
    MteegTokenizerModel,
    channel_ids,
    cli,
)
from modeling_mteeg.hub.publication import read_publication
from modeling_mteeg.training.stage_one.saving import save_stage_one

TASKS = ("tuab", "sleep-edf")


@pytest.fixture(scope="module")
def model():
    return model_with_tasks(*TASKS)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> Path:
    """A base with two tasks, as a joint training leaves it."""
    folder = tmp_path_factory.mktemp("joint") / "model"
    save(model, folder)
    return folder


def save(model, folder: Path) -> None:
    model.save_pretrained(folder)
    for task in model.tasks:
        model.save_adapter(task, folder / "adapters" / task)


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def push(hub, monkeypatch, capsys):
    """Run ``mteeg push``; what it printed, on stdout or (with ``fails``) on stderr."""
    monkeypatch.setenv("HF_TOKEN", WRITE)

    def run(folder: Path, *arguments: str, repo: str = "me/base", fails: bool = False) -> str:
        capsys.readouterr()
        code = cli.main(["push", str(folder), "--repo", repo, *arguments])
        out, errors = capsys.readouterr()
        assert code == (2 if fails else 0), errors
        return errors if fails else out

    return run


def test_a_base_and_its_tasks_are_one_commit_and_load(hub, push, folder, model):
    out = push(folder)
    repo = hub.repo("me/base")
    assert len(repo.commits) == 2 and f"pushed {hub.url}/me/base/commit/{repo.head}" in out
    assert repo.commit("main").title == "Upload the base and the tasks sleep-edf, tuab"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    cards = {"README.md", "adapters/tuab/README.md", "adapters/sleep-edf/README.md"}
    assert set(repo.files()) == files | cards | {".gitattributes"} and "stays here" not in out
    assert all(b"me/base" in repo.files()[card] for card in cards - {"README.md"})
    loaded = AutoModel.from_pretrained("me/base")
    for task in TASKS:
        loaded.load_adapter(task)
        card = json.loads(repo.files()[f"adapters/{task}/task.json"])
        assert card["base"]["name_or_path"] == "me/base"
        assert torch.equal(logits_of(loaded, task)[task], logits_of(model, task)[task])
    assert AutoFeatureExtractor.from_pretrained("me/base").notch_hz == 50.0


def test_the_same_folder_again_is_no_commit_and_sends_nothing(hub, push, folder):
    push(folder)
    head, sent = hub.repo("me/base").head, hub.count("PUT", "/files/")
    assert head in push(folder)
    assert hub.repo("me/base").head == head and hub.count("PUT", "/files/") == sent == 5


@pytest.mark.slow
def test_a_tokenizer_is_pushed_and_never_over_a_base(hub, push, folder, tmp_path):
    config = MteegTokenizerConfig.from_preset("tiny", num_codes=16, kmeans_start=False)
    tokenizer = MteegTokenizerModel(config).eval()
    place = save_stage_one(tokenizer, tmp_path / "tokenizer", {"stage": "one", "simulated": True})
    (place / "notes.txt").write_text("mine")
    out = push(place, repo="me/tokenizer")
    assert "neural tokenizer: checked" in out and "stays here: notes.txt" in out
    files = hub.repo("me/tokenizer").files()
    assert hub.repo("me/tokenizer").commit("main").title == "Upload the neural tokenizer"
    assert b"MTEEG neural tokenizer" in files["README.md"] and "notes.txt" not in files
    loaded = AutoModel.from_pretrained("me/tokenizer")
    values = torch.randn(2, 3, 4, 200, generator=torch.Generator().manual_seed(0))
    batch = {
        "input_values": values,
        "channel_ids": torch.from_numpy(channel_ids(["C3", "CZ", "C4"])),
    }
    codes = tokenizer.get_codebook_indices(**batch)
    assert torch.equal(loaded.get_codebook_indices(**batch), codes)
    assert "leave --task out" in push(place, "--task", "tuab", repo="me/tokenizer", fails=True)
    push(folder)
    head = hub.repo("me/base").head
    assert "Choose another repository" in push(place, fails=True)
    assert "Choose another repository" in push(folder, repo="me/tokenizer", fails=True)
    assert hub.repo("me/base").head == head


def test_a_pre_trained_base_is_pushed_with_its_prediction_layer(hub, push, tmp_path):
    torch.manual_seed(0)
    student = MteegForPreTraining(MteegConfig.from_preset("tiny", num_codes=16))
    place = save_stage_one(student, tmp_path / "model", {"stage": "one"})
    push(place)
    loaded = AutoModelForPreTraining.from_pretrained("me/base")
    assert torch.equal(loaded.lm_head.weight, student.lm_head.weight)


def test_tasks_can_be_chosen_and_the_others_stay_as_they_are(hub, push, folder):
    push(folder, "--task", "tuab")
    assert not [path for path in hub.repo("me/base").files() if "sleep-edf" in path]
    push(folder, "--task", "sleep-edf")
    assert "adapters/tuab/task.json" in hub.repo("me/base").files()
    assert "there are: sleep-edf, tuab" in push(folder, "--task", "tuev", fails=True)


def test_only_what_belongs_to_a_model_goes(hub, push, folder):
    for name in ("optimizer.pt", "notes.txt", "recording.edf", "evil.py", "pytorch_model.bin",
                 "data.json", ".env", "adapters/tuab/raw.npy", "checkpoints/1/state.bin",
                 "adapters/tuab/.part/head.safetensors"):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"secret")
    assert set(read_publication(folder).left_out) == {
        ".env", "data.json", "evil.py", "notes.txt", "optimizer.pt", "pytorch_model.bin",
        "recording.edf", "adapters/tuab/ (1)", "adapters/tuab/.part/ (1)", "checkpoints/1/ (1)",
    }  # fmt: skip
    out = push(folder)
    assert "stays here: .env, data.json" in out and out.count(" and 2 more") == 1
    assert "secret" not in str(hub.repo("me/base").files())


def test_check_sends_nothing(hub, push, folder):
    said = push(folder, "--check")
    assert "base, sleep-edf, tuab" in said and "would go: " in said
    listed = {line.split(" (")[0].strip() for line in said.splitlines() if line.startswith("  ")}
    assert {"config.json", "model.safetensors", "adapters/tuab/task.json"} <= listed
    assert not hub.requests


def test_private_branch_message_and_pull_request(hub, push, folder):
    push(folder, "--private", "--message", "Mine")
    repo = hub.repo("me/base")
    head = repo.head
    assert repo.private and repo.commit("main").title == "Mine"
    save(model_with_tasks("tuab", seed=4), folder)
    shutil.rmtree(folder / "adapters" / "sleep-edf")
    push(folder, "--revision", "next", "--prune")
    assert repo.head == head and "adapters/sleep-edf/task.json" not in repo.files("next")
    out = push(folder, "--create-pr", "--prune")
    assert out.strip().endswith("/discussions/1") and repo.head == head
    for revision in ("next", "refs/pr/1"):
        AutoModel.from_pretrained("me/base", revision=revision).load_adapter("tuab")
    assert "found both" in push(folder, "--create-pr", "--revision", "next", fails=True)


def test_a_new_base_does_not_leave_tasks_of_the_old_one_behind(hub, push, folder):
    push(folder)
    old = hub.repo("me/base").head
    save(model_with_tasks("tuab", seed=4), folder)
    shutil.rmtree(folder / "adapters" / "sleep-edf")
    told = push(folder, fails=True)
    assert "holds tasks of another base: adapters/sleep-edf" in told and "--prune" in told
    assert hub.repo("me/base").head == old
    push(folder, "--prune")
    assert not [path for path in hub.repo("me/base").files() if "sleep-edf" in path]
    AutoModel.from_pretrained("me/base", revision=old).load_adapter("sleep-edf")


def test_shards_that_are_no_longer_there_go(hub, push, folder, model):
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")
    push(folder)
    assert "model.safetensors.index.json" in hub.repo("me/base").files()
    assert AutoModel.from_pretrained("me/base").fingerprint() == model.fingerprint()
    for path in folder.glob("model*"):
        path.unlink()
    model.save_pretrained(folder)
    push(folder)
    weights = [path for path in hub.repo("me/base").files() if path.startswith("model") and
               "safetensors" in path]  # fmt: skip
    assert weights == ["model.safetensors"]


def test_one_task_goes_beside_its_base_or_alone(hub, push, folder, model):
    task = folder / "adapters" / "tuab"
    push(task, "--base", "me/base", repo="me/tuab", fails=True)
    push(folder, "--task", "sleep-edf")
    push(task)
    assert "adapters/tuab/task.json" in hub.repo("me/base").files()
    push(task, "--base", "me/base", repo="me/tuab")
    assert "task.json" in hub.repo("me/tuab").files()
    loaded = AutoModel.from_pretrained("me/tuab")
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model, "tuab")["tuab"])


def test_one_task_does_not_go_to_another_base(hub, push, folder):
    tiny_model(seed=5).push_to_hub("me/other")
    task = folder / "adapters" / "tuab"
    assert "Choose another repository" in push(task, repo="me/other", fails=True)
    assert "is another one" in push(task, "--base", "me/other", repo="me/tuab", fails=True)
    hub.add_repo("me/empty")
    assert "holds no base" in push(task, "--base", "me/empty", repo="me/tuab", fails=True)
    assert "does not exist" in push(task, "--base", "me/none", repo="me/tuab", fails=True)
    hub.fail(500, "GET", "/api/models/me/base")
    assert "a fault of its own" in push(task, fails=True)
    assert set(hub.repos) == {"models/me/other", "models/me/empty"}


def damage_head(folder: Path) -> None:
    head = folder / "adapters" / "tuab" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-8])


def other_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[min(weights)] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def fewer_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop(min(weights))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def task_of_another_base(folder: Path) -> None:
    model_with_tasks("tuab", seed=4).save_adapter("tuab", folder / "adapters" / "tuab")


def training_checkpoint(folder: Path) -> None:
    other = model_with_tasks("tuab")
    place = folder.parent / "checkpoint-5"
    other.save_pretrained(place, state_dict=other.state_dict())
    shutil.copytree(place, folder, dirs_exist_ok=True)


def other_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))


def prepared_corpus(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "splits.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (damage_head, "is damaged"),
        (other_weights, "Save the base again"),
        (fewer_weights, "the weights are not those of config.json"),
        (task_of_another_base, "belongs to the base with fingerprint"),
        (training_checkpoint, "a checkpoint of a training"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), "expected a mapping"),
        (other_model, "expected a model of type 'mteeg' or 'mteeg_tokenizer', found 'bert'"),
        (prepared_corpus, "recordings do not go to a model's repository"),
        (lambda folder: (folder / "model.safetensors").unlink(), "only safetensors are pushed"),
        (lambda folder: (folder / "layers.py").unlink(), "the code layers.py"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config"),
        (lambda folder: (folder / "adapters/tuab").rename(folder / "adapters/x"), "rename the f"),
        (lambda folder: (folder / "adapters/tuab/evil.py").touch(), "a task needs no code"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(hub, push, folder, change, words):
    change(folder)
    assert words in push(folder, fails=True)
    assert not hub.requests


def test_the_folder_around_a_model_is_pointed_at(hub, push, folder):
    assert f"Did you mean {folder}?" in push(folder.parent, fails=True)


def test_a_changed_script_is_told(hub, push, folder):
    (folder / "layers.py").write_text((folder / "layers.py").read_text() + "\n")
    assert "differs from this version's: layers.py" in push(folder)


def test_a_base_with_the_code_of_an_earlier_version_is_pushed(hub, push, folder):
    """Its ``hub.py`` has another name today, and what it imports is beside it."""
    (folder / "hub_fetch.py").rename(folder / "hub.py")
    for path in folder.glob("*.py"):
        path.write_text(path.read_text().replace("from .hub_fetch import", "from .hub import"))
    told = push(folder)
    assert "differs from this version's" in told and "hub.py" in told
    assert "hub.py" in hub.repo("me/base").files()


def test_a_push_that_breaks_leaves_the_old_revision(hub, push, folder, monkeypatch):
    push(folder)
    old = hub.repo("me/base").head
    save(model_with_tasks(*TASKS, seed=4), folder)
    hub.fail("cut", "POST", "/commit/")
    told = push(folder, fails=True)
    assert "mteeg push: error: me/base: the connection failed or broke off" in told
    assert f"still at {old[:12]}" in told and hub.repo("me/base").head == old
    hub.faults.clear()
    sent = hub.count("PUT", "/files/")
    push(folder)
    assert hub.repo("me/base").head != old and hub.count("PUT", "/files/") == sent
    monkeypatch.setenv("HF_TOKEN", READ)
    assert "Take one with write access" in push(folder, repo="me/new", fails=True)


def test_what_was_uploaded_with_the_clients_own_command_loads(hub, folder, model):
    api = HfApi(token=WRITE)
    api.create_repo("me/plain")
    api.upload_folder(repo_id="me/plain", folder_path=folder)
    loaded = AutoModel.from_pretrained("me/plain")
    loaded.load_adapter("tuab")
    assert torch.equal(logits_of(loaded)["tuab"], logits_of(model, "tuab")["tuab"])
    assert loaded.tasks["tuab"].labels == CARDS["tuab"].labels
