"""Heads that begin as linear probes: what logistic regression says, and nothing else is moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tiny_corpora import CARDS, save_corpora
from training_program import make_trainer, outcome, run

from modeling_mteeg.data import load_corpora
from modeling_mteeg.data.loading import model_inputs
from modeling_mteeg.methods.method import GradientMethod
from modeling_mteeg.pictures.learning_curves import draw_learning_curves
from modeling_mteeg.training import head_start
from modeling_mteeg.training import joint_training as loop
from modeling_mteeg.training.head_start import STRENGTHS, fit_probe
from modeling_mteeg.training.launch import TrainingError
from modeling_mteeg.training.record import task_results

SIZES = {"tuab": (40, 8, 8), "seed-v": (45, 9, 9)}
PROBE = {"optimization__head_start": "probe"}
HEADS = {
    "mean": {},
    "channels": {"head": {"kind": "channels"}},
    "band power": {"head": {"kind": "channels", "band_power": True}},
    "attention": {"head": {"kind": "attention", "queries": 2, "hidden": 7}},
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_corpora(folder, SIZES)
    return load_corpora(folder, tuple(SIZES))


def begun(corpora, out, **options):
    trainer = make_trainer(corpora, out, **PROBE, sampling={}, **options)
    assert not trainer.resume()
    return trainer


@pytest.mark.parametrize("head", HEADS)
def test_the_logits_are_those_of_logistic_regression(corpora, tmp_path, monkeypatch, head):
    monkeypatch.setattr(head_start, "STRENGTHS", (0.05,) * 3)
    trainer = begun(corpora, tmp_path, **HEADS[head])
    for task, corpus in corpora.items():
        reader, card = corpus.splits["train"], corpus.card
        batch = model_inputs(reader, card, np.arange(len(reader)))
        features = trainer.method.output_features(task, batch).double().numpy()
        assert features.shape[1] == trainer.method.output_layer(task).in_features
        # Sources count equally: five powers a channel as much as its whole token.
        sizes = trainer.method.output_blocks(task)
        scale = np.repeat(np.sqrt(max(sizes) / np.array(sizes)), sizes)
        features = StandardScaler().fit_transform(features) * scale
        probe = LogisticRegression(C=0.05, max_iter=5000).fit(features, reader.labels)
        expected = probe.predict_proba(features)
        found = card.probabilities(trainer.method.predict_logits(task, batch)).numpy()
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_nothing_but_output_layers_is_moved(corpora, tmp_path):
    random = make_trainer(corpora, tmp_path / "a", sampling={})
    trainer = begun(corpora, tmp_path / "b")
    before = random.model.state_dict()
    after = trainer.model.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == {f"heads.{task}.{part}" for task in SIZES for part in ("weight", "bias")}
    assert trainer.settings()["head start"].startswith("linear probe")


def test_without_it_nothing_is_fitted(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "start_heads", None)
    trainer = make_trainer(corpora, tmp_path)
    assert not trainer.resume() and "head start" not in trainer.settings()
    assert not any("head_start" in key for key in trainer.config.identity())


@pytest.mark.slow
def test_resumed_is_bit_equal_and_does_not_begin_again(corpora, tmp_path, monkeypatch):
    whole = make_trainer(corpora, tmp_path / "whole", **PROBE)
    run(whole)
    cut = make_trainer(corpora, tmp_path / "cut", **PROBE)
    cut.resume()
    for step, (parts, place) in enumerate(cut.steps()):
        cut.train_step(parts, place)
        if step == 2:
            break
    monkeypatch.setattr(loop, "start_heads", None)
    rest = make_trainer(corpora, tmp_path / "cut", **PROBE)
    run(rest)
    expected, found = outcome(whole), outcome(rest)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
def test_the_start_need_be_no_candidate(corpora, tmp_path):
    options = {**PROBE, "optimization.keep_start": False}
    trainer = make_trainer(corpora, tmp_path, **options)
    trainer.resume()
    assert trainer.best is None and trainer.start is None
    assert trainer.settings()["head start"].startswith("linear probe")


@pytest.mark.slow
def test_the_start_is_kept_where_no_epoch_is_better(corpora, tmp_path, monkeypatch):
    """A start as probes is the first candidate; a resumed training knows that, too."""
    whole, started = begun(corpora, tmp_path / "never"), []
    expected = {name: p.detach().clone() for name, p in whole.trainable().items()}
    evaluate = loop.JointTrainer.evaluate

    def worse_by_training(self, split):
        found = evaluate(self, split)
        value = 0.1 if started else 0.9
        started.append(split)
        return {task: {**v, self.cards[task].monitor: value} for task, v in found.items()}

    monkeypatch.setattr(loop.JointTrainer, "evaluate", worse_by_training)
    trainer = begun(corpora, tmp_path / "a")
    for parts, counts in trainer.steps():
        trainer.train_step(parts, counts)
    trainer.finish_epoch()
    trainer.save_checkpoint()
    trainer = make_trainer(corpora, tmp_path / "a", **PROBE, sampling={})
    assert trainer.resume() and trainer.start["score"] == 0.9
    run(trainer)
    assert set(trainer.chosen_epochs().values()) == {-1}
    assert trainer.progress.history[0]["start"]["score"] == 0.9
    trainer.select_best()
    assert all(torch.equal(expected[name], p) for name, p in trainer.trainable().items())
    record = {"history": trainer.progress.history, "data": dict.fromkeys(SIZES), "method": "mteeg",
              "seed": 0}  # fmt: skip
    results = task_results(record, "tuab", -1, {}, False)
    assert results["validation"][CARDS["tuab"].monitor] == 0.9
    history = {0: trainer.progress.history}
    drawn = draw_learning_curves(history, {0: trainer.chosen_epochs()}, trainer.cards)
    ring = drawn.axes[1].lines[-1]
    assert ring.get_xydata().tolist() == [[0, 0.9]]


def test_a_method_without_an_output_layer_says_so(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.JointTrainer, "resume", lambda self, mode="auto": None)
    trainer = make_trainer(corpora, tmp_path, **PROBE)
    monkeypatch.undo()
    monkeypatch.setattr(type(trainer.method), "output_layer", GradientMethod.output_layer)
    with pytest.raises(TrainingError, match="head_start: random"):
        trainer.resume()


# The probe by itself ---------------------------------------------------------------------------


def told_apart(people=8, each=12, features=30, seed=0):
    """Features whose first tells the class, and others that tell the person."""
    random = np.random.default_rng(seed)
    subjects = np.repeat([f"s{number}" for number in range(people)], each)
    labels = random.integers(0, 2, len(subjects))
    values = random.normal(0, 1, (len(subjects), features)) * 100 + 7
    values[:, 0] += 150 * labels
    values[:, 1] = 5.0  # constant
    return values, labels, subjects


def test_standardisation_is_folded_in_and_a_constant_feature_has_no_weight():
    values, labels, subjects = told_apart()
    probe = fit_probe(values, labels, subjects, CARDS["tuab"])
    logits = values @ probe.weight.T + probe.bias
    assert np.mean((logits[:, 0] > 0) == labels) > 0.75
    assert probe.weight[0, 1] == 0 and np.isfinite(probe.weight).all()
    assert "on people left out, 5 folds" in probe.told


def test_the_strength_is_chosen_over_people(monkeypatch):
    values, labels, subjects = told_apart()
    for fitted, left_out in head_start._folds(labels, subjects):
        assert not set(subjects[fitted]) & set(subjects[left_out])
    patients = np.repeat(np.arange(8) < 4, 12).astype(int)  # a person has one class alone
    for _, left_out in head_start._folds(patients, subjects)[:4]:
        assert len(set(patients[left_out])) == 2 or len(set(subjects[left_out])) == 1
    found = dict.fromkeys(STRENGTHS, 0.5) | {STRENGTHS[4]: 0.9, STRENGTHS[5]: 0.9}
    monkeypatch.setattr(head_start, "_held_out",
                        lambda *a: {CARDS["tuab"].monitor: found[a[4]]})  # fmt: skip
    probe = fit_probe(values, labels, subjects, CARDS["tuab"])
    assert probe.told.startswith(f"strength {STRENGTHS[4]:g}, AUROC 0.900")


def test_one_person_and_absent_classes():
    values, labels, _ = told_apart()
    alone = fit_probe(values, labels, np.repeat("s", len(labels)), CARDS["tuab"])
    assert "one person" in alone.told
    card = CARDS["seed-v"]
    probe = fit_probe(values, labels * 2, np.repeat(list("abcd"), len(labels) // 4), card)
    logits = values @ probe.weight.T + probe.bias
    assert probe.weight.shape == (3, 30) and (logits.argmax(1) != 1).all()


@pytest.mark.slow
def test_few_features_of_one_source_are_not_drowned_by_many_of_another():
    values, labels, subjects = told_apart(features=401)
    values = np.roll(values, -1, 1)  # what tells is the last one
    alone = fit_probe(values, labels, subjects, CARDS["tuab"], blocks=(400, 1))
    together = fit_probe(values, labels, subjects, CARDS["tuab"])

    def right(probe):
        return np.mean(((values @ probe.weight.T + probe.bias)[:, 0] > 0) == labels)

    share = [abs(p.weight[0, -1]) / abs(p.weight[0]).sum() for p in (alone, together)]
    assert share[0] > 3 * share[1] and right(alone) > 0.7


@pytest.mark.slow
def test_class_weights_go_along():
    values, labels, subjects = told_apart()
    rare = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:8]])
    values, labels, subjects = values[rare], labels[rare], subjects[rare]
    leaning = {
        name: float((values @ p.weight.T + p.bias).mean())
        for name, p in {
            "plain": fit_probe(values, labels, subjects, CARDS["tuab"]),
            "weighted": fit_probe(values, labels, subjects, CARDS["tuab"], {0: 0.5, 1: 3.0}),
        }.items()
    }
    assert leaning["weighted"] > leaning["plain"] + 0.1
