"""Explained windows lie in one part, and a recording is judged as a whole, as for predictions."""

from __future__ import annotations

import mne
import numpy as np
import pytest
import torch
from odd_files import time_stamps, write_odd_edf
from tiny_models import CARDS, model_with_tasks
from tiny_recordings import eeg

from modeling_mteeg.explanation.explaining import explain, window_inputs
from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict

CARD = CARDS["chb-mit"]  # FP1-F7, F7-T7, C3-P3; windows of 2 s
NAMES = ("P3", "FP1", "C3", "T7", "F7")
RATE = 200
PARTS = ((0, 40), (300, 301), (500, 550))


@pytest.fixture(scope="module")
def model():
    return model_with_tasks("chb-mit")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An EDF+D file with gaps, and every part as a file of its own."""
    folder = tmp_path_factory.mktemp("gaps")
    seconds = [second for first, last in PARTS for second in range(first, last)]
    signal = eeg(len(seconds), RATE, len(NAMES))
    whole = write_odd_edf(
        folder / "gaps.edf", signal, NAMES, RATE, kind="EDF+D", stamps=time_stamps(seconds)
    )
    ends = np.cumsum([(last - first) * RATE for first, last in PARTS])
    return whole, [
        write_odd_edf(folder / f"{number}.edf", part, NAMES, RATE)
        for number, part in enumerate(np.split(signal, ends[:-1], axis=1))
    ]


def test_windows_are_those_of_the_parts_as_files_of_their_own(files):
    whole, parts = files
    onsets = (520.25, 0.0, 38.0, 500.0, 548.0, 500.0)
    read = window_inputs(whole, CARD, onsets)
    for row, onset in enumerate(onsets):
        number = 2 if onset >= 500 else 0
        alone = window_inputs(parts[number], CARD, [onset - PARTS[number][0]])
        assert torch.equal(
            read.inputs["input_values"][row], alone.inputs["input_values"][0]
        )  # to the bit
    assert [finding.code for finding in read.findings] == ["parts", "derived"]


def test_a_window_outside_the_parts_is_named(files, model):
    ranges = r"\(it lies within one part\): expected an onset from 0 to 38 s, 500 to 548 s, found"
    for onset in (38.5, 120.0, 300.0, 499.0, 549.0):
        with pytest.raises(SignalError, match=f"{ranges} {onset:g} s"):
            explain(files[0], model, "chb-mit", onsets_s=[0.0, onset])


@pytest.mark.filterwarnings("ignore::modeling_mteeg.explanation.attribution.AttributionWarning")
def test_the_surest_windows_of_all_parts_are_explained(files, model):
    with pytest.warns(RecordingWarning, match="3 parts, recorded at 0 to 40 s") as warned:
        found = explain(files[0], model, "chb-mit", windows=3, method="attention-rollout")
    assert [one.filename for one in warned] == [__file__]
    prediction = predict(files[0], model, "chb-mit")["chb-mit"]
    surest = prediction.onset_s[np.argsort(-prediction.probabilities[:, 1], kind="stable")[:3]]
    assert found.onset_s == tuple(sorted(surest)) and found.findings[0].code == "parts"


def raw_of(signal):
    info = mne.create_info(list(NAMES), RATE, "eeg")
    return mne.io.RawArray(signal * 1e-6, info, verbose="error")


def test_the_recording_is_judged_as_a_whole(model):
    """What the explained windows alone do not show is found, and what they alone show is not."""
    flat, loud = eeg(80, RATE, len(NAMES)), eeg(80, RATE, len(NAMES))
    flat[3, : 20 * RATE] = flat[3, 20 * RATE]  # within the windows only
    loud[0, 20 * RATE :] *= 1e4  # outside the windows only
    assert "flat" not in [one.code for one in window_inputs(raw_of(flat), CARD, [2.0]).findings]
    for onset in (2.0, 60.0):
        with pytest.raises(SignalError, match=r"C3-P3 \(\d+ times\)"):
            window_inputs(raw_of(loud), CARD, [onset])
        with pytest.raises(SignalError, match=r"C3-P3 \(\d+ times\)"):
            predict(raw_of(loud), model, "chb-mit")


def test_what_is_wrong_with_the_explained_windows_is_said():
    signal = eeg(40, RATE, len(NAMES))
    signal[2, 20 * RATE :] = 3.0  # C3 comes off
    raw = raw_of(signal).set_annotations(mne.Annotations([5], [1], ["BAD_move"]))
    codes = {
        onsets: [one.code for one in window_inputs(raw, CARD, onsets).findings]
        for onsets in ((0.0, 10.0), (10.0, 5.5), (30.0, 4.5))
    }
    assert list(codes.values()) == [
        ["derived"],
        ["derived", "marked-bad"],
        ["derived", "marked-bad", "constant"],
    ]
