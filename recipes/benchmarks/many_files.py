"""The files part of the benchmark: `mteeg predict` of many short files, beside the plain way."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm

from modeling_mteeg.recipes.benchmarks.own_process import peak_mb, result_of, watching_memory
from modeling_mteeg.recipes.benchmarks.recording import (
    CHANNELS,
    RATE_HZ,
    make_recording,
    plain_chain,
    plain_model,
)
from modeling_mteeg.recipes.benchmarks.tables import notes, table

WAYS = {
    "predict": "`mteeg predict FILES...`, one process",
    "predict, 2 at once": "the same with `--num-proc 2`, half the threads each",
    "plain": "MNE's chain and the plain forward pass, file by file, no results written",
}


def files_table(preset: str, files: int, seconds: float) -> str:
    """Measure so many recordings of so many seconds, each way in a process of its own.

    Returns
    -------
    str
        Markdown.
    """
    rows, hours = [], files * seconds / 3600
    with tempfile.TemporaryDirectory() as folder:
        first = make_recording(Path(folder) / "file-0.edf", seconds / 3600)
        for number in range(1, files):
            os.link(first, first.with_name(f"file-{number}.edf"))
        base = make_base(Path(folder) / "base", preset)
        for way in tqdm(WAYS, unit="way", desc="files"):
            figures = result_of("many_files", way, folder, base, preset)
            rows.append(
                f"{way} | {figures['seconds']:.1f} | {hours / figures['seconds']:.4f} "
                f"| {figures['peak_mb']:.0f}"
            )
    measured = table("way | seconds | h of EEG/s | peak memory MB", rows)
    return (
        f"{files} simulated EDF recordings of {seconds:g} s, {len(CHANNELS)} channels at {RATE_HZ} "
        f"Hz, 10 s windows, {preset}, {torch.get_num_threads()} threads in all; the start of the "
        f"programs counts.\n\n{measured}\n\n{notes(WAYS)}\n\nMemory is the sum over all processes; "
        "what they share counts in each."
    )


def make_base(folder: Path, preset: str) -> Path:
    """A base with random weights and one task."""
    from modeling_mteeg import MteegConfig, MteegModel, TaskCard

    model = MteegModel(MteegConfig.from_preset(preset))
    model.add_adapter("one", card=TaskCard("one", ("a", "b"), tuple(CHANNELS)))
    model.save_pretrained(folder)
    return folder


def measure(way: str, folder: Path, base: Path, preset: str) -> dict[str, float]:
    """Seconds and peak memory in MB of one way."""
    files, begun = sorted(folder.glob("*.edf")), time.perf_counter()
    if way == "plain":
        network = plain_model(preset)
        for path in files:
            plain_chain(path, network)
        return {"seconds": time.perf_counter() - begun, "peak_mb": peak_mb()}
    from modeling_mteeg import cli

    out = folder / way.replace(" ", "-")
    processes = 2 if way.endswith("at once") else 1
    options = ["--base", base, "--task", "one", "--out", out, "--num-proc", processes, "--quiet"]
    with watching_memory() as memory:
        if cli.main([str(text) for text in ("predict", *files, *options)]):
            raise RuntimeError("mteeg predict failed.")
    found = len(list(out.glob("*.tsv")))
    if found != len(files):
        raise RuntimeError(f"Expected {len(files)} results, found {found}.")
    return {"seconds": time.perf_counter() - begun, "peak_mb": memory[0]}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])))
