"""Every window of a live signal is judged: what is wrong with it stands on its answer."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_live import ELECTRODES, feed
from tiny_models import model_with_tasks
from tiny_recordings import pink_eeg

from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction.engine import predict
from modeling_mteeg.prediction.live import LivePredictor
from modeling_mteeg.prediction.live_checks import LiveWindowError
from modeling_mteeg.recordings.recorded_tail import RecordedTail

RATE = 200
C3, CZ = ELECTRODES.index("C3"), ELECTRODES.index("CZ")


@pytest.fixture(scope="module")
def model():
    return model_with_tasks("tuab", "sleep-edf")


@pytest.fixture
def signal():
    return pink_eeg(RATE, 24.0, len(ELECTRODES))


def live(model, tasks="tuab") -> LivePredictor:
    """With a high-pass whose future is short."""
    return LivePredictor(model, tasks, ELECTRODES, RATE, highpass_hz=1.0)


def test_clean_windows_are_not_remarked_on(model, signal):
    results = feed(live(model, ("tuab", "sleep-edf")), signal)
    assert len(results) == 20
    assert {(one.flat, one.marked, one.findings) for one in results} == {((), "", ())}


@pytest.mark.parametrize("size", [pytest.param(50, marks=pytest.mark.slow), 100_000])
def test_a_channel_that_turns_into_another_unit_has_no_answer_while_it_lasts(model, signal, size):
    whole = feed(live(model, ("tuab", "sleep-edf")), signal)
    signal[C3, 10 * RATE : 14 * RATE] *= 1000
    stream, answers, faults = live(model, ("tuab", "sleep-edf")), [], []

    def take(give, *args):
        try:
            answers.extend(give(*args))
        except LiveWindowError as error:
            faults.append(error)
            answers.extend(error.answers)

    for place in range(0, signal.shape[1], size):
        take(stream.push, signal[:, place : place + size])
    take(stream.finish)
    assert faults and all("C3 (" in str(error) for error in faults)
    assert all(error.task == "tuab" for error in faults)  # sleep-edf takes no C3
    assert str(faults[0]).startswith("Task 'tuab', window from ")
    given = {(one.task, one.onset_s) for one in answers}
    lost = {(one.task, one.onset_s) for one in whole} - given
    assert all(task == "tuab" and 2 < onset < 20 for task, onset in lost)
    assert {("tuab", float(onset)) for onset in range(10, 14, 2)} <= lost
    assert [one for one in answers if one.task == "sleep-edf"] == [
        one for one in whole if one.task == "sleep-edf"
    ]


def test_a_wrong_unit_is_an_error_at_every_window(model, signal):
    stream = live(model)
    for _ in range(2):
        with pytest.raises(SignalError, match="looks like volt"):
            stream.push(1e-6 * signal[:, : 10 * RATE])


def test_constant_channels_are_marked_as_in_the_prediction_of_the_file(model, signal):
    signal[C3, 8 * RATE : 13 * RATE] = signal[C3, 8 * RATE]
    signal[:, 20 * RATE :] = 0.0  # a padded end
    expected = predict((signal, ELECTRODES, float(RATE)), model, "tuab")["tuab"]
    results = feed(live(model), signal)
    assert [one.marked for one in results] == list(expected.marked)
    for one in results:
        fully = one.onset_s >= 8 and one.end_s <= 13
        assert one.flat == (expected.channels if one.onset_s >= 20 else ("C3",) if fully else ())
        codes = [finding.code for finding in one.findings]
        assert ("flat" in codes) == bool(one.flat)
        assert ("constant" in codes) == bool(one.marked)
        assert all(finding.spans_s == ((one.onset_s, one.end_s),) for finding in one.findings)


def test_a_reference_that_is_constant_from_the_start_is_not_marked(model, signal):
    signal[C3] = 0.0
    results = feed(live(model), signal)
    assert {one.marked for one in results} == {""}
    assert {one.flat for one in results} == {("C3",)}


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_stream_without_a_signal_has_no_answer_until_it_begins(model, signal, size):
    signal[:, : 6 * RATE] = 3.0
    stream, answers, faults = live(model), [], []
    for place in range(0, signal.shape[1], size):
        try:
            answers += stream.push(signal[:, place : place + size])
        except LiveWindowError as error:
            faults.append(error)
            answers += error.answers
    answers += stream.finish()
    assert "channels flat" in str(faults[0]) and faults[0].onset_s == 0
    assert answers and all(one.end_s > 6 for one in answers)


def test_what_is_found_is_logged_once(model, signal, caplog):
    signal[C3, 8 * RATE :] = 5.0
    feed(live(model), signal)
    assert caplog.text.count("C3 keeps one value for half of the window or more") == 1


def test_channels_that_are_missing_or_derived_are_known_from_the_start(model):
    names = [name for name in ELECTRODES if name not in ("OZ", "C3")]
    stream = LivePredictor(model, ("tuab", "sleep-edf"), names, RATE, allow_missing=1)
    found = {task: [(one.code, one.channels) for one in some]
             for task, some in stream.findings.items()}  # fmt: skip
    assert found["tuab"] == [("missing", ("C3",))]
    assert found["sleep-edf"] == [("derived", ("FPZ-CZ",)), ("missing", ("PZ-OZ",))]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_newest_samples_are_held(size):
    signal = np.random.default_rng(0).normal(size=(3, 400))
    signal[1] = 4.0
    tail, place = RecordedTail(3, 60), 0
    while place < 400:
        tail.push(signal[:, place : place + size])
        place = min(place + size, 400)
        start = max(0, place - 60)
        np.testing.assert_array_equal(tail.between(start, place), signal[:, start:place])
    assert (tail.changed < 400).tolist() == [True, False, True] and tail.samples_in == 400
    assert tail.changed[[0, 2]].tolist() == [1, 1]
    with pytest.raises(ValueError, match="found 0 to 5"):
        tail.between(0, 5)
    with pytest.raises(ValueError, match="found 390 to 401"):
        tail.between(390, 401)
