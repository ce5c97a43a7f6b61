"""The data part of the benchmark compares ways that give the same windows."""

from __future__ import annotations

import mmap
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk
from places import ROOT
from tiny_corpora import CARDS, make_dataset

from modeling_mteeg.data import WindowReader
from modeling_mteeg.dataset_scripts.command import run_command
from modeling_mteeg.dataset_scripts.tuab import Tuab

RECIPES = ROOT / "recipes"


@pytest.fixture(scope="module")
def parts():
    from modeling_mteeg.recipes.benchmarks import batch_reading as reading
    from modeling_mteeg.recipes.benchmarks import data, preparation

    return data, preparation, reading


@pytest.mark.filterwarnings("ignore:filter_length")
def test_both_ways_of_preparing_write_the_same_windows(parts, tmp_path):
    _, preparation, _ = parts
    paths = preparation.make_recordings(tmp_path / "raw", 4, 0.75)
    saved = load_from_disk(str(preparation.prepared(tmp_path / "raw", tmp_path / "out")))
    assert {split: len(rows) for split, rows in saved.items()} == {
        "train": 8, "validation": 4, "test": 4,
    }  # fmt: skip
    readers = [WindowReader(saved[split]) for split in ("train", "validation", "test")]
    stored = np.concatenate([reader.read(range(len(reader))) for reader in readers])
    for index, path in enumerate(paths):
        preparation.plain_chain(path, tmp_path / "plain.npy")
        expected = np.load(tmp_path / "plain.npy")
        assert expected.shape == (4, 23, 2000)
        error = stored[4 * index : 4 * index + 4] - expected
        assert np.sqrt(np.mean(error**2)) < 0.1 < expected.std()


@pytest.mark.filterwarnings("ignore:filter_length")
def test_a_preparation_prints_hours_a_second_and_the_size_that_it_will_have(
    parts, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # a bar is for terminals
    _, preparation, reading = parts
    preparation.make_recordings(tmp_path / "raw", 5, 2)
    assert run_command(Tuab, ["--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert re.search(r"0\.17/0\.17 h of EEG \[.*, +\d+\.\d+h/s\]", printed.err)  # 5 x 2 min
    windows, size = re.search(r"about (\d+) windows, (\d+) MB as int16", printed.out).groups()
    folder = tmp_path / "out" / "tuab"
    assert int(windows) == sum(map(len, load_from_disk(str(folder)).values())) == 60
    assert abs(int(size) - reading.folder_bytes(folder) / 1e6) < 0.6  # rounded to whole MB


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_both_ways_of_reading_give_the_same_batches(parts, tmp_path, dtype):
    _, _, reading = parts
    rows = make_dataset(CARDS["tuab"], 70, dtype=dtype)
    reader, plain = WindowReader(rows), reading.PlainMemmap(rows, tmp_path / "samples.bin")
    batches = list(reading.shuffled_batches(70, seed=1))
    assert [len(batch) for batch in batches] == [32, 32]
    assert len(np.unique(np.concatenate(batches))) == 64
    for batch in batches:
        by_plain, by_package = plain.read(batch), reader.read(batch, unit_uv=reading.UNIT_UV)
        assert (
            by_plain.dtype == by_package.dtype == np.float32 and by_plain.shape == by_package.shape
        )
        np.testing.assert_allclose(by_plain, by_package, rtol=1e-6)


def test_disk_shares_are_of_float32(parts):
    _, _, reading = parts
    shares = reading.disk_shares(windows=8)
    assert len(shares) == 6
    assert all(0.5 < share < 0.7 for share in shares.values())  # few windows, so files weigh


def test_memory_that_is_held_for_a_moment_is_seen(parts, monkeypatch, tmp_path):
    _, preparation, _ = parts

    def hold(*_: Path) -> None:
        # Fresh pages: the C library might hand out memory that an earlier test has freed.
        held = mmap.mmap(-1, 2**28, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        np.frombuffer(held, np.uint8)[:] = 1
        time.sleep(0.1)

    monkeypatch.setattr(preparation, "prepared", hold)
    peak = preparation.measure_memory(tmp_path, tmp_path, 1)["peak_mb"]
    assert 200 < peak < 400  # 256 MB, and what else the process frees or takes meanwhile


def test_too_few_recordings_are_an_error(parts):
    with pytest.raises(ValueError, match="at least 4"):
        parts[0].data_table(minutes=1, recordings=3, repeats=1)


@pytest.mark.slow
def test_the_command_measures_data_alone(tmp_path):
    table = tmp_path / "table.md"
    arguments = "data --minutes 0.5 --recordings 4 --repeats 1 --threads 1".split()
    subprocess.run(
        [sys.executable, str(RECIPES / "benchmark.py"), *arguments, "--out", str(table)], check=True
    )
    text = table.read_text("utf-8")
    for row in ("plain MNE chain", "this package", "two processes beside one, 8 recordings",
                "memory of a process, 4 recordings", "shuffled batches of 32, int16",
                "shuffled batches of 32, float32", "int16 on disk"):  # fmt: skip
        assert f"| {row}" in text
    assert "training step" not in text and "switching the task" not in text


def test_an_unknown_part_is_named(parts, monkeypatch, capsys):
    from modeling_mteeg.recipes.benchmark import parse_arguments

    assert parse_arguments([]).parts == [] and parse_arguments(["data"]).parts == ["data"]
    with pytest.raises(SystemExit):
        parse_arguments(["date"])
    assert "unknown parts ['date']" in capsys.readouterr().err
