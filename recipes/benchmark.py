"""Speed and memory, measured side by side: ``python recipes/benchmark.py``.

Compares the joint step (one backbone, six adapters) with the plain way (six models, each fully
fine-tuned) on the six tasks' real shapes, the ways of sharing one LaBraM (HPS, MMoE, CGC, MTEEG)
with each other, what comparing gradients adds to a step, the steps of masked pre-training and of
training the neural tokenizer with the published way, preparing and reading data with plain MNE and
a plain memmap, a live window from samples to probabilities with the plain forward pass alone,
predicting hours with the whole file in memory, and measures what a task costs: switching, disk,
memory. Figures are medians; the ratios hold within one run on one machine, nothing else.

    python recipes/benchmark.py                      # all parts; Base, 16 samples a task
    python recipes/benchmark.py data                 # or some parts: see --help
    python recipes/benchmark.py --device cuda        # on a GPU
    python recipes/benchmark.py --out table.md       # the tables as Markdown
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from benchmarks import pretraining_step as pretraining
from benchmarks import sharing_step as sharing
from benchmarks import tokenizer_step as tokenizer
from benchmarks.cost import cost
from benchmarks.data import data_table
from benchmarks.footprint import footprint
from benchmarks.gradient_cost import gradient_cost_table
from benchmarks.joint_step import VARIANTS, num_processes, operations
from benchmarks.latency import latency_table
from benchmarks.recording import recording_table
from benchmarks.tables import notes, step_table, table
from benchmarks.worker import Worker, ask_in_turn
from tqdm.auto import tqdm

PARTS = (
    "steps", "sharing", "gradients", "pretraining", "tokenizer", "data", "footprint", "latency",
    "recording",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and maybe write the tables."""
    args = parse_arguments(argv)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.threads:
        torch.set_num_threads(args.threads)
    parts = {
        "steps": lambda: joint_step_table(args, device),
        "gradients": lambda: gradient_cost_table(
            args.preset, args.samples, args.repeats, args.warmup, device
        ),
        "sharing": lambda: sharing_step_table(args, device),
        "pretraining": lambda: stage_one_table("pretraining", args, device),
        "tokenizer": lambda: stage_one_table("tokenizer", args, device),
        "data": lambda: data_table(args.minutes, args.recordings, args.repeats),
        "footprint": lambda: footprint_table(args.preset),
        "latency": lambda: latency_table(args.preset, args.windows),
        "recording": lambda: recording_table(args.preset, args.hours),
    }
    chosen = [name for name in parts if not args.parts or name in args.parts]
    text = "\n\n".join([machine(device), *(parts[name]() for name in chosen)])
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n", "utf-8")
    return 0


def machine(device: torch.device) -> str:
    """The machine in words."""
    name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    return f"Machine: {name}; torch {torch.__version__}, Python {platform.python_version()}."


def matmul_rate(device: torch.device, dtype: torch.dtype, preset: str) -> float:
    """Operations per second of matrix products of the model's own shape, best of several."""
    from modeling_mteeg import MteegConfig

    config = MteegConfig.from_preset(preset)
    rows, d_in, d_out = 4096, config.hidden_size, config.intermediate_size
    rows *= 8 if device.type == "cuda" else 1
    left = torch.randn(rows, d_in, device=device, dtype=dtype)
    right = torch.randn(d_in, d_out, device=device, dtype=dtype)
    best = 0.0
    for _ in range(8):
        start = time.perf_counter()
        for _ in range(10):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 10 * 2 * rows * d_in * d_out / (time.perf_counter() - start))
    return best


def joint_step_table(args: argparse.Namespace, device: torch.device) -> str:
    """Time and memory of a step of every variant of the joint training, asked in turn."""
    seconds, peak, rates = measured("steps", VARIANTS, args, device)
    floors = {
        name: operations(args.preset, args.samples, name.startswith("joint")) / rate_of(name, rates)
        for name in seconds
    }
    measurements = step_table("step | samples/s", 6 * args.samples, seconds, peak, floors)
    speeds = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in rates.items())
    return (
        f"One training step, {args.preset}, {args.samples} samples of each of six tasks, medians "
        f"of {args.repeats} rounds.\n\n{measurements}\n\n{notes(VARIANTS, seconds)}\n\n"
        f"Matrix products reach {speeds.replace('torch.', '')} on this machine; the floor is the "
        "time that the step's own matrix products would take at that rate."
    )


def sharing_step_table(args: argparse.Namespace, device: torch.device) -> str:
    """Time, memory and weights of a step of every way of sharing one LaBraM, asked in turn."""
    seconds, peak, _ = measured("sharing", sharing.VARIANTS, args, device)
    return (
        f"One training step, {args.preset}, {args.samples} samples of each of six tasks, medians "
        f"of {args.repeats} rounds.\n\n{sharing.sharing_table(args.preset, seconds, peak)}\n\n"
        f"{notes(sharing.VARIANTS, seconds)}"
    )


def stage_one_table(part: str, args: argparse.Namespace, device: torch.device) -> str:
    """Time and memory of a step of every variant of ``pretraining`` or ``tokenizer``, in turn."""
    kind, what = {
        "pretraining": (pretraining, f"pre-training ({args.preset})"),
        "tokenizer": (tokenizer, "tokenizer training"),
    }[part]
    seconds, peak, rates = measured(part, kind.VARIANTS, args, device)
    work = kind.operations(args.preset, args.samples)
    floors = {name: work / rate_of(name, rates) for name in seconds}
    measurements = step_table(f"{what} step | windows/s", args.samples, seconds, peak, floors)
    text = (
        f"One {what} step, {args.samples} windows of {pretraining.CHANNELS} channels x "
        f"{pretraining.SECONDS} s, medians of {args.repeats} rounds.\n\n{measurements}\n\n"
        f"{notes(kind.VARIANTS, seconds)}\n\nThe floor is the time that the step's own matrix "
        "products would take at the rate that matrix products of the model's shape reach on this "
        "machine."
    )
    if args.corpus_hours is None:
        return text
    speeds = {name: args.samples / statistics.median(values) for name, values in seconds.items()}
    return f"{text}\n\n{cost(part, args.corpus_hours, speeds)}"


def measured(
    part: str, variants: Iterable[str], args: argparse.Namespace, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, float], dict[torch.dtype, float]]:
    """Seconds and peak memory by variant that is measured here, and rates of matrix products."""
    variants = [name for name in variants if wanted(name, args, device)]
    rates = {torch.float32: 0.0, torch.bfloat16: 0.0}
    shared = {"part": part, "preset": args.preset, "samples": args.samples}
    shared |= {"device": str(device), "threads": args.threads}
    workers = {name: Worker(variant=name, **shared) for name in variants}

    def note_rates() -> None:
        for dtype in rates:
            rates[dtype] = max(rates[dtype], matmul_rate(device, dtype, args.preset))

    note_rates()
    rounds = tqdm(range(args.warmup + args.repeats), unit="round", desc=part)
    return *ask_in_turn(workers, rounds, args.warmup, note_rates), rates


def rate_of(variant: str, rates: dict[torch.dtype, float]) -> float:
    """Rate of matrix products in the number type of a variant."""
    return rates[torch.bfloat16 if "bfloat16" in variant else torch.float32]


def wanted(name: str, args: argparse.Namespace, device: torch.device) -> bool:
    """Whether a variant is measured here; compilation needs a compiler, so it is asked for."""
    if args.only:
        return name in (*args.only, "plain, float32", sharing.FIRST)  # others are divided by these
    if "compiled" in name and not (args.compile or device.type == "cuda"):
        return False
    if num_processes(name) > 1:  # on GPUs every process wants one of its own
        return device.type == "cpu" and (args.threads or torch.get_num_threads()) > 1
    return True


def footprint_table(preset: str) -> str:
    """What a task costs beside its base."""
    figures = footprint(preset)
    rows = (f"{name} | {value}" for name, value in figures.items())
    return table("what a task costs | measured", rows)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default: all)")
    add("--preset", default="base", choices=("tiny", "base", "large", "huge"))
    add("--samples", type=int, default=16, help="samples of each task, or windows, in a step")
    add("--repeats", type=int, default=5, help="rounds that count")
    add("--warmup", type=int, default=2, help="rounds that do not count")
    add("--threads", type=int, help="CPU threads (default: all)")
    add("--device", help="cpu or cuda (default: a GPU where there is one)")
    add("--compile", action="store_true", help="torch.compile on a CPU too (needs a compiler)")
    add("--only", action="append", metavar="VARIANT", help="of a step: this row "
        "of the table beside the plain one; may be repeated (each holds its memory)")  # fmt: skip
    add("--minutes", type=float, default=20, help="data: length of a recording")
    add("--recordings", type=int, default=8, help="data: recordings, at least 4")
    add("--windows", type=int, default=300, help="latency: windows that count")
    add("--hours", type=float, nargs="+", default=(1, 4), help="recording: lengths")
    add("--corpus-hours", type=float, metavar="HOURS", help="pretraining, tokenizer: what so many "
        "hours of recordings take at the measured rates (the paper has 2000)")  # fmt: skip
    add("--out", help="write the tables to this file")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown parts {unknown}; expected some of {', '.join(PARTS)}")
    known = {*VARIANTS, *sharing.VARIANTS, *pretraining.VARIANTS, *tokenizer.VARIANTS}
    unknown = sorted(set(args.only or ()) - known)
    if unknown:
        parser.error(f"--only: unknown {unknown}; expected some of {sorted(known)}")
    if args.corpus_hours is not None and args.corpus_hours <= 0:
        parser.error(f"--corpus-hours: expected more than 0, found {args.corpus_hours:g}")
    return args


if __name__ == "__main__":
    sys.exit(main())
