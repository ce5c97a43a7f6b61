"""A search by the recipes: validation chooses, the test waits, nothing is trained twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from recipe_modules import load_recipe
from tiny_people import save_people
from training_program import make_config

from modeling_mteeg.evaluation import intervals
from modeling_mteeg.pictures.style import MissingMatplotlibError
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training import final_report, selected_training
from modeling_mteeg.training import joint_training as loop
from modeling_mteeg.training.search import all_tries, check_search
from modeling_mteeg.training.search_grid import GRID, asked_grid

GRID_WORDS = "search={lr: [1.0e-4, 3.0e-2], epochs: [1, 2]}"


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Few resamples, and no pictures: they are tested elsewhere."""

    def no_picture(*args):
        raise MissingMatplotlibError("none here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 50)
        patch.setattr(final_report, "draw_confusion", no_picture)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return save_people(tmp_path_factory.mktemp("people"), 9, windows=6, strength=0.3)


@pytest.fixture(scope="module")
def joint():
    return load_recipe("joint")


def words(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--tasks", "eegmat", "--output", str(out), "--method",
            "shallow-convnet", "--set", "optimization.batch_size=20", "--set",
            "optimization.warmup_epochs=0", "--set", "checkpoint.every_steps=1", *more]  # fmt: skip


@pytest.fixture(scope="module")
def whole(joint, data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("search") / "out"
    assert joint.main(words(data, out, "--set", GRID_WORDS)) == 0
    return out


def table(out: Path) -> list[dict[str, str]]:
    with open(out / "search.tsv", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_validation_chooses_among_all_settings(whole, joint, data, tmp_path):
    rows = table(whole)
    assert [(row["lr"], row["epochs"]) for row in rows] == [
        ("0.0001", "1"), ("0.0001", "2"), ("0.03", "1"), ("0.03", "2")
    ]  # fmt: skip
    values = [float(row["validation"]) for row in rows]
    marked = [number for number, row in enumerate(rows) if row["chosen"]]
    assert marked == [values.index(max(values))] and len(set(values)) > 1
    record = json.loads((whole / "model/training.json").read_text())
    search = record["search"]
    assert search["budget"] == {"tries": 4, "epochs": 6}
    assert search["grid"] == {"lr": [1e-4, 3e-2], "epochs": [1, 2]}
    assert [each["validation"] for each in search["tries"]] == pytest.approx(values, abs=1e-6)
    best = rows[marked[0]]
    assert search["chosen"] == {"lr": float(best["lr"]), "epochs": int(best["epochs"])}
    assert record["config"]["optimization"]["lr"] == float(best["lr"])
    card = json.loads((whole / "model/tasks/eegmat/task.json").read_text())
    assert card["results"]["training"]["search"] == search
    text = (whole / "model/README.md").read_text()
    assert "| search | lr" in text and "4 tries (6 epochs in all)" in text
    # the same as a training with these settings, which nothing was chosen for
    alone = tmp_path / "alone"
    settings = [
        "--set",
        f"optimization.lr={best['lr']}",
        "--set",
        f"optimization.epochs={best['epochs']}",
    ]
    assert joint.main(words(data, alone, *settings)) == 0
    said = "predictions/eegmat.parquet"
    assert (alone / said).read_bytes() == (whole / said).read_bytes()


def test_only_the_chosen_one_is_tested(joint, data, tmp_path, monkeypatch):
    asked, real = [], selected_training.SelectedTraining.predict
    monkeypatch.setattr(
        selected_training.SelectedTraining, "predict",
        lambda self, split: (asked.append((split, str(self.folder))), real(self, split))[1],
    )  # fmt: skip
    out = tmp_path / "out"
    assert joint.main(words(data, out, "--set", GRID_WORDS, "--set", "floor=false")) == 0
    assert [where for split, where in asked if split == "test"] == [str(out)]


def test_a_killed_search_goes_on(joint, data, whole, tmp_path, monkeypatch):
    out, real, steps = tmp_path / "out", loop.JointTrainer.train_step, []

    class Killed(BaseException):
        pass

    def step(self, *args):
        if len(steps) == 8:
            raise Killed
        steps.append(str(self.folder))
        return real(self, *args)

    monkeypatch.setattr(loop.JointTrainer, "train_step", step)
    with pytest.raises(Killed):
        joint.main(words(data, out, "--set", GRID_WORDS))
    finished = {str(path.parent) for path in out.rglob("try.json")}
    before, steps = list(steps), []
    monkeypatch.setattr(
        loop.JointTrainer,
        "train_step",
        lambda self, *a: (steps.append(str(self.folder)), real(self, *a))[1],
    )
    assert finished and joint.main(words(data, out, "--set", GRID_WORDS)) == 0
    assert not finished & set(steps), "a finished try is not trained again"
    cut = before[-1]
    assert cut not in finished and 0 < steps.count(cut) < steps.count(cut) + before.count(cut)
    assert str(out) not in steps, "nor the chosen one"
    for name in ("search.tsv", "predictions/eegmat.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert len(list(out.rglob("checkpoints"))) == 1, "of the chosen one alone"


def test_a_search_over_heads_trains_each_kind(joint, data, tmp_path):
    out = tmp_path / "out"
    command = words(data, out, "--search", "head", "--set", "floor=false")
    command += ["--method", "mteeg", "--set", "optimization.epochs=1"]
    assert joint.main(command) == 0
    assert [row["head"] for row in table(out)] == list(GRID["head"])
    chosen = next(row["head"] for row in table(out) if row["chosen"])
    card = json.loads((out / "model/adapters/eegmat/task.json").read_text())
    assert card.get("head", {"kind": "mean"})["kind"] == chosen


def test_another_grid_in_the_same_folder_is_refused(joint, data, whole, capsys):
    assert joint.main(words(data, whole, "--set", "search={lr: [1.0e-4]}")) == 2
    assert "search.epochs: there [1, 2], now 'absent'" in capsys.readouterr().err


def test_every_fold_searches_by_its_own_validation(data, tmp_path):
    out = tmp_path / "cv"
    recipe = load_recipe("cross_validate")
    few = ["--set", "optimization.epochs=1", "--set", "floor=false"]
    grid = ["--set", "search={lr: [1.0e-4, 3.0e-2]}"]
    command = words(data, out, "--split", "kfold:3", *grid, *few)
    assert recipe.main(command) == 0
    tables = [table(out / f"shallow-convnet/fold-{fold}/seed-0") for fold in range(3)]
    assert all([row["lr"] for row in rows] == ["0.0001", "0.03"] for rows in tables)
    validations = {tuple(row["validation"] for row in rows) for rows in tables}
    assert len(validations) > 1
    for fold, rows in enumerate(tables):
        chosen = next(row["lr"] for row in rows if row["chosen"])
        place = out / f"shallow-convnet/fold-{fold}/seed-0/model/training.json"
        assert json.loads(place.read_text())["config"]["optimization"]["lr"] == float(chosen)
    assert not list(out.rglob("checkpoints"))


def test_what_cannot_be_searched_is_refused():
    for search, what in (
        ({"x": [1]}, "a dotted key or a short name"),
        ({"lr": []}, "expected a list of values"),
        ({"lr": [1e-3, 1e-3]}, "stands there twice"),
        ({"data.split": ["kfold:2"]}, "the same windows"),
    ):
        with pytest.raises(ConfigError, match=what):
            make_config(search=search)
    with pytest.raises(ConfigError, match="fitted at once"):
        make_config(search={"lr": [1e-3]}, method="band-power", adapter={})
    wrong = make_config(search={"lr": [1e-3, 1e-9], "epochs": [2, 0]})
    with pytest.raises(ConfigError) as error:
        all_tries(wrong, 0, Path("x"))
    text = str(error.value)
    assert (
        "lr=1e-09,epochs=2: optimization: min_lr" in text
        and "epochs=0: optimization.epochs" in text
    )
    assert asked_grid(["lr", "epochs"], {"epochs": [3]}) == {"lr": list(GRID["lr"]), "epochs": [3]}


def test_methods_that_are_compared_have_the_same_budget():
    one = make_config(search={"lr": [1e-3, 1e-2], "epochs": [2, 4]})
    other = make_config(search={"lr": [1e-3, 3e-3], "epochs": [2, 4]}, method="hps", adapter={})
    check_search([one, other])
    more = make_config(search={"lr": [1e-3], "epochs": [2, 4]}, method="hps", adapter={})
    with pytest.raises(ValueError, match="same budget"):
        check_search([one, more])
