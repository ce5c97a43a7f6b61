"""Channels with the names and units that a recording states, and those that they are taken by."""

from __future__ import annotations

import pytest
from odd_files import write_odd_edf
from recording_files import write_recording
from tiny_recordings import eeg

from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.model.stated_channels import Channel

mne = pytest.importorskip("mne")

RATE = 100
SIGNAL = eeg(4, RATE, 2)


def test_an_edf_header_states_names_and_units(tmp_path):
    names = ("EEG C3-REF", "EEG C4-REF")
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, names, RATE)
    stated = (
        Channel(names[0], "C3", "eeg", "uV", "uV"),
        Channel(names[1], "C4", "eeg", "uV", "uV"),
    )
    assert open_source(path).channels == stated
    raw = mne.io.read_raw(path, verbose="error").load_data()
    raw.rename_channels({raw.ch_names[0]: "left"}).add_reference_channels("M1")
    source = open_source(raw)
    found = source.channels
    assert source.names == ("LEFT", "C4", "M1")  # a channel that somebody added is in volt
    assert (found[0].stored, found[0].name) == ("EEG C3-REF", "LEFT")
    assert (found[2].stored, found[2].stated_unit) == ("M1", None)


def test_a_channel_without_a_unit_is_there_and_taken_for_what_is_told(tmp_path):
    path = write_odd_edf(tmp_path / "a.edf", SIGNAL, ("C3", "C4"), RATE)
    at = 256 + 2 * 96 + 8  # the second one's dimension
    path.write_bytes(path.read_bytes()[:at] + b"?       " + path.read_bytes()[at + 8 :])
    (c3, c4), told = open_source(path).channels, open_source(path, unit="uV").channels
    assert (c3.stated_unit, c3.unit, c4.stated_unit, c4.unit) == ("uV", "uV", "?", None)
    assert open_source(path).names == ("C3",)
    assert (told[0].unit, told[1].unit) == ("uV", "uV")


def test_formats_of_one_unit_and_arrays(tmp_path):
    bv = open_source(write_recording(tmp_path, "a.vhdr", SIGNAL, ("C3", "C4"), RATE))
    assert {(one.stated_unit, one.unit) for one in bv.channels} == {("µV", "uV")}
    fif = open_source(write_recording(tmp_path, "a.fif", SIGNAL, ("C3", "C4"), RATE))
    assert {(one.stated_unit, one.unit) for one in fif.channels} == {(None, "V")}
    raw = mne.io.read_raw(tmp_path / "a.fif", verbose="error")
    raw.set_channel_types({"C4": "eog"}, verbose="error")
    assert [one.kind for one in open_source(raw).channels] == ["eeg", "eog"]
    array = open_source((SIGNAL, ("EEG C3-REF", "C4"), RATE))
    assert array.channels[0] == Channel("EEG C3-REF", "C3", "eeg", None, "uV")
