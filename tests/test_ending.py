"""How commands end: by signals, closed pipes and full disks, and what they show of foreign names.

The mechanism, by programs that import nothing heavy; whole commands: tests/test_ending_commands.py.
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from places import SUPPORT

from modeling_mteeg import _ending
from modeling_mteeg._shown_text import Shown, shown
from modeling_mteeg.settings import folder_lock
from modeling_mteeg.settings.disk_faults import WriteError, disk_fault, writing
from modeling_mteeg.settings.folder_lock import held, held_each
from modeling_mteeg.settings.plain_json import write_text

PROGRAM = [sys.executable, str(SUPPORT / "ending_program.py")]
KEPT = "the same command goes on"
NAME = "a\x1b[31mb\x9b\u202ec\r\udcff\td"
SAFE = r"a\x1b[31mb\x9b\u202ec\x0d\udcff" + "\td"


def start(*words: str, **options: object) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    options = {"preexec_fn": heard, **options}
    return subprocess.Popen([*PROGRAM, *words], **{**pipes, **options})


def heard() -> None:
    """Signals as in a terminal: who runs the tests in the background ignores some of them."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("sent", "code", "said", "environment"),
    [(signal.SIGINT, 130, "interrupted", {}), (signal.SIGTERM, 143, "ended by SIGTERM", {}),
     (signal.SIGHUP, 129, "ended by SIGHUP (its terminal was closed)", {"AS_COMMAND": "1"})],
)  # fmt: skip
def test_a_signal_ends_a_command_in_a_sentence_after_its_cleaning(sent, code, said, environment):
    process = start("wait", env={**os.environ, **environment})
    assert process.stdout.readline() == "begun\n"
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "cleaned\n", f"{said}: {KEPT}.\n")


@pytest.mark.parametrize("environment", [{}, {"AS_COMMAND": "1"}])
def test_a_signal_in_a_destructor_is_not_lost(environment):
    process = start("destructor", str(int(signal.SIGTERM)), env={**os.environ, **environment})
    out, err = process.communicate(timeout=25)  # less than the program waits for
    assert (process.returncode, out) == (143, "cleaned\n")
    assert err == f"ended by SIGTERM: {KEPT}.\n"


def test_threads_do_not_hold_up_the_end():
    process = start("threads", env={**os.environ, "AS_COMMAND": "1"})
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=50)  # the thread sleeps for 60 s
    assert process.returncode == 143 and "Traceback" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells a child")
def test_a_launcher_that_ends_takes_its_processes_with_it(tmp_path):
    """``accelerate launch`` waits for a process of its own and passes no signal on."""
    launcher = tmp_path / "accelerate"
    launcher.write_text("import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()")
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(launcher), *PROGRAM, "wait"], stdout=write, stderr=write,
        env={**os.environ, "AS_COMMAND": "1"},
    )  # fmt: skip
    os.close(write)
    with open(read) as said:
        assert said.readline() == "begun\n"
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM
        assert said.read() == f"cleaned\nended by SIGTERM: {KEPT}.\n"  # until its end


def test_signals_that_are_ignored_stay_so():
    """As under nohup, and in the background of a script."""
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = start("wait", preexec_fn=ignore)
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("both", [False, True])
def test_a_closed_pipe_is_no_error_and_the_work_goes_on(both):
    read, write = os.pipe()
    process = start("lines", stdout=write, stderr=write if both else subprocess.PIPE)
    os.close(write)
    assert os.read(read, 4) == b"line"
    os.close(read)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and err == (None if both else "all was done\n")


def test_standard_output_on_a_full_disk_is_an_error():
    with open("/dev/full", "w") as full:
        process = start("lines", stdout=full)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert err.startswith("error: <stdout>: there is no space left") and err.count("\n") == 1


def test_foreign_names_reach_no_terminal():
    process = start("foreign")
    out, err = process.communicate(timeout=60)
    assert out == f"{SAFE}\n" * 3 and process.returncode == 1
    assert err.endswith(f"error: {SAFE}\n") and f"UserWarning: {SAFE}" in err
    assert "\r" + SAFE in err.replace("\n", "\r") and "100%" in err  # the bar still moves
    for char in "\x1b\x9b\u202e\udcff":
        assert char not in out + err


def test_faults_of_the_program_keep_their_traceback_and_it_is_shown_too():
    process = start("fault", env={**os.environ, "AS_COMMAND": "1"})
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "Traceback" in err and f"RuntimeError: {SAFE}" in err


def test_what_is_shown():
    for code in range(0x20):
        assert (shown(chr(code)) == chr(code)) == (chr(code) in "\n\t")
    assert shown("\x7f\x80\x9f\xa0é") == r"\x7f\x80\x9f" + "\xa0é"
    assert shown("".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))) == (
        r"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


def test_only_bars_move_the_cursor(tmp_path):
    with open(tmp_path / "out", "w", newline="") as file:
        stream = Shown(file)
        for text in ("a", "\rb", "\x1b[A", "\n"):
            stream.write(text)
    assert (tmp_path / "out").read_bytes() == rb"a\x0db\x1b[A" + b"\n"


def test_messages_without_a_command_are_left_alone(capsys):
    """Only main functions change the streams, and they put them back."""
    state = lambda: (sys.stdout, *map(signal.getsignal, _ending._SIGNALS))  # noqa: E731
    before = state()
    assert _ending.ended(lambda: print("\x1b")) == 0
    assert state() == before
    assert capsys.readouterr().out == "\\x1b\n"
    assert not _ending.is_command()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_errors_of_a_disk_name_the_path_and_what_to_do(number, tmp_path, capsys):
    path = tmp_path / "results.json"

    def write():
        with writing(path):
            raise OSError(number, os.strerror(number))  # as write() says it: without a path

    assert _ending.ended(write, KEPT, "mteeg x", (OSError,), code=2) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"mteeg x: error: {path}: could not be written: ")
    assert "hoose another" in err or "disk" in err
    assert err.endswith("The same command goes on.\n") and err.count("\n") == 1


class SafetensorError(Exception):
    """As of a library that is not Python's."""


SafetensorError.__module__ = "safetensors_rust"
FOREIGN = [
    (SafetensorError("I/O error: No space left on device (os error 28)"), errno.ENOSPC),
    (SafetensorError("I/O error: Read-only file system (os error 30)"), errno.EROFS),
    (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),
     errno.ENOSPC),
    (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
     errno.ENOSPC),
    (OSError("524288 requested and 131056 written"), errno.ENOSPC),
    (OSError(28, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
     errno.ENOSPC),
]  # fmt: skip


@pytest.mark.parametrize(("error", "number"), FOREIGN)
def test_other_libraries_errors_are_recognised(error, number, tmp_path):
    with pytest.raises(WriteError, match="could not be written") as caught, writing(tmp_path / "x"):
        raise error
    assert caught.value.errno == number and caught.value.filename == str(tmp_path / "x")
    assert disk_fault(error) is not None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "error", [ValueError("No space left on device, said a file"), KeyError("x"), RuntimeError("x"),
              FileNotFoundError(errno.ENOENT, "No such file", "x")],
)  # fmt: skip
def test_other_errors_stay_what_they_are(error, tmp_path):
    with pytest.raises(type(error)) as caught, writing(tmp_path):
        raise error
    assert caught.value is error and disk_fault(error) is None


def test_a_reason_of_ours_hides_permission_and_not_a_full_disk():
    for number, found in ((errno.EACCES, False), (errno.ENOSPC, True)):
        try:
            try:
                raise OSError(number, os.strerror(number), "x")
            except OSError as error:
                raise ValueError("this recording cannot be read") from error
        except ValueError as error:
            assert (disk_fault(error) is not None) == found


def test_a_file_that_does_not_fit_leaves_the_earlier_one_and_no_part(tmp_path):
    """A real write that fails in its middle: beyond the size that the system allows."""
    write_text(tmp_path / "results.json", "earlier")

    def limit():
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))

    process = start("fill", str(tmp_path), preexec_fn=limit)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert err.startswith(
        f"error: {tmp_path / 'results.json'}: could not be written: the file grew"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_text() == "earlier"


def test_locks_are_freed_by_a_kill(tmp_path):
    process = start("hold", str(tmp_path / ".lock"), str(tmp_path / ".names"), "a", "b")
    assert process.stdout.readline() == "mine\n"
    with held(tmp_path / ".lock") as mine, held_each(tmp_path / ".names", ["b", "c"]) as taken:
        assert not mine and taken == ["b"]
    process.kill()
    process.communicate()
    with held(tmp_path / ".lock") as mine, held_each(tmp_path / ".names", ["b", "c"]) as taken:
        assert mine and taken == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()]
)
def test_a_file_system_without_locks_is_said_and_borne(error, tmp_path, monkeypatch):
    import filelock

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.warns(UserWarning, match="no locks") as said, held(tmp_path / ".lock") as mine:
        assert mine
    assert len(said) == 1 and folder_lock.__file__ != said[0].filename


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), held(tmp_path / "file" / "x" / ".lock"):
        pass
    assert Path(tmp_path / "file").is_file()
