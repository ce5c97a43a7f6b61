"""A task on a base that has tasks: the others stay, bit for bit, and answer as before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hub_server import WRITE
from recipe_modules import load_recipe
from tiny_corpora import CARDS, save_corpora

from modeling_mteeg import cli
from modeling_mteeg.data import load_corpus, model_inputs
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.model.modeling_mteeg import MteegModel
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.training.joint_config import JointConfig
from modeling_mteeg.training.launch import TrainingError
from modeling_mteeg.training.standing_tasks import settle_encoder

SIZES = {"tuab": (16, 6, 7), "seed-v": (18, 9, 9), "sleep-edf": (9, 6, 8)}
QUICK = ["--set", "optimization.epochs=1", "--set", "optimization.batch_size=12",
         "--set", "optimization.warmup_epochs=0", "--set", "floor=false"]  # fmt: skip


@pytest.fixture(scope="module")
def joint():
    return load_recipe("joint")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def trained(joint, data, tmp_path_factory) -> Path:
    """A base with two tasks, as the recipe leaves it."""
    out = tmp_path_factory.mktemp("first")
    options = ["--data", str(data), "--tasks", "tuab,seed-v", "--output", str(out)]
    assert joint.main([*options, *QUICK, "--set", "model.preset=tiny"]) == 0
    return out / "model"


@pytest.fixture
def base(trained, tmp_path) -> Path:
    """A copy of it, which a test may change."""
    shutil.copytree(trained, tmp_path / "base")
    return tmp_path / "base"


def train(joint, data, base: Path, out: Path, *more: str, task: str = "sleep-edf") -> int:
    start = ["--data", str(data), "--tasks", task, "--base", str(base), "--output", str(out)]
    return joint.main([*start, *QUICK, *more])


def content(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def logits(place: Path, data: Path, task: str) -> torch.Tensor:
    model = MteegModel.from_pretrained(place).eval()
    card = model.load_adapter(task)
    batch = model_inputs(load_corpus(data / task).splits["test"], card, torch.arange(5).numpy())
    batch.pop("labels")
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.parametrize("method", ["mteeg", "linear-probe"])
def test_a_new_task_joins_and_the_others_stay_bit_for_bit(
    joint, data, base, tmp_path, capsys, method
):
    before = content(base)
    said = {task: logits(base, data, task) for task in ("tuab", "seed-v")}
    model = tmp_path / "out" / "model"
    assert train(joint, data, base, tmp_path / "out", "--method", method) == 0
    after = content(model)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed <= {"README.md"}, "the base, its record and its tasks are copied as they are"
    new = {name.split("/")[1] for name in set(after) - set(before)}
    assert new == {"sleep-edf"} and content(base) == before
    assert MteegModel.from_pretrained(model).fingerprint() == (
        MteegModel.from_pretrained(base).fingerprint()
    )
    for task, earlier in said.items():
        assert torch.equal(logits(model, data, task), earlier)
    assert logits(model, data, "sleep-edf").shape == (5, 3)
    readme = after["README.md"].decode()
    assert all(f"| {task} |" in readme for task in SIZES)
    card = TaskCard.load(model / "adapters" / "sleep-edf")
    assert card.results["training"]["beside"] == ["seed-v", "tuab"]
    assert card.results["training"]["train_temporal_encoder"] is False
    printed = capsys.readouterr().out
    assert "with it its tasks seed-v, tuab" in printed
    assert "the same base, with seed-v, sleep-edf, tuab" in printed


@pytest.mark.slow
def test_started_once_more_it_is_finished_already(joint, data, base, tmp_path):
    assert train(joint, data, base, tmp_path / "out") == 0
    first = content(tmp_path / "out" / "model")
    assert train(joint, data, base, tmp_path / "out") == 0
    assert content(tmp_path / "out" / "model") == first


def test_every_seed_has_the_whole_base(joint, data, base, tmp_path):
    assert train(joint, data, base, tmp_path / "out", "--seeds", "0,1") == 0
    for seed in (0, 1):
        model = tmp_path / "out" / f"seed-{seed}" / "model"
        assert sorted(path.name for path in (model / "adapters").iterdir()) == sorted(SIZES)
        card = TaskCard.load(model / "adapters" / "sleep-edf")
        assert card.results["seeds"] == [0, 1]
        assert (model / "training.json").read_bytes() == (base / "training.json").read_bytes()


def test_a_new_base_is_made_when_asked_for_and_says_what_that_means(
    joint, data, base, tmp_path, capsys
):
    assert train(joint, data, base, tmp_path / "out", "--retrain-encoder") == 0
    model = tmp_path / "out" / "model"
    assert [path.name for path in (model / "adapters").iterdir()] == ["sleep-edf"]
    assert MteegModel.from_pretrained(model).fingerprint() != (
        MteegModel.from_pretrained(base).fingerprint()
    )
    assert "seed-v, tuab stay behind" in capsys.readouterr().out


def test_a_task_of_that_name_is_replaced_only_when_told(joint, data, base, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(joint, data, base, out, task="tuab") == 2
    error = capsys.readouterr().err
    assert "has the task tuab already" in error and "--replace-tasks" in error and not out.exists()
    assert train(joint, data, base, out, "--replace-tasks", task="tuab") == 0
    before, after = content(base / "adapters"), content(out / "model" / "adapters")
    assert before.keys() == after.keys()
    changed = {name.split("/")[0] for name in before if before[name] != after[name]}
    assert changed == {"tuab"}


def test_into_the_base_s_own_folder(joint, data, base, tmp_path, capsys):
    before = content(base)
    assert train(joint, data, base, tmp_path / "out", "--into-base") == 0
    after = content(base)
    assert {name for name in before if before[name] != after[name]} <= {"README.md"}
    added = {name.split("/")[1] for name in set(after) - set(before)}
    assert added - {".mteeg.lock"} == {"sleep-edf"}
    own = content(tmp_path / "out" / "model" / "adapters" / "sleep-edf")
    assert content(base / "adapters" / "sleep-edf") == own
    assert logits(base, data, "sleep-edf").shape == (5, 3)
    assert "stand on it now" in capsys.readouterr().out
    assert train(joint, data, base, tmp_path / "out", "--into-base") == 0  # finished: as it is
    assert content(base) == after
    assert train(joint, data, base, tmp_path / "other", "--into-base") == 2  # another training
    assert "has the task sleep-edf already" in capsys.readouterr().err
    assert content(base) == after


def test_a_method_that_trains_the_base_says_what_it_would_leave(
    joint, data, base, tmp_path, capsys
):
    assert train(joint, data, base, tmp_path / "out", "--method", "hps") == 2
    error = capsys.readouterr().err
    assert (
        "tasks seed-v, tuab, which would be left behind" in error and "--retrain-encoder" in error
    )
    assert train(joint, data, base, tmp_path / "out", "--method", "hps", "--retrain-encoder") == 0
    assert "a new base" in capsys.readouterr().out


@pytest.mark.slow
def test_a_base_on_the_hub_gets_the_task_by_a_push(
    joint, data, trained, tmp_path, hub, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", WRITE)
    assert cli.main(["push", str(trained), "--repo", "me/base"]) == 0
    before = hub.repo("me/base").files()
    model = tmp_path / "out" / "model"
    assert train(joint, data, "me/base", tmp_path / "out") == 0
    for name, file in before.items():
        if name != "README.md" and name.partition("/")[0] != ".gitattributes":
            assert (model / name).read_bytes() == file, name
    assert cli.main(["push", str(model), "--task", "sleep-edf", "--repo", "me/base"]) == 0
    after = hub.repo("me/base").files()
    assert all(after[name] == file for name, file in before.items() if name != "README.md")
    new = {name.split("/")[1] for name in set(after) - set(before)}
    assert new == {"sleep-edf"} and b"| sleep-edf |" in after["README.md"]


def config(base: str | None, **fields) -> JointConfig:
    model = {"base": base} if base else {"preset": "tiny"}
    return JointConfig.build({"model": model, "data": {"folder": "x", "tasks": ["tuab"]}, **fields})


def test_a_base_without_tasks_is_trained_as_before(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "bare", ignore=shutil.ignore_patterns("adapters"))
    for start in (None, str(tmp_path / "bare")):
        settled, text = settle_encoder(config(start))
        assert settled.train_temporal_encoder is True and text == ""
        assert settled.identity() == config(start).identity()
        assert settled.identity() == config(start, train_temporal_encoder=True).identity()
        frozen, _ = settle_encoder(config(start, train_temporal_encoder=False))
        assert frozen.train_temporal_encoder is False


def test_a_configuration_that_leaves_it_open_acts_as_the_recipe_does(trained):
    for base, trains in ((str(trained), False), (None, True)):
        method = Mteeg.build(config(base), {"tuab": CARDS["tuab"]}, 0)
        assert method.facts()["train_temporal_encoder"] is trains
    method = Mteeg.build(config(str(trained), train_temporal_encoder=True), CARDS, 0)
    assert method.facts()["train_temporal_encoder"] is True


@pytest.mark.slow
def test_where_the_hub_cannot_be_asked_nothing_is_guessed(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TrainingError, match=r"(?s)owner/base.*--retrain-encoder"):
        settle_encoder(config("owner/base"))
    settled, _ = settle_encoder(config("owner/base", train_temporal_encoder=False))
    assert settled.train_temporal_encoder is False
    with pytest.raises(TrainingError, match=r"mteeg push .*model --repo owner/base"):
        settle_encoder(config("owner/base", train_temporal_encoder=False, into_base=True))


def test_the_base_s_own_folder_takes_one_seed(tmp_path):
    with pytest.raises(ValueError, match="into_base: expected one seed, found 2"):
        config(str(tmp_path), into_base=True, seeds=[0, 1])
