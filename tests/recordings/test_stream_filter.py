"""A recording that comes piece by piece gives the numbers of the whole one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tiny_recordings import pink_eeg

from modeling_mteeg.model.filter_chain import mne_grid
from modeling_mteeg.model.preprocessing import preprocess, preprocessing_info
from modeling_mteeg.model.recording_files import read_recording
from modeling_mteeg.recordings.stream_filter import StreamFilter
from modeling_mteeg.recordings.stream_transform import BlockTransform, grid_shift

LOCAL_RATES = (160, 173.61, 200, 250, 256, 500, 512, 1000, 2000)
"""Rates at which the low-pass is applied, so that resampling is local."""


def stream(signal, rate_hz, samples=None, size=None, filters=(0.1, 75.0, 50.0), hop_s=None):
    """All output of a stream that is fed with blocks of one size, or of random ones."""
    info = preprocessing_info(rate_hz, 200.0, *filters)
    stage = StreamFilter(info, len(signal), samples, hop_s)
    rng, parts, place = np.random.default_rng(7), [], 0
    while place < signal.shape[1]:
        step = int(rng.integers(0, round(40 * rate_hz))) if size is None else size
        parts.append(stage.push(signal[:, place : place + step]))
        place += step
    parts.append(stage.finish())
    out = np.concatenate(parts, axis=1)
    assert out.dtype == np.float32 and out.shape[1] == stage.samples_out
    return out


@pytest.mark.parametrize("rate_hz", LOCAL_RATES)
def test_equals_the_whole_recording_on_its_grid(rate_hz):
    """A length that no block holds, so the stream's own arithmetic is what is compared."""
    signal = pink_eeg(rate_hz, 331.7)
    expected = preprocess(signal, rate_hz)
    found = stream(signal, rate_hz, samples=signal.shape[1])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 0.005
    assert found.std() > 5


@pytest.mark.parametrize("rate_hz", [160, 250, 1000])
@pytest.mark.parametrize("seconds", [230.0, 400.0])
def test_white_noise_of_20_microvolt_differs_by_less_than_two_thousandths(rate_hz, seconds):
    signal = 20 * np.random.default_rng(0).standard_normal((1, round(seconds * rate_hz)))
    error = stream(signal, rate_hz, samples=signal.shape[1]) - preprocess(signal, rate_hz)
    assert np.abs(error).max() < 0.002


@pytest.mark.parametrize("rate_hz", [100, 128])
def test_without_low_pass_only_what_lies_beside_nyquist_differs(rate_hz):
    signal = pink_eeg(rate_hz, 700.0)
    error = stream(signal, rate_hz, samples=signal.shape[1]) - preprocess(signal, rate_hz)
    assert np.sqrt(np.mean(error**2)) < 0.01
    power = np.abs(np.fft.rfft(error * np.hanning(error.shape[1]))) ** 2
    hz = np.fft.rfftfreq(error.shape[1], 1 / 200)
    beside = np.abs(hz - rate_hz / 2) < 0.1
    assert power[:, beside].sum() > 0.9 * power.sum()


@pytest.mark.parametrize("rate_hz", [100, 256, 250])
def test_the_sizes_of_the_blocks_do_not_change_a_bit(rate_hz):
    signal = pink_eeg(rate_hz, 330.0, channels=1)
    expected = stream(signal, rate_hz, hop_s=20)
    for size in (333, 100_000_000, None):
        np.testing.assert_array_equal(stream(signal, rate_hz, size=size, hop_s=20), expected)
    short = signal[:, : round(45 * rate_hz)]
    np.testing.assert_array_equal(
        stream(short, rate_hz, size=1, hop_s=5), stream(short, rate_hz, hop_s=5)
    )


@pytest.mark.parametrize("hop_s", [0.001, 1.0, 30.0])
def test_the_hop_changes_the_delay_and_not_the_numbers(hop_s):
    signal = pink_eeg(256, 60.0, channels=1)
    expected = stream(signal, 256)
    np.testing.assert_allclose(stream(signal, 256, hop_s=hop_s, size=1000), expected, atol=1e-3)


@pytest.mark.parametrize("seconds", [0.01, 1.0, 10.0, 20.0, 20.3, 25.0, 39.0, 41.0, 300.0])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.filterwarnings("ignore:A recording is shorter")
def test_short_recordings_are_those_of_the_whole(seconds, known):
    signal = pink_eeg(160, seconds)
    count = signal.shape[1]
    if not known:  # lengths for which MNE's grid is the nominal one
        while grid_shift(preprocessing_info(160), count) > 0:
            count -= 1
        signal = signal[:, :count] if count > 1 else signal
    expected = preprocess(signal, 160)
    found = stream(signal, 160, samples=count if known else None)
    assert found.shape == expected.shape
    if known or count > 1:
        assert np.abs(found - expected).max() < 0.005


def test_a_short_recording_warns_as_preprocess_does():
    signal = pink_eeg(200, 10.0)
    with pytest.warns(UserWarning, match=r"shorter than the 33\.0 s"):
        stream(signal, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream(pink_eeg(200, 40.0), 200)


@pytest.mark.parametrize("rate_hz", [100, 128, 160, 173.61, 250, 256, 500, 512, 1000, 2000])
def test_the_nominal_grid_lies_less_than_a_sample_beside_that_of_mne(rate_hz):
    info = preprocessing_info(rate_hz)
    lengths = np.random.default_rng(0).integers(1000, 10_000_000, size=300)
    shifts = [grid_shift(info, int(length)) for length in lengths]
    assert max(shifts) < 1.0
    if rate_hz == 100:
        assert max(shifts) == 0.0


@pytest.mark.parametrize("rate_hz", [250, 256])
def test_the_shift_of_the_nominal_grid_is_what_it_says(rate_hz):
    info = preprocessing_info(rate_hz)
    samples = next(n for n in range(round(70 * rate_hz), 10**6) if grid_shift(info, n) > 0.4)
    time = np.arange(samples) / rate_hz
    signal = np.sin(2 * np.pi * 5 * time)[None]
    left, _, padded, after = mne_grid(samples, info)
    place = round(200 / rate_hz * left) + np.arange(info.samples_out(samples))
    beside = place * (padded / after) * (200 / rate_hz) - left * 200 / rate_hz
    inner = slice(4500, 9000)
    for found, at in (
        (stream(signal, rate_hz), np.arange(len(place))),
        (stream(signal, rate_hz, samples=samples), beside),
    ):
        expected = np.sin(2 * np.pi * 5 * at / 200)[None]
        assert np.abs(found - expected)[:, inner].max() < 0.02  # the filter's ripple
    assert np.abs(beside - np.arange(len(place))).max() == pytest.approx(
        grid_shift(info, samples), abs=1e-6
    )


@pytest.mark.parametrize(
    "filters", [(None, None, None), (None, 75.0, None), (1.0, 30.0, None), (0.1, None, None)]
)
@pytest.mark.parametrize("rate_hz", [200, 256])
def test_other_filters(rate_hz, filters):
    signal = pink_eeg(rate_hz, 330.0)
    count = signal.shape[1]
    expected = preprocess(signal, rate_hz, 200.0, *filters)
    found = stream(signal, rate_hz, count, filters=filters)
    local = rate_hz == 200 or filters[1] is not None
    inner = slice(None) if local else slice(400, -400)  # a cut spectrum rings at the ends
    error = (found - expected)[:, inner]
    assert np.sqrt(np.mean(error**2)) < (0.002 if local else 0.02)


def test_large_offsets_and_drift_do_not_cost_precision():
    signal = pink_eeg(500, 330.0)
    drift = np.linspace(0, 5000, signal.shape[1])
    expected = preprocess(signal, 500)
    count = signal.shape[1]
    assert np.abs(stream(signal + 200_000.0, 500, count) - expected).max() < 0.01
    with_drift = preprocess(drift[None], 500) + expected
    assert np.sqrt(np.mean((stream(signal + drift, 500, count) - with_drift) ** 2)) < 0.02


def test_integers_are_taken():
    counts = np.round(10 * pink_eeg(160, 60.0)).astype(np.int16)
    found = stream(counts, 160)
    np.testing.assert_allclose(found, stream(counts.astype(np.float64), 160), atol=1e-4)


def test_output_comes_after_the_stated_delay_and_not_before():
    info = preprocessing_info(160)
    stage = StreamFilter(info, 1, hop_s=10.0)
    assert 19.5 < stage.delay_s < 21
    signal = pink_eeg(160, 60.0, channels=1)
    given = 0
    for place in range(0, signal.shape[1], 16):  # 0.1 s
        stage.push(signal[:, place : place + 16])
        stage.drain()
        now_s, given = (place + 16) / 160, stage.samples_out
        assert abs(given / 200 - max(0.0, now_s - stage.delay_s)) < 0.02
    assert given > 7000


def test_drained_output_is_that_of_the_whole():
    signal = pink_eeg(256, 70.0)
    info = preprocessing_info(256)
    stage, parts = StreamFilter(info, 2, hop_s=10.0), []
    for place in range(0, signal.shape[1], 3000):
        parts += [stage.push(signal[:, place : place + 3000]), stage.drain()]
    parts.append(stage.finish())
    np.testing.assert_allclose(np.concatenate(parts, axis=1), stream(signal, 256), atol=1e-3)


def test_less_lookahead_is_approximate_and_better_the_more_there_is():
    signal = pink_eeg(256, 120.0)
    exact = stream(signal, 256)
    info, errors = preprocessing_info(256), []
    for lookahead_s in (0.0, 1.0, 5.0, 19.0):
        stage, parts = StreamFilter(info, 2, hop_s=1.0), []
        for place in range(0, signal.shape[1], 256):
            parts += [stage.push(signal[:, place : place + 256]), stage.drain(lookahead_s)]
            now_s = (place + 256) / 256
            if now_s > stage.delay_s:
                assert abs(stage.samples_out / 200 - (now_s - lookahead_s)) < 0.02
        parts.append(stage.finish())
        found = np.concatenate(parts, axis=1)
        assert found.shape == exact.shape
        errors.append(float(np.sqrt(np.mean((found - exact) ** 2))))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < exact.std() and errors[2] < 0.15 * exact.std() and errors[3] < 1e-3
    with pytest.raises(ValueError, match="lookahead_s: expected 0 to"):
        _ready(info).drain(100.0)


def _ready(info) -> StreamFilter:
    stage = StreamFilter(info, 1)
    stage.push(np.zeros((1, 30 * 256)))
    return stage


def test_memory_is_bounded():
    stage = StreamFilter(preprocessing_info(250), 4)
    held = stage._buffer.nbytes
    assert held < 4 * 4 * 250 * 250  # microvolt in float32, 250 s
    block = pink_eeg(250, 17.0, channels=4)
    for _ in range(200):  # an hour
        out = stage.push(block)
        assert stage._buffer.nbytes == held and out.shape[1] < 250 * 200


@pytest.mark.parametrize("rate_hz", [250, 256, 1000, 173.61])
@pytest.mark.parametrize("hours", [0.1, 1, 24])
def test_blocks_are_much_longer_than_what_they_overlap(rate_hz, hours):
    """A stream takes at most a few transforms' work per sample, whatever the grid."""
    info = preprocessing_info(rate_hz)
    stage = StreamFilter(info, 1, samples=round(hours * 3600 * rate_hz))
    transform: BlockTransform = stage._transform
    assert transform.length - 2 * transform.reach >= transform.reach
    assert transform.length < 20 * transform.reach


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_an_error_that_names_rows_and_time(bad):
    signal = pink_eeg(200, 40.0, channels=4)
    stage = StreamFilter(preprocessing_info(200), 4)
    stage.push(signal[:, :4000])
    broken = signal[:, 4000:].copy()
    broken[2, 100] = broken[3, 50] = bad
    with pytest.raises(ValueError, match=r"rows \[2, 3\] hold NaN or infinity, first at 20\.25 s"):
        stage.push(broken)
    whole = np.concatenate([stage.push(signal[:, 4000:]), stage.finish()], axis=1)
    np.testing.assert_array_equal(whole, stream(signal, 200))  # nothing of it was taken


def test_wrong_use_is_an_error():
    info = preprocessing_info(256)
    for sizes in ((0, None), (1, 0)):
        with pytest.raises(ValueError, match="at least one channel"):
            StreamFilter(info, *sizes)
    with pytest.raises(ValueError, match="hop_s"):
        StreamFilter(info, 1, hop_s=0)
    stage = StreamFilter(info, 2, samples=1000)
    with pytest.raises(ValueError, match=r"\(2 channels, samples\)"):
        stage.push(np.zeros((3, 10)))
    with pytest.raises(ValueError, match="real numbers"):
        stage.push(np.zeros((2, 10), dtype=complex))
    with pytest.raises(ValueError, match="1000 samples in all"):
        stage.push(np.zeros((2, 1001)))
    stage.push(np.zeros((2, 999)))
    with pytest.raises(ValueError, match="Expected 1000 samples before the end, found 999"):
        stage.finish()
    stage.push(np.zeros((2, 1)))
    with pytest.warns(UserWarning, match="shorter"):
        stage.finish()
    with pytest.raises(ValueError, match="finished"):
        stage.push(np.zeros((2, 1)))
    with pytest.raises(ValueError, match="at least one sample"):
        StreamFilter(info, 2).finish()


@pytest.mark.parametrize("name", ["S001R04", "S088R10"])
def test_real_recordings(recordings_dir, name):
    """160 Hz, and 128 Hz without a low-pass: microvolt RMS against the whole recording."""
    raw = read_recording(recordings_dir / "eegmmidb" / f"{name}.edf")
    rate_hz = raw.info["sfreq"]
    signal = raw.get_data(picks=slice(0, 16)) * 1e6
    count = signal.shape[1]
    while grid_shift(preprocessing_info(rate_hz), count) > 0:
        count -= 1
    signal = signal[:, :count]
    error = stream(signal, rate_hz, hop_s=30.0) - preprocess(signal, rate_hz)
    inner = error[:, 400:-400]
    assert np.sqrt(np.mean(inner**2)) < (0.001 if rate_hz == 160 else 0.05)


def test_real_windows_of_sleep_at_100_hz(recordings_dir):
    """No low-pass can be applied; 17 microvolt of EEG differ by a few nanovolt."""
    windows = np.load(recordings_dir / "sleep-edf" / "sleep_physionet_windows_30s.npz")["X_uV"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 30 s are shorter than the high-pass
        for window in windows:
            error = stream(window, 100, hop_s=5.0) - preprocess(window, 100)
            assert np.sqrt(np.mean(error**2)) < 0.01
    assert windows.std() > 10
