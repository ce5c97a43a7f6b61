"""Recipes as modules, for tests that call them in their own process."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from places import ROOT


def load_recipe(name: str) -> ModuleType:
    """``recipes/<name>.py``, which finds its neighbours as it does when it is run."""
    folder = ROOT / "recipes"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(f"{name}_recipe", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
