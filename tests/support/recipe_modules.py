"""Recipes as modules, for tests that call them in their own process."""

from __future__ import annotations

import importlib
from types import ModuleType


def load_recipe(name: str) -> ModuleType:
    """``recipes/<name>.py``, by the name that its neighbours have for it."""
    return importlib.import_module(f"modeling_mteeg.recipes.{name}")
