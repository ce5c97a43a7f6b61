"""The parsers of all command lines: ``mteeg``, the recipes, ``python -m dataset_scripts.*``."""

from __future__ import annotations

import importlib

from recipe_modules import load_recipe

from modeling_mteeg.cli import build_parser
from modeling_mteeg.dataset_scripts.command import corpus_parser
from modeling_mteeg.dataset_scripts.registry import KNOWN_TASKS, corpus_class
from modeling_mteeg.settings.command_line import CommandParser

RECIPES = (
    "joint", "cross_validate", "comparison", "pretrain", "pretrain_tokenizer", "pretraining_study",
    "frozen_features", "benchmark", "live",
)  # fmt: skip
SCRIPTS = (
    "annotated", "bids", "demo", "prepare", "plan_file", "push", "exclusions",
    "unlabelled.__main__",
)  # fmt: skip


def all_parsers() -> dict[str, CommandParser]:
    """Every parser by a name: ``mteeg predict``, ``recipes/joint.py``, ``dataset_scripts.demo``."""
    found = {f"mteeg {name}": one.filled() for name, one in build_parser().commands().items()}
    found |= {f"recipes/{name}.py": load_recipe(name).build_parser() for name in RECIPES}
    for name in SCRIPTS:
        module = importlib.import_module(f"dataset_scripts.{name}")
        found[f"dataset_scripts.{name.removesuffix('.__main__')}"] = module.build_parser()
    for task in KNOWN_TASKS:
        name = task.replace("-", "_")
        found[f"dataset_scripts.{name}"] = corpus_parser(corpus_class(task))
    return found
