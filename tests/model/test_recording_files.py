"""Files that MNE reads wrongly, or not, though the signal is there; and files that are others."""

from __future__ import annotations

import importlib.util
import re
import struct
import tomllib
from pathlib import Path

import numpy as np
import pytest
from odd_files import time_stamps, write_odd_edf
from places import ROOT
from recording_files import write_recording
from tiny_recordings import eeg

from modeling_mteeg.model.cnt_header import read_cnt_header
from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.file_choice import _PACKAGES, FORMATS_EXTRA
from modeling_mteeg.model.record_parts import Part
from modeling_mteeg.model.recording_files import open_file, read_recording
from modeling_mteeg.model.recording_headers import RecordingWarning
from modeling_mteeg.model.recording_sources import open_source

mne = pytest.importorskip("mne")

RATE, SECONDS = 100, 20
NAMES = ("C3", "C4", "FZ")
SIGNAL = eeg(SECONDS, RATE, len(NAMES))
APART = time_stamps([*range(10), *range(310, 320)])


def odd(folder: Path, name: str = "a.edf", **options) -> Path:
    return write_odd_edf(folder / name, SIGNAL, NAMES, RATE, **options)


def numbers(path: Path) -> np.ndarray:
    return open_file(path)[0].get_data(picks=list(NAMES))


@pytest.fixture
def plain(tmp_path: Path) -> np.ndarray:
    return numbers(odd(tmp_path / "plain"))


@pytest.mark.parametrize("case", ["a.edf EDF+D", "a.bdf BDF+D", "A.EDF EDF+D"])
def test_a_gap_keeps_its_time(case, tmp_path):
    name, kind = case.split()
    path = odd(tmp_path, name.lower(), kind=kind, stamps=APART).rename(tmp_path / name)
    # MNE's Raw leaves the gap out; a part of it is as good as any.
    raw = mne.io.read_raw(path, verbose="error")
    for recording in (path, raw):
        source = open_source(recording)
        half = 10 * RATE
        assert source.parts == (Part(0, half, 0.0), Part(half, 2 * half, 310.0))
        assert source.end_s == 320 and source.findings[-1].code == "parts"
        assert source.findings[-1].spans_s == ((0.0, 10.0), (310.0, 320.0))
    assert open_source(raw.copy().crop(5, 15)).parts[1].onset_s == 305
    for part in (raw.copy().crop(0, 10, include_tmax=False), raw.copy().crop(10)):
        source = open_source(part)
        assert source.parts == (Part(0, half, 0.0),) and not source.findings


def test_a_time_that_goes_back_or_is_not_there_is_no_continuous_signal(tmp_path):
    back = odd(tmp_path, kind="EDF+D", stamps=time_stamps([*range(10), *range(5, 15)]))
    with pytest.raises(ValueError, match=r"go back in time.*0 to 10 s, 5 to 15 s"):
        read_recording(back)
    raw = mne.io.read_raw(back, verbose="error")
    with pytest.raises(ValueError, match="go back in time"):
        open_source(raw)
    assert open_source(raw.crop(10)).samples == 10 * RATE
    for stamps in ((), time_stamps(range(19)) + [b""]):
        with pytest.raises(ValueError, match="not every one of them says when"):
            read_recording(odd(tmp_path, kind="EDF+D", stamps=stamps))


def test_the_letter_alone_is_no_gap(tmp_path, plain):
    for start in (0, 0.25, 7, np.arange(SECONDS) % 2 / 1000):
        path = odd(tmp_path, kind="EDF+D", stamps=time_stamps(np.arange(SECONDS) + start))
        np.testing.assert_array_equal(numbers(path), plain)
        assert open_file(path)[1] == ()


def test_a_file_is_read_by_its_size_and_says_what_is_missing(tmp_path, plain):
    counted = {
        -1: r"does not count the data records \(-1\).*20 s",
        25: "5 s are missing",
        8: "only 8",
    }
    for stated, words in counted.items():
        path = odd(tmp_path, stated=stated)
        with pytest.warns(RecordingWarning, match=words):
            raw = read_recording(path)
        np.testing.assert_array_equal(raw.get_data(), plain)
    path = odd(tmp_path)
    path.write_bytes(path.read_bytes()[:-650])  # into the last record but one
    with pytest.warns(RecordingWarning, match="2 s are missing at its end"):
        raw = read_recording(path)
    np.testing.assert_array_equal(raw.get_data(), plain[:, :-200])
    with pytest.warns() as warned:
        MteegFeatureExtractor()(path, channels=NAMES, window_s=4)
    assert any("2 s are missing" in str(one.message) for one in warned)
    assert "2 s are missing" in open_source(path).notes[0]


def test_cut_off_files_of_other_formats_say_so(tmp_path):
    """MNE reads BrainVision and FIF as far as they go, and FIF's warning is not seen."""
    paths = {
        name: write_recording(tmp_path, name, SIGNAL, NAMES, RATE)
        for name in ("rec.vhdr", "rec_raw.fif", "rec.cnt")
    }
    for path in paths.values():
        assert open_file(path)[1] == ()
    header = paths["rec.vhdr"].read_bytes()
    paths["rec.vhdr"].write_bytes(header.replace(b"[Binary", b"DataPoints=2000\n[Binary"))
    assert open_file(paths["rec.vhdr"])[1] == ()
    for path in (tmp_path / "rec.eeg", paths["rec_raw.fif"], paths["rec.cnt"]):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "10 s are missing at its end" in str(open_file(paths["rec.vhdr"])[1][0])
    (finding,) = open_file(paths["rec_raw.fif"], False)[1]
    assert "it is cut off; read: 9 s" in str(finding) and finding.code == "cut-off"
    with pytest.raises(ValueError, match=r"promises a signal of 20 s, the file holds 9\.07 s"):
        read_recording(paths["rec.cnt"])


def test_annotations_that_are_no_utf8_leave_the_signal(tmp_path, plain):
    path = odd(
        tmp_path, kind="EDF+C", stamps=time_stamps(range(SECONDS), "geöffnet".encode("latin-1"))
    )
    raw, notes = open_file(path)
    np.testing.assert_array_equal(raw.get_data(), plain)
    assert raw.annotations.description.tolist() == ["geöffnet"] and "Latin-1" in str(notes[0])
    stamps = time_stamps(range(SECONDS), "geöffnet".encode())
    raw, notes = open_file(odd(tmp_path, kind="EDF+C", stamps=stamps))
    assert raw.annotations.description.tolist() == ["geöffnet"] and not notes


def test_a_number_of_samples_that_is_no_use_does_not_hide_the_signal(tmp_path):
    path = write_recording(tmp_path, "rec.cnt", SIGNAL, NAMES, RATE)
    whole, right = path.read_bytes(), numbers(path)
    assert open_file(path)[1] == ()
    for stated in (0, 4294966564, RATE * SECONDS + 7, RATE * SECONDS - 7):
        path.write_bytes(whole[:864] + struct.pack("<I", stated) + whole[868:])
        np.testing.assert_array_equal(numbers(path), right)
        assert f"states {stated} samples" in str(open_file(path)[1][0])


def test_wide_samples_are_told_by_a_number_that_is_nearly_right_or_by_the_next_block(tmp_path):
    path = write_recording(tmp_path, "rec.cnt", SIGNAL, NAMES, RATE)
    whole = bytearray(path.read_bytes())
    begin, end = 900 + 75 * len(NAMES), 2 * len(NAMES) * RATE * SECONDS
    narrow = np.frombuffer(whole[begin : begin + end], "<i2")
    table = bytes(whole[begin + end :])
    right = numbers(path)
    struct.pack_into("<I", whole, 886, begin + 2 * end)
    wide = bytes(whole[:begin]) + narrow.astype("<i4").tobytes() + table
    for stated, next_at in ((RATE * SECONDS + 3, 0), (0, len(wide))):
        content = bytearray(wide + b"\0" * 52 + b"\1")
        struct.pack_into("<I", content, 864, stated)
        struct.pack_into("<I", content, 12, next_at)
        path.write_bytes(content)
        assert read_cnt_header(path).sample_bytes == 4
        np.testing.assert_array_equal(numbers(path), right)


def test_a_cnt_of_another_maker_is_named(tmp_path, monkeypatch):
    path = tmp_path / "eego.cnt"
    installed = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in installed or None)
    for begin in (b"RIFF", b"RF64"):
        path.write_bytes(begin + b"\0\1\0\0CNT eeph" + bytes(5000))
        with pytest.raises(ValueError, match=r"ANT eego.*pip install antio") as error:
            read_recording(path)
        assert "download" not in str(error.value)
        assert f"pip install '{FORMATS_EXTRA}'" in str(error.value)
    installed.append("antio")  # then it is the file
    with pytest.raises(ValueError, match="Check that the file is complete") as error:
        read_recording(path)
    assert "pip install" not in str(error.value)


def test_a_file_that_is_not_there_is_asked_for(tmp_path):
    for name, other in (("rec.set", "rec.fdt"), ("rec.vhdr", "rec.eeg")):
        path = write_recording(tmp_path, name, SIGNAL, NAMES, RATE)
        path.with_name(other).unlink()
        with pytest.raises(ValueError, match="A file that belongs to it is not there: put all"):
            read_recording(path)


def test_the_extra_has_every_package_that_a_message_names():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split("[<>=]", line)[0] for line in extras["optional-dependencies"]["formats"]]
    assert sorted(names) == sorted(_PACKAGES)
    assert f"{extras['name']}[formats]" == FORMATS_EXTRA


def test_the_file_to_open_is_named(tmp_path):
    vhdr = write_recording(tmp_path, "rec.vhdr", SIGNAL, NAMES, RATE)
    write_recording(tmp_path, "night.set", SIGNAL, NAMES, RATE)
    for name, right in {
        "rec.eeg": "rec.vhdr",
        "rec.vmrk": "rec.vhdr",
        "night.fdt": "night.set",
    }.items():
        with pytest.raises(ValueError, match=f"{name}: a part of.*Open {right} instead"):
            read_recording(tmp_path / name)
    vhdr.rename(tmp_path / "renamed.vhdr")  # its text still names rec.eeg
    with pytest.raises(ValueError, match=r"Open renamed\.vhdr instead"):
        read_recording(tmp_path / "rec.eeg")
    (tmp_path / "renamed.vhdr").unlink()
    with pytest.raises(ValueError, match=r"rec\.eeg is not .*through a \.vhdr"):
        read_recording(tmp_path / "rec.eeg")
    with pytest.raises(ValueError, match=r"through its \.vhdr file, which is not beside it"):
        read_recording(tmp_path / "rec.vmrk")


def test_hidden_files_folders_and_annotations_alone_are_no_recordings(tmp_path, plain):
    path = odd(tmp_path / "sub-1")
    hidden = path.with_name("._a.edf")
    hidden.write_bytes(b"\0\5\x16\7" + bytes(4092))
    with pytest.raises(ValueError, match=r"what a Mac writes beside a file. Open a\.edf"):
        read_recording(hidden)
    with pytest.raises(ValueError, match=r"a folder; .* several: plain.a.edf, sub-1.a\.edf\.$"):
        read_recording(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found none below it"):
        read_recording(tmp_path / "empty")
    alone = write_odd_edf(
        tmp_path / "b.edf", np.zeros((0, 500)), (), RATE, kind="EDF+C", stamps=time_stamps(range(5))
    )
    with pytest.raises(ValueError, match="no signal in it, only annotations"):
        read_recording(alone)
    np.testing.assert_array_equal(numbers(path.rename(tmp_path / "A.EDF")), plain)
