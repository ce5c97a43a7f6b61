"""FIF, EEGLAB and BrainVision files whose parts contradict each other: refused, or said."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from recording_files import write_recording
from scipy.io import loadmat, savemat
from tiny_recordings import eeg, epochs_of, raw_of

from modeling_mteeg.dataset_scripts.reading import load_any
from modeling_mteeg.model.fif_header import ChainEnd, check_chain
from modeling_mteeg.model.mat_structure import check_structure
from modeling_mteeg.model.recording_files import open_file
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.recording_sources import open_source

pytest.importorskip("mne")

RATE, SECONDS = 100, 24
NAMES = ("C3", "CZ", "C4")
SIGNAL = eeg(SECONDS, RATE, len(NAMES))
BUFFER, CHANNEL = 300, 203


def codes(path: Path) -> list[str]:
    return [finding.code for finding in open_source(path).findings]


def refused(path: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_source(path)
    with pytest.raises(RecordingError, match=words):
        load_any(path, NAMES)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("name", ["a.edf", "a_raw.fif", "a-epo.fif", "a.set", "a.vhdr", "a.cnt"])
def test_a_pipe_is_not_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "expected a file|does not exist|cannot be read|no regular file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("pipe", ["a.eeg", "a.vmrk", "a.fdt"])
def test_a_pipe_beside_a_header_is_not_waited_for(pipe, tmp_path):
    name = "a.set" if pipe == "a.fdt" else "a.vhdr"
    path = write_recording(tmp_path, name, SIGNAL, NAMES, RATE)
    (tmp_path / pipe).unlink()
    os.mkfifo(tmp_path / pipe)
    refused(path, "found a pipe|is not there")


# FIF ---------------------------------------------------------------------------------------------


@pytest.fixture
def fif(tmp_path) -> Path:
    path = write_recording(tmp_path, "a_raw.fif", SIGNAL, NAMES, RATE)
    assert not codes(path) and check_chain(path) == ChainEnd()
    return path


def tag(content: bytes, wanted: int) -> int:
    """Where the first tag of a kind begins."""
    at = 0
    while True:
        kind, _, size, _ = struct.unpack_from(">iiii", content, at)
        if kind == wanted:
            return at
        at += 16 + size


def test_bytes_that_are_lost_within_a_fif_file_are_no_shorter_recording(fif):
    content = fif.read_bytes()
    inside = tag(content, BUFFER) + 5000
    for changed in (
        content[:inside] + content[inside + 4096 :],
        content[:inside] + content[inside : inside + 512] + content[inside:],
    ):
        fif.write_bytes(changed)
        refused(fif, "the chain of its tags breaks at byte")


@pytest.mark.parametrize("value", [np.inf, np.nan, 0.0])
def test_a_channel_of_a_fif_file_needs_a_scale(value, fif):
    content = bytearray(fif.read_bytes())
    place = tag(content, CHANNEL) + 16 + 12
    content[place : place + 8] = struct.pack(">ff", value, 1e6)
    fif.write_bytes(content)
    refused(fif, "of channel 1 make no scale")
    content[place - 4 : place] = struct.pack(">i", 502)  # a channel of another kind may be empty
    fif.write_bytes(content)
    if value == 0:
        check_chain(fif)


def test_a_rate_that_no_amplifier_has_is_refused(fif):
    content = bytearray(fif.read_bytes())
    place = tag(content, 201) + 16
    content[place : place + 4] = struct.pack(">f", 1e9)
    fif.write_bytes(content)
    refused(fif, "a rate of 1e.09 Hz; expected at most 100000")


def test_channels_and_buffers_of_a_fif_file_agree_with_their_number(fif):
    content = bytearray(fif.read_bytes())
    place = tag(content, 200) + 16
    content[place : place + 4] = struct.pack(">i", 4)
    fif.write_bytes(content)
    refused(fif, "4 channels stated, 3 described")


def test_a_fif_file_that_stops_or_goes_on_is_read_and_said(fif):
    content, whole = fif.read_bytes(), open_source(fif).read([0, 1, 2])
    fif.write_bytes(content[:-10])
    assert codes(fif) == ["cut-off"]
    fif.write_bytes(content[:-3000])
    assert codes(fif) == ["cut-off"]
    source = open_source(fif, preload=False)
    assert 0 < source.samples < SECONDS * RATE
    np.testing.assert_array_equal(source.read([0, 1, 2]), whole[..., : source.samples])
    fif.write_bytes(content + b"1234567")
    assert codes(fif) == ["more-records"]
    assert open_source(fif).samples == SECONDS * RATE


def test_epochs_are_looked_at_too(tmp_path):
    path = tmp_path / "a-epo.fif"
    epochs_of(raw_of(SIGNAL, NAMES, RATE), 2).save(path, verbose="error")
    content = path.read_bytes()
    assert not codes(path)
    path.write_bytes(content[:-50])
    assert codes(path) == ["cut-off"]
    path.write_bytes(content + b"1")
    assert codes(path) == ["more-records"]
    place = tag(content, 104) + 8
    path.write_bytes(content[:place] + struct.pack(">i", 2**31 - 1) + content[place + 4 :])
    with pytest.raises(ValueError, match="the chain of its tags breaks at byte"):
        open_source(path)


# EEGLAB ------------------------------------------------------------------------------------------


def rewritten(path: Path, packed: bool = False, **fields) -> Path:
    """The set with other fields."""
    found = loadmat(path, simplify_cells=True)
    content = found.get("EEG", {name: v for name, v in found.items() if name[0] != "_"})
    savemat(path, {"EEG": {**content, **fields}}, appendmat=False, do_compression=packed)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_parts_of_a_set_lie_within_each_other(packed, tmp_path):
    path = rewritten(write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE), packed)
    check_structure(str(path))
    assert not codes(path)
    content = bytearray(path.read_bytes())
    if packed:
        content[len(content) // 2] ^= 0x10
        words = "the packed variable at byte 128 is damaged"
    else:  # the length of the name of the fields: SciPy goes by the one that it expects
        heads = range(128, 1000, 8)
        at = next(
            at for at in heads if struct.unpack_from("<II", content, at)[0] == 14 and at > 128
        )
        length = struct.unpack_from("<I", content, at + 4)[0]
        struct.pack_into("<I", content, at + 4, length - 2)
        words = "ends behind the one that it is in"
    path.write_bytes(content)
    refused(path, words)


def test_a_set_whose_times_run_backwards_is_refused(tmp_path):
    path = write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE)
    refused(rewritten(path, xmin=1e9, xmax=23.99), "which is another length")


def test_a_set_whose_times_are_nearly_of_its_rate_is_used_and_said(tmp_path):
    path = write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE)
    assert not codes(rewritten(path, xmin=0.0, xmax=SECONDS - 1 / RATE))
    (finding,) = open_source(rewritten(path, srate=RATE * 0.995)).findings
    assert finding.code == "record-times" and "the rate is used" in finding.sentence


def test_a_signal_of_another_name_is_read_and_said(tmp_path):
    path = write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE)
    path.rename(tmp_path / "b.set")
    path.with_suffix(".fdt").rename(tmp_path / "b.fdt")
    (finding,) = open_source(tmp_path / "b.set").findings
    assert finding.code == "sidecar" and finding.sentence.endswith("b.fdt is read.")


def test_a_signal_of_complex_numbers_is_none(tmp_path):
    path = write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE)
    refused(rewritten(path, data=SIGNAL.astype(complex)), "complex")


def test_events_outside_of_a_set_are_said(tmp_path):
    path = write_recording(tmp_path, "a.set", SIGNAL, NAMES, RATE)
    events = np.array(
        [("go", 1.0, 0), ("boundary", 0.5, 99_999.0), ("go", SECONDS * RATE, 1)],
        dtype=[("type", object), ("latency", object), ("duration", object)],
    )
    assert "events-outside" not in codes(rewritten(path, event=events))
    for field, value in (("latency", 0.0), ("latency", 1e9), ("duration", -5.0)):
        changed = events.copy()
        changed[field][0] = value
        assert "events-outside" in codes(rewritten(path, event=changed))


# BrainVision -------------------------------------------------------------------------------------

MARKERS = (
    "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n"
    "[Marker Infos]\nMk1=New Segment,,1,1,0,20260101120000000000\nMk2=Stimulus,S  1,400,1,0\n"
)


def test_markers_that_are_none_are_said(tmp_path):
    path = write_recording(tmp_path, "a.vhdr", SIGNAL, NAMES, RATE)
    header = path.read_text("utf-8")
    lines = [line for line in header.splitlines() if not line.startswith("MarkerFile")]
    at = lines.index("[Common Infos]") + 1
    path.write_text("\n".join([*lines[:at], "MarkerFile=a.vmrk", *lines[at:]]), "utf-8")
    markers = path.with_suffix(".vmrk")
    markers.write_text(MARKERS)
    assert not codes(path)
    markers.write_text(MARKERS.replace(",400,", ",0,"))  # eego's exporter: the first sample
    assert not codes(path)
    assert 0.0 in open_file(path)[0].annotations.onset
    for line, words in (
        ("Mk3=Stimulus,S  1,-1,1,0", "mk3: 1 samples from -1 on"),
        ("Mk2=Stimulus,S  1,500,1,0", "Mk2 stands there twice"),
        ("Mk3=Stimulus,S  1,2401,1,0", "mk3: 1 samples from 2401 on"),
        ("Mk3=Stimulus,S  1,2400,5,0", "mk3: 5 samples from 2400 on"),
        ("DataFile=b.eeg", "datafile: no place and length"),
        ("Mk3=Stimulus,S  1,500,", "mk3: no place and length"),
    ):
        markers.write_text(f"{MARKERS}{line}\n")
        (finding,) = open_source(path).findings
        assert finding.code == "sidecar" and words in finding.sentence
    markers.unlink()
    (finding,) = open_source(path).findings
    assert "used without its markers" in finding.sentence


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[Binary", "DataPoints=2400.5\n[Binary", "DataPoints: expected a whole number"),
        ("[Binary", "DataPoints=2400\nDATAPOINTS=2400\n[Binary", "DATAPOINTS: stands there twice"),
    ],
)
def test_headers_say_everything_once_and_whole(old, new, words, tmp_path):
    path = write_recording(tmp_path, "a.vhdr", SIGNAL, NAMES, RATE)
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    refused(path, words)
