"""Preparing recordings beside the plain MNE chain: time, processes, memory.

The recordings are simulated noise in TUAB's layout: 23 channels at 250 Hz in EDF files. Both ways
end with the same windows of 10 s on disk.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from modeling_mteeg.dataset_scripts.settings import Settings
from modeling_mteeg.dataset_scripts.tuab import TUH_CHANNELS, Tuab
from modeling_mteeg.dataset_scripts.writer import prepare
from modeling_mteeg.model.preprocessing import preprocess
from modeling_mteeg.recipes.benchmarks.own_process import peak_mb

RATE_HZ = 250
TARGET_HZ = 200
WINDOW_S = 10
Timed = tuple[float, float]
"""Seconds on the clock, and seconds of processor of this process."""


def make_recordings(raw: Path, count: int, minutes: float, seed: int = 0) -> list[Path]:
    """Write ``count`` recordings, all different; a quarter of them is for the test.

    Returns
    -------
    list of Path
        The files, in order.
    """
    from modeling_mteeg.dataset_scripts.simulator.edf import write_edf

    labels = [f"EEG {name}-REF" for name in TUH_CHANNELS]
    samples = round(60 * minutes) * RATE_HZ
    hum = 15 * np.sin(2 * np.pi * 50 * np.arange(samples) / RATE_HZ)
    paths = []
    for index in range(count):
        part = "eval" if index % 4 == 3 else "train"
        name = f"{index:08d}_s001_t000.edf"
        path = raw / "edf" / part / "normal" / "01_tcp_ar" / name
        random = np.random.default_rng([seed, index])
        uv = random.normal(0, 15, (len(labels), samples)) + hum
        uv += random.normal(0, 0.1, uv.shape).cumsum(axis=1)
        write_edf(path, uv, labels, RATE_HZ)
        paths.append(path)
    (raw / "SIMULATED").write_text(json.dumps({"seed": seed, "version": 1}), "utf-8")
    return paths


def plain_chain(path: Path, out: Path) -> None:
    """One recording as the published scripts do it, windows of 10 s as one float32 array.

    The scripts pickle every window in float64; one array is the cheapest way to write them.
    """
    import mne

    raw = mne.io.read_raw_edf(path, preload=True, verbose="ERROR")
    raw.filter(l_freq=0.1, h_freq=75.0, verbose="ERROR")
    raw.notch_filter(50.0, verbose="ERROR")
    raw.resample(TARGET_HZ, verbose="ERROR")
    signal = raw.get_data(units="uV")
    length = WINDOW_S * TARGET_HZ
    count = signal.shape[1] // length
    windows = signal[:, : count * length].reshape(len(signal), count, length)
    np.save(out, windows.transpose(1, 0, 2).astype(np.float32))


def prepared(raw: Path, out: Path, **settings: object) -> Path:
    """The whole way of this package, from the files to a dataset that trains."""
    shutil.rmtree(out, ignore_errors=True)
    return prepare(Tuab(raw), out, Settings(progress=False, **settings))


def timed(work: Callable[[], object]) -> Timed:
    """Run ``work`` once."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def speed(raw: Path, paths: Sequence[Path], out: Path, repeats: int) -> dict[str, list[Timed]]:
    """Both ways in turn on the same recordings, after one round that does not count."""
    out.mkdir(parents=True, exist_ok=True)

    def plain() -> None:
        for index, path in enumerate(paths):
            plain_chain(path, out / f"{index}.npy")

    ways = {"plain": plain, "package": lambda: prepared(raw, out / "prepared")}
    return in_turn(ways, repeats)


def in_turn(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[Timed]]:
    """Times of several ways, one after the other in every round; the first does not count."""
    times: dict[str, list[Timed]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            taken = timed(way)
            if turn:
                times[name].append(taken)
    return times


def measure_processes(raw: Path, out: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds on the clock with one and two processes in turn.

    Returns
    -------
    dict
        ``one`` and ``two`` processes of this package; ``loop one`` and ``loop two`` for filtering
        noise twice, in one process and side by side: what the machine gives to two processes that
        share nothing.

    Notes
    -----
    The first round starts the server that the processes are copies of, and does not count.
    """
    ways = {
        "one": lambda: prepared(raw, out),
        "two": lambda: prepared(raw, out, num_proc=2),
        "loop one": lambda: [filter_noise(seed) for seed in range(2)],
        "loop two": lambda: list(pool.map(filter_noise, range(2))),
    }
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        times = in_turn(ways, repeats)
    return {name: [clock for clock, _ in taken] for name, taken in times.items()}


def filter_noise(seed: int) -> None:
    """About a second of work in memory."""
    noise = np.random.default_rng(seed).normal(0, 20, (4, 300_000)).astype(np.float32)
    for _ in range(20):
        preprocess(noise, RATE_HZ)


def own_memory_mb() -> float:
    """Memory of this process without mapped files, which the system may take back at any time.

    Where the system does not tell them apart: the peak of all so far.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text("ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 2**10
    return peak_mb()


def measure_memory(raw: Path, out: Path, repeats: int) -> dict[str, float]:
    """``peak_mb``: the most that this process took above what its libraries take."""
    import datasets  # noqa: F401  (libraries are not what is measured)
    import mne  # noqa: F401

    before = peak = own_memory_mb()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, own_memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(repeats):
            prepared(raw, out)
    finally:
        done.set()
        watcher.join()
    return {"peak_mb": peak - before}


def recording_mb(minutes: float) -> float:
    """One recording in memory as float64."""
    return len(TUH_CHANNELS) * round(60 * minutes) * RATE_HZ * 8 / 2**20


MEASUREMENTS = {"processes": measure_processes, "memory": measure_memory}

if __name__ == "__main__":
    _, name, *folders, rounds = sys.argv
    print(json.dumps(MEASUREMENTS[name](*map(Path, folders), int(rounds))))
