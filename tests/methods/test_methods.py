"""Every method goes through the same data, selection, results, tables and cards."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from huggingface_hub import ModelCard
from places import ROOT
from published_networks import TINY
from recipe_modules import load_recipe
from safetensors.torch import load_file
from tiny_corpora import CARDS, save_corpora
from training_program import make_config

from modeling_mteeg.data import load_corpora, model_inputs
from modeling_mteeg.evaluation import evaluate_task
from modeling_mteeg.methods import METHODS, Method, TrainingError
from modeling_mteeg.methods.band_power import BANDS_HZ, BandPower, BandPowerOptions
from modeling_mteeg.methods.labram import LabramMethod
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.fitted_training import FittedTrainer
from modeling_mteeg.training.joint_training import JointTrainer
from modeling_mteeg.training.optimization import build_optimizer

SIZES = {"tuab": (16, 8, 7), "seed-v": (27, 9, 9)}
SMALL = ["--set", "model.preset=tiny", "--set", "optimization.epochs=2",
         "--set", "optimization.batch_size=12", "--tasks", ",".join(SIZES)]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def corpora(data):
    return load_corpora(data, tuple(SIZES))


OTHERS = {*TINY, "full", "cgc", "hps", "mmoe", "linear-probe"} - {"sparcnet"}
EVERY = [pytest.param(name, marks=pytest.mark.slow if name in OTHERS else ()) for name in METHODS]
"""Of the methods that go the same way one by default."""


class Runs(dict):
    """What the recipe left of every method, by name; it runs when it is asked for."""

    def __init__(self, data, tmp_path_factory):
        self.data, self.folders = data, tmp_path_factory

    def __missing__(self, name):
        folder = self[name] = self.folders.mktemp(name)
        words = ["--data", str(self.data), "--output", str(folder), "--method", name, *SMALL]
        if name in ("mmoe", "cgc"):  # six experts are no other code than two
            words += ["--set", "method_options.shared=2"]
        for key, value in TINY.get(name, {}).items():
            words += ["--set", f"method_options.{key}={value}"]
        assert load_recipe("joint").main(words) == 0, name
        return folder


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    return Runs(data, tmp_path_factory)


def trainer_of(method: Method, config, corpora, folder, kind=JointTrainer):
    accelerator = Accelerator(cpu=True)
    if kind is FittedTrainer:
        return FittedTrainer(config, corpora, method, accelerator, 0, folder)
    optimizer = build_optimizer(method, config.optimization)
    return JointTrainer(config, corpora, method, optimizer, accelerator, 0, folder)


def finish(trainer, epochs: int | None = None) -> None:
    trainer.resume()
    while not trainer.finished and trainer.progress.epoch != epochs:
        trainer.train_epoch()
        trainer.finish_epoch()
        trainer.save_checkpoint()


@pytest.mark.parametrize("name", EVERY)
def test_every_method_ends_in_results_that_its_saved_folder_gives_again(name, runs, corpora):
    results = json.loads((runs[name] / "results.json").read_text())["test"]
    assert list(results) == list(SIZES)
    for task in SIZES:
        method = METHODS[name].load(runs[name] / "model", task)
        corpus = corpora[task]
        measured = evaluate_task(method, corpus.splits["test"], corpus.card)
        for metric, summary in results[task].items():
            assert summary["mean"] == pytest.approx(measured[metric], abs=1e-6), metric
        stored = json.loads(
            (method.task_folder(runs[name] / "model", task) / "task.json").read_text()
        )
        assert stored["results"]["method"] == name
        assert stored["results"]["test"]["auroc" if task == "tuab" else "cohen_kappa"] is not None


@pytest.mark.parametrize("name", EVERY)
def test_the_card_tells_the_method_and_no_other_one(name, runs):
    folder = runs[name] / "model"
    record = json.loads((folder / "training.json").read_text())
    texts = [path.read_text("utf-8") for path in sorted(folder.rglob("README.md"))]
    assert texts and all(record["command"] in text for text in texts)
    for text in texts:
        assert f"| method | {record['method_title']} |" in text
        assert ("low-rank adapter" in text) == ("Low-Rank Adaptation" in text) == (name == "mteeg")
        assert ("MTEEG base" in text or "MTEEG adapter" in text) == (name == "mteeg")
        card = ModelCard(text)
        assert ("lora" in card.data.tags) == (name == "mteeg")
        assert "eeg" in card.data.tags and card.data.to_dict()["model-index"]
    without = {name: None for name in METHODS if not METHODS[name].needs_model}
    encoder = {"linear-probe": "| temporal encoder | frozen |", **without}.get(
        name, "| temporal encoder | trained |"
    )
    assert ("temporal encoder |" in texts[0]) == (encoder is not None)
    assert encoder is None or all(encoder in text for text in texts)


@pytest.mark.slow
def test_full_over_several_tasks_is_hps(runs):
    full, hps = (load_file(runs[name] / "model/model.safetensors") for name in ("full", "hps"))
    assert full.keys() == hps.keys() and all(torch.equal(full[key], hps[key]) for key in full)
    for name in ("full", "hps"):
        record = json.loads((runs[name] / "model/training.json").read_text())
        assert "hard parameter sharing (HPS)" in record["method_title"]


def test_one_task_trained_whole_is_full_fine_tuning():
    config = make_config(("tuab",), method="full", adapter={})
    facts = METHODS["full"].build(config, CARDS, 0).facts()
    assert "full fine-tuning" in facts["method_title"] and facts["train_temporal_encoder"]


def test_a_linear_probe_trains_heads_alone_each_at_its_own_best_epoch(corpora, tmp_path):
    config = make_config(tuple(SIZES), method="linear-probe", adapter={}, optimization__epochs=4)
    method = METHODS["linear-probe"].build(config, {t: c.card for t, c in corpora.items()}, 0)
    trainer = trainer_of(method, config, corpora, tmp_path)
    assert {name.split(".")[0] for name in trainer.trainable()} == {"heads"}
    kept, real = [], trainer.finish_epoch

    def finish_epoch():
        kept.append({name: p.detach().clone() for name, p in trainer.trainable().items()})
        return real()

    trainer.finish_epoch = finish_epoch
    finish(trainer)
    trainer.select_best()
    for task, epoch in trainer.chosen_epochs().items():
        monitor = corpora[task].card.monitor
        values = [entry["validation"][task][monitor] for entry in trainer.progress.history]
        assert epoch == values.index(max(values))
        for part in ("weight", "bias"):
            name = f"heads.{task}.{part}"
            assert torch.equal(trainer.trainable()[name], kept[epoch][name])


def test_an_undefined_monitor_gives_way_to_a_defined_one(corpora, tmp_path):
    config = make_config(tuple(SIZES), method="linear-probe", adapter={})
    method = METHODS["linear-probe"].build(config, {t: c.card for t, c in corpora.items()}, 0)
    trainer = trainer_of(method, config, corpora, tmp_path)
    for epoch, (auroc, kappa) in enumerate([(math.nan, 0.5), (0.9, 0.4), (0.8, math.nan)]):
        trainer.select({"tuab": {"auroc": auroc}, "seed-v": {"cohen_kappa": kappa}}, 0.0, epoch)
    assert trainer.chosen_epochs() == {"tuab": 1, "seed-v": 0}


def test_selection_by_task_needs_parameters_of_tasks(corpora, tmp_path, monkeypatch):
    config = make_config(tuple(SIZES))
    method = METHODS["mteeg"].build(config, {t: c.card for t, c in corpora.items()}, 0)
    monkeypatch.setattr(type(method), "selection", "task")
    trainer = trainer_of(method, config, corpora, tmp_path)
    trainer.select({"tuab": {"auroc": 0.5}, "seed-v": {"cohen_kappa": 0.5}}, 0.5, 0)
    with pytest.raises(TrainingError, match=r"temporal_encoder.*may not share what it trains"):
        trainer.select_best()


@pytest.mark.parametrize("stop", [1, 3])
def test_a_fitted_method_goes_on_after_a_kill_to_the_same_end(corpora, tmp_path, stop):
    config = make_config(
        tuple(SIZES),
        method="band-power",
        method_options={"strengths": [1e-3, 0.1, 1, 10]},
        adapter={},
    )
    cards = {task: corpus.card for task, corpus in corpora.items()}

    def start(folder):
        return trainer_of(BandPower.build(config, cards, 0), config, corpora, folder, FittedTrainer)

    whole, first = start(tmp_path / "whole"), start(tmp_path / "parts")
    finish(whole)
    finish(first, stop)
    again = start(tmp_path / "parts")
    finish(again)
    assert again.progress == whole.progress and again.chosen_epochs() == whole.chosen_epochs()
    assert again.best.keys() == whole.best.keys()
    assert all(torch.equal(again.best[name], whole.best[name]) for name in whole.best)
    for trainer in (whole, again):
        trainer.select_best()
    assert again.evaluate("test") == whole.evaluate("test")
    other = make_config(
        tuple(SIZES), method="band-power", method_options={"strengths": [1.0]}, adapter={}
    )
    trainer = FittedTrainer(
        other, corpora, first.method, Accelerator(cpu=True), 0, tmp_path / "parts"
    )
    with pytest.raises(RuntimeError, match=r"method_options\.strengths"):
        trainer.resume()


def test_band_power_is_that_of_a_sine_in_its_band():
    card = CARDS["tuab"].replace(channels=("FP1", "FP2", "C3", "C4", "O1", "O2"))
    time = np.arange(2000) / 200
    signal = np.stack([np.sin(2 * np.pi * hz * time) for hz in (2.5, 6, 10, 20, 40)])
    values = torch.zeros(1, len(card.channels), 10, 200)
    values[0, :5] = torch.from_numpy(signal).float().view(5, 10, 200)
    method = BandPower({"tuab": card}, BandPowerOptions())
    powers = method.features("tuab", {"input_values": values}).reshape(len(card.channels), -1)
    assert powers.shape[1] == len(BANDS_HZ) == 5
    assert powers[:5].argmax(1).tolist() == [0, 1, 2, 3, 4]
    assert np.isfinite(powers).all(), "flat channels, too"


@pytest.mark.parametrize("task", ["tuab", "seed-v"])
def test_band_power_is_scikit_learns_pipeline(task, corpora):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    corpus = corpora[task]
    method = BandPower({task: corpus.card}, BandPowerOptions())
    splits = {}
    for name in ("train", "test"):
        reader = corpus.splits[name]
        batch = model_inputs(reader, corpus.card, np.arange(len(reader)))
        splits[name] = method.features(task, batch), batch["labels"].numpy(), batch
    features, labels, _ = splits["train"]
    loss = method.fit(task, features, labels, 0.1)
    plain = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
    ).fit(features, labels)
    logits = method.predict_logits(task, splits["test"][2])
    expected = plain.predict_proba(splits["test"][0])
    np.testing.assert_allclose(corpus.card.probabilities(logits), expected, atol=1e-5)
    chances = plain.predict_proba(features)[np.arange(len(labels)), labels]
    assert loss == pytest.approx(-np.log(chances).mean(), rel=1e-4)


@pytest.mark.parametrize("present", [[0], [1], [0, 2], [0, 1, 2]])
def test_classes_that_no_training_window_has_are_never_predicted(present):
    card = CARDS["tuab"].replace(name="three", labels=("a", "b", "c"), loss="cross_entropy",
                                 metrics=("cohen_kappa",), monitor="cohen_kappa")  # fmt: skip
    method = BandPower({"three": card}, BandPowerOptions())
    random = np.random.default_rng(0)
    labels = random.choice(present, 60)
    features = random.normal(size=(60, 4)) + labels[:, None]
    method.fit("three", features, labels, 1.0)
    probabilities = card.probabilities(method.predict_features("three", features)).numpy()
    assert set(probabilities.argmax(1)) == set(present)
    absent = [label for label in range(3) if label not in present]
    assert (probabilities[:, absent] < 1e-6).all()


def documented(name: str) -> str:
    """The block of docs/methods.md that defines a class."""
    text = (ROOT / "docs/methods.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (code,) = [block for block in blocks if f"class {name}(" in block]
    return code


@pytest.fixture
def small_network(tmp_path, monkeypatch) -> type[Method]:
    """The method that docs/methods.md shows, as it stands there."""
    code = documented("SmallNetwork")
    (tmp_path / "documented_method.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "documented_method", raising=False)
    method = importlib.import_module("documented_method").SmallNetwork
    monkeypatch.delitem(Method.by_name, "small-network")  # for this test only
    monkeypatch.setitem(METHODS, "small-network", method)
    return method


@pytest.mark.slow
def test_a_network_without_labram_goes_through_the_whole_recipe(small_network, data, tmp_path):
    out = tmp_path / "out"
    words = ["--data", str(data), "--output", str(out), "--method", "small-network", *SMALL]
    words += ["--set", "model.preset=null", "--set", "optimization.max_tokens=5"]
    assert load_recipe("joint").main(words) == 0
    test_every_method_ends_in_results_that_its_saved_folder_gives_again(
        "small-network", {"small-network": out}, load_corpora(data, tuple(SIZES))
    )
    text = (out / "model/README.md").read_text("utf-8")
    assert "a small convolutional network a task" in text and "LaBraM" not in text


def test_a_network_without_labram_goes_on_after_a_kill(small_network, corpora, tmp_path):
    config = make_config(tuple(SIZES), method="small-network", adapter={})
    cards = {task: corpus.card for task, corpus in corpora.items()}

    def start(folder):
        return trainer_of(small_network.build(config, cards, 0), config, corpora, folder)

    whole, first = start(tmp_path / "whole"), start(tmp_path / "parts")
    finish(whole)
    finish(first, 1)
    again = start(tmp_path / "parts")
    finish(again)
    assert again.progress == whole.progress and again.chosen_epochs() == whole.chosen_epochs()
    again.select_best()
    whole.select_best()
    assert again.evaluate("test") == whole.evaluate("test")


def test_a_documented_method_on_labram_trains_what_it_says(corpora, tmp_path, monkeypatch):
    code = documented("BitFit")
    names = {"LabramMethod": LabramMethod}
    exec(code, names)
    monkeypatch.delitem(Method.by_name, "bitfit")  # for this test only
    monkeypatch.setitem(METHODS, "bitfit", names["BitFit"])
    config = make_config(tuple(SIZES), method="bitfit", adapter={}, optimization__epochs=1)
    method = names["BitFit"].build(config, {t: c.card for t, c in corpora.items()}, 0)
    trainer = trainer_of(method, config, corpora, tmp_path)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    finish(trainer)
    for name, parameter in trainer.model.named_parameters():
        trained = name.endswith("bias") or name.startswith("heads.")
        assert torch.equal(parameter, before[name]) != trained, name
    assert method.facts()["train_temporal_encoder"] == "partly trained"


def test_unknown_methods_and_options_are_named_before_any_work():
    with pytest.raises(ConfigError, match=r"method: expected one of .*linear-probe.*'hpss' \(did"):
        make_config(method="hpss")
    with pytest.raises(ConfigError, match=r"method_options\.strenghts: unknown key \(did you mean"):
        make_config(method="band-power", method_options={"strenghts": [1.0]})
    with pytest.raises(ConfigError, match=r"method_options\.strengths\[0\]: .*> 0"):
        make_config(method="band-power", method_options={"strengths": [-1.0]})
    with pytest.raises(ConfigError, match="strengths: expected at least one number, found none"):
        make_config(method="band-power", method_options={"strengths": []}, adapter={})
    with pytest.raises(ConfigError, match="linear-probe has no adapters"):
        make_config(method="linear-probe")


def test_a_method_is_named_in_its_own_file_only():
    """The loop, optimiser, checkpoints, evaluation, cards and recipes know the protocol only.

    A comparison's report has roles of the paper's claims, some of which are called as methods are.
    """
    names = [re.escape(name) for name in METHODS if name != "mteeg"]
    quoted = re.compile(rf"""["']({"|".join(names)})["']""")
    paths = [*(ROOT / "modeling_mteeg").rglob("*.py"), *(ROOT / "recipes").glob("*.py")]
    strangers = [str(path) for path in paths if quoted.search(path.read_text("utf-8"))
                 and path.parent.name not in ("methods", "report")]  # fmt: skip
    assert not strangers
