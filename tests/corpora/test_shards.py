"""Shards: every recording in exactly one, balanced, and merged to the bytes of a single run."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from preparation_program import Killed, dying_at
from tiny_runs import content, write_run, write_runs

from modeling_mteeg.dataset_scripts import (
    Settings,
    Shard,
    merge_shards,
    prepare_corpus,
    prepare_shard,
)
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.corpus import Recording
from modeling_mteeg.dataset_scripts.locking import locked
from modeling_mteeg.dataset_scripts.physionet_mi import CARD, PhysionetMi
from modeling_mteeg.dataset_scripts.prepare import main as prepare_main
from modeling_mteeg.dataset_scripts.shards import assign_shards
from modeling_mteeg.dataset_scripts.writer import PreparationError

QUIET = Settings(progress=False)
TASK = CARD.name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def whole(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return content(prepare_corpus(PhysionetMi(runs), tmp_path_factory.mktemp("whole"), QUIET))


@pytest.fixture(scope="module")
def shards(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all three shards."""
    out = tmp_path_factory.mktemp("shards")
    for index in (3, 1, 2):
        prepare_shard(PhysionetMi(runs), out, Shard(index, 3), QUIET)
    return out


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copied"))


def recordings(lengths: dict[str, float]) -> tuple[list[Recording], dict[str, float]]:
    return [Recording(key, key, Path(key)) for key in lengths], lengths


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_shares_are_disjoint_complete_and_balanced(count: int) -> None:
    listed, lengths = recordings({f"r{i:02d}": 60.0 + (i * 7919) % 3600 for i in range(30)})
    shares = [
        Shard(i + 1, count).share(listed, lambda recording: lengths[recording.key])
        for i in range(count)
    ]
    keys = [recording.key for share in shares for recording in share]
    assert sorted(keys) == sorted(lengths)
    for share in shares:
        assert [recording.key for recording in share] == sorted(
            recording.key for recording in share
        )
    loads = [sum(lengths[recording.key] for recording in share) for share in shares]
    assert max(loads) - min(loads) <= max(lengths.values())
    owner = assign_shards(listed[::-1], lambda recording: lengths[recording.key], count)
    assert all(
        owner[recording.key] == i + 1 for i, share in enumerate(shares) for recording in share
    )


def test_a_long_recording_weighs_as_much_as_many_short_ones() -> None:
    listed, lengths = recordings({"long": 100.0, **{f"r{i:03d}": 1.0 for i in range(100)}})
    owner = assign_shards(listed, lambda recording: lengths[recording.key], 2)
    assert [key for key in owner if owner[key] == owner["long"]] == ["long"]


def test_recordings_of_unknown_length_are_shared_out_by_number() -> None:
    listed, _ = recordings(dict.fromkeys("abcdefghij", 0.0))
    owner = assign_shards(listed, lambda recording: 0.0, 4)
    assert sorted(list(owner.values()).count(i) for i in range(1, 5)) == [2, 2, 3, 3]


@pytest.mark.parametrize("text", ["0/8", "9/8", "8", "1/0", "a/b", "1/8/2", "-1/8"])
def test_a_wrong_shard_is_an_error(text: str, runs: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match="shard: expected i/n"):
        Shard.parse(text)
    options = ["--raw", str(runs), "--out", str(tmp_path), f"--shard={text}"]
    assert run_command(PhysionetMi, options) == 1 and "expected i/n" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_shards_of_one_folder_merge_to_the_bytes_of_one_run(
    shards: Path, whole: dict[str, bytes], runs: Path, tmp_path: Path, copied: Path
) -> None:
    parts = {path.parent.parent.name: path for path in shards.glob("*/parts/*.arrow")}
    assert len(parts) == 3 and len(list(shards.glob("*/parts/*.arrow"))) == 6
    assert content(merge_shards(PhysionetMi(runs), copied, (), QUIET)) == whole
    assert len(list(copied.glob(f"{TASK}.shard-*"))) == 3  # the shards stay
    again = merge_shards(PhysionetMi(runs), copied, (), QUIET)
    assert content(again) == whole


def test_shards_of_several_folders_and_another_copy_of_the_raw_files(
    shards: Path, whole: dict[str, bytes], runs: Path, tmp_path: Path
) -> None:
    """As from machines that share nothing: other folders, other times of the files."""
    folders = []
    for path in sorted(shards.glob(f"{TASK}.shard-*")):
        folders.append(tmp_path / f"machine-{path.name[-6]}")
        shutil.copytree(path, folders[-1] / path.name, copy_function=shutil.copy)
    raw = shutil.copytree(runs, tmp_path / "raw", copy_function=shutil.copy)
    assert content(merge_shards(PhysionetMi(raw), tmp_path / "out", folders, QUIET)) == whole


def test_a_missing_and_an_incomplete_shard_are_named_with_commands_that_work(
    copied: Path, whole: dict[str, bytes], runs: Path, capsys
) -> None:
    shutil.rmtree(copied / f"{TASK}.shard-2-of-3")
    first = copied / f"{TASK}.shard-1-of-3"
    lost = sorted((first / "parts").glob("*.json"))[0]
    lost.unlink()
    assert run_command(PhysionetMi, ["--raw", str(runs), "--out", str(copied), "--merge"]) == 1
    text = capsys.readouterr().err
    assert "shard 2/3 was never started" in text
    assert "shard 1/3" in text and f"{lost.stem}: not written" in text and "3/3" not in text
    assert not (copied / TASK).exists()
    commands = [shlex.split(line.partition("make it: ")[2])
                for line in text.splitlines() if "make it" in line]  # fmt: skip
    assert [command[:3] for command in commands] == [
        ["python", "-m", "modeling_mteeg.dataset_scripts.physionet_mi"]
    ] * 2
    for command in commands:
        assert run_command(PhysionetMi, command[3:]) == 0
    assert run_command(PhysionetMi, ["--raw", str(runs), "--out", str(copied), "--merge"]) == 0
    assert content(copied / TASK) == whole


def test_a_shard_that_was_killed_goes_on(runs: Path, whole: dict[str, bytes], tmp_path: Path):
    def die() -> None:
        raise Killed

    corpus, out = PhysionetMi(runs), tmp_path / "out"
    prepare_shard(corpus, out, Shard(2, 2), QUIET)
    with pytest.raises(Killed), dying_at("outcome:1", die):
        prepare_shard(corpus, out, Shard(1, 2), QUIET)
    with pytest.raises(PreparationError, match=r"shard 1/2 in .* is incomplete: .*not written"):
        merge_shards(corpus, out, (), QUIET)
    prepare_shard(corpus, out, Shard(1, 2), QUIET)
    with pytest.raises(Killed), dying_at("index:2", die):
        merge_shards(corpus, out, (), QUIET)
    assert content(merge_shards(corpus, out, (), QUIET)) == whole


def test_a_shard_that_is_being_written_again_is_not_merged(copied: Path, runs: Path) -> None:
    (copied / f"{TASK}.shard-1-of-3" / "shard.json").unlink()
    with pytest.raises(PreparationError, match="not come to its end"):
        merge_shards(PhysionetMi(runs), copied, (), QUIET)


def test_other_settings_and_other_files_are_refused(
    copied: Path, shards: Path, runs: Path, tmp_path: Path
) -> None:
    with pytest.raises(PreparationError, match=r"other settings.*\n.*--dtype float32"):
        merge_shards(PhysionetMi(runs), copied, (), Settings(dtype="float32", progress=False))
    raw = Path(shutil.copytree(runs, tmp_path / "raw"))
    write_run(raw / "S002" / "S002R08.edf", 999)
    with pytest.raises(PreparationError, match=r"S002R08: S002R08\.edf|S002R08: .*S002R08\.edf"):
        merge_shards(PhysionetMi(raw), copied, (), QUIET)
    prepare_shard(PhysionetMi(runs), copied, Shard(1, 2), QUIET)
    with pytest.raises(PreparationError, match=r"different divisions .*1 of 2, 3 of 3"):
        merge_shards(PhysionetMi(runs), copied, (), QUIET)
    with pytest.raises(PreparationError, match="same shard in several"):
        merge_shards(PhysionetMi(runs), tmp_path / "x", [shards, _only(copied, tmp_path)], QUIET)
    with pytest.raises(PreparationError, match="no shards in"):
        merge_shards(PhysionetMi(runs), tmp_path / "nothing", (), QUIET)


def _only(copied: Path, tmp_path: Path) -> Path:
    shutil.copytree(copied / f"{TASK}.shard-3-of-3", tmp_path / "y" / f"{TASK}.shard-3-of-3")
    return tmp_path / "y"


def test_more_shards_than_recordings_and_skipped_ones(runs: Path, tmp_path: Path) -> None:
    """Skipped recordings are judged over the whole corpus, when it is merged."""
    raw = Path(shutil.copytree(runs, tmp_path / "raw"))
    (raw / "S001" / "S001R06.edf").write_bytes((raw / "S001" / "S001R06.edf").read_bytes()[:1000])
    corpus = PhysionetMi(raw)
    for index in range(1, 9):
        prepare_shard(corpus, tmp_path, Shard(index, 8), QUIET)
    used = [json.loads(path.read_text())["used"] for path in tmp_path.glob("*/shard.json")]
    assert sorted(map(len, used)) == [0, 0, 0, 1, 1, 1, 1, 1]
    with pytest.raises(PreparationError, match="1 of 6 recordings could not be used"):
        merge_shards(corpus, tmp_path, (), QUIET)
    allowed = Settings(progress=False, max_skipped=0.2)
    merged = merge_shards(corpus, tmp_path, (), allowed)
    assert content(merged) == content(prepare_corpus(corpus, tmp_path / "one", allowed))


def test_two_jobs_of_one_shard_do_not_mix(runs: Path, tmp_path: Path) -> None:
    name = Shard(1, 2).folder_name(TASK)
    with locked(tmp_path, name):
        with pytest.raises(PreparationError, match="another process"):
            prepare_shard(PhysionetMi(runs), tmp_path, Shard(1, 2), QUIET)
        prepare_shard(PhysionetMi(runs), tmp_path, Shard(2, 2), QUIET)


def test_several_corpora_by_one_command(runs: Path, whole: dict[str, bytes], tmp_path: Path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / TASK).symlink_to(runs)
    options = ["--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "data"), "--tasks", TASK]
    for index in (1, 2):
        assert prepare_main([*options, "--shard", f"{index}/2"]) == 0
    assert prepare_main([*options, "--merge"]) == 0
    assert content(tmp_path / "data" / TASK) == whole
    with pytest.raises(SystemExit):
        prepare_main([*options, "--merge", "--shard", "1/2"])


@pytest.mark.slow
def test_jobs_at_the_same_time_in_one_folder(runs: Path, whole: dict[str, bytes], tmp_path: Path):
    command = [sys.executable, "-m", "dataset_scripts.physionet_mi", "--raw", str(runs), "--out",
               str(tmp_path)]  # fmt: skip
    jobs = [subprocess.Popen([*command, "--shard", f"{i}/2"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for i in (1, 2)]  # fmt: skip
    assert [job.wait(timeout=300) for job in jobs] == [0, 0]
    assert subprocess.run([*command, "--merge"], timeout=300, check=False,
                          capture_output=True).returncode == 0  # fmt: skip
    assert content(tmp_path / TASK) == whole
