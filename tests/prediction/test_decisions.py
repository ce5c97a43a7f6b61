"""A card's threshold decides everywhere a class is chosen: the same windows, the same classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_live import feed
from tiny_models import CARDS, model_with_tasks
from tiny_recordings import eeg, epochs_of, raw_of
from transformers import pipeline

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.app.summary import summarize
from modeling_mteeg.app.task_work import task_facts
from modeling_mteeg.export import export_onnx
from modeling_mteeg.pictures import draw_prediction
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction.events import annotations_of, events_sidecar, events_table
from modeling_mteeg.prediction.finished_results import Options
from modeling_mteeg.prediction.live import LivePredictor
from modeling_mteeg.prediction.result_files import plan_targets, predict_files

TASK = "tuab"
NAMES = list(CARDS[TASK].channels)
LOW, HIGH = CARDS[TASK].labels
RECORDING = eeg(61.0, 200.0, len(NAMES)), NAMES, 200.0


@pytest.fixture(scope="module")
def found():
    """A model whose threshold lies amid its answers, and these."""
    model = model_with_tasks(TASK)
    plain = predict(RECORDING, model, TASK)[TASK]
    values = np.sort(plain.probabilities[:, 1])
    # Between two of them, so that rounding decides nothing, and one window or more beside 0.5.
    middles = [m for m in (values[1:] + values[:-1]) / 2
               if (values >= m).sum() != (values >= 0.5).sum()]  # fmt: skip
    middle = float(min(middles, key=lambda value: abs(value - 0.5)))
    model.tasks[TASK] = model.tasks[TASK].replace(threshold=middle)
    decided = predict(RECORDING, model, TASK)[TASK]
    expected = [HIGH if p >= middle else LOW for p in plain.probabilities[:, 1]]
    assert set(expected) == {LOW, HIGH} and plain.labels != expected, "it matters here"
    return model, decided, expected, middle


def test_predictions_events_and_annotations(found):
    _, decided, expected, middle = found
    assert decided.labels == expected
    columns, rows = events_table(decided)
    assert [row[columns.index("label")] for row in rows] == expected
    assert list(annotations_of(decided).description) == expected
    sidecar = events_sidecar(decided)
    told = f"threshold {middle:.3g}, chosen on validation"
    assert told in sidecar["trial_type"]["Description"]
    plain = decided.card.replace(threshold=None).decision
    assert plain == "The class with the highest probability."


def test_the_line_of_a_written_result(found, tmp_path):
    model, _, expected, middle = found
    path = tmp_path / "a_raw.fif"
    raw_of(*RECORDING).save(path, verbose="error")
    (target,) = plan_targets([str(path)], [TASK], tmp_path / "a_events.tsv", None, False)
    told: list[str] = []
    predict_files([target], model, Options(), progress=False, tell=told.append)
    assert f"{expected.count(HIGH)} {HIGH}" in told[0]
    assert f"threshold {middle:.3g}, chosen on validation" in told[0]


def test_the_pipeline_on_recordings_and_on_cut_windows(found):
    model, _, expected, middle = found
    label = pipeline("eeg-classification", model=model, feature_extractor=MteegFeatureExtractor())
    windows = label(RECORDING, adapter=TASK)
    assert [window["label"] for window in windows] == expected
    assert all(window["score"] == window["scores"][window["label"]] for window in windows)
    signal, names, rate_hz = RECORDING
    cut = label(epochs_of(raw_of(signal, names, rate_hz), CARDS[TASK].window_s), adapter=TASK)
    decided = [HIGH if window["scores"][HIGH] >= middle else LOW for window in cut]
    assert [window["label"] for window in cut] == decided


def test_a_live_signal(found):
    model, _, expected, _ = found
    live = LivePredictor(model, TASK, NAMES, 200.0, samples=RECORDING[0].shape[1])
    assert [one.label for one in feed(live, RECORDING[0], 500)] == expected


def test_pictures_and_the_page(found):
    _, decided, expected, middle = found
    figure = draw_prediction(decided, RECORDING)
    words = " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))
    assert f"threshold {middle:.3g}" in words and "chosen on validation" in words
    facts = task_facts(decided)
    assert f"threshold {middle:.3g}" in facts["Decision"]
    share = f"{expected.count(HIGH) / len(expected):.0%}"
    assert summarize(decided).figures["Windows above the threshold"] == share


@pytest.mark.slow
def test_an_exported_task_carries_it(found, tmp_path):
    model, *_, middle = found
    made = export_onnx(model, TASK, tmp_path / "task.onnx")
    task = json.loads(made.sidecar.read_text("utf-8"))["task"]
    assert task["threshold"] == middle
