"""Messages about foreign files: no control characters, no endless lists."""

from __future__ import annotations

import pickle

import pytest
from odd_files import write_odd_edf
from tiny_recordings import eeg

from modeling_mteeg.dataset_scripts.reading import load_any
from modeling_mteeg.model.channel_choice import choose_channels
from modeling_mteeg.model.channels import ELECTRODES
from modeling_mteeg.model.findings import Finding
from modeling_mteeg.model.header_fields import RecordingError
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.model.signal_checks import SignalError
from modeling_mteeg.model.visible_text import listed, visible

pytest.importorskip("mne")


def test_control_characters_of_a_file_are_shown_as_text():
    text = "\x1b[31mred\x00 \u202e \udc80 \u00e9\t\n"
    assert visible(text) == "\\x1b[31mred\\x00 \\u202e \\udc80 \u00e9\t\n"
    for error in (RecordingError(text), SignalError(text)):
        again = pickle.loads(pickle.dumps(error))
        assert str(error) == str(again) == visible(text)
    finding = Finding("flat", text, text)
    assert finding.sentence == finding.remedy == visible(text)
    assert listed(list("abcdefgh"), 3) == "a, b, c and 5 more" and listed(["a"]) == "a"


def test_a_label_with_a_control_character_is_said_as_text(tmp_path):
    path = write_odd_edf(tmp_path / "a.edf", eeg(4, 100, 2), ("C3\0x", "CZ"), 100)
    with pytest.raises(RecordingError, match=r"channels missing: C3; found C3\\x00X, CZ"):
        load_any(path, ("C3", "CZ"))
    with pytest.raises(ValueError, match=r"missing: C3.*Found: C3\\x00X, CZ"):
        choose_channels(open_source(path), ("C3", "CZ"), 0)


def test_a_message_on_many_bad_channels_is_short(tmp_path):
    names = ELECTRODES[:64]
    path = write_odd_edf(tmp_path / "a.edf", eeg(4, 100, 64), names, 100)
    content = bytearray(path.read_bytes())
    at = 256 + 120 * 64  # the lowest digital value of every signal
    content[at : at + 8 * 64] = b"".join(str(20000 + n).encode().ljust(8) for n in range(64))
    path.write_bytes(content)
    for use in (open_source, lambda file: load_any(file, names)):
        with pytest.raises(ValueError, match="and 56 more") as error:
            use(path)
        assert len(str(error.value)) < 2000
