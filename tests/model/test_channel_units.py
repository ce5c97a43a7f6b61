"""Units of single channels: what a header states, what the reader knew, what the numbers are."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from recording_files import write_recording
from tiny_recordings import NAMES, card, eeg, raw_of

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.dataset_scripts.reading import read_edf
from modeling_mteeg.model.channel_units import VOLT_UNITS, channel_units, edf_units
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.signal_checks import SignalError, amplitude_uv, check_channels

MICRO = [b"\xb5V", "\u00b5V".encode(), "\u03bcV".encode(), b"\x83\xcaV"]
pytestmark = pytest.mark.filterwarnings("ignore:A recording is shorter")


def edf(folder: Path, units: dict[int, bytes] | None = None, suffix: str = "edf") -> Path:
    """Six channels of EEG, the physical dimension of some written over."""
    signal = np.clip(eeg(12.0), -3000, 3000)
    path = write_recording(folder, f"rec.{suffix}", signal, NAMES, 250.0)
    content = bytearray(path.read_bytes())
    signals = int(content[252:256])
    for row, unit in (units or {}).items():
        start = 256 + 96 * signals + 8 * row
        content[start : start + 8] = unit.ljust(8)
    path.write_bytes(content)
    return path


def windows(recording, most=0, **options):
    task = card(channels=NAMES, max_missing_channels=most)
    return MteegFeatureExtractor()(recording, task=task, return_tensors="np", **options)


@pytest.mark.parametrize("suffix", ["edf", "bdf"])
@pytest.mark.parametrize("unit", MICRO)
def test_micro_signs_of_every_encoding_are_microvolt(tmp_path, unit, suffix):
    (tmp_path / "right").mkdir()
    right = edf(tmp_path / "right", suffix=suffix)
    path = edf(tmp_path, {2: unit, 4: unit}, suffix)
    assert edf_units(path)[2] in VOLT_UNITS
    found, expected = windows(path).input_values, windows(right).input_values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    if suffix == "edf":
        np.testing.assert_allclose(read_edf(path, NAMES)[0], read_edf(right, NAMES)[0], rtol=1e-9)


@pytest.mark.parametrize("unit", [b"", b"UV", b"nV", b"uVolt", b"\xb5"])
def test_a_channel_without_a_unit_is_named_and_the_others_stay(tmp_path, unit):
    (tmp_path / "right").mkdir()
    right, path = edf(tmp_path / "right"), edf(tmp_path, {1: unit})
    with pytest.raises(SignalError, match=r"missing: FP2\..*no unit of voltage.*--unit uV"):
        windows(path)
    with pytest.warns(UserWarning, match=r"1 of the task's 6 .* left out: FP2 \(the header"):
        found = windows(path, most=1).input_values
    assert np.array_equal(found, windows(right).input_values[:, [0, 2, 3, 4, 5]])
    # Its unit told, the others as stated.
    np.testing.assert_allclose(
        windows(path, unit="uV").input_values, windows(right).input_values, rtol=1e-5, atol=1e-6
    )
    with pytest.raises(RecordingError, match="no unit of voltage for FP2"):
        read_edf(path, NAMES)


def test_all_without_a_unit_are_one_unit_if_somebody_says_so(tmp_path):
    path = edf(tmp_path, dict.fromkeys(range(6), b""))
    with pytest.raises(ValueError, match=r"FP1, FP2, C3, CZ, C4, O1 .*no unit"):
        windows(path)
    assert windows(path, unit="uV").input_values.shape[1] == 6


def test_channels_keep_their_units_where_others_are_dropped_or_renamed(tmp_path):
    mne = pytest.importorskip("mne")
    raw = mne.io.read_raw(edf(tmp_path, {1: b"nV", 4: "µV".encode()}), verbose="error")
    raw.drop_channels(["FP1", "C3"]).rename_channels({"FP2": "F3"})
    unknown, factors = channel_units(raw)
    assert unknown == {0: "nV"} and factors == {2: 1e-6}
    assert channel_units(raw_of(eeg(2.0))) == ({}, {})


@pytest.mark.parametrize("times", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("rows", [[2], [2, 4], [0, 1, 2, 3]])
def test_channels_a_thousand_times_too_large_are_named(times, rows):
    signal = eeg(12.0)
    right = windows((signal, NAMES, 250.0)).input_values
    signal[rows] *= times
    wrong = [NAMES[row] for row in rows]
    with pytest.raises(SignalError, match=rf"missing: {', '.join(wrong)}\..*amplitude is"):
        windows((signal, NAMES, 250.0))
    with pytest.warns(UserWarning, match=f"left out: {wrong[0]}"):
        found = windows((signal, NAMES, 250.0), most=4).input_values
    rest = [row for row in range(6) if row not in rows]
    assert np.array_equal(found, right[:, rest])


def test_too_small_channels_are_noted_and_refused_where_they_are_most():
    signal = eeg(12.0)
    signal[2] /= 1e3
    with pytest.warns(UserWarning, match=r"1 of 6 channels are much smaller .* C3"):
        assert windows((signal, NAMES, 250.0)).input_values.shape[1] == 6
    for times in (1e3, 1e6):
        signal = eeg(12.0)
        signal[[0, 1, 2, 3]] /= times
        with pytest.raises(SignalError, match="missing: FP1, FP2, C3, CZ"):
            windows((signal, NAMES, 250.0))


def test_flat_channels_are_no_other_unit():
    signal = eeg(12.0)
    signal[[0, 1, 2, 3]] = 3000.0  # most of them, with an offset
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        windows((signal, NAMES, 250.0))
    assert any("4 of 6 channels are flat" in str(one.message) for one in seen)
    assert not any("smaller" in str(one.message) for one in seen)


def test_one_loud_channel_does_not_judge_the_others():
    signal = eeg(12.0)[None]
    usual = amplitude_uv(signal)
    loud = signal.copy()
    loud[:, 3] *= 1e6
    assert amplitude_uv(loud) == pytest.approx(usual, rel=0.3)
    assert check_channels(signal, NAMES, "uV") == ""
    two = np.stack([signal[0, 0], signal[0, 0] * 1e3])[None]  # which is right is known
    with pytest.raises(SignalError, match=r"1 of 2 .*: B \(1000 times\)"):
        check_channels(two, ["A", "B"], "uV")
    dead = signal[:, :1] * np.array([[3.0], [0.006], [0.006]])  # 60, 0.12 and 0.12 microvolt
    assert check_channels(dead, NAMES[:3], "uV").startswith("2 of 3 channels are much smaller")
