"""``--download`` of every open corpus: what is chosen, what is printed, what goes together."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from physionet_server import PhysioNetServer, motor_imagery
from places import ROOT
from range_server import running
from tiny_runs import write_runs

from modeling_mteeg._clone import as_typed
from modeling_mteeg.dataset_scripts.chb_mit import ChbMit
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.downloads.download_record import DownloadRecord
from modeling_mteeg.dataset_scripts.downloads.download_settings import (
    DownloadError,
    DownloadSettings,
)
from modeling_mteeg.dataset_scripts.downloads.file_list import (
    check_names,
    check_records,
    leads_out,
    read_sums,
    unfit,
)
from modeling_mteeg.dataset_scripts.eegmat import Eegmat
from modeling_mteeg.dataset_scripts.physionet_mi import RUN_LABELS, PhysionetMi
from modeling_mteeg.dataset_scripts.sleep_edf import SleepEdf
from modeling_mteeg.dataset_scripts.tuab import Tuab

SUM = "a" * 64
LAYOUTS = {
    PhysionetMi: (
        "eegmmidb/1.0.0",
        ["S001/S001R04.edf", "S109/S109R14.edf", "RECORDS"],
        ["S001/S001R03.edf", "S001/S001R04.edf.event", "wfdbcal", "64_channel_sharbrough.pdf"],
    ),
    SleepEdf: (
        "sleep-edfx/1.0.0",
        ["sleep-cassette/SC4001E0-PSG.edf", "sleep-cassette/SC4001EC-Hypnogram.edf",
         "sleep-cassette/SC4822G0-PSG.edf", "RECORDS", "SC-subjects.xls"],
        ["sleep-telemetry/ST7011J0-PSG.edf", "sleep-telemetry/ST7011JP-Hypnogram.edf"],
    ),
    ChbMit: (
        "chbmit/1.0.0",
        ["chb01/chb01-summary.txt", "chb01/chb01_03.edf", "chb02/chb02_16+.edf",
         "chb17/chb17a_03.edf", "chb21/chb21_01.edf", "chb24/chb24_01.edf", "SUBJECT-INFO"],
        ["chb01/chb01_03.edf.seizures", "shoeb-icml-2010.pdf"],
    ),
    Eegmat: (
        "eegmat/1.0.0",
        ["Subject00_1.edf", "Subject35_2.edf", "subject-info.csv", "LICENSE.txt"],
        ["picture.png"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_each_open_corpus_is_fetched_by_one_command(corpus, tmp_path, capsys):
    folder, wanted, others = LAYOUTS[corpus]
    files = {name: hashlib.sha256(name.encode()).digest() for name in [*wanted, *others]}
    files.pop("RECORDS", None)
    with running(PhysioNetServer(files, folder)) as server:
        command = ["--download", "--raw", str(tmp_path / "raw"), "--mirror", f"{server.url}/"]
        assert run_command(corpus, command) == 0
        assert run_command(corpus, [*command, "--all-files", "--dry-run"]) == 0
    there = {path.relative_to(tmp_path / "raw").as_posix()
             for path in (tmp_path / "raw").rglob("*") if path.is_file()}  # fmt: skip
    assert {*wanted} <= there and not {*others} & there
    said = capsys.readouterr().out
    assert corpus.card.license in said and all(text in said for text in corpus.references)
    module = corpus.card.name.replace("-", "_")
    assert f"Next: {as_typed(f'python -m dataset_scripts.{module}')} --raw" in said
    assert f"{others[0]}\t32 bytes\tfetch" in said


def test_the_runs_that_are_fetched_are_those_that_are_read():
    runs = range(1, 15)
    fetched = {run for run in runs if PhysionetMi.database.reads(f"S007/S007R{run:02d}.edf")}
    assert fetched == {*RUN_LABELS}
    assert not PhysionetMi.database.reads("S001/S002R04.edf")


@pytest.mark.parametrize(
    ("corpus", "words", "names"),
    [
        (PhysionetMi, ["1-3,12"], ("S001", "S002", "S003", "S012")),
        (PhysionetMi, ["S004", "4", " 5 , 5"], ("S004", "S005")),
        (SleepEdf, ["0,82"], ("SC400", "SC482")),
        (ChbMit, ["2,21"], ("chb02", "chb01")),  # case 21 is the girl of case 1
        (Eegmat, ["0-1", "07"], ("00", "01", "07")),
    ],
)
def test_subjects_by_number_range_and_name(corpus, words, names):
    assert corpus.database.subject_names(words) == names


def test_a_subject_is_all_that_is_of_the_person():
    names = LAYOUTS[ChbMit][1]
    chosen = ChbMit.database.choose(names, ChbMit.database.subject_names(["1"]))
    assert [name for name in chosen if "/" in name] == [
        "chb01/chb01-summary.txt", "chb01/chb01_03.edf", "chb21/chb21_01.edf"
    ]  # fmt: skip


def test_subjects_that_are_not_there_are_named_with_those_that_are():
    names = [f"sleep-cassette/SC4{number:02d}1E0-PSG.edf" for number in (0, 1, 3)]
    with pytest.raises(ValueError, match=r"SC402. It has 3 subjects, SC400 to SC403, without 2\."):
        SleepEdf.database.choose(names, ["SC400", "SC402"])
    with pytest.raises(ValueError, match="another database's list"):
        PhysionetMi.database.choose(names)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--raw", "x"], "arguments are required: --out"),
        (["--raw", "x", "--out", "y", "--mirror", "http://z"], "--mirror: only with --download"),
        (["--raw", "x", "--out", "y", "--dry-run"], "--dry-run: only with --download"),
        (["--raw", "x", "--download", "--subjects", "9-1"], "the lower number of a range first"),
    ],
)
def test_options_that_do_not_go_together(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        run_command(PhysionetMi, words)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_corpora_that_are_not_open_have_no_download(capsys):
    with pytest.raises(SystemExit):
        run_command(Tuab, ["--raw", "x", "--out", "y", "--download"])
    assert "unknown option --download" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given", [{"mirror": "ftp://x"}, {"mirror": "physionet.org"}, {"mirror": "http://me:secret@x"},
              {"connections": 0}, {"connections": 99}, {"stall_s": 0}, {"tries": 0}]
)  # fmt: skip
def test_settings_that_cannot_be(given):
    with pytest.raises(ValueError, match=f"{next(iter(given))}: expected"):
        DownloadSettings(**given)


def test_the_database_of_the_documents_example_is_that_of_eegmat():
    text = (ROOT / "docs" / "downloads.md").read_text("utf-8")
    (code,) = [block.partition("```")[0] for block in text.split("```python\n")[1:]]
    names = {"Corpus": Corpus}
    exec(code, names)
    assert names["MyTask"].database == Eegmat.database


def test_an_error_is_a_sentence_and_a_code(tmp_path, capsys):
    with running(PhysioNetServer({}, "else/where")) as server:
        words = ["--download", "--raw", str(tmp_path / "raw"), "--mirror", server.url]
        assert run_command(PhysionetMi, words) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "SHA256SUMS.txt: the server answered 404" in said


def test_downloaded_and_prepared_by_one_command(tmp_path, capsys):
    raw = write_runs(tmp_path / "simulated")
    files = {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*.edf")}
    with running(PhysioNetServer(files)) as server:
        words = ["--download", "--raw", str(tmp_path / "raw"), "--mirror", server.url]
        words += ["--out", str(tmp_path / "data"), "--subjects", "1-2"]
        assert run_command(PhysionetMi, words) == 0
        assert not server.gets("S001/S001R03.edf")
    assert (tmp_path / "data" / "physionet-mi" / "task.json").is_file()
    assert "Next:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("<html>Sign in</html>", "line 2: expected a SHA-256 sum and a path, found '<html>"),
        (f"{'b' * 64} S001/S001R04.edf", "S001/S001R04.edf appears with two different sums"),
        (f"{SUM} S001/s001r04.EDF", "are one file on many disks"),
        (f"{SUM} S001/S001R04.edf/x", "S001/S001R04.edf is both a file and a folder"),
        (f"{SUM} S001/S001R04.edf.part", "is one that downloads use themselves"),
        (f"{SUM} a\\b", "leads elsewhere; nothing of this list is fetched"),
    ],
)
def test_lists_that_cannot_be_right_are_refused(line, said):
    content = f"{SUM} S001/S001R04.edf\n{line}\n".encode()
    with pytest.raises(DownloadError, match=said):
        check_names(read_sums(content, "http://x"), "http://x")


def test_lists_as_physionet_and_sha256sum_write_them():
    text = f"{SUM} a b.edf\r\n{SUM.upper()}  c.edf\n{SUM} *./d/e+.edf\n\n{SUM} SHA256SUMS.txt\n"
    assert read_sums(text.encode(), "x") == {"a b.edf": SUM, "c.edf": SUM, "d/e+.edf": SUM}
    for content in (b"", b"\n", b"\xff\xfe"):
        with pytest.raises(DownloadError, match="expected"):
            read_sums(content, "x")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/../b", "a//b", "/a", "a/", "C:a", "a\\b", "a\nb", "a\u202eb", "a\0",
             ".download.jsonl", "a/.download", "x" * 300, "nul.", "a:b", "a "]
)  # fmt: skip
def test_names_that_no_download_takes(name):
    assert leads_out(name) or unfit(name)


@pytest.mark.parametrize("name", ["chb02/chb02_16+.edf", "RECORDS", ".hidden", "a b/ü.edf", "a..b"])
def test_names_that_may_be(name):
    assert not leads_out(name) and not unfit(name)


def test_records_that_are_not_wanted_need_no_sum():
    reads = PhysionetMi.database.reads
    check_records(b"S001/S001R04.edf\nS001/S001R03.edf\n", {"S001/S001R04.edf": SUM}, reads, "x")
    with pytest.raises(DownloadError, match="lists 1 recording"):
        check_records(b"S001/S001R04.edf\nS001/S001R06.edf\n", {"S001/S001R04.edf": SUM}, reads, "")


def test_a_record_that_a_kill_tore_is_no_obstacle(tmp_path):
    path = tmp_path / "a"
    path.write_text("a")
    DownloadRecord(tmp_path).note_verified("a", path, SUM)
    with (tmp_path / ".download.jsonl").open("a") as file:
        file.write('[]\n{"name": "b", "begun": 3}\n{"name": "b", "veri')
    record = DownloadRecord(tmp_path)
    assert record.was_verified("a", path, SUM) and not record.was_verified("a", path, "b" * 64)
    record.note_begun("b", {"etag": '"1"'})
    assert DownloadRecord(tmp_path).version("b") == {"etag": '"1"'}
    os.utime(path, ns=(0, 0))
    assert not DownloadRecord(tmp_path).was_verified("a", path, SUM)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_a_signal_says_what_is_kept_and_the_same_command_goes_on(sent, code, said, tmp_path):
    raw, name = tmp_path / "raw", "S001/S001R04.edf"
    with running(PhysioNetServer(motor_imagery(size=400_000))) as server:
        server.faults[name] = ["stall"]
        words = [sys.executable, "-m", "dataset_scripts.physionet_mi", "--download", "--raw", raw,
                 "--mirror", server.url]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            words, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        part, end = Path(f"{raw / name}.part"), time.monotonic() + 300
        while not (part.exists() and part.stat().st_size):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(sent)
        begun = time.monotonic()
        sentence = process.stderr.readline()
        # Not when the stall is over (20 s). Python's own end comes after it and takes seconds.
        assert time.monotonic() - begun < 5
        _, more = process.communicate(timeout=60)
        assert process.returncode == code and more == ""
        assert sentence == (
            f"{said}: finished files and the bytes of unfinished ones (.part) stay, and the same "
            "command goes on from there.\n"
        )
        kept = part.stat().st_size
        subprocess.run(words, env=environment, check=True, timeout=300)
        assert (raw / name).read_bytes() == server.files[name]
        assert server.gets(name)[-1][0] == f"bytes={kept}-"
        server.awake.set()
