"""``mteeg train``: from a folder of recordings with labels to a task's adapter, in one command.

    mteeg train recordings --task presses --labels rest,press --base BASE --out outputs/presses

The recordings are prepared into OUT/data (:mod:`dataset_scripts.annotated`), people by people into
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

from dataset_scripts.annotated_options import add_options, options_of

CONFIG = Path(__file__).resolve().parent / "configs" / "own_task.yaml"
_NO_BASE = (
    "expected --base, a folder or Hub id to start from, found none. Published LaBraM weights "
    "become one by `mteeg convert labram-base.pth --out labram-base`; recordings without labels by "
    "recipes/pretrain_tokenizer.py and recipes/pretrain.py (docs/pretraining.md). To see that "
    "everything works, --preset tiny starts from random weights, which learn little from few "
    "people."
)


# fmt: off
def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: where, from what, and how labels are found."""
    add = parser.add_argument
    add("recordings", type=Path, help="folder of recordings that MNE-Python reads, at any depth")
    add("--task", required=True, help="the new task's name: lower-case letters, digits, dashes")
    add("--out", required=True, type=Path, help="folder for prepared data, model and results")
    add("--base", help="folder or Hub id of the base to start from")
    add("--preset", help="tiny, base, large or huge: random weights instead of a base")
    add("--method", help="mteeg (default), linear-probe, hps ... (docs/methods.md)")
    add("--head", help="mean, channels, attention (docs/heads.md)")
    add("--search", metavar="LR,EPOCHS", help="try a small grid, by validation (docs/splits.md)")
    add("--config", type=Path, default=CONFIG, metavar="FILE.yaml",
        help="how to train (default: recipes/configs/own_task.yaml)")
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any key of that file, such as optimization.epochs=10; may be repeated")
    add("--seeds", help="whole numbers, separated by commas (default: 0)")
    add("--split-seed", type=int, help="shuffles the people (default: 0)")
    add("--num-proc", type=int, default=1, help="processes that prepare, a recording each")
    add("--max-skipped", type=float, default=0.01,
        help="share of recordings that may be unusable (default: 0.01)")
    add("--overwrite", action="store_true", help="prepare and train anew what OUT holds")
    add("--retrain-encoder", action="store_true",
        help="train the encoder of a base that has tasks, too: a new base, without them")
    add("--into-base", action="store_true", help="write the task into the base's folder, too")
    add("--replace-tasks", action="store_true",
        help="let it take the place of the base's task of the same name")
    add_options(parser.add_argument_group("where labels, people and windows are"))
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
    data = args.out / "data"
    words = training_words(args, data)
    check_training(words)
    prepare_recordings(args, data)
    print()
    code = joint().main(words, command=shlex.join(["mteeg", *args.words]))
    if code:
        raise SystemExit(code)
    print("\n" + what_comes_next(args, data / args.task))


def joint() -> ModuleType:
    """recipes/joint.py, whose imports are heavy."""
    from . import joint

    return joint


def check_training(words: Sequence[str]) -> None:
    """Raise ``ValueError`` where the training could not begin, before anything is prepared."""
    from modeling_mteeg.training.arguments import joint_overrides, joint_parser
    from modeling_mteeg.training.joint_config import JointConfig
    from modeling_mteeg.training.launch import TrainingError
    from modeling_mteeg.training.standing_tasks import settle_encoder

    options = joint_parser("", CONFIG.parent).parse_args(words)
    try:
        settle_encoder(JointConfig.load(options.config, joint_overrides(options)))
    except TrainingError as error:
        raise ValueError(str(error)) from error


def prepare_recordings(args: argparse.Namespace, data: Path) -> None:
    """Windows of the recordings in ``data``, as they are there already or made now."""
    from dataset_scripts.annotated import Annotated
    from dataset_scripts.locking import PreparationError
    from dataset_scripts.settings import Settings
    from dataset_scripts.writer import prepare

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
    for name in ("base", "method", "head", "search", "seeds"):
        value = getattr(args, name)
        words += [f"--{name}", value] if value is not None else []
    for pair in [*([f"model.preset={args.preset}"] if args.preset else []), *args.set]:
        words += ["--set", pair]
    words += ["--resume", "never"] if args.overwrite else []
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
