"""A signal that comes in chunks gets the answers of the whole recording."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from tiny_live import ELECTRODES, feed, rows
from tiny_models import CARDS, model_with_tasks
from tiny_recordings import pink_eeg

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.export import MissingOnnxError, export_onnx
from modeling_mteeg.model.preprocessing import preprocessing_info
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction.engine import predict
from modeling_mteeg.prediction.live import LivePredictor
from modeling_mteeg.recordings.stream_transform import grid_shift

TASKS = ("tuab", "tuev", "chb-mit", "sleep-edf")


@pytest.fixture(scope="module")
def model():
    return model_with_tasks(*TASKS)


def recording(rate_hz: float = 256, seconds: float = 60.0, grid: bool = True) -> np.ndarray:
    """Simulated microvolt, if asked of a length for which MNE's output grid is the nominal one."""
    signal = pink_eeg(rate_hz, seconds, len(ELECTRODES))
    count = signal.shape[1]
    while grid and grid_shift(preprocessing_info(rate_hz), count) > 1e-3:
        count -= 1
    return signal[:, :count]


def of_file(model, task: str, signal, rate_hz, stride_s=None, names=ELECTRODES) -> np.ndarray:
    """Probabilities (windows, classes) of the whole recording, by extractor and model."""
    card = model.tasks[task]
    source = (signal, names, rate_hz)
    inputs = MteegFeatureExtractor()(source, task=card, stride_s=stride_s)
    with torch.no_grad():
        return card.probabilities(model(**inputs, task=task).logits).numpy()


@pytest.mark.parametrize(
    "rate_hz",
    [100, 200, 256, *(pytest.param(rate, marks=pytest.mark.slow) for rate in (128, 160, 250, 500))],
)
@pytest.mark.filterwarnings("ignore:The .* and is left out")
def test_answers_are_those_of_the_file(model, rate_hz):
    local = rate_hz > 150  # else resampling is not: see StreamFilter
    signal = recording(rate_hz, grid=rate_hz not in (250, 500))
    expected = of_file(model, "tuev", signal, rate_hz, 0.5)
    assert expected.std(axis=0).max() > 0.01  # answers that do differ from window to window
    lengths = (signal.shape[1],) if rate_hz in (250, 500) else (signal.shape[1], None)
    for samples in lengths:
        live = LivePredictor(model, "tuev", ELECTRODES, rate_hz, stride_s=0.5, samples=samples)
        results = feed(live, signal)
        found = rows(results, "tuev")
        away = np.abs(found - expected)
        assert away.max() < (1e-4 if local else 1e-2)
        assert np.quantile(away, 0.95) < (1e-4 if local else 1e-3)
        assert [one.onset_s for one in results] == [0.5 * k for k in range(len(expected))]


def test_several_tasks_share_a_stream_and_bipolar_channels_are_derived(model):
    signal = recording(256, 60.0)
    live = LivePredictor(model, TASKS, ELECTRODES, 256)
    assert len(live._groups) == 1 and len(live._groups[0].rows) == len(ELECTRODES)
    results = feed(live, signal)
    for task in TASKS:
        expected = of_file(model, task, signal, 256)
        np.testing.assert_allclose(rows(results, task), expected, atol=1e-4)
    ends = [one.end_s for one in results]
    assert ends == sorted(ends)


def test_answers_are_those_of_the_command_for_files(model):
    signal = recording(250, 60.0, grid=False)
    expected = predict((signal, ELECTRODES, 250.0), model, TASKS, stride_s=1.0)
    live = LivePredictor(model, TASKS, ELECTRODES, 250, stride_s=1.0, samples=signal.shape[1])
    results = feed(live, signal)
    for task, prediction in expected.items():
        own = [one for one in results if one.task == task]
        np.testing.assert_allclose(rows(own, task), prediction.probabilities, atol=1e-4)
        assert [one.onset_s for one in own] == prediction.onset_s.tolist()
        assert [one.label for one in own] == prediction.labels


def test_results_name_the_most_probable_label(model):
    results = feed(LivePredictor(model, TASKS, ELECTRODES, 256), recording(256, 30.0))
    assert len(results) > 50
    for one in results:
        assert tuple(one.probabilities) == CARDS[one.task].labels
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert one.probabilities[one.label] == max(one.probabilities.values())
        assert one.duration_s == CARDS[one.task].window_s and one.flat == ()


@pytest.mark.parametrize(
    "options",
    [
        {},
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ({"lookahead_s": 1.0}, {"highpass_hz": 1.0})
        ),
    ],
)
def test_the_sizes_of_the_chunks_do_not_change_a_bit(model, options):
    signal = recording(256, 40.0)
    found = [
        feed(LivePredictor(model, ("tuab", "tuev"), ELECTRODES, 256, stride_s=0.75, **options),
             signal, size)
        for size in (7, 100_000, None)
    ]  # fmt: skip
    assert found[0] == found[1] == found[2] and len(found[0]) > 90


def test_channels_go_by_name_in_any_order_and_unit(model):
    signal = recording(256, 30.0)
    expected = feed(LivePredictor(model, "chb-mit", ELECTRODES, 256), signal)
    order = np.random.default_rng(0).permutation(len(ELECTRODES))
    names = [f"EEG {ELECTRODES[row].capitalize()}-REF" for row in order]
    live = LivePredictor(model, "chb-mit", names, 256, unit="V")
    found = feed(live, signal[order] * 1e-6)
    assert [one.onset_s for one in found] == [one.onset_s for one in expected]
    np.testing.assert_allclose(rows(found, "chb-mit"), rows(expected, "chb-mit"), atol=1e-5)


def test_answers_come_after_the_stated_delay_and_not_before(model):
    signal = recording(160, 60.0)
    live = LivePredictor(model, "tuab", ELECTRODES, 160, stride_s=1.0)
    assert 19.5 < live.delay_s < 21
    assert live.first_answer_s == pytest.approx(2 + live.delay_s)
    for place in range(0, signal.shape[1], 16):  # 0.1 s
        for one in live.push(signal[:, place : place + 16]):
            assert abs((place + 16) / 160 - (one.end_s + live.delay_s)) < 0.11


def test_less_delay_by_lookahead_or_by_a_higher_high_pass(model):
    signal = recording(256, 90.0)
    exact = rows(feed(LivePredictor(model, "tuab", ELECTRODES, 256), signal), "tuab")
    near = LivePredictor(model, "tuab", ELECTRODES, 256, lookahead_s=3.0)
    assert near.delay_s == 3.0 and near.first_answer_s > 20
    late = [
        (place / 256 - one.end_s)
        for place in range(64, signal.shape[1], 64)
        for one in near.push(signal[:, place - 64 : place])
    ]
    assert min(late) >= 3.0 and np.median(late) < 3.3
    higher = LivePredictor(model, "tuab", ELECTRODES, 256, highpass_hz=1.0)
    assert higher.delay_s < 6
    errors = []
    for lookahead_s in (3.0, 12.0):
        live = LivePredictor(model, "tuab", ELECTRODES, 256, lookahead_s=lookahead_s)
        found = rows(feed(live, signal), "tuab")
        assert found.shape == exact.shape
        errors.append(float(np.abs(found - exact).mean()))
    assert 0 < errors[1] < errors[0] / 3 < 0.1


@pytest.mark.slow
def test_memory_is_bounded(model):
    live = LivePredictor(model, ("tuab", "sleep-edf"), ELECTRODES, 256)
    held, chunk = None, recording(256, 10.0)

    def arrays() -> list[int]:
        parts = [group.filter._buffer for group in live._groups]
        parts += [m.windows._buffer for group in live._groups for m in group.members]
        return [part.nbytes for part in parts]

    count = 0
    for _ in range(30):  # five minutes
        held = held or arrays()
        count += len(live.push(chunk))
        assert arrays() == held
    assert count > 180 and sum(held) < 2e6


def test_a_short_signal_is_answered_at_its_end(model):
    signal = recording(160, 8.0)
    live = LivePredictor(model, "tuab", ELECTRODES, 160)
    assert live.push(signal) == []
    with pytest.warns(UserWarning, match="shorter than"):
        found = live.finish()
    with pytest.warns(UserWarning, match="shorter than"):
        expected = of_file(model, "tuab", signal, 160)
    np.testing.assert_allclose(rows(found, "tuab"), expected, atol=1e-4)


def test_flat_channels_are_named_per_window(model):
    signal = recording(256, 120.0)
    signal[2, 30 * 256 :] = signal[2, 30 * 256]  # C3 falls off after 30 s
    results = feed(LivePredictor(model, "tuab", ELECTRODES, 256), signal)
    assert results[2].flat == () and results[-1].flat == ("C3",)


def test_faults_of_a_chunk_are_named_and_nothing_of_it_is_taken(model):
    signal = recording(256, 40.0)
    live = LivePredictor(model, "tuev", ELECTRODES, 256)
    results = live.push(signal[:, :2560])
    broken = signal[:, 2560:].copy()
    broken[4, 256] = np.nan
    with pytest.raises(SignalError, match=r"NaN or infinity in A1, first at 11 s"):
        live.push(broken)
    broken = signal[:, 2560:].copy()
    broken[9, 256] = np.nan  # CZ, which tuev does not need
    results += live.push(broken) + live.finish()
    assert results == feed(LivePredictor(model, "tuev", ELECTRODES, 256), signal)
    with pytest.raises(ValueError, match="finished"):
        live.push(signal)
    with pytest.raises(ValueError, match=r"\(12 channels, samples\)"):
        LivePredictor(model, "tuev", ELECTRODES, 256).push(signal[:3])


def test_volts_passed_as_microvolt_are_named(model):
    live = LivePredictor(model, "tuev", ELECTRODES, 256)
    with pytest.raises(SignalError, match="looks like volt"):
        live.push(1e-6 * recording(256, 40.0))


def test_copies_of_a_channel_are_taken_once_and_must_be_equal(model):
    signal = recording(160, 30.0)
    names = [*ELECTRODES, "FP1"]
    doubled = np.concatenate([signal, signal[:1]])
    expected = feed(LivePredictor(model, "tuev", ELECTRODES, 160), signal)
    assert feed(LivePredictor(model, "tuev", names, 160), doubled) == expected
    doubled[-1, 50] += 1
    with pytest.raises(SignalError, match="FP1 2 times with different signals"):
        LivePredictor(model, "tuev", names, 160).push(doubled)


def test_wrong_use_is_an_error(model):
    with pytest.raises(SignalError, match=r"missing: A1"):
        LivePredictor(model, "tuev", ["FP1", "FP2"], 256)
    with pytest.raises(ValueError, match="'seed-v' not among"):
        LivePredictor(model, ["tuab", "seed-v"], ELECTRODES, 256)
    with pytest.raises(ValueError, match="one or more different tasks"):
        LivePredictor(model, [], ELECTRODES, 256)
    with pytest.raises(ValueError, match="list of names"):
        LivePredictor(model, "tuab", "FP1", 256)
    with pytest.raises(ValueError, match="unit"):
        LivePredictor(model, "tuab", ELECTRODES, 256, unit="counts")
    with pytest.raises(ValueError, match="stride_s"):
        LivePredictor(model, "tuab", ELECTRODES, 256, stride_s=0.0013)
    with pytest.raises(ValueError, match="lookahead_s: expected 0 to"):
        LivePredictor(model, "tuab", ELECTRODES, 256, lookahead_s=60)
    model.train()
    try:
        with pytest.raises(ValueError, match=r"model\.eval"):
            LivePredictor(model, "tuab", ELECTRODES, 256)
    finally:
        model.eval()


@pytest.mark.slow
def test_an_exported_task_answers_as_the_model_and_must_be_that_task(tmp_path):
    model, signal = model_with_tasks("tuab", num_hidden_layers=1), recording(160, 30.0)
    expected = feed(LivePredictor(model, "tuab", ELECTRODES, 160), signal)
    with pytest.raises(FileNotFoundError, match="mteeg export --task tuab"):
        LivePredictor(model, "tuab", ELECTRODES, 160, onnx=tmp_path)
    export_onnx(model, "tuab", tmp_path)
    live = LivePredictor(model, "tuab", ELECTRODES, 160, onnx=tmp_path)
    results = feed(live, signal)
    assert [result.label for result in results] == [result.label for result in expected]
    np.testing.assert_allclose(rows(results, "tuab"), rows(expected, "tuab"), atol=1e-4)
    other = model_with_tasks("tuab", seed=1, num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"expected the logits of this model's task 'tuab'"):
        LivePredictor(other, "tuab", ELECTRODES, 160, onnx=tmp_path)


def test_without_onnx_runtime_the_extra_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingOnnxError, match=r"modeling-mteeg\[onnx\]"):
        LivePredictor(model, "tuab", ELECTRODES, 160, onnx=tmp_path)


def test_missing_channels_are_named_and_left_out_where_the_card_allows(model, caplog):
    signal = recording(160, 50.0)
    with pytest.raises(SignalError, match="A1"):
        LivePredictor(model, "tuev", ELECTRODES[:4], 160)
    live = LivePredictor(model, "tuev", ELECTRODES[:4], 160, allow_missing=1)
    assert "A1" in caplog.text
    inputs = MteegFeatureExtractor()((signal, ELECTRODES, 160), channels=["FP1", "FP2"], window_s=1)
    with torch.no_grad():
        logits = model(**inputs, task="tuev").logits
    expected = model.tasks["tuev"].probabilities(logits).numpy()
    np.testing.assert_allclose(rows(feed(live, signal[:4]), "tuev"), expected, atol=1e-4)
