"""The options that several commands have: one name for a meaning, one meaning for a name.

``mteeg``, the recipes and ``python -m dataset_scripts.*`` declare them by :func:`add_option`;
docs/commands.md has the same table.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .command_line import Names, integers


@dataclasses.dataclass(frozen=True)
class Shared:
    """An option that several commands have.

    Parameters
    ----------
    meaning : str
        How its help begins everywhere.
    also : tuple of str
        Other spellings, which every command that has it takes.
    metavar : str
        Of its value, in capital letters; empty: it has none, it is a flag.
    options : dict
        For ``add_argument``: its type and action.
    """

    meaning: str
    also: tuple[str, ...] = ()
    metavar: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def _flag(meaning: str, *also: str) -> Shared:
    return Shared(meaning, also, "", {"action": "store_true"})


def _value(meaning: str, metavar: str, *also: str, type: Callable = str) -> Shared:
    return Shared(meaning, also, metavar, {} if type is str else {"type": type})


def _names(meaning: str, metavar: str, what: str, *also: str, **options: Any) -> Shared:
    return Shared(meaning, also, metavar, {"action": Names, "what": what, **options})


def _again(meaning: str, metavar: str) -> Shared:
    return Shared(meaning, (), metavar, {"action": "append", "default": []})


OF_THE_DATA = "several with commas, spaces or again, or all of the data"
"""What the help of ``--task`` says where no other argument can be mistaken for one."""
SPLITS = ("train", "validation", "test")
VOCABULARY: dict[str, Shared] = {
    # what is worked on
    "--task": _names("task", "TASK", "task", "--tasks"),
    "--base": _value("base: folder or Hub id", "BASE", "--bases"),
    "--data": _value("what is prepared", "DATA"),
    "--raw": _value("recordings as downloaded", "FOLDER", type=Path),
    "--subjects": _value("these subjects only", "SUBJECT"),
    "--corpus": _value("class of a corpus of your own", "FILE.py:CLASS"),
    "--protocol": _value("which recordings train, validate and test", "PROTOCOL"),
    "--subject-from": _value("what finds the subject of a recording", "WAY"),
    "--on": _names("splits to look at: train, validation, test", "SPLIT", "split", known=SPLITS),
    "--only": _names("these rows of the table only", "ROW", "row"),
    "--again": _names("begin these anew, and replace what is there", "NAME", "row"),
    # where the result goes
    "--out": _value("where the result goes", "PATH", "--output"),
    "--overwrite": _flag("replace what is there"),
    "--quiet": _flag("print nothing but errors"),
    "--dry-run": _flag("say what would be done, and do nothing"),
    "--show-table": _flag("print the table of what there is, and do nothing"),
    "--repo": _value("repository on the Hub, made if needed", "OWNER/REPO"),
    "--private": _flag("the repository must be private"),
    # how recordings are read
    "--channels": _value("channels to take", "A,B"),
    "--rename": _again("take a recording's channel OLD for NEW, such as T7=T3", "OLD=NEW"),
    "--interpolate": _value("make channels that a recording lacks from the others", "MONTAGE"),
    "--unit": Shared("unit that the numbers really have", (), "UNIT",
                     {"choices": ("uV", "mV", "V")}),
    "--highpass": _value("high-pass", "HZ"),
    "--notch": _value("mains frequency to filter out, or several: 50,60", "HZ,HZ"),
    "--window": _value("length of a window", "SECONDS", type=float),
    "--stride": _value("from window to window (default: they touch)", "SECONDS", type=float),
    "--offset": _value("from a cue or onset to its window", "SECONDS", "--at-offset", type=float),
    "--windows": _value("how many windows", "N", type=int),
    "--constant": _value("windows with channels that stay at one value for half or more", "WAY"),
    # how it is computed
    "--device": _value("cpu, cuda, cuda:1 ... (default: a GPU if there is one)", "DEVICE"),
    "--batch-size": _value("windows at a time", "N", type=int),
    "--num-proc": _value("processes", "N", "--num-processes", type=int),
    "--shard": _value("do this share of the work only, such as 1/4", "I/N"),
    "--merge": Shared("put together what was done in several folders", (), "FOLDER",
                      {"nargs": "*", "type": Path}),
    "--dtype": Shared("how samples are stored", (), "TYPE",
                      {"choices": ("int16", "float32"), "default": "int16"}),
    "--max-skipped": _value("share of recordings that may be unusable", "SHARE", type=float),
    # how it is trained
    "--config": _value("YAML file of settings", "FILE.yaml", type=Path),
    "--set": _again("any key of that file, such as optimization.epochs=10", "KEY=VALUE"),
    "--method": _value("what is trained: mteeg, linear-probe, hps ...", "METHOD"),
    "--head": _value("what the tasks' heads read: auto, mean, channels, attention", "HEAD"),
    "--preset": _value("random weights of a size: tiny, base, large, huge", "SIZE"),
    "--search": _value("try a small grid, by validation", "LR,EPOCHS"),
    "--tracker": _value("where values are logged: tensorboard, trackio ...", "TRACKER"),
    "--seeds": Shared("seed, or several: 0,1,2", ("--seed",), "SEED", {"type": integers}),
    "--split": _value("how windows become train, validation and test", "RULE"),
    "--split-seed": _value("seed of the split", "SEED", type=int),
    "--retrain-encoder": _flag("train the encoder of a base that has tasks, too: a new base, "
                               "without them"),
    "--into-base": _flag("write what is trained into the base's folder, too"),
    "--replace-tasks": _flag("let it take the place of the base's tasks of the same names"),
    # the Hub
    "--revision": _value("branch, tag or commit on the Hub", "REVISION"),
    "--token": _value("token for private repositories (default: the one you logged in with)",
                      "TOKEN"),
}  # fmt: skip


def add_option(parser: Any, name: str, more: str = "", **changes: Any) -> argparse.Action:
    """Declare an option of :data:`VOCABULARY`.

    Parameters
    ----------
    parser : argparse.ArgumentParser or group of one
    name : str
        Its first spelling; all of them are taken.
    more : str
        What the help says beyond the meaning.
    **changes
        For ``add_argument``, in place of the usual ones.
    """
    shared = VOCABULARY[name]
    again = "; may be repeated" if shared.options.get("action") == "append" else ""
    joint = "" if not more else " " if more[0] == "(" else "; " if ":" in shared.meaning else ": "
    text = f"{shared.meaning}{joint}{more}{again}".replace("%", "%%")
    options = {"help": text, **shared.options, **changes}
    options.setdefault("dest", name.removeprefix("--").replace("-", "_"))
    if shared.metavar and "choices" not in options:
        options.setdefault("metavar", shared.metavar)
    return parser.add_argument(name, *shared.also, **options)
