"""Several mains frequencies: one filter, MNE's; one form, wherever they are given."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modeling_mteeg import MteegFeatureExtractor, TaskCard, TaskCardError
from modeling_mteeg.model.mains_notch import checked_notch, notch_text, parse_notch
from modeling_mteeg.model.preprocessing import preprocess, preprocessing_info
from modeling_mteeg.recordings.stream_filter import StreamFilter

RATES = (100, 128, 160, 200, 250, 256, 500, 512)


def humming(rate_hz: float, seconds: float = 40.0) -> np.ndarray:
    """(2, samples) in microvolt: noise, drift, an offset, hum at 50 and 60 Hz."""
    rng = np.random.default_rng(0)
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    noise = 20 * rng.standard_normal((2, len(time)))
    noise += (200 / np.sqrt(len(time))) * rng.standard_normal(noise.shape).cumsum(axis=1)
    return noise + 30 * np.sin(100 * np.pi * time) + 30 * np.sin(120 * np.pi * time) + 3000


def of_mne(signal_uv, rate_hz, lowpass_hz, frequencies_hz):
    """The published scripts' calls, the notch with several frequencies."""
    import mne

    info = mne.create_info(len(signal_uv), rate_hz, "eeg", verbose="error")
    raw = mne.io.RawArray(signal_uv * 1e-6, info, verbose="error")
    raw.filter(l_freq=0.1, h_freq=lowpass_hz, verbose="error")
    if frequencies_hz:
        raw.notch_filter(frequencies_hz, verbose="error")
    return raw.resample(200, verbose="error").get_data() * 1e6


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.filterwarnings("ignore")
def test_equals_mne_with_several_notches(rate_hz):
    signal = humming(rate_hz)
    lowpass_hz = 75.0 if rate_hz > 150 else None
    possible = [one for one in (50.0, 60.0) if one + 1 < rate_hz / 2]
    expected = of_mne(signal, rate_hz, lowpass_hz, possible)
    found = preprocess(signal, rate_hz, notch_hz=[60, 50])
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.02  # microvolt, edges included
    stream = StreamFilter(preprocessing_info(rate_hz, notch_hz=(50, 60)), 2, signal.shape[1])
    streamed = np.concatenate([stream.push(signal), stream.finish()], axis=1)
    assert np.abs(streamed - found).max() < 0.003


def test_harmonics_are_frequencies_like_others():
    signal = humming(500)
    expected = of_mne(signal, 500, 75.0, [50.0, 100.0, 150.0])
    found = preprocess(signal, 500, notch_hz=(50, 100, 150))
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.02


def test_only_what_is_notched_is_gone():
    time = np.arange(60 * 250) / 250
    for notch_hz, gone in (([50, 60], (50, 60)), (50, (50,)), (60.0, (60,)), (None, ())):
        for hz in (40, 50, 60, 70):
            sine = np.sin(2 * np.pi * hz * time)[None]
            left = preprocess(sine, 250, notch_hz=notch_hz)[0, 4000:8000].std() * 2**0.5
            assert left < 0.01 if hz in gone else left == pytest.approx(1, abs=0.02)


def test_a_notch_at_nyquist_is_left_out_and_the_other_stays():
    info = preprocessing_info(110, notch_hz=[50, 60])
    assert info.notch_hz == 50.0 and len(info.left_out) == 2
    assert "60 Hz notch" in info.left_out[1]
    assert info.kernels[1].tolist() == preprocessing_info(110, notch_hz=50).kernels[1].tolist()
    none = preprocessing_info(100, notch_hz=[50, 60])
    assert none.notch_hz is None and "50 Hz notch" in none.left_out[1]


@pytest.mark.parametrize("given", [[50], (50.0,), np.array([50.0]), "50", "50.0"])
def test_a_list_of_one_is_that_frequency(given):
    kept = parse_notch(given) if isinstance(given, str) else checked_notch(given)
    assert kept == 50.0 and isinstance(kept, float)
    signal = humming(250, 5.0)
    with pytest.warns(UserWarning, match="shorter"):
        assert np.array_equal(preprocess(signal, 250, notch_hz=kept), preprocess(signal, 250))


def test_a_number_stays_as_it_came():
    for number in (50, 50.0):
        assert checked_notch(number) is number
    assert checked_notch([60, 50]) == checked_notch((50.0, 60.0)) == (50.0, 60.0)
    assert checked_notch(None) is None and parse_notch("none") is None
    assert parse_notch("60, 50") == (50.0, 60.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([], "an empty list"),
        (-50, "expected a number above 0, found -50"),
        ([50, -60], "found -60"),
        (float("nan"), "expected a number above 0"),
        ([50, True], "found True"),
        (["50"], "found '50'"),
        ("50", "expected a number above 0, found '50'"),
        ([50, 60, 50.0], "every frequency once, found 50 Hz twice"),
        ([50, 51], "at least 1.25 Hz apart, .* found 50 and 51 Hz"),
        (list(range(10, 60, 2)), "one to 16 frequencies"),
        ({}, "an empty list"),
    ],
)
def test_nonsense_is_an_error_that_says_what_was_expected(wrong, words):
    for make in (
        checked_notch,
        lambda value: preprocessing_info(250, notch_hz=value),
        lambda value: MteegFeatureExtractor(notch_hz=value),
        lambda value: TaskCard("t", ("a", "b"), notch_hz=value),
    ):
        with pytest.raises(ValueError, match=words):
            make(wrong)


def test_a_command_line_says_what_it_expected():
    with pytest.raises(ValueError, match="several such as 50,60, or none, found 'fifty'"):
        parse_notch("fifty")


def test_cards_keep_several_and_read_those_of_before(tmp_path):
    card = TaskCard("my-task", ("a", "b"), notch_hz=[60, 50])
    assert card.notch_hz == (50.0, 60.0) == card.replace(window_s=2.0).notch_hz
    assert card == TaskCard.load(card.save(tmp_path))
    assert json.loads((tmp_path / "task.json").read_text())["notch_hz"] == [50.0, 60.0]
    assert card.filters == "high-pass 0.1 Hz, low-pass 75 Hz, notch 50 and 60 Hz"
    for before in (50, 50.0, 60, None):  # the very text, so that hashes stay
        fields = TaskCard("my-task", ("a", "b"), notch_hz=before).to_dict()
        assert json.dumps(fields["notch_hz"]) == json.dumps(before)
        assert TaskCard.from_dict(fields).to_dict() == fields
    with pytest.raises(TaskCardError, match="Task card: notch_hz: expected one to 16"):
        card.replace(notch_hz=())


def test_the_extractor_keeps_several(tmp_path):
    extractor = MteegFeatureExtractor(notch_hz=[60, 50])
    extractor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["notch_hz"] == [50, 60]
    again = MteegFeatureExtractor.from_pretrained(tmp_path)
    assert again.notch_hz == extractor.notch_hz == (50.0, 60.0)
    signal = humming(250, 36.0)
    channels = ["C3", "C4"]
    values = again((signal, channels, 250), window_s=4, return_tensors="np")["input_values"]
    expected = preprocess(signal, 250, notch_hz=[50, 60])[:, : 9 * 800] / np.float32(100)
    assert np.array_equal(values[3].reshape(2, -1), expected[:, 3 * 800 : 4 * 800])


def test_in_words():
    found = [notch_text(checked_notch(one)) for one in (None, 50, [50, 60], [50, 100, 150])]
    assert found == ["no notch", "notch 50 Hz", "notch 50 and 60 Hz", "notch 50, 100 and 150 Hz"]
