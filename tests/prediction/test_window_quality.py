"""Windows under bad annotations and with constant channels: marked, or left out when asked."""

from __future__ import annotations

import csv
import io

import mne
import numpy as np
import pytest
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg, raw_of

from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction.events import (
    annotations_of,
    event_spans,
    events_sidecar,
    events_text,
)

RATE = 100
SIGNAL = eeg(20, RATE, 6)
pytestmark = pytest.mark.filterwarnings("ignore:A recording is shorter")


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    model.add_adapter("two", card=card(name="two", channels=NAMES, window_s=2.0))
    model.add_adapter("pair", card=card(name="pair", channels=("FP1-C3",), window_s=1.0))
    randomize(model)
    return model.eval()


def marked_raw(*marks):
    onsets, durations, texts = zip(*marks, strict=True)
    return raw_of(SIGNAL, rate_hz=RATE).set_annotations(mne.Annotations(onsets, durations, texts))


def rows_of(prediction, merge=False):
    return list(csv.DictReader(io.StringIO(events_text(prediction, merge)), delimiter="\t"))


def codes(prediction):
    return [finding.code for finding in prediction.findings]


# Bad annotations ---------------------------------------------------------------------------------


def test_windows_under_bad_annotations_are_marked_as_mne_drops_them(model):
    marks = [(3.0, 1.5, "BAD_movement"), (4.2, 0.0, "bad blink"), (12.0, 2.0, "eyes open")]
    found = predict(marked_raw(*marks), model, "two")["two"]
    plain = predict((SIGNAL, NAMES, RATE), model, "two")["two"]
    np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=1e-5)
    assert found.marked == ("", "bad: BAD_movement", "bad: BAD_movement, bad blink", *[""] * 7)
    (finding,) = [one for one in found.findings if one.code == "marked-bad"]
    assert "2 of 10, marked" in finding.sentence and "BAD_movement, 1.5 s" in finding.sentence
    assert finding.spans_s == ((3.0, 4.5), (4.2, 4.2)) and str(finding) in found.notes
    epochs = mne.make_fixed_length_epochs(marked_raw(marks[0]), 2.0, verbose="error")
    dropped = [bool(log) for log in epochs.drop_bad(verbose="error").drop_log]
    assert dropped == [bool(reason) for reason in found.marked]


@pytest.mark.parametrize("onset, duration, count", [(2.0, 2.0, 1), (1.999, 2.002, 3), (19.9, 9, 1)])
def test_a_window_that_a_mark_only_touches_is_good(onset, duration, count, model):
    found = predict(marked_raw((onset, duration, "BAD_x")), model, "two")["two"]
    assert sum(map(bool, found.marked)) == count


def test_bad_windows_are_left_out_when_asked(model):
    raw = marked_raw((3.0, 1.5, "BAD_movement"))
    marked = predict(raw, model, "two")["two"]
    found = predict(raw, model, "two", bad="leave-out")["two"]
    kept = [not reason for reason in marked.marked]
    np.testing.assert_array_equal(found.onset_s, marked.onset_s[kept])
    np.testing.assert_array_equal(found.probabilities, marked.probabilities[kept])
    assert found.marked == () and "2 of 10, left out" in " ".join(found.notes)
    actions = [one["action"] for one in events_sidecar(found)["Findings"]
               if one["code"] == "marked-bad"]  # fmt: skip
    assert actions == ["leave windows out"]
    assert list(rows_of(found)[0])[-1].startswith("probability")
    with pytest.raises(SignalError, match=r"expected a window that is not left out.*--bad mark"):
        predict(marked_raw((0.0, 20.0, "BAD_all")), model, "two", bad="leave-out")
    with pytest.raises(ValueError, match="bad: expected one of"):
        predict(raw, model, bad="drop")


def test_the_table_says_why_only_where_something_is_marked(model):
    found = predict(marked_raw((3.0, 1.5, "BAD_movement")), model, "two")["two"]
    rows = rows_of(found)
    assert [row["note"] for row in rows] == [
        "n/a", "bad: BAD_movement", "bad: BAD_movement", *["n/a"] * 7
    ]  # fmt: skip
    assert set(rows[0]) <= set(events_sidecar(found))
    assert annotations_of(found).extras[1]["note"] == "bad: BAD_movement"
    plain = predict((SIGNAL, NAMES, RATE), model, "two")["two"]
    assert "note" not in rows_of(plain)[0] and "note" not in events_sidecar(plain)
    found.probabilities[:] = [1, 0]
    onsets, durations, _, _ = event_spans(found, merge=True)
    assert list(zip(onsets, durations, strict=True)) == [(0, 2), (2, 4), (6, 14)]
    assert [row["note"] for row in rows_of(found, True)] == ["n/a", "bad: BAD_movement", "n/a"]


# Constant channels -------------------------------------------------------------------------------


def test_padded_ends_and_pulled_plugs_are_marked_and_named(model):
    signal = np.array(SIGNAL)
    signal[:, 1500:] = 0.0  # 15 to 20 s: half of the window from 14 s
    signal[2, 400:801] = signal[2, 400]  # C3, 4 to 8 s
    found = predict((signal, NAMES, RATE), model, block_s=0.7)
    every, pair = found["two"], found["pair"]
    assert every.marked == (
        "", "", "constant: C3", "constant: C3", "", "", "", *["constant: all 6 channels"] * 3
    )  # fmt: skip
    (finding,) = [one for one in every.findings if one.code == "constant"]
    assert finding.channels == tuple(NAMES) and finding.spans_s == ((4.0, 8.0), (15.0, 20.0))
    assert "5 of 10, marked" in finding.sentence
    assert "C3 from 4 to 8 s, all 6 channels from 15 to 20 s" in finding.sentence
    assert pair.marked == tuple(
        "constant: C3" if 4 <= k < 8 else "constant: all 2 channels" if k >= 15 else ""
        for k in range(20)
    )
    left = predict((signal, NAMES, RATE), model, "two", bad="leave-out")["two"]
    assert left.onset_s.tolist() == [0.0, 2.0, 8.0, 10.0, 12.0]


def test_less_than_half_a_window_marks_nothing_and_neither_does_a_flat_channel(model):
    signal = np.array(SIGNAL)
    signal[2] = 7.0  # throughout: a flat channel, or a reference
    signal[4, 300:395] = signal[4, 300]  # 0.95 s
    found = predict((signal, NAMES, RATE), model)
    for prediction in found.values():
        assert not prediction.marked and "constant" not in codes(prediction)
    assert "flat" in codes(found["two"])
    signal[4, 300:405] = signal[4, 300]  # 1 s of the window from 2 s
    marked = predict((signal, NAMES, RATE), model, "two")["two"].marked
    assert marked == ("", "constant: C4", *[""] * 8)


def test_both_reasons_stand_together_and_overlapping_windows_are_judged_each(model):
    raw = marked_raw((4.0, 1.0, "BAD_x"))
    raw._data[0, 400:700] = 0.0
    found = predict(raw, model, "two", stride_s=1.0)["two"]
    expected = [""] * 19
    for window in (3, 4, 5, 6):
        expected[window] = "constant: FP1"
    for window in (3, 4):
        expected[window] = "bad: BAD_x; constant: FP1"
    assert list(found.marked) == expected
