"""What is not EEG, not in its unit, or not what the extractor takes, is named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from tiny_recordings import NAMES, RATE, card, eeg, raw_of

from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.signal_checks import SignalError


@pytest.fixture
def extractor() -> MteegFeatureExtractor:
    return MteegFeatureExtractor()


# Units and broken signals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "unit", "likely"),
    [(1e-6, "uV", "V"), (1e-3, "uV", "mV"), (1, "V", "uV"), (1e-3, "V", "mV"), (1, "mV", "uV")],
)
def test_a_wrong_unit_is_named(extractor, factor, unit, likely):
    signal = eeg() * factor
    with pytest.raises(SignalError, match=f"pass unit='{likely}'"):
        extractor((signal, NAMES, RATE), unit=unit)
    out = extractor((signal, NAMES, RATE), unit=likely)["input_values"]
    torch.testing.assert_close(out, extractor((eeg(), NAMES, RATE))["input_values"])


def test_microvolt_in_an_mne_object_is_named(extractor):
    raw = raw_of(eeg() * 1e6)
    with pytest.raises(SignalError, match=r"Expected EEG in volt.*microvolt: pass unit='uV'"):
        extractor(raw)
    torch.testing.assert_close(
        extractor(raw, unit="uV")["input_values"],
        extractor((eeg(), NAMES, RATE))["input_values"],
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("scale", [0.02, 10])
def test_quiet_and_loud_eeg_pass(extractor, scale):
    extractor((eeg() * scale, NAMES, RATE))


def test_large_electrode_offsets_do_not_look_like_a_wrong_unit(extractor):
    plain = extractor((eeg(), NAMES, RATE))["input_values"]
    offset = extractor((eeg() + 2e5, NAMES, RATE))["input_values"]
    torch.testing.assert_close(offset, plain, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_an_error_that_names_channels_and_counts(extractor, bad):
    signal = eeg()
    signal[1, 5:12] = bad
    signal[4, 0] = bad
    with pytest.raises(SignalError, match=r"FP2 \(7 samples\), C4 \(1 samples\)"):
        extractor((signal, NAMES, RATE))
    extractor((signal, NAMES, RATE), channels=["FP1", "O1"])


def test_flat_channels_warn_and_all_flat_is_an_error(extractor):
    signal = eeg()
    signal[[2, 5]] = 7.0
    with pytest.warns(UserWarning, match="2 of 6 channels are flat: C3, O1"):
        out = extractor((signal, NAMES, RATE))["input_values"]
    assert out[:, [2, 5]].abs().max() < 1e-3
    with pytest.raises(SignalError, match="all 6 channels flat"):
        extractor((np.ones((6, 10000)), NAMES, RATE))


def test_filters_that_cannot_be_applied_are_said(extractor):
    with pytest.warns(UserWarning, match=r"75 Hz low-pass.*50 Hz notch"):
        extractor((eeg(40, 100), NAMES, 100))
    sleep = card(lowpass_hz=None, notch_hz=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extractor((eeg(40, 100), NAMES, 100), task=sleep)


# Wrong use --------------------------------------------------------------------------------------


def test_wrong_use_is_an_error(extractor):
    good = (eeg(), NAMES, RATE)
    with pytest.raises(TypeError, match="found ndarray"):
        extractor(eeg())
    with pytest.raises(ValueError, match=r"5 names for shape \(6, 10000\)"):
        extractor((eeg(), NAMES[:5], RATE))
    with pytest.raises(ValueError, match="transposed"):
        extractor((eeg().T, NAMES, RATE))
    with pytest.raises(ValueError, match="list of channel names"):
        extractor((eeg(), "FP1", RATE))
    with pytest.raises(ValueError, match="unit: expected one of"):
        extractor(good, unit="nV")
    with pytest.raises(ValueError, match="whole number"):
        extractor(good, window_s=2.5)
    for window_s in (0, -2, True, "2", float("inf"), float("nan")):
        with pytest.raises(ValueError, match="whole number of 1 s patches, found"):
            extractor(good, window_s=window_s)
    with pytest.raises(ValueError, match="stride_s"):
        extractor(good, stride_s=0)
    with pytest.raises(ValueError, match="cut already"):
        extractor((eeg().reshape(6, 10, 1000).swapaxes(0, 1), NAMES, RATE), stride_s=1)
    with pytest.raises(ValueError, match="takes windows of 4 s"):
        extractor(good, task=card(), window_s=5)
    with pytest.raises(ValueError, match="own channels"):
        extractor(good, task=card(channels=("CZ",)), channels=["CZ"])
    with pytest.raises(TypeError, match="TaskCard"):
        extractor(good, task="task-a")
    with pytest.raises(ValueError, match="rate in Hz above 0, found 0"):
        extractor((eeg(), NAMES, 0))
    with pytest.raises(ValueError, match="rate in Hz above 0, found 'fast'"):
        extractor((eeg(), NAMES, "fast"))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="patch_size"):
        MteegFeatureExtractor(rate_hz=256)
    with pytest.raises(ValueError, match="scale_uv"):
        MteegFeatureExtractor(scale_uv=0)
    with pytest.raises(ValueError, match="bipolar"):
        MteegFeatureExtractor(bipolar="median")
    with pytest.raises(ValueError, match="highpass_hz below"):
        MteegFeatureExtractor(highpass_hz=80)
