"""The filter chain equals MNE-Python's, which the published scripts call."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from modeling_mteeg.model import filter_chain, preprocessing
from modeling_mteeg.model.filter_chain import OneProduct
from modeling_mteeg.model.preprocessing import preprocess, preprocessing_info
from modeling_mteeg.model.recording_files import read_recording

RATES = (100, 128, 160, 200, 250, 256, 500, 512, 1000, 2000)


def eeg_like(rate_hz: float, seconds: float, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Microvolt: noise, slow drift, 50 Hz hum and an electrode offset."""
    rng = np.random.default_rng(seed)
    samples = round(rate_hz * seconds)
    time = np.arange(samples) / rate_hz
    signal = 20 * rng.standard_normal((channels, samples))
    signal += (200 / np.sqrt(samples)) * rng.standard_normal((channels, samples)).cumsum(axis=1)
    return signal + 30 * np.sin(2 * np.pi * 50 * time) + 3000


def plain_mne(signal_uv: np.ndarray, rate_hz: float, lowpass: float | None, notch: float | None):
    """The published scripts' calls, in volts, without what MNE refuses at this rate."""
    mne = pytest.importorskip("mne")
    info = mne.create_info(len(signal_uv), rate_hz, "eeg", verbose="error")
    raw = mne.io.RawArray(signal_uv * 1e-6, info, verbose="error")
    raw.filter(l_freq=0.1, h_freq=lowpass, verbose="error")
    if notch:
        raw.notch_filter(notch, verbose="error")
    raw.resample(200, verbose="error")
    return raw.get_data() * 1e6


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("seconds", [91.3, 12.0])
@pytest.mark.filterwarnings("ignore")
def test_equals_the_plain_mne_chain(rate_hz, seconds):
    signal = eeg_like(rate_hz, seconds)
    lowpass = 75.0 if rate_hz > 150 else None
    notch = 50.0 if rate_hz > 102 else None
    expected = plain_mne(signal, rate_hz, lowpass, notch)
    found = preprocess(signal, rate_hz)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    error = np.sqrt(np.mean((found - expected) ** 2))
    assert error < 0.02, f"{error:.2e} microvolt RMS, edges included"
    assert found.std() > 10


@pytest.mark.filterwarnings("ignore")
def test_one_product_and_steps_agree_on_a_recording_that_both_can_take(monkeypatch):
    signal = eeg_like(250, 60.0)
    whole = preprocess(signal, 250)
    assert OneProduct.fits(preprocessing_info(250), signal.shape[1])
    monkeypatch.setattr(preprocessing, "one_product", lambda *_: None)
    steps = preprocess(signal, 250)
    assert np.abs(whole - steps).max() < 0.05


def test_large_offsets_and_drift_do_not_cost_precision():
    signal = eeg_like(500, 60.0)
    drift = np.linspace(0, 5000, signal.shape[1])
    with_offset = preprocess(signal + 200_000.0, 500)
    assert np.abs(with_offset - preprocess(signal, 500)).max() < 0.01
    expected = preprocess(drift[None], 500) + preprocess(signal, 500)
    assert np.sqrt(np.mean((preprocess(signal + drift, 500) - expected) ** 2)) < 0.02


@pytest.mark.parametrize("rate_hz", [160, 250, 1000])
def test_passes_the_band_and_stops_the_rest(rate_hz):
    time = np.arange(round(60 * rate_hz)) / rate_hz
    middle = slice(20 * 200, 40 * 200)

    def gain(hz):
        return preprocess(np.sin(2 * np.pi * hz * time)[None], rate_hz)[0, middle].std() * 2**0.5

    for hz in (1, 10, 30, 45, 70):
        assert gain(hz) == pytest.approx(1, abs=0.02)
    assert gain(50) < 0.01
    if rate_hz > 200:
        assert gain(97) < 0.01


def test_rate_and_filters_may_be_left_alone():
    signal = eeg_like(200, 3.0)
    same = preprocess(signal, 200, highpass_hz=None, lowpass_hz=None, notch_hz=None)
    np.testing.assert_array_equal(same, signal.astype(np.float32))


def test_keeps_channels_apart_and_in_order(monkeypatch):
    monkeypatch.setattr(preprocessing, "_BLOCK_BYTES", 1)  # one channel at a time
    signal = eeg_like(250, 60.0, channels=5)
    one_by_one = preprocess(signal, 250)
    monkeypatch.undo()
    np.testing.assert_array_equal(one_by_one, preprocess(signal, 250))
    order = [3, 1, 4, 0, 2]
    np.testing.assert_array_equal(preprocess(signal[order], 250), one_by_one[order])


def test_edges_at_nyquist_are_left_out_and_named():
    sleep = preprocessing_info(100)
    assert (sleep.highpass_hz, sleep.lowpass_hz, sleep.notch_hz) == (0.1, None, None)
    assert len(sleep.left_out) == 2
    assert "75 Hz low-pass" in sleep.left_out[0] and "50 Hz notch" in sleep.left_out[1]
    old_subject = preprocessing_info(128)
    assert (old_subject.lowpass_hz, old_subject.notch_hz) == (None, 50.0)
    assert preprocessing_info(160).left_out == ()
    assert preprocessing_info(150).lowpass_hz is None  # at, not above


def test_filters_that_were_not_asked_for_are_not_reported():
    info = preprocessing_info(100, highpass_hz=0.5, lowpass_hz=30, notch_hz=None)
    assert info.left_out == () and info.notch_hz is None


@pytest.mark.parametrize("samples", [1, 2, 3, 97, 1000, 12345])
@pytest.mark.parametrize("rate_hz", [128, 173.61, 200, 256])
@pytest.mark.filterwarnings("ignore")
def test_length_is_the_ratio_of_the_rates(samples, rate_hz):
    out = preprocess(np.ones((1, samples)), rate_hz)
    assert out.shape[1] == max(round(samples * 200 / rate_hz), 1)
    assert out.shape[1] == preprocessing_info(rate_hz).samples_out(samples)
    assert np.isfinite(out).all()


def test_a_recording_shorter_than_the_filter_warns():
    with pytest.warns(UserWarning, match=r"shorter than the 33\.0 s"):
        preprocess(eeg_like(200, 10.0), 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preprocess(eeg_like(200, 40.0), 200)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_an_error_that_names_the_rows(bad):
    signal = eeg_like(200, 40.0, channels=4)
    signal[2, 100] = bad
    with pytest.raises(ValueError, match=r"rows \[2\]"):
        preprocess(signal, 200)


def test_wrong_input_is_an_error():
    with pytest.raises(ValueError, match="channels, samples"):
        preprocess(np.zeros(100), 200)
    with pytest.raises(ValueError, match="channels, samples"):
        preprocess(np.zeros((3, 0)), 200)
    with pytest.raises(ValueError, match="real numbers"):
        preprocess(np.zeros((3, 100), dtype=complex), 200)
    with pytest.raises(ValueError, match="rate_hz = -1"):
        preprocess(np.zeros((3, 100)), -1)
    with pytest.raises(ValueError, match="highpass_hz below lowpass_hz"):
        preprocessing_info(200, highpass_hz=40, lowpass_hz=30)


def test_numpy_transforms_serve_where_scipy_is_missing(monkeypatch):
    signal = eeg_like(256, 60.0)
    expected = preprocess(signal, 256)
    monkeypatch.setattr(filter_chain, "fourier", lambda: np.fft)
    np.testing.assert_allclose(preprocess(signal, 256), expected, atol=1e-3)


def test_read_recording_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.edf"):
        read_recording(tmp_path / "absent.edf")
    broken = tmp_path / "broken.edf"
    broken.write_bytes(b"not an EDF file")
    pytest.importorskip("mne")
    with pytest.raises(ValueError, match=r"broken\.edf: 15 bytes long"):
        read_recording(broken)


def test_equals_mne_on_a_real_recording(recordings_dir):
    raw = read_recording(recordings_dir / "eegmmidb" / "S001R04.edf")
    signal = raw.get_data(picks=slice(0, 8)) * 1e6
    expected = plain_mne(signal, raw.info["sfreq"], 75.0, 50.0)
    assert np.sqrt(np.mean((preprocess(signal, raw.info["sfreq"]) - expected) ** 2)) < 0.02
