"""Files of epochs are windows that are cut already, whatever opens them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from tiny_recordings import NAMES, card, eeg, epochs_of, raw_of

from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.recording_files import open_file, read_recording
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.recordings.block_reader import open_recording

mne = pytest.importorskip("mne")

RATE, SECONDS, COUNT = 100, 4, 5
SIGNAL = eeg(SECONDS * COUNT, RATE)


def _eeglab(path: Path) -> None:
    """A .set of several trials with its samples inside."""
    starts = np.arange(COUNT)
    fields = ("labels", "type latency epoch", "event eventtype eventlatency")
    kinds = [[(name, "O") for name in names.split()] for names in fields]
    content = {
        "setname": path.stem, "nbchan": len(NAMES), "trials": COUNT, "pnts": SECONDS * RATE,
        "srate": float(RATE), "xmin": 0.0, "xmax": SECONDS - 1 / RATE,
        "data": SIGNAL.reshape(len(NAMES), COUNT, -1).swapaxes(1, 2).astype("f4"),
        "chanlocs": np.array([(name,) for name in NAMES], kinds[0]),
        "event": np.array([("cue", n * SECONDS * RATE + 1.0, n + 1) for n in starts], kinds[1]),
        "epoch": np.array([(n + 1, "cue", 0.0) for n in starts], kinds[2]),
        "icawinv": [], "icaweights": [], "icasphere": [],
    }  # fmt: skip
    savemat(path, {"EEG": content}, appendmat=False)


def _fif(path: Path) -> None:
    epochs_of(raw_of(SIGNAL, rate_hz=RATE), SECONDS).save(path, fmt="double", verbose="error")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a-epo.fif", "b_epo.fif.gz", "epochs.fif", "trials.set"])
def test_a_file_of_epochs_gives_its_windows(name, tmp_path):
    path = tmp_path / name
    _eeglab(path) if path.suffix == ".set" else _fif(path)
    opened, findings = open_file(path, preload=False)
    assert isinstance(opened, mne.BaseEpochs) and findings == () and open_source(path).cut
    extractor, task = MteegFeatureExtractor(), card(lowpass_hz=None, notch_hz=None)
    found = extractor(path, task=task)
    windows = SIGNAL.reshape(len(NAMES), COUNT, -1).swapaxes(0, 1)
    expected = extractor((windows, NAMES, RATE), task=task)
    torch.testing.assert_close(found["input_values"], expected["input_values"], rtol=0, atol=1e-5)
    assert found.onset_s is None
    with pytest.raises(ValueError, match=f"{COUNT} windows that are cut already. Expected a cont"):
        read_recording(path)
    with pytest.raises(ValueError, match="continuous recording, found Epochs cut already"):
        open_recording(path)


def test_a_fif_file_without_a_signal_is_named(tmp_path):
    mne.write_events(tmp_path / "a-eve.fif", np.array([[1, 0, 1]]))
    with pytest.raises(ValueError, match="is not a recording that MNE can read"):
        open_file(tmp_path / "a-eve.fif")
