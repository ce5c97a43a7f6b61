"""Public files of formats that need a package: read with it, and named without."""

from __future__ import annotations

import importlib.util

import pytest

from modeling_mteeg.model.file_choice import FORMATS_EXTRA
from modeling_mteeg.model.recording_files import open_file

CURRY = "curry/test_bdf_stim_channel Curry 7"
CLIP = "persyst/sub-pt1_ses-02_task-monitor_acq-ecog_run-01_clip2"
READ = {
    f"{CURRY}.dap": ("curryreader", 3, 500, 9.998),
    f"{CURRY}.dat": ("curryreader", 3, 500, 9.998),
    f"{CURRY}.rs3": ("curryreader", 3, 500, 9.998),
    "eeglab/test_raw.set": ("", 32, 128, 238.305),
    "eeglab/test_raw_2021.set": ("", 3, 128, 10.0),
    "eeglab/test_raw_chanloc.set": ("", 61, 128, 3.0),
    "eeglab/test_raw_h5.set": ("pymatreader", 32, 128, 238.305),
    "ant/test-ref.cnt": ("antio", 64, 500, 3.89),
    "ant/test-ref.vhdr": ("", 64, 500, 3.89),
    "ant/test-user-annotation.cnt": ("antio", 64, 500, 16.43),
    "ant/test_CA_208.cnt": ("antio", 88, 1000, 4.024),
    "ant/test_CA_208.vhdr": ("", 88, 1000, 4.024),
    f"{CLIP}.lay": ("", 83, 200, 4.23),
}
"""The package that reads a file, its channels, rate and time of its last sample."""
REFUSED = {
    "eeglab/eeglab_data_numerical_events.set": "A file that belongs to it is not there",
    "eeglab/test_raw.fdt": r"Open test_raw\.set instead",
    "eeglab/test_raw_chanloc.fdt": r"Open test_raw_chanloc\.set instead",
    "ant/test-ref.eeg": r"Open test-ref\.vhdr instead",
    "ant/test-user-annotation.vhdr": "A file that belongs to it is not there",
    "ant/test_CA_208.vmrk": r"Open test_CA_208\.vhdr instead",
    f"{CLIP}.dat": r"clip2\.lay instead",
}
pytestmark = pytest.mark.slow


@pytest.fixture
def odd(recordings_dir):
    folder = recordings_dir / "odd"
    if not folder.is_dir():
        pytest.skip(f"no public test files: {folder}")
    return folder


@pytest.mark.parametrize("file", READ)
def test_files_are_read_with_their_package_and_named_without(odd, file):
    package, channels, rate_hz, last_s = READ[file]
    if package and importlib.util.find_spec(package) is None:
        with pytest.raises(ValueError, match=f"pip install {package}, or") as error:
            open_file(odd / file)
        assert f"pip install '{FORMATS_EXTRA}'" in str(error.value)
        return
    raw, notes = open_file(odd / file)[:2]
    assert (len(raw.ch_names), raw.info["sfreq"]) == (channels, rate_hz)
    assert raw.times[-1] == pytest.approx(last_s, abs=1e-3) and not notes


@pytest.mark.parametrize("file", REFUSED)
def test_parts_and_what_is_incomplete_are_refused_with_the_right_sentence(odd, file):
    with pytest.raises(ValueError, match=REFUSED[file]):
        open_file(odd / file)
