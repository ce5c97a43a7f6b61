"""Class weights, thresholds and an early end in a joint training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recipe_modules import load_recipe
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from tiny_corpora import CARDS, save_corpora
from training_program import make_config, make_trainer, outcome, run, step_gradients

from modeling_mteeg.data import load_corpora
from modeling_mteeg.data.loading import model_inputs
from modeling_mteeg.evaluation import choose_threshold, read_predictions
from modeling_mteeg.model.modeling_mteeg import MteegModel, task_loss
from modeling_mteeg.model.task_card import TaskCard
from modeling_mteeg.settings.schema import ConfigError
from modeling_mteeg.training.launch import TrainingError

SIZES = {"tuab": (31, 16, 24), "seed-v": (28, 9, 9)}
PLAIN = {"model__drop_path": 0.0, "adapter__dropout": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def corpora(data):
    return load_corpora(data, tuple(SIZES))


# Class weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_cross_entropy_is_torch_s(smoothing):
    card = CARDS["seed-v"]
    random = torch.Generator().manual_seed(0)
    logits, weights = torch.randn(12, 3, generator=random), torch.tensor([0.5, 1.0, 3.0])
    labels = torch.tensor([0, 1, 2, 0] * 3)
    ours = task_loss(card, logits, labels, smoothing, weights)
    parts = F.cross_entropy(logits, labels, weights, reduction="none", label_smoothing=smoothing)
    assert torch.equal(ours, parts.mean())
    # torch divides by the weights of the batch; where these have a mean of 1 it is the same
    scaled = weights / weights[labels].mean()
    theirs = F.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    ours = task_loss(card, logits, labels, smoothing, scaled)
    if not smoothing:
        torch.testing.assert_close(ours, theirs)
    ones = task_loss(card, logits, labels, smoothing, torch.ones(3))
    torch.testing.assert_close(ones, task_loss(card, logits, labels, smoothing))


def test_weighted_binary_loss_is_that_of_two_logits():
    one, two = CARDS["tuab"], TaskCard("tuab", CARDS["tuab"].labels, loss="cross_entropy")
    margin = torch.randn(10, generator=torch.Generator().manual_seed(0))
    labels, weights = torch.tensor([0, 1] * 5), torch.tensor([0.6, 2.5])
    binary = task_loss(one, margin[:, None], labels, 0.0, weights)
    softmax = task_loss(two, torch.stack([-margin / 2, margin / 2], 1), labels, 0.0, weights)
    torch.testing.assert_close(binary, softmax)


def test_balanced_is_what_the_drawn_windows_ask_for(corpora, tmp_path):
    options = {"optimization__class_weights": "balanced", "sampling": {"tuab": {"fraction": 0.7}}}
    trainer = make_trainer(corpora, tmp_path, **options)
    for mix in trainer.mixes:
        labels = corpora[mix.name].splits["train"].labels[mix.draw(0, 0)]
        classes = np.arange(len(corpora[mix.name].card.labels))
        expected = compute_class_weight("balanced", classes=classes, y=labels)
        np.testing.assert_allclose(trainer.class_weights[mix.name].numpy(), expected, rtol=1e-6)
    # by hand, the same, whatever their scale
    given = {task: (7 * weights).tolist() for task, weights in trainer.class_weights.items()}
    by_hand = make_trainer(corpora, tmp_path, **options | {"optimization__class_weights": given})
    for task, weights in trainer.class_weights.items():
        torch.testing.assert_close(by_hand.class_weights[task], weights)
    only = make_trainer(corpora, tmp_path, optimization__class_weights={"tuab": "balanced"})
    assert list(only.class_weights) == ["tuab"] and "tuab balanced: normal" in only.describe()


@pytest.mark.parametrize("method", ["mteeg", "hps", "linear-probe"])
@pytest.mark.parametrize("bound", [None, 12])
def test_gradients_are_those_of_the_weighted_mean_over_the_step(corpora, tmp_path, method, bound):
    options = {**PLAIN, "method": method, "optimization__max_tokens": bound}
    options["optimization__class_weights"] = {"tuab": [1, 5]}
    if method != "mteeg":
        options["adapter"] = {}
        del options["adapter__dropout"]
    trainer = make_trainer(corpora, tmp_path, **options)
    found = step_gradients(trainer)
    trainer.model.double().train()
    for task, rows in trainer.plan(0).step_indices(0).items():
        batch = model_inputs(corpora[task].splits["train"], corpora[task].card, rows)
        labels = batch.pop("labels")
        logits = trainer.model(**batch, task=task).logits
        weights = trainer.class_weights.get(task)
        if task == "tuab":
            low = F.binary_cross_entropy_with_logits(
                logits[:, 0].float(), labels.float(), weights[labels]
            )
        else:
            low = F.cross_entropy(logits.float(), labels, label_smoothing=0.1)
        low.backward()
    for name, parameter in trainer.trainable().items():
        if parameter.grad is not None:
            scale = parameter.grad.abs().max().clamp(min=1e-8)
            assert (parameter.grad - found[name]).abs().max() <= 1e-5 * scale, name


def test_weights_of_one_change_nothing_but_rounding(corpora, tmp_path):
    plain = step_gradients(make_trainer(corpora, tmp_path, **PLAIN))
    ones = {"seed-v": [1, 1, 1], "tuab": [2, 2]}
    same = make_trainer(corpora, tmp_path, **PLAIN, optimization__class_weights=ones)
    for name, gradient in step_gradients(same).items():
        if gradient is not None:
            torch.testing.assert_close(gradient, plain[name], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("value, fault", [
    ("even", "expected balanced, or"), ({"tuab": [1, -1]}, "class_weights.tuab"),
    ({"tuab": []}, "class_weights.tuab"), ({"nobody": "balanced"}, "unknown task"),
    ([1, 2], "expected balanced"), ({"tuab": [True, 1]}, "class_weights.tuab"),
])  # fmt: skip
def test_wrong_weights_are_faults_of_the_configuration(value, fault):
    with pytest.raises(ConfigError, match=fault):
        make_config(tuple(SIZES), optimization__class_weights=value)


def test_another_number_of_weights_than_classes(corpora, tmp_path):
    with pytest.raises(TrainingError, match="expected 2 numbers, one for each of normal, abnormal"):
        make_trainer(corpora, tmp_path, optimization__class_weights={"tuab": [1, 2, 3]})


# An early end ----------------------------------------------------------------------------------


def scripted(monkeypatch, trainer, scores):
    """Validation scores as told, epoch by epoch."""
    real = type(trainer).evaluate

    def evaluate(self, split):
        values = real(self, split)
        for task in values:
            values[task][self.cards[task].monitor] = scores[self.progress.epoch]
        return values

    monkeypatch.setattr(type(trainer), "evaluate", evaluate)


@pytest.mark.parametrize("method", ["mteeg", pytest.param("linear-probe", marks=pytest.mark.slow)])
def test_a_training_ends_after_its_patience(corpora, tmp_path, monkeypatch, method):
    options = {"optimization__epochs": 9, "optimization__patience": 2, "method": method,
               "adapter": {}}  # fmt: skip
    trainer = make_trainer(corpora, tmp_path, **options)
    scripted(monkeypatch, trainer, [0.1, 0.3, 0.2, 0.4, 0.4, 0.3, 0.9, 0.9, 0.9])
    run(trainer)
    assert trainer.progress.epoch == 6 and set(trainer.chosen_epochs().values()) == {3}
    told = [entry.get("stopped") for entry in trainer.progress.history]
    assert told[:-1] == [None] * 5 and told[-1] == "no better validation score for 2 epochs"
    assert trainer.settings()["stopped"].startswith("after epoch 6 of 9")
    again = make_trainer(corpora, tmp_path, **options)
    assert again.resume() and again.finished and again.progress.epoch == 6


@pytest.mark.slow
def test_the_weights_until_then_are_those_without_patience(corpora, tmp_path, monkeypatch):
    options = {"optimization__epochs": 5}
    scores = [0.5, 0.4, 0.3, 0.2, 0.1]
    short = make_trainer(corpora, tmp_path / "a", **options, optimization__patience=1)
    scripted(monkeypatch, short, scores)
    run(short)
    whole = make_trainer(corpora, tmp_path / "b", **options)
    run(whole)
    assert (short.progress.epoch, whole.progress.epoch) == (2, 5)
    ours, theirs = outcome(short), outcome(whole)
    assert all(torch.equal(ours[n], theirs[n]) for n in ours if n.startswith("best."))
    assert whole.progress.history[:1] == short.progress.history[:1]


# Thresholds, through the recipe ----------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The recipe twice, without and with thresholds."""
    folders = []
    sets = ("threshold=validation", "optimization.class_weights=balanced")
    for words in ([], [word for one in sets for word in ("--set", one)]):
        folder = tmp_path_factory.mktemp("run")
        make_config(tuple(SIZES), optimization__epochs=2).save(folder / "config-given.yaml")
        given = ["--config", str(folder / "config-given.yaml"), "--data", str(data),
                 "--output", str(folder / "out"), *words]  # fmt: skip
        assert load_recipe("joint").main(given) == 0
        folders.append(folder / "out")
    return folders


@pytest.mark.slow
def test_without_it_files_have_no_word_of_it(trained):
    plain = trained[0]
    for path in [*plain.rglob("task.json"), *plain.rglob("README.md"), plain / "results.json",
                 *plain.rglob("training.json")]:  # fmt: skip
        text = path.read_text("utf-8")
        if path.name == "task.json":
            assert "threshold" not in json.loads(text)
        assert "chosen on validation" not in text and "thresholds" not in text
        assert '"settings"' not in text


@pytest.mark.slow
def test_the_saved_card_has_the_threshold_of_validation(trained, corpora):
    out = trained[1]
    card = TaskCard.load(out / "model/adapters/tuab")
    model = MteegModel.from_pretrained(out / "model")
    model.load_adapter("tuab")
    from modeling_mteeg.evaluation import predict_task

    said = predict_task(model, corpora["tuab"].splits["validation"], card.replace(threshold=None))
    assert card.threshold == pytest.approx(choose_threshold(said, card), abs=1e-5)
    assert TaskCard.load(out / "model/adapters/seed-v").threshold is None
    # the test is by it
    tested = read_predictions(out / "predictions/tuab.parquet")
    decided = tested.probabilities[:, 1] >= card.threshold
    results = json.loads((out / "results.json").read_text())
    expected = balanced_accuracy_score(tested.labels, decided)
    assert results["test"]["tuab"]["balanced_accuracy"]["mean"] == pytest.approx(expected)
    confusion = results["judgement"]["tuab"]["confusion"]
    assert np.sum(confusion, 0).tolist() == np.bincount(decided, minlength=2).tolist()
    assert results["judgement"]["tuab"]["thresholds"] == [card.threshold]
    assert "thresholds" not in results["judgement"]["seed-v"]


@pytest.mark.slow
def test_cards_and_results_tell_of_it(trained):
    out = trained[1]
    card = TaskCard.load(out / "model/adapters/tuab")
    number = f"{card.threshold:.3g}"
    text = (out / "model/adapters/tuab/README.md").read_text("utf-8")
    assert f"threshold {number}, chosen on validation" in text and "class weights" in text
    assert "class weights" in (out / "model/README.md").read_text("utf-8")
    floors = list((out / "floors/log_band_power").glob("tuab.parquet"))
    assert read_predictions(floors[0]).card.threshold is not None, "the floor may choose, too"
