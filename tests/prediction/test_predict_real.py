"""mteeg predict on real recordings (PhysioNet), which are not part of the repository."""

from __future__ import annotations

import csv
import json
import warnings

import numpy as np
import pytest
import torch
from tiny_models import randomize, tiny_model

from modeling_mteeg import MteegFeatureExtractor, cli
from modeling_mteeg.dataset_scripts.chb_mit import CARD as CHB_MIT
from modeling_mteeg.dataset_scripts.physionet_mi import CARD as PHYSIONET_MI
from modeling_mteeg.prediction import predict


def model_of(card):
    model = tiny_model()
    model.add_adapter(card.name, card=card)
    randomize(model)
    return model.eval()


def of_the_whole(model, path, name, stride_s):
    card = model.tasks[name]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        inputs = MteegFeatureExtractor()(path, task=card, stride_s=stride_s)
        return card.probabilities(model(**inputs, task=name).logits).numpy()


def test_a_motor_imagery_run_from_edf_to_events(recordings_dir, tmp_path):
    path = recordings_dir / "eegmmidb" / "S001R04.edf"
    model = model_of(PHYSIONET_MI)
    model.save_pretrained(tmp_path)
    model.save_adapter(PHYSIONET_MI.name, tmp_path / "adapters" / PHYSIONET_MI.name)
    out = tmp_path / "events.tsv"
    options = ["--base", str(tmp_path), "--task", PHYSIONET_MI.name, "--stride", "8"]
    assert cli.main(["predict", str(path), *options, "--out", str(out), "--quiet"]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    expected = of_the_whole(model, path, PHYSIONET_MI.name, 8.0)
    np.testing.assert_allclose([[float(v) for v in row[4:]] for row in rows], expected, atol=1e-4)
    sidecar = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert len(sidecar["Channels"]) == 64 and sidecar["RecordingDuration"] == 125.0


def test_a_seizure_in_a_file_that_repeats_a_channel(recordings_dir):
    path = recordings_dir / "chb-mit" / "chb01_03_t2986-3036_raw.fif"
    model = model_of(CHB_MIT)
    found = predict(path, model, stride_s=10.0)[CHB_MIT.name]
    assert found.channels == CHB_MIT.channels and found.derived == ()
    expected = of_the_whole(model, path, CHB_MIT.name, 10.0)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    assert len(expected) == 5 and np.ptp(expected[:, 1]) > 1e-3


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_real_montage_without_some_channels(recordings_dir, left_out):
    import mne

    raw = mne.io.read_raw(recordings_dir / "eegmmidb" / "S002R04.edf", verbose="error")
    raw.crop(0, 20).load_data(verbose="error")
    dropped = ["Cz..", "Iz.."][: left_out + 1]
    raw.drop_channels(dropped)
    model = model_of(PHYSIONET_MI.replace(max_missing_channels=2))
    found = predict(raw, model)[PHYSIONET_MI.name]
    assert found.missing == ("CZ", "IZ")[: left_out + 1]
    expected = of_the_whole(model, raw, PHYSIONET_MI.name, None)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
