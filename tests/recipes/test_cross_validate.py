"""Cross-validation from the command line to the table: folds, seeds, kills, shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import sklearn.metrics as sk
from recipe_modules import load_recipe
from tiny_people import save_people

from modeling_mteeg.evaluation import intervals
from modeling_mteeg.pictures.style import MissingMatplotlibError
from modeling_mteeg.training import final_report
from modeling_mteeg.training import joint_training as loop

pytestmark = pytest.mark.slow

SMALL = ["--set", "model.preset=tiny", "--set", "optimization.epochs=2", "--set",
         "optimization.batch_size=48", "--set", "optimization.warmup_epochs=0"]  # fmt: skip


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("cross_validate")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return save_people(tmp_path_factory.mktemp("people"), 9, windows=6, strength=0.15)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Few resamples, and no pictures: they are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 50)
        patch.setattr(final_report, "draw_confusion", no_picture)
        yield


def no_picture(*args):
    raise MissingMatplotlibError("none here")


def words(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--tasks", "eegmat", "--split", "kfold:3", "--output", str(out),
            *SMALL, *more]  # fmt: skip


@pytest.fixture(scope="module")
def whole(recipe, data, tmp_path_factory) -> Path:
    """All folds of two seeds in one go, and band power beside."""
    out = tmp_path_factory.mktemp("cv") / "cv"
    assert recipe.main(words(data, out, "--seeds", "0,1", "--method", "mteeg,band-power")) == 0
    return out


def contents(out: Path, kind: str = "*.parquet") -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes()
            for path in sorted(out.rglob(kind)) if path.is_file()}  # fmt: skip


def judged(out: Path, method: str = "mteeg") -> dict:
    return json.loads((out / method / "results.json").read_text())["judgement"]["eegmat"]


def test_the_table_is_what_a_hand_computes(whole, capsys):
    def read(seed: int, fold: int) -> pandas.DataFrame:
        place = whole / f"mteeg/fold-{fold}/seed-{seed}/predictions"
        return pandas.read_parquet(place / "eegmat.parquet")

    folds = {seed: [read(seed, fold) for fold in range(3)] for seed in (0, 1)}

    def auroc(table):
        return sk.roc_auc_score(table.label == "arithmetic", table.probability_arithmetic)

    by_fold = [np.mean([auroc(folds[seed][fold]) for seed in (0, 1)]) for fold in range(3)]
    together = np.mean([auroc(pandas.concat(folds[seed])) for seed in (0, 1)])
    said = judged(whole)
    values = said["metrics"]["auroc"]
    assert values["by_fold"] == pytest.approx(by_fold) and len(set(by_fold)) == 3
    assert values["mean"] == pytest.approx(np.mean(by_fold))
    assert values["std"] == pytest.approx(np.std(by_fold, ddof=1))
    assert values["pooled"] == pytest.approx(together)
    assert (said["windows"], said["people"], said["folds"]) == (9 * 12, 9, 3)
    assert np.sum(said["confusion"]) == 2 * 108, "of both seeds"
    floors = [pandas.read_parquet(whole / f"mteeg/fold-{fold}/floors/log_band_power/eegmat.parquet")
              for fold in range(3)]  # fmt: skip
    floor = said["floors"]["log band power"]
    mean = np.mean([auroc(table) for table in floors])
    assert floor["metrics"]["auroc"]["mean"] == pytest.approx(mean)
    assert floor["difference"]["value"] == pytest.approx(np.mean(by_fold) - mean)
    low, high = said["interval"]["low"], said["interval"]["high"]
    assert low < np.mean(by_fold) < high
    text = (whole / "table.txt").read_text()
    assert f"{np.mean(by_fold):.3f} ± {np.std(by_fold, ddof=1):.3f}" in text
    assert (
        f"{np.mean(by_fold):.3f} ± {np.std(by_fold, ddof=1):.3f} over 3 folds (95 %"
        in said["sentence"]
    )
    assert f"pooled {together:.3f}" in said["sentence"] and said["sentence"] in text
    assert list(judged(whole, "band-power")["floors"]) == ["the commonest class"], "not of itself"
    assert "  log band power" in text and "band-power  " in text


def test_every_window_is_tested_once_by_a_fold_that_never_saw_its_person(whole):
    windows = []
    for fold in range(3):
        said = pandas.read_parquet(whole / f"mteeg/fold-{fold}/seed-0/predictions/eegmat.parquet")
        manifest = pandas.read_parquet(whole / f"mteeg/fold-{fold}/splits/eegmat.parquet")
        record = json.loads((whole / f"mteeg/fold-{fold}/seed-0/model/training.json").read_text())
        split = record["data"]["eegmat"]["split"]
        card = json.loads(
            (whole / f"mteeg/fold-{fold}/seed-0/model/adapters/eegmat/task.json").read_text()
        )
        assert card["split_hash"] == split["hash"] and split["fold"] == fold
        mine = manifest[manifest.part == "test"]
        assert list(said.recording) == list(mine.recording) and list(said.onset_s) == list(
            mine.onset_s
        )
        assert not set(said.subject) & set(manifest[manifest.part != "test"].subject)
        windows += list(zip(said.recording, said.onset_s, strict=True))
    assert len(windows) == len(set(windows)) == 108
    pooled = pandas.read_csv(
        whole / "mteeg/pooled/seed-1/predictions/eegmat_subjects.tsv", sep="\t"
    )
    assert len(pooled) == 9 and pooled.windows.sum() == 108


def test_a_finished_fold_is_never_run_again(recipe, data, whole, monkeypatch, capsys):
    before = contents(whole, "*")

    def no(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setitem(recipe.__dict__, "train", no)
    monkeypatch.setitem(recipe.__dict__, "fit_floors", no)
    capsys.readouterr()
    assert recipe.main(words(data, whole, "--seeds", "0,1", "--method", "mteeg,band-power")) == 0
    assert capsys.readouterr().out.count("finished already") == 2 * 3 * 2 + 2 * 3
    assert contents(whole, "*") == before
    assert recipe.main(["--table", "--output", str(whole)]) == 0
    assert (whole / "table.txt").read_text() in capsys.readouterr().out + "\n"


def test_a_killed_one_goes_on_and_ends_as_if_it_had_not_been(
    recipe, data, whole, tmp_path, monkeypatch, capsys
):
    out, real, steps = tmp_path / "cv", loop.JointTrainer.train_step, []

    class Killed(BaseException):
        pass

    def counted(self, *args):
        if len(steps) == 5:  # in the first epoch of the second fold or thereabouts
            raise Killed
        steps.append(str(self.folder))
        return real(self, *args)

    command = words(
        data, out, "--seeds", "0,1", "--method", "mteeg", "--set", "checkpoint.every_steps=1"
    )
    monkeypatch.setattr(loop.JointTrainer, "train_step", counted)
    with pytest.raises(Killed):
        recipe.main(command)
    capsys.readouterr()
    assert recipe.main(["--table", "--output", str(out)]) == 0
    assert "not there yet" in capsys.readouterr().out
    first, done = list(steps), sorted(path.parent.name for path in out.rglob("seed-*/tested.json"))
    assert done == ["seed-0"] and len(set(first)) == 2
    steps.append("again")
    monkeypatch.setattr(
        loop.JointTrainer,
        "train_step",
        lambda self, *a: (steps.append(str(self.folder)), real(self, *a))[1],
    )
    assert recipe.main(command) == 0
    after = steps[steps.index("again") + 1 :]
    per_training = steps.count(first[0])
    assert first[0] not in after, "the finished one is not run again"
    assert (
        0 < after.count(first[-1]) < per_training == first.count(first[-1]) + after.count(first[-1])
    )
    ours = contents(out / "mteeg")
    assert ours and ours == contents(whole / "mteeg")
    assert not list(out.rglob("checkpoints")), "nothing goes on from them"


def test_shards_give_what_one_run_gives(recipe, data, whole, tmp_path, capsys):
    out, texts = tmp_path / "cv", []
    for shard in ("2/3", "3/3", "1/3"):
        capsys.readouterr()
        command = words(
            data, out, "--seeds", "0,1", "--method", "mteeg,band-power", "--shard", shard
        )
        assert recipe.main(command) == 0
        texts.append(capsys.readouterr().out)
    assert all("not there yet" in text for text in texts[:2]) and "not there yet" not in texts[2]
    assert contents(out) == contents(whole)
    assert (out / "table.txt").read_bytes() == (whole / "table.txt").read_bytes()
    for method in ("mteeg", "band-power"):
        assert judged(out, method) == judged(whole, method)


def test_leaks_of_the_folds_are_named(recipe, data, tmp_path, capsys):
    out = tmp_path / "cv"
    command = ["--data", str(data), "--tasks", "eegmat", "--output", str(out), "--method",
               "band-power", "--split", "kfold:3+few-shot:2", "--set", "floor=false"]  # fmt: skip
    assert recipe.main(command) == 0
    line = "leaks of the split in 3 of 3 folds, such as: train and test share 3 subject(s): p0"
    assert line in capsys.readouterr().out and line in (out / "table.txt").read_text()
    said = judged(out, "band-power")
    assert said["windows"] == 108 - 9 * 2 and said["floors"] == {}
    assert [split["fold"] for split in said["splits"]] == [0, 1, 2]
    assert len({split["hash"] for split in said["splits"]}) == 3


def test_what_does_not_fit_is_refused(recipe, data, whole, tmp_path, capsys):
    seeds = ["--seeds", "0,1", "--method", "mteeg"]
    for more, what in (
        (["--set", "optimization.lr=0.1"], "optimization.lr: there"),
        (["--split-seed", "1"], "data.split_seed"),
        (["--shard", "4/3"], "--shard: expected"),
        (["--fold", "1"], "data.fold"),
        (["--split", "within-subject"], "without folds"),
        (["--split", "kfold:10"], "as many folds as people"),
    ):
        assert recipe.main(words(data, whole, *seeds, *more)) == 2
        assert what in capsys.readouterr().err
    other = [*words(data, whole, "--method", "linear-probe"), "--split", "kfold:4"]
    assert recipe.main(other) == 2
    assert "other data.split" in capsys.readouterr().err and not (whole / "linear-probe").exists()
    assert recipe.main(["--table", "--output", str(tmp_path)]) == 2
    assert "no cross-validation" in capsys.readouterr().err


def test_a_fold_on_other_windows_is_refused(recipe, data, tmp_path, capsys):
    out = tmp_path / "cv"
    command = [
        "--tasks",
        "eegmat",
        "--split",
        "kfold:3",
        "--output",
        str(out),
        "--method",
        "band-power",
    ]
    assert recipe.main([*command, "--data", str(data)]) == 0
    other = save_people(tmp_path / "other", 9, windows=7)
    assert recipe.main([*command, "--data", str(other)]) == 1
    assert "other windows" in capsys.readouterr().err
