"""Where a recording has joints, how long its pauses are, and when its annotations were made."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import scipy.io
from odd_files import time_stamps, write_odd_edf
from recording_files import write_recording
from tiny_recordings import eeg

from modeling_mteeg.model.edf_annotations import Mark
from modeling_mteeg.model.findings import POLICIES, USES, Finding
from modeling_mteeg.model.record_parts import Part, timeline_of
from modeling_mteeg.model.recording_sources import open_source

mne = pytest.importorskip("mne")

RATE, SECONDS = 100, 20
NAMES = ("C3", "C4")
SIGNAL = eeg(SECONDS, RATE, len(NAMES))
WHOLE = (Part(0, SECONDS * RATE, 0.0),)


def raw_of(seconds: float = SECONDS):
    info = mne.create_info(list(NAMES), RATE, "eeg")
    return mne.io.RawArray(SIGNAL[:, : round(seconds * RATE)] * 1e-6, info, verbose="error")


def annotated(onset: float, duration: float, text: str, raw=None):
    raw = raw or raw_of()
    return raw.set_annotations(mne.Annotations(onset, duration, text, raw.info["meas_date"]))


def test_records_apart_are_parts_and_marks_keep_their_time(tmp_path):
    stamps = time_stamps([*range(10), *range(310, 320)], b"BAD_start")
    stamps[12] += b"+312.25\x152.5\x14eyes open\x14\0"
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, NAMES, RATE, kind="EDF+D", stamps=stamps)
    source = open_source(path, preload=False)
    assert source.parts == (Part(0, 1000, 0.0), Part(1000, 2000, 310.0))
    assert source.marks == (Mark(0.5, 0.0, "BAD_start"), Mark(312.25, 2.5, "eyes open"))
    assert source.end_s == 320
    assert source.start == datetime.datetime(2001, 1, 1, 8, tzinfo=datetime.UTC)
    assert [finding.code for finding in source.findings] == ["parts"]
    assert source.findings[0].spans_s == ((0, 10), (310, 320))
    # MNE drops the second annotation: it lies behind the signal without its gap.
    raw = mne.io.read_raw(path, verbose="error")
    assert timeline_of(raw).marks == source.marks
    # A crop that begins in the second part begins at 0 s.
    assert timeline_of(raw.copy().crop(5)).parts == (Part(0, 500, 0.0), Part(500, 1500, 305.0))
    assert timeline_of(raw.copy().crop(12)).parts == (Part(0, 800, 0.0),)


@pytest.mark.parametrize("case", ["EDGE boundary", "BAD boundary", "boundary", "New Segment/"])
def test_every_kind_of_joint_parts_a_signal(case):
    assert timeline_of(annotated(7, 0, case)).parts == (Part(0, 700, 0.0), Part(700, 2000, 7.0))
    assert timeline_of(annotated(7, 0, case)).marks == ()
    for edge in (0, SECONDS - 1 / RATE + 0.001):  # nothing lies before it, or behind
        assert timeline_of(annotated(edge, 0, case)).parts[0].start == 0
    assert timeline_of(annotated(0, 0, case)).parts == WHOLE


def test_joined_files_are_parts_without_a_known_pause():
    joined = mne.concatenate_raws([raw_of(8), raw_of(12)], verbose="error")
    assert timeline_of(joined).parts == (Part(0, 800, 0.0), Part(800, 2000, 8.0))
    assert timeline_of(joined.copy().crop(8)).parts[-1].samples == 1200


def test_a_boundary_of_eeglab_lies_between_samples_and_counts_what_was_cut(tmp_path):
    # Of a Raw a duration is limited to its end; the file has it whole.
    path = write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE)
    eeg = scipy.io.loadmat(path, appendmat=False)["EEG"]
    kind = [("type", "O"), ("latency", "O"), ("duration", "O")]
    eeg["event"][0, 0] = np.array([("boundary", 500.5, 3000.0), ("press", 1201.0, 100.0)], kind)
    scipy.io.savemat(path, {"EEG": eeg}, appendmat=False)
    for timeline in (timeline_of(mne.io.read_raw(path, verbose="error")), open_source(path)):
        assert timeline.parts == (Part(0, 500, 0.0), Part(500, 2000, 35.0))
        assert timeline.marks == (Mark(42.0, 1.0, "press"),)


def test_a_part_that_was_not_stored_is_no_signal_and_keeps_its_time():
    raw = annotated([5, 9], [3, 2], ["BAD_ACQ_SKIP", "BAD_blink"])
    timeline = timeline_of(raw)
    assert timeline.parts == (Part(0, 500, 0.0), Part(800, 2000, 8.0))
    assert timeline.marks == (Mark(9.0, 2.0, "BAD_blink"),) and timeline.marks[0].is_bad


def test_segments_of_brainvision_are_apart_by_their_clock(tmp_path):
    path = write_recording(tmp_path, "a.vhdr", SIGNAL, NAMES, RATE)
    markers = path.with_suffix(".vmrk")
    clock = ("20200101120000000000", "20200101120112000000", "20200101110112000000")
    markers.write_text(
        markers.read_text() + "".join(
            f"Mk{number}=New Segment,,{sample},1,0,{time}\n"
            for number, sample, time in zip((1, 2, 4), (1, 701, 1201), clock, strict=True)
        ) + "Mk3=Stimulus,S  1,801,1,0\n"
    )  # fmt: skip
    timeline = timeline_of(mne.io.read_raw(path, verbose="error"))
    # 72 s by the clock, 7 s of samples; then a clock that was set back says nothing.
    assert timeline.parts == (Part(0, 700, 0.0), Part(700, 1200, 72.0), Part(1200, 2000, 77.0))
    assert timeline.marks == (Mark(73.0, 0.01, "Stimulus/S  1"),)


def test_a_crop_keeps_marks_where_the_signal_is():
    raw = raw_of()
    raw.set_meas_date(1_000_000)
    cropped = annotated([3, 12], 1, ["BAD_one", "two"], raw).crop(10)
    assert timeline_of(cropped).marks == (Mark(2.0, 1.0, "two"),)
    assert timeline_of(cropped).start == raw.info["meas_date"] + datetime.timedelta(seconds=10)


def test_a_continuous_signal_has_one_part_and_no_finding(tmp_path):
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, NAMES, RATE)
    for recording in (path, raw_of(), (SIGNAL, NAMES, RATE)):
        source = open_source(recording)
        assert (source.parts, source.findings, source.end_s) == (WHOLE, (), SECONDS)
    assert open_source((SIGNAL[None], NAMES, RATE)).parts == ()


def test_every_finding_has_a_policy_for_every_use():
    actions = {"note", "refuse", "leave channels out", "leave windows out", "mark windows", "-"}
    for code, policy in POLICIES.items():
        assert tuple(policy) == USES and actions.issuperset(policy.values()), code
    with pytest.raises(ValueError, match=r"code: expected one of .*found 'gap'"):
        Finding("gap", "A gap.")
    facts = Finding("cut-off", "It ends.", "Copy it again.", spans_s=((1, 2),)).facts("labelled")
    assert facts["severity"] == "error" and facts["spans_s"] == [[1, 2]]
    assert facts["channels"] == []


# Files with gaps in a Raw that somebody worked on ------------------------------------------------


def with_gap(path, after_s, marks=b""):
    """10 s, a pause, 10 s."""
    stamps = time_stamps([*range(10), *range(10 + after_s, 20 + after_s)])
    stamps[3] += marks
    return write_odd_edf(path, SIGNAL, NAMES, RATE, kind="EDF+D", stamps=stamps)


def test_files_with_gaps_that_are_joined_keep_their_joints_and_marks(tmp_path):
    first = with_gap(tmp_path / "a.edf", 300, b"+1\x14one\x14\0+312\x153\x14BAD_far\x14\0")
    second = with_gap(tmp_path / "b.edf", 5, b"+16\x14two\x14\0")
    raw = mne.concatenate_raws(
        [mne.io.read_raw(file, verbose="error") for file in (first, second)], verbose="error"
    )
    found = timeline_of(raw)
    onsets = {0: 0.0, 1000: 310.0, 2000: 320.0, 3000: 335.0}
    assert found.parts == tuple(Part(start, start + 1000, at) for start, at in onsets.items())
    assert set(found.marks) == {
        Mark(1.0, 0.0, "one"), Mark(312.0, 3.0, "BAD_far"), Mark(336.0, 0.0, "two")
    }  # fmt: skip
    cropped = timeline_of(raw.crop(13.0, 38.0))  # marks that are cut away are not there
    assert [part.onset_s for part in cropped.parts] == [0.0, 7.0, 22.0]
    assert set(cropped.marks) == {Mark(0.0, 2.0, "BAD_far"), Mark(23.0, 0.0, "two")}


def test_marks_that_were_added_to_a_file_with_gaps_are_kept(tmp_path):
    path = with_gap(tmp_path / "a.edf", 300, b"+1\x14one\x14\0+15\x14boundary\x14\0")
    raw = mne.io.read_raw(path, verbose="error")
    raw.annotations.append([5.0, 12.0], [1.0, 1.0], ["BAD_mine", "BAD_mine"])
    found = timeline_of(raw)
    assert [part.start for part in found.parts] == [0, 1000]
    mine = {Mark(5.0, 1.0, "BAD_mine"), Mark(312.0, 1.0, "BAD_mine")}
    assert {mark for mark in found.marks if mark.text.startswith("BAD")} == mine
    assert Mark(1.0, 0.0, "one") in found.marks


def test_marks_of_a_crop_without_a_gap_are_true(tmp_path):
    """MNE has this mark 5 s too late: at second 16 of a signal whose gap is closed."""
    path = with_gap(tmp_path / "a.edf", 5, b"+16\x14cue\x14\0")
    raw = mne.io.read_raw(path, verbose="error").crop(10.0)
    assert timeline_of(raw).marks == (Mark(1.0, 0.0, "cue"),)


def test_what_was_skipped_at_the_ends_is_said():
    found = timeline_of(annotated([0.0, 18.0], [3.0, 2.0], ["BAD_ACQ_SKIP"] * 2))
    assert found.parts == (Part(300, 1800, 3.0),)
    assert "signal at 3 to 18 s alone" in found.findings[0].sentence


def test_times_of_records_that_drift_are_said_and_pauses_are_true(tmp_path):
    whole = [at * 1.006 for at in range(20)]  # each by less than a sample
    parts = (Part(0, 1900, 0.0), Part(1900, 2000, 300.0))
    for onsets, expected in ((whole, WHOLE), ([*whole[:19], 300.0], parts)):
        path = write_odd_edf(
            tmp_path / "a.edf", SIGNAL, NAMES, RATE, kind="EDF+D", stamps=time_stamps(onsets)
        )
        source = open_source(path, preload=False)
        assert source.parts == expected
        (drift,) = [one for one in source.findings if one.code == "record-times"]
        assert "s longer than by its rate" in drift.sentence


# Other formats ----------------------------------------------------------------------------------


def test_a_boundary_of_a_set_whose_events_are_numbers_is_99(tmp_path):
    path = write_recording(tmp_path, "numbers.set", SIGNAL, NAMES, RATE)
    content = scipy.io.loadmat(path, simplify_cells=True)["EEG"]
    places = np.array([(name,) for name in NAMES], dtype=[("labels", "O")])
    fields = [(name, "O") for name in ("type", "latency", "duration")]
    for other, count in ((7, 2), ("cue", 1)):  # beside texts it is an event like any other
        events = np.array([(-99, 1000.5, 300.0), (other, 1201, 0)], dtype=fields)
        content |= {"event": events, "chanlocs": places}
        scipy.io.savemat(path, {"EEG": content}, appendmat=False)
        found = timeline_of(mne.io.read_raw(path, verbose="error"))
        assert len(found.parts) == count
        assert found.parts[-1].onset_s == (13.0 if count == 2 else 0.0)


def test_clocks_of_segments_count_wherever_their_file_is(tmp_path):
    path = write_recording(tmp_path, "a.vhdr", SIGNAL, NAMES, RATE)
    rows = [(1, "20200101100000000000"), (801, ""), (1301, "20200101100110000000")]
    text = path.with_suffix(".vmrk").read_text("utf-8") + "".join(
        f"Mk{number}=New Segment,,{sample},1,0{',' * bool(clock)}{clock}\n"
        for number, (sample, clock) in enumerate(rows, 1)
    )
    path.with_suffix(".vmrk").unlink()
    (tmp_path / "märk.vmrk").write_text(text, "utf-8")
    path.write_text(path.read_text("utf-8").replace("a.vmrk", "märk.vmrk"), "utf-8")
    found = timeline_of(mne.io.read_raw(path, verbose="error"))
    # The third segment's time is known, though the one before it has none.
    assert [(part.start, part.onset_s) for part in found.parts] == [(0, 0), (800, 8), (1300, 70)]


def test_marks_that_reach_over_a_joint_hold_the_pause(tmp_path):
    path = write_recording(tmp_path, "a.vhdr", SIGNAL, NAMES, RATE)
    with path.with_suffix(".vmrk").open("a", encoding="utf-8") as markers:
        markers.write("Mk1=New Segment,,1,1,0,20200101100000000000\n")
        markers.write("Mk2=New Segment,,1001,1,0,20200101100110000000\n")
        markers.write("Mk3=Bad,over,801,400,0\nMk4=Bad,until,901,100,0\n")
    marks = timeline_of(mne.io.read_raw(path, verbose="error")).marks
    spans = {mark.text[-5:]: (mark.onset_s, mark.onset_s + mark.duration_s) for mark in marks}
    assert spans["/over"] == pytest.approx((8.0, 72.0))
    assert spans["until"] == pytest.approx((9.0, 10.0))


# Raws that somebody worked on --------------------------------------------------------------------


def test_marks_of_a_set_that_were_added_or_taken_away(tmp_path):
    path = write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE)
    eeg = scipy.io.loadmat(path, appendmat=False)["EEG"]
    kind = [("type", "O"), ("latency", "O"), ("duration", "O")]
    rows = [("boundary", 500.5, 3000.0), ("press", 1201.0, 100.0)]
    eeg["event"][0, 0] = np.array(rows, kind)
    scipy.io.savemat(path, {"EEG": eeg}, appendmat=False)
    raw = mne.io.read_raw(path, preload=True, verbose="error")
    raw.annotations.delete(np.flatnonzero(raw.annotations.description == "press"))
    raw.annotations.append(14, 2, "BAD_mine")
    timeline = timeline_of(raw)
    assert timeline.parts == (Part(0, 500, 0.0), Part(500, 2000, 35.0))
    assert timeline.marks == (Mark(44.0, 2.0, "BAD_mine"),)
    assert timeline_of(raw.copy().crop(10)).parts == (Part(0, 1000, 0.0),)


def test_segments_of_a_resampled_recording_are_where_they_were(tmp_path):
    path = write_recording(tmp_path, "a.vhdr", SIGNAL, NAMES, RATE)
    with open(path.with_suffix(".vmrk"), "a") as markers:
        for sample, clock in ((1, "20200101120000000000"), (701, "20200101120112000000")):
            markers.write(f"Mk1=New Segment,,{sample},1,0,{clock}\n")
    raw = mne.io.read_raw(path, preload=True, verbose="error").resample(50, verbose="error")
    assert timeline_of(raw).parts == (Part(0, 350, 0.0), Part(350, 1000, 72.0))


def test_a_mark_that_reaches_over_a_crop_is_there_once(tmp_path):
    path = with_gap(tmp_path / "a.edf", 300, b"+5\x1510\x14BAD_far\x14\0")
    raw = mne.io.read_raw(path, verbose="error")
    assert timeline_of(raw.copy().crop(7)).marks == (Mark(0.0, 8.0, "BAD_far"),)


def test_a_boundary_in_an_edf_file_is_a_joint_without_a_pause(tmp_path):
    stamps = time_stamps(range(SECONDS))
    stamps[0] += b"+5\x153\x14boundary\x14\0+12\x14press\x14\0"
    source = open_source(write_odd_edf(tmp_path / "a.edf", SIGNAL, NAMES, RATE, kind="EDF+C",
                                       stamps=stamps))  # fmt: skip
    assert source.parts == (Part(0, 500, 0.0), Part(500, 2000, 5.0))
    assert source.marks == (Mark(12.0, 0.0, "press"),)
