"""Speed and memory, measured side by side: ``python recipes/benchmark.py``.

Compares the joint step (one backbone, six adapters) with the plain way (six models, each fully
fine-tuned) on the six tasks' real shapes, the ways of sharing one LaBraM (HPS, MMoE, CGC, MTEEG)
with each other, what comparing gradients adds to a step, the attention kernel of ``compile: true``
with torch's own (on the CPU), the steps of masked pre-training and of training the neural tokenizer
with the published way, preparing and reading data with plain MNE and a plain memmap, a live window
from samples to probabilities with the plain forward pass alone, predicting hours and many short
files with MNE's chain and the plain forward pass, steps of 6, 24 and 96 tasks with each other, and
measures what a task costs: switching, disk, memory.
``arithmetic`` measures nothing: it counts what a step takes (docs/gpu.md). Figures are
medians; the ratios hold within one run on one machine, nothing else.

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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
import torch
from tqdm.auto import tqdm

from modeling_mteeg.recipes.benchmarks import pretraining_step as pretraining
from modeling_mteeg.recipes.benchmarks import sharing_step as sharing
from modeling_mteeg.recipes.benchmarks import task_step
from modeling_mteeg.recipes.benchmarks import tokenizer_step as tokenizer
from modeling_mteeg.recipes.benchmarks.arithmetic import arithmetic_table
from modeling_mteeg.recipes.benchmarks.attention import attention_table
from modeling_mteeg.recipes.benchmarks.cost import cost
from modeling_mteeg.recipes.benchmarks.data import data_table
from modeling_mteeg.recipes.benchmarks.footprint import footprint
from modeling_mteeg.recipes.benchmarks.gradient_cost import gradient_cost_table
from modeling_mteeg.recipes.benchmarks.joint_step import (
    VARIANTS,
    computed_share,
    num_processes,
    operations,
)
from modeling_mteeg.recipes.benchmarks.latency import latency_table
from modeling_mteeg.recipes.benchmarks.many_files import files_table
from modeling_mteeg.recipes.benchmarks.recording import recording_table
from modeling_mteeg.recipes.benchmarks.step import number_type, of_gpus_alone
from modeling_mteeg.recipes.benchmarks.tables import notes, step_table, table
from modeling_mteeg.recipes.benchmarks.worker import Worker, ask_in_turn, ask_one_by_one
from modeling_mteeg.settings.command_line import CommandParser, Place, text_and_examples
from modeling_mteeg.settings.plain_json import write_text
from modeling_mteeg.settings.vocabulary import add_option

PARTS = (
    "steps", "sharing", "tasks", "gradients", "attention", "pretraining", "tokenizer", "data",
    "footprint", "latency", "recording", "files", "arithmetic",
)  # fmt: skip
STEPS = ("steps", "sharing", "tasks", "pretraining", "tokenizer")
"""Parts that are training steps, each variant of which has a process of its own."""


@_ending.command("nothing of it is kept")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and maybe write the tables."""
    args = parse_arguments(argv)
    _ending.hush(args.quiet, printed=True)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.threads:
        torch.set_num_threads(args.threads)
    parts = {
        "steps": lambda: joint_step_table(args, device),
        "gradients": lambda: gradient_cost_table(
            args.preset, args.samples, args.repeats, args.warmup, device
        ),
        "attention": lambda: attention_table(args.preset, args.samples, args.repeats, args.warmup),
        "sharing": lambda: sharing_step_table(args, device),
        "tasks": lambda: many_tasks_table(args, device),
        "pretraining": lambda: stage_one_table("pretraining", args, device),
        "tokenizer": lambda: stage_one_table("tokenizer", args, device),
        "data": lambda: data_table(args.minutes, args.recordings, args.repeats),
        "footprint": lambda: footprint_table(args.preset),
        "latency": lambda: latency_table(args.preset, args.windows),
        "recording": lambda: recording_table(args.preset, args.hours),
        "files": lambda: files_table(args.preset, args.num_files, args.file_seconds),
        "arithmetic": lambda: arithmetic_table(presets, sizes),
    }
    chosen = args.parts or [name for name in PARTS if name != "arithmetic"]
    texts, presets, sizes = [machine(device)], args.preset, args.samples
    for name in chosen:  # training steps in every size that was asked for, the rest in the first
        every = name in STEPS
        for args.preset in presets if every else presets[:1]:
            for args.samples in sizes if every else sizes[:1]:
                texts.append(parts[name]())
    text = "\n\n".join(texts)
    print(text)
    if args.out:
        write_text(args.out, text + "\n")
    return 0


def machine(device: torch.device) -> str:
    """The machine in words."""
    name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}, {name}"
    return f"Machine: {name}; torch {torch.__version__}, Python {platform.python_version()}."


def matmul_rate(device: torch.device, kind: str, preset: str) -> float:
    """Operations per second of matrix products of the model's own shape, best of several.

    ``kind`` is ``float32``, ``TF32``, ``bfloat16`` or ``float16``.
    """
    from modeling_mteeg import MteegConfig

    dtype = getattr(torch, "float32" if kind == "TF32" else kind)
    torch.set_float32_matmul_precision("high" if kind == "TF32" else "highest")
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
    seconds, peak, rates, left_out = measured("steps", VARIANTS, args, device)
    floors = {
        name: operations(args.preset, args.samples, name.startswith("joint"))
        * computed_share(name, device)
        / rate_of(name, rates)
        for name in seconds
    }
    measurements = step_table("step | samples/s", 6 * args.samples, seconds, peak, floors)
    speeds = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {kind}" for kind, rate in rates.items())
    return (
        f"One training step, {args.preset}, {args.samples} samples of each of six tasks, medians "
        f"of {args.repeats} rounds.\n\n{measurements}\n\n{notes(VARIANTS, seconds)}\n\n"
        f"{left_out}Matrix products reach {speeds} on this machine; the floor is the time that the "
        "step's own matrix products would take at that rate."
    )


def sharing_step_table(args: argparse.Namespace, device: torch.device) -> str:
    """Time, memory and weights of a step of every way of sharing one LaBraM, asked in turn."""
    seconds, peak, _, left_out = measured("sharing", sharing.VARIANTS, args, device)
    return (
        f"One training step, {args.preset}, {args.samples} samples of each of six tasks, medians "
        f"of {args.repeats} rounds.\n\n{sharing.sharing_table(args.preset, seconds, peak)}\n\n"
        f"{left_out}{notes(sharing.VARIANTS, seconds)}"
    )


def many_tasks_table(args: argparse.Namespace, device: torch.device) -> str:
    """Steps at equal total batch with more and more tasks, and what holding them costs."""
    variants = task_step.variants(args.num_tasks)
    seconds, peak, _, left_out = measured("tasks", variants, args, device)
    return (
        f"{6 * args.samples} samples in all, {args.preset}, dealt to the tasks, which have the six "
        f"tasks' shapes in turn; medians of {args.repeats} rounds.\n\n"
        f"{task_step.task_table(args.num_tasks, seconds, peak)}\n\n{left_out}"
        f"{notes(task_step.WAYS)}\n\n"
        f"{task_step.cost_table(args.preset, args.num_tasks)}"
    )


def stage_one_table(part: str, args: argparse.Namespace, device: torch.device) -> str:
    """Time and memory of a step of every variant of ``pretraining`` or ``tokenizer``, in turn."""
    kind, what = {
        "pretraining": (pretraining, f"pre-training ({args.preset})"),
        "tokenizer": (tokenizer, "tokenizer training"),
    }[part]
    seconds, peak, rates, left_out = measured(part, kind.VARIANTS, args, device)
    work = kind.operations(args.preset, args.samples)
    floors = {name: work / rate_of(name, rates) for name in seconds}
    measurements = step_table(f"{what} step | windows/s", args.samples, seconds, peak, floors)
    text = (
        f"One {what} step, {args.samples} windows of {pretraining.CHANNELS} channels x "
        f"{pretraining.SECONDS} s, medians of {args.repeats} rounds.\n\n{measurements}\n\n"
        f"{notes(kind.VARIANTS, seconds)}\n\n{left_out}The floor is the time that the step's own "
        "matrix products would take at the rate that matrix products of the model's shape reach on "
        "this machine."
    )
    if args.corpus_hours is None:
        return text
    speeds = {name: args.samples / statistics.median(values) for name, values in seconds.items()}
    return f"{text}\n\n{cost(part, args.corpus_hours, speeds)}"


def measured(
    part: str, variants: Iterable[str], args: argparse.Namespace, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, float], dict[str, float], str]:
    """Seconds and peak memory by variant that is measured here, rates of products, what is missing.

    The last is a paragraph on variants that did not fit the GPU's memory, or empty.
    """
    variants = [name for name in variants if wanted(name, args, device)]
    cuda = device.type == "cuda"
    rates = dict.fromkeys(map(number_type, variants), 0.0)  # emulated bfloat16 takes a minute
    shared = {"part": part, "preset": args.preset, "samples": args.samples}
    shared |= {"device": str(device), "threads": args.threads}
    options = {name: {"variant": name, **shared} for name in variants}

    def note_rates() -> None:
        for kind in rates:
            rates[kind] = max(rates[kind], matmul_rate(device, kind, args.preset))

    note_rates()
    turns = range(args.warmup + args.repeats)
    if not cuda:
        workers = {name: Worker(**given) for name, given in options.items()}
        rounds = tqdm(turns, unit="round", desc=part)
        return *ask_in_turn(workers, rounds, args.warmup, note_rates), rates, ""
    torch.cuda.empty_cache()  # the memory is for the processes that are measured
    seconds, peak, too_large = ask_one_by_one(options, turns, args.warmup)
    if not seconds:
        raise SystemExit(f"{part}: nothing fits this GPU's memory; fewer --samples, or --only.")
    missing = f"Out of this GPU's memory: {'; '.join(too_large)}.\n\n" if too_large else ""
    return seconds, peak, rates, missing


def rate_of(variant: str, rates: Mapping[str, float]) -> float:
    """Rate of matrix products in the number type of a variant."""
    return rates[number_type(variant)]


def wanted(name: str, args: argparse.Namespace, device: torch.device) -> bool:
    """Whether a variant is measured here; compilation needs a compiler, so it is asked for."""
    if args.only and " tasks, " not in name:
        return name in (*args.only, "plain, float32", sharing.FIRST)  # others are divided by these
    if device.type != "cuda" and of_gpus_alone(name):
        return False
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


def build_parser() -> CommandParser:
    """The command line."""
    description, examples = text_and_examples(__doc__)
    parser = CommandParser(description=description, examples=examples)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default: all "
        "that measure)")  # fmt: skip
    add_option(parser, "--preset", "(default: base)", default=["base"], nargs="+",
        choices=("tiny", "base", "large", "huge"))  # fmt: skip
    add("--samples", nargs="+", type=int, default=[16], help="samples of each task, or windows, in "
        "a step; of several sizes a table each")  # fmt: skip
    add("--repeats", type=int, default=5, help="rounds that count")
    add("--warmup", type=int, default=2, help="rounds that do not count")
    add("--threads", type=int, help="CPU threads (default: all)")
    add_option(parser, "--device")
    add("--compile", action="store_true", help="torch.compile on a CPU too (needs a compiler)")
    known = (*VARIANTS, *sharing.VARIANTS, *pretraining.VARIANTS, *tokenizer.VARIANTS)
    add_option(parser, "--only", "of a step, beside the plain one; again for several (each holds "
        "its memory)", known=tuple(dict.fromkeys(known)))  # fmt: skip
    add("--minutes", type=float, default=20, help="data: length of a recording")
    add("--recordings", type=int, default=8, help="data: recordings, at least 4")
    add_option(parser, "--windows", "that count, for latency (default: 300)", default=300)
    add("--hours", type=float, nargs="+", default=(1, 24), help="recording: lengths")
    add("--num-files", type=int, default=1000, help="files: short recordings")
    add("--file-seconds", type=float, default=60, help="files: length of a recording")
    add("--num-tasks", type=int, nargs="+", default=task_step.COUNTS, metavar="N", help="tasks: "
        "how many are held and in a step; the first is 1.00")  # fmt: skip
    add("--corpus-hours", type=float, metavar="HOURS", help="pretraining, tokenizer: what so many "
        "hours of recordings take at the measured rates (the paper has 2000)")  # fmt: skip
    add_option(parser, "--out", "the tables, in a file (.md, .txt)", type=Place(".md", ".txt"))
    add_option(parser, "--overwrite")
    add_option(parser, "--quiet", "and the tables")
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.out and Path(args.out).exists() and not args.overwrite:
        parser.error(f"--out: {args.out} is there already: another name, or --overwrite")
    unknown = sorted(set(args.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown parts {unknown}; expected some of {', '.join(PARTS)}")
    on_cpu = not (args.device or ("cuda" if torch.cuda.is_available() else "cpu")).startswith(
        "cuda"
    )
    gpus = [name for name in args.only or () if on_cpu and of_gpus_alone(name)]
    if gpus:
        parser.error(f"--only: {gpus} can be measured on a GPU alone (--device cuda)")
    if "tasks" in args.parts or not args.parts:
        try:
            for samples in args.samples:
                task_step.check_counts(args.num_tasks, samples)
        except ValueError as error:
            parser.error(str(error))
    if args.corpus_hours is not None and args.corpus_hours <= 0:
        parser.error(f"--corpus-hours: expected more than 0, found {args.corpus_hours:g}")
    return args


if __name__ == "__main__":
    sys.exit(main())
