"""Reading shuffled batches beside a plain numpy memmap of the same samples, and size on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modeling_mteeg.data import WindowReader, encode_window, window_features
from modeling_mteeg.dataset_scripts.demo import folder_bytes
from modeling_mteeg.recipes.benchmarks.joint_step import SHAPES

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 32
UNIT_UV = 100.0
"""Microvolt per unit of the model's input, which the batches come in."""


class PlainMemmap:
    """The stored samples of a dataset of windows in one file, read by numpy alone.

    Parameters
    ----------
    rows : datasets.Dataset
        Windows of one shape and number type.
    path : Path
        Gets the samples: int16 counts, or float32 microvolt.
    """

    def __init__(self, rows: Dataset, path: Path):
        first = rows[0]
        kind, shape = np.dtype(first["dtype"]), (len(rows), *first["shape"])
        with path.open("wb") as file:
            for row in rows:
                file.write(row["signal"])
        self.samples = np.memmap(path, kind, "r", shape=shape)
        self.factors = np.asarray(rows["scale"], np.float32) / np.float32(UNIT_UV)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Windows (n, channels, samples), float32, in units of the model's input."""
        batch = self.samples[rows].astype(np.float32, copy=False)
        batch *= self.factors[rows, None, None]
        return batch


def shuffled_batches(count: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of one epoch in whole batches."""
    order = np.random.default_rng(seed).permutation(count)
    for start in range(0, count - BATCH + 1, BATCH):
        yield order[start : start + BATCH]


def epoch_seconds(read: Callable[[np.ndarray], np.ndarray], count: int, seed: int) -> float:
    """Seconds to read one shuffled epoch, batch by batch."""
    start = time.perf_counter()
    for rows in shuffled_batches(count, seed):
        read(rows)
    return time.perf_counter() - start


def reading_speed(
    rows: Dataset, folder: Path, repeats: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds per epoch of both ways in turn, files in the system's cache; MB of an epoch."""
    reader, plain = WindowReader(rows), PlainMemmap(rows, folder / "samples.bin")
    ways = {"plain": plain.read, "package": lambda batch: reader.read(batch, unit_uv=UNIT_UV)}
    seconds_by_way: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            seconds = epoch_seconds(way, len(reader), turn)
            if turn:
                seconds_by_way[name].append(seconds)
    (folder / "samples.bin").unlink()
    windows = len(reader) // BATCH * BATCH
    return seconds_by_way, windows * reader.shape[0] * reader.shape[1] * 4 / 1e6


def disk_shares(windows: int = 64) -> dict[str, float]:
    """Size on disk of every task's windows by that of their samples in float32."""
    from datasets import Dataset

    random, shares = np.random.default_rng(0), {}
    for task, (classes, channels, seconds) in SHAPES.items():
        names = [f"C{number}" for number in range(channels)]
        signals = random.normal(0, 20, (windows, channels, 200 * seconds)).astype(np.float32)
        rows = [
            encode_window(signal, names, number % classes, "recording", "subject", float(number))
            for number, signal in enumerate(signals)
        ]
        features = window_features([str(number) for number in range(classes)])
        with tempfile.TemporaryDirectory() as folder:
            Dataset.from_list(rows, features=features).save_to_disk(folder)
            shares[task] = folder_bytes(Path(folder)) / signals.nbytes
    return shares
