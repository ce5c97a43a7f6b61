"""What is odd about a recording comes with the pipeline's windows, and as warnings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from odd_files import time_stamps, write_odd_edf
from tiny_models import CARDS, model_with_tasks
from tiny_recordings import eeg
from transformers import pipeline

from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.prediction import predict

RATE = 100
SECONDS = [*range(10), *range(300, 307)]
NAMES = list(CARDS["tuab"].channels)


@pytest.fixture(scope="module")
def model():
    return model_with_tasks("tuab", "tuev")


@pytest.fixture
def gaps(tmp_path):
    signal = eeg(len(SECONDS), RATE, len(NAMES))
    signal[2, : 4 * RATE] = 5.0
    return write_odd_edf(
        tmp_path / "gaps.edf", signal, NAMES, RATE, kind="EDF+D", stamps=time_stamps(SECONDS)
    )


def test_findings_come_with_the_windows_and_every_one_is_a_warning(model, gaps):
    label = pipeline("eeg-classification", model=model, adapter="tuab")
    expected = predict(gaps, model, "tuab")["tuab"]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        windows = label(str(gaps))
    ours = [one for one in warned if one.category is RecordingWarning]
    assert all(one.filename == __file__ for one in ours)
    assert [str(one.message) for one in ours] == [
        f"{gaps}: task 'tuab': {note}" for note in expected.notes
    ]
    assert windows.findings == expected.findings
    assert {"parts", "constant", "end-left-out"} <= {one.code for one in windows.findings}
    assert [one["onset"] for one in windows] == expected.onset_s.tolist() == [
        0, 2, 4, 6, 8, 300, 302, 304
    ]  # fmt: skip
    assert [one["note"] for one in windows] == list(expected.marked)
    assert windows[0]["note"] == "constant: C3" and windows[-1]["note"] == ""


@pytest.mark.filterwarnings("ignore")
def test_a_clean_recording_has_neither_findings_nor_notes(model):
    names = [*NAMES, "A1"]
    windows = pipeline("eeg-classification", model=model, adapter=["tuab", "tuev"])(
        (eeg(40, 200.0, len(names)), names, 200.0)
    )
    for some in windows.values():
        assert some.findings == () and not any("note" in one for one in some)


@pytest.mark.filterwarnings("ignore")
def test_windows_that_are_cut_already_have_the_extractors_findings(model):
    cut = eeg(20, 200.0, len(NAMES)).reshape(len(NAMES), 10, -1).swapaxes(0, 1)
    cut[:, 1] = np.random.default_rng(0).normal(size=(10, 1))
    windows = pipeline("eeg-classification", model=model, adapter="tuab")((cut, NAMES, 200.0))
    assert [(one.code, one.channels) for one in windows.findings] == [("flat", ("FP2",))]
