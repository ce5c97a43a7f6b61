"""Downloads of open corpora, against a server that cuts, stalls, lies, turns away and changes."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from physionet_server import PhysioNetServer, motor_imagery
from range_server import running

from modeling_mteeg.dataset_scripts.downloads import download_plan, downloading, file_server
from modeling_mteeg.dataset_scripts.downloads.download_settings import (
    DownloadError,
    DownloadSettings,
)
from modeling_mteeg.dataset_scripts.downloads.downloading import download
from modeling_mteeg.dataset_scripts.physionet_mi import PhysionetMi
from modeling_mteeg.dataset_scripts.tuab import Tuab
from modeling_mteeg.settings.disk_faults import WriteError
from modeling_mteeg.settings.folder_lock import held

FILE = "S001/S001R04.edf"
WANTED = ("LICENSE.txt", "RECORDS", FILE, "S001/S001R06.edf", "S002/S002R04.edf",
          "S002/S002R06.edf")  # fmt: skip


@pytest.fixture(scope="module")
def answering() -> Iterator[PhysioNetServer]:
    with running(PhysioNetServer({})) as one:
        yield one
        one.awake.set()


@pytest.fixture
def server(answering: PhysioNetServer) -> PhysioNetServer:
    """A small database that nobody has asked for anything."""
    answering.begin(motor_imagery())
    return answering


@pytest.fixture
def fetch(server: PhysioNetServer, tmp_path: Path) -> Callable[..., Path]:
    """A download from the server, which has little patience; gives the folder."""

    def run(**changed: object) -> Path:
        given = {"mirror": server.url, "tries": 3, "pause_s": 0.001, "stall_s": 0.3} | changed
        download(PhysionetMi, tmp_path / "raw", DownloadSettings(**given))
        return tmp_path / "raw"

    return run


def whole(folder: Path, server: PhysioNetServer, names: tuple[str, ...] = WANTED) -> bool:
    """Those files have the server's content, and there are no others but the download's own."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    own = {"SHA256SUMS.txt", ".download.jsonl", ".download.lock"}
    right = all((folder / name).read_bytes() == server.files[name] for name in names)
    return right and there - own == set(names)


def test_what_the_task_reads_is_fetched_once_and_verified(server, fetch, capsys):
    folder = fetch()
    assert whole(folder, server)
    assert (folder / "SHA256SUMS.txt").read_bytes() == server.files["SHA256SUMS.txt"]
    said = capsys.readouterr().out
    assert "Open Data Commons Attribution License" in said and "Schalk et al. 2004" in said
    assert "6 of 14 files" in said and "6 files, 160 kB" in said
    asked = len(server.asked)
    assert fetch() == folder and len(server.asked) == asked  # without the server
    (folder / ".download.jsonl").unlink()
    assert fetch() == folder and len(server.asked) == asked  # hashed, for want of the record


def test_subjects_and_all_files(server, fetch):
    server.files["notes"] = b""
    server.list_anew()
    folder = fetch(subjects=("S002",))
    assert whole(folder, server, tuple(name for name in WANTED if "S001" not in name))
    before = len(server.gets("S002/S002R04.edf"))
    assert whole(fetch(all_files=True), server, tuple({*server.files} - {"SHA256SUMS.txt"}))
    assert len(server.gets("S002/S002R04.edf")) == before


def test_a_cut_file_goes_on_at_the_byte_with_the_version_it_began_with(server, fetch):
    server.faults[FILE] = ["cut", "cut"]
    assert whole(fetch(), server)
    first, second, third = server.gets(FILE)
    assert first == ("", "") and second[0] == "bytes=20000-" and third[0] == "bytes=30000-"
    assert second[1].startswith('"') and second[1] == third[1]
    assert server.sent[FILE] == 40_000  # no byte twice


@pytest.mark.parametrize(
    ("etags", "dates", "condition"), [(False, True, "GMT"), (False, False, "")]
)
def test_without_an_etag_the_date_is_the_condition_or_the_sum_decides(
    server, fetch, etags, dates, condition
):
    server.etags, server.dates = etags, dates
    server.faults[FILE] = ["cut"]
    assert whole(fetch(), server)
    assert server.gets(FILE)[1][1].endswith(condition) and server.sent[FILE] == 40_000


def test_new_bytes_are_no_failed_try(server, fetch):
    server.faults[FILE] = ["cut"] * 8  # more than the three tries
    assert whole(fetch(), server)


def test_a_stall_is_ended_and_goes_on(server, fetch):
    server.faults[FILE] = ["stall"]
    assert whole(fetch(), server)
    assert server.gets(FILE)[1][0] == "bytes=20000-"


def test_a_server_that_never_gets_on_is_given_up_and_what_it_sent_stays(server, fetch, tmp_path):
    server.faults[FILE] = ["cut", *["500"] * 3]
    with pytest.raises(DownloadError, match=r"1 of 6 file\(s\)(.|\n)*S001R04.edf(.|\n)*500"):
        fetch()
    assert (tmp_path / "raw" / f"{FILE}.part").stat().st_size == 20_000
    assert whole(fetch(), server)
    assert server.sent[FILE] == 40_000 and len(server.gets("S002/S002R04.edf")) == 1


def test_range_that_is_ignored_begins_anew_and_ends(server, fetch):
    server.faults[FILE] = ["cut", "whole"]
    assert whole(fetch(), server)
    assert server.sent[FILE] == 60_000


def test_another_range_than_was_asked_for_is_not_taken(server, fetch):
    server.faults[FILE] = ["cut", "elsewhere"]
    assert whole(fetch(), server)


@pytest.mark.parametrize("marked", [True, False])
def test_a_file_that_changes_between_two_tries_is_never_mixed(server, fetch, tmp_path, marked):
    server.etags = server.dates = marked
    old = server.files[FILE]
    server.files[FILE] = bytes(40_000)  # an older one than the list's, cut in the middle
    server.faults[FILE] = ["cut", "500*"]
    with pytest.raises(DownloadError, match="S001R04"):
        fetch()
    server.files[FILE], server.faults = old, {}
    assert whole(fetch(), server)
    assert not list((tmp_path / "raw").rglob("*.part"))


def test_a_server_that_takes_no_condition_is_seen_through_by_the_version(server, fetch):
    old = server.files[FILE]
    server.files[FILE] = bytes(40_000)
    server.faults[FILE] = ["cut", "500*"]
    with pytest.raises(DownloadError, match="500"):
        fetch()
    server.files[FILE] = old
    server.faults[FILE] = ["unconditional", "short"]  # of the two wrong sums none is the mixture's
    assert whole(fetch(), server)


def test_a_file_that_is_shorter_than_its_part_on_the_second_start(server, fetch):
    server.faults[FILE] = ["cut", "500*"]
    with pytest.raises(DownloadError, match="500"):
        fetch()
    right, server.faults = server.files[FILE], {}
    server.files[FILE] = right[:15_000]
    with pytest.raises(DownloadError, match="fetched twice, 15,000 bytes"):
        fetch()
    server.files[FILE] = right
    assert whole(fetch(), server)


def test_a_length_that_is_too_short_names_the_file(server, fetch, tmp_path):
    server.faults[FILE] = ["short*"]
    with pytest.raises(DownloadError, match=r"S001R04.edf: fetched twice, 39,900 bytes with SHA"):
        fetch()
    assert not (tmp_path / "raw" / FILE).exists()
    assert not (tmp_path / "raw" / f"{FILE}.part").exists()
    server.faults = {}
    assert whole(fetch(), server)


def test_a_length_that_is_too_long_is_seen_through_or_names_the_file(server, fetch, tmp_path):
    server.faults[FILE] = ["long*"]  # asked for the rest, the server says that there is none
    assert whole(fetch(subjects=("S001",)), server, WANTED[:4])
    server.faults[other := "S002/S002R04.edf"] = ["long whole*"]
    with pytest.raises(DownloadError, match=rf"{other}: "):
        fetch()
    assert not (tmp_path / "raw" / other).exists()


def test_an_answer_without_end_is_ended(server, fetch, tmp_path, monkeypatch):
    server.faults[FILE] = ["endless*"]
    with pytest.raises(DownloadError, match="more than the 40,000 bytes that it may have"):
        fetch()
    server.heads = False
    monkeypatch.setattr(file_server, "UNSTATED_LIMIT", 50_000)
    with pytest.raises(DownloadError, match="more than the 50,000 bytes"):
        fetch()
    assert not list((tmp_path / "raw").rglob("*.part"))


def test_a_wrong_sum_is_tried_once_more_and_then_named(server, fetch, tmp_path):
    right = server.files[FILE]
    server.files[FILE] = right[::-1]
    with pytest.raises(DownloadError, match=r"5 are fetched(.|\n)*S001R04.edf: fetched twice"):
        fetch()
    assert len(server.gets(FILE)) == 2 and not (tmp_path / "raw" / FILE).exists()
    server.files[FILE] = right
    assert whole(fetch(), server)


def test_a_server_that_asks_for_patience_gets_it_for_all_files(server, fetch, capsys):
    server.faults[FILE] = ["429 Retry-After 1"]
    begun = time.monotonic()
    assert whole(fetch(connections=1), server)
    assert time.monotonic() - begun >= 1
    assert "429 (Too Many Requests), and wants to be left alone for 1 s" in capsys.readouterr().err


def test_more_patience_than_may_be_asked_for_ends_the_download(server, fetch):
    server.faults[FILE] = ["503 Retry-After 3600"]
    with pytest.raises(DownloadError, match="left alone for 3,600 s"):
        fetch()


@pytest.mark.parametrize("said", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
def test_a_retry_after_that_is_past_or_no_time_is_a_plain_pause(server, fetch, said):
    server.faults[FILE] = [f"503 Retry-After {said}"]
    assert whole(fetch(), server)


def test_what_is_not_there_is_named_and_does_not_stop_the_others(server, fetch, tmp_path):
    del server.files[FILE]
    with pytest.raises(DownloadError, match=r"S001R04.edf: the server answered 404") as caught:
        fetch()
    assert "5 are fetched and verified and stay" in str(caught.value)
    assert len(server.gets(FILE)) == 1  # asked again for nothing


def test_a_server_that_is_gone_is_not_asked_for_every_file(server, fetch):
    server.files |= {f"S{n:03d}/S{n:03d}R04.edf": bytes([n]) * 100 for n in range(3, 60)}
    server.list_anew()
    server.faults = {name: ["500*"] for name in server.files if name.endswith("edf")}
    with pytest.raises(DownloadError, match=r"not tried \(the server no longer answers\)"):
        fetch(connections=2)
    assert len({method[1] for method in server.asked if method[0] == "GET"}) < 12


def test_no_server_at_all(tmp_path):
    settings = DownloadSettings(mirror="http://127.0.0.1:9", tries=2, pause_s=0.001)
    with pytest.raises(
        DownloadError, match=r"no connection: Conn.* could not be had: check the net"
    ):
        download(PhysionetMi, tmp_path / "raw", settings)
    assert not (tmp_path / "raw" / "SHA256SUMS.txt").exists()


def test_packed_answers_are_refused(server, fetch):
    server.faults[FILE] = ["packed*"]
    with pytest.raises(DownloadError, match="packed with gzip though it was asked for as it is"):
        fetch()


def test_sizes_are_no_condition(server, fetch, capsys):
    server.heads = False
    assert whole(fetch(), server)
    assert "6 of unstated size" in capsys.readouterr().out


def test_a_wrong_file_is_never_overwritten_without_being_asked(server, fetch, tmp_path):
    path = tmp_path / "raw" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"another content than the list says: S001/S001R04"):
        fetch()
    assert path.read_bytes() == b"mine" and not server.gets()
    server.faults[FILE] = ["500*"]
    with pytest.raises(DownloadError):
        fetch(replace_wrong=True)
    assert path.read_bytes() == b"mine"  # until the right one is there
    server.faults = {}
    assert whole(fetch(replace_wrong=True), server)


def test_a_file_that_comes_meanwhile_is_not_overwritten(server, fetch, tmp_path, monkeypatch):
    path = tmp_path / "raw" / FILE

    def hashed(part: Path) -> tuple[str, int]:
        if part.name.startswith(path.name):
            path.write_bytes(b"mine")
        return original(part)

    original = file_server.sha256_on_disk
    monkeypatch.setattr(file_server, "sha256_on_disk", hashed)
    with pytest.raises(DownloadError, match="came there while it was fetched"):
        fetch()
    assert path.read_bytes() == b"mine"


def test_a_finished_file_that_was_touched_is_hashed_again(server, fetch, tmp_path):
    folder = fetch()
    (folder / FILE).write_bytes(bytes(40_000))
    with pytest.raises(DownloadError, match="another content"):
        fetch()


def test_a_list_of_other_files_is_said(server, fetch):
    folder = fetch(subjects=("S001",))
    server.files["S002/S002R04.edf"] += b"x"
    server.list_anew()
    with pytest.raises(DownloadError, match=r"SHA256SUMS.txt: is of other files .*S002/S002R04"):
        fetch()
    (folder / "SHA256SUMS.txt").unlink()
    assert whole(fetch(), server)


def test_a_list_that_lacks_recordings_is_refused(server, fetch, tmp_path):
    lines = server.files["SHA256SUMS.txt"].decode().splitlines()
    kept = [line for line in lines if "S002R06.edf" not in line]
    server.files["SHA256SUMS.txt"] = "\n".join(kept).encode()
    with pytest.raises(DownloadError, match=r"RECORDS: lists 1 .* S002/S002R06.edf is the first"):
        fetch()
    assert not server.gets()


@pytest.mark.parametrize(
    "name", ["../evil.edf", "/tmp/evil.edf", "S001/../../evil", "C:/evil", "S001\\..\\evil"]
)
def test_names_that_lead_out_of_the_folder_are_refused(server, fetch, tmp_path, name):
    server.files["SHA256SUMS.txt"] += f"{'0' * 64} {name}\n".encode()
    with pytest.raises(DownloadError, match="nothing of this list is fetched"):
        fetch()
    assert not server.gets() and [path.name for path in tmp_path.rglob("*evil*")] == []


def test_links_that_lead_out_of_the_folder_are_refused(server, fetch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "S001").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DownloadError, match="a link that leads out of"):
        fetch()
    (tmp_path / "raw" / "S001").unlink()
    (tmp_path / "raw" / "S001").mkdir()
    (tmp_path / "raw" / f"{FILE}.part").symlink_to(tmp_path / "elsewhere" / "file")
    with pytest.raises(DownloadError, match="expected a file or nothing"):
        fetch()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_too_little_room_is_said_before_anything_is_fetched(server, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(download_plan, "_free", lambda folder: 10**6)
    with pytest.raises(DownloadError, match=r"160 kB are to be fetched, its disk has 1.00 MB free"):
        fetch()
    assert not server.gets() and not list((tmp_path / "raw").glob("S*"))


def test_a_disk_that_fills_up_ends_the_download_and_keeps_what_came(
    server, fetch, tmp_path, monkeypatch
):
    def full(path: Path) -> tuple[str, int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    original = file_server.sha256_on_disk
    monkeypatch.setattr(file_server, "sha256_on_disk", full)
    with pytest.raises(WriteError, match="no space left"):
        fetch(connections=1)
    assert (tmp_path / "raw" / "LICENSE.txt.part").stat().st_size == 42
    monkeypatch.setattr(file_server, "sha256_on_disk", original)
    assert whole(fetch(), server)
    assert server.sent["LICENSE.txt"] == 42


def test_one_download_at_a_folder(server, fetch, tmp_path):
    with held(tmp_path / "raw" / ".download.lock"), pytest.raises(
        DownloadError, match="another process is downloading into it now"
    ):  # fmt: skip
        fetch()


def test_a_dry_run_writes_nothing(server, fetch, tmp_path, capsys):
    fetch(dry_run=True)
    assert not (tmp_path / "raw").exists() and not server.gets()
    assert f"{FILE}\t40,000 bytes\tfetch" in capsys.readouterr().out
    path = tmp_path / "raw" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    fetch(dry_run=True)
    assert f"{FILE}\thas another content" in capsys.readouterr().out
    assert [one.name for one in path.parent.parent.iterdir()] == ["S001"]


def test_folders_in_which_files_would_lie_twice_or_beside_simulated_ones(fetch, tmp_path):
    place = tmp_path / "raw" / "physionet.org" / "files" / "eegmmidb" / "1.0.0"
    place.mkdir(parents=True)
    with pytest.raises(DownloadError, match=rf"Go on there: --raw {place}"):
        fetch()
    place.rename(tmp_path / "moved")
    (tmp_path / "raw" / "SIMULATED").write_text("{}")
    with pytest.raises(DownloadError, match="holds simulated recordings"):
        fetch()


def test_corpora_that_are_not_open_say_whom_to_ask(tmp_path):
    with pytest.raises(ValueError, match="without asking its keepers: https://"):
        download(Tuab, tmp_path)


def test_an_interruption_keeps_every_byte(server, fetch, tmp_path, monkeypatch):
    class Interrupted(downloading.Bar):
        def update(self, n: float | None = 1) -> bool | None:
            if n and n > 1000:
                raise KeyboardInterrupt
            return super().update(n)

    original = downloading.Bar
    monkeypatch.setattr(downloading, "Bar", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(connections=1)
    monkeypatch.setattr(downloading, "Bar", original)
    (part,) = (tmp_path / "raw").rglob("*.edf.part")
    name = part.relative_to(tmp_path / "raw").as_posix().removesuffix(".part")
    kept = part.stat().st_size
    assert 0 < kept <= 40_000 and whole(fetch(), server)
    assert kept == 40_000 or server.gets(name)[-1][0] == f"bytes={kept}-"


def test_a_server_that_goes_while_sizes_are_asked_for(server, fetch):
    server.heads = None
    with pytest.raises(DownloadError, match="500"):
        fetch(tries=1)
    assert len([one for one in server.asked if one[0] == "HEAD"]) <= 6 and not server.gets()


def test_a_folder_with_another_databases_list(fetch, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "SHA256SUMS.txt").write_text(f"{'0' * 64} chb01/chb01_01.edf\n")
    with pytest.raises(DownloadError, match="is of another database than eegmmidb"):
        fetch()


def test_names_that_not_every_system_takes_matter_only_where_they_are_fetched(server, fetch):
    server.files["S001/a:b"] = b"x"
    server.list_anew()
    assert whole(fetch(), server)
    with pytest.raises(DownloadError, match="not every system takes"):
        fetch(all_files=True)
