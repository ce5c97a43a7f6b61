"""Which files of a BIDS folder are its recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeling_mteeg.model.recording_files import read_recording
from modeling_mteeg.model.recording_sources import open_source
from modeling_mteeg.recordings.recording_folders import bids_recordings, files_of

FILES = (
    "sub-01/ses-1/eeg/sub-01_ses-1_task-x_run-1_eeg.edf",
    "sub-01/ses-1/eeg/sub-01_ses-1_task-x_run-2_eeg.vhdr",
    "sub-01/ses-2/eeg/sub-01_ses-2_task-x_run-1_eeg.set",
    "sub-02/eeg/sub-02_task-x_split-01_eeg.fif",
)
OTHERS = (
    "sub-01/ses-1/eeg/sub-01_ses-1_task-x_run-2_eeg.eeg",
    "sub-01/ses-2/eeg/sub-01_ses-2_task-x_run-1_eeg.fdt",
    "sub-01/ses-1/eeg/sub-01_ses-1_task-x_run-1_events.tsv",
    "sub-01/ses-1/eeg/._sub-01_ses-1_task-x_run-1_eeg.edf",
    "sub-01/ses-1/meg/sub-01_ses-1_task-x_meg.fif",
    "sub-02/eeg/sub-02_task-x_split-02_eeg.fif",
    "derivatives/clean/sub-01/eeg/sub-01_task-x_eeg.edf",
    "sourcedata/sub-01/eeg/sub-01_task-x_eeg.bdf",
    "code/test/sub-01_eeg.edf",
    ".git/annex/objects/sub-01_eeg.edf",
)


@pytest.fixture
def root(tmp_path) -> Path:
    for name in (*FILES, *OTHERS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def test_recordings_of_a_dataset_are_its_eeg_files_alone(root):
    files, passed_over = bids_recordings(root)
    assert files == [root / name for name in FILES]
    assert passed_over == {"code": 1, "derivatives": 1, "sourcedata": 1}
    (root / "dataset_description.json").write_text("{}")
    assert bids_recordings(root) == (files, passed_over)


def test_a_subject_a_session_and_a_derivative_are_asked_for_by_their_folders(root):
    assert bids_recordings(root / "sub-01")[0] == [root / name for name in FILES[:3]]
    assert bids_recordings(root / "sub-01" / "ses-2")[0] == [root / FILES[2]]
    clean = root / "derivatives" / "clean"
    assert bids_recordings(clean) == ([root / OTHERS[6]], {})
    # A folder of this name elsewhere is a folder like others.
    assert bids_recordings(root / "derivatives")[0] == [root / OTHERS[6]]


def test_files_stay_and_folders_become_their_recordings_each_once(root, tmp_path):
    files, sentences = files_of([root / FILES[1], str(root)])
    assert files == [root / FILES[1], root / FILES[0], *(root / name for name in FILES[2:])]
    (sentence,) = sentences
    assert "4 EEG recordings of 2 subjects; passed over: 1 in code, 1 in derivatives" in sentence
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "night.edf").write_bytes(b"")
    assert files_of([plain, tmp_path / "absent.edf"]) == ([plain, tmp_path / "absent.edf"], [])
    with pytest.raises(ValueError, match=r"a folder; .*night\.edf"):
        read_recording(plain)


def test_small_public_datasets_are_read(recordings_dir):
    """Test files of EEGLAB and mne-bids, without sidecars."""
    root = recordings_dir / "odd" / "bids"
    if not root.is_dir():
        pytest.skip(f"no public BIDS folders: {root}")
    found = {path.name: open_source(path, preload=False) for path in bids_recordings(root)[0]}
    edf = found["sub-S1_ses-01_task-Experiment_run-01_eeg.edf"]
    vhdr = found["sub-01_ses-eeg_task-rest_eeg.vhdr"]
    assert (len(found), len(edf.names), edf.samples / edf.rate_hz) == (2, 16, 60)
    assert vhdr.left_out == ("GSR (type misc)", "Temperature (type misc)")
    assert [one.code for one in (*edf.findings, *vhdr.findings)] == []
