"""Does pre-training help? Joint tuning from a pre-trained tiny base and from random weights.

    python recipes/pretraining_study.py                     # simulated data, three seeds of tuning

Runs the demos of recipes/pretrain_tokenizer.py and recipes/pretrain.py, then recipes/joint.py with
every seed from either start, and prints the test results side by side. Finished steps are not
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

RECIPES = Path(__file__).resolve().parent
MONITORS = {"tuab": "auroc", "chb-mit": "auroc"}
"""The monitor metric of binary tasks; Cohen's kappa for the others (paper, section 4.2)."""
ARMS = ("random", "pre-trained")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("outputs/pretraining_study"))
    add("--seeds", default="0,1,2", help="of joint tuning, separated by commas")
    add("--epochs", type=int, help="of every training, for a quick trial")
    args = parser.parse_args(argv)
    for command in commands(args.output, args.seeds, args.epochs):
        print(" ".join(["\n$ python", *map(str, command)]), flush=True)
        code = subprocess.run([sys.executable, *map(str, command)], check=False).returncode
        if code:
            print(f"error: {command[0]} ended with {code}", file=sys.stderr)
            return code
    results = {arm: read_results(args.output / arm) for arm in ARMS}
    print()
    print(comparison(results))
    path = args.output / "comparison.json"
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(f"written to {path}")
    return 0


def commands(output: Path, seeds: str, epochs: int | None) -> list[list[Any]]:
    """The four trainings: script and arguments."""
    short = [] if epochs is None else ["--set", f"optimization.epochs={epochs}"]
    tokenizer, base = output / "tokenizer", output / "base"
    joint = [RECIPES / "joint.py", "--seeds", seeds, *short]
    joint += ["--set", f"data.folder={output / 'data'}"]  # both arms share the simulated corpora
    return [
        [RECIPES / "pretrain_tokenizer.py", "--output", tokenizer, *short],
        [RECIPES / "pretrain.py", "--tokenizer", tokenizer / "model", "--output", base, *short],
        [*joint, "--output", output / "random"],
        [*joint, "--output", output / "pre-trained", "--base", base / "model"],
    ]


def read_results(folder: Path) -> dict[str, list[float]]:
    """Monitor metric of every task on the test split, a value for each seed."""
    test = json.loads((folder / "results.json").read_text("utf-8"))["test"]
    return {
        task: metrics[MONITORS.get(task, "cohen_kappa")]["values"] for task, metrics in test.items()
    }


def comparison(results: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """A Markdown table: mean and standard deviation over seeds of every task and of their mean."""
    rows = ["| task | metric | random | pre-trained | seeds won |", "|---|---|---|---|---|"]
    first, second = (results[arm] for arm in ARMS)
    means = [[statistics.fmean(values) for values in zip(*arm.values(), strict=True)]
             for arm in (first, second)]  # fmt: skip
    lines = [(task, "AUROC" if task in MONITORS else "Cohen's kappa", first[task], second[task])
             for task in first]  # fmt: skip
    for task, metric, one, other in [*lines, ("**mean**", "", *means)]:
        won = sum(b > a for a, b in zip(one, other, strict=True))
        cells = (task, metric, _cell(one), _cell(other), f"{won} of {len(one)}")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


if __name__ == "__main__":
    sys.exit(main())
