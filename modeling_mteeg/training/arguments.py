"""The command line of the recipes: what all have, and how it becomes keys of a configuration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..methods import METHODS
from ..model.head_options import KINDS
from ..settings.config_file import read_overrides, read_tree
from .search_grid import SHORT_NAMES, asked_grid

SIZES = ("demo", "small", "base", "large", "huge")


def recipe_parser(text: str) -> argparse.ArgumentParser:
    """A parser with ``text`` as it stands and the arguments that every recipe has."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", help="folder for checkpoints, model and results")
    add("--num-processes", type=int, help="how many there must be")
    add("--resume", choices=("auto", "always", "never"), default="auto",
        help="never: begin anew and replace what the output folder holds")  # fmt: skip
    add("--show-config", action="store_true",
        help="print the whole configuration, every key with its value, and end")  # fmt: skip
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any key of the configuration, such as optimization.epochs=10")  # fmt: skip
    return parser


def joint_parser(text: str, configs: Path) -> argparse.ArgumentParser:
    """The arguments of a joint training; ``configs`` holds the shipped configurations."""
    parser = recipe_parser(text)
    add = parser.add_argument
    add("--config", default=configs / "joint_demo.yaml", type=Path)
    add("--data", help="prepared corpora, <data>/<task>/: a folder, or a URL such as s3://..., "
        "hf://datasets/... (streamed); {task} stands for the task's name")  # fmt: skip
    add("--streaming", action="store_true", help="fetch windows by byte range from a folder too")
    add("--tasks", help="tasks, separated by commas")
    add("--base", help="folder or Hub id of the base, instead of a preset")
    add(
        "--method",
        help=f"what is trained: {', '.join(METHODS)}, braindecode:MODEL (docs/methods.md)",
    )
    add("--head", help=f"what the tasks' heads read: auto, {', '.join(KINDS)} (docs/heads.md)")
    add("--seeds", help="whole numbers, separated by commas")
    add("--search", help=f"try a small grid, by validation: of {', '.join(SHORT_NAMES)}, with the "
        "values of the file's search section or the usual ones (docs/splits.md)")  # fmt: skip
    add("--split", help="corpus (as prepared), kfold:6, leave-one-subject-out, within-subject, "
        "few-shot:20 ... (docs/splits.md)")  # fmt: skip
    add("--split-seed", type=int, help="draws folds, validation people, blocks")
    add("--fold", type=int, help="which fold of the split, from 0")
    add("--retrain-encoder", action="store_true", help="train the temporal encoder of a base that "
        "has tasks, too: a new base, without them")  # fmt: skip
    add("--into-base", action="store_true", help="write the new tasks into the base's folder, too")
    add("--replace-tasks", action="store_true", help="let them take the places of the base's tasks "
        "of the same names")  # fmt: skip
    return parser


def joint_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Command-line arguments as dotted keys of a ``JointConfig``."""
    keys = _given(args, "method", "output", "num_processes")
    if args.data is not None:
        keys |= {"data.folder": args.data, "data.simulate": False}
    if args.streaming:
        keys["data.streaming"] = True
    if args.base is not None:
        keys |= {"model.base": args.base, "model.preset": None}
    if args.head is not None:
        keys["head.kind"] = args.head
    if args.retrain_encoder:
        keys["train_temporal_encoder"] = True
    keys |= {name: True for name in ("into_base", "replace_tasks") if getattr(args, name)}
    if args.tasks is not None:
        keys["data.tasks"] = args.tasks.split(",")
    if args.search is not None:
        tree, _ = read_tree(args.config)
        given = tree.get("search") if isinstance(tree, dict) else None
        keys["search"] = asked_grid(args.search.split(","), given)
    for name in ("split", "split_seed", "fold"):
        if getattr(args, name, None) is not None:
            keys[f"data.{name}"] = getattr(args, name)
    if args.seeds is not None:
        keys["seeds"] = [int(part) if part.isdecimal() else part for part in args.seeds.split(",")]
    return keys


def stage_one_parser(text: str, configs: Path, kind: str) -> argparse.ArgumentParser:
    """The arguments of stage one.

    ``kind`` (tokenizer, pretrain) begins the names of its configurations in the folder ``configs``.
    """
    parser = recipe_parser(text)
    add = parser.add_argument
    add("--config", default=shipped_config(configs, kind, "demo"), metavar="FILE",
        type=lambda name: shipped_config(configs, kind, name),
        help=f"a YAML file, or the name of a shipped one: {', '.join(SIZES)} (default: demo)"
        + ("; one tokenizer serves base, large and huge" if kind == "tokenizer" else "")
    )  # fmt: skip
    add("--data", nargs="+", metavar="FOLDER", help="folders of unlabelled recordings, prepared "
        "with python -m dataset_scripts.unlabelled")  # fmt: skip
    if kind == "pretrain":
        add("--tokenizer", help="folder or Hub id of the neural tokenizer")
    add("--init", help="folder or Hub id to go on from, instead of random weights")
    return parser


def stage_one_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Command-line arguments as dotted keys of a ``StageOneConfig``."""
    keys = _given(args, "output", "num_processes", "tokenizer")
    if args.data is not None:
        keys |= {"data.folders": args.data, "data.simulate": False}
    if args.init is not None:
        # What earlier weights bring along; the command line may still ask for it, and be refused.
        brought = ["model.initializer_range"]
        if not hasattr(args, "tokenizer"):
            brought.append("model.amplitude_target")
        keys = {**dict.fromkeys(brought), **keys, "model.init": args.init, "model.preset": None}
    return keys


def shipped_config(configs: Path, kind: str, name: str) -> Path:
    """The file that ``--config NAME`` means: one of ``SIZES`` is a shipped one, else a path.

    There is one published tokenizer: its codes serve the large and the huge student as well.
    """
    if name not in SIZES:
        return Path(name)
    if kind == "tokenizer" and name in ("large", "huge"):
        name = "base"
    return configs / f"{kind}_{name}.yaml"


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """``--set`` and those of the arguments that were given."""
    values = {name: getattr(args, name, None) for name in names}
    given = {name: value for name, value in values.items() if value is not None}
    return {**read_overrides(args.set), **given}
