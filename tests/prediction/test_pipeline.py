"""``pipeline("eeg-classification")``: the answers of the model, in the form of transformers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from places import ROOT
from tiny_models import CARDS, model_with_tasks
from tiny_recordings import eeg, epochs_of, raw_of
from transformers import AutoModel, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from modeling_mteeg import EegClassificationPipeline, MteegFeatureExtractor, MteegModel
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict

START = ROOT / "docs/start.md"
TASK = "eeg-classification"
WANTED = ("tuab", "tuev", "sleep-edf", "seed-v")
NAMES = list(dict.fromkeys(name for task in WANTED for name in CARDS[task].channels))
RATE = 250.0
SECONDS = 41.0


@pytest.fixture(scope="module")
def recording():
    """(array in microvolt, names, rate): every channel that the tasks need."""
    return eeg(SECONDS, RATE, len(NAMES)), NAMES, RATE


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A base, its extractor, and three tasks beside it."""
    folder = tmp_path_factory.mktemp("pipeline") / "base"
    model_with_tasks(*WANTED).save_pretrained(folder)
    model = model_with_tasks(*WANTED)
    model.config._name_or_path = str(folder)
    for task in WANTED:
        model.save_adapter(task, folder / "adapters" / task)
    MteegFeatureExtractor().save_pretrained(folder)
    return folder


def make(model, **options) -> EegClassificationPipeline:
    return pipeline(TASK, model=str(model) if isinstance(model, Path) else model, **options)


@torch.no_grad()
def by_hand(base, recording, task, stride_s=None) -> np.ndarray:
    """Probabilities (windows, classes) by the ten lines of the README and of docs/start.md."""
    model = AutoModel.from_pretrained(base).eval()
    card = model.load_adapter(task)
    inputs = MteegFeatureExtractor()(recording, task=card, stride_s=stride_s)
    return card.probabilities(model(**inputs).logits).numpy()


def table(windows, task) -> np.ndarray:
    """Scores (windows, classes) in the order of the labels."""
    return np.array(
        [[window["scores"][label] for label in CARDS[task].labels] for window in windows]
    )


@pytest.mark.parametrize("task", WANTED)
def test_the_answers_are_those_of_the_model(base, recording, task):
    windows = make(base, adapter=task)(recording)
    expected = by_hand(base, recording, task)
    assert np.allclose(table(windows, task), expected, atol=1e-5)
    card = CARDS[task]
    assert [window["onset"] for window in windows] == [
        index * card.window_s for index in range(len(expected))
    ]
    for window, row in zip(windows, expected, strict=True):
        assert set(window) == {"onset", "duration", "label", "score", "scores"}
        assert window["duration"] == card.window_s
        assert window["label"] == card.labels[row.argmax()]
        assert window["score"] == window["scores"][window["label"]]
        assert list(window["scores"].values()) == sorted(window["scores"].values(), reverse=True)
    json.dumps(windows)


def test_windows_overlap_by_the_stride(base, recording):
    windows = make(base, adapter="sleep-edf", stride_s=0.5)(recording)
    assert [window["onset"] for window in windows] == list(np.arange(0, SECONDS - 2.75, 0.5))
    expected = by_hand(base, recording, "sleep-edf", 0.5)
    assert np.allclose(table(windows, "sleep-edf"), expected, atol=1e-5)


def test_the_numbers_are_exactly_those_of_predict(base, recording):
    model = AutoModel.from_pretrained(base).eval()
    for task in WANTED:
        model.load_adapter(task)
    expected = predict(recording, model, WANTED, stride_s=1.5, batch_size=5)
    found = make(base, adapter=list(WANTED), stride_s=1.5)(recording, batch_size=5)
    assert tuple(found) == WANTED
    for task, prediction in expected.items():
        assert [window["onset"] for window in found[task]] == prediction.onset_s.tolist()
        assert np.array_equal(table(found[task], task), prediction.probabilities)


def test_missing_and_renamed_channels_are_said_and_taken(base, recording):
    array, names, rate = recording
    renamed = array, ["T7" if name == "T3" else name for name in names], rate
    label = make(base, adapter="tuab")
    with pytest.raises(SignalError, match="T3"):
        label(renamed)
    with pytest.warns(UserWarning, match="task 'tuab': .*T7 as T3"):
        windows = label(renamed, rename={"T7": "T3"})
    assert windows == label(recording)
    with pytest.warns(UserWarning, match="T3"):
        fewer = label(renamed, allow_missing=1)
    assert len(fewer) == len(windows) and fewer != windows


def test_windows_that_are_cut_already_share_one_pass(recording, monkeypatch):
    model = model_with_tasks("tuev", "seed-v")
    names = [*CARDS["tuev"].channels, *CARDS["seed-v"].channels]
    cut = eeg(40, RATE, len(names)).reshape(len(names), 40, 250).transpose(1, 0, 2)
    label = make(model, adapter=["tuev", "seed-v"])
    expected = {task: label((cut, names, RATE), adapter=task) for task in ("tuev", "seed-v")}
    passes = []
    encode = MteegModel._encode

    def counted(self, inputs, *args):
        passes.append({name: len(batch["input_values"]) for name, batch in inputs.items()})
        return encode(self, inputs, *args)

    monkeypatch.setattr(MteegModel, "_encode", counted)
    found = label((cut, names, RATE), batch_size=25)
    assert passes == [{"tuev": 25, "seed-v": 25}, {"tuev": 15, "seed-v": 15}]
    for task, windows in expected.items():
        assert {window["onset"] for window in found[task]} == {None}
        assert np.allclose(table(found[task], task), table(windows, task), atol=1e-5)


def test_the_batch_size_changes_nothing_but_the_passes(base, recording):
    label = make(base, adapter="tuab", batch_size=3)
    found = [label(recording), label(recording, batch_size=1), label(recording, batch_size=100)]
    for windows in found:
        assert np.allclose(table(windows, "tuab"), table(found[0], "tuab"), atol=1e-5)


def test_a_recording_may_come_in_any_form(base, recording, tmp_path):
    array, names, rate = recording
    raw = raw_of(array, names, rate)
    raw.save(tmp_path / "a_raw.fif", fmt="double", verbose="error")
    label = make(base, adapter="tuab")
    expected = table(label(recording), "tuab")
    millivolt = {"array": array / 1000, "channels": names, "sampling_rate": rate, "unit": "mV"}
    forms = [raw, tmp_path / "a_raw.fif", str(tmp_path / "a_raw.fif"), millivolt]
    for windows in label(forms):
        assert np.allclose(table(windows, "tuab"), expected, atol=1e-4)


def test_windows_that_are_cut_already_have_no_onset(base, recording):
    raw = raw_of(*recording).filter(0.1, 75, verbose="error")
    windows = make(base, adapter="tuab")(epochs_of(raw, 2.0))
    assert len(windows) == 20 and {window["onset"] for window in windows} == {None}
    with pytest.raises(ValueError, match="stride_s: for continuous recordings"):
        make(base, adapter="tuab", stride_s=1)(epochs_of(raw, 2.0))


def test_lists_generators_and_datasets_of_recordings(base, recording):
    other = (recording[0][:, ::-1].copy(), *recording[1:])
    label = make(base, adapter="tuab")
    expected = [label(recording), label(other)]
    assert expected[0] != expected[1]
    assert label([recording, other]) == expected
    assert label([]) == []
    opened = []

    def recordings():
        for item in (recording, other):
            opened.append(item)
            yield item

    lazy = label(recordings())
    assert next(lazy) == expected[0] and len(opened) <= 2
    assert list(lazy) == expected[1:]
    rows = [{"eeg": recording, "sex": "f"}, {"eeg": other, "sex": "m"}]
    assert list(label(KeyDataset(rows, "eeg"))) == expected


def test_top_k_keeps_the_most_probable_labels(base, recording):
    label = make(base, adapter="sleep-edf", top_k=2)
    full = label(recording, top_k=5)
    for window, whole in zip(label(recording), full, strict=True):
        assert list(window["scores"].items()) == list(whole["scores"].items())[:2]


def test_a_model_that_is_given_stays_as_it_was(base, recording):
    model = model_with_tasks("tuab", options={"dropout": 0.5})
    model.train()
    label = make(model)
    assert label.model is model
    first = label(recording)
    assert label(recording) == first  # no dropout
    assert model.training and model.active_adapter == "tuab"
    assert list(label(recording, adapter=["tuab"])) == ["tuab"]


def test_adapters_are_loaded_once_and_leave_the_active_one(base, recording, monkeypatch):
    model = AutoModel.from_pretrained(base)
    model.load_adapter("tuab")
    label = make(model, adapter="seed-v", feature_extractor=MteegFeatureExtractor())
    assert set(model.tasks) == {"tuab", "seed-v"} and model.active_adapter == "tuab"
    folder = str(base / "adapters" / "sleep-edf")
    found = label(recording, adapter=folder)
    monkeypatch.setattr(model, "load_adapter", lambda *_, **__: pytest.fail("loaded again"))
    assert label(recording, adapter=folder) == found
    assert label(recording, adapter="sleep-edf") == found
    assert (
        label(recording) == label(recording, adapter="seed-v") != label(recording, adapter="tuab")
    )


def test_a_task_s_own_folder_is_a_model_too(base, recording):
    label = make(base / "adapters" / "seed-v")
    assert np.allclose(
        table(label(recording), "seed-v"), by_hand(base, recording, "seed-v"), atol=1e-5
    )


def test_what_is_saved_loads_without_trust_in_code(base, recording, tmp_path):
    label = make(base, adapter=["tuab", "seed-v"])
    label.save_pretrained(tmp_path / "saved")
    again = make(tmp_path / "saved", adapter=["tuab", "seed-v"])
    assert again(recording) == label(recording)


def test_half_precision_and_device_are_taken(base, recording):
    label = make(base, adapter="tuab", dtype=torch.bfloat16, device="cpu")
    assert label.model.dtype == torch.bfloat16 and label.device == torch.device("cpu")
    expected = by_hand(base, recording, "tuab")
    assert np.allclose(table(label(recording), "tuab"), expected, atol=0.1)


def test_wrong_use_is_named(base, recording):
    label = make(base, adapter="tuab")
    cases = {
        "unknown options ['strides']": {"strides": 1},
        "stride_s: expected a number above 0, found 0": {"stride_s": 0},
        "top_k: expected a whole number above 0, found 1.5": {"top_k": 1.5},
        "batch_size: expected a whole number above 0, found 0": {"batch_size": 0},
        "expected a task's name, or a list of some, found []": {"adapter": []},
        "expected every task once": {"adapter": ["tuab", "tuab"]},
        "No adapter 'chb-mit'": {"adapter": "chb-mit"},
    }
    for words, options in cases.items():
        with pytest.raises(ValueError, match=re.escape(words)):
            label(recording, **options)
    with pytest.raises(ValueError, match="expected array, channels, sampling_rate"):
        label({"array": recording[0], "names": NAMES})
    with pytest.raises(TypeError, match="Expected an mne Raw or Epochs, a file's path"):
        label(recording[0])
    with pytest.raises(ValueError, match=r"Expected a task to label with.*holds none"):
        make(base)(recording)
    with pytest.raises(ValueError, match=r"expected modeling_mteeg's MteegModel.*linear\.Linear"):
        EegClassificationPipeline(torch.nn.Linear(1, 1))


def test_an_error_in_one_of_many_says_which(base, recording):
    array, names, rate = recording
    label = make(base, adapter="tuab")
    with pytest.raises(SignalError, match="C3") as caught:
        label([recording, (array, ["X1" if name == "C3" else name for name in names], rate)])
    assert "recording 1" in caught.value.__notes__[0]


def test_the_examples_of_the_start_page_run(base, recording):
    blocks = re.findall(r"```python\n(.*?)```", START.read_text("utf-8"), re.S)
    names = {
        "base": str(base),
        "raw": raw_of(*recording),
        "recording": recording,
        "model": AutoModel.from_pretrained(base).eval(),
        "extractor": MteegFeatureExtractor(),
    }
    chosen = [block for block in blocks if TASK in block or "model(tasks=" in block]
    assert len(chosen) == 2
    for block in chosen:
        block = re.sub(r"^eeg = .*$", "eeg = recording", block, flags=re.M)  # the demo's file
        exec(compile(block, str(START), "exec"), names)
    assert names["out"]["tuab"].logits.shape == (20, 1)
    assert names["out"]["tuev"].logits.shape == (41, 6)
