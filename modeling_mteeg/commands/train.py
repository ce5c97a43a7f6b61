"""``mteeg train``: from recordings with labels to a task's adapter.

What it does is told by ``recipes/train.py``, which like ``dataset_scripts`` lies above this package
and is never imported by it: this file only opens it, in the folder beside the package.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

SUMMARY = "train a task on a folder of recordings with labels: prepare, train, test, save"
RECIPES = Path(__file__).resolve().parents[2] / "recipes"
_PACKAGE = "mteeg_recipes"  # not `recipes`, a name that others may have


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    if (RECIPES / "train.py").is_file():
        _recipe().add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if not (RECIPES / "train.py").is_file():
        raise ValueError(
            f"expected the recipes beside the package, found no {RECIPES / 'train.py'}; install "
            "modeling-mteeg whole, or run from its repository."
        )
    _recipe().run(args)


def _recipe() -> ModuleType:
    """``recipes/train.py``, whose neighbours it imports as one package."""
    if _PACKAGE not in sys.modules:
        spec = ModuleSpec(_PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(RECIPES)]
        sys.modules[_PACKAGE] = module_from_spec(spec)
    return importlib.import_module(f"{_PACKAGE}.train")
