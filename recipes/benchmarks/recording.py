"""The recording part of the benchmark: memory and speed of `predict` over hours of EEG."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .own_process import peak_mb, result_of
from .tables import notes, table

CHANNELS = "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ T1 T2".split()
RATE_HZ = 256
WAYS = {
    "predict": "`predict` over the file, two tasks that share their windows",
    "whole": "the feature extractor over the whole file, and the model in batches of 16",
}


def recording_table(preset: str, hours: Sequence[float] = (1, 4)) -> str:
    """Measure recordings of several lengths, each in a process of its own.

    Parameters
    ----------
    preset : str
        Size of the model.
    hours : sequence of float
        Lengths; the whole file in memory is measured for the first alone.

    Returns
    -------
    str
        Markdown.
    """
    rows = []
    jobs = [("predict", length) for length in hours] + [("whole", hours[0])]
    with tempfile.TemporaryDirectory() as folder:
        piece = make_recording(Path(folder) / "piece.edf", hours[0])
        for way, length in tqdm(jobs, unit="recording", desc="recordings"):
            path = repeat_recording(piece, Path(folder) / "long.edf", round(length / hours[0]))
            figures = result_of("recording", way, path, preset)
            speed = 3600 * length / figures["seconds"]
            rows.append(f"{way} | {length:g} h | {figures['peak_mb']:.0f} | {speed:.0f}")
    measured = table("way | length | peak memory MB | EEG seconds per second", rows)
    return (
        f"A simulated EDF recording, {len(CHANNELS)} channels at {RATE_HZ} Hz, 10 s windows, "
        f"{preset}, one thread.\n\n{measured}\n\n{notes(WAYS)}\n\nMemory is that of the whole "
        "process; with its packages and the model alone it reaches "
        f"{figures['before_mb']:.0f} MB."
    )


def make_recording(path: Path, hours: float) -> Path:
    """Write a simulated recording."""
    from dataset_scripts.simulator.edf import write_edf

    random, samples = np.random.default_rng(0), round(3600 * hours) * RATE_HZ
    uv = np.empty((len(CHANNELS), samples), dtype=np.float32)
    for row in uv:
        row[:] = random.normal(0, 15, samples) + random.normal(0, 0.1, samples).cumsum()
    write_edf(path, uv, CHANNELS, RATE_HZ)
    return path


def repeat_recording(piece: Path, path: Path, times: int) -> Path:
    """Write an EDF file that plays another one several times."""
    data = piece.read_bytes()
    size, records = int(data[184:192]), int(data[236:244])
    with path.open("wb") as file:
        file.write(data[:236] + f"{records * times:<8d}".encode() + data[244:size])
        for _ in range(times):
            file.write(data[size:])
    return path


def measure(way: str, path: Path, preset: str) -> dict[str, float]:
    """Peak memory in MB (whole, and before the recording is opened) and seconds."""
    import mne.io  # noqa: F401  (a package, not the recording, takes its memory)

    from modeling_mteeg import MteegConfig, MteegFeatureExtractor, MteegModel, TaskCard
    from modeling_mteeg.prediction import predict

    torch.set_num_threads(1)
    model = MteegModel(MteegConfig.from_preset(preset))
    for name in ("one", "two"):
        model.add_adapter(name, card=TaskCard(name, ("a", "b"), tuple(CHANNELS)))
    model.eval()
    before, start = peak_mb(), time.perf_counter()
    if way == "predict":
        predict(path, model)
    else:
        inputs = MteegFeatureExtractor()(path, task=model.tasks["one"])
        with torch.inference_mode():
            for part in inputs["input_values"].split(16):
                model(part, inputs["channel_ids"], task="one")
    seconds = time.perf_counter() - start
    return {"peak_mb": peak_mb(), "before_mb": before, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
