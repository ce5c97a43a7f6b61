"""``mteeg evaluate``: a task's figures, computed again, beside those of its card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..settings.command_line import ALL, CommandParser, Place
from ..settings.vocabulary import SPLITS, add_option
from .shared_arguments import shows_progress, tasks_of

SUMMARY = "evaluate adapters on prepared corpora, and say whether the figures of their cards hold"
EXAMPLES = ("mteeg evaluate --base BASE --task all --data data --out figures.json",)
PRINTS = True


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.epilog = "exit code: 0 equal, 1 unequal, 2 wrong input or nothing to compare"
    add = parser.add_argument
    add_option(parser, "--task", "beside the base, an adapter's folder, or owner/repo; several "
        "with commas or again (default: all beside the base)", default=[])  # fmt: skip
    add_option(parser, "--base", "(default: the one that an adapter lies beside, or that its card "
        "names)")  # fmt: skip
    add_option(parser, "--data", "corpora, <data>/<task> or a name with {task} in it, also a URL; "
        "or the folder of the corpus itself", required=True)  # fmt: skip
    add_option(parser, "--on", "of the split that the adapter was trained in (default: validation "
        "and test, which cards state)", default=[])  # fmt: skip
    parser.old_spelling("--split", "--on")
    add("--tolerance", type=float, metavar="X",
        help="by which a figure may differ and be equal (0.001)")  # fmt: skip
    add("--precision", choices=("no", "bf16", "fp16"), help="of the forward pass (the training's)")
    add_option(parser, "--batch-size", "(default: 64)", default=64)
    add("--json", action="store_true", help="print JSON instead of tables")
    add_option(parser, "--out", "the JSON, in a file (.json)", type=Place(".json"))
    add_option(parser, "--overwrite")
    add_option(parser, "--revision", "of the base")
    add_option(parser, "--token")
    add_option(parser, "--device")
    add_option(parser, "--quiet", "and the tables or the JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 0, 1 or 2, as the end of ``--help`` says.

    Raises
    ------
    ValueError
        Wrong input, a task whose base is not known, or a file that is there.
    """
    from ..hub.reaching import reach_hub
    from ..model.adapter_places import tasks_beside
    from ..prediction.task_loading import base_of_task, check_base_name, load_tasks
    from ..settings.plain_json import plain, write_json
    from ..training.recomputed_results import TOLERANCE, recompute

    tolerance = TOLERANCE if args.tolerance is None else args.tolerance
    if not 0 <= tolerance < 1:
        raise ValueError(f"--tolerance: expected a number from 0 to 1, found {args.tolerance}.")
    if args.out:
        _check_out(Path(args.out), args.overwrite)
    if not (args.base or args.task):
        raise ValueError("expected --task or --base, found neither: name what is to be evaluated.")
    if args.task == [ALL] and not args.base:
        raise ValueError("--task all: expected --base, beside which the tasks lie.")
    if args.base:
        check_base_name(args.base)
    reach_hub(args.base, args.task, str(args.data))
    tasks = tasks_of(args) or tasks_beside(args.base)
    if not tasks:
        raise ValueError(f"{args.base}: expected tasks beside the base, found none. Say --task.")
    bases = [args.base] if args.base else [base_of_task(one, args.token) for one in tasks]
    if len(set(bases)) > 1:
        raise ValueError(f"expected tasks of one base, found {', '.join(dict.fromkeys(bases))}.")
    model, names = load_tasks(
        bases[0], tasks, revision=args.revision, token=args.token, device=args.device
    )
    found = {}
    for name in names:
        found[name] = recompute(
            model, name, args.data, _splits(args.on), tolerance=tolerance,
            precision=args.precision, batch_size=args.batch_size, progress=shows_progress(args),
        )  # fmt: skip
        if not args.json:
            print(found[name].text())
    equal = [one.equal for one in found.values()]
    result = {
        "base": {"name": bases[0], "fingerprint": model.fingerprint()},
        "equal": None if None in equal and False not in equal else all(equal),
        "tasks": {name: one.to_dict() for name, one in found.items()},
    }
    if args.json:
        print(json.dumps(plain(result), indent=2, ensure_ascii=False))
    if args.out:
        path = write_json(args.out, result)
        if not (args.json or args.quiet):
            print(f"written to {path}")
    return {True: 0, False: 1, None: 2}[result["equal"]]


def _splits(chosen: list[str]) -> tuple[str, ...]:
    """The splits of ``--on``."""
    return SPLITS if chosen == [ALL] else tuple(chosen) or SPLITS[1:]


def _check_out(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} there already: choose another name, or say --overwrite.")
