"""A mains line that is left in a filtered signal is named, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from modeling_mteeg.model.findings import POLICIES
from modeling_mteeg.model.mains_line import MainsCheck, line_ratio, mains_findings
from modeling_mteeg.model.preprocessing import preprocess, preprocessing_info


def recorded(rate_hz=256, seconds=40.0, lines=(), channels=3, seed=0):
    """(channels, samples) of 1/f noise in microvolt with ``(hz, amplitude)`` of hum."""
    rng = np.random.default_rng(seed)
    samples = round(rate_hz * seconds)
    hz = np.fft.rfftfreq(samples, 1 / rate_hz)
    spectrum = rng.standard_normal((channels, len(hz), 2)) @ [1, 1j]
    signal = np.fft.irfft(spectrum / np.maximum(hz, 0.3), n=samples)
    signal *= 30 / signal.std(axis=1, keepdims=True)
    time = np.arange(samples) / rate_hz
    return signal + sum(size * np.sin(2 * np.pi * hum * time) for hum, size in lines)


def found(signal, rate_hz=256, **filters):
    info = preprocessing_info(rate_hz, **filters)
    edges = (info.highpass_hz, info.lowpass_hz, info.notch_hz)
    return mains_findings(preprocess(signal, rate_hz, 200, *edges), info)


@pytest.mark.parametrize("rate_hz", [128, 160, 200, 250, 256, 512])
def test_a_line_is_found_at_every_rate_and_gone_with_its_notch(rate_hz):
    signal = recorded(rate_hz, lines=[(60, 3.0)])
    (finding,) = found(signal, rate_hz)
    assert finding.code == "mains" and finding.channels == ()
    assert "left at 60 Hz" in finding.sentence and "(notch 50 Hz)" in finding.sentence
    assert "notch_hz=[50, 60]" in finding.remedy and "--notch 50,60" in finding.remedy
    assert found(signal, rate_hz, notch_hz=[50, 60]) == found(signal, rate_hz, notch_hz=60) == []


def test_what_is_named_is_what_was_not_notched():
    signal = recorded(lines=[(50, 3.0), (60, 3.0)])
    (finding,) = found(signal, notch_hz=None)
    assert "at 50 Hz" in finding.sentence and "and at 60 Hz" in finding.sentence
    assert "no notch" in finding.sentence and "notch_hz=[50, 60]" in finding.remedy
    (finding,) = found(recorded(lines=[(50, 3.0)]), notch_hz=None)
    assert "notch_hz=50 " in finding.remedy


@pytest.mark.parametrize("rate_hz", [100, 125, 128, 160, 250, 512])
def test_clean_recordings_have_no_line(rate_hz):
    """Nor where the spectrum ends at the recording's own Nyquist frequency."""
    for seed in range(3):
        assert not found(recorded(rate_hz, seed=seed), rate_hz, notch_hz=None)


def test_lines_above_the_low_pass_or_nyquist_are_passed_over():
    assert not found(recorded(lines=[(60, 30.0)]), lowpass_hz=40.0)
    info = preprocessing_info(110, notch_hz=None)
    assert MainsCheck(info, 4000).mains_hz == (50.0,)
    assert MainsCheck(preprocessing_info(250), 4000).mains_hz == (60.0,)


def test_the_median_channel_decides():
    signal = recorded(channels=5)
    hum = 20 * np.sin(2 * np.pi * 60 * np.arange(signal.shape[1]) / 256)
    assert not found(signal + hum * np.array([[1], [1], [0], [0], [0]]))
    assert found(signal + hum * np.array([[1], [1], [1], [0], [0]]))


@pytest.mark.filterwarnings("ignore:A recording is shorter")
def test_artefacts_flat_channels_and_short_recordings_make_no_line():
    signal = recorded()
    signal[:, 2000:2200] += 500 * np.sin(2 * np.pi * 60 * np.arange(200) / 256)  # below a second
    assert not found(signal)
    assert not found(np.zeros_like(signal))
    assert not found(recorded(seconds=5.0, lines=[(60, 30.0)]))


def test_blocks_do_not_matter_and_long_recordings_are_sampled():
    info = preprocessing_info(200)
    signal = recorded(200, 600.0, lines=[(60, 3.0)]).astype(np.float32)
    whole = MainsCheck(info, signal.shape[1])
    whole.see(signal)
    assert len(whole._densities) == 60
    rng, pieces, place = np.random.default_rng(0), MainsCheck(info, signal.shape[1]), 0
    while place < signal.shape[1]:
        step = int(rng.integers(0, 3000))
        pieces.see(signal[:, place : place + step])
        place += step
    assert pieces.ratios() == whole.ratios() and whole.findings()


def test_other_frequencies_may_be_asked_for():
    info = preprocessing_info(200, notch_hz=None)
    signal = recorded(200, lines=[(16.7, 20.0)])
    (finding,) = mains_findings(signal, info, mains_hz=(16.7,))
    assert "16.7 Hz" in finding.sentence and not mains_findings(signal, info)


def test_the_ratio_takes_the_higher_side():
    frequencies = np.arange(0, 100.5, 0.5)
    density = np.where(frequencies <= 52, 1.0, 0.001)  # ends there
    assert line_ratio(frequencies, density, 50.0) == 1.0
    density[frequencies == 50] = 30.0
    assert line_ratio(frequencies, np.stack([density, 2 * density]), 50.0).tolist() == [30.0, 30.0]
    assert np.isnan(line_ratio(frequencies, density, 100.0))
    assert np.isnan(line_ratio(frequencies, np.zeros_like(density), 50.0))


def test_what_uses_make_of_it():
    policies = POLICIES["mains"]
    assert {use for use, policy in policies.items() if policy == "note"} == {
        "predict", "explain", "labelled", "unlabelled",
    }  # fmt: skip
