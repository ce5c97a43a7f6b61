"""A preparation that is killed, disturbed or doubled ends as if nothing had happened, or says why.

Every place of death is tried twice: in this process (an exception that nothing catches), and with
``kill -9`` of a process of its own, with one process and with two.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import SUPPORT
from preparation_program import Killed, dying_at
from tiny_runs import content, write_run, write_runs

from modeling_mteeg.dataset_scripts import parts, sources
from modeling_mteeg.dataset_scripts.locking import locked
from modeling_mteeg.dataset_scripts.physionet_mi import CARD, PhysionetMi
from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.sources import BLOCK_BYTES, BLOCKS, END_BYTES, sample_digest
from modeling_mteeg.dataset_scripts.writer import PreparationError, prepare

QUIET = Settings(progress=False)
OTHER = Settings(progress=False, dtype="float32", overwrite=True)
PROGRAM = SUPPORT / "preparation_program.py"
TASK = CARD.name
LEFT = {TASK, f".{TASK}.lock"}
DAMAGES = [
    "no part",
    *(
        pytest.param(damage, marks=pytest.mark.slow)
        for damage in ("short part", "half a description", "other keys")
    ),
]
BY_DEFAULT = ("file:3", "outcome:2", "save:2", "folder:2")
PLACES = (*BY_DEFAULT, "file:4", "index:3", "documents:1", "folder:1", "rmtree:3")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def raw(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "raw"))


@pytest.fixture(scope="module")
def whole(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted preparation."""
    return content(prepare(PhysionetMi(runs), tmp_path_factory.mktemp("whole"), QUIET))


def die() -> None:
    raise Killed


def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Recordings that are read from now on."""
    real, keys = parts._write_windows, []

    def counted(corpus, recording, part, dtype):
        keys.append(recording.key)
        return real(corpus, recording, part, dtype)

    monkeypatch.setattr(parts, "_write_windows", counted)
    return keys


@pytest.mark.parametrize(
    "place",
    [pytest.param(place, marks=() if place in BY_DEFAULT else pytest.mark.slow)
     for place in PLACES],
)  # fmt: skip
def test_dying_anywhere_costs_only_what_was_not_done(
    place: str, runs: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch
) -> None:
    keys = written(monkeypatch)
    with pytest.raises(Killed), dying_at(place, die):
        prepare(PhysionetMi(runs), tmp_path, QUIET)
    done = {path.stem for path in tmp_path.glob(".*/parts/*.json")}
    if not (tmp_path / TASK).exists():
        assert len(done) == (6 if len(keys) == 6 else len(keys) - 1) or place == "outcome:2"
    else:
        assert content(tmp_path / TASK) == whole  # what is in its place is complete
        done = set(keys)
    keys.clear()
    assert content(prepare(PhysionetMi(runs), tmp_path, QUIET)) == whole
    assert not done & set(keys) and len(keys) == len(set(keys))
    assert {path.name for path in tmp_path.iterdir()} == LEFT


@pytest.mark.parametrize(
    "place",
    ["folder:2"]
    + [pytest.param(place, marks=pytest.mark.slow) for place in ("file:5", "folder:1", "folder:3")],
)
def test_dying_while_an_older_result_is_replaced_loses_neither(
    place: str, runs: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch
) -> None:
    """The older one is back, or the new one is there, at the next start whatever it asks for."""
    prepare(PhysionetMi(runs), tmp_path / "new", OTHER)
    new = content(tmp_path / "new" / TASK)
    out = tmp_path / "out"
    prepare(PhysionetMi(runs), out, QUIET)
    with pytest.raises(Killed), dying_at(place, die):
        prepare(PhysionetMi(runs), out, OTHER)
    assert (out / TASK).exists() == (place != "folder:2")  # between the two renames
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    assert content(prepare(PhysionetMi(runs), out, OTHER)) == new
    assert {path.name for path in out.iterdir()} == LEFT
    keys = written(monkeypatch)
    if place == "folder:3":
        with pytest.raises(FileExistsError, match="dtype: 'float32' there, 'int16' asked for"):
            prepare(PhysionetMi(runs), copy, QUIET)
    else:
        assert content(prepare(PhysionetMi(runs), copy, QUIET)) == whole
    assert not keys


def kill(raw: Path, out: Path, num_proc: int, place: str, *more: str) -> None:
    """Run the program in a session of its own until it kills itself; all its processes end."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(raw), str(out), str(num_proc), place, *more],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.wait(timeout=300) == -signal.SIGKILL
    for _ in range(200):
        if not processes_of(process.pid):
            return
        time.sleep(0.05)
    pytest.fail(f"processes outlive the one that was killed: {processes_of(process.pid)}")


def processes_of(session: int) -> list[int]:
    """Processes of a session that are no zombies."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(state[3]) == session and state[0] != "Z":
            processes.append(int(path.parent.name))
    return processes


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("num_proc", "place"),
    [*((1, place) for place in PLACES), (2, "outcome:1"), (2, "outcome:4"), (2, "save:2"),
     (2, "folder:1"), (2, "folder:2")],
)  # fmt: skip
def test_killed_for_good_and_started_again(
    num_proc: int, place: str, runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    kill(runs, tmp_path, num_proc, place)
    if (tmp_path / TASK).exists():
        assert content(tmp_path / TASK) == whole
    again = Settings(num_proc=num_proc, progress=False)
    assert content(prepare(PhysionetMi(runs), tmp_path, again)) == whole
    assert {path.name for path in tmp_path.iterdir()} == LEFT


@pytest.mark.slow
def test_killed_between_the_renames(runs: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    prepare(PhysionetMi(runs), tmp_path, Settings(progress=False, dtype="float32"))
    kill(runs, tmp_path, 1, "folder:2", "overwrite")
    assert not (tmp_path / TASK).exists()
    again = Settings(progress=False, overwrite=True)
    assert content(prepare(PhysionetMi(runs), tmp_path, again)) == whole


def test_what_dead_processes_left_is_removed(
    runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / f".{TASK}.partial" / "parts"
    folder.mkdir(parents=True)
    for name in ("S001R04.arrow.123", "S001R04.json.99", "S009R04.arrow", "S009R04.json"):
        (folder / name).write_bytes(b"half a part")
    with pytest.raises(Killed), dying_at("outcome:1", die):
        prepare(PhysionetMi(runs), tmp_path, QUIET)
    assert {path.name for path in folder.iterdir()} == {"S001R04.arrow", "S001R04.json"}
    assert content(prepare(PhysionetMi(runs), tmp_path, QUIET)) == whole


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_written_again(
    damage: str, runs: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch
) -> None:
    with pytest.raises(Killed), dying_at("documents:1", die):
        prepare(PhysionetMi(runs), tmp_path, QUIET)
    folder = tmp_path / f".{TASK}.partial" / "parts"
    part, described = folder / "S001R06.arrow", folder / "S001R06.json"
    if damage == "short part":
        part.write_bytes(part.read_bytes()[:-100])
    elif damage == "no part":
        part.unlink()
    elif damage == "half a description":
        described.write_bytes(described.read_bytes()[:50])
    else:
        described.write_text("{}", "utf-8")
    keys = written(monkeypatch)
    assert content(prepare(PhysionetMi(runs), tmp_path, QUIET)) == whole
    assert keys == ["S001R06"]


def test_two_preparations_of_one_folder_do_not_mix(runs: Path, tmp_path: Path) -> None:
    with locked(tmp_path, TASK), pytest.raises(PreparationError, match="another process"):
        prepare(PhysionetMi(runs), tmp_path, QUIET)
    assert not (tmp_path / f".{TASK}.partial").exists()
    prepare(PhysionetMi(runs), tmp_path, QUIET)


def flip(path: Path, place: int, quietly: bool = False) -> None:
    """Change one byte in the middle of a file; quietly: with the times that it had."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    if quietly:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def unsampled(path: Path) -> int:
    """A byte in the signal that no sample of the file holds."""
    inner = path.stat().st_size - 2 * END_BYTES - BLOCK_BYTES
    assert inner > BLOCKS * BLOCK_BYTES, "the file is too small for this test"
    return END_BYTES + BLOCK_BYTES + 1000


@pytest.mark.parametrize("where", [pytest.param("sampled", marks=pytest.mark.slow), "not sampled"])
@pytest.mark.parametrize("quietly", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_changed_byte_is_noticed_in_parts_and_result(
    where: str, quietly: bool, raw: Path, tmp_path: Path, monkeypatch
) -> None:
    """With the size the same; what the sample does not see, the times of the file give away."""
    path, out = raw / "S002" / "S002R08.edf", tmp_path / "out"
    place = path.stat().st_size - 500 if where == "sampled" else unsampled(path)
    before = sample_digest(path)
    with pytest.raises(Killed), dying_at("documents:1", die):
        prepare(PhysionetMi(raw), out, QUIET)
    flip(path, place, quietly)
    assert (sample_digest(path) == before) == (where == "not sampled")
    keys = written(monkeypatch)
    folder = prepare(PhysionetMi(raw), out, QUIET)
    assert keys == ["S002R08"]
    assert content(folder) == content(prepare(PhysionetMi(raw), tmp_path / "fresh", QUIET))
    flip(path, place, quietly)
    with pytest.raises(FileExistsError, match=r"S002R08: .*S002R08.edf has other content"):
        prepare(PhysionetMi(raw), out, QUIET)


def test_a_touched_file_that_is_the_same_changes_nothing(
    raw: Path, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed), dying_at("documents:1", die):
        prepare(PhysionetMi(raw), out, QUIET)
    hashed, keys = [], written(monkeypatch)
    real = sources.content_digest
    monkeypatch.setattr(sources, "content_digest", lambda path: hashed.append(path) or real(path))
    (raw / "S002" / "S002R08.edf").touch()
    folder = prepare(PhysionetMi(raw), out, QUIET)
    assert not keys and [path.name for path in hashed] == ["S002R08.edf"]
    hashed.clear()
    assert prepare(PhysionetMi(raw), out, QUIET) == folder
    assert not hashed  # nothing is newer than the result: no file is read as a whole
    (raw / "S001" / "S001R04.edf").touch()
    assert prepare(PhysionetMi(raw), out, QUIET) == folder
    assert [path.name for path in hashed] == ["S001R04.edf"]


def test_what_differs_is_named(raw: Path, tmp_path: Path) -> None:
    prepare(PhysionetMi(raw), tmp_path, QUIET)
    write_run(raw / "S003" / "S003R04.edf", 5)
    (raw / "S001" / "S001R04.edf").unlink()
    with open(raw / "S001" / "S001R06.edf", "ab") as file:
        file.write(b"more")
    with pytest.raises(FileExistsError) as error:
        prepare(PhysionetMi(raw), tmp_path, Settings(progress=False, dtype="float32"))
    text = str(error.value)
    for part in ("'int16' there, 'float32' asked", "gone: S001R04", "new: S003R04", "S001R06"):
        assert part in text
    (tmp_path / TASK / "sources.json").write_text("{", "utf-8")
    with pytest.raises(FileExistsError, match=r"no readable sources\.json"):
        prepare(PhysionetMi(raw), tmp_path, QUIET)


@pytest.mark.slow
def test_a_skipped_recording_is_tried_again_when_it_was_mended(
    raw: Path, tmp_path: Path, monkeypatch
) -> None:
    path, out = raw / "S001" / "S001R06.edf", tmp_path / "out"
    good = path.read_bytes()
    path.write_bytes(good[:1000])
    with pytest.raises(PreparationError, match=r"S001R06\.edf"):
        prepare(PhysionetMi(raw), out, QUIET)
    keys = written(monkeypatch)
    allowed = Settings(progress=False, max_skipped=0.2)
    folder = prepare(PhysionetMi(raw), out, allowed)
    assert keys == ["S001R06"]
    path.write_bytes(good)
    with pytest.raises(FileExistsError, match="S001R06"):  # the result is without it
        prepare(PhysionetMi(raw), out, allowed)
    again = Settings(progress=False, overwrite=True)
    assert content(prepare(PhysionetMi(raw), out, again)) == content(
        prepare(PhysionetMi(raw), tmp_path / "fresh", QUIET)
    )
    stored = json.loads((folder / "sources.json").read_text("utf-8"))["sources"]
    assert stored["S001R06"][0]["bytes"] == len(good)


def test_a_file_that_changes_while_it_is_read_is_not_used(raw: Path, tmp_path: Path, monkeypatch):
    real = parts._write_windows

    def slowly(corpus, recording, part, dtype):
        content = real(corpus, recording, part, dtype)
        if recording.key == "S001R08":
            flip(recording.path, 5000)
        return content

    monkeypatch.setattr(parts, "_write_windows", slowly)
    with pytest.raises(PreparationError, match=r"S001R08: .*changed while it was read"):
        prepare(PhysionetMi(raw), tmp_path / "out", QUIET)
