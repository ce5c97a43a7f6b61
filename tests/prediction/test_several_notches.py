"""Tasks with several mains frequencies: equal on every path, and said in the sidecar."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from recording_files import write_recording
from tiny_live import rows
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, pink_eeg

from modeling_mteeg import MteegFeatureExtractor, TaskCard, cli
from modeling_mteeg.explanation.explaining import window_inputs
from modeling_mteeg.export.onnx import _facts
from modeling_mteeg.pictures.drawn_recording import ShownRecording
from modeling_mteeg.prediction import predict, recording_pass
from modeling_mteeg.prediction.live import LivePredictor

BOTH = {"one": [60, 50], "other": (50.0, 60.0), "european": 50.0}


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    for name, notch_hz in BOTH.items():
        fields = {"channels": NAMES[:3], "window_s": 2.0, "notch_hz": notch_hz}
        model.add_adapter(name, card=card(name=name, **fields))
    randomize(model)
    return model.eval()


def humming(rate_hz: float = 200.0, seconds: float = 60.0) -> np.ndarray:
    signal = pink_eeg(rate_hz, seconds, 3)
    return signal + 40 * np.sin(120 * np.pi * np.arange(signal.shape[1]) / rate_hz)


def of_extractor(model, recording, task, stride_s=None):
    inputs = MteegFeatureExtractor()(recording, task=model.tasks[task], stride_s=stride_s)
    with torch.no_grad():
        return inputs, model.tasks[task].probabilities(model(**inputs, task=task).logits).numpy()


def test_equal_notches_share_a_pass_and_others_do_not(model, monkeypatch):
    groups = []
    make = recording_pass._group
    monkeypatch.setattr(recording_pass, "_group", lambda *a: groups.append(make(*a)) or groups[-1])
    found = predict((humming(), NAMES[:3], 200.0), model)
    assert [len(group.members) for group in groups[0]] == [1, 1]
    assert [len(group.members[0].plans) for group in groups[0]] == [2, 1]
    live = LivePredictor(model, list(BOTH), NAMES[:3], 200.0)
    assert [len(group.members) for group in live._groups] == [2, 1]
    for task in ("one", "european"):
        _, expected = of_extractor(model, (humming(), NAMES[:3], 200.0), task)
        np.testing.assert_allclose(found[task].probabilities, expected, atol=1e-5)
    away = found["one"].probabilities - found["european"].probabilities
    assert np.abs(away).max() > 1e-3


def test_live_and_explanations_see_what_the_file_gives(model):
    signal = humming()
    inputs, expected = of_extractor(model, (signal, NAMES[:3], 200.0), "one")
    live = LivePredictor(model, "one", NAMES[:3], 200.0, samples=signal.shape[1])
    results = [*live.push(signal), *live.finish()]
    np.testing.assert_allclose(rows(results, "one"), expected, atol=1e-4)
    values = window_inputs((signal, NAMES[:3], 200.0), model.tasks["one"], [4.0]).inputs
    assert torch.allclose(values["input_values"][0], inputs["input_values"][2], atol=1e-4)


def test_a_line_that_is_left_is_a_note_and_the_sidecar_names_the_notches(model, tmp_path):
    path = write_recording(tmp_path, "rec.edf", humming(), NAMES[:3], 200.0)
    model.save_pretrained(tmp_path / "base")
    for name in BOTH:
        model.save_adapter(name, tmp_path / "base" / "adapters" / name)
    sidecars = {}
    for name in ("one", "european"):
        out = tmp_path / f"{name}.tsv"
        words = ["predict", str(path), "--base", str(tmp_path / "base"), "--task", name]
        assert cli.main([*words, "--out", str(out), "--quiet"]) == 0
        sidecars[name] = json.loads(out.with_suffix(".json").read_text("utf-8"))
    text = {name: json.dumps(sidecar) for name, sidecar in sidecars.items()}
    assert '"notch_hz": [50.0, 60.0]' in text["one"] and "mains" not in text["one"]
    assert '"notch_hz": 50.0' in text["european"]
    assert "A mains line is left at 60 Hz" in text["european"]
    assert "notch_hz=[50, 60] takes it away" in text["european"]


def test_recordings_without_a_line_have_no_such_note(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predict((pink_eeg(200.0, 60.0, 3), NAMES[:3], 200.0), model)
    assert all(prediction.notes == () for prediction in found.values())


def test_traces_are_drawn_with_all_notches():
    shown = ShownRecording((humming(), NAMES[:3], 200.0))
    left = [shown.read_filtered(NAMES[:1], 20.0, 40.0, notch_hz)[1].std()
            for notch_hz in (50.0, (50.0, 60.0))]  # fmt: skip
    assert left[0] > 25 and left[1] < 20


def test_an_exported_task_names_all_notches(model):
    said = json.loads(json.dumps(_facts(model, "one", 18)))["task"]
    assert said["notch_hz"] == [50.0, 60.0]
    assert TaskCard.from_dict(said).notch_hz == model.tasks["one"].notch_hz
