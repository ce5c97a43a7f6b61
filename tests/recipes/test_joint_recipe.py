"""The recipe from the command line to the table, on small corpora of noise."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from places import ROOT
from recipe_modules import load_recipe
from tiny_corpora import CARDS, save_corpora, save_corpus
from transformers import AutoModel

from modeling_mteeg.cards import writing
from modeling_mteeg.data import load_corpus, model_inputs
from modeling_mteeg.evaluation import (
    METRICS,
    Metric,
    evaluate_task,
    judge,
    read_predictions,
)
from modeling_mteeg.evaluation import score as score_of
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.settings.plain_json import plain
from modeling_mteeg.training import selected_training
from modeling_mteeg.training.conflict_record import read_conflicts
from modeling_mteeg.training.joint_config import JointConfig
from modeling_mteeg.training.results import replaced, results_table, summarize

JOINT = ROOT / "recipes/joint.py"
SIZES = {"tuab": (16, 6, 7), "seed-v": (18, 9, 9), "sleep-edf": (9, 6, 8)}
FLOOR_FOLDERS = {"commonest_class": "the commonest class", "log_band_power": "log band power"}
SMALL = ["--set", "model.preset=tiny", "--set", "optimization.epochs=2",
         "--set", "optimization.batch_size=12"]  # fmt: skip


@pytest.fixture(scope="module")
def joint():
    return load_recipe("joint")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    card = CARDS["tuab"].replace(simulated=True, split_hash="0123456789abcdef" * 4)
    save_corpus(folder / "tuab", card, SIZES["tuab"])
    return folder


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--output", str(out), *SMALL, *more]


def test_the_whole_recipe(joint, data, tmp_path, capsys):
    out = tmp_path / "out"
    balanced = ("--set", "balancing.rule=progress", "--set", "gradients.every_steps=2")
    assert joint.main(arguments(data, out, "--tasks", ",".join(SIZES), *balanced)) == 0
    text = capsys.readouterr().out
    assert "loaded back" in text and text.count("samples in the next epoch: tuab 8  seed-v 18") == 1
    assert len(read_conflicts(out).steps) == 3 and (out / "gradient_conflicts.png").is_file()
    card = (out / "model/README.md").read_text("utf-8")
    assert "| gradients of tasks | every 2 steps on " in card
    assert "| balancing | progress by training loss" in card
    assert re.search(
        rf"1 process on cpu with {torch.get_num_threads()} threads?, precision no", text
    )
    for task, sizes in SIZES.items():
        row = next(r for r in text.splitlines() if re.match(rf"{task}\s+\S+\s+{sizes[2]}\b", r))
        assert ("simulated" in row) == (task == "tuab")
    results = json.loads((out / "results.json").read_text())
    assert results["simulated"] == {"tuab": True, "seed-v": False, "sleep-edf": False}
    history = json.loads((out / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [0, 1]
    model = AutoModel.from_pretrained(out / "model")
    for task in SIZES:
        card = model.load_adapter(task)
        assert card.simulated == card.results["simulated"] == (task == "tuab")
        assert card.split_hash == TaskCard.load(data / task).split_hash
        assert (card.split_hash is not None) == (task == "tuab")
        reader = load_corpus(data / task).splits["test"]
        found = evaluate_task(model, reader, card)
        for metric, summary in results["test"][task].items():
            assert summary["mean"] == pytest.approx(found[metric], abs=1e-6)
            assert summary["std"] is None
            assert card.results["test"][metric] == summary["mean"]
    check_cards(out / "model", data, results)


def check_cards(folder: Path, data: Path, results: dict) -> None:
    """The model cards say how the run was started, on what, and with which results."""
    record = json.loads((folder / "training.json").read_text())
    assert record["command"].startswith(f"python {JOINT} --data {data} --output ")
    assert record["test"] == results["test"] and record["config"] == results["config"]
    assert len(record["history"]) == record["epochs"] == 2
    text = (folder / "README.md").read_text("utf-8")
    assert record["command"] in text and "**Simulated data**: tuab was trained" in text
    for task, sizes in SIZES.items():
        card = ModelCard.load(folder / "adapters" / task / "README.md")
        (model,) = card.data.to_dict()["model-index"]
        for metric in model["results"][0]["metrics"]:
            mean = results["test"][task][metric["type"]]["mean"]
            assert metric["value"] == pytest.approx(mean, abs=1e-6)
        assert record["command"] in card.text
        assert ("simulated" in card.data.tags) == (task == "tuab")
        for part in (card.text, text):
            assert (
                f"| windows (train / validation / test) | {' / '.join(map(str, sizes))} |" in part
            )


@pytest.mark.slow
def test_a_test_leaves_its_predictions_and_is_judged(joint, data, tmp_path, capsys):
    out = tmp_path / "out"
    more = ["--tasks", "tuab,seed-v", "--seeds", "0,1"]
    assert joint.main(arguments(data, out, *more)) == 0
    text = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    for task in ("tuab", "seed-v"):
        judged, tested = results["judgement"][task], results["test"][task]
        said = [
            read_predictions(out / f"seed-{seed}/predictions/{task}.parquet") for seed in (0, 1)
        ]
        for metric, summary in tested.items():
            again = [score_of(each, each.card)[metric] for each in said]
            assert again == pytest.approx(summary["values"], rel=1e-9), metric
        assert judged == plain(judge(said, {
            floor: read_predictions(out / "floors" / folder / f"{task}.parquet")
            for folder, floor in FLOOR_FOLDERS.items()
        }))  # fmt: skip
        windows, people = SIZES[task][2], len(set(said[0].subjects))
        assert (judged["windows"], judged["people"]) == (windows, people)
        assert re.search(rf"^{task} +\S+ +{windows} +{people} ", text, re.MULTILINE)
        assert judged["sentence"] in re.sub(r"\s+", " ", text)
        subjects = (out / f"seed-1/predictions/{task}_subjects.tsv").read_text().splitlines()
        assert len(subjects) == 1 + people and subjects[1].startswith("s0\t")
        for seed in (0, 1):
            place = out / f"seed-{seed}/model/adapters/{task}"
            assert TaskCard.load(place).results["judgement"] == judged
            assert judged["sentence"] in re.sub(
                r"\s+", " ", (place / "README.md").read_text("utf-8")
            )


@pytest.mark.slow
def test_floors_and_pictures_may_be_left_out(joint, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(writing, "can_draw", lambda: False)
    out = tmp_path / "out"
    assert joint.main(arguments(data, out, "--tasks", "seed-v", "--set", "floor=false")) == 0
    assert not list(out.rglob("*_confusion.png")) and not (out / "floors").exists()
    assert (out / "predictions/seed-v.parquet").is_file()
    assert "band power" not in capsys.readouterr().out
    monkeypatch.undo()
    weights = read_folder(out / "model")
    assert joint.main(arguments(data, out, "--tasks", "seed-v")) == 0, "the same training"
    assert read_folder(out / "model") == weights and (out / "floors").is_dir()
    pytest.importorskip("matplotlib")
    assert (out / "predictions/seed-v_confusion.png").is_file()
    assert (out / "learning_curves.png").is_file()


@pytest.mark.slow
def test_the_selected_epoch_is_tested_and_saved(joint, data, tmp_path, monkeypatch):
    """Not the last one: here the first of two is the best."""
    scores = iter([1.0, 0.5])
    monkeypatch.setattr(selected_training, "monitor_mean", lambda *results: next(scores))
    out = tmp_path / "out"
    assert joint.main(arguments(data, out, "--tasks", "seed-v")) == 0
    first, last = json.loads((out / "history.json").read_text())
    model = AutoModel.from_pretrained(out / "model")
    card = model.load_adapter("seed-v")
    assert card.results["epoch"] == 0
    splits = load_corpus(data / "seed-v").splits
    found = evaluate_task(model, splits["validation"], card)
    assert found == pytest.approx(first["validation"]["seed-v"], rel=1e-4)
    assert found["loss"] != pytest.approx(last["validation"]["seed-v"]["loss"], rel=1e-4)
    tested = json.loads((out / "results.json").read_text())["test"]["seed-v"]["loss"]["mean"]
    assert tested == pytest.approx(evaluate_task(model, splits["test"], card)["loss"], rel=1e-4)


def test_the_shown_configuration_has_every_key_and_is_one(joint, tmp_path, capsys):
    assert joint.main(["--set", "sampling.tuab.fraction=0.2", "--show-config"]) == 0
    path = tmp_path / "shown.yaml"
    path.write_text(capsys.readouterr().out)
    config = JointConfig.load(path)
    assert config.sampling["tuab"].fraction == 0.2 and config.optimization.clip_norm is None
    assert "clip_norm" in path.read_text() and not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_the_monitor_is_the_training_s_choice(joint, data, tmp_path, capsys):
    out = tmp_path / "out"
    words = arguments(data, out, "--tasks", "tuab,sleep-edf")
    choice = ["--set", "monitor={tuab: balanced_accuracy}", "--set", "metrics={tuab: [auroc]}"]
    assert joint.main([*words, *choice]) == 0
    card = AutoModel.from_pretrained(out / "model").load_adapter("tuab")
    assert card.monitor == "balanced_accuracy"
    assert card.metrics == ("auroc", "balanced_accuracy")
    assert TaskCard.load(data / "tuab").monitor == "auroc"  # the prepared data stay as they are
    history = json.loads((out / "history.json").read_text())
    scores = [entry["validation"]["tuab"]["balanced_accuracy"] for entry in history]
    others = [entry["validation"]["sleep-edf"]["cohen_kappa"] for entry in history]
    for entry, score, other in zip(history, scores, others, strict=True):
        assert entry["score"] == pytest.approx((score + other) / 2)
    assert re.search(rf"epoch 1: .*tuab {scores[0]:.3f}", capsys.readouterr().out)
    unfit = arguments(data, tmp_path / "unfit", "--set", "monitor={sleep-edf: auroc}")
    assert joint.main([*unfit, "--tasks", "sleep-edf"]) == 2
    assert "'auroc' is for two classes" in capsys.readouterr().err
    assert not list((tmp_path / "unfit").glob("*"))  # before any work


@pytest.mark.slow
def test_a_second_start_resumes_and_ends_with_the_same(joint, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert joint.main(arguments(data, out, "--tasks", "seed-v")) == 0
    first, weights = (out / "results.json").read_text(), read_folder(out / "model")
    capsys.readouterr()
    assert joint.main(arguments(data, out, "--tasks", "seed-v")) == 0
    text = capsys.readouterr().out
    assert "all epochs are done already" in text and "epoch 1: validation" not in text
    assert (out / "results.json").read_text() == first
    assert read_folder(out / "model") == weights


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_no_run_writes_over_the_results_of_another(joint, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert joint.main(arguments(data, out, "--tasks", "seed-v")) == 0
    shutil.rmtree(out / "checkpoints")  # as one does to save space; the results are still there
    before = contents(out)
    for change, words in (
        (["--set", "optimization.lr=1e-3"], "optimization.lr: there 0.003, now 0.001"),
        (["--seeds", "1"], "seeds: there [0], now [1]"),
        (["--seeds", "0,1"], "seeds: there [0], now [0, 1]"),
        (["--method", "full"], "method: there 'mteeg', now 'full'"),
    ):
        capsys.readouterr()
        assert joint.main(arguments(data, out, "--tasks", "seed-v", *change)) == 2
        text = capsys.readouterr().err
        assert words in text and "--output" in text
        assert contents(out) == before
    (out / "config.yaml").unlink()
    assert joint.main(arguments(data, out, "--tasks", "seed-v")) == 2
    assert "holds history.json, model, results.json, but no config.yaml" in capsys.readouterr().err
    other = ["--tasks", "seed-v", "--set", "optimization.lr=1e-3", "--resume", "never"]
    assert joint.main(arguments(data, out, *other)) == 0
    assert JointConfig.load(out / "config.yaml").optimization.lr == 1e-3


@pytest.mark.slow
def test_a_seed_may_be_added_to_several(joint, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert joint.main(arguments(data, out, "--tasks", "seed-v", "--seeds", "0,1")) == 0
    first = {seed: read_folder(out / f"seed-{seed}/model") for seed in (0, 1)}
    assert stated_seeds(out / "seed-0/model") == [0, 1]
    capsys.readouterr()
    assert joint.main(arguments(data, out, "--tasks", "seed-v", "--seeds", "0,1,2")) == 0
    assert capsys.readouterr().out.count("all epochs are done already") == 2
    assert {seed: read_folder(out / f"seed-{seed}/model") for seed in (0, 1)} == first
    for seed in (0, 1, 2):  # what each says of all of them is new
        assert stated_seeds(out / f"seed-{seed}/model") == [0, 1, 2]
    assert joint.main(arguments(data, out, "--tasks", "seed-v", "--seeds", "0,1")) == 2


def stated_seeds(folder: Path) -> list[int]:
    """Seeds in the results of a saved model, the same in its files and its model cards."""
    seeds = json.loads((folder / "training.json").read_text())["seeds"]
    for place in (folder, folder / "adapters/seed-v"):
        (entry,) = ModelCard.load(place / "README.md").data.to_dict()["model-index"]
        for metric in entry["results"][0]["metrics"]:
            assert metric["args"]["seeds"] == seeds
            assert len(metric["args"]["values"]) == len(seeds)
            assert metric["args"]["std"] == pytest.approx(
                statistics.stdev(metric["args"]["values"]), abs=2e-6
            )
    return seeds


def read_folder(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safe*")}


@pytest.mark.slow
@pytest.mark.parametrize("tasks", ["tuab,seed-v", "sleep-edf"])
def test_several_seeds_and_any_subset_of_tasks(joint, data, tmp_path, capsys, tasks):
    out = tmp_path / "out"
    assert joint.main(arguments(data, out, "--tasks", tasks, "--seeds", "3,5")) == 0
    assert "±" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert results["seeds"] == [3, 5] and list(results["test"]) == tasks.split(",")
    for metrics in results["test"].values():
        loss = metrics["loss"]
        assert len(loss["values"]) == 2 and loss["values"][0] != loss["values"][1]
        assert loss["mean"] == pytest.approx(statistics.fmean(loss["values"]))
        assert loss["std"] == pytest.approx(statistics.stdev(loss["values"]))
    for seed in (3, 5):
        model = AutoModel.from_pretrained(out / f"seed-{seed}/model")
        assert model.load_adapter(tasks.split(",")[-1]).results["seed"] == seed


@pytest.mark.parametrize("tasks", [pytest.param("tuab,seed-v", marks=pytest.mark.slow), "tuab"])
def test_full_fine_tuning(joint, data, tmp_path, tasks):
    out = tmp_path / "out"
    more = ["--tasks", tasks, "--method", "full"]
    assert joint.main(arguments(data, out, *more)) == 0
    model = AutoModel.from_pretrained(out / "model").eval()
    card = model.load_adapter("tuab")
    assert card.results["method"] == "full"
    assert not any("lora" in name for name, _ in model.named_parameters())
    reader = load_corpus(data / "tuab").splits["test"]
    batch = model_inputs(reader, card, torch.arange(3).numpy())
    batch.pop("labels")
    assert model(**batch).logits.shape == (3, 1)


@pytest.mark.slow
def test_a_trained_base_is_a_start(joint, data, tmp_path):
    first = tmp_path / "first"
    assert joint.main(arguments(data, first, "--tasks", "tuab")) == 0
    out = tmp_path / "second"
    more = ["--tasks", "seed-v", "--base", str(first / "model"), "--set", "model.drop_path=0.1"]
    start = [part for part in arguments(data, out, *more) if part != "model.preset=tiny"]
    start.remove("--set")
    assert joint.main([*start, "--retrain-encoder"]) == 0
    card = ModelCard.load(out / "model/README.md")
    assert f"| start | {first / 'model'} |" in card.text and card.data.base_model is None
    assert card.data.license == "unknown", "nobody said what the start is made of"


def test_faults_are_reported_before_any_work(joint, tmp_path, capsys):
    out = tmp_path / "out"
    code = joint.main(["--output", str(out), "--tasks", "tuab,Seed", "--seeds", "0,x",
                       "--set", "optimization.epoch=3", "--method", "fulll"])  # fmt: skip
    assert code == 2 and not out.exists()
    text = capsys.readouterr().err
    for part in ("'x'", "optimization.epoch: unknown key", "'fulll'", "'Seed'"):
        assert part in text
    assert joint.main(["--set", "optimization.epochs"]) == 2
    with pytest.raises(SystemExit):
        joint.main(["--tasks", "tuab,"])
    assert "names with commas between them" in capsys.readouterr().err
    assert joint.main(["--config", str(tmp_path / "none.yaml")]) == 2


def test_missing_data_and_a_missing_base_are_named(joint, data, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert joint.main([*SMALL, "--data", str(data), "--tasks", "tuab,tuev", "--output", out]) == 2
    assert "no prepared corpus for ['tuev']" in capsys.readouterr().err
    gone = str(tmp_path / "gone")
    more = ["--data", str(data), "--tasks", "tuab", "--output", out, "--base", gone]
    assert joint.main(more) == 1
    text = capsys.readouterr().err
    assert gone in text and "mteeg convert" in text


def test_wrong_data_are_named_before_any_training(joint, data, tmp_path, capsys):
    rule = ["--tasks", "seed-v", "--set", "sampling.seed-v.negative_fraction=0.5"]
    assert joint.main(arguments(data, tmp_path / "out", *rule)) == 2
    assert "negative_fraction is for two classes" in capsys.readouterr().err
    shutil.copytree(data / "tuab", tmp_path / "bad" / "tuab")
    (tmp_path / "bad" / "tuab" / "task.json").write_text("{", "utf-8")
    assert joint.main(arguments(tmp_path / "bad", tmp_path / "out", "--tasks", "tuab")) == 2
    assert "task.json is not a task card" in capsys.readouterr().err
    other = tmp_path / "demo" / "raw" / "tuab" / "mine.edf"
    other.parent.mkdir(parents=True)
    other.write_text("", "utf-8")
    assert joint.main(["--tasks", "tuab", "--output", str(tmp_path / "demo")]) == 2
    assert "holds files but no SIMULATED file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and other.exists()


@pytest.mark.slow
def test_every_seed_has_its_own_tracker(joint, data, tmp_path):
    pytest.importorskip("tensorboard")
    out = tmp_path / "out"
    more = ("--tasks", "seed-v", "--set", "tracker=tensorboard", "--seeds", "0,1")
    assert joint.main(arguments(data, out, *more)) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = {path.parent for path in out.rglob("events.out*")}
    assert {folder.name for folder in folders} == {"tensorboard-seed-0", "tensorboard-seed-1"}
    for folder in folders:
        events = EventAccumulator(str(folder))
        events.Reload()
        tags = set(events.Tags()["scalars"])
        assert {"train/seed-v/loss", "validation/score", "train/lr"} <= tags
        assert len(events.Scalars("validation/score")) == 2, "one for each epoch"


def test_the_summary_says_what_is_undefined():
    card = TaskCard("tuab", ("normal", "abnormal"), simulated=True)
    nan = float("nan")
    results = {0: {"tuab": {"auroc": nan, "balanced_accuracy": 0.5, "num_samples": 4.0}}}
    table = results_table(summarize(results), {"tuab": card})
    assert "undefined" in table and "0.500" in table and "made by a program" in table


def test_the_table_has_a_column_for_every_metric(monkeypatch):
    """In the order of the metrics' file; one that this program does not know comes last."""
    monkeypatch.setitem(METRICS, "sensitivity", Metric("sensitivity", "sensitivity", max))
    cards = {
        "tuab": TaskCard("tuab", ("normal", "abnormal"), corpus="TUAB"),
        "tuev": TaskCard("tuev", ("a", "b", "c"), corpus="TUEV"),
    }
    by_task = {
        "tuab": {"unknown": 0.1, "sensitivity": 0.2, "auroc": 0.3, "loss": 7.0, "num_samples": 4},
        "tuev": {"cohen_kappa": 0.4, "balanced_accuracy": 0.5, "loss": 7.0, "num_samples": 5},
    }
    head, _, tuab, tuev = results_table(summarize({0: by_task}), cards).splitlines()
    assert re.split(r"  +", head) == ["task", "data", "windows", "bal. accuracy", "AUROC",
                                      "Cohen's kappa", "sensitivity", "unknown"]  # fmt: skip
    assert tuab.split() == ["tuab", "TUAB", "4", "0.300", "0.200", "0.100"]
    assert tuev.split() == ["tuev", "TUEV", "5", "0.500", "0.400"]


def test_a_saved_model_replaces_an_earlier_one_whole(data, tmp_path):
    from modeling_mteeg import MteegConfig, MteegModel

    model = MteegModel(MteegConfig.from_preset("tiny"))
    model.add_adapter("tuab", card=CARDS["tuab"])
    with replaced(tmp_path / "model") as place:
        Mteeg(model).save(place, {"tuab": {"auroc": float("nan")}})
    (tmp_path / "model" / "stray").write_text("", "utf-8")
    for left in (".model-writing", ".model-old"):  # by a save that was killed
        (tmp_path / left).mkdir()
        (tmp_path / left / "stray").write_text("", "utf-8")
    with replaced(tmp_path / "model") as place:
        Mteeg(model).save(place, {"tuab": {"auroc": 0.5}})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (tmp_path / "model" / "stray").exists()
    assert TaskCard.load(tmp_path / "model/adapters/tuab").results == {"auroc": 0.5}
