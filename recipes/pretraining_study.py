"""Does pre-training help? Joint tuning from a pre-trained tiny base and from random weights.

    python recipes/pretraining_study.py                     # simulated data, three seeds
    python recipes/pretraining_study.py --parts             # and which part of the base it is
    python recipes/pretraining_study.py --unlabelled UNLABELLED --data DATA --tasks tuab,tuev

Every seed has its own tokenizer, its own base and its own joint tunings: the demos of
recipes/pretrain_tokenizer.py, recipes/pretrain.py and recipes/joint.py, which differ between the
arms in their start alone. The test results are printed side by side. Finished steps are not
repeated when it is started again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
import torch

from modeling_mteeg import MteegModel
from modeling_mteeg.settings.command_line import CommandParser, Place, text_and_examples
from modeling_mteeg.settings.plain_json import write_text
from modeling_mteeg.settings.vocabulary import OF_THE_DATA, add_option

RECIPES = Path(__file__).resolve().parent
RANDOM, PRETRAINED = "random", "pre-trained"
PARTS = {"temporal encoder": True, "transformer": False}
"""Arms between the two: what of the base is pre-trained, all else random."""
METRICS = {"auroc": "AUROC", "cohen_kappa": "Cohen's kappa"}
Values = Mapping[str, Sequence[float]]


@_ending.command("finished steps are not repeated, and the same command goes on")
def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the table."""
    args = parse_arguments(argv)
    _ending.hush(args.quiet, printed=True)
    todo = steps(args)
    for number, (command, parts) in enumerate(todo, 1):
        if not args.quiet:
            print(" ".join([f"\n[{number}/{len(todo)}] $ python", *map(str, command)]), flush=True)
        if parts is not None:
            mix_base(*parts)
        code = subprocess.run([sys.executable, *map(str, command)], check=False).returncode
        if code:
            _ending.say_error(f"error: {command[0]} ended with {code}")
            return code
    results = collect(args.output, args.seeds, arms_of(args))
    print(f"\nTest split, {results['data']} data, seeds {', '.join(map(str, args.seeds))}:\n")
    print(comparison(results))
    path = args.output / "comparison.json"
    write_text(path, json.dumps(results, indent=1) + "\n")
    if not args.quiet:
        print(f"\nwritten to {path}")
    return 0


def build_parser() -> CommandParser:
    """The command line."""
    description, examples = text_and_examples(__doc__)
    parser = CommandParser(description=description, examples=examples)
    add = parser.add_argument
    add_option(parser, "--out", "a folder (default: outputs/pretraining_study)", dest="output",
        type=Place(folder=True, kind=Path), default=Path("outputs/pretraining_study"))  # fmt: skip
    add_option(parser, "--seeds", "of all trainings (default: 0,1,2)", default=[0, 1, 2])
    add("--parts", action="store_true", help="two more arms: the temporal encoder alone from "
        "pre-training, and the transformer with its embeddings alone")  # fmt: skip
    add("--unlabelled", nargs="+", metavar="FOLDER", help="prepared unlabelled recordings to "
        "pre-train on, instead of simulated ones")  # fmt: skip
    add_option(parser, "--data", "corpora to tune on, instead of simulated ones")
    add_option(parser, "--task", f"which to tune on; {OF_THE_DATA} (default: all six)", nargs="+")
    add("--epochs", type=int, help="of every training, for a quick trial")
    add_option(parser, "--quiet", "and the table")
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if not all(isinstance(seed, int) for seed in args.seeds):
        parser.error(f"--seeds: expected whole numbers, found {args.seeds}")
    return args


def arms_of(args: argparse.Namespace) -> list[str]:
    """The starts that are compared, in the order of the table."""
    return [RANDOM, *(PARTS if args.parts else ()), PRETRAINED]


Mix = tuple[Path, int, bool, Path]
Step = tuple[list[Any], Mix | None]


def steps(args: argparse.Namespace) -> list[Step]:
    """Every training: script and arguments, and the base to be put together first, if any."""
    short = [] if args.epochs is None else ["--set", f"optimization.epochs={args.epochs}"]
    short += ["--quiet"] if args.quiet else []
    unlabelled = [] if args.unlabelled is None else ["--data", *args.unlabelled]
    joint: list[Any] = [RECIPES / "joint.py", *short]
    joint += [] if args.task is None else ["--tasks", ",".join(args.task)]
    if args.data is None:  # all arms share the simulated corpora
        joint += ["--set", f"data.folder={args.output / 'data'}"]
    else:
        joint += ["--data", args.data]
    trainings: list[Step] = []
    for seed in args.seeds:
        folder = args.output / f"seed-{seed}"
        tokenizer, base = folder / "tokenizer", folder / "base"
        stage_one = ["--set", f"seed={seed}", *unlabelled, *short]
        pretrain = [RECIPES / "pretrain.py", *stage_one, "--tokenizer", tokenizer / "model"]
        trainings += [
            ([RECIPES / "pretrain_tokenizer.py", *stage_one, "--output", tokenizer], None),
            ([*pretrain, "--output", base], None),
        ]
        for arm in arms_of(args):
            start = folder / f"{arm} base" if arm in PARTS else base / "model"
            command = [*joint, "--seeds", seed, "--output", folder / arm]
            command += [] if arm == RANDOM else ["--base", start]
            mix = (base / "model", seed, PARTS[arm], start) if arm in PARTS else None
            trainings.append((command, mix))
    return trainings


def mix_base(pretrained: Path, seed: int, temporal_encoder: bool, folder: Path) -> None:
    """Write a base of which one part is pre-trained; the other is that of the random arm.

    Parameters
    ----------
    pretrained : Path
        A base.
    seed : int
        Of the random weights, as in joint tuning.
    temporal_encoder : bool
        Whether the pre-trained part is the temporal encoder, or all but it.
    folder : Path
        Written anew, with the same numbers each time.
    """
    trained = MteegModel.from_pretrained(pretrained)
    torch.manual_seed(seed)
    mixed = MteegModel(trained.config)
    taken = {
        name: value
        for name, value in trained.state_dict().items()
        if name.startswith("temporal_encoder.") == temporal_encoder
    }
    mixed.load_state_dict(taken, strict=False)
    mixed.save_pretrained(folder)


def collect(output: Path, seeds: Sequence[int], arms: Sequence[str]) -> dict[str, Any]:
    """What all joint tunings found, in the order of the seeds.

    Returns
    -------
    dict
        ``test``: arm to task to values of the task's monitor metric; ``validation``: arm to mean
        monitor metric of the selected epochs; ``monitors``: task to metric; ``data``: whether
        they are simulated.
    """
    test: dict[str, dict[str, list[float]]] = {arm: {} for arm in arms}
    validation: dict[str, list[float]] = {arm: [] for arm in arms}
    monitors, simulated = {}, set()
    for arm in arms:
        for seed in seeds:
            folder = output / f"seed-{seed}" / arm
            results = json.loads((folder / "results.json").read_text("utf-8"))
            history = json.loads((folder / "history.json").read_text("utf-8"))
            validation[arm].append(max(entry["score"] for entry in history))
            simulated |= set(results["simulated"].values())
            for task, metrics in results["test"].items():
                card = json.loads((folder / "model/adapters" / task / "task.json").read_text())
                monitors[task] = card["monitor"]
                test[arm].setdefault(task, []).append(metrics[card["monitor"]]["mean"])
    data = {frozenset([True]): "simulated", frozenset([False]): "recorded"}
    return {
        "data": data.get(frozenset(simulated), "partly simulated"),
        "seeds": list(seeds), "monitors": monitors, "test": test, "validation": validation,
    }  # fmt: skip


def comparison(results: Mapping[str, Any]) -> str:
    """A Markdown table of all arms, with the gain of pre-training within seeds."""
    test, arms = results["test"], list(results["test"])
    heads = ["task", "metric", *arms, "gain", "seeds won"]
    rows = [heads, ["---"] * len(heads)]
    for task, metric in results["monitors"].items():
        values = {arm: test[arm][task] for arm in arms}
        rows.append([task, METRICS.get(metric, metric), *_cells(values)])
    means = {arm: [statistics.fmean(seed) for seed in zip(*test[arm].values(), strict=True)]
             for arm in arms}  # fmt: skip
    rows.append(["**mean**", "", *_cells(means)])
    rows.append(["mean on validation", "", *_cells(results["validation"])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(values: Values) -> list[str]:
    """Each arm's values, the gain, and how often it is one."""
    gains = [b - a for a, b in zip(values[RANDOM], values[PRETRAINED], strict=True)]
    won = f"{sum(gain > 0 for gain in gains)} of {len(gains)}"
    return [*map(_cell, values.values()), _cell(gains, "+"), won]


def _cell(values: Sequence[float], sign: str = "") -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.3f}{spread}"


if __name__ == "__main__":
    sys.exit(main())
