"""Answers on recordings whose electrodes are not the task's: predict, explain, files, pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from caps import SIXTY_FOUR, cap_raw, field_uv, places_of
from tiny_models import randomize, tiny_model
from tiny_recordings import card

from modeling_mteeg import cli
from modeling_mteeg.explanation.explaining import window_inputs
from modeling_mteeg.model.channels import amplifier_numbers, montage_of_numbers
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict

pytest.importorskip("mne")
pytestmark = pytest.mark.filterwarnings("ignore:A recording is shorter", "ignore:The recording is")
NAMES = ("FP1", "C3", "O2", "CZ")
CARDS = {
    "four": card(name="four", channels=NAMES, window_s=2.0),
    "differences": card(name="differences", channels=("FP1-C3", "CZ-O2"), window_s=2.0),
}


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    for name, own in CARDS.items():
        model.add_adapter(name, card=own)
    randomize(model)
    return model.eval()


@pytest.fixture(scope="module")
def raw():
    """A cap on which two of the task's electrodes are bad."""
    raw = cap_raw(places_of("colin27_1005", SIXTY_FOUR), seconds=12.0)
    raw.info["bads"] = ["FP1", "C3"]
    return raw


def test_the_answer_is_that_on_the_recording_that_mne_interpolated(model, raw):
    found = predict(raw, model, list(CARDS), interpolate=True, stride_s=1.0)
    mended = raw.copy().interpolate_bads(verbose="error")
    expected = predict(mended, model, list(CARDS), stride_s=1.0)
    for name, own in found.items():
        assert np.abs(own.probabilities - expected[name].probabilities).max() < 1e-5
        assert any("2 electrodes were interpolated" in note for note in own.notes)
        assert own.provenance["settings"]["interpolate"] is True
    pieces = predict(raw, model, "four", interpolate=True, stride_s=1.0, block_s=0.7)["four"]
    assert np.abs(pieces.probabilities - found["four"].probabilities).max() < 1e-6
    with pytest.raises(SignalError, match="missing: FP1, C3"):
        predict(raw, model, "four")


def test_where_nothing_lacks_the_answer_is_bit_equal(model, raw):
    whole = raw.copy()
    whole.info["bads"] = []
    found, plain = (predict(whole, model, "four", interpolate=how)["four"] for how in (True, False))
    assert np.array_equal(found.probabilities, plain.probabilities)


def test_explain_sees_the_same_windows(raw):
    mended = raw.copy().interpolate_bads(verbose="error")
    found = window_inputs(raw, CARDS["four"], [2.0], interpolate=True)
    assert any("2 electrodes were interpolated" in str(one) for one in found.findings)
    expected = window_inputs(mended, CARDS["four"], [2.0])
    assert found.channels == NAMES
    away = found.inputs["input_values"] - expected.inputs["input_values"]
    assert away.abs().max() < 1e-5


def test_what_is_not_covered_is_refused_unless_it_may_be_missing(model, raw):
    front = raw.copy().pick([name for name in SIXTY_FOUR if name[0] in "FA"] + ["C3", "CZ"])
    front.info["bads"] = []
    with pytest.raises(
        SignalError, match=r"missing: O2.*O2 \(not interpolated: its nearest electrode, CZ, is \d"
    ) as error:
        predict(front, model, "four", interpolate=True)
    assert "physical dimension" not in str(error.value)  # no word of units
    assert "(--interpolate)" not in str(error.value)
    with pytest.raises(SignalError, match=r"electrodes have a position.*\(--interpolate\)"):
        predict(front, model, "four")
    found = predict(front, model, "four", interpolate=True, allow_missing=1)["four"]
    assert found.missing == ("O2",)


@pytest.mark.parametrize("drawn", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_net_is_predicted_by_the_command(model, tmp_path, capsys, drawn):
    base = tmp_path / "base"
    model.save_pretrained(base)
    model.save_adapter("four", base / "adapters" / "four")
    net = places_of("GSN-HydroCel-64_1.0")
    path = tmp_path / "net_raw.fif"
    net_raw = cap_raw(net, field_uv(np.array(list(net.values())), seconds=6.0))
    net_raw.set_montage(None).save(path, verbose="error")
    out, plot = tmp_path / "events.tsv", tmp_path / "answer.png"
    command = ["predict", str(path), "--base", str(base), "--task", "four", "--quiet"]
    command += ["--out", str(out)]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert "HydroCel net's own names" in said and "--interpolate GSN-HydroCel-64_1.0" in said
    command += [*(["--plot", str(plot)] if drawn else []), "--interpolate"]
    assert cli.main(command) == 2
    assert "--interpolate GSN-HydroCel-64_1.0" in capsys.readouterr().err
    assert cli.main([*command, "GSN-HydroCel-64_1.0"]) == 0
    sidecar = json.loads(out.with_suffix(".json").read_text("utf-8"))
    (made,) = sidecar["GeneratedBy"]
    assert made["Settings"]["interpolate"] == "GSN-HydroCel-64_1.0"
    assert any("4 electrodes were interpolated" in note for note in sidecar["Notes"])
    assert not drawn or plot.stat().st_size > 1000


def test_numbers_of_amplifiers_and_the_montages_that_they_fit():
    caps = {16: "biosemi16", 64: "biosemi64", 128: "biosemi128", 256: "biosemi256"}
    for count, montage in caps.items():
        names = [f"{'ABCDEFGH'[at // 32]}{at % 32 + 1}" for at in range(count)]
        assert montage_of_numbers(names) == montage
        assert amplifier_numbers([*names, "FP1", "EXG1"]) == set(names)
    assert amplifier_numbers([f"A{at}" for at in range(1, 33)] + ["C3", "C4", "F3"]) == {
        f"A{at}" for at in range(1, 33)
    }
    net = [f"E{at}" for at in range(1, 129)]
    assert montage_of_numbers(net) == "GSN-HydroCel-128"
    assert montage_of_numbers([*net, "CZ"]) == "GSN-HydroCel-129"
    assert not montage_of_numbers(NAMES) and not amplifier_numbers(["A1", "A2", "C3", "E1"])
