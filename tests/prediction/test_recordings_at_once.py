"""mteeg predict and embed with --num-proc: several recordings at once, the same files."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_bases import save_base, save_recordings

from modeling_mteeg import cli
from modeling_mteeg._shown_text import Shown, hushed
from modeling_mteeg.prediction.many_recordings import Outcome
from modeling_mteeg.prediction.recordings_at_once import make_at_once
from modeling_mteeg.prediction.result_files import plan_targets
from modeling_mteeg.settings.worker_processes import WorkerDied, run_each

pytestmark = pytest.mark.slow  # every process imports torch and mne


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Four recordings, one of them damaged."""
    folder = tmp_path_factory.mktemp("recordings")
    first, *_ = save_recordings(folder)
    paths = [folder / f"night-{number}.edf" for number in range(4)]
    for path in paths:
        shutil.copy(first, path)
    paths[1].write_bytes(first.read_bytes()[:100])
    return paths


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def command(name, base, recordings, out, *more):
    arguments = [name, *recordings, "--base", base, "--task", "fists", "--out", out, *more]
    return list(map(str, arguments))


@pytest.mark.parametrize("name", ["predict", "embed"])
def test_files_are_those_of_one_process(base, recordings, tmp_path, capsys, name):
    said, found = [], []
    for number in (1, 2):
        out = tmp_path / str(number)
        assert cli.main(command(name, base, recordings, out, "--num-proc", number)) == 2
        printed = capsys.readouterr()
        assert "night-1.edf" in printed.err and "1 of 4 results" in printed.err
        said.append(sorted(line.replace(str(out), "") for line in printed.out.splitlines()))
        found.append(files_in(out))
    assert found[0] == found[1] and len(found[0]) == 6
    assert said[0] == said[1]
    kept = command(name, base, recordings, tmp_path / "2", "--num-proc", 2)
    assert cli.main(kept) == 2
    assert capsys.readouterr().out.count("skipped") == 3
    assert files_in(tmp_path / "2") == found[0]


def _killed(path: str):
    def work(targets, tell):
        if targets[0].recording.name == "night-2.edf":
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    return work


def _full(path: str):
    from modeling_mteeg.settings.disk_faults import writing

    def work(targets, tell):
        with writing(path):
            raise OSError(28, "No space left on device")

    return work


def test_a_process_that_is_killed_is_said(recordings, tmp_path):
    targets = plan_targets(recordings[2:3], ["fists"], tmp_path)
    with pytest.raises(WorkerDied, match=r"ended without a word.*--num-proc"):
        make_at_once(targets, _killed, ("",), 2, False, print)


def test_a_full_disk_ends_all_of_it(recordings, tmp_path):
    targets = plan_targets(recordings, ["fists"], tmp_path)
    with pytest.raises(OSError, match=r"x\.tsv: could not be written: .*(full|room|space)"):
        make_at_once(targets, _full, (str(tmp_path / "x.tsv"),), 2, False, print)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_finished(base, recordings, tmp_path, number):
    many = [tmp_path / f"many-{index}.edf" for index in range(40)]
    for path in many:
        path.symlink_to(recordings[0])
    out = tmp_path / "out"
    program = "import sys; from modeling_mteeg.cli import main; sys.exit(main(sys.argv[1:]))"
    running = subprocess.Popen(
        [sys.executable, "-c", program, *command("predict", base, many, out, "--num-proc", "2")],
        stderr=subprocess.PIPE, text=True,
        # A shell's command in the background ignores Ctrl-C, and so do all it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not list(out.glob("*.tsv")) and running.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        running.send_signal(number)
        said = running.communicate(timeout=60)[1]
    finally:
        running.kill()  # its processes end with it
    assert running.returncode == 128 + number, said
    assert "results that were finished are there" in said and "Traceback" not in said
    assert not list(out.glob(".part*"))
    finished = {path.name: path.read_bytes() for path in out.glob("*.tsv")}
    assert 0 < len(finished) < len(many)
    assert cli.main(command("predict", base, many, out, "--num-proc", 2)) == 0
    assert len(list(out.glob("*.tsv"))) == len(many)
    assert finished.items() <= {p.name: p.read_bytes() for p in out.glob("*.tsv")}.items()


class _Sends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def _ended_in_a_destructor(folder: str):
    def work(targets, tell):
        try:
            sends = _Sends()
            del sends
            time.sleep(60)
        finally:
            Path(folder, "tidied").touch()

    return work


def test_an_end_in_a_destructor_is_not_lost(recordings, tmp_path):
    targets = plan_targets(recordings[2:3], ["fists"], tmp_path)
    begun = time.monotonic()
    with pytest.raises(WorkerDied):
        make_at_once(targets, _ended_in_a_destructor, (str(tmp_path),), 2, False, print)
    assert (tmp_path / "tidied").exists() and time.monotonic() - begun < 55


def test_less_than_one_process_is_refused(base, recordings, tmp_path, capsys):
    assert cli.main(command("predict", base, recordings, tmp_path, "--num-proc", 0)) == 2
    assert "--num-proc: expected 1 or more, found 0" in capsys.readouterr().err


def _deaf(path: str):
    def work(targets, tell):
        with open(path, "a") as file:
            print(targets[0].recording.name, file=file)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except SystemExit:  # as a library may swallow it
            return Outcome()

    return work


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_process_ends_even_where_its_exit_was_swallowed(recordings, tmp_path):
    targets, begun = plan_targets(recordings, ["fists"], tmp_path), tmp_path / "begun"
    with pytest.raises(WorkerDied):
        make_at_once(targets, _deaf, (str(begun),), 1, False, print)
    assert begun.read_text().splitlines() == ["night-0.edf"]


def _unready(path: str):
    raise ValueError(f"the base in {path} cannot be loaded")


def test_what_keeps_a_process_from_its_work_is_said(recordings, tmp_path, capfd):
    targets = plan_targets(recordings, ["fists"], tmp_path)
    with pytest.raises(ValueError, match="the base in here cannot be loaded") as raised:
        make_at_once(targets, _unready, ("here",), 2, False, print)
    assert not isinstance(raised.value, WorkerDied)
    assert "Traceback" not in capfd.readouterr().err


def test_other_processes_of_the_program_live_on(recordings, tmp_path):
    theirs = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    theirs.start()
    running = run_each(time.sleep, [(0,), (60,)], 2)
    try:
        next(running)
        running.close()
        assert theirs.exitcode is None
    finally:
        theirs.kill()
    theirs.join()
    assert theirs.exitcode == -signal.SIGKILL


def _streams(path: str):
    def work(targets, tell):
        tell(f"{isinstance(sys.stderr, Shown)} {sys.stdout.hushed} {sys.stderr.hushed}")
        return Outcome()

    return work


@pytest.mark.parametrize("quiet", [False, True])
def test_processes_write_as_this_one_does(recordings, tmp_path, monkeypatch, quiet):
    targets, told = plan_targets(recordings[:1], ["fists"], tmp_path), []
    monkeypatch.setattr(sys, "stderr", Shown(sys.stderr))
    with hushed([sys.stderr] if quiet else []):
        make_at_once(targets, _streams, ("",), 1, False, told.append)
    assert told == [f"True False {quiet}"]
