"""Sidecars of BIDS: which one counts, and what channels.tsv changes about a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotated_recordings import noise
from bids_datasets import NAMES, channels_table, recording, sidecar

from modeling_mteeg.dataset_scripts.reading import read_edf
from modeling_mteeg.model.bids_sidecars import (
    entities_of,
    find_sidecar,
    find_sidecars,
    has_entities,
    is_bids_eeg,
    read_table,
)
from modeling_mteeg.model.recording_files import open_file
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.recording_sources import open_source

mne = pytest.importorskip("mne")
RIGHT = [(name, "ECG" if name == "ECG" else "EEG", "uV", "good") for name in NAMES]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("name\n", "utf-8")
    return path


def changed(row: int, **cells: str) -> list[tuple[str, ...]]:
    """The right table with other cells in one row."""
    rows = [list(one) for one in RIGHT]
    for column, cell in cells.items():
        rows[row][("name", "type", "units", "status").index(column)] = cell
    return [tuple(one) for one in rows]


def without_units(path: Path, channels: int) -> Path:
    """An EDF file whose header states no physical dimension of the first channels."""
    content = bytearray(path.read_bytes())
    start = 256 + 96 * int(content[252:256])
    content[start : start + 8 * channels] = b" " * 8 * channels
    path.write_bytes(content)
    return path


def test_names_of_bids_are_told_from_others():
    assert entities_of("x/sub-01_ses-a_task-rest_run-1_eeg.edf") == {
        "sub": "01", "ses": "a", "task": "rest", "run": "1",
    }  # fmt: skip
    for name in ("night.edf", "sub-01_extra_eeg.edf", "sub-_eeg.edf", "eeg.edf"):
        assert not is_bids_eeg(name)
    assert not is_bids_eeg("sub-01_events.tsv") and is_bids_eeg("sub-01_eeg.vhdr")
    wanted = {"ses": ("2", "ses-01"), "run": ("1",)}
    assert has_entities("sub-1_ses-1_run-01_eeg.edf", wanted)
    assert not has_entities("sub-1_ses-3_run-1_eeg.edf", wanted)
    assert not has_entities("sub-1_ses-1_eeg.edf", wanted)


def test_the_deepest_sidecar_whose_entities_all_fit_counts(tmp_path):
    path = tmp_path / "sub-1" / "ses-a" / "eeg" / "sub-1_ses-a_task-x_run-1_eeg.edf"
    path.parent.mkdir(parents=True)
    fitting = [
        tmp_path / "channels.tsv",
        tmp_path / "task-x_channels.tsv",
        tmp_path / "sub-1" / "sub-1_channels.tsv",
        tmp_path / "sub-1" / "ses-a" / "sub-1_ses-a_channels.tsv",
        path.parent / "sub-1_ses-a_task-x_channels.tsv",
        path.parent / "sub-1_ses-a_task-x_run-1_channels.tsv",
    ]
    for other in ("sub-2_channels.tsv", "task-y_channels.tsv", "task-x_acq-a_channels.tsv",
                  "._task-x_channels.tsv", "task-x_other_channels.tsv"):  # fmt: skip
        touch(tmp_path / other)
    assert find_sidecar(path, "channels") is None
    for count, file in enumerate(fitting, 1):
        touch(file)
        assert find_sidecars(path, "channels") == fitting[:count][::-1]
        assert find_sidecar(path, "channels") == file
    touch(tmp_path.parent / "task-x_channels.tsv")  # above the dataset
    assert find_sidecars(path, "channels") == fitting[::-1]
    assert find_sidecars(path.with_name("night.edf"), "channels") == []


def test_the_root_is_where_the_description_is_and_places_may_have_a_space(tmp_path):
    root = tmp_path / "sub-study" / "ds"
    path = root / "sub-1" / "eeg" / "sub-1_task-x_eeg.edf"
    outside, inside = touch(tmp_path / "task-x_eeg.json"), touch(root / "task-x_eeg.json")
    touch(path)
    assert find_sidecars(path, "eeg", ".json") == [inside, outside]
    (root / "dataset_description.json").write_text("{}")
    assert find_sidecars(path, "eeg", ".json") == [inside]
    places = [touch(path.with_name(f"sub-1_space-{space}_electrodes.tsv")) for space in "ab"]
    assert find_sidecars(path, "electrodes") == places
    assert find_sidecars(path, "channels") == []


def test_two_sidecars_of_which_neither_is_more_specific_are_named(tmp_path):
    path = recording(tmp_path, "sub-1_task-x_acq-a")
    channels_table(tmp_path / "task-x_channels.tsv", RIGHT)
    channels_table(tmp_path / "acq-a_channels.tsv", changed(0, type="MISC"))
    with pytest.raises(ValueError, match=r"acq-a_channels\.tsv, task-x_channels\.tsv"):
        find_sidecar(path, "channels")
    source = open_source(path)
    assert source.names == ("C3", "CZ", "C4", "ECG")
    assert [one.code for one in source.findings] == ["sidecar"]
    assert "neither is more specific" in source.notes[0] and "not used" in source.notes[0]


def test_equal_rows_of_one_channel_are_said(tmp_path):
    path = recording(tmp_path, "sub-1_task-x")
    channels_table(sidecar(path, "_channels.tsv"), [*RIGHT, RIGHT[0]])
    (finding,) = open_source(path).findings
    assert finding.code == "sidecar" and "several rows of C3, which are equal" in finding.sentence


def test_cells_are_read_as_bids_has_them(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes('\ufeffonset\ttrial_type\r\n1\t"rest"\r\n2\t"open\r\n\r\n3\t\r\n'.encode())
    assert [tuple(row.values()) for row in read_table(path)] == [
        ("1", "rest"), ("2", '"open'), ("3", ""),
    ]  # fmt: skip
    path.write_bytes(b"name\tunits\nC3\t\xb5V\n")
    with pytest.raises(ValueError, match="UTF-8"):
        read_table(path)
    assert read_table(path, any_text=True) == [{"name": "C3", "units": "µV"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,x\nC3,1\nC4,1,5\n", r"a\.csv, line 3: expected 2 cells, .* found 3: 'C4', '1', '5'"),
        ("name,x\nC3,1\nC4\n", r"a\.csv, line 3: expected 2 cells, one a column, found 1: 'C4'"),
        ('name,x\n\n"C3\nC4,1\n', r"line 4: expected 2 cells, one a column, found 1"),
        ("name,x,name\nC3,1,C4\n", r"expected every column once, found several of 'name'"),
    ],
)
def test_a_row_with_other_cells_than_there_are_columns_is_refused(text, words, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_table(path)


def test_a_table_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.tsv"
    with open(path, "wb") as file:
        file.truncate(2**40)  # takes no place on the disk
    with pytest.raises(ValueError, match=r"a\.tsv: expected at most 16,777,216 bytes .* 1,099,511"):
        read_table(path)


@pytest.mark.parametrize("suffix", [".edf", ".bdf", ".vhdr", ".set"])
def test_types_and_bad_channels_are_those_of_the_table(suffix, tmp_path):
    path = recording(tmp_path, "sub-1_task-x", suffix=suffix)
    plain = open_source(path)
    assert plain.names == ("C3", "CZ", "C4", "ECG")
    channels_table(tmp_path / "task-x_channels.tsv", changed(2, status="Bad"))
    source = open_source(path)
    assert source.names == ("C3", "CZ") and source.findings == ()
    assert source.left_out == ("C4 (marked bad in channels.tsv)", "ECG (type ecg)")
    np.testing.assert_array_equal(source.read([1, 0]), plain.read([1, 0]))
    # A Raw that its user made is taken as it is, and knows why it has a bad channel.
    raw = mne.io.read_raw(path, verbose="error")
    assert open_source(raw).names == plain.names
    raw.info["bads"] = ["C4", "C3"]
    assert open_source(raw).left_out == ("C3 (marked bad)", "C4 (marked bad in channels.tsv)")


def test_no_channel_left_says_where_types_came_from(tmp_path):
    path = recording(tmp_path, "sub-1")
    channels_table(sidecar(path, "_channels.tsv"), [(name, "MISC", "uV", "good") for name in NAMES])
    with pytest.raises(ValueError, match=r"C3 \(type misc\).*channels\.tsv"):
        open_source(path)


def test_names_are_matched_clean_and_what_does_not_match_is_said(tmp_path):
    path = recording(tmp_path, "sub-1", names=("EEG C3-REF", "EEG Cz-REF", "T8-P8", "EEG Fz-REF"))
    table = sidecar(path, "_channels.tsv")
    rows = [("C3", "EEG", "uV", "bad"), ("EEG Cz-REF", "MISC", "uV", "good"),
            ("T8-P8", "EEG", "uV", "good"), ("Pz", "EEG", "uV", "bad"),
            ("Trigger", "TRIG", "n/a", "n/a"), ("EDF Annotations", "EEG", "", "")]  # fmt: skip
    channels_table(table, rows)
    source = open_source(path)
    assert source.names == ("T8-P8", "FZ")
    first, second = source.findings
    assert "the recording has no Pz; it has EEG C3-REF" in first.sentence
    assert second.channels == ("EEG Fz-REF",) and "no row of EEG Fz-REF" in second.sentence
    # One cleaned name for two channels fits neither.
    path = recording(tmp_path / "two", "sub-1", names=("C3-REF", "EEG C3", "Cz", "C4"))
    channels_table(sidecar(path, "_channels.tsv"), [("c3", "EEG", "uV", "bad"), *RIGHT[1:3]])
    assert open_source(path).left_out == ()


def test_a_unit_that_the_header_does_not_state_is_the_table_s(tmp_path):
    signal = noise(15, 3, 4)
    right = recording(tmp_path / "right", "sub-1", signal=signal)
    path = without_units(recording(tmp_path / "none", "sub-1", signal=signal), 3)
    assert list(open_source(path).unfit) == ["C3", "CZ", "C4"]
    rows = [(name, "EEG", unit, "good") for name, unit in
            zip(NAMES, ("µV", "microV", "n/a", "uV"), strict=True)]  # fmt: skip
    channels_table(sidecar(path, "_channels.tsv"), rows)
    source = open_source(path)
    assert source.names == ("C3", "CZ", "ECG") and list(source.unfit) == ["C4"]
    np.testing.assert_allclose(source.read([0, 1, 2]), open_source(right).read([0, 1, 3]))
    assert {"C3", "Cz"} == {name for one in source.findings for name in one.channels}
    assert "states the unit of C3 (µV), the header none" in source.notes[0]
    found = read_edf(path, ("C3", "CZ"))[0]
    np.testing.assert_allclose(found, read_edf(right, ("C3", "CZ"))[0])
    with pytest.raises(RecordingError, match=r"no unit of voltage for C4"):
        read_edf(path, ("C3", "C4"))
    raw = mne.io.read_raw(path, verbose="error")
    raw.rename_channels({"C3": "F3"})
    assert open_source(raw).names == ("F3", "CZ", "ECG")
    # Who says in which unit the numbers are is believed.
    told = open_source(path, unit="mV")
    assert told.names == ("C3", "CZ", "C4", "ECG") and told.unit == "mV"
    np.testing.assert_allclose(told.read([0, 2]), 1e6 * open_source(right).read([0, 2]))


@pytest.mark.parametrize("suffix", [".edf", ".bdf", ".vhdr"])
def test_a_unit_that_contradicts_the_header_is_named_and_not_used(suffix, tmp_path):
    path = recording(tmp_path, "sub-1", suffix=suffix)
    plain = open_source(path).read([0, 1])
    rows = [(name, "EEG", unit, "good") for name, unit in
            zip(NAMES, ("mV", "mV", "uV", "µV"), strict=True)]  # fmt: skip
    channels_table(sidecar(path, "_channels.tsv"), rows, encoding="latin-1")
    source = open_source(path)
    np.testing.assert_array_equal(source.read([0, 1]), plain)
    encoded, finding = source.findings
    assert encoded.code == "text-encoding"
    assert finding.channels == ("C3", "Cz") and finding.policy("predict") == "note"
    assert "says mV, the header" in finding.sentence and "the header is used" in finding.sentence


def test_formats_of_one_unit_keep_it_whatever_the_table_says(tmp_path):
    """EEGLAB's numbers are microvolt; the tables that mne-bids writes for them say V."""
    path = recording(tmp_path, "sub-1", suffix=".set")
    plain = open_source(path).read([0])
    rows = [(name, "EEG", "V", "good") for name in NAMES]
    channels_table(sidecar(path, "_channels.tsv"), rows)
    source = open_source(path)
    np.testing.assert_array_equal(source.read([0]), plain)
    assert source.findings == ()


def test_types_that_the_file_contradicts_or_bids_does_not_have_are_named(tmp_path):
    path = recording(tmp_path, "sub-1", suffix=".bdf", names=("C3", "Cz", "C4", "Status"))
    rows = [("C3", "scalp", "uV", "good"), ("Cz", "n/a", "uV", "good"), ("C4", "eeg", "uV", ""),
            ("Status", "EEG", "n/a", "good")]  # fmt: skip
    channels_table(sidecar(path, "_channels.tsv"), rows)
    source = open_source(path)
    assert source.names == ("C3", "CZ", "C4")
    first, second = source.notes
    assert "says EEG of Status, the file stim" in first and "'scalp' of C3 is no type" in second


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,type\nC3,EEG\n", "expected a column name, found name,type"),
        ("name\ttype\nC3\tEEG\nC3\tMISC\n", "two rows of 'C3' that differ"),
    ],
)
def test_a_table_that_cannot_be_used_is_said(content, words, tmp_path):
    path = recording(tmp_path, "sub-1")
    sidecar(path, "_channels.tsv").write_text(content, "utf-8")
    source = open_source(path)
    assert words in source.notes[0] and source.names == ("C3", "CZ", "C4", "ECG")


def test_a_bids_path_is_the_path_of_its_file(tmp_path):
    path = recording(tmp_path, "sub-1")

    class BidsPath:
        suffix, datatype = "eeg", None

        def copy(self):
            return BidsPath()

        def update(self, datatype):
            self.datatype = datatype
            return self

        @property
        def fpath(self):
            if self.datatype != "eeg":
                raise RuntimeError("Found more\nthan one")
            return path

    np.testing.assert_array_equal(open_source(BidsPath()).read([0]), open_source(path).read([0]))
    BidsPath.update = lambda self, datatype: self
    with pytest.raises(ValueError, match="path of one recording: Found more than one"):
        open_source(BidsPath())


def test_a_link_that_leads_nowhere_says_that_it_is_to_be_fetched(tmp_path):
    path = tmp_path / "sub-1_eeg.edf"
    path.symlink_to(tmp_path / ".git" / "annex" / "key")
    with pytest.raises(FileNotFoundError, match=r"datalad get sub-1_eeg\.edf"):
        open_file(path)
