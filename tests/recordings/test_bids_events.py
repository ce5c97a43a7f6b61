"""events.tsv of BIDS: found, read, and refused where its times are not what BIDS has."""

from __future__ import annotations

from pathlib import Path

import pytest
from bids_datasets import events_table, table

from modeling_mteeg.model.record_parts import Part
from modeling_mteeg.model.recording_headers import RecordingError, RecordingWarning
from modeling_mteeg.model.recording_sources import Source
from modeling_mteeg.prediction.cues import find_cues
from modeling_mteeg.recordings.bids_events import events_file, read_events_file, with_pauses


@pytest.fixture
def path(tmp_path) -> Path:
    folder = tmp_path / "sub-1" / "eeg"
    folder.mkdir(parents=True)
    return folder / "sub-1_task-x_eeg.edf"


def marks(path: Path, column: str = "trial_type") -> list[tuple]:
    found = read_events_file(events_file(path), path, column)
    return [(mark.onset_s, mark.duration_s, mark.text) for mark in found]


def test_an_events_file_that_is_a_link_to_nothing_is_not_passed_over(tmp_path):
    for name, target in (("a", "gone.tsv"), ("b", "b_events.tsv")):
        (tmp_path / f"{name}_events.tsv").symlink_to(target)
        with pytest.raises(RecordingError, match=f"{name}_events.tsv: cannot be read"):
            marks(tmp_path / f"{name}.edf")


def test_an_events_file_is_beside_the_recording_or_above(path, tmp_path):
    assert events_file(path) is None
    above = events_table(tmp_path / "task-x_events.tsv", [(1, 2, "above")])
    assert events_file(path) == above
    beside = events_table(path.with_name("sub-1_task-x_events.tsv"), [(1, 2, "beside")])
    assert events_file(path) == beside and marks(path) == [(1, 2, "beside")]
    events_table(tmp_path / "rec_events.tsv")  # of a name that is not BIDS's
    assert events_file(tmp_path / "rec.vhdr") == tmp_path / "rec_events.tsv"
    beside.unlink()
    events_table(tmp_path / "sub-1_events.tsv")
    with pytest.raises(RecordingError, match="neither is more specific"):
        events_file(path)


def test_durations_that_are_not_known_are_moments(path):
    events_table(path.with_name("sub-1_task-x_events.tsv"),
                 [(-1, "n/a", "a"), (2.5, "", "b"), (3, 0.25, "n/a")])  # fmt: skip
    assert marks(path) == [(-1, 0, "a"), (2.5, 0, "b"), (3, 0.25, "n/a")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("1,5", 1, "a"), "line 2: a time is no number.*decimal point"),
        ((1, "0,5", "a"), "decimal point"),
        (("n/a", 1, "a"), "a time is no number: expected a number, found 'n/a'"),
        (("inf", 1, "a"), "expected a number, found 'inf'"),
        ((1, "nan", "a"), "line 2: a time is no number: expected a number, found 'nan'"),
        (("9" * 5000, 1, "a"), r"found '9{20}'\.\.\. \(5000 characters\)"),
        ((2e9, 1, "a"), "expected seconds of a recording"),
        ((1, -2, "a"), "line 2: the event ends before it starts.*found -2"),
    ],
)
def test_times_that_are_no_numbers_are_refused(row, words, path):
    events_table(path.with_name("sub-1_task-x_events.tsv"), [row])
    with pytest.raises(RecordingError, match=words):
        marks(path)


def test_times_in_another_unit_are_refused(path, tmp_path):
    events_table(path.with_name("sub-1_task-x_events.tsv"), [(1, 2, "a")])
    described = tmp_path / "task-x_events.json"
    for text in ('{"onset": {"Units": "seconds"}}', '{"onset": "in s"}', "[]", "{", "{}"):
        described.write_text(text)
        assert marks(path) == [(1, 2, "a")]
    for unit in ("ms", "milliseconds", "samples", "µs"):
        described.write_text(f'{{"duration": {{"Units": "{unit}"}}}}', "utf-8")
        with pytest.raises(RecordingError, match=rf"task-x_events\.json: duration is in '{unit}'"):
            marks(path)


def test_a_column_that_is_not_there_is_named_with_those_that_are(path):
    table(path.with_name("sub-1_task-x_events.tsv"), "onset duration value", [(1, 2, "S1")])
    assert marks(path, "value") == [(1, 2, "S1")]
    with pytest.raises(
        RecordingError, match=r"onset and trial_type, .*found onset, duration, value"
    ):
        marks(path)
    assert marks(path, None) == [(1, 2, "S1")]
    table(path.with_name("sub-1_task-x_events.tsv"), "onset", [(1,)])
    assert marks(path, None) == [(1, 0, "")]


PAUSED = Source(
    "array", ("C3",), 100.0, None, False, "uV", samples=2000,
    parts=(Part(0, 1000, 0.0), Part(1000, 2000, 40.0)),
)  # fmt: skip
"""10 s, a pause of 30 s, 10 s."""


def onsets(path: Path, rows: list[tuple]) -> list[float]:
    """By a table of onsets and samples, as preparation and as ``predict --at`` have them."""
    file = table(path.with_name("a_events.tsv"), "onset\tsample", rows)
    found = with_pauses(read_events_file(file), file, lambda: PAUSED)
    assert find_cues(file, PAUSED) == found
    return [mark.onset_s for mark in found]


def test_a_table_whose_samples_count_without_the_pauses_gets_them(path):
    assert onsets(path, [(1, 100), (10, 1000), (15, 1500)]) == [1, 40, 45]
    assert onsets(path, [(1, 100), (45, 1500)]) == [1, 45]
    assert onsets(path, [(1, "n/a"), (15, "n/a")]) == [1, 15]


@pytest.mark.parametrize("empty", ["n/a", "", "nan"])
def test_rows_without_a_sample_are_moved_with_the_others_and_told(empty, path):
    with pytest.warns(RecordingWarning, match="a_events.tsv: 2 of 4 rows.*put in"):
        rows = [(1, 100), (9.99, empty), (12, empty), (15, 1500)]
        assert onsets(path, rows) == [1, 9.99, 42, 45]
    with pytest.warns(RecordingWarning, match="1 of 2 rows.*taken as counted"):
        assert onsets(path, [(1, 100), (15, empty)]) == [1, 15]
