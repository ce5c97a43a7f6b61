"""What visitors drop on the page: one recording, its companions, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modeling_mteeg.app.session import Session, Stopped
from modeling_mteeg.app.uploads import SUFFIXES, UploadError, gather_recording, open_recording

HEADER = "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"


@pytest.fixture
def dropped(tmp_path):
    """Makes files as a web server keeps them: every one in a folder of its own."""

    def drop(**contents: str) -> list[Path]:
        paths = []
        for number, (name, text) in enumerate(contents.items()):
            path = tmp_path / "server" / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            paths.append(path)
        return paths

    return drop


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("name", [*(f"night{suffix}" for suffix in SUFFIXES), "N.EDF", "a.fif.gz"])
def test_a_recording_keeps_its_name(dropped, folder, name):
    text = HEADER + "DataFile=x.eeg" if name.endswith(".vhdr") else "signal"
    companions = {"x.eeg": "samples"} if name.endswith(".vhdr") else {}
    found = gather_recording(dropped(**{name: text}, **companions), folder)
    assert found == folder / name
    assert content(folder) == {name: text, **companions}


def test_files_that_belong_together_are_laid_side_by_side(dropped, folder):
    header = f"{HEADER}DataFile=run.eeg\r\nmarkerfile: run.vmrk\n"
    files = {"run.vmrk": "marks", "run.eeg": "samples", "run.vhdr": header}
    assert gather_recording(dropped(**files), folder).name == "run.vhdr"
    assert set(content(folder)) == set(files)


def test_eeglab_with_its_data_file(dropped, folder):
    files = dropped(**{"a.fdt": "samples", "a.set": "head"})
    assert gather_recording(files, folder) == folder / "a.set"
    assert set(content(folder)) == {"a.set", "a.fdt"}


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, "No recording yet"),
        ({"a.txt": ""}, "a file that ends in .edf"),
        ({"a.edf": "", "b.edf": ""}, "one recording at a time, found a.edf, b.edf"),
        ({"a.edf": "", "notes.fdt": ""}, "notes.fdt does not belong to a.edf"),
        ({"a.eeg": ""}, "a.eeg is read through its .vhdr file"),
        ({"a.fdt": ""}, "a.fdt is read through its .set file"),
        ({"a.vhdr": f"{HEADER}DataFile=a.eeg\nMarkerFile=a.vmrk", "a.eeg": ""}, "with a.vmrk"),
        ({"a.vhdr": "nothing"}, "is no BrainVision header"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_laid_down(dropped, folder, files, words):
    with pytest.raises(UploadError, match=words):
        gather_recording(dropped(**files), folder)
    assert content(folder) == {}


@pytest.mark.parametrize("stolen", ["/etc/passwd", "../secret.eeg", "sub/x.eeg", "..\\x.eeg"])
def test_a_header_cannot_name_a_file_of_the_server(dropped, folder, tmp_path, stolen):
    (tmp_path / "secret.eeg").write_text("secret")
    files = dropped(**{"a.vhdr": f"{HEADER}DataFile={stolen}", "a.eeg": ""})
    with pytest.raises(UploadError, match="drop all of its files"):
        gather_recording(files, folder)


def write_brainvision(folder: Path, data: Path) -> Path:
    """A header of two channels in ``folder`` over samples that lie at ``data``."""
    folder.mkdir(parents=True, exist_ok=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    np.zeros((1000, 2), "<i2").tofile(data)
    lines = [
        f"{HEADER}DataFile={data.name if data.parent == folder else data}",
        "DataFormat=BINARY", "DataOrientation=MULTIPLEXED", "NumberOfChannels=2",
        "SamplingInterval=5000", "[Binary Infos]", "BinaryFormat=INT_16",
        "[Channel Infos]", "Ch1=C3,,0.1,µV", "Ch2=C4,,0.1,µV",
    ]  # fmt: skip
    path = folder / "run.vhdr"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_no_reader_is_led_to_a_file_of_the_server(tmp_path):
    """Of whatever format: a file that is not beside the recording is not read."""
    honest = write_brainvision(tmp_path / "a", tmp_path / "a" / "run.eeg")
    assert open_recording(honest).ch_names == ["C3", "C4"]
    sly = write_brainvision(tmp_path / "own", tmp_path / "other" / "run.eeg")
    with pytest.raises(UploadError, match=r"draws on run\.eeg, which did not come along"):
        open_recording(sly)


def test_a_file_that_is_no_recording_is_named(dropped, folder):
    path = gather_recording(dropped(**{"a.edf": "no EDF"}), folder)
    with pytest.raises(UploadError, match=r"^a\.edf: 6 bytes long, shorter than an EDF header"):
        open_recording(path)


def test_an_upload_that_is_gone_is_asked_for_again(dropped, folder):
    files = dropped(**{"a.edf": ""})
    files[0].unlink()
    with pytest.raises(UploadError, match=r"a\.edf is no longer on the server.*Drop it again"):
        gather_recording(files, folder)


def test_a_session_keeps_the_last_results_only():
    session = Session()
    first = session.start()
    (first / "events.tsv").write_text("")
    second = session.start()
    assert second.is_dir() and not first.exists()
    session.clear()
    assert not second.exists()
    session.clear()


def test_stop_ends_one_run_and_not_the_next():
    session, other = Session(), Session()
    session.start(), other.start()
    session.stop()
    other.check()
    with pytest.raises(Stopped):
        session.check()
    session.start()
    session.check()
    session.clear(), other.clear()
