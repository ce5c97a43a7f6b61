"""Evaluation: every window once, in order, on one process or two; the model left as it was."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from places import SUPPORT
from tiny_corpora import CARDS, make_dataset, save_corpora, signals

from modeling_mteeg import MteegConfig, MteegModel, TaskCard
from modeling_mteeg.data import WindowFormatError, WindowReader, load_corpora
from modeling_mteeg.evaluation import (
    Predictions,
    confusion_counts,
    evaluate_task,
    evaluate_tasks,
    monitor_mean,
    predict_task,
    score,
)

CARD = CARDS["seed-v"]


class Stub(torch.nn.Module):
    """Logits from fixed weights on the window's mean per channel and first sample."""

    def __init__(self, outputs: int = 3, channels: int = 2) -> None:
        super().__init__()
        weights = torch.linspace(-1, 1, 2 * channels * outputs).reshape(2 * channels, outputs)
        self.weights = torch.nn.Parameter(weights)
        self.dropout = torch.nn.Dropout(0.5)
        self.frozen = torch.nn.Dropout(0.5).eval()
        self.calls: list[int] = []

    def forward(self, input_values, channel_ids, task):
        assert not torch.is_grad_enabled() and not self.training
        self.calls.append(len(input_values))
        flat = input_values.flatten(2)
        features = torch.cat([flat.mean(-1) * 20, flat[..., 0]], 1)
        return types.SimpleNamespace(logits=self.dropout(features) @ self.weights)


def reader_of(number, card=CARD, **options):
    return WindowReader(make_dataset(card, number, **options))


def tiny_model(*cards):
    torch.manual_seed(0)
    model = MteegModel(MteegConfig.from_preset("tiny"))
    for card in cards:
        model.add_adapter(card.name, card=card)
        torch.nn.init.normal_(model.heads[card.name].weight)
    return model


@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_every_window_once_in_order(batch_size):
    model, reader = Stub(), reader_of(10)
    found = predict_task(model, reader, CARD, batch_size)
    flat = torch.from_numpy(signals(CARD, 10, 0)) / CARD.scale_uv
    features = torch.cat([flat.mean(-1) * 20, flat[..., 0]], 1)
    assert np.allclose(found.logits, (features @ model.weights).detach(), rtol=1e-4, atol=1e-5)
    assert found.labels.tolist() == [i % 3 for i in range(10)]
    assert sum(model.calls) == 10 and max(model.calls) == min(batch_size, 10)


def test_scores_are_those_of_the_whole_split():
    model, reader = Stub(), reader_of(25)
    result = evaluate_task(model, reader, CARD, batch_size=4)
    found = predict_task(model, reader, CARD)
    classes = found.logits.argmax(1)
    assert set(result) == {*CARD.metrics, "loss", "num_samples"}
    assert result["num_samples"] == 25
    assert result["cohen_kappa"] == pytest.approx(sk.cohen_kappa_score(found.labels, classes))
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(found.logits), torch.from_numpy(found.labels)
    )
    assert result["loss"] == pytest.approx(float(loss), rel=1e-5)
    counts = confusion_counts(found, CARD)
    assert np.array_equal(counts, sk.confusion_matrix(found.labels, classes, labels=range(3)))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
def test_two_classes_with_one_logit_or_two(loss):
    rng = np.random.default_rng(0)
    margin, labels = rng.normal(0, 2, 50).astype(np.float32), rng.integers(0, 2, 50)
    card = TaskCard("tuab", ("normal", "abnormal"), loss=loss)
    one_logit = loss == "binary_cross_entropy"
    shared = rng.normal(0, 3, 50).astype(np.float32)  # of both logits: means nothing
    logits = margin[:, None] if one_logit else np.stack([shared, shared + margin], 1)
    result = score(Predictions(logits, labels), card)
    assert result["auroc"] == pytest.approx(sk.roc_auc_score(labels, margin))
    assert result["auc_pr"] == pytest.approx(sk.average_precision_score(labels, margin))
    expected = sk.balanced_accuracy_score(labels, margin > 0)
    assert result["balanced_accuracy"] == pytest.approx(expected)
    likelihood = np.where(labels == 1, 1 / (1 + np.exp(-margin)), 1 / (1 + np.exp(margin)))
    assert result["loss"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-5)


def test_confident_logits_keep_their_order():
    card = TaskCard("tuab", ("normal", "abnormal"))
    logits = np.array([[20.0], [21.0], [25.0], [-20.0]], np.float32)
    result = score(Predictions(logits, np.array([0, 1, 1, 0])), card)
    assert result["auroc"] == 1.0


def test_the_mode_of_every_module_is_restored():
    model = Stub().train()
    model.frozen.eval()
    before = {name: module.training for name, module in model.named_modules()}
    evaluate_task(model, reader_of(6), CARD)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert model.training and not model.frozen.training
    model.forward = lambda **_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        evaluate_task(model, reader_of(6), CARD)
    assert model.training and not model.frozen.training


def test_the_random_state_is_left_alone():
    state = torch.get_rng_state()
    evaluate_task(tiny_model(CARD).train(), reader_of(6), CARD)
    torch.set_rng_state(state)
    one = torch.rand(3)
    torch.set_rng_state(state)
    evaluate_task(Stub().train(), reader_of(6), CARD)
    assert torch.equal(one, torch.rand(3))


def test_the_tasks_of_a_model(tmp_path):
    save_corpora(tmp_path, {"tuab": (4, 9, 4), "seed-v": (4, 8, 4)}, dtype="int16")
    corpora = load_corpora(tmp_path, ["tuab", "seed-v"])
    model = tiny_model(CARDS["tuab"], CARDS["seed-v"])
    results = evaluate_tasks(model, corpora, "validation", batch_size=4)
    assert [results[task]["num_samples"] for task in ("tuab", "seed-v")] == [9, 8]
    mean = (results["tuab"]["auroc"] + results["seed-v"]["cohen_kappa"]) / 2
    assert monitor_mean(results, CARDS) == pytest.approx(mean)
    again = evaluate_tasks(model, corpora, "validation", batch_size=3)
    for task, result in results.items():
        assert result["loss"] == pytest.approx(again[task]["loss"], rel=1e-5)


def test_the_monitor_mean_leaves_out_what_is_undefined():
    results = {"tuab": {"auroc": math.nan}, "seed-v": {"cohen_kappa": 0.25}}
    with pytest.warns(UserWarning, match="tuab"):
        assert monitor_mean(results, CARDS) == 0.25
    for wrong in ({"tuab": {"auroc": math.nan}}, {"tuab": {"auc_pr": 0.5}}, {}):
        with pytest.raises(ValueError, match="found"):
            monitor_mean(wrong, CARDS)


def test_a_diverged_model_is_an_error():
    model = Stub()
    model.weights.data[:] = math.nan
    with pytest.raises(ValueError, match="NaN or infinity for 5 of 5"):
        evaluate_task(model, reader_of(5), CARD)


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="other labels"):
        evaluate_task(Stub(outputs=5), reader_of(5), CARD)
    with pytest.raises(WindowFormatError, match="channels"):
        evaluate_task(Stub(), reader_of(5), CARD.replace(channels=("C4", "C3")))
    with pytest.raises(ValueError, match="batch_size"):
        evaluate_task(Stub(), reader_of(5), CARD, batch_size=0)
    model = Stub()
    wrong = CARD.replace(metrics=("auroc",), monitor="auroc")
    with pytest.raises(ValueError, match=r"auroc.*two classes"):
        evaluate_task(model, reader_of(5), wrong)
    assert not model.calls


class Constant:
    """A predictor that is no module: it counts, and gives every window the same logits."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def predict_logits(self, task, batch):
        assert sorted(batch) == ["channel_ids", "input_values"]
        assert not torch.is_grad_enabled()
        self.calls.append((task, len(batch["input_values"])))
        return torch.tensor([[0.0, 2.0, 1.0]]).expand(len(batch["input_values"]), 3)


class StubWithLogits(Stub):
    """A module that says itself how its logits are made."""

    def predict_logits(self, task, batch):
        return 2 * self(**batch, task=task).logits


def test_what_predicts_need_be_no_model():
    predictor, reader = Constant(), reader_of(7)
    predictions = predict_task(predictor, reader, CARD, batch_size=4)
    assert predictor.calls == [("seed-v", 4), ("seed-v", 3)]
    assert predictions.logits.tolist() == [[0.0, 2.0, 1.0]] * 7
    expected = np.mean(reader.labels == 1)
    result = evaluate_task(predictor, reader, CARD.replace(metrics=("weighted_f1",),
                                                           monitor="weighted_f1"))  # fmt: skip
    true_positives = 2 * expected / (1 + expected)  # F1 of the class that is always said
    assert result["weighted_f1"] == pytest.approx(true_positives * expected)


def test_a_module_that_predicts_is_in_evaluation_mode_too():
    model, reader = StubWithLogits().train(), reader_of(5)
    predictions = predict_task(model, reader, CARD)
    assert np.allclose(predictions.logits, 2 * predict_task(Stub(), reader, CARD).logits)
    assert all(module.training for module in model.modules())


def test_wrong_metrics_of_the_last_task_fail_before_the_first_is_evaluated(tmp_path):
    save_corpora(tmp_path, {"tuab": (4, 9, 4), "seed-v": (4, 8, 4)}, dtype="int16")
    corpora = load_corpora(tmp_path, ["tuab", "seed-v"])
    card = corpora["seed-v"].card
    wrong = dataclasses.replace(corpora["seed-v"], card=card.replace(metrics=(*card.metrics, "f1")))
    model = Stub()
    with pytest.raises(ValueError, match="'seed-v': unknown metric 'f1'"):
        evaluate_tasks(model, {**corpora, "seed-v": wrong}, "validation")
    assert not model.calls


WORKER = """
import json, sys, warnings
from accelerate import Accelerator
sys.path[:0] = sys.argv[2:]
from test_evaluator import CARD, Stub, reader_of, tiny_model
from modeling_mteeg.evaluation import evaluate_task
warnings.simplefilter("ignore")
accelerator = Accelerator(cpu=True)
results = {}
for number in (1, 2, 7, 10):
    results[f"stub {number}"] = evaluate_task(Stub(), reader_of(number), CARD, 3, accelerator)
model = accelerator.prepare(tiny_model(CARD).train())
results["model 7"] = evaluate_task(model, reader_of(7), CARD, 2, accelerator, progress=True)
assert model.training
report = {"world": accelerator.num_processes, "results": results}
with open(f"{sys.argv[1]}/{accelerator.process_index}.json", "w") as file:
    json.dump(report, file)
"""


@pytest.mark.slow
def test_two_processes_count_uneven_batches_once(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(script), str(tmp_path), str(Path(__file__).parent), str(SUPPORT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    reports = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [report["world"] for report in reports] == [2, 2]
    expected = {
        f"stub {number}": evaluate_task(Stub(), reader_of(number), CARD, 3)
        for number in (1, 2, 7, 10)
    }
    expected["model 7"] = evaluate_task(tiny_model(CARD), reader_of(7), CARD, 2)
    for report in reports:
        for name, result in report["results"].items():
            assert result == pytest.approx(expected[name], rel=1e-5, nan_ok=True), name
    assert done.stderr.count("seed-v: 100%") <= 1  # a bar on the main process only
