"""``mteeg explain``: windows of the recording, values of the model, a table and a picture."""

from __future__ import annotations

import re

import mne
import numpy as np
import pytest
import torch
from tiny_models import CARDS, model_with_tasks

from modeling_mteeg import MteegFeatureExtractor, cli
from modeling_mteeg.commands.explain import NO_WINDOW
from modeling_mteeg.explanation.attribution import attribute
from modeling_mteeg.explanation.explaining import (
    NoSuchWindowError,
    class_to_explain,
    explain,
    window_inputs,
    windows_of_label,
)
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import Prediction, predict

CARD = CARDS["chb-mit"]  # FP1-F7, F7-T7, C3-P3; windows of 2 s
NAMES = ("P3", "FP1", "C3", "T7", "F7")


@pytest.fixture(scope="module")
def model():
    return model_with_tasks("chb-mit", "seed-v")


def recording(rate: float = 256.0, seconds: float = 120.0):
    noise = np.random.default_rng(0).normal(0, 20e-6, (len(NAMES), round(seconds * rate)))
    noise *= 1 + np.sin(np.arange(noise.shape[1]) / rate)
    return mne.io.RawArray(noise, mne.create_info(list(NAMES), rate, "eeg"), verbose="error")


@pytest.mark.parametrize("rate", [256.0, 200.0, 500.0])
def test_windows_are_those_of_the_whole_recording(rate):
    raw = recording(rate)
    whole = MteegFeatureExtractor()(raw, task=CARD, stride_s=0.5)["input_values"]
    onsets = (51.5, 0.0, 118.0, 77.0, 78.0)
    read = window_inputs(raw, CARD, onsets)
    inputs = read.inputs
    assert read.channels == CARD.channels and inputs["input_values"].dtype == torch.float32
    expected = whole[[int(2 * onset) for onset in onsets]]
    assert inputs["input_values"].shape == expected.shape == (5, 3, 2, 200)
    torch.testing.assert_close(inputs["input_values"], expected, rtol=0, atol=2e-4)


def test_the_recording_is_read_in_pieces(tmp_path, monkeypatch):
    path = tmp_path / "long_raw.fif"
    recording(64.0, 3000.0).save(path, verbose="error")
    read, plain = [], mne.io.BaseRaw.get_data

    def get_data(self, picks=None, start=0, stop=None, **options):
        read.append((start, stop))
        return plain(self, picks=picks, start=start, stop=stop, **options)

    monkeypatch.setattr(mne.io.BaseRaw, "get_data", get_data)
    card = CARD.replace(lowpass_hz=None, notch_hz=None)
    window_inputs(path, card, (10.0, 500.0))
    assert max(stop - start for start, stop in read) <= 60 * 64
    assert max(stop for _, stop in read) == 3000 * 64  # it is judged as a whole


def test_values_are_the_mean_over_the_windows(model):
    raw = recording()
    found = explain(raw, model, "chb-mit", onsets_s=[40, 60], label="background", steps=64)
    inputs = window_inputs(raw, CARD, (40, 60)).inputs
    expected = attribute(model, inputs, "chb-mit", target=0, steps=64).mean(0)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-6)
    assert (found.channels, found.label, found.onset_s) == (CARD.channels, "background", (40, 60))
    assert found.task == "chb-mit" and not found.simulated and found.signed


@pytest.mark.filterwarnings("ignore::modeling_mteeg.explanation.attribution.AttributionWarning")
def test_without_onsets_the_surest_windows_of_the_label_are_taken(model):
    raw = recording()
    sure = predict(raw, model, "chb-mit")["chb-mit"].probabilities[:, 1]
    found = explain(raw, model, "chb-mit", windows=3, method="attention-rollout")
    assert found.onset_s == tuple(sorted(2.0 * np.argsort(-sure)[:3]))
    assert (found.labelled.number, found.labelled.total) == ((sure > 0.5).sum(), len(sure))
    assert found.labelled.label == "seizure"
    assert found.label == "" and not found.signed
    assert found.values.sum() == pytest.approx(1, abs=1e-5)
    least = float(np.sort(1 - sure)[-2])
    found = explain(
        raw, model, "chb-mit", windows=5, steps=16, label="background", min_probability=least
    )
    assert found.onset_s == tuple(sorted(2.0 * np.argsort(sure)[:2]))
    assert str(found.labelled) == (
        f"2 of {len(sure)} windows are background (its probability {least:g} or more)"
    )


def of_classes(rows, card=CARDS["seed-v"]) -> Prediction:
    """A prediction with these probabilities."""
    rows = np.array(rows, np.float32)
    return Prediction(card, np.arange(len(rows)) * card.window_s, rows, card.window_s, ("C3",))


def test_windows_are_the_label_that_the_task_decides():
    """Not those with a high probability of it where another class has a higher one."""
    prediction = of_classes([[0.45, 0.5, 0.05, 0, 0], [0.4, 0.3, 0.3, 0, 0], [0.1, 0.9, 0, 0, 0]])
    card, rows = prediction.card, prediction.probabilities
    chosen, labelled = windows_of_label(card, rows, "a")
    assert chosen == [1] and (labelled.number, labelled.total) == (1, 3)
    assert windows_of_label(card, rows, "b")[0] == [2, 0]
    assert windows_of_label(card, rows, "b", 0.3)[0] == [2, 0, 1]
    assert windows_of_label(card, rows, "d")[0] == []
    assert class_to_explain(card, rows) == 1
    two_logits = CARDS["chb-mit"].replace(loss="cross_entropy", monitor="balanced_accuracy")
    assert class_to_explain(two_logits, np.array([[0.9, 0.1]])) == 1, "the second of two"
    careful = CARDS["chb-mit"].replace(threshold=0.8)
    rows = of_classes([[0.3, 0.7], [0.1, 0.9]], careful).probabilities
    chosen, labelled = windows_of_label(careful, rows, "seizure")
    assert chosen == [1] and "threshold of 0.8 for seizure" in labelled.rule
    assert windows_of_label(careful, rows, "background")[0] == [0]


def test_where_no_window_is_the_label_that_is_said(model):
    raw = recording()
    sure = predict(raw, model, "chb-mit")["chb-mit"].probabilities[:, 1]
    with pytest.raises(NoSuchWindowError) as caught:
        explain(raw, model, "chb-mit", min_probability=1.0)
    text = str(caught.value)
    assert text.startswith(f"none of {len(sure)} windows is seizure (its probability 1 or more)")
    assert f"{sure.max():.3f}, in the window from {2 * sure.argmax()} s" in text
    onset_s = 2.0 * sure.argmax()
    asked = explain(raw, model, "chb-mit", onsets_s=[onset_s], min_probability=1.0, steps=32)
    assert asked.labelled.number == 0 and asked.onset_s == (onset_s,)


def test_the_label_is_the_most_probable_one_or_the_second_of_two(model):
    names = CARDS["seed-v"].channels
    noise = np.random.default_rng(1).normal(0, 20, (len(names), 8000))
    array = (noise, names, 200.0)
    probabilities = predict(array, model, "seed-v")["seed-v"].probabilities
    found = explain(array, model, "seed-v", windows=2, method="attention-rollout")
    assert found.label == ""
    found = explain(array, model, "seed-v", windows=2, steps=64)
    counts = np.bincount(probabilities.argmax(1), minlength=5)
    assert found.label == CARDS["seed-v"].labels[counts.argmax()]
    first = explain(array, model, "seed-v", onsets_s=[3.0], steps=32)
    assert first.label == CARDS["seed-v"].labels[probabilities[3].argmax()]
    binary = explain(recording(), model, "chb-mit", onsets_s=[3.0], steps=32)
    assert binary.label == "seizure"


def test_wrong_use_is_named(model):
    raw = recording()
    cases = {
        "onset from 0 to 118 s, found 118.5 s": {"onsets_s": [118.5]},
        "found -1 s": {"onsets_s": [-1.0]},
        "at least one window": {"onsets_s": []},
        "label: expected one of background, seizure": {"label": "spike"},
        "windows: expected": {"windows": 0},
        "from 0 to 1, found 1.5": {"min_probability": 1.5},
        "from 0 to 1, found True": {"min_probability": True},
    }
    for words, options in cases.items():
        with pytest.raises(ValueError, match=words):
            explain(raw, model, "chb-mit", **options)
    with pytest.raises(ValueError, match="task: expected one of"):
        explain(raw, model, "tuab")
    with pytest.raises(SignalError, match="C3-P3"):
        explain(raw.copy().drop_channels(["P3"]), model, "chb-mit", onsets_s=[0])
    some = explain(
        raw.copy().drop_channels(["P3"]), model, "chb-mit", onsets_s=[0], allow_missing=1, steps=64
    )
    assert some.channels == ("FP1-F7", "F7-T7")


@pytest.fixture(scope="module")
def published(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    model.save_pretrained(folder / "base")
    model.save_adapter("chb-mit", folder / "base" / "adapters" / "chb-mit")
    recording(seconds=40).save(folder / "one_raw.fif", verbose="error")
    return folder


def test_command_prints_draws_and_writes(published, tmp_path, capsys):
    command = ["explain", str(published / "one_raw.fif"), "--base", str(published / "base"),
               "--task", "chb-mit"]  # fmt: skip
    files = ["--out", str(tmp_path / "new" / "head.png"), "--table", str(tmp_path / "head.tsv")]
    assert cli.main([*command, "--onset", "10", "--onset", "12", *files]) == 0
    out = capsys.readouterr().out
    assert "integrated-gradients for seizure, mean over 2 windows, from 10 s, 12 s" in out
    assert (tmp_path / "new" / "head.png").read_bytes().startswith(b"\x89PNG")
    rows = [row.split("\t") for row in (tmp_path / "head.tsv").read_text().splitlines()]
    before = (tmp_path / "head.tsv").read_bytes()
    assert cli.main([*command, "--onset", "20", *files]) == 2
    assert "already there" in capsys.readouterr().err
    assert (tmp_path / "head.tsv").read_bytes() == before
    assert rows[0] == ["channel", "value"]
    assert [row[0] for row in rows[1:]] == list(CARD.channels)
    assert re.fullmatch(r"(none|1|2) of 2 windows (is|are) seizure \(.*\)", out.splitlines()[1])
    printed = {line.split()[0]: float(line.split()[1]) for line in out.splitlines()[2:5]}
    assert printed == {name: pytest.approx(float(v), abs=1e-4) for name, v in rows[1:]}
    sizes = [abs(value) for value in printed.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert cli.main([*command, "--method", "attention-rollout", "--windows", "2"]) == 0
    assert "attention-rollout, mean over 2 windows" in capsys.readouterr().out


def test_command_ends_with_its_own_code_where_no_window_is_the_label(published, tmp_path, capsys):
    command = ["explain", str(published / "one_raw.fif"), "--base", str(published / "base"),
               "--task", "chb-mit", "--min-probability", "1"]  # fmt: skip
    files = ["--out", str(tmp_path / "head.png"), "--table", str(tmp_path / "head.tsv")]
    assert cli.main([*command, *files]) == NO_WINDOW == 3
    printed = capsys.readouterr()
    assert "chb-mit: none of 20 windows is seizure" in printed.err and printed.out == ""
    assert list(tmp_path.iterdir()) == []
    assert cli.main([*command[:-1], "2"]) == 2
    assert "--min-probability" in capsys.readouterr().err


def code_of(words):
    """The exit code, of usage errors, too."""
    try:
        return cli.main(words)
    except SystemExit as ended:
        return ended.code


def test_command_names_what_is_wrong_before_it_works(published, capsys):
    command = ["explain", "gone.edf", "--base", str(published / "base"), "--task", "chb-mit"]
    cases = {
        "ends in .png": ["--out", "a.txt"],
        "ends in .tsv": ["--table", "a.csv"],
        "expected OLD=NEW, such as T7=T3, found": ["--rename", "T7"],
        "gone.edf": [],
    }
    for words, options in cases.items():
        assert code_of([*command, *options]) == 2
        printed = capsys.readouterr()
        assert words in printed.err and "Traceback" not in printed.err
