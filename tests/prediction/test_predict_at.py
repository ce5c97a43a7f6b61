"""Windows at cues: those of the sliding ones, wherever they begin."""

from __future__ import annotations

import csv
import json

import mne
import numpy as np
import pytest
from odd_files import as_stored, time_stamps, write_odd_edf
from tiny_models import randomize, tiny_model
from tiny_recordings import NAMES, card, eeg, raw_of

from modeling_mteeg import cli
from modeling_mteeg.model.edf_annotations import Mark
from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction.events import events_sidecar, events_table

RATE = 100
SIGNAL = eeg(40, RATE, 6)
ARRAY = (SIGNAL, NAMES, RATE)
pytestmark = pytest.mark.filterwarnings("ignore:A recording is shorter")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    model = tiny_model()
    model.add_adapter("two", card=card(name="two", channels=NAMES, window_s=2.0))
    model.add_adapter("three", card=card(name="three", channels=("FP1-C3", "O1"), window_s=3.0))
    randomize(model)
    model.save_pretrained(folder)
    for name in ("two", "three"):
        model.save_adapter(name, folder / "adapters" / name)
    return folder, model.eval()


def table(path, rows, columns=("onset", "duration", "trial_type")):
    lines = ["\t".join(map(str, row)) for row in (columns, *rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_a_cue_on_the_grid_has_the_answer_of_the_sliding_window(base):
    _, model = base
    recording = (SIGNAL[:, :1200], NAMES, RATE)
    sliding = predict(recording, model, stride_s=0.5, batch_size=1)
    for name, prediction in sliding.items():
        onsets = prediction.onset_s[[0, 3, 3, 7, -1]]
        found = predict(recording, model, name, at=onsets, batch_size=1, block_s=3.0)[name]
        np.testing.assert_array_equal(found.onset_s, onsets)
        np.testing.assert_array_equal(
            found.probabilities, prediction.probabilities[[0, 3, 3, 7, -1]]
        )
        assert found.stride_s is None and found.cues == ("",) * 5


def test_any_order_and_any_offset_and_the_next_sample(base):
    _, model = base
    marks = [Mark(21.0, 0.0, "right"), Mark(4.996, 1.0, "left"), Mark(9.0, 0.0, "left")]
    found = predict(ARRAY, model, "two", at=marks)["two"]
    assert found.cues == ("left", "left", "right")
    np.testing.assert_allclose(found.onset_s, [4.995, 9.0, 21.0], atol=0.0051)
    shifted = [Mark(mark.onset_s - 0.5, 0.0, mark.text) for mark in marks]
    again = predict(ARRAY, model, "two", at=shifted, at_offset_s=0.5)["two"]
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    columns, rows = events_table(found)
    assert columns[-1] == "cue" and [row[-1] for row in rows] == ["left", "left", "right"]
    assert "cue" in events_sidecar(found)
    left = predict(ARRAY, model, "two", at=marks, at_labels=["left"])["two"]
    np.testing.assert_allclose(left.probabilities, found.probabilities[:2], atol=1e-6)
    with pytest.raises(
        ValueError, match=r"found up; in what was given there are left \(2\), right"
    ):
        predict(ARRAY, model, "two", at=marks, at_labels=["left", "up"])


def test_cues_whose_window_does_not_fit_are_named(base, tmp_path):
    _, model = base
    stamps = time_stamps([*range(10), *range(100, 130)])
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, NAMES, RATE, kind="EDF+D", stamps=stamps)
    onsets = [0.0, 8.0, 8.5, 50.0, 99.9, 100.0, 110.5, 128.0, 128.01, -1.0]
    found = predict(path, model, "two", at=[Mark(second, 0, "cue") for second in onsets])["two"]
    assert found.onset_s.tolist() == [0.0, 8.0, 100.0, 110.5, 128.0]
    (finding,) = [one for one in found.findings if one.code == "cue-left-out"]
    assert "5 of 10 cues" in finding.sentence and "cue at 8.5 s, cue at 50 s" in finding.sentence
    assert (8.5, 10.5) in finding.spans_s and str(finding) in found.notes
    own = predict((as_stored(SIGNAL)[:, 1000:], NAMES, RATE), model, "two", at=[0, 10.5, 28])["two"]
    np.testing.assert_allclose(own.probabilities, found.probabilities[2:], atol=1e-6)
    with pytest.raises(SignalError, match="2 of 2 cues have no answer"):
        predict(path, model, "two", at=[50, 9])


def test_what_is_doubtful_about_onsets_is_noted_with_the_answers(base, tmp_path, capsys):
    """A warning can be missed or switched off (``--quiet``); the sidecar cannot."""
    folder, model = base
    stamps = time_stamps([*range(10), *range(100, 130)])
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, NAMES, RATE, kind="EDF+D", stamps=stamps)
    rows = [(2, 0, "x", 200), (12, 0, "x", "n/a"), (15, 0, "x", 1500)]
    cues = table(tmp_path / "in.tsv", rows, ("onset", "duration", "trial_type", "sample"))
    said = "1 of 3 rows have none; pauses of the recording are put in"
    with pytest.warns(RecordingWarning, match=said):
        found = predict(path, model, "two", at=cues)["two"]
    assert found.onset_s.tolist() == [2, 102, 105]
    assert [note for note in found.notes if said in note]
    out = tmp_path / "out.tsv"
    words = ["predict", str(path), "--base", str(folder), "--task", "two", "--at", str(cues)]
    assert cli.main([*words, "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert said in " ".join(json.loads(out.with_suffix(".json").read_text("utf-8"))["Notes"])


def test_wrong_use(base, tmp_path):
    _, model = base
    for options, words in (
        ({"at": [1], "stride_s": 1.0}, "do not go with it"),
        ({"at": [1], "last_window": True}, "do not go with it"),
        ({"at": []}, "at least one cue"),
        ({"at": "annotations"}, "none among the recording's annotations"),
        ({"at": [np.nan]}, "expected seconds"),
        ({"at": [1], "at_offset_s": "1"}, "at_offset_s: expected"),
        ({"at_labels": ["a"]}, "go with at"),
        ({"at": table(tmp_path / "a.tsv", [(1, 2)], ("time", "b"))}, "found time, b"),
        ({"at": table(tmp_path / "b.tsv", [("n/a", 1, "x")])}, "line 2: a time is no number"),
    ):
        with pytest.raises(ValueError, match=words):
            predict(ARRAY, model, "two", **options)
    for at in (3.0, ["soon"]):
        with pytest.raises(TypeError, match="at: expected"):
            predict(ARRAY, model, "two", at=at)
    with pytest.raises(FileNotFoundError, match=r"found no file nowhere\.tsv"):
        predict(ARRAY, model, "two", at="nowhere.tsv")


def test_bad_marks_are_no_cues_unless_named_and_mark_the_windows_of_others(base):
    _, model = base
    raw = raw_of(SIGNAL, rate_hz=RATE)
    raw.set_annotations(mne.Annotations([1, 11, 12], [0, 0, 1], ["go", "go", "BAD_x"]))
    found = predict(raw, model, "two", at="annotations")["two"]
    assert found.onset_s.tolist() == [1.0, 11.0] and found.marked == ("", "bad: BAD_x")
    only = predict(raw, model, "two", at="annotations", bad="leave-out")["two"]
    assert only.onset_s.tolist() == [1.0] and only.cues == ("go",)
    named = predict(raw, model, "two", at="annotations", at_labels=["BAD_x"])["two"]
    assert named.onset_s.tolist() == [12.0]


def test_the_command_line(base, tmp_path, capsys):
    folder, model = base
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, NAMES, RATE)
    events = table(
        tmp_path / "in.tsv", [(2, 0, "left"), (5.5, "n/a", "right"), (39.5, 1, "left"), (6, 1, "x")]
    )
    out = tmp_path / "out.tsv"
    command = ["predict", str(path), "--base", str(folder), "--task", "two", "--out", str(out)]
    asked = [*command, "--at", str(events), "--at-labels", "left,right", "--at-offset", "0.5"]
    assert cli.main(asked) == 0
    with out.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    assert [(row["onset"], row["cue"]) for row in rows] == [("2.5", "left"), ("6", "right")]
    expected = predict(path, model, "two", at=[2.5, 6.0])["two"]
    found = [float(row["probability_a"]) for row in rows]
    np.testing.assert_allclose(found, expected.probabilities[:, 0], atol=2e-6)
    sidecar = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert sidecar["GeneratedBy"][0]["Settings"]["at_offset_s"] == 0.5
    assert [one["code"] for one in sidecar["Findings"]].count("cue-left-out") == 1
    assert "2 windows of 2 s at cues" in capsys.readouterr().out


def test_wrong_use_of_the_command_line(base, tmp_path, capsys):
    folder, _ = base
    files = [
        str(write_odd_edf(tmp_path / name, SIGNAL, NAMES, RATE)) for name in ("a.edf", "b.edf")
    ]
    rest = ["--base", str(folder), "--task", "two", "--out", str(tmp_path)]
    at = ["--at", str(table(tmp_path / "in.tsv", [(2, 0, "left")]))]
    for more, words in (
        ([files[0], *at, "--merge"], "without one of the two"),
        ([files[0], *at, "--stride", "1"], "do not go with it"),
        ([files[0], *at, "--last-window"], "do not go with it"),
        ([files[0], "--at-offset", "1"], "go with --at"),
        ([*files, *at], "belongs to one recording, found 2"),
    ):
        assert cli.main(["predict", *more, *rest]) != 0
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_results_of_other_cues_are_not_taken_for_finished(base, tmp_path, capsys):
    folder, _ = base
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, NAMES, RATE)
    events = table(tmp_path / "in.tsv", [(2, 0, "left"), (5.5, 0, "right")])
    asked = ["predict", str(path), "--base", str(folder), "--task", "two"]
    asked += ["--out", str(tmp_path / "out.tsv"), "--at", str(events), "--at-labels", "left,right"]
    assert cli.main(asked) == 0
    assert cli.main(asked) == 0 and "skipped" in capsys.readouterr().out
    for other in (["--at-offset", "0.25"], ["--at-labels", "left"], ["--bad", "leave-out"]):
        assert cli.main([*asked, *other]) != 0
        assert "made with another" in capsys.readouterr().err
    table(events, [(2, 0, "left"), (7, 0, "right")])
    assert cli.main(asked) != 0 and "made with another at" in capsys.readouterr().err
    own = [*asked[:-4], "--overwrite", "--last-window", "--bad", "leave-out"]
    assert cli.main(own) == 0
