"""predict() on recordings of several parts: each as a file of its own, at its true time."""

from __future__ import annotations

import json
import warnings

import mne
import numpy as np
import pytest
from odd_files import as_stored, time_stamps, write_odd_edf
from recording_files import write_recording
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg, raw_of

from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction.events import annotations_of, event_spans, events_sidecar

RATE = 100
SIGNAL = eeg(25, RATE, 6)
STORED = as_stored(SIGNAL)  # every file here holds the same numbers
pytestmark = pytest.mark.filterwarnings("ignore:A recording is shorter")


@pytest.fixture(scope="module")
def model():
    """One task of windows of 2 s, one of 3 s with bipolar channels."""
    model = tiny_model()
    model.add_adapter("two", card=card(name="two", channels=NAMES, window_s=2.0))
    model.add_adapter("three", card=card(name="three", channels=("FP1-C3", "O1"), window_s=3.0))
    randomize(model)
    return model.eval()


def as_its_own(model, start, stop, begin_s=0.0, **options):
    """Onsets and probabilities of a piece of SIGNAL that is a recording of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = predict((STORED[:, start:stop], NAMES, RATE), model, **options)
    return {name: (one.onset_s + begin_s, one.probabilities) for name, one in found.items()}


def gap_edf(folder, onsets_s):
    stamps = time_stamps(onsets_s)
    return write_odd_edf(folder / "gap.edf", SIGNAL, NAMES, RATE, kind="EDF+D", stamps=stamps)


def joined_fif(folder):
    """Two recordings that MNE joined, saved and read again: no pause is known."""
    raws = [raw_of(STORED[:, a:b], rate_hz=RATE) for a, b in ((0, 1000), (1000, 2500))]
    path = folder / "joined_raw.fif"
    mne.concatenate_raws(raws, verbose="error").save(path, fmt="double", verbose="error")
    return path


def segments(folder):
    """A BrainVision recording that was paused for 60 s."""
    path = write_recording(folder, "paused.vhdr", STORED, NAMES, RATE)
    with path.with_suffix(".vmrk").open("a", encoding="utf-8") as markers:
        markers.write("Mk1=New Segment,,1,1,0,20200101100000000000\n")
        markers.write("Mk2=New Segment,,1001,1,0,20200101100110000000\n")
    return path


def skipped(folder):
    """10 s, 5 s that were not stored, 15 s."""
    raw = raw_of(np.insert(STORED, 1000, np.zeros((500, 6)), axis=1), rate_hz=RATE)
    raw.set_annotations(mne.Annotations([10.0], [5.0], ["BAD_ACQ_SKIP"]))
    path = folder / "skip_raw.fif"
    raw.save(path, fmt="double", verbose="error")
    return path


CASES = {
    "records of EDF+D": (lambda folder: gap_edf(folder, [*range(10), *range(310, 325)]), 310.0),
    "joined by MNE": (joined_fif, 10.0),
    "BrainVision's segments": (segments, 70.0),
    "skipped by the recorder": (skipped, 15.0),
}


@pytest.mark.parametrize("case", CASES)
def test_every_part_gives_what_it_gives_as_a_recording_of_its_own(case, model, tmp_path):
    options = {"stride_s": 1.5, "last_window": True} if case == "joined by MNE" else {}
    make, second_s = CASES[case]
    found = predict(make(tmp_path), model, block_s=4.0, **options)
    first = as_its_own(model, 0, 1000, **options)
    second = as_its_own(model, 1000, 2500, second_s, **options)
    for name, prediction in found.items():
        onsets, rows = (
            np.concatenate(both) for both in zip(first[name], second[name], strict=True)
        )
        np.testing.assert_array_equal(prediction.onset_s, onsets)
        tolerance = 0 if case == "records of EDF+D" else 1e-5  # others hold the volts as floats
        np.testing.assert_allclose(prediction.probabilities, rows, atol=tolerance)
        assert prediction.recording_s == second_s + 15
        assert [part.onset_s for part in prediction.parts] == [0.0, second_s]
        assert "parts" in [finding.code for finding in prediction.findings]


def test_batches_do_not_reach_over_a_joint(model, tmp_path):
    path = gap_edf(tmp_path, [*range(10), *range(310, 325)])
    one = predict(path, model, "two", batch_size=1)["two"]
    many = predict(path, model, "two", batch_size=100)["two"]
    np.testing.assert_array_equal(one.onset_s, many.onset_s)
    np.testing.assert_allclose(one.probabilities, many.probabilities, atol=1e-6)


def test_what_is_skipped_is_never_read(model, tmp_path):
    raw = mne.io.read_raw_fif(skipped(tmp_path), preload=True, verbose="error")
    right = predict(raw, model)["two"].probabilities
    raw._data[:, 1000:1500] = np.nan
    np.testing.assert_array_equal(predict(raw, model)["two"].probabilities, right)


def test_short_parts_are_named_and_no_part_at_all_is_an_error(model, tmp_path):
    path = gap_edf(tmp_path, [*range(1), *range(10, 12), *range(20, 42)])
    found = predict(path, model)
    assert found["two"].onset_s[:2].tolist() == [10.0, 20.0]
    short = [one for one in found["two"].findings if "shorter than a window" in one.sentence]
    assert [one.spans_s for one in short] == [((0.0, 1.0),)]
    assert "1 of 3 parts are shorter than a window of 2 s" in short[0].sentence
    short = [one for one in found["three"].findings if "shorter than a window" in one.sentence]
    assert short[0].spans_s == ((0.0, 1.0), (10.0, 12.0))
    path = gap_edf(tmp_path, np.cumsum(3 + np.arange(25) % 3))
    with pytest.raises(SignalError, match=r"at least 2 s.*25 parts, the longest of 1 s"):
        predict(path, model, "two")
    raw = raw_of(STORED, rate_hz=RATE)
    raw.set_annotations(mne.Annotations([0.0], [25.0], ["BAD_ACQ_SKIP"]))
    with pytest.raises(SignalError, match="all of it was skipped"):
        predict(raw, model, "two")


def test_ends_are_named_and_an_option_gives_them_a_window(model):
    recording = (SIGNAL[:, :1700], NAMES, RATE)  # 17 s
    plain = predict(recording, model)
    for name, rest_s in (("two", 1.0), ("three", 2.0)):
        (end,) = [one for one in plain[name].findings if one.code == "end-left-out"]
        assert end.spans_s == ((17 - rest_s, 17.0),) and f"last {rest_s:g} s" in end.sentence
        assert str(end) in plain[name].notes
    more = predict(recording, model, last_window=True)
    for name, prediction in more.items():
        assert "end-left-out" not in [one.code for one in prediction.findings]
        np.testing.assert_array_equal(prediction.onset_s[:-1], plain[name].onset_s)
        assert prediction.onset_s[-1] + prediction.window_s == 17.0
        assert prediction.ends.tolist() == [False] * (len(prediction.ends) - 1) + [True]
        np.testing.assert_allclose(
            prediction.probabilities[:-1], plain[name].probabilities, atol=1e-6
        )
        exact = predict(recording, model, name, at=[prediction.onset_s[-1]])[name]
        np.testing.assert_allclose(exact.probabilities[0], prediction.probabilities[-1], atol=1e-6)
    whole = predict((SIGNAL[:, :1200], NAMES, RATE), model, last_window=True)  # 12 s fit
    assert not any(one.ends.any() for one in whole.values())


def test_merging_ends_with_a_part_and_annotations_fit_what_mne_reads(model, tmp_path):
    for case, (make, second_s) in CASES.items():
        path = make(tmp_path)
        prediction = predict(path, model, "two")["two"]
        prediction.probabilities[:] = [1, 0]
        onsets, durations, _, _ = event_spans(prediction, merge=True)
        assert list(zip(onsets, durations, strict=True)) == [(0, 10), (second_s, 14)], case
        sidecar = json.loads(json.dumps(events_sidecar(prediction, merge=True)))
        first = 1500 if "skip" in case else 1000
        assert sidecar["Parts"] == [
            {"FirstSample": 0, "Onset": 0.0, "Duration": 10.0},
            {"FirstSample": first, "Onset": second_s, "Duration": 15.0},
        ]
        codes = [one["code"] for one in sidecar["Findings"]]
        assert codes.count("parts") == 1 and sidecar["RecordingDuration"] == second_s + 15
        raw = mne.io.read_raw(path, verbose="error")
        raw.set_annotations(annotations_of(prediction))
        marked = raw.annotations.onset - raw.first_time * (raw.annotations.orig_time is not None)
        np.testing.assert_allclose(marked[5:7], [first / RATE, first / RATE + 2])


def test_a_raw_that_is_cropped_into_one_part_has_no_joint(model, tmp_path):
    raw = mne.io.read_raw(gap_edf(tmp_path, [*range(10), *range(310, 325)]), verbose="error")
    found = predict(raw.crop(10.0), model, "two")["two"]
    expected = as_its_own(model, 1000, 2500)["two"]
    np.testing.assert_array_equal(found.onset_s, expected[0])
    np.testing.assert_array_equal(found.probabilities, expected[1])


def test_channels_are_judged_over_all_parts(model, tmp_path):
    """A channel that is flat in every part, at another level, is flat."""
    signal = np.array(SIGNAL)
    signal[2, :1000], signal[2, 1000:] = 5.0, 500.0
    raw = raw_of(signal, rate_hz=RATE)
    raw.set_annotations(mne.Annotations([10.0], [0.0], ["boundary"]))
    found = predict(raw, model, "two")["two"]
    assert any("1 of 6 channels are flat: C3" in note for note in found.notes)
    raw._data[:, 1000:] *= 1e6  # volt that are taken for microvolt, in one part
    with pytest.raises(SignalError, match="looks like"):
        predict(raw, model, "two")


def test_a_clock_of_zeros_says_nothing_about_the_pause(model, tmp_path):
    path = segments(tmp_path)
    markers = path.with_suffix(".vmrk")
    markers.write_text(markers.read_text("utf-8").replace("2020010110", "0000000000"), "utf-8")
    found = predict(path, model, "two")["two"]
    assert [part.onset_s for part in found.parts] == [0.0, 10.0]
