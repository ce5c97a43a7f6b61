"""Methods: what a joint training can train, one file each.

A file of this room that defines a subclass of :class:`~modeling_mteeg.methods.method.Method` with
``names`` is a method: those names are what ``method:`` of a configuration and ``--method`` take.
Nothing else names it. ``method.py`` says what it must offer, ``labram.py`` is what methods on one
LaBraM share, ``single_network.py`` those of one network a task. A family of methods, whose names
begin with a prefix and a colon, is a subclass with ``prefix``; its members are made as they are
asked for.
"""

from __future__ import annotations

import importlib
import pkgutil

from .method import FittedMethod, GradientMethod, Method, TaskOutput, TrainingError
from .method_table import MethodTable
from .published_network import WindowError
from .published_sharing import build_sharing
from .single_network import build_single_task

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_file.name}", __name__)

METHODS = MethodTable(sorted(Method.by_name.items()))
"""Every method by the names it answers to; members of families are found, but not listed."""

__all__ = [
    "FittedMethod",
    "GradientMethod",
    "METHODS",
    "Method",
    "TaskOutput",
    "TrainingError",
    "build_sharing",
    "WindowError",
    "build_single_task",
]
