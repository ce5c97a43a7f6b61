"""The comparison from the command line to the table: kills, shards, gaps, other results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from recipe_modules import load_recipe
from tiny_people import CARD, save_people

from modeling_mteeg.cards import writing
from modeling_mteeg.comparison import measuring, result_text
from modeling_mteeg.comparison.comparison_plan import load_plan
from modeling_mteeg.comparison.finished_rows import read_rows
from modeling_mteeg.comparison.units import claimed
from modeling_mteeg.pictures.style import MissingMatplotlibError
from modeling_mteeg.training import final_report
from modeling_mteeg.training import joint_training as loop

TASKS = ["eegmat", "adhd"]
ROWS = [
    {"name": "MTEEG", "method": "mteeg"},
    {"name": "a network each", "group": "single-task", "method": "shallow-convnet",
     "separate": True, "seeds": [0]},
    {"name": "band power", "group": "floor", "method": "band-power"},
]  # fmt: skip


def no_picture(*args):
    raise MissingMatplotlibError("none here")


@pytest.fixture(autouse=True, scope="module")
def quick():
    """No pictures, no report: they are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_text, "write_report", row_names)
        patch.setattr(final_report, "draw_confusion", no_picture)
        patch.setattr(writing, "_draw", lambda *args: False)
        patch.setattr(measuring, "_forget_peak", lambda: True)  # half a second each
        yield


def row_names(rows, folder, plan):
    return "\n".join([*(f"{row.name} {sorted(row.tested)}" for row in rows), "end"])


@pytest.fixture(scope="module")
def recipe(quick):
    return load_recipe("comparison")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for number, task in enumerate(TASKS):
        save_people(folder, 9, windows=6 + number, strength=0.15, card=CARD.replace(name=task))
    return folder


def file(folder: Path, data: Path, rows=ROWS, **changes) -> Path:
    """A comparison of tiny trainings, with a learning rate to choose."""
    tree = {
        "common": {
            "model": {"preset": "tiny"},
            "data": {"folder": str(data), "tasks": TASKS},
            "adapter": {"rank": 2},
            "optimization": {"epochs": 2, "batch_size": 48, "warmup_epochs": 0, "lr": 1e-3},
            "seeds": [0, 1],
        },
        "tune": {"grid": {"lr": ["x0.3", "x3"]}, "set": {"optimization.epochs": 1}},
        "rows": list(rows),
        "keep_models": False,
        "output": str(folder / "out"),
        **changes,
    }
    path = folder / "comparison.yaml"
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return path


def changed(path: Path, **common) -> Path:
    """The file with other keys in ``common``."""
    tree = yaml.safe_load(path.read_text("utf-8"))
    for key, value in common.items():
        tree["common"][key] |= value
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return path


@pytest.fixture(scope="module")
def whole(recipe, data, tmp_path_factory) -> Path:
    """The file of a comparison that was done in one go; its output lies beside it."""
    path = file(tmp_path_factory.mktemp("whole"), data)
    assert recipe.main(["--config", str(path)]) == 0
    return path


@pytest.fixture
def copied(whole, tmp_path, data) -> Path:
    """The same in a folder of the test's own."""
    shutil.copytree(whole.parent / "out", tmp_path / "out")
    return file(tmp_path, data)


def predictions(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes()
            for path in sorted(out.rglob("*.parquet")) if "rows" in path.parts}  # fmt: skip


def unit(out: Path, row: str = "MTEEG", part: str = "joint", seed: int = 0) -> Path:
    return out / "rows" / row / part / "fold-0" / f"seed-{seed}"


def test_every_training_leaves_all_that_numbers_are_made_of(whole):
    out = whole.parent / "out"
    rows = read_rows(out)
    assert [row.name for row in rows] == [row["name"] for row in ROWS]
    for row in rows:
        assert not row.missing and set(row.tested) == set(TASKS)
        for task, by_seed in row.tested.items():
            assert set(by_seed) == ({0} if row.name == "a network each" else {0, 1})
            windows = {"eegmat": 24, "adhd": 28}[task]
            assert all(len(said.labels) == windows for (said,) in by_seed.values())
            for seed, facts in row.facts[task].items():
                assert facts["seconds"] > 0 and facts["peak_memory_bytes"] > 1e8
                counts = facts["parameters"]
                assert 0 < counts["run"] <= counts["total"] >= counts["trained"] > 0
                assert facts["settings"]["seeds"] == [seed] and "torch" in facts["versions"]
                assert facts["split_hash"] == "stored" and len(facts["history"]) >= 2
    assert not list(out.rglob("checkpoints")) and not list(out.rglob("model"))
    assert {path.parent.name for path in out.rglob("fold-0")} == {"joint", *TASKS}


def test_the_learning_rate_that_validation_chose_is_the_one_that_trains(whole):
    for place in (whole.parent / "out").rglob("tuning.json"):
        said = json.loads(place.read_text())
        best = max(said["tries"], key=lambda each: each["validation"])
        assert said["seed"] == 100 and said["chosen"] == best["values"]
        assert [each["values"]["lr"] for each in said["tries"]] == [3e-4, 3e-3], (
            "the row's own is neither"
        )
        for file in place.parents[1].glob("seed-*/unit.json"):
            done = json.loads(file.read_text())
            assert done["settings"]["optimization"]["lr"] == best["values"]["lr"]
            assert done["settings"]["optimization"]["epochs"] == 2, "only tries are shorter"
            assert done["tuning"]["chosen"] == best["values"]
        assert (place.parent / "tuning.tsv").read_text().count("*") == 1
    assert not (whole.parent / "out/rows/band_power/joint/fold-0/tuning").exists()


def test_what_is_finished_is_left_alone(recipe, copied, capsys, monkeypatch):
    out = copied.parent / "out"
    before = {path: path.stat().st_mtime_ns for path in (out / "rows").rglob("unit.json")}
    monkeypatch.setattr(recipe, "train", None)
    monkeypatch.setattr(recipe, "fit", None)
    assert recipe.main(["--config", str(copied)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (out / "rows").rglob("unit.json")}
    capsys.readouterr()
    assert recipe.main(["--config", str(copied), "--list"]) == 0
    assert "left: 0 s" in capsys.readouterr().out


def test_a_list_tells_the_time_from_what_was_measured(recipe, copied, capsys):
    out = copied.parent / "out"
    for seed, seconds in ((0, 200.0), (1, 400.0)):
        path = unit(out, seed=seed) / "unit.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": seconds}))
    assert recipe.main(["--config", str(copied), "--list", "--seeds", "0,1,2,3"]) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("MTEEG"))
    assert line.split()[-6:] == ["4", "2", "1", "1", "10", "min"], "two of 300 s each"


def test_results_of_other_settings_are_refused_and_kept(recipe, copied, capsys):
    out = copied.parent / "out"
    before = predictions(out)
    path = changed(copied, optimization={"batch_size": 24}, adapter={"rank": 4})
    assert recipe.main(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "optimization.batch_size (there 48, now 24)" in said
    assert "adapter.rank (there 2, now 4)" in said and "--again" in said
    assert "band power" in said and "a network each, adhd, seed 0" in said
    assert predictions(out) == before


def test_results_on_other_windows_are_refused(recipe, copied, data, tmp_path, capsys):
    other = tmp_path / "data"
    shutil.copytree(data, other)
    card = json.loads((other / "adhd/task.json").read_text())
    (other / "adhd/task.json").write_text(json.dumps(card | {"split_hash": "another"}))
    assert recipe.main(["--config", str(copied), "--data", str(other)]) == 2
    said = capsys.readouterr().err
    assert "windows of adhd (there 'stored', now 'another')" in said
    assert "a network each, adhd, seed 0" in said and "a network each, eegmat" not in said


@pytest.mark.parametrize("name", ["unit.json", "predictions/adhd.parquet"])
def test_a_damaged_file_is_named_and_trained_anew_when_asked(recipe, copied, name, capsys):
    out = copied.parent / "out"
    before, place = predictions(out), unit(out, "a_network_each", "adhd") / name
    place.write_bytes(b"{")
    words = ["--config", str(copied)]
    assert recipe.main(words) == 1
    said = capsys.readouterr()
    assert str(place) in said.err and "--again a network each" in said.out
    assert place.read_bytes() == b"{", "nothing is overwritten without being asked for"
    assert "adhd: a file is damaged" in said.out and said.out.count("finished already") == 4
    assert recipe.main([*words, "--again", "a network each"]) == 0
    assert predictions(out) == before


def test_a_changed_file_of_the_same_length_is_found(recipe, copied, capsys):
    place = unit(copied.parent / "out") / "predictions/adhd.parquet"
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(bytes(content))
    assert recipe.main(["--config", str(copied), "--table"]) == 1
    assert str(place) in capsys.readouterr().err


def test_a_task_that_cannot_be_tested_leaves_a_gap(recipe, data, tmp_path, capsys):
    lacking = tmp_path / "data"
    shutil.copytree(data, lacking)
    shutil.rmtree(lacking / "adhd/test")
    path = file(tmp_path, lacking, ROWS[1:], tune={})
    assert recipe.main(["--config", str(path), "--seeds", "0"]) == 0
    said = capsys.readouterr().out
    assert "left out: task adhd has no split test" in said
    for row in read_rows(tmp_path / "out"):
        assert set(row.tested) == {"eegmat"} and "no split test" in row.missing["adhd"]
    assert recipe.main(["--config", str(path), "--seeds", "0"]) == 0
    assert "epoch" not in capsys.readouterr().out, "and is not tried again and again"


@pytest.mark.parametrize("separate", [False, True])
def test_a_model_that_cannot_take_a_task_goes_on_with_the_others(
    recipe, data, tmp_path, monkeypatch, capsys, separate
):
    from modeling_mteeg.methods import METHODS, TrainingError

    method = METHODS["shallow-convnet"]
    build = method.build.__func__

    def picky(cls, config, cards, seed):
        if "adhd" in config.data.tasks:
            raise TrainingError("Task 'adhd': shallow-convnet needs 2 s, found 1 s.")
        return build(cls, config, cards, seed)

    monkeypatch.setattr(method, "build", classmethod(picky))
    row = {"name": "networks", "method": "shallow-convnet", "separate": separate}
    path = file(tmp_path, data, [row])
    for _ in range(2):
        assert recipe.main(["--config", str(path), "--seeds", "0"]) == 0
        (found,) = read_rows(tmp_path / "out")
        assert set(found.tested) == {"eegmat"} and "needs 2 s" in found.missing["adhd"]


def test_a_training_that_fails_does_not_stop_the_others(recipe, data, tmp_path, capsys):
    rows = [{**ROWS[1], "set": {"optimization.lr": 1e30}, "seeds": [0]}, ROWS[2]]
    path = file(tmp_path, data, rows, tune={})
    assert recipe.main(["--config", str(path)]) == 1
    assert "is not finite" in capsys.readouterr().err
    first, second = read_rows(tmp_path / "out")
    assert set(second.tested) == set(TASKS) and not first.tested


def test_a_try_that_diverges_is_no_candidate(recipe, data, tmp_path):
    path = file(tmp_path, data, [{**ROWS[1], "grid": {"lr": [1e30, 1e-3]}}])
    assert recipe.main(["--config", str(path), "--tasks", "eegmat"]) == 0
    (said,) = [json.loads(place.read_text()) for place in tmp_path.rglob("tuning.json")]
    assert said["chosen"] == {"lr": 1e-3} and "is not finite" in said["tries"][0]["failed"]
    assert "diverged" in next(tmp_path.rglob("tuning.tsv")).read_text()


def test_what_another_process_is_at_is_left_to_it(recipe, data, tmp_path, capsys):
    path = file(tmp_path, data, ROWS[2:], tune={})
    with claimed(unit(tmp_path / "out", "band_power")):
        assert recipe.main(["--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert "seed 0: another process is at it" in said and "seed 0: not finished" in said
    (row,) = read_rows(tmp_path / "out")
    assert set(row.tested["adhd"]) == {1}


def test_rows_of_others_stand_beside_these(recipe, copied, data, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(copied.parent / "out", other / "out")
    note = other / "out/rows/band_power/row.json"
    assert recipe.main(["--config", str(copied), "--table", "--add", str(other / "out")]) == 2
    assert "there is a row 'MTEEG' already" in capsys.readouterr().err
    shutil.rmtree(other / "out/rows/MTEEG")
    shutil.rmtree(other / "out/rows/a_network_each")
    renamed = other / "out/rows/theirs"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"name": "theirs"}))
    note.parent.rename(renamed)
    assert recipe.main(["--config", str(copied), "--table", "--add", str(other / "out")]) == 0
    assert "\ntheirs " in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_one_goes_on_to_the_same_bits(recipe, data, whole, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    words = ["--config", str(file(tmp_path, data)), "--set", "checkpoint.every_steps=1"]
    real, steps = loop.JointTrainer.train_step, []

    def counted(self, *args):
        steps.append(str(self.folder))
        if len(steps) in stops:
            raise Killed
        return real(self, *args)

    monkeypatch.setattr(loop.JointTrainer, "train_step", counted)
    for stop in (2, 6, 12, 17):  # in the tries, in a seed, in a network's
        stops = {stop}
        with pytest.raises(Killed):
            recipe.main(words)
    stops = set()
    assert recipe.main(words) == 0
    assert predictions(tmp_path / "out") == predictions(whole.parent / "out")
    said = [json.loads(place.read_text())["stretches"] for place in tmp_path.rglob("unit.json")]
    assert max(said) > 1


@pytest.mark.slow
def test_shards_on_two_machines_are_the_whole(recipe, data, whole, tmp_path, capsys):
    folders = [tmp_path / f"machine-{number}" for number in (1, 2)]
    for number, folder in enumerate(folders):
        words = ["--shard", f"{number + 1}/2", "--output", str(folder)]
        assert recipe.main(["--config", str(whole), *words]) == 0
        assert "not finished" in capsys.readouterr().out
    mine = {place.relative_to(folders[0]) for place in folders[0].rglob("unit.json")}
    assert not mine & {place.relative_to(folders[1]) for place in folders[1].rglob("unit.json")}
    merge = ["--config", str(whole), "--output", str(tmp_path / "all"), "--merge"]
    assert recipe.main([*merge, *map(str, folders)]) == 0
    assert "not finished" not in capsys.readouterr().out
    assert predictions(tmp_path / "all") == predictions(whole.parent / "out")
    assert recipe.main([*merge, *map(str, folders)]) == 0, "once more takes nothing"
    place = next(tmp_path.glob("machine-*/rows/MTEEG/joint/fold-0/seed-0/unit.json"))
    place.write_text(place.read_text().replace('"adapter.rank": 2', '"adapter.rank": 3'))
    (unit(tmp_path / "all") / "unit.json").unlink()
    assert recipe.main([*merge, *map(str, folders)]) == 2
    assert "adapter.rank (there 3, in the plan 2)" in capsys.readouterr().err


@pytest.mark.slow
def test_folds_over_people_are_tuned_and_tested_each_by_itself(recipe, data, tmp_path):
    path = changed(file(tmp_path, data, ROWS[1:]), data={"split": "kfold:3", "tasks": ["eegmat"]})
    assert recipe.main(["--config", str(path), "--seeds", "0"]) == 0
    for row in read_rows(tmp_path / "out", load_plan(path, {"seeds": [0]})):
        people = [set(said.subjects) for said in row.tested["eegmat"][0]]
        assert len(people) == 3 and len(set.union(*people)) == sum(map(len, people)) == 9
    assert len(list((tmp_path / "out").rglob("tuning.json"))) == 3
    assert len(list((tmp_path / "out/splits").rglob("eegmat.parquet"))) == 3
