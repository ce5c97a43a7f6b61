"""``mteeg train``: from a folder of recordings with labels to a task's adapter, in one command.

    mteeg train recordings --task presses --labels rest,press --base BASE --out outputs/presses

The recordings are prepared into OUT/data (:mod:`.annotated`), people by people into
train, validation and test, and trained on as recipes/joint.py does it. Started once more in the
same way it goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from modeling_mteeg import _ending
from modeling_mteeg.dataset_scripts.annotated_options import (
    add_old_spellings,
    add_options,
    options_of,
)
from modeling_mteeg.settings.command_line import CommandParser, Place
from modeling_mteeg.settings.vocabulary import add_option

CONFIGS = Path(__file__).resolve().parent / "configs"
_NO_BASE = (
    "expected --base, a folder or Hub id to start from, found none. Published LaBraM weights "
    "become one by `mteeg convert labram-base.pth --out labram-base`; recordings without labels by "
    "the recipes pretrain_tokenizer and pretrain (docs/pretraining.md). To see that "
    "everything works, --preset tiny starts from random weights, which learn little from few "
    "people."
)


# fmt: off
def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments: where, from what, and how labels are found."""
    add = parser.add_argument
    add("recordings", type=Path, help="folder of recordings that MNE-Python reads, at any depth")
    add_option(parser, "--task", "the new one's name, of lower-case letters, digits, dashes",
        one=True, every=False, required=True)
    add_option(parser, "--out", "prepared data, model and results: a folder", required=True,
        type=Place(folder=True, kind=Path))
    add_option(parser, "--base", "to start from")
    add_option(parser, "--preset", "instead of a base")
    add_option(parser, "--method", "(docs/methods.md; default: mteeg)")
    add_option(parser, "--head", "(docs/heads.md)")
    add_option(parser, "--search", "(docs/splits.md)")
    add_option(parser, "--config", "or the name of a shipped one (default: own_task)",
        default="own_task", type=str)
    add_option(parser, "--set")
    add_option(parser, "--seeds", "(default: 0)")
    add_option(parser, "--tracker", "(docs/tracking.md)")
    add_option(parser, "--split-seed", "shuffles the people (default: 0)")
    add_option(parser, "--num-proc", "that prepare, a recording each (default: 1)", default=1)
    add_option(parser, "--max-skipped", "(default: 0.01)", default=0.01)
    add_option(parser, "--overwrite", "prepare and train anew what OUT holds")
    for name in ("--retrain-encoder", "--into-base", "--replace-tasks"):
        add_option(parser, name)
    add_option(parser, "--quiet")
    add_options(parser.add_argument_group("where labels, people and windows are"))
    add_old_spellings(parser)
# fmt: on


def run(args: argparse.Namespace) -> None:
    """Prepare, train, and say what comes next.

    Raises
    ------
    ValueError
        Options that do not fit, or recordings that cannot be prepared.
    SystemExit
        The training ended with an error, which is printed.
    """
    if (args.base is None) == (args.preset is None):
        raise ValueError(_NO_BASE if args.base is None else "give --base or --preset, not both.")
    from modeling_mteeg.hub.reaching import reach_hub
    from modeling_mteeg.training.launch import TrainingError
    from modeling_mteeg.training.output_folder import one_training

    reach_hub(args.base)
    data = args.out / "data"
    words = training_words(args, data)
    check_training(words)
    try:
        _ending.until_end(one_training(args.out))
    except TrainingError as error:
        raise ValueError(str(error)) from error
    prepare_recordings(args, data)
    print()
    code = joint().main(words, command=shlex.join(["mteeg", *args.words]))
    if code:
        raise SystemExit(code)
    print("\n" + what_comes_next(args, data / args.task))


def joint() -> ModuleType:
    """recipes/joint.py, whose imports are heavy."""
    from modeling_mteeg.recipes import joint

    return joint


def check_training(words: Sequence[str]) -> None:
    """Raise ``ValueError`` where the training could not begin, before anything is prepared."""
    from modeling_mteeg.training.arguments import joint_overrides, joint_parser
    from modeling_mteeg.training.joint_config import JointConfig
    from modeling_mteeg.training.launch import TrainingError
    from modeling_mteeg.training.standing_tasks import settle_encoder
    from modeling_mteeg.training.trackers import check_tracker

    options = joint_parser("", CONFIGS).parse_args(words)
    try:
        config = JointConfig.load(options.config, joint_overrides(options))
        check_tracker(config.tracker)
        settle_encoder(config)
    except TrainingError as error:
        raise ValueError(str(error)) from error


def prepare_recordings(args: argparse.Namespace, data: Path) -> None:
    """Windows of the recordings in ``data``, as they are there already or made now."""
    from modeling_mteeg.dataset_scripts.annotated import Annotated
    from modeling_mteeg.dataset_scripts.locking import PreparationError
    from modeling_mteeg.dataset_scripts.settings import Settings
    from modeling_mteeg.dataset_scripts.writer import prepare

    corpus = Annotated(args.recordings, args.task, options_of(args), args.split_seed)
    settings = Settings(
        num_proc=args.num_proc, max_skipped=args.max_skipped, overwrite=args.overwrite
    )
    try:
        prepare(corpus, data, settings)
    except PreparationError as error:
        raise ValueError(str(error)) from error


def training_words(args: argparse.Namespace, data: Path) -> list[str]:
    """The command line of recipes/joint.py."""
    words = ["--config", str(args.config), "--data", str(data), "--tasks", args.task]
    words += ["--output", str(args.out)]
    for name in ("base", "method", "head", "search", "seeds", "tracker"):
        value = getattr(args, name)
        value = ",".join(map(str, value)) if isinstance(value, list) else value
        words += [f"--{name}", value] if value is not None else []
    for pair in [*([f"model.preset={args.preset}"] if args.preset else []), *args.set]:
        words += ["--set", pair]
    words += ["--resume", "never"] if args.overwrite else []
    words += ["--quiet"] if args.quiet else []
    flags = ("retrain_encoder", "into_base", "replace_tasks")
    return words + [f"--{flag.replace('_', '-')}" for flag in flags if getattr(args, flag)]


def what_comes_next(args: argparse.Namespace, data: Path) -> str:
    """Where pictures and model lie, and the commands that use them."""
    folder = next((path for path in sorted(args.out.glob("seed-*")) if path.is_dir()), args.out)
    model = folder / "model"
    pictures = [args.out / "learning_curves.png",
                folder / "predictions" / f"{args.task}_confusion.png",
                model / "adapters" / args.task / "curves.png"]  # fmt: skip
    there = [str(picture) for picture in pictures if picture.is_file()]
    lines = [f"pictures: {', '.join(there)}"] if there else []
    lines += [f"task {args.task}: {model / 'adapters' / args.task}", "next:"]
    push: list[Any] = ["push", model, "--repo", "OWNER/NAME"]
    if args.base and not Path(args.base).exists() and not args.retrain_encoder:
        push = ["push", model, "--task", args.task, "--repo", args.base]
    commands: Sequence[Sequence[Any]] = (
        ["show", data],
        ["predict", "RECORDING", "--base", model, "--task", args.task, "--out", "events.tsv"],
        push,
    )
    lines += [f"  {shlex.join(['mteeg', *map(str, command)])}" for command in commands]
    return "\n".join(lines)
