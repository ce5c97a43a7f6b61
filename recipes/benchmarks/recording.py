"""The recording part of the benchmark: memory and speed of `predict` over hours of EEG."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.recipes.benchmarks.own_process import peak_mb, result_of
from modeling_mteeg.recipes.benchmarks.plain import PlainLabram
from modeling_mteeg.recipes.benchmarks.tables import notes, table

CHANNELS = "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ T1 T2".split()
RATE_HZ = 256
BATCH = 16
WAYS = {
    "predict": "`predict` over the file, one task",
    "filters": "the same without the forward passes: reading, filters, windows, checks",
    "whole": "the feature extractor over the whole file, and the model in batches of 16",
    "plain": "MNE's chain over the whole file, and the published network's forward pass alone",
}


def recording_table(preset: str, hours: Sequence[float] = (1, 24)) -> str:
    """Measure recordings of several lengths, each in a process of its own.

    Parameters
    ----------
    preset : str
        Size of the model.
    hours : sequence of float
        Lengths; what holds the whole file in memory is measured for the first alone.

    Returns
    -------
    str
        Markdown.
    """
    rows = []
    jobs = [("predict", length) for length in hours]
    jobs += [(way, hours[0]) for way in ("filters", "whole", "plain")]
    with tempfile.TemporaryDirectory() as folder:
        piece = make_recording(Path(folder) / "piece.edf", hours[0])
        for way, length in tqdm(jobs, unit="recording", desc="recordings"):
            path = repeat_recording(piece, Path(folder) / "long.edf", round(length / hours[0]))
            figures = result_of("recording", way, path, preset)
            speed = length / figures["seconds"]
            rows.append(
                f"{way} | {length:g} h | {figures['peak_mb']:.0f} | {figures['seconds']:.1f} "
                f"| {speed:.4f}"
            )
    measured = table("way | length | peak memory MB | seconds | h of EEG/s", rows)
    return (
        f"A simulated EDF recording, {len(CHANNELS)} channels at {RATE_HZ} Hz, 10 s windows, "
        f"{preset}, one thread.\n\n{measured}\n\n{notes(WAYS)}\n\nMemory is that of the whole "
        "process; with its packages and the model alone it reaches "
        f"{figures['before_mb']:.0f} MB."
    )


def make_recording(path: Path, hours: float) -> Path:
    """Write a simulated recording."""
    from modeling_mteeg.dataset_scripts.simulator.edf import write_edf

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


def plain_model(preset: str) -> PlainLabram:
    """The published network with random weights."""
    return PlainLabram(MteegConfig.from_preset(preset), 1).eval()


def plain_chain(path: Path, network: PlainLabram) -> torch.Tensor:
    """Logits (windows, 1) of a recording by what one would write with MNE and the network alone."""
    import mne

    raw = mne.io.read_raw_edf(path, preload=True, verbose="error")
    raw.filter(0.1, 75, verbose="error").notch_filter(50, verbose="error")
    signal = raw.resample(200, verbose="error").get_data(units="uV") / 100
    windows = signal[:, : signal.shape[1] // 2000 * 2000].reshape(len(signal), -1, 10, 200)
    values = torch.from_numpy(windows.swapaxes(0, 1).astype(np.float32))  # (n, channels, 10, 200)
    rows = torch.arange(1, len(signal) + 1)
    with torch.inference_mode():
        return torch.cat([network(part, rows) for part in values.split(BATCH)])


def measure(way: str, path: Path, preset: str) -> dict[str, float]:
    """Peak memory in MB (whole, and before the recording is opened) and seconds."""
    import mne.io  # noqa: F401  (a package, not the recording, takes its memory)

    from modeling_mteeg import MteegFeatureExtractor, TaskCard
    from modeling_mteeg.prediction import engine, predict

    torch.set_num_threads(1)
    network = plain_model(preset)
    if way != "plain":
        network = MteegModel(MteegConfig.from_preset(preset))
        network.add_adapter("one", card=TaskCard("one", ("a", "b"), tuple(CHANNELS)))
        network.eval()
    before, start = peak_mb(), time.perf_counter()
    if way == "predict":
        predict(path, network)
    elif way == "filters":
        cards = list(network.tasks.values())
        engine.answer_windows(path, network, cards, no_forward, engine.Asked())
    elif way == "plain":
        plain_chain(path, network)
    else:
        inputs = MteegFeatureExtractor()(path, task=network.tasks["one"])
        with torch.inference_mode():
            for part in inputs["input_values"].split(BATCH):
                network(part, inputs["channel_ids"], task="one")
    seconds = time.perf_counter() - start
    return {"peak_mb": peak_mb(), "before_mb": before, "seconds": seconds}


def no_forward(model: MteegModel, tasks: Mapping[str, Mapping]) -> dict[str, np.ndarray]:
    """An answer that asks nothing of the model: zeros for every window."""
    return {
        name: np.zeros((len(batch["input_values"]), 2), np.float32) for name, batch in tasks.items()
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
