"""A recording of several parts gives the windows of its parts as recordings of their own."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from odd_files import time_stamps, write_odd_edf
from tiny_recordings import NAMES, card, eeg, raw_of

from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.model.signal_checks import SignalError

mne = pytest.importorskip("mne")

RATE = 100
PARTS = ((0, 21), (300, 317), (400, 403), (500, 540))
"""Seconds at which the parts of a file were recorded."""
NO_FILTERS = {"lowpass_hz": None, "notch_hz": None}


@pytest.fixture
def extractor() -> MteegFeatureExtractor:
    return MteegFeatureExtractor(**NO_FILTERS)


def files(folder: Path) -> tuple[Path, list[Path]]:
    """An EDF+D file with gaps, and every part as a file of its own."""
    seconds = [second for first, last in PARTS for second in range(first, last)]
    signal = eeg(len(seconds), RATE)
    whole = write_odd_edf(
        folder / "gaps.edf", signal, NAMES, RATE, kind="EDF+D", stamps=time_stamps(seconds)
    )
    ends = np.cumsum([(last - first) * RATE for first, last in PARTS])
    parts = np.split(signal, ends[:-1], axis=1)
    return whole, [
        write_odd_edf(folder / f"{number}.edf", part, NAMES, RATE, kind="EDF+C",
                      stamps=time_stamps(range(part.shape[1] // RATE)))
        for number, part in enumerate(parts)
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore::modeling_mteeg.model.recording_headers.RecordingWarning")
@pytest.mark.parametrize("stride_s", [None, 1.5, 7.0])
def test_windows_are_those_of_the_parts_as_files_of_their_own(extractor, stride_s, tmp_path):
    whole, parts = files(tmp_path)
    task = card(**NO_FILTERS)
    used = [PARTS[0], PARTS[1], PARTS[3]]  # the third is shorter than a window
    alone = [extractor(parts[number], task=task, stride_s=stride_s) for number in (0, 1, 3)]
    for recording in (whole, mne.io.read_raw(whole, preload=True, verbose="error")):
        found = extractor(recording, task=task, stride_s=stride_s)
        expected = torch.cat([one["input_values"] for one in alone])
        assert torch.equal(found["input_values"], expected)
        onsets = [first + one.onset_s for (first, _), one in zip(used, alone, strict=True)]
        np.testing.assert_array_equal(found.onset_s, np.concatenate(onsets))
        ends = found.onset_s + task.window_s
        inside = [(found.onset_s >= first) & (ends <= last) for first, last in used]
        assert np.any(inside, axis=0).all()
    assert set(found) == {"input_values", "channel_ids"}
    assert set(pickle.loads(pickle.dumps(found))) == set(found)


def test_what_is_left_out_is_said_once_at_the_users_line(extractor, tmp_path):
    whole, _ = files(tmp_path)
    with pytest.warns(RecordingWarning) as warned:
        found = extractor(whole, window_s=10)
    texts = [str(one.message) for one in warned]
    assert all(one.filename == __file__ for one in warned) and len(set(texts)) == len(texts) == 4
    assert [one.code for one in found.findings] == [
        "parts", "short-for-filter", "parts", "end-left-out",
    ]  # fmt: skip
    assert "4 parts, recorded at 0 to 21 s, 300 to 317 s, 400 to 403 s, 500 to 540 s" in texts[0]
    assert texts[1].startswith("2 of 3 parts are shorter than the 33.0 s of the longest filter")
    assert texts[2] == (
        "1 of 4 parts are shorter than a window of 10 s and left out: 400 to 403 s."
    )
    assert texts[3].endswith("2 of 3 parts are in no window: 1 s before 21 s, 7 s before 317 s.")
    assert found.findings[3].spans_s == ((20.0, 21.0), (310.0, 317.0))


def test_without_a_length_parts_are_cut_into_windows_of_10_s(extractor, tmp_path):
    raw = raw_of(eeg(15, RATE), rate_hz=RATE)
    with pytest.warns(RecordingWarning, match="shorter than the 33"):
        assert extractor(raw)["input_values"].shape[:3] == (1, len(NAMES), 15)
    joined = mne.concatenate_raws([raw.copy(), raw.copy().crop(0, 12)], verbose="error")
    with pytest.warns(RecordingWarning, match=r"in no window: 5 s before 15 s, 2\.01 s before"):
        found = extractor(joined)
    assert found["input_values"].shape[:3] == (2, len(NAMES), 10)
    np.testing.assert_array_equal(found.onset_s, [0, 15])
    short = mne.concatenate_raws([raw.copy().crop(0, 8), raw.copy().crop(0, 6)], verbose="error")
    with pytest.raises(SignalError, match=r"at least 10 s.*2 parts, the longest of 8.01 s.*Pass"):
        extractor(short)


@pytest.mark.filterwarnings("ignore::modeling_mteeg.model.recording_headers.RecordingWarning")
def test_samples_in_joints_are_never_used(extractor):
    signal = eeg(60, RATE)
    plain = raw_of(signal, rate_hz=RATE)
    signal[:, 20 * RATE : 25 * RATE] = np.nan  # a part that was not stored
    signal[:, 45 * RATE : 47 * RATE] = np.inf  # in a part that holds no window
    raw = raw_of(signal, rate_hz=RATE)
    skipped = mne.Annotations([20, 40, 47], [5, 0, 0], ["BAD_ACQ_SKIP", "boundary", "boundary"])
    for one in (raw, plain):
        one.set_annotations(skipped)
    found, expected = (extractor(one, window_s=8)["input_values"] for one in (raw, plain))
    assert torch.equal(found, expected) and torch.isfinite(found).all()
    first = raw_of(signal[:, : 20 * RATE], rate_hz=RATE)
    assert torch.equal(found[:2], extractor(first, window_s=8)["input_values"])


def test_a_constant_level_in_every_part_is_flat(extractor):
    signal = eeg(80, RATE)
    signal[2, : 40 * RATE], signal[2, 40 * RATE :] = 5.0, 7.0
    raw = raw_of(signal, rate_hz=RATE)
    raw.set_annotations(mne.Annotations([40], [0], ["EDGE boundary"]))
    with pytest.warns(RecordingWarning, match="1 of 6 channels are flat: C3"):
        found = extractor(raw, window_s=10)
    assert [one.channels for one in found.findings if one.code == "flat"] == [("C3",)]


def test_ends_of_files_warn_from_a_second_on_and_arrays_are_logged(extractor, caplog):
    for seconds, code in ((40.5, []), (41.0, ["end-left-out"]), (47.0, ["end-left-out"])):
        signal = eeg(seconds, RATE)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            of_raw = extractor(raw_of(signal, rate_hz=RATE), window_s=10)
            of_array = extractor((signal, NAMES, RATE), window_s=10)
        assert [one.code for one in of_raw.findings] == code and of_array.findings == ()
        assert len(warned) == len(code)
        assert torch.equal(of_raw["channel_ids"], of_array["channel_ids"])


def test_windows_that_are_cut_already_have_no_place_in_time(extractor):
    windows = eeg(40, RATE).reshape(len(NAMES), 10, -1).swapaxes(0, 1)
    found = MteegFeatureExtractor()((windows, NAMES, RATE), filter=False)
    assert found.onset_s is None and len(found["input_values"]) == 10


@pytest.mark.filterwarnings("ignore:The recording is shorter")
def test_windows_under_bad_marks_and_with_constant_channels_are_said(extractor):
    signal = eeg(60, RATE)
    signal[1, 43 * RATE :] = 3.0  # FP2 comes off
    raw = raw_of(signal, rate_hz=RATE)
    raw.set_annotations(mne.Annotations([12, 30], [3, 1], ["BAD_move", "eyes"]))
    with pytest.warns(RecordingWarning, match="Windows under annotations of bad") as all_:
        found = extractor(raw, window_s=10)
    bad, constant = found.findings
    assert len(all_) == 2 and bad.code == "marked-bad" and bad.spans_s == ((12, 15),)
    assert bad.sentence.endswith("bad stretches (BAD_move, 3 s): 1 of 6.") and not bad.remedy
    assert (constant.code, constant.channels) == ("constant", ("FP2",))
    assert "are constant for 50% of the time or more: 2 of 6 (FP2 from 43" in str(constant)
    bipolar = extractor(raw, channels=["FP1-FP2", "C3"], window_s=10).findings
    assert [one.channels for one in bipolar if one.code == "constant"] == [("FP2",)]
