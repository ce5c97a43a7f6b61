"""Recordings of every kind become the same windows."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from tiny_recordings import NAMES, RATE, card, eeg, epochs_of, raw_of
from transformers import AutoFeatureExtractor

from modeling_mteeg.model.channels import UnknownChannelError, channel_ids
from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.preprocessing import preprocess
from modeling_mteeg.model.recording_files import read_recording
from modeling_mteeg.model.signal_checks import SignalError


@pytest.fixture
def extractor() -> MteegFeatureExtractor:
    return MteegFeatureExtractor()


# The numbers ------------------------------------------------------------------------------------


def test_windows_are_the_filtered_signal_in_units_of_a_tenth_of_a_millivolt(extractor):
    signal = eeg()
    out = extractor((signal, NAMES, RATE), window_s=10)
    assert out["input_values"].shape == (4, 6, 10, 200)
    assert out["input_values"].dtype == torch.float32
    expected = preprocess(signal, RATE).reshape(6, 4, 10, 200).transpose(1, 0, 2, 3) / 100
    np.testing.assert_allclose(out["input_values"].numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(out["channel_ids"].numpy(), channel_ids(NAMES))


@pytest.mark.parametrize("rate_hz", [160, 200, 256, 500, 1000, 2000])
def test_a_rhythm_of_50_microvolt_has_amplitude_one_half_and_hum_is_gone(extractor, rate_hz):
    time = np.arange(round(60 * rate_hz)) / rate_hz
    signal = 50 * np.sin(2 * np.pi * 10 * time) + 80 * np.sin(2 * np.pi * 50 * time)
    out = extractor((signal[None], ["CZ"], rate_hz), window_s=10, return_tensors="np")
    middle = out["input_values"][2:4].reshape(-1)
    assert middle.std() * 2**0.5 == pytest.approx(0.5, abs=0.005)
    spectrum = np.abs(np.fft.rfft(middle)) / len(middle) * 2
    hz = np.fft.rfftfreq(len(middle), 1 / 200)
    assert spectrum[hz == 10] == pytest.approx(0.5, abs=0.005)
    assert spectrum[hz == 50] < 0.005


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rate_hz", [100, 128, 173.61, 1024])
def test_any_rate_gives_200_samples_a_second(extractor, rate_hz):
    out = extractor((eeg(35, rate_hz), NAMES, rate_hz), window_s=5)
    assert out["input_values"].shape == (7, 6, 5, 200)


def test_raw_in_volt_equals_array_in_microvolt(extractor):
    signal = eeg()
    array = extractor((signal, NAMES, RATE))["input_values"]
    raw = extractor(raw_of(signal))["input_values"]
    volts = extractor((signal * 1e-6, NAMES, RATE), unit="V")["input_values"]
    tensor = extractor((torch.tensor(signal), NAMES, RATE))["input_values"]
    torch.testing.assert_close(raw, array, rtol=0, atol=1e-5)
    torch.testing.assert_close(volts, array, rtol=0, atol=1e-5)
    torch.testing.assert_close(tensor, array, rtol=0, atol=0)


def test_a_file_equals_its_raw(extractor, tmp_path):
    raw = raw_of(eeg())
    raw.save(tmp_path / "simulated_raw.fif", verbose="error")
    from_file = extractor(tmp_path / "simulated_raw.fif")["input_values"]
    torch.testing.assert_close(from_file, extractor(raw)["input_values"], rtol=0, atol=1e-4)


def test_integers_are_taken_as_numbers(extractor):
    counts = (eeg() * 10).astype(np.int16)
    found = extractor((counts, NAMES, RATE), channels=["FP1-C3"])["input_values"]
    expected = extractor((counts.astype(float), NAMES, RATE), channels=["FP1-C3"])
    torch.testing.assert_close(found, expected["input_values"])


# Channels ---------------------------------------------------------------------------------------


def test_permuted_channels_permute_the_output(extractor):
    signal, order = eeg(), [4, 0, 5, 2, 1, 3]
    plain = extractor((signal, NAMES, RATE))
    mixed = extractor((signal[order], [NAMES[i] for i in order], RATE))
    assert torch.equal(mixed["input_values"], plain["input_values"][:, order])
    assert torch.equal(mixed["channel_ids"], plain["channel_ids"][order])


def test_a_task_brings_its_channels_into_its_order(extractor):
    signal = eeg()
    task = card(channels=("C4", "FP1", "CZ"))
    mixed = [2, 5, 4, 0, 3, 1]
    names = [f"EEG {NAMES[i].title()}-REF" for i in mixed]
    out = extractor((signal[mixed], names, RATE), task=task)
    expected = extractor((signal[[4, 0, 3]], task.channels, RATE), window_s=4)
    assert out["input_values"].shape == (10, 3, 4, 200)
    assert torch.equal(out["input_values"], expected["input_values"])
    np.testing.assert_array_equal(out["channel_ids"], channel_ids(task.channels))


def test_channels_can_be_chosen_without_a_task(extractor):
    signal = eeg()
    out = extractor((signal, NAMES, RATE), channels=["O1", "c3"])
    expected = extractor((signal[[5, 2]], ["O1", "C3"], RATE))
    assert torch.equal(out["input_values"], expected["input_values"])


def test_bipolar_channels_are_derived_or_taken(extractor):
    signal = eeg()
    wanted = ["FP1-C3", "C4-O1"]
    derived = extractor((signal, NAMES, RATE), channels=wanted)
    difference = np.stack([signal[0] - signal[2], signal[4] - signal[5]])
    taken = extractor((difference, wanted, RATE), channels=wanted)
    torch.testing.assert_close(derived["input_values"], taken["input_values"], atol=1e-5, rtol=0)
    assert torch.equal(derived["channel_ids"], taken["channel_ids"])


def test_the_cards_bipolar_rule_holds(extractor):
    signal = eeg(channels=1)
    for rule in ("mean", "table"):
        task = card(channels=("FP1-F7",), bipolar=rule)
        out = extractor((signal, ["FP1-F7"], RATE), task=task)
        np.testing.assert_array_equal(out["channel_ids"], channel_ids(["FP1-F7"], rule))


def test_the_cards_unit_holds(extractor):
    usual = extractor((eeg(), NAMES, RATE), task=card())["input_values"]
    other = extractor((eeg(), NAMES, RATE), task=card(scale_uv=10.0))["input_values"]
    assert torch.allclose(other, 10 * usual)


def test_missing_channels_are_named_with_those_present(extractor):
    task = card(channels=("FP1", "T7", "PZ"))
    names = ["FP1", "T3", "C3", "CZ", "C4", "O1"]
    with pytest.raises(SignalError) as error:
        extractor((eeg(), names, RATE), task=task)
    text = str(error.value)
    assert "2 are missing: T7, PZ" in text and "Found: FP1, T3, C3" in text
    assert "T7 is T3 in the other naming system" in text


def test_unknown_names_are_an_error_unless_left_out(extractor):
    names = [*NAMES[:5], "ECG1"]
    with pytest.raises(UnknownChannelError, match="ECG1"):
        extractor((eeg(), names, RATE))
    assert extractor((eeg(), names, RATE), channels=NAMES[:5])["channel_ids"].shape == (5, 2)


def test_equal_copies_count_once_and_different_ones_are_an_error(extractor):
    signal = eeg(channels=3)
    signal[2] = signal[0]
    names = ["T8-P8-0", "CZ", "T8-P8-1"]
    out = extractor((signal, names, RATE))
    expected = extractor((signal[:2], ["T8-P8", "CZ"], RATE))
    assert torch.equal(out["input_values"], expected["input_values"])
    signal[2, 7] += 1
    with pytest.raises(SignalError, match="T8-P8 2 times with different"):
        extractor((signal, names, RATE))
    assert len(extractor((signal, names, RATE), channels=["CZ"])["channel_ids"]) == 1


def test_other_types_and_bad_channels_are_left_out_and_said(extractor, caplog):
    signal = eeg()
    raw = raw_of(signal, types=["eeg", "eog", "eeg", "eeg", "ecg", "eeg"])
    raw.info["bads"] = ["CZ"]
    with caplog.at_level(logging.INFO):
        out = extractor(raw)
    expected = extractor((signal[[0, 2, 5]], ["FP1", "C3", "O1"], RATE))
    torch.testing.assert_close(out["input_values"], expected["input_values"], atol=1e-5, rtol=0)
    assert "FP2 (type eog), CZ (marked bad), C4 (type ecg)" in caplog.text
    with pytest.raises(SignalError, match=r"missing: CZ\..*CZ \(marked bad\)"):
        extractor(raw, task=card(channels=("CZ", "C3")))
    with pytest.raises(ValueError, match="channel of type eeg"):
        extractor(raw_of(signal, types="eog"))


# Windows ----------------------------------------------------------------------------------------


def test_without_a_length_a_short_recording_is_one_window(extractor):
    signal = eeg(34.0)
    with pytest.warns(UserWarning, match="shorter than the 33"):
        short = extractor((signal[:, : round(13.5 * RATE)], NAMES, RATE))
    assert short["input_values"].shape == (1, 6, 13, 200)
    assert extractor((signal, NAMES, RATE))["input_values"].shape == (3, 6, 10, 200)
    own = MteegFeatureExtractor(window_s=2)
    assert own((signal, NAMES, RATE))["input_values"].shape == (17, 6, 2, 200)


def test_strides_place_windows_and_the_rest_is_said(extractor, caplog):
    signal = eeg(37.0)
    whole = preprocess(signal, RATE) / 100
    with caplog.at_level(logging.INFO):
        out = extractor((signal, NAMES, RATE), window_s=4, stride_s=1.5)["input_values"].numpy()
    assert len(out) == 23
    assert "last 0.4 s" not in caplog.text
    for k in (0, 1, 7, 22):
        expected = whole[:, 300 * k : 300 * k + 800]
        np.testing.assert_allclose(out[k].reshape(6, 800), expected, rtol=1e-6)
    with caplog.at_level(logging.INFO):
        assert len(extractor((signal, NAMES, RATE), window_s=10)["input_values"]) == 3
    assert "last 7 s are in no window" in caplog.text


def test_a_recording_shorter_than_its_window_is_an_error(extractor):
    with pytest.raises(SignalError, match=r"at least 30 s.*found a recording of 20 s.*window_s"):
        extractor((eeg(20), NAMES, RATE), window_s=30)
    with pytest.raises(SignalError, match=r"task 'task-a'.*found a recording of 3.9 s"):
        extractor((eeg(3.9), NAMES, RATE), task=card())
    with pytest.raises(SignalError, match="at least 1 s"):
        extractor((eeg(0.9), NAMES, RATE))


@pytest.mark.filterwarnings("ignore:.*Epochs is taken as filtered")
def test_every_epoch_is_a_window(extractor):
    raw = raw_of(preprocess(eeg(200 * 0.2, RATE), RATE, 200), rate_hz=200)
    epochs = epochs_of(raw, 4.0)
    out = extractor(epochs)
    assert out["input_values"].shape == (10, 6, 4, 200)
    expected = epochs.get_data() * 1e4
    np.testing.assert_allclose(
        out["input_values"].numpy().reshape(10, 6, 800), expected, rtol=1e-5, atol=1e-6
    )
    array = extractor((epochs.get_data() * 1e6, NAMES, 200), task=card())
    torch.testing.assert_close(array["input_values"], out["input_values"])


def test_epochs_may_have_the_one_sample_more_that_mne_gives_them(extractor):
    mne = pytest.importorskip("mne")
    raw = raw_of(eeg(40, 160), rate_hz=160).filter(0.1, 75, verbose="error")
    events = mne.make_fixed_length_events(raw, duration=5)
    cut = {"preload": True, "baseline": None, "verbose": "error"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = extractor(mne.Epochs(raw, events, tmin=0, tmax=4, **cut), task=card())
    assert exact["input_values"].shape[1:] == (6, 4, 200)
    longer = mne.Epochs(raw, events, tmin=-0.5, tmax=4, **cut)
    with pytest.raises(SignalError, match="Crop them"):
        extractor(longer, task=card())
    with pytest.warns(UserWarning, match=r"last 0\.\d+ s of every window"):
        assert extractor(longer)["input_values"].shape[2] == 4


def test_unfiltered_epochs_warn_and_are_filtered_on_request(extractor):
    signal = eeg(40, 200) + 5000
    epochs = epochs_of(raw_of(signal, rate_hz=200), 4.0)
    with pytest.warns(UserWarning, match=r"high-pass of 0.1 Hz, noted is 0 Hz.*offset"):
        extractor(epochs)
    with pytest.warns(UserWarning, match="shorter than the 33"):
        out = extractor(epochs, filter=True)["input_values"].numpy()
        alone = preprocess(signal[:, :800], 200).reshape(6, 4, 200) / 100
    np.testing.assert_allclose(out[0], alone, atol=1e-4)


def test_a_filtered_recording_can_be_taken_as_it_is(extractor):
    filtered = preprocess(eeg(), RATE)
    out = extractor((filtered, NAMES, 200), filter=False, window_s=10)["input_values"]
    np.testing.assert_allclose(
        out[1].numpy().reshape(6, -1), filtered[:, 2000:4000] / 100, rtol=1e-6
    )


# Files ------------------------------------------------------------------------------------------


def test_saved_and_loaded_is_equal(tmp_path):
    ours = MteegFeatureExtractor(window_s=5, notch_hz=60.0, lowpass_hz=None, bipolar="table")
    ours.save_pretrained(tmp_path)
    for loader in (MteegFeatureExtractor, AutoFeatureExtractor):
        loaded = loader.from_pretrained(tmp_path)
        assert type(loaded) is MteegFeatureExtractor
        assert loaded.to_dict() == ours.to_dict()
    assert ours.to_dict()["feature_extractor_type"] == "MteegFeatureExtractor"


@pytest.mark.slow
def test_arrays_need_no_mne():
    code = (
        "import sys, numpy as np\n"
        "sys.modules['mne'] = None\n"
        "from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor\n"
        "x = 20 * np.random.default_rng(0).standard_normal((2, 10000))\n"
        "out = MteegFeatureExtractor()((x, ['CZ', 'PZ'], 250))\n"
        "assert out['input_values'].shape == (4, 2, 10, 200)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_real_motor_imagery_run(extractor, recordings_dir):
    raw = read_recording(recordings_dir / "eegmmidb" / "S001R04.edf").crop(0, 124.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = extractor(raw, window_s=4)
    windows, channels, patches, patch = out["input_values"].shape
    assert (windows, channels, patches, patch) == (int(raw.times[-1]) // 4, 64, 4, 200)
    assert out["channel_ids"].min() >= 1 and out["channel_ids"].max() <= 128
    assert 0.05 < out["input_values"].std() < 1


@pytest.mark.filterwarnings("ignore:The recording is shorter")
def test_real_seizures_are_bipolar_and_repeat_a_channel(extractor, recordings_dir):
    path = recordings_dir / "chb-mit" / "chb03_01_t372-382_seizure_raw.fif"
    montage = "FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2 FP1-F3 F3-C3 C3-P3 P3-O1".split()
    out = extractor(path, task=card(channels=tuple(montage), window_s=10))
    assert out["input_values"].shape == (1, 12, 10, 200)
