"""What a task says of a whole recording: figures counted by hand, and words that claim no more."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import CARDS

from modeling_mteeg.app.summary import question, summarize
from modeling_mteeg.prediction import Prediction


def of(card, probabilities, window_s=None) -> Prediction:
    probabilities = np.asarray(probabilities, np.float32)
    onsets = np.arange(len(probabilities)) * card.window_s
    return Prediction(card, onsets, probabilities, card.window_s, card.channels)


def two(*positive: float) -> np.ndarray:
    return np.array([[1 - one, one] for one in positive])


def test_a_task_of_whole_recordings_gives_share_and_mean():
    card = CARDS["tuab"].replace(label_of="recording")
    said = summarize(of(card, two(0.9, 0.8, 0.2, 0.7)))
    assert said.headline == "abnormal in 75% of the windows, 0.65 in the mean"
    assert said.figures == {
        "Windows that are abnormal": "75% (3 of 4)", "Mean probability of abnormal": "0.65"
    }  # fmt: skip
    assert "its recording's label" in said.meaning and "probability of 0.5 or more" in said.meaning
    assert "Neither is the probability that the recording" in said.meaning
    assert "not calibrated" in said.meaning


def test_another_threshold_changes_the_share_and_not_the_mean():
    prediction = of(CARDS["tuab"].replace(label_of="recording"), two(0.9, 0.8, 0.2, 0.7))
    said = summarize(prediction.at_threshold(0.85))
    assert said.figures["Windows that are abnormal"] == "25% (1 of 4)"
    assert said.figures["Mean probability of abnormal"] == "0.65"
    assert "probability of 0.85 or more" in said.meaning


def test_a_card_that_does_not_say_so_claims_nothing_of_the_recording():
    said = summarize(of(CARDS["tuab"], two(0.9, 0.8, 0.2, 0.7)))
    assert said.headline == "2 events of abnormal, 6 s in all"
    assert "does not say that its labels are of whole recordings" in said.meaning


def test_several_classes_of_whole_recordings_are_all_named():
    card = CARDS["seed-v"].replace(label_of="recording")
    said = summarize(of(card, np.eye(5)[[1, 1, 1, 0]]))
    assert said.headline.startswith("b in 75% of the windows, 0.75")
    assert said.figures["Windows that are c"] == "0% (0 of 4)"


def test_events_are_counted_and_measured():
    said = summarize(of(CARDS["chb-mit"], two(0.1, 0.9, 0.9, 0.1, 0.6, 0.1)))
    assert said.figures["Events"] == "2" and said.figures["Time in them"] == "6 s"
    assert said.figures["The longest"] == "4 s, from 0:00:02"
    assert "Events an hour" not in said.figures
    none = summarize(of(CARDS["chb-mit"], two(0.1, 0.2)))
    assert none.headline == "0 events of seizure, 0 s in all" and "The longest" not in none.figures


def test_stages_are_hours():
    card = CARDS["sleep-edf"].replace(window_s=30)
    said = summarize(of(card, np.eye(5)[[0] * 60 + [2] * 120 + [4] * 60]))
    assert said.headline == "Asleep for 1 h 30 min of 2 h"
    assert list(said.figures) == ["W", "REM", "N1", "N2", "N3"]
    assert said.figures["N2"] == "1 h (50%)" and said.figures["N1"] == "0 s (0%)"


def test_events_of_several_classes_are_runs():
    card = CARDS["tuev"].replace(labels=("spsw", "gped", "pled", "eyem", "artf", "bckg"))
    said = summarize(of(card, np.eye(6)[[5, 0, 0, 5, 0, 3, 5, 5]]))
    assert said.headline == "3 events"
    assert said.figures["spsw"] == "2 events, 38% of the windows"
    assert said.figures["eyem"] == "1 event, 12% of the windows"
    assert said.figures["bckg"] == "50% of the windows"


def test_a_threshold_by_hand_decides_and_says_so():
    prediction = of(CARDS["chb-mit"].replace(threshold=0.7), two(0.6, 0.8))
    assert prediction.labels == ["background", "seizure"]
    by_hand = prediction.at_threshold(0.3)
    assert by_hand.labels == ["seizure", "seizure"] and "chosen by hand" in by_hand.decision
    assert "chosen on validation" in by_hand.at_threshold(None).decision
    for wrong in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="expected a probability"):
            prediction.at_threshold(wrong)
    with pytest.raises(ValueError, match="needs two classes"):
        of(CARDS["sleep-edf"], np.eye(5)).at_threshold(0.5)


def test_questions_are_words():
    card = CARDS["tuab"]
    asked = card.replace(description="Is the recording normal or abnormal? Every window has it.")
    assert question(asked) == "Is the recording normal or abnormal?"
    assert question(card) == "Which of normal or abnormal?"
    assert question(card.replace(description="x" * 300 + "?")) == "Which of normal or abnormal?"
    many = card.replace(labels=tuple("abcdefghij"), loss="cross_entropy", metrics=(), monitor="")
    assert question(many) == "Which of 10 classes?"
