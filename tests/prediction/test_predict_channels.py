"""Names and units of single channels where people get answers: predict, pipeline, explain, live."""

from __future__ import annotations

import json
import logging
import re

import numpy as np
import pytest
from recording_files import write_recording
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg

from modeling_mteeg import MteegFeatureExtractor, cli
from modeling_mteeg.app.examine import fit_of
from modeling_mteeg.explanation.explaining import window_inputs
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction.live import LivePredictor

CARDS = {
    "six": card(name="six", channels=NAMES, window_s=2.0),
    "differences": card(name="differences", channels=("FP1-C3", "C4-O1"), window_s=2.0),
    "old": card(name="old", channels=("F7-T3", "T3-T5"), window_s=2.0),
}
pytestmark = pytest.mark.filterwarnings("ignore:A recording is shorter")


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    for name, own in CARDS.items():
        model.add_adapter(name, card=own)
    randomize(model)
    return model.eval()


def loud(*rows, times=1e3):
    signal = eeg(12.0)
    signal[list(rows)] *= times
    return signal


@pytest.mark.parametrize("times", [1e3, 1e6])
def test_predict_names_channels_in_another_unit_or_goes_on_without(model, times):
    recording = (loud(2, 4, times=times), NAMES, 250.0)
    with pytest.raises(SignalError, match=r"missing: C3, C4\..*C3 \(its amplitude.*allows none"):
        predict(recording, model, "six")
    found = predict(recording, model, "six", allow_missing=2)["six"]
    rest = [0, 1, 3, 5]
    others = (eeg(12.0)[rest], [NAMES[row] for row in rest], 250.0)
    expected = predict(others, model, "six", allow_missing=2)["six"]
    assert np.array_equal(found.probabilities, expected.probabilities)
    assert found.missing == ("C3", "C4")
    assert any("C4 (its amplitude is" in note for note in found.notes)


def test_a_difference_of_channels_in_two_units_is_refused(model):
    with pytest.raises(SignalError, match=r"FP1-C3 \(\d+ times\)"):
        predict((loud(2), NAMES, 250.0), model, "differences", allow_missing=1)


def test_explain_and_live_refuse_too(model):
    recording = (loud(1), NAMES, 250.0)
    with pytest.raises(SignalError, match="missing: FP2"):
        window_inputs(recording, CARDS["six"], [2.0])
    read = window_inputs(recording, CARDS["six"], [2.0], allow_missing=1)
    assert any("left out: FP2" in finding.sentence for finding in read.findings)
    assert "FP2" not in read.channels and read.inputs["input_values"].shape[1] == 5
    live = LivePredictor(model, "six", NAMES, 250.0)
    with pytest.raises(SignalError, match=r"1 of 6 .*FP2 \(\d+ times\)"):
        live.push(recording[0])
        live.finish()


def test_live_notes_small_channels(model, caplog):
    live = LivePredictor(model, "six", NAMES, 250.0)
    with caplog.at_level(logging.WARNING):
        live.push(loud(3, times=1e-3))
        assert live.finish()
    assert "much smaller than the others" in caplog.text and "CZ" in caplog.text


def test_the_command_names_the_unit_and_writes_it_down(model, tmp_path, capsys):
    base = tmp_path / "base"
    model.save_pretrained(base)
    model.save_adapter("six", base / "adapters" / "six")
    path = write_recording(tmp_path, "rec.edf", eeg(12.0), NAMES, 250.0)
    content = bytearray(path.read_bytes())
    start = 256 + 96 * int(content[252:256])
    content[start : start + 8] = b"nV      "  # of FP1
    path.write_bytes(content)
    command = ["predict", str(path), "--base", str(base), "--task", "six", "--quiet"]
    out = tmp_path / "events.tsv"
    assert cli.main([*command, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "FP1 (the header gives no unit of voltage, but 'nV')" in said and "--unit uV" in said
    assert cli.main([*command, "--out", str(out), "--allow-missing", "1"]) == 0
    sidecar = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert sidecar["MissingChannels"] == ["FP1"]
    assert any("FP1 (the header gives no unit" in note for note in sidecar["Notes"])
    (fit,) = [fit_of("six", CARDS["six"], open_source(path))]
    assert not fit.fits and "FP1: the header gives no unit" in fit.words


def test_names_of_the_other_system_in_differences_are_hinted_with_the_command(model):
    recording = (eeg(12.0)[:3], ["F7", "T7", "P7"], 250.0)
    with pytest.raises(SignalError, match="--rename T7=T3 --rename P7=T5"):
        predict(recording, model, "old")
    found = predict(recording, model, "old", rename={"T7": "T3", "P7": "T5"})["old"]
    meant = predict((eeg(12.0)[:3], ["F7", "T3", "T5"], 250.0), model, "old")["old"]
    assert np.array_equal(found.probabilities, meant.probabilities)
    words = fit_of("old", CARDS["old"], open_source(recording)).words
    assert "T7=T3, P7=T5" in words


@pytest.mark.parametrize("names", [("F7", "T7", "P7"), ("F7-T3", "T3-P7")])
def test_the_words_that_the_command_line_hints_at_are_those_that_it_takes(
    model, names, tmp_path, capsys
):
    model.save_pretrained(tmp_path / "base")
    model.save_adapter("old", tmp_path / "base" / "adapters" / "old")
    meant = ("F7", "T3", "T5") if len(names) == 3 else CARDS["old"].channels
    answers = []
    for folder, channels in (("hinted", names), ("meant", meant)):
        path = write_recording(tmp_path / folder, "a.edf", eeg(12.0)[: len(names)], channels, 250.0)
        out = tmp_path / folder / "events.tsv"
        command = ["predict", str(path), "--base", str(tmp_path / "base"), "--task", "old",
                   "--quiet", "--out", str(out)]  # fmt: skip
        if folder == "hinted":
            assert cli.main(command) == 2
            words = re.findall(r"--rename \S+=[\w-]+", capsys.readouterr().err)
            assert words, names
            command += [part for word in words for part in word.split()]
        assert cli.main(command) == 0
        answers.append(out.read_text("utf-8"))
    assert answers[0] == answers[1]


def test_a_repeated_label_with_a_reference_is_taken_once(model, tmp_path):
    pytest.importorskip("mne")
    signal = eeg(12.0)
    labels = [f"EEG {name} - REF" for name in NAMES]
    once = write_recording(tmp_path, "once.edf", signal, labels, 250.0)
    twice = write_recording(
        tmp_path, "twice.edf", np.vstack([signal, signal[:1]]), [*labels, labels[0]], 250.0
    )
    found, expected = (predict(path, model, "six")["six"] for path in (twice, once))
    assert np.array_equal(found.probabilities, expected.probabilities)


@pytest.mark.parametrize(
    ("names", "whose"),
    [
        ([f"A{number}" for number in range(1, 33)], "BioSemi's own names"),
        ([f"E{number}" for number in range(1, 33)], "HydroCel net's own names"),
    ],
)
def test_an_amplifiers_own_names_are_refused_as_such(model, names, whose):
    recording = (eeg(12.0, channels=32), names, 250.0)
    ears = card(name="ears", channels=("A1", "A2"), window_s=2.0)
    with pytest.raises(SignalError, match=f"{whose}.*--rename"):
        predict(recording, model, "six", allow_missing=5)
    for options in ({}, {"task": ears}, {"task": ears.replace(max_missing_channels=1)}):
        with pytest.raises(SignalError, match=whose):
            MteegFeatureExtractor()(recording, **options)
    # Renamed, or beside names of the table, they do no harm.
    renamed = dict(zip(names, NAMES, strict=False))
    assert predict(recording, model, "six", rename=renamed)["six"].channels == tuple(NAMES)
    both = (eeg(12.0, channels=38), [*NAMES, *names], 250.0)
    assert predict(both, model, "six")["six"].channels == tuple(NAMES)


def test_an_annotation_that_is_no_utf_8_changes_no_number(tmp_path):
    import edfio

    signals = [
        edfio.EdfSignal(row, 250, label=name, physical_dimension="uV",
                        physical_range=(-3276.8, 3276.7))
        for row, name in zip(eeg(12.0), NAMES, strict=True)
    ]  # fmt: skip
    path = tmp_path / "rec.edf"
    notes = [edfio.EdfAnnotation(3.0, None, "Augen geXffnet")]
    edfio.Edf(signals, data_record_duration=1, annotations=notes).write(path)
    right = MteegFeatureExtractor()(path).input_values
    path.write_bytes(path.read_bytes().replace(b"geXffnet", b"ge\xf6ffnet"))
    assert (MteegFeatureExtractor()(path).input_values == right).all()
