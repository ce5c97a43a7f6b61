"""The subcommands of ``mteeg``, one file each; a new one is a row in ``COMMANDS``.

A command's module has ``SUMMARY`` (one line), ``add_arguments(parser)`` and ``run(args)``. Modules
are imported to build the parser, so they import what they need when they run.
"""

from __future__ import annotations

from types import ModuleType

from . import app, convert, explain, predict, show

COMMANDS: dict[str, ModuleType] = {
    "app": app,
    "convert": convert,
    "explain": explain,
    "predict": predict,
    "show": show,
}
"""Subcommands by name."""
