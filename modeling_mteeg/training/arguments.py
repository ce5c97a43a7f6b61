"""The command line of the recipes: what all have, and how it becomes keys of a configuration."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg.data.loading import prepared_tasks

from ..methods import METHODS
from ..settings.command_line import ALL, CommandParser, Place, text_and_examples
from ..settings.config_file import read_overrides, read_tree
from ..settings.vocabulary import OF_THE_DATA, add_option
from .joint_config import TASKS
from .search_grid import SHORT_NAMES, asked_grid
from .trackers import NONE, TRACKERS

SIZES = ("demo", "small", "base", "large", "huge")


def recipe_parser(text: str) -> CommandParser:
    """A parser for the docstring ``text`` of a recipe, with the arguments that every one has."""
    description, examples = text_and_examples(text)
    parser = CommandParser(description=description, examples=examples)
    add = parser.add_argument
    add_option(parser, "--out", "checkpoints, model and results: a folder", dest="output",
        type=Place(folder=True))  # fmt: skip
    add_option(parser, "--num-proc", "as many as there must be; the launcher starts them",
        dest="num_processes")  # fmt: skip
    add_option(parser, "--tracker", f"one of {', '.join((NONE, *TRACKERS))}")
    add("--resume", choices=("auto", "always", "never"), default="auto",
        help="never: begin anew and replace what the output folder holds")  # fmt: skip
    add_option(parser, "--overwrite", "begin anew (--resume never)", dest="resume",
        action="store_const", const="never")  # fmt: skip
    add("--show-config", action="store_true",
        help="print the whole configuration, every key with its value, and end")  # fmt: skip
    add_option(parser, "--set")
    add_option(parser, "--quiet")
    return parser


def joint_parser(text: str, configs: Path) -> CommandParser:
    """The arguments of a joint training; ``configs`` holds the shipped configurations."""
    parser = recipe_parser(text)
    add_option(parser, "--config", "or the name of a shipped one, such as joint_base (default: "
        "joint_demo)", default=configs / "joint_demo.yaml", type=config_type(configs))  # fmt: skip
    add_option(parser, "--data", "corpora, <data>/<task>/: a folder, or a URL such as s3://..., "
        "hf://datasets/... (streamed); {task} stands for the task's name")  # fmt: skip
    parser.add_argument("--streaming", action="store_true", help="fetch windows by byte range from "
        "a folder too")  # fmt: skip
    add_option(parser, "--task", f"which to train; {OF_THE_DATA}", nargs="+")
    add_option(parser, "--base", "to start from, instead of a preset")
    add_option(
        parser, "--method", f"one of {', '.join(METHODS)}, braindecode:MODEL (docs/methods.md)"
    )
    add_option(parser, "--head", "(docs/heads.md)")
    add_option(parser, "--seeds")
    add_option(parser, "--search", f"over {', '.join(SHORT_NAMES)}, with the values of the file's "
        "search section or the usual ones (docs/splits.md)")  # fmt: skip
    add_option(parser, "--split", "corpus (as prepared), kfold:6, leave-one-subject-out, "
        "within-subject, few-shot:20 ... (docs/splits.md)")  # fmt: skip
    add_option(parser, "--split-seed", "draws folds, validation people, blocks")
    parser.add_argument("--fold", type=int, help="which fold of the split, from 0")
    for name in ("--retrain-encoder", "--into-base", "--replace-tasks"):
        add_option(parser, name)
    return parser


def joint_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Command-line arguments as dotted keys of a ``JointConfig``."""
    keys = _given(args, "method", "output", "num_processes", "tracker")
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
    if args.task is not None:
        keys["data.tasks"] = chosen_tasks(args, keys)
    if args.search is not None:
        tree, _ = read_tree(args.config)
        given = tree.get("search") if isinstance(tree, dict) else None
        keys["search"] = asked_grid(args.search.split(","), given)
    for name in ("split", "split_seed", "fold"):
        if getattr(args, name, None) is not None:
            keys[f"data.{name}"] = getattr(args, name)
    if args.seeds is not None:
        keys["seeds"] = args.seeds
    return keys


def chosen_tasks(
    args: argparse.Namespace, keys: Mapping[str, Any], section: str = ""
) -> Sequence[str]:
    """The tasks that ``--task`` chose; ``all`` are those that the data has.

    Parameters
    ----------
    args : argparse.Namespace
    keys : mapping of str to object
        What else the command line puts over the file.
    section : str
        Of the file, that holds ``data``; empty: the file itself.

    Raises
    ------
    ValueError
        ``all``, of data that cannot be listed, or that has none.
    """
    if args.task != [ALL]:
        return args.task
    tree, _ = read_tree(args.config)
    for name in (section, "data"):
        tree = tree.get(name) if name and isinstance(tree, dict) else tree
    told = tree if isinstance(tree, dict) else {}
    folder, simulate = (keys.get(f"data.{key}", told.get(key)) for key in ("folder", "simulate"))
    return TASKS if simulate else prepared_tasks(folder)


def config_type(configs: Path) -> Callable[[str], Path]:
    """What a parser makes of ``--config``: a path, or the name of a file in ``configs``."""

    def path_of(name: str) -> Path:
        shipped = {path.stem: path for path in sorted(configs.glob("*.yaml"))}
        if Path(name).suffix or Path(name).exists() or Path(name).name != name:
            return Path(name)
        if name not in shipped:
            raise argparse.ArgumentTypeError(
                f"expected a YAML file or one of {', '.join(shipped)}; found {name!r}, which is "
                "neither"
            )
        return shipped[name]

    return path_of


def stage_one_parser(text: str, configs: Path, kind: str) -> CommandParser:
    """The arguments of stage one.

    ``kind`` (tokenizer, pretrain) begins the names of its configurations in the folder ``configs``.
    """
    parser = recipe_parser(text)
    add_option(parser, "--config", f"or the name of a shipped one: {', '.join(SIZES)} (default: "
        "demo)" + ("; one tokenizer serves base, large and huge" if kind == "tokenizer" else ""),
        default=shipped_config(configs, kind, "demo"),
        type=lambda name: shipped_config(configs, kind, name))  # fmt: skip
    add_option(parser, "--data", "of unlabelled recordings, by python -m "
        "dataset_scripts.unlabelled: folders", nargs="+", metavar="FOLDER")  # fmt: skip
    parser.old_spelling("--unlabelled", "--data")
    if kind == "pretrain":
        parser.add_argument("--tokenizer", help="folder or Hub id of the neural tokenizer")
    parser.add_argument("--init", help="folder or Hub id to go on from, instead of random weights")
    return parser


def stage_one_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Command-line arguments as dotted keys of a ``StageOneConfig``."""
    keys = _given(args, "output", "num_processes", "tokenizer", "tracker")
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
        return config_type(configs)(name)
    if kind == "tokenizer" and name in ("large", "huge"):
        name = "base"
    return configs / f"{kind}_{name}.yaml"


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """``--set`` and those of the arguments that were given."""
    values = {name: getattr(args, name, None) for name in names}
    given = {name: value for name, value in values.items() if value is not None}
    return {**read_overrides(args.set), **given}
