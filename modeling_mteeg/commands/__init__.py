"""The subcommands of ``mteeg``, one file each; a new one is a row in ``COMMANDS``.

A command's module has ``SUMMARY`` (one line), ``EXAMPLES`` (command lines for its help),
``add_arguments(parser)`` and ``run(args)``; ``PRINTS`` (or ``PRINTS(args)``) where what it prints
is its product, which ``--quiet`` leaves. Modules are imported to build the parser, so they import
what they need when they run: ``mteeg --help`` and a misspelled option answer at once.
"""

from __future__ import annotations

from types import ModuleType

from . import app, completion, convert, embed, evaluate, explain, export, predict, push, show, train

COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "predict": predict,
    "embed": embed,
    "evaluate": evaluate,
    "explain": explain,
    "app": app,
    "export": export,
    "push": push,
    "convert": convert,
    "show": show,
    "completion": completion,
}
"""Subcommands by name, in the order of ``mteeg --help``."""
