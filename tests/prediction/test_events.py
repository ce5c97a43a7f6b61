"""Predictions as events: spans, columns, annotations."""

from __future__ import annotations

import mne
import numpy as np
import pytest
from tiny_recordings import card

from modeling_mteeg.prediction import Prediction
from modeling_mteeg.prediction.events import (
    annotations_of,
    event_spans,
    events_sidecar,
    events_table,
    probability_columns,
)


def made(classes, window_s=2.0, stride_s=2.0, labels=("left", "both fists", "rest")):
    """A prediction with given classes."""
    probabilities = np.full((len(classes), len(labels)), 0.2, dtype=np.float32)
    probabilities[np.arange(len(classes)), classes] = 0.6
    own = card(name="fists", labels=labels, window_s=window_s)
    return Prediction(own, np.arange(len(classes)) * stride_s, probabilities, stride_s, ("C3",))


def test_annotations_of_a_cropped_recording_start_where_it_starts():
    raw = mne.io.RawArray(np.zeros((1, 1000)), mne.create_info(1, 100.0), 500, verbose="error")
    raw.set_meas_date(0).set_annotations(annotations_of(made([0, 1])))
    assert (raw.annotations.onset - raw.first_time).tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    "window_s, stride_s, spans",
    [
        (2.0, 2.0, [(0, 4), (4, 2), (6, 2), (8, 6)]),
        (2.0, 1.0, [(0, 3), (2, 2), (3, 2), (4, 4)]),
        (2.0, 3.0, [(0, 2), (3, 2), (6, 2), (9, 2), (12, 2), (15, 2), (18, 2)]),  # gaps
    ],
)
def test_merging_makes_one_event_of_a_run(window_s, stride_s, spans):
    classes = [0, 0, 1, 0, 2, 2, 2]
    prediction = made(classes, window_s, stride_s)
    onset, duration, found, probabilities = event_spans(prediction, merge=True)
    assert list(zip(onset, duration, strict=True)) == spans
    assert found.tolist() == ([0, 1, 0, 2] if len(spans) == 4 else classes)
    np.testing.assert_allclose(probabilities.max(axis=1), 0.6, rtol=1e-6)
    assert len(event_spans(prediction)[0]) == 7


def test_merged_probabilities_are_the_mean():
    prediction = made([0, 0, 1])
    prediction.probabilities[1] = [0.8, 0.1, 0.1]
    np.testing.assert_allclose(event_spans(prediction, True)[3][0], [0.7, 0.15, 0.15], rtol=1e-6)


def test_column_names_of_odd_labels():
    assert probability_columns(("a b", "c/d")) == ["probability_a_b", "probability_c_d"]
    assert probability_columns(("+", "-")) == ["probability_0", "probability_1"]
    odd = made([0, 1], labels=("tab\there", 'quote"'))
    columns, rows = events_table(odd)
    assert rows[0][3] == "tab\there" and set(columns) <= set(events_sidecar(odd))


def test_seconds_are_never_written_in_powers_of_ten():
    prediction = made([0] * 3, stride_s=123456.015)
    assert [row[0] for row in events_table(prediction)[1]] == ["0", "123456.015", "246912.03"]
