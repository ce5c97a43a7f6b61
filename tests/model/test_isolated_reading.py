"""A file that crashes its reader, fills the memory or never ends is an error like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import crashing_reader
import numpy as np
import psutil
import pytest
from eeglab_sets import signal as signal_uv
from eeglab_sets import write_set
from places import ROOT

from modeling_mteeg.app.calls import look_at_upload
from modeling_mteeg.app.session import Session
from modeling_mteeg.dataset_scripts.opening import open_recording as open_for_preparation
from modeling_mteeg.model import isolated_reading
from modeling_mteeg.model.feature_extraction_mteeg import MteegFeatureExtractor
from modeling_mteeg.model.mat_files import mat_shapes, mat_variable
from modeling_mteeg.model.recording_files import open_file
from modeling_mteeg.model.recording_headers import RecordingError
from modeling_mteeg.model.recording_sources import open_source

pytest.importorskip("mne")
DAMAGED = "The file is damaged: export or download it again."
LINUX = sys.platform.startswith("linux")


@pytest.fixture
def exchange(tmp_path, monkeypatch):
    """A new reader whose folders lie in one of their own, which is given; nothing stays of it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    shared = isolated_reading._Shared()
    monkeypatch.setattr(isolated_reading, "_shared", shared)
    yield folder
    shared.end()
    assert not list(folder.iterdir())
    assert not [child for child in psutil.Process().children()
                if child.status() == psutil.STATUS_ZOMBIE]  # fmt: skip


@pytest.fixture
def crashing(exchange, monkeypatch):
    """A reader that ends as a file's name says."""
    monkeypatch.setattr(isolated_reading, "PROGRAM", Path(crashing_reader.__file__))
    return exchange


def named(folder: Path, name: str) -> Path:
    return write_set(folder / f"{name}.set", "in-struct")


def pid() -> int:
    return isolated_reading._shared.reader._process.pid


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("segfault", r"crashed \(SIGSEGV\)"),
        ("abort", r"crashed \(SIGABRT\)"),
        ("exit", r"crashed \(exit status 3\)"),
        ("silent-exit", r"crashed \(exit status 0\)"),
    ],
)
def test_a_crash_names_file_and_signal_and_the_next_file_is_read(name, words, crashing, tmp_path):
    path, good = named(tmp_path, name), named(tmp_path, "good")
    with pytest.raises(ValueError, match=f"{words} on it. {DAMAGED}") as error:
        open_file(path)
    assert str(path) in str(error.value)
    assert isolated_reading._shared.reader is None
    assert open_file(good)[0].n_times == signal_uv().shape[1]


def test_a_file_that_hangs_its_reader_is_given_up(crashing, tmp_path, monkeypatch):
    path, good = named(tmp_path, "hang"), named(tmp_path, "good")
    open_file(good)
    first = pid()
    monkeypatch.setattr(isolated_reading, "LEAST_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(ValueError, match=f"hang.set: the reader was not done after .* {DAMAGED}"):
        open_file(path)
    assert time.monotonic() - start < 5
    monkeypatch.undo()
    assert not psutil.pid_exists(first)


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="the system does not limit the memory of a process")
def test_a_file_that_fills_the_memory_is_given_up(crashing, tmp_path):
    path, good = named(tmp_path, "greedy"), named(tmp_path, "good")
    words = r"greedy.set: the reader needed more than the 1 GiB of memory that a file of .* MB may"
    with pytest.raises(ValueError, match=words):
        open_file(path)
    open_file(good)


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="the system does not limit the memory of a process")
def test_a_small_file_that_unpacks_to_gigabytes_is_given_up(exchange, tmp_path):
    import zlib

    from scipy.io import savemat

    savemat(tmp_path / "plain.set", {"data": np.zeros((1, 8))}, appendmat=False)
    head = (tmp_path / "plain.set").read_bytes()[:128]
    rows, count = 1, 2**28  # zeros of 2 GiB
    tags = [
        np.array(values, "<u4").tobytes()
        for values in (
            [14, 48 + 8 + 8 * count],
            [6, 8, 6, 0],
            [5, 8, rows, count],
            [1, 4],
            [9, 8 * count],
        )
    ]
    packer, zeros = zlib.compressobj(), zlib.compressobj(wbits=-15)
    packed = packer.compress(b"".join(tags[:4]) + b"data\0\0\0\0" + tags[4])
    packed += packer.flush(zlib.Z_FULL_FLUSH)
    packed += 2**11 * (zeros.compress(bytes(2**20)) + zeros.flush(zlib.Z_FULL_FLUSH))
    bomb = tmp_path / "bomb.set"
    bomb.write_bytes(head + np.array([15, len(packed)], "<u4").tobytes() + packed)
    assert bomb.stat().st_size < 4e6
    with pytest.raises(ValueError, match=r"bomb.set.*more than the 1 GiB"):
        open_file(bomb, preload=True)


def test_a_process_that_an_earlier_file_left_broken_condemns_no_other(crashing, tmp_path):
    open_file(named(tmp_path, "good"))
    first = pid()
    assert open_file(named(tmp_path, "worn"))[0].n_times and pid() != first
    before = pid()
    open_file(named(tmp_path, "good"))
    assert pid() == before  # and lives on


def test_what_a_library_prints_is_no_answer(crashing, tmp_path, capfd):
    assert open_file(named(tmp_path, "noisy"))[0].n_times
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_answer_is_not_taken_for_that_of_the_next_file(crashing, tmp_path):
    hanging, good = named(tmp_path, "hang"), named(tmp_path, "good")

    def ctrl_c(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ctrl_c)
    try:
        open_file(good)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            open_file(hanging)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert open_file(good)[0].n_times


@pytest.mark.slow
def test_threads_share_it(crashing, tmp_path):
    numbers = range(6)
    good, bad = named(tmp_path, "good"), named(tmp_path, "segfault")
    expected, found = open_file(good)[0].get_data(), {}

    def work(number: int) -> None:
        try:
            found[number] = open_file(good if number % 3 else bad)[0].get_data()
        except ValueError as error:
            found[number] = str(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in numbers:
        if number % 3 == 0:
            assert "SIGSEGV" in found[number]
        else:
            assert np.array_equal(found[number], expected)


@pytest.mark.slow
def test_wherever_a_file_is_opened_its_reader_may_crash(crashing, tmp_path):
    path = named(tmp_path, "segfault")
    words = r"segfault.set: the reader crashed \(SIGSEGV\)"
    with pytest.raises(ValueError, match=words):
        open_source(path)
    with pytest.raises(ValueError, match=words):
        MteegFeatureExtractor()(path)
    for use in ("labelled", "unlabelled"):
        with pytest.raises(RecordingError, match=words):
            open_for_preparation(path, use)


@pytest.mark.slow
def test_an_upload_that_crashes_its_reader_is_a_box_on_the_page(crashing, tmp_path):
    class Served:
        tasks, base = {}, "owner/base"

    look = lambda kind, chosen: look_at_upload(  # noqa: E731
        Served, Session(), [str(named(tmp_path, kind))], chosen
    )
    box, fits, chosen = look("segfault", ["one"])
    assert "crashed (SIGSEGV)" in box and "damaged" in box and chosen == ["one"] and not fits
    assert str(tmp_path) not in box
    assert "100 Hz" in look("good", [])[0]


@pytest.mark.slow
def test_flipped_bits_are_refused_or_read_and_end_nothing(exchange, tmp_path):
    """With SciPy itself: one in forty such files crashes version 1.17."""
    path = write_set(tmp_path / "a.set", "beside")
    content = path.read_bytes()
    crashed = [(380, 3), (2008, 2), (2313, 5), (2812, 2), (3881, 0), (6228, 4)]
    some = np.random.default_rng(3).integers((128, 0), (len(content), 8), (40, 2))
    for place, bit in [*crashed, *some.tolist()]:
        broken = bytearray(content)
        broken[place] ^= 1 << bit
        path.write_bytes(broken)
        try:
            open_file(path, preload=False)[0].get_data()
        except ValueError as error:
            assert "a.set" in str(error)
    path.write_bytes(content)
    assert open_file(path)[0].n_times


def test_variables_of_matlab_files(exchange, tmp_path):
    from scipy.io import savemat

    path, signal_ = tmp_path / "a.mat", np.arange(12.0).reshape(3, 4)
    savemat(path, {"one_eeg1": signal_, "text": "word"})
    assert mat_shapes(path) == {"one_eeg1": (3, 4), "text": (1,)}
    assert np.array_equal(mat_variable(path, "one_eeg1"), signal_)
    with pytest.raises(ValueError, match="expected numbers"):
        mat_variable(path, "text")
    with pytest.raises(FileNotFoundError):
        mat_shapes(tmp_path / "none.mat")


# The end of the program ---------------------------------------------------------------------------

PROGRAM = """
import importlib, os, sys, time, types
package = types.ModuleType("light")
package.__path__ = [{model!r}]
sys.modules["light"] = package
reading = importlib.import_module("light.isolated_reading")
def ask():
    with reading.exchange_folder() as folder:
        return reading.ask_reader("mat_shapes", {file!r}, folder)["shapes"]
assert ask()
print(reading._shared.reader._process.pid, flush=True)
"""
FORKS = """
first = reading._shared.reader._process.pid
child = os.fork()
if not child:
    ok = reading._shared.reader is None and ask() and reading._shared.reader._process.pid != first
    reading._shared.end()
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert ask() and reading._shared.reader._process.pid == first
"""


BUSY = """
from pathlib import Path
reading._shared.close()
reading.PROGRAM = Path({program!r})
threading = importlib.import_module("threading")
def slowly():
    with reading.exchange_folder() as folder:
        reading.ask_reader("clean_set", {file!r}, folder, whole=True)
threading.Thread(target=slowly, daemon=True).start()
while not (reading._shared.reader and reading._shared.lock.locked()):
    time.sleep(0.01)
time.sleep(0.5)
print(reading._shared.reader._process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["end", "error", "fork", "SIGTERM", "SIGKILL", "SIGKILL busy"])
def test_nothing_is_left_of_it_when_a_program_ends(way, tmp_path):
    if way == "fork" and not hasattr(os, "fork"):
        pytest.skip("no fork")
    folder = tmp_path / "temporary"
    folder.mkdir()
    text = PROGRAM.format(
        model=str(ROOT / "modeling_mteeg/model"), file=str(named(tmp_path, "good"))
    )
    way, _, busy = way.partition(" ")
    text += {"error": "1 / 0", "fork": FORKS}.get(way, "time.sleep(60)" if way[0] == "S" else "")
    if busy:
        slow = str(named(tmp_path, "slow"))
        text = text.removesuffix("time.sleep(60)")
        text += BUSY.format(program=crashing_reader.__file__, file=slow)
    program = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    reader = [int(program.stdout.readline()) for _ in range(2 if busy else 1)][-1]
    if way.startswith("SIG"):
        program.send_signal(getattr(signal, way))
    _, errors = program.communicate(timeout=60)
    assert program.returncode == {"end": 0, "fork": 0, "error": 1}.get(way, program.returncode)
    assert ("ZeroDivisionError" in errors.decode()) == (way == "error"), errors.decode()
    end = time.monotonic() + 20
    while (gone := psutil.pid_exists(reader) or list(folder.iterdir())) and time.monotonic() < end:
        time.sleep(0.05)
    assert not gone
